// Package spandb keeps spans on the local disk.
//
// Spans come from ingest through store.Spans. Each tenant has a log, where spans are on disk before
// Append returns (one fdatasync for all that arrived during the one before), a head in memory, and
// blocks: folders with a plain Parquet file and an index, cut from the head every hour or by size.
// They go to query/trace by trace id and by search. docs/spans-parquet.md describes the blocks.
package spandb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/store"
)

// DB implements store.Spans. All methods are safe for concurrent use.
type DB struct {
	cfg  Config
	log  *slog.Logger
	m    *counters
	enc  sync.Pool
	wake chan struct{} // a head is full
	lock *os.File
	disk disk

	mu      sync.RWMutex
	tenants map[store.Tenant]*tenant
	closed  bool
	running bool
}

var _ store.Spans = (*DB)(nil)

// Stats are the sizes of a DB.
type Stats struct {
	Spans      uint64 // in heads and blocks; a span sent twice may count twice until its block is cut
	Blocks     uint64
	HeadSpans  uint64
	HeadBytes  uint64 // memory
	LogBytes   uint64 // disk
	BlockBytes uint64 // disk
	OldestSpan time.Time
}

// Open reads what is on disk: blocks by their meta, the log wholly. It returns an error when the
// folder cannot be used or another process uses it; damage inside is counted, logged and left out.
// Run must be called for blocks to be cut and for the log to be closed.
func Open(cfg Config, log *slog.Logger, set *metrics.Set) (*DB, error) {
	return open(cfg, disk{}, log, set)
}

func open(cfg Config, d disk, log *slog.Logger, set *metrics.Set) (*DB, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("cannot make span folder: %w", err)
	}
	if err := d.syncDir(filepath.Dir(filepath.Clean(cfg.Dir))); err != nil {
		return nil, err
	}
	db := &DB{cfg: cfg, disk: d, log: log, wake: make(chan struct{}, 1), tenants: map[store.Tenant]*tenant{}}
	db.enc.New = func() any { return newEncoder(&db.cfg) }
	db.m = newCounters(set, db)
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	db.lock = lock
	es, err := os.ReadDir(cfg.Dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot list span folder: %w", err), lock.Close())
	}
	for _, e := range es {
		if !e.IsDir() {
			continue
		}
		name, err := url.PathUnescape(e.Name())
		if err != nil || dirName(store.Tenant(name)) != e.Name() {
			continue // not ours
		}
		t, err := openTenant(db, store.Tenant(name), filepath.Join(cfg.Dir, e.Name()))
		if err != nil {
			return nil, errors.Join(err, db.shut())
		}
		db.tenants[t.name] = t
	}
	return db, nil
}

// dirName is the folder of a tenant: letters, digits, - and _ as they are, the rest escaped.
func dirName(t store.Tenant) string {
	var b strings.Builder
	for i := range len(t) {
		switch c := t[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func (db *DB) lookup(t store.Tenant) *tenant {
	db.mu.RLock()
	defer db.mu.RUnlock()
	return db.tenants[t]
}

// reading returns the tenant for a question, nil when it has no spans yet.
func (db *DB) reading(ctx context.Context, t store.Tenant) (*tenant, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	db.mu.RLock()
	defer db.mu.RUnlock()
	if db.closed {
		return nil, fmt.Errorf("%w: span store is shut down", store.ErrUnavailable)
	}
	return db.tenants[t], nil
}

// tenantOf returns the tenant, making it when new.
func (db *DB) tenantOf(t store.Tenant) (*tenant, error) {
	db.mu.RLock()
	tn, closed := db.tenants[t], db.closed
	db.mu.RUnlock()
	if closed {
		return nil, fmt.Errorf("%w: span store is shut down", store.ErrUnavailable)
	}
	if tn != nil {
		return tn, nil
	}
	name := dirName(t)
	if name == "" || len(name) > 200 {
		return nil, fmt.Errorf("%w: cannot use tenant %q: a name has 1 to 200 characters", store.ErrInvalid, t)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil, fmt.Errorf("%w: span store is shut down", store.ErrUnavailable)
	}
	if tn := db.tenants[t]; tn != nil {
		return tn, nil
	}
	if len(db.tenants) >= db.cfg.MaxTenants {
		return nil, fmt.Errorf("%w: cannot add tenant %q: there are %d already, raise spans.max_tenants", store.ErrLimit, t, len(db.tenants))
	}
	tn, err := openTenant(db, t, filepath.Join(db.cfg.Dir, name))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	if err := db.disk.syncDir(db.cfg.Dir); err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	db.tenants[t] = tn
	return tn, nil
}

// recordSpans and recordBytes bound a record: what a damaged byte can take away.
const (
	recordSpans = 4096
	recordBytes = 4 << 20
)

// Append makes spans durable. Spans over the bound of their trace and text over its bounds are
// counted in weir_spans_…; the error is for the whole batch, of which then a part may be stored.
func (db *DB) Append(ctx context.Context, t store.Tenant, spans []store.Span) error {
	if len(spans) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	tn, err := db.tenantOf(t)
	if err != nil {
		return err
	}
	e, ok := db.enc.Get().(*encoder)
	if !ok {
		e = newEncoder(&db.cfg)
	}
	defer func() {
		e.reset()
		db.enc.Put(e)
	}()
	c := &commit{}
	clipped, left := 0, 0
	for i := range spans {
		e.add(&spans[i])
		if len(e.entries) == recordSpans || len(e.spans)+len(e.strs)+len(e.res) >= recordBytes || i == len(spans)-1 {
			c.add(e.finish())
			clipped, left = clipped+e.clipped, left+e.leftOut
			e.reset()
		}
	}
	if err := tn.commit(c); err != nil {
		return err
	}
	db.m.appended.Add(len(spans))
	db.m.clipped.Add(clipped)
	db.m.leftOut.Add(left)
	return nil
}

// Run cuts blocks and keeps the retention until ctx ends, then closes everything. What is in the
// heads stays in the log and is read again by the next Open.
func (db *DB) Run(ctx context.Context) error {
	db.mu.Lock()
	if db.running || db.closed {
		db.mu.Unlock()
		return errors.New("cannot run span store: it runs or ran already")
	}
	db.running = true
	db.mu.Unlock()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return db.shut()
		case <-tick.C:
		case <-db.wake:
		}
		db.cutDue(time.Now())
		if n%60 == 0 {
			db.retain(time.Now())
		}
	}
}

func (db *DB) list() []*tenant {
	db.mu.RLock()
	defer db.mu.RUnlock()
	out := make([]*tenant, 0, len(db.tenants))
	for _, t := range db.tenants {
		out = append(out, t)
	}
	return out
}

// cutRetry is the pause after a failed cut: a full disk is not filled again every second.
const cutRetry = 10 * time.Second

// cutDue turns heads that are old or large enough into blocks.
func (db *DB) cutDue(now time.Time) {
	for _, t := range db.list() {
		spans, bytes, born := t.headSize()
		due := bytes >= db.cfg.HeadBytes || spans > 0 && now.UnixNano()-born >= int64(db.cfg.BlockAge)
		if !due && !t.hasFrozen() || now.Before(t.retryAt) {
			continue
		}
		if err := t.cut(due); err != nil {
			db.m.cutErrors.Inc()
			t.retryAt = now.Add(cutRetry)
			db.log.Error("cannot cut span block", "tenant", string(t.name), "error", err)
		}
	}
}

// Flush cuts a block from every head now; for tools and tests.
func (db *DB) Flush() error {
	var err error
	for _, t := range db.list() {
		err = errors.Join(err, t.cut(true))
	}
	return err
}

// Close closes a DB that Run does not run; Run closes by itself.
func (db *DB) Close() error { return db.shut() }

func (db *DB) shut() error {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return nil
	}
	db.closed = true
	db.mu.Unlock()
	var err error
	for _, t := range db.list() {
		err = errors.Join(err, t.close())
	}
	return errors.Join(err, db.lock.Close())
}

// Stats reports sizes.
func (db *DB) Stats() Stats {
	var s Stats
	oldest := int64(0)
	for _, t := range db.list() {
		t.stats(&s, &oldest)
	}
	if oldest != 0 {
		s.OldestSpan = time.Unix(0, oldest)
	}
	return s
}
