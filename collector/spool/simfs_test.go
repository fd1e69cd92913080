package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

var errCrashed = errors.New("the machine lost power")

// simFS is a disk that keeps only what was synced when it crashes: file contents and directory entries.
type simFS struct {
	mu      sync.Mutex
	now     map[string]*inode // as processes see it
	durable map[string]*inode // directory entries that survive
	full    bool              // writes that make a file longer fail half way
	noSync  bool              // syncs fail
	fuse    int               // operations until the crash; 0 = none armed
	crashed bool
}

type inode struct{ now, durable []byte }

func newSimFS() *simFS { return &simFS{now: map[string]*inode{}, durable: map[string]*inode{}} }

// op counts an operation that changes the disk; the one at which the fuse burns down fails, and all after it.
func (d *simFS) op() error {
	if d.crashed {
		return errCrashed
	}
	if d.fuse > 0 {
		d.fuse--
		if d.fuse == 0 {
			d.crashed = true
			return errCrashed
		}
	}
	return nil
}

// crash forgets: pick(n) returns a number in [0, n) and decides what of the unsynced survives.
func (d *simFS) crash(pick func(n int) int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(d.now)) { // an entry that was not synced may have reached the disk all the same
		n := d.now[name]
		if d.durable[name] != n && pick(2) == 1 {
			d.durable[name] = n
		}
	}
	after := map[string]*inode{}
	for _, name := range slices.Sorted(maps.Keys(d.durable)) {
		n := d.durable[name]
		data := append([]byte(nil), n.durable...)
		switch pick(3) {
		case 1: // a torn write: some bytes behind the durable ones
			if extra := len(n.now) - len(data); extra > 0 {
				data = append(data, n.now[len(data):len(data)+pick(extra+1)]...)
			}
		case 2: // the size is there, the content is zero
			if extra := len(n.now) - len(data); extra > 0 {
				data = append(data, make([]byte, pick(extra+1))...)
			}
		}
		after[name] = &inode{now: data, durable: append([]byte(nil), data...)}
	}
	d.now, d.durable = after, map[string]*inode{}
	maps.Copy(d.durable, after)
	d.crashed, d.fuse, d.full, d.noSync = false, 0, false, false
}

func (d *simFS) MkdirAll(string) error { return nil }

func (d *simFS) List(dir string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for name := range d.now {
		if filepath.Dir(name) == dir {
			names = append(names, filepath.Base(name))
		}
	}
	return names, nil
}

func (d *simFS) Open(name string, create bool) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.now[name]
	if n == nil {
		if !create {
			return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
		}
		if err := d.op(); err != nil {
			return nil, err
		}
		n = &inode{}
		d.now[name] = n
	}
	return &simFile{d, n}, nil
}

func (d *simFS) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.op(); err != nil {
		return err
	}
	delete(d.now, name)
	delete(d.durable, name) // the spool must not depend on a removal being undone; kill tests cover the other order
	return nil
}

func (d *simFS) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.op(); err != nil {
		return err
	}
	d.now[to] = d.now[from]
	delete(d.now, from)
	return nil
}

func (d *simFS) SyncDir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.op(); err != nil {
		return err
	}
	for name := range d.durable {
		if filepath.Dir(name) == dir && d.now[name] == nil {
			delete(d.durable, name)
		}
	}
	for name, n := range d.now {
		if filepath.Dir(name) == dir {
			d.durable[name] = n
		}
	}
	return nil
}

func (d *simFS) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

type simFile struct {
	d *simFS
	n *inode
}

func (f *simFile) ReadAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	if off >= int64(len(f.n.now)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.now[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *simFile) WriteAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	err := f.d.op()
	end := off + int64(len(p))
	switch {
	case f.d.full && end > int64(len(f.n.now)):
		p, err = p[:len(p)/2], unix.ENOSPC
	case err != nil:
		p = p[:len(p)/3]
	}
	end = off + int64(len(p))
	if grow := end - int64(len(f.n.now)); grow > 0 {
		f.n.now = append(f.n.now, make([]byte, grow)...)
	}
	copy(f.n.now[off:], p)
	return len(p), err
}

func (f *simFile) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.op(); err != nil {
		return err
	}
	if f.d.noSync {
		return unix.EIO
	}
	f.n.durable = append(f.n.durable[:0:0], f.n.now...)
	return nil
}

func (f *simFile) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.op(); err != nil {
		return err
	}
	if size <= int64(len(f.n.now)) {
		f.n.now = f.n.now[:size:size]
	} else {
		f.n.now = append(f.n.now, make([]byte, size-int64(len(f.n.now)))...)
	}
	return nil
}

func (f *simFile) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return int64(len(f.n.now)), nil
}

func (f *simFile) Close() error { return nil }
