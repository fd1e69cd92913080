package metricdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"

	"github.com/weirhq/weir/store"
)

// maintainEvery is the pace of compaction and retention, saveEvery that of metadata and of recovery.
const (
	maintainEvery = time.Minute
	saveEvery     = 5 * time.Second
)

// DB is the metric store: store.Metrics over one TSDB per tenant.
type DB struct {
	cfg    Config
	logger *slog.Logger
	meters *meters
	hash   hasher

	mu      sync.RWMutex
	tenants map[store.Tenant]*slot
	closed  bool
}

// slot opens its tenant once, for all who ask at the same time.
type slot struct {
	once sync.Once
	t    *tenant
	err  error
}

var _ store.Metrics = (*DB)(nil)

type meters struct {
	samples, histograms, newSeries, syncs, failures, recoveries, repairs, lookups *metrics.Counter
	set                                                                           *metrics.Set
}

func (m *meters) rejected(reason string) *metrics.Counter {
	return m.set.GetOrCreateCounter(fmt.Sprintf(`weir_store_samples_rejected_total{reason=%q}`, reason))
}

// New prepares the store in cfg.Dir; tenants are opened when first asked for.
func New(cfg Config, logger *slog.Logger, set *metrics.Set) (*DB, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("cannot make metrics folder: %w", err)
	}
	if err := errors.Join(syncDir(cfg.Dir), syncDir(filepath.Dir(cfg.Dir))); err != nil {
		return nil, err
	}
	db := &DB{cfg: cfg, logger: logger, hash: newHasher(), tenants: map[store.Tenant]*slot{}}
	db.meters = &meters{
		set:        set,
		samples:    set.NewCounter(`weir_store_samples_stored_total{kind="float"}`),
		histograms: set.NewCounter(`weir_store_samples_stored_total{kind="histogram"}`),
		newSeries:  set.NewCounter(`weir_store_series_created_total`),
		syncs:      set.NewCounter(`weir_store_syncs_total{part="metrics"}`),
		failures:   set.NewCounter(`weir_store_write_failures_total{part="metrics"}`),
		repairs:    set.NewCounter(`weir_store_repairs_total{part="metrics"}`),
		lookups:    set.NewCounter(`weir_store_out_of_order_lookups_total`),
		recoveries: set.NewCounter(`weir_store_recoveries_total{part="metrics"}`),
	}
	set.NewGauge(`weir_store_series`, func() float64 { s, _ := db.Stats(); return float64(s.Series) })
	return db, nil
}

// tenant returns an open tenant; with create false, nil when there is no data of it.
func (db *DB) tenant(id store.Tenant, create bool) (*tenant, error) {
	db.mu.RLock()
	s, ok := db.tenants[id]
	closed := db.closed
	db.mu.RUnlock()
	if closed {
		return nil, fmt.Errorf("cannot use metrics of tenant %q: %w: %w", id, errClosed, store.ErrUnavailable)
	}
	if !ok {
		name, err := tenantDir(id)
		if err != nil {
			return nil, err
		}
		dir := filepath.Join(db.cfg.Dir, name)
		if _, err := os.Stat(dir); err != nil && !create {
			return nil, nil //nolint:nilnil // no data is no error
		}
		if s, err = db.slot(id, dir); err != nil {
			return nil, err
		}
	}
	s.once.Do(func() { s.err = s.t.start() })
	if s.err != nil {
		db.mu.Lock()
		defer db.mu.Unlock()
		if db.tenants[id] == s {
			delete(db.tenants, id) // the next call tries again
		}
		return nil, fmt.Errorf("%w: %w", s.err, store.ErrUnavailable)
	}
	return s.t, nil
}

func (db *DB) slot(id store.Tenant, dir string) (*slot, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if s, ok := db.tenants[id]; ok {
		return s, nil
	}
	if db.closed {
		return nil, fmt.Errorf("cannot use metrics of tenant %q: %w: %w", id, errClosed, store.ErrUnavailable)
	}
	if len(db.tenants) >= db.cfg.MaxTenants {
		return nil, fmt.Errorf("cannot open tenant %q: %d tenants are in use, more need a higher max_tenants: %w", id, len(db.tenants), store.ErrLimit)
	}
	s := &slot{t: &tenant{cfg: &db.cfg, id: id, dir: dir, logger: db.logger, meters: db.meters, hash: db.hash}}
	db.tenants[id] = s
	return s, nil
}

func (t *tenant) start() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := enoughSpace(t.cfg.Dir, t.cfg.MinFreeBytes); err != nil {
		return fmt.Errorf("cannot open metrics of tenant %q: %w", t.id, err)
	}
	if err := t.open(); err != nil {
		return err
	}
	var err error
	t.meta, err = openMeta(t.dir, t.logger)
	if err == nil {
		err = syncDir(filepath.Dir(t.dir))
	}
	return err
}

// Append makes a batch durable; see store.Metrics.
func (db *DB) Append(ctx context.Context, id store.Tenant, b *store.MetricBatch) (store.AppendResult, error) {
	t, err := db.tenant(id, true)
	if err != nil {
		return store.AppendResult{}, err
	}
	res, err := t.append(ctx, b)
	if err != nil {
		return store.AppendResult{}, err
	}
	db.meters.samples.Add(res.Samples)
	db.meters.histograms.Add(res.Histograms)
	return res, nil
}

// Querier reads [mint, maxt], Unix milliseconds, both inclusive.
func (db *DB) Querier(id store.Tenant, mint, maxt int64) (storage.Querier, error) {
	t, err := db.tenant(id, false)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return storage.NoopQuerier(), nil
	}
	h, err := t.acquire()
	if err != nil {
		return nil, err
	}
	q, err := h.db.Querier(mint, maxt)
	if err != nil {
		t.release(h)
		return nil, fmt.Errorf("cannot read metrics of tenant %q: %w", id, err)
	}
	return &querier{Querier: q, done: sync.OnceFunc(func() { t.release(h) })}, nil
}

// querier keeps its TSDB open until it is closed.
type querier struct {
	storage.Querier
	done func()
}

func (q *querier) Close() error {
	defer q.done()
	return q.Querier.Close()
}

// Exemplars reads the exemplars kept in memory.
func (db *DB) Exemplars(ctx context.Context, id store.Tenant) (storage.ExemplarQuerier, error) {
	t, err := db.tenant(id, false)
	if err != nil || t == nil || db.cfg.MaxExemplars == 0 {
		return nil, err
	}
	h, err := t.acquire()
	if err != nil {
		return nil, err
	}
	defer t.release(h) // they live in memory and outlast the TSDB
	return h.db.ExemplarQuerier(ctx)
}

// Metadata returns type, help and unit by metric name; metric "" means all, limit 0 means no limit.
func (db *DB) Metadata(_ context.Context, id store.Tenant, metric string, limit int) (map[string]metadata.Metadata, error) {
	t, err := db.tenant(id, false)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return map[string]metadata.Metadata{}, nil
	}
	return t.meta.get(metric, limit), nil
}

// Stats fills in what concerns metrics. Samples counts those in blocks and those in the head's chunks, about.
func (db *DB) Stats() (store.Stats, error) {
	var s store.Stats
	for _, t := range db.open() {
		h, err := t.acquire()
		if err != nil {
			continue // being reopened: counted again in a moment
		}
		s.Series += h.db.Head().NumSeries()
		s.Samples += total(h.count.appended)
		s.MetricBytes += uint64(max(h.db.Head().Size(), 0))
		oldest := h.db.Head().MinTime()
		for _, b := range h.db.Blocks() {
			m := b.Meta()
			s.Samples += m.Stats.NumSamples
			s.MetricBytes += uint64(max(b.Size(), 0))
			oldest = min(oldest, m.MinTime)
		}
		if at := time.UnixMilli(oldest); oldest < time.Now().Add(time.Hour).UnixMilli() && (s.OldestSample.IsZero() || at.Before(s.OldestSample)) {
			s.OldestSample = at
		}
		t.release(h)
	}
	return s, nil
}

// open lists the tenants that are open.
func (db *DB) open() []*tenant {
	db.mu.RLock()
	defer db.mu.RUnlock()
	ts := make([]*tenant, 0, len(db.tenants))
	for _, s := range db.tenants {
		if s.t.opened() {
			ts = append(ts, s.t)
		}
	}
	return ts
}

func (t *tenant) opened() bool {
	t.readers.Lock()
	defer t.readers.Unlock()
	return t.h != nil
}

// Run compacts, applies retention and saves metadata until ctx ends, then closes all tenants.
func (db *DB) Run(ctx context.Context) error {
	db.openAll(ctx)
	maintain, save := time.NewTicker(maintainEvery), time.NewTicker(saveEvery)
	defer maintain.Stop()
	defer save.Stop()
	for {
		select {
		case <-ctx.Done():
			return db.Close()
		case <-save.C:
			db.each(func(t *tenant) error { return t.tick() })
		case <-maintain.C:
			db.each(func(t *tenant) error { return t.maintain(ctx) })
		}
	}
}

// openAll opens the tenants there are, so that retention reaches those nobody asks for.
func (db *DB) openAll(ctx context.Context) {
	es, err := os.ReadDir(db.cfg.Dir)
	if err != nil {
		db.logger.Error("tenants cannot be listed", "error", err)
	}
	for _, e := range es {
		if ctx.Err() != nil {
			return
		}
		if id, ok := tenantOf(e.Name()); ok && e.IsDir() {
			if _, err := db.tenant(id, false); err != nil {
				db.logger.Error("tenant cannot be opened", "tenant", string(id), "error", err)
			}
		}
	}
}

func (db *DB) each(do func(*tenant) error) {
	db.mu.RLock()
	ts := make([]*tenant, 0, len(db.tenants))
	for _, s := range db.tenants {
		ts = append(ts, s.t)
	}
	db.mu.RUnlock()
	for _, t := range ts {
		if err := do(t); err != nil {
			db.logger.Warn("metrics maintenance failed, it is tried again", "tenant", string(t.id), "error", err)
		}
	}
}

// tick saves metadata and tries a broken tenant again.
func (t *tenant) tick() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.meta == nil || t.closed {
		return nil
	}
	if err := t.ready(time.Now()); err != nil {
		return err
	}
	return t.meta.save()
}

// Close ends all tenants; later calls return store.ErrUnavailable.
func (db *DB) Close() error {
	db.mu.Lock()
	db.closed = true
	ts := db.tenants
	db.mu.Unlock()
	var errs []error
	for _, s := range ts {
		s.once.Do(func() { s.err = errClosed })
		if s.err == nil {
			errs = append(errs, s.t.close())
		}
	}
	return errors.Join(errs...)
}
