// Package spool is the collector's bounded queue on disk: encoded requests come in through Output or Append, lie in
// checksummed segment files, and leave through Next and Ack, oldest first, to ship.
//
// An append that returned nil survives kill -9 and power loss. Counting is exact at every moment, per signal and in items:
// appended = delivered + pending + dropped. The counters begin with the process; what lay on disk when
// the folder was opened counts as appended by this process. Records delivered in the last AckInterval before a
// crash are delivered again, which changes nothing downstream.
package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/collector/signal"
)

// Errors of the spool, to be matched with errors.Is.
var (
	ErrClosed   = errors.New("spool is closed")
	ErrTooLarge = errors.New("record is larger than the spool may hold")
	ErrLocked   = errors.New("folder is in use by another process")
)

// Config bounds a spool.
type Config struct {
	MaxBytes     int64         `yaml:"max_bytes"`      // on disk; beyond it the oldest segment is dropped and counted
	SegmentBytes int64         `yaml:"segment_bytes"`  // size of one file, the unit of dropping
	GroupCommit  time.Duration `yaml:"group_commit"`   // how long the first of several appenders waits for the others; at most 10ms
	AckInterval  time.Duration `yaml:"ack_interval"`   // how often the read position is written to disk
	Compression  string        `yaml:"compression"`    // zstd, or snappy (samples snappy, the rest gzip) for stores that know no zstd
	MaxBodyBytes int           `yaml:"max_body_bytes"` // of one record before compression; a larger one is refused
}

// DefaultConfig holds 1 GiB in files of 16 MiB.
func DefaultConfig() Config {
	return Config{
		MaxBytes: 1 << 30, SegmentBytes: 16 << 20, GroupCommit: 2 * time.Millisecond, AckInterval: time.Second,
		Compression: "zstd", MaxBodyBytes: 16 << 20,
	}
}

// Validate names the first setting that cannot work.
func (c Config) Validate() error {
	switch {
	case c.SegmentBytes < 4096:
		return fmt.Errorf("cannot use spool segment_bytes %d: give at least 4096", c.SegmentBytes)
	case c.MaxBytes < 4*c.SegmentBytes:
		return fmt.Errorf("cannot use spool max_bytes %d with segment_bytes %d: a full spool drops one segment at a time, give at least four segments", c.MaxBytes, c.SegmentBytes)
	case c.GroupCommit < 0 || c.GroupCommit > 10*time.Millisecond:
		return fmt.Errorf("cannot use spool group_commit %s: give 0s to 10ms", c.GroupCommit)
	case c.AckInterval < 10*time.Millisecond || c.AckInterval > time.Minute:
		return fmt.Errorf("cannot use spool ack_interval %s: give 10ms to 1m", c.AckInterval)
	case c.Compression != "zstd" && c.Compression != "snappy":
		return fmt.Errorf("cannot use spool compression %q: give zstd or snappy", c.Compression)
	case c.MaxBodyBytes < 1<<10 || c.MaxBodyBytes > 1<<28:
		return fmt.Errorf("cannot use spool max_body_bytes %d: give 1024 to %d", c.MaxBodyBytes, 1<<28)
	}
	return nil
}

// Spool is an open spool. Append may be called by many goroutines; Next, Ack and Drop by one.
type Spool struct {
	dir    string
	cfg    Config
	fs     fileSystem
	log    *slog.Logger
	id     string
	lock   io.Closer
	syncs  *metrics.Histogram
	ackErr *metrics.Counter

	turn chan struct{} // held by whoever writes the active segment

	mu       sync.Mutex
	closed   bool
	filling  *group // takes appenders; nil when nobody waits
	spare    []byte // buffer for the next group
	crowd    int    // appenders in the last group
	broken   bool   // the active segment may hold bytes behind its durable end
	segs     []*segment
	bytes    int64
	end      position // of the next append
	cursor   cursor   // of the next read
	flight   []flight // handed out, not settled, oldest first
	notify   chan struct{}
	count    counts
	readFail int

	ackMu    sync.Mutex
	ackFile  file
	ackSlot  int64
	ackSaved position
}

// position is a place between two records: the number of the next and the items of every signal before it.
type position struct {
	seq uint64
	cum [signals]uint64
}

type cursor struct {
	position
	seg *segment
	off int64
}

type flight struct {
	position
	kind  signal.Kind
	items int
	at    int64
}

// Open opens or makes the spool in dir. What a crash left half written at the end is cut off.
func Open(dir string, cfg Config, log *slog.Logger, set *metrics.Set) (*Spool, error) {
	return open(disk{}, dir, cfg, log, set)
}

func open(fs fileSystem, dir string, cfg Config, log *slog.Logger, set *metrics.Set) (*Spool, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Spool{
		dir: dir, cfg: cfg, fs: fs, log: log, turn: make(chan struct{}, 1), notify: make(chan struct{}),
		syncs: set.GetOrCreateHistogram("weir_spool_sync_seconds"), ackErr: set.GetOrCreateCounter("weir_spool_ack_errors_total"),
	}
	if err := s.open(); err != nil {
		_ = s.closeFiles()
		return nil, fmt.Errorf("cannot open spool %q: %w", dir, err)
	}
	set.RegisterMetricsWriter(s.writeMetrics)
	return s, nil
}

func (s *Spool) open() error {
	if err := s.fs.MkdirAll(s.dir); err != nil {
		return err
	}
	var err error
	if s.lock, err = s.fs.Lock(filepath.Join(s.dir, "lock")); err != nil {
		return err
	}
	if s.id, err = s.openID(); err != nil {
		return err
	}
	acked, err := s.openAck()
	if err != nil {
		return err
	}
	return s.openSegments(acked)
}

// ID returns the random name made with the folder.
func (s *Spool) ID() string { return s.id }

// Run writes the read position to disk every AckInterval until ctx ends.
func (s *Spool) Run(ctx context.Context) error {
	tick := time.NewTicker(s.cfg.AckInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := s.saveAck(); err != nil {
				s.ackErr.Inc()
				s.log.Warn("cannot write the read position of the spool; it will be tried again", "dir", s.dir, "error", err)
			}
		}
	}
}

// Close waits for appends under way, writes the read position and closes the files. Next returns ErrClosed from then on.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	last := s.filling
	close(s.notify)
	s.notify = make(chan struct{})
	s.mu.Unlock()
	if last != nil {
		<-last.done
	}
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	err := s.saveAck()
	return errors.Join(err, s.closeFiles())
}

func (s *Spool) closeFiles() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, seg := range s.segs {
		if seg.refs == 0 {
			errs = append(errs, seg.close())
		} else {
			seg.gone = true
		}
	}
	if s.ackFile != nil {
		errs = append(errs, s.ackFile.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}
