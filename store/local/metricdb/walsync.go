package metricdb

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/prometheus/prometheus/tsdb/wlog"
	"golang.org/x/sys/unix"
)

// syncer puts write-ahead logs on disk for several appends at once: the first to wait leads, those who come
// while the disk is busy share the next turn. A failed sync stays failed, because after it the kernel may
// report success for pages it has thrown away.
type syncer struct {
	logs []*syncLog

	turn    sync.Mutex // held while syncing
	mu      sync.Mutex // guards pending
	pending *syncGroup

	failed error // guarded by turn

	onSync func() // counts
}

type syncGroup struct {
	done chan struct{}
	err  error
}

// syncLog is one folder of numbered segments and how far it is known to be on disk.
type syncLog struct {
	dir     string
	f       *os.File
	segment int
	size    int64
}

// newSyncer starts at the end of the logs as they are and puts that on disk.
func newSyncer(onSync func(), dirs ...string) (*syncer, error) {
	s := &syncer{onSync: onSync}
	for _, d := range dirs {
		l := &syncLog{dir: d, segment: -1}
		s.logs = append(s.logs, l)
		if err := errors.Join(l.syncOld(), l.sync()); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, nil
}

// syncOld puts the segments of earlier runs on disk. A killed process leaves a tail in memory of the kernel that
// replays well; were it lost to a power cut later, the repair would throw away every segment behind it.
func (l *syncLog) syncOld() error {
	segs, err := segments(l.dir)
	if err != nil {
		return err
	}
	for _, n := range segs {
		f, err := os.Open(wlog.SegmentName(l.dir, n))
		if err != nil {
			return fmt.Errorf("cannot open WAL segment %d of %q: %w", n, l.dir, err)
		}
		if err := errors.Join(unix.Fdatasync(int(f.Fd())), f.Close()); err != nil {
			return fmt.Errorf("cannot sync WAL segment %d of %q: %w", n, l.dir, err)
		}
	}
	return nil
}

// wait returns when everything written to the logs before the call is on disk.
func (s *syncer) wait() error {
	s.mu.Lock()
	g, lead := s.pending, false
	if g == nil {
		g, lead = &syncGroup{done: make(chan struct{})}, true
		s.pending = g
	}
	s.mu.Unlock()
	if !lead {
		<-g.done
		return g.err
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	// From here on newcomers form the next group: what they wrote may be too late for this sync.
	s.mu.Lock()
	s.pending = nil
	s.mu.Unlock()
	if s.failed == nil {
		for _, l := range s.logs {
			if err := l.sync(); err != nil {
				s.failed = err
				break
			}
		}
		if s.onSync != nil {
			s.onSync()
		}
	}
	g.err = s.failed
	close(g.done)
	return g.err
}

// sync puts all segments from the last one known up to the newest on disk.
func (l *syncLog) sync() error {
	for {
		if err := l.syncFile(); err != nil {
			return err
		}
		next, err := l.next()
		if err != nil || next < 0 {
			return err
		}
		f, err := os.Open(wlog.SegmentName(l.dir, next))
		if errors.Is(err, fs.ErrNotExist) {
			continue // truncated away in this moment: look again
		}
		if err != nil {
			return fmt.Errorf("cannot open WAL segment %d of %q: %w", next, l.dir, err)
		}
		if l.f != nil {
			// The writer goes to the next file only after its last write to this one.
			if err := l.syncFile(); err != nil {
				return errors.Join(err, f.Close())
			}
			if err := l.f.Close(); err != nil {
				return errors.Join(fmt.Errorf("cannot close WAL segment %q: %w", l.f.Name(), err), f.Close())
			}
		}
		l.f, l.segment, l.size = f, next, -1
		if err := syncDir(l.dir); err != nil {
			return err
		}
	}
}

func (l *syncLog) syncFile() error {
	if l.f == nil {
		return nil
	}
	st, err := l.f.Stat()
	if err != nil {
		return fmt.Errorf("cannot stat WAL segment %q: %w", l.f.Name(), err)
	}
	if st.Size() == l.size {
		return nil
	}
	if err := unix.Fdatasync(int(l.f.Fd())); err != nil {
		return fmt.Errorf("cannot sync WAL segment %q: %w", l.f.Name(), err)
	}
	l.size = st.Size()
	return nil
}

// next returns the number of the segment after the current one, -1 when this is the newest.
func (l *syncLog) next() (int, error) {
	if l.f != nil {
		_, err := os.Stat(wlog.SegmentName(l.dir, l.segment+1))
		if err == nil {
			return l.segment + 1, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return -1, fmt.Errorf("cannot stat WAL folder %q: %w", l.dir, err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(l.f.Fd()), &st); err == nil && st.Nlink > 0 {
			return -1, nil
		}
		// The current segment was deleted, so newer ones exist, perhaps not the very next.
	}
	segs, err := segments(l.dir)
	if err != nil {
		return -1, err
	}
	if l.f == nil && len(segs) > 0 {
		return segs[len(segs)-1], nil // nothing was acknowledged yet by this process
	}
	for _, n := range segs {
		if n > l.segment {
			return n, nil
		}
	}
	return -1, nil
}

// segments lists the segment numbers of a log folder, ascending.
func segments(dir string) ([]int, error) {
	es, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot list WAL folder %q: %w", dir, err)
	}
	var segs []int
	for _, e := range es {
		if n, err := strconv.Atoi(e.Name()); err == nil && !e.IsDir() {
			segs = append(segs, n)
		}
	}
	return segs, nil
}

// cut removes what was written to the logs after the last successful sync: none of it was acknowledged,
// and a record torn by a full disk would make the next start throw away everything behind it.
// The logs must have no writer.
func (s *syncer) cut() error {
	s.turn.Lock()
	defer s.turn.Unlock()
	for _, l := range s.logs {
		segs, err := segments(l.dir)
		if err != nil {
			return err
		}
		for _, n := range segs {
			name := wlog.SegmentName(l.dir, n)
			switch {
			case n > l.segment:
				err = os.Remove(name)
			case n == l.segment:
				err = os.Truncate(name, max(l.size, 0))
			}
			if err != nil {
				return fmt.Errorf("cannot cut WAL segment %q: %w", name, err)
			}
		}
		if err := syncDir(l.dir); err != nil {
			return err
		}
	}
	return nil
}

func (s *syncer) close() error {
	s.turn.Lock()
	defer s.turn.Unlock()
	var errs []error
	for _, l := range s.logs {
		if l.f != nil {
			errs = append(errs, l.f.Close())
			l.f = nil
		}
	}
	if s.failed == nil {
		s.failed = errClosed
	}
	return errors.Join(errs...)
}

// syncDir puts the names in a folder on disk.
func syncDir(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return fmt.Errorf("cannot open folder %q: %w", dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("cannot sync folder %q: %w", dir, err)
	}
	return nil
}
