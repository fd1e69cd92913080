// Package local is the storage engine of one machine: all data lies in one folder.
//
// Appends come from ingest and query and are answered when they are on disk; query, alerts and dashboards read.
// Metrics are in metricdb (a Prometheus TSDB per tenant), spans in spandb, ledger and catalog in docdb (SQLite).
package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"
	"golang.org/x/sys/unix"

	"github.com/weirhq/weir/store"
	"github.com/weirhq/weir/store/local/docdb"
	"github.com/weirhq/weir/store/local/metricdb"
	"github.com/weirhq/weir/store/local/spandb"
)

// Engine is a store.Engine over a folder. It takes appends from Open on; Run does the housekeeping and closes it.
type Engine struct {
	cfg     Config
	lock    *os.File
	metrics *metricdb.DB
	docs    *docdb.DB
	spans   *spandb.DB
	ran     atomic.Bool // the span store is closed
}

var _ store.Engine = (*Engine)(nil)

// Open locks the folder of cfg, making it when there is none, and opens what it holds.
// The caller must call Run or Close.
func Open(ctx context.Context, cfg Config, logger *slog.Logger, set *metrics.Set) (_ *Engine, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("cannot make data folder %q: choose one that can be written: %w", cfg.Dir, err)
	}
	e := &Engine{cfg: cfg}
	if e.lock, err = lockDir(cfg.Dir); err != nil {
		return nil, err
	}
	defer func() { //nolint:contextcheck // closing does not end with ctx
		if err != nil {
			err = errors.Join(fmt.Errorf("cannot open data folder %q: %w", cfg.Dir, err), e.Close())
		}
	}()
	if e.docs, err = docdb.New(ctx, cfg.docs(), logger, set); err != nil {
		return nil, err
	}
	if e.metrics, err = metricdb.New(cfg.metrics(), logger, set); err != nil {
		return nil, err
	}
	if e.spans, err = spandb.Open(cfg.spans(), logger, set); err != nil {
		return nil, err
	}
	return e, nil
}

// lockDir takes the folder for this process; the kernel gives it back when the process ends, however it ends.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("cannot lock data folder %q: %w", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			owner, _ := os.ReadFile(path)
			err = fmt.Errorf("another weir process (pid %s) uses it; stop that one or choose another folder: %w", owner, store.ErrUnavailable)
		}
		return nil, errors.Join(fmt.Errorf("cannot lock data folder %q: %w", dir, err), f.Close())
	}
	// The pid is only for the message above.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	}
	return f, nil
}

// Metrics stores samples.
func (e *Engine) Metrics() store.Metrics { return e.metrics }

// Spans stores spans.
func (e *Engine) Spans() store.Spans { return e.spans }

// Ledger stores audit cells, barriers and verdicts.
func (e *Engine) Ledger() store.Ledger { return e.docs }

// Catalog stores named documents.
func (e *Engine) Catalog() store.Catalog { return e.docs.Catalog() }

// Stats reports sizes and limits.
func (e *Engine) Stats(context.Context) (store.Stats, error) {
	s, err := e.metrics.Stats()
	if err != nil {
		return s, err
	}
	s.LedgerBytes = e.docs.Bytes()
	sp := e.spans.Stats()
	s.Spans, s.SpanBlocks, s.SpanBytes = sp.Spans, sp.Blocks, sp.LogBytes+sp.BlockBytes
	s.DiskFree, s.DiskTotal, err = metricdb.DiskSpace(e.cfg.Dir)
	return s, err
}

// Run does retention and compaction until ctx ends, then closes everything and gives the folder back.
func (e *Engine) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make([]error, 3)
	for i, run := range []func(context.Context) error{e.metrics.Run, e.spans.Run, e.docs.Run} {
		wg.Go(func() { errs[i] = run(ctx) })
	}
	wg.Wait()
	e.ran.Store(true)
	return errors.Join(append(errs, e.Close())...) //nolint:contextcheck // ctx has ended, closing begins
}

// Close closes everything and gives the folder back. Run does this too; calling both is harmless.
func (e *Engine) Close() error {
	var errs []error
	if e.metrics != nil {
		errs = append(errs, e.metrics.Close())
	}
	if e.docs != nil {
		errs = append(errs, e.docs.Close())
	}
	if e.spans != nil && !e.ran.Swap(true) {
		// The span store closes at the end of its Run only.
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		errs = append(errs, e.spans.Run(ended))
	}
	if e.lock != nil {
		if err := e.lock.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			errs = append(errs, fmt.Errorf("cannot unlock data folder %q: %w", e.cfg.Dir, err))
		}
	}
	return errors.Join(errs...)
}
