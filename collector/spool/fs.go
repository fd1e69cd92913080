package spool

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// fileSystem is what the spool asks of a disk. Tests put one in its place that forgets what was not synced.
type fileSystem interface {
	MkdirAll(dir string) error
	List(dir string) ([]string, error)
	Open(name string, create bool) (file, error) // for reading and writing
	Remove(name string) error
	Rename(from, to string) error
	SyncDir(dir string) error
	Lock(name string) (io.Closer, error)
}

type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error // data and size
	Truncate(size int64) error
	Size() (int64, error)
}

// disk is the real thing.
type disk struct{}

type diskFile struct{ *os.File }

func (disk) MkdirAll(dir string) error    { return os.MkdirAll(dir, 0o750) }
func (disk) Remove(name string) error     { return os.Remove(name) }
func (disk) Rename(from, to string) error { return os.Rename(from, to) }

func (disk) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

func (disk) Open(name string, create bool) (file, error) {
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(name, flags, 0o640)
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

func (disk) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (disk) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%w: stop it, or give this one another data_dir (lock file %q)", ErrLocked, name)
	}
	return f, nil
}

func (f diskFile) Sync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err != unix.EINTR {
			return err
		}
	}
}

func (f diskFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}
