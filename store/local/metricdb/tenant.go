package metricdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"

	"github.com/weirhq/weir/store"
)

var errClosed = errors.New("the store is closed")

// recoverEvery is how often a broken tenant is tried again.
const recoverEvery = time.Second

// ageEvery is the length of a generation of the reference cache.
const ageEvery = 10 * time.Minute

// tenant is the TSDB of one tenant. Appends are serialised by mu, because only then can it be told exactly
// which samples the TSDB took; hashing before and syncing after are not.
type tenant struct {
	cfg    *Config
	id     store.Tenant
	dir    string
	logger *slog.Logger
	meters *meters
	hash   hasher
	meta   *metaStore

	mu      sync.Mutex // guards what follows, and orders before readers.mu
	cache   *refCache
	sb      labels.ScratchBuilder
	broken  error // why appends are refused for the time being
	retryAt time.Time
	closed  bool
	last    time.Time // of the last append that wrote something
	aged    time.Time // when the cache was last aged
	// allBefore is a time that no stored sample of a series that is not in the cache exceeds.
	allBefore int64

	readers sync.Mutex // guards h and the reader count of it
	h       *handle
}

// handle is one opening of the TSDB. It is replaced when a failed write left the log or the head in doubt.
type handle struct {
	db      *tsdb.DB
	sync    *syncer
	count   *tsdbCounters
	readers int
	idle    chan struct{} // closed when the last reader of a retired handle leaves; nil while in use
}

func (t *tenant) open() error {
	if err := os.MkdirAll(t.dir, 0o750); err != nil {
		return fmt.Errorf("cannot make folder of tenant %q: %w", t.id, err)
	}
	changed, err := unmark(filepath.Join(t.dir, wlog.WblDirName), t.logger)
	if err != nil {
		return fmt.Errorf("cannot open metrics of tenant %q: %w", t.id, err)
	}
	t.meters.repairs.Add(changed)
	db, count, err := t.openDB()
	// A torn log is repaired, but the TSDB then goes on without the log of out-of-order samples.
	// Opened once more it reads both.
	for range 2 {
		if err != nil || total(count.corrupted) == 0 {
			break
		}
		t.meters.repairs.Inc()
		if err := closeDB(db); err != nil {
			return fmt.Errorf("cannot reopen repaired metrics of tenant %q: %w", t.id, err)
		}
		db, count, err = t.openDB()
	}
	if err != nil {
		return fmt.Errorf("cannot open metrics of tenant %q in %q: %w", t.id, t.dir, err)
	}
	db.DisableCompactions()
	s, err := newSyncer(t.meters.syncs.Inc, filepath.Join(t.dir, "wal"), filepath.Join(t.dir, wlog.WblDirName))
	if err == nil {
		err = syncDir(t.dir)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("cannot open metrics of tenant %q: %w", t.id, err), closeDB(db))
	}
	t.cache = newRefCache(t.cfg.MaxSeries+t.cfg.MaxSeries/4, func() { t.setAllBefore(db) })
	t.setAllBefore(db)
	t.readers.Lock()
	t.h = &handle{db: db, sync: s, count: count}
	t.readers.Unlock()
	return nil
}

func (t *tenant) openDB() (*tsdb.DB, *tsdbCounters, error) {
	count := &tsdbCounters{}
	o := tsdb.DefaultOptions()
	o.RetentionDuration = t.cfg.Retention.Milliseconds()
	o.MaxBytes = t.cfg.RetentionBytes
	o.MinBlockDuration = t.cfg.BlockDuration.Milliseconds()
	o.MaxBlockDuration = max(o.MinBlockDuration, min(31*24*time.Hour, t.cfg.Retention/10).Milliseconds())
	o.OutOfOrderTimeWindow = t.cfg.OutOfOrderWindow.Milliseconds()
	if t.cfg.walSegment > 0 {
		o.WALSegmentSize = t.cfg.walSegment
	}
	o.WALCompression = compression.Snappy
	o.NoLockfile = true // the engine holds one for the whole folder
	o.EnableExemplarStorage = t.cfg.MaxExemplars > 0
	o.MaxExemplars = int64(t.cfg.MaxExemplars)
	o.FloatChunkEncoding = chunkenc.EncXOR
	// The TSDB's own loop must do nothing: it panics when a chunk cannot be written, outside our reach.
	o.BlockReloadInterval = 100 * 365 * 24 * time.Hour
	var open atomic.Pointer[tsdb.DB]
	o.BlocksToDelete = func(blocks []*tsdb.Block) map[ulid.ULID]struct{} { return t.deletable(open.Load(), blocks) }
	db, err := tsdb.Open(t.dir, t.quiet(), count, o, nil)
	open.Store(db)
	return db, count, err
}

// setAllBefore must be called when the cache forgets series.
func (t *tenant) setAllBefore(db *tsdb.DB) {
	t.allBefore = max(db.Head().MaxTime(), db.Head().MaxOOOTime())
	for _, b := range db.Blocks() {
		t.allBefore = max(t.allBefore, b.MaxTime())
	}
}

// quiet lets the TSDB's warnings and errors through, not its chatter.
func (t *tenant) quiet() *slog.Logger {
	return slog.New(warnOnly{t.logger.Handler()})
}

type warnOnly struct{ slog.Handler }

func (h warnOnly) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}

// acquire returns the open TSDB and keeps it open until release.
func (t *tenant) acquire() (*handle, error) {
	t.readers.Lock()
	defer t.readers.Unlock()
	if t.h == nil {
		return nil, fmt.Errorf("cannot read metrics of tenant %q: being reopened or closed: %w", t.id, store.ErrUnavailable)
	}
	t.h.readers++
	return t.h, nil
}

func (t *tenant) release(h *handle) {
	t.readers.Lock()
	defer t.readers.Unlock()
	h.readers--
	if h.readers == 0 && h.idle != nil {
		close(h.idle)
	}
}

// retire takes the handle away from new readers and waits for the others; with ok false it is back in place.
func (t *tenant) retire(wait time.Duration) (h *handle, ok bool) {
	t.readers.Lock()
	h = t.h
	if h == nil {
		t.readers.Unlock()
		return nil, true
	}
	t.h = nil
	if h.readers == 0 {
		t.readers.Unlock()
		return h, true
	}
	h.idle = make(chan struct{})
	idle := h.idle
	t.readers.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-idle:
		return h, true
	case <-timer.C:
	}
	t.readers.Lock()
	defer t.readers.Unlock()
	if h.readers == 0 {
		return h, true
	}
	h.idle = nil
	t.h = h
	return nil, false
}

// fail refuses appends until the TSDB has been reopened. mu is held.
func (t *tenant) fail(err error) error {
	if t.broken == nil {
		t.broken = err
		t.retryAt = time.Now().Add(recoverEvery)
		t.meters.failures.Inc()
		t.logger.Error("metrics cannot be written, appends are refused until they can", "tenant", string(t.id), "error", err)
	}
	return fmt.Errorf("cannot write metrics of tenant %q: %w: %w", t.id, err, store.ErrUnavailable)
}

// ready reports whether appends may go on, reopening a broken TSDB when it is time. mu is held.
func (t *tenant) ready(now time.Time) error {
	if t.closed {
		return fmt.Errorf("cannot write metrics of tenant %q: %w: %w", t.id, errClosed, store.ErrUnavailable)
	}
	if err := enoughSpace(t.cfg.Dir, t.cfg.MinFreeBytes); err != nil {
		return fmt.Errorf("cannot write metrics of tenant %q: %w: %w", t.id, err, store.ErrUnavailable)
	}
	if t.broken == nil {
		return nil
	}
	if now.Before(t.retryAt) {
		return fmt.Errorf("cannot write metrics of tenant %q: %w: %w", t.id, t.broken, store.ErrUnavailable)
	}
	if err := t.reopen(true); err != nil {
		t.retryAt = time.Now().Add(recoverEvery)
		return fmt.Errorf("cannot write metrics of tenant %q: still broken: %w: %w", t.id, err, store.ErrUnavailable)
	}
	t.broken = nil
	t.meters.recoveries.Inc()
	t.logger.Info("metrics can be written again", "tenant", string(t.id))
	return nil
}

// reopen closes the TSDB and opens it again; with cut, without what was written but not acknowledged. mu is held.
func (t *tenant) reopen(cut bool) error {
	h, ok := t.retire(5 * time.Second)
	if !ok {
		return errors.New("queries are still reading")
	}
	if h != nil {
		if err := closeDB(h.db); err != nil {
			t.logger.Warn("closing metrics before reopening failed", "tenant", string(t.id), "error", err)
		}
		if cut {
			if err := h.sync.cut(); err != nil {
				return errors.Join(err, h.sync.close())
			}
		}
		if err := h.sync.close(); err != nil {
			return err
		}
	}
	return t.open()
}

// closeDB turns the TSDB's panics on unwritable chunks into errors.
func closeDB(db *tsdb.DB) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("cannot close TSDB: %v", p)
		}
	}()
	return db.Close()
}

// maintain compacts, drops what is past retention, and reopens a broken TSDB.
func (t *tenant) maintain(ctx context.Context) error {
	t.mu.Lock()
	if t.cache == nil { // never opened
		t.mu.Unlock()
		return nil
	}
	err := t.ready(time.Now())
	if err == nil && t.h != nil && time.Since(t.aged) > ageEvery {
		t.aged = time.Now()
		t.cache.age()
		t.setAllBefore(t.h.db)
	}
	idle := time.Since(t.last) > 3*t.cfg.BlockDuration
	t.mu.Unlock()
	if err != nil {
		return err
	}
	h, err := t.acquire()
	if err != nil {
		return err
	}
	err = compact(ctx, h.db)
	overdue := len(t.deletable(h.db, h.db.Blocks())) > 0
	t.release(h)
	if err != nil {
		return fmt.Errorf("cannot compact metrics of tenant %q: %w", t.id, err)
	}
	if idle && overdue {
		// The TSDB drops old blocks only when it compacts, which a tenant without new samples never does, or when it opens.
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.closed {
			return nil
		}
		if err := t.reopen(false); err != nil {
			return t.fail(err)
		}
	}
	return nil
}

// deletable names the blocks that may go: replaced by a compaction, past retention by this machine's clock
// (the TSDB alone would measure from the newest block), or beyond the size. db is nil while it opens.
func (t *tenant) deletable(db *tsdb.DB, blocks []*tsdb.Block) map[ulid.ULID]struct{} {
	out := map[ulid.ULID]struct{}{}
	limit := time.Now().Add(-t.cfg.Retention).UnixMilli()
	for _, b := range blocks {
		if m := b.Meta(); m.Compaction.Deletable || m.MaxTime < limit {
			out[m.ULID] = struct{}{}
		}
	}
	if db != nil {
		maps.Copy(out, tsdb.BeyondSizeRetention(db, blocks))
	}
	return out
}

func compact(ctx context.Context, db *tsdb.DB) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	db.ForceHeadMMap()
	return db.Compact(ctx)
}

// close waits for readers and closes the TSDB.
func (t *tenant) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	h, ok := t.retire(30 * time.Second)
	if !ok {
		return fmt.Errorf("cannot close metrics of tenant %q: queries are still reading", t.id)
	}
	var errs []error
	if h != nil {
		// Followers of a running sync get their answer before the files go.
		errs = append(errs, h.sync.wait(), closeDB(h.db), h.sync.close())
	}
	errs = append(errs, t.meta.save())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cannot close metrics of tenant %q: %w", t.id, err)
	}
	return nil
}
