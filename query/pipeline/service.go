// Package pipeline answers the questions of the pages about pipelines, loss and weir itself.
//
// Evidence comes from the store: broker offsets as series, audit cells, auditors, barriers and earlier
// verdicts from the ledger. One loop turns it into answers with query/flow, once for all readers: a
// page never computes. Barriers, verdicts and a few derived series (weir_pipeline_…) go back to the store.
package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/prometheus/storage"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow/rules"
	"github.com/weirhq/weir/query/pipeline/brokers"
	"github.com/weirhq/weir/query/pipeline/changes"
	"github.com/weirhq/weir/query/pipeline/declared"
	"github.com/weirhq/weir/query/pipeline/ledger"
	"github.com/weirhq/weir/query/pipeline/spans"
	"github.com/weirhq/weir/query/pipeline/telemetry"
	"github.com/weirhq/weir/store"
)

// Extras are what the service cannot read from the store. Every field may be left out.
type Extras struct {
	Tenants    func() []store.Tenant        // besides the default one and those that asked
	Collectors func() []telemetry.Collector // of all tenants
	Ingest     *metrics.Set                 // holds weir_ingest_… of this process
	Version    string
	Rules      *rules.Set // what the series of known systems mean; nil = those of the configuration
}

// Service evaluates the pipelines of every tenant that has data. It is safe for concurrent use.
type Service struct {
	cfg    Config
	engine store.Engine
	log    *slog.Logger
	extras Extras

	mu      sync.Mutex
	tenants map[store.Tenant]*tenant
	doors   *telemetry.Doors

	files   *declared.Files
	dropped changes.Dropped

	took, failed, overflow *metrics.Counter
	unnamed                *metrics.Counter
	absurd                 *metrics.Counter
	evaluations            *metrics.Histogram
}

// maxTenants bounds how many tenants are evaluated.
const maxTenants = 1000

// New builds a service; Run makes it evaluate.
func New(cfg Config, engine store.Engine, log *slog.Logger, set *metrics.Set, extras Extras) *Service {
	s := &Service{
		cfg: cfg, engine: engine, log: log, extras: extras, tenants: map[store.Tenant]*tenant{}, doors: telemetry.NewDoors(extras.Ingest),
		failed:      set.NewCounter("weir_pipeline_evaluation_failures_total"),
		files:       declared.NewFiles(cfg.Dir, log, set.NewCounter("weir_pipeline_bad_declarations_total")),
		dropped:     changes.Dropped{Age: set.NewCounter(`weir_annotations_dropped_total{reason="age"}`), Limit: set.NewCounter(`weir_annotations_dropped_total{reason="limit"}`)},
		overflow:    set.NewCounter("weir_pipeline_limit_exceeded_total"),
		unnamed:     set.NewCounter("weir_pipeline_unnamed_series_total"),
		absurd:      set.NewCounter("weir_pipeline_absurd_samples_total"),
		took:        set.NewCounter("weir_pipeline_evaluations_total"),
		evaluations: set.NewHistogram("weir_pipeline_evaluation_seconds"),
	}
	if s.extras.Rules == nil {
		var err error
		if s.extras.Rules, err = cfg.LoadRules(); err != nil {
			log.Error("counters are not read", "error", err)
		}
	}
	set.NewGauge("weir_pipeline_pipelines", func() float64 {
		n := 0
		for _, t := range s.all() {
			if v := t.view.Load(); v != nil {
				n += len(v.rows)
			}
		}
		return float64(n)
	})
	set.NewGauge("weir_pipeline_silenced_destinations", func() float64 {
		n := int64(0)
		for _, t := range s.all() {
			n += t.silenced.Load()
		}
		return float64(n)
	})
	return s
}

// Run evaluates every Interval until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(s.cfg.Interval)
	defer tick.Stop()
	for {
		s.Evaluate(ctx, time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Evaluate brings all tenants up to date. Errors are logged and counted: what was known before stays
// on the pages with its time.
func (s *Service) Evaluate(ctx context.Context, now time.Time) {
	began := time.Now()
	s.doors.Observe(now.UnixMilli())
	if s.extras.Tenants != nil {
		for _, t := range s.extras.Tenants() {
			s.tenant(t)
		}
	}
	s.tenant(store.DefaultTenant)
	for _, t := range s.all() {
		if err := t.evaluate(ctx, now.UnixMilli()); err != nil && ctx.Err() == nil {
			s.failed.Inc()
			t.complain(now, err)
		}
	}
	s.took.Inc()
	s.evaluations.UpdateDuration(began)
}

// Tenants lists the tenants that are evaluated.
func (s *Service) Tenants() []store.Tenant {
	var out []store.Tenant
	for _, t := range s.all() {
		out = append(out, t.id)
	}
	slices.Sort(out)
	return out
}

func (s *Service) all() []*tenant {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*tenant, 0, len(s.tenants))
	for _, t := range s.tenants {
		out = append(out, t)
	}
	return out
}

func (s *Service) tenant(id store.Tenant) *tenant {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tenants[id]
	if t == nil {
		if len(s.tenants) >= maxTenants {
			s.overflow.Inc()
			over := newTenant(s, id)
			over.view.Store(emptyView(0)) // not evaluated
			return over
		}
		t = newTenant(s, id)
		s.tenants[id] = t
	}
	return t
}

// view is everything a tenant's pages show, made by one evaluation and never changed after.
type view struct {
	at           int64
	rows         []answer.PipelineRow // worst first
	pages        map[string]*answer.Pipeline
	changes      []answer.Change
	completeness answer.Completeness
	losses       []answer.LossRow // of the last hour, with something lost, worst first
	parts        map[string]*parts
	usage        map[string]usage // of the stages' services; made anew, never changed
	groups       []groupEntry     // of all brokers, in any order
	groupsOf     uint64           // version of the broker book they were made of
	groupsAt     int64
	width        int64           // of most windows, seconds
	log          changes.Log     // what concerns all pipelines
	silent       map[string]bool // nodes whose auditor is not heard
	epochs       map[string]int64
}

// viewOf returns the newest view, evaluating once when the tenant is asked for the first time.
func (s *Service) viewOf(ctx context.Context, id store.Tenant) (*view, error) {
	t := s.tenant(id)
	if v := t.view.Load(); v != nil {
		return v, nil
	}
	if err := t.evaluate(ctx, time.Now().UnixMilli()); err != nil {
		return nil, err
	}
	if v := t.view.Load(); v != nil {
		return v, nil
	}
	return emptyView(0), nil
}

func emptyView(at int64) *view {
	return &view{at: at, rows: []answer.PipelineRow{}, pages: map[string]*answer.Pipeline{}, parts: map[string]*parts{}, completeness: answer.Completeness{Missing: []string{}}}
}

// Pipelines answers the pipelines page.
func (s *Service) Pipelines(ctx context.Context, t store.Tenant) (answer.Pipelines, error) {
	v, err := s.viewOf(ctx, t)
	if err != nil {
		return answer.Pipelines{}, err
	}
	counts := map[string]int{}
	for i := range v.rows {
		counts[string(v.rows[i].State)]++
	}
	return answer.Pipelines{At: v.at, Pipelines: slices.Clone(v.rows), Counts: counts, Completeness: v.completeness}, nil
}

// Pipeline answers the page of one pipeline; store.ErrNotFound when there is none of that name.
func (s *Service) Pipeline(ctx context.Context, t store.Tenant, id string) (answer.Pipeline, error) {
	v, err := s.viewOf(ctx, t)
	if err != nil {
		return answer.Pipeline{}, err
	}
	p := v.pages[id]
	if p == nil {
		return answer.Pipeline{}, fmt.Errorf("cannot find pipeline %q: nothing was heard of it in the last %s: %w", id, s.cfg.Forget, store.ErrNotFound)
	}
	return *p, nil
}

// Now answers what is wrong now.
func (s *Service) Now(ctx context.Context, t store.Tenant) (answer.Now, error) {
	v, err := s.viewOf(ctx, t)
	if err != nil {
		return answer.Now{}, err
	}
	n := answer.Now{
		At: v.at, State: answer.Idle, Changes: v.changes, Completeness: v.completeness,
		Worst: slices.Clone(v.rows[:min(5, len(v.rows))]), Losses: v.losses,
	}
	n.State, n.Sentence = headline(v.rows)
	return n, nil
}

// tenant is the running state of one tenant. mu guards everything but view and what has locks of its own: an evaluation may hold it
// for seconds, so pages ask the view, the ledger and the annotations.
type tenant struct {
	s    *Service
	id   store.Tenant
	view atomic.Pointer[view]
	// silenced is how many destinations of exporters are not listened to.
	silenced atomic.Int64

	mu       sync.Mutex
	loaded   bool
	broker   *brokers.Book
	pipes    map[string]*pipe
	cells    cellBook
	ledger   *ledger.Ledger
	usage    usageBook
	counters counterBook
	hooks    hooks
	declared *declared.Book
	late     lateBook

	annotations *changes.Annotations
	versions    *changes.Versions
	telemetry   *telemetry.Book
	rewinds     rewindBook
	unplaced    unplacedBook
	nextSettle  int64
	nextSeries  int64
	complained  time.Time
	log         changes.Log
	spans       *spans.Book
}

func newTenant(s *Service, id store.Tenant) *tenant {
	t := &tenant{s: s, id: id, pipes: map[string]*pipe{}, ledger: ledger.New(s.engine, id), usage: usageBook{by: map[string]usage{}}}
	t.broker = brokers.New(brokers.Options{Forget: s.cfg.Forget, Silenced: t.isSilenced, Overflow: s.overflow, Absurd: s.absurd})
	t.declared = declared.New(s.engine, id, s.files, s.cfg.MaxPipelines, s.overflow)
	t.annotations = changes.NewAnnotations(s.engine, id, s.log, s.dropped)
	t.versions = changes.NewVersions(s.engine, id, t.annotations)
	t.spans = spans.New(s.engine, id, t.collectors, s.overflow)
	t.telemetry = telemetry.New(telemetry.Options{Collectors: t.collectors, Forget: s.cfg.Forget, Overflow: s.overflow})
	t.hooks = hooks{
		facts:        t.stageFacts,
		dependencies: func(_ *pipe, stage string, _ int64) []answer.Dependency { return t.spans.Dependencies(stage) },
	}
	return t
}

func (t *tenant) complain(now time.Time, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.complained) > 10*time.Second {
		t.complained = now
		t.s.log.Warn("pipelines not evaluated", "tenant", string(t.id), "error", err)
	}
}

// evaluate reads what is new and makes a new view.
func (t *tenant) evaluate(ctx context.Context, now int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.loaded {
		if err := t.load(ctx, now); err != nil {
			return err
		}
		t.loaded = true
	}
	if err := t.readDeclared(ctx, now); err != nil {
		return err
	}
	if err := t.annotations.Read(ctx, now); err != nil {
		return err
	}
	if err := t.readCounters(ctx, now); err != nil {
		return err
	}
	if err := t.readBroker(ctx, now); err != nil {
		return err
	}
	if now >= t.nextSettle {
		if err := t.telemetry.Read(ctx, t.querier, now); err != nil {
			return err
		}
		if err := t.readCells(ctx, now); err != nil {
			return err
		}
		if err := t.spans.Read(ctx, now); err != nil {
			return err
		}
		t.discover(now)
		t.discoverCounters(now)
		if err := t.settle(ctx, now); err != nil {
			return err
		}
		if err := t.readUsage(ctx, now); err != nil {
			return err
		}
		if err := t.readTroubles(ctx, now); err != nil {
			return err
		}
		if err := t.broker.Refill(ctx, t.querier, now); err != nil {
			return err
		}
		if err := t.versions.Read(ctx, now, t.served); err != nil {
			return err
		}
		if err := t.ledger.Fill(ctx, now, t.cells.width); err != nil {
			return err
		}
		t.nextSettle = now + t.s.cfg.Settle.Milliseconds()
	}
	t.view.Store(t.build(now))
	if now >= t.nextSeries {
		t.nextSeries = now + 5000
		return t.appendSeries(ctx, now)
	}
	return nil
}

// readBroker takes in new polls of brokers.
func (t *tenant) readBroker(ctx context.Context, now int64) error {
	changes, err := t.broker.Read(ctx, t.querier, now, t.counters.exports.written())
	for _, c := range changes {
		t.note(now, changeBroker, c)
	}
	return err
}

// querier opens the tenant's series for a stretch of time, Unix milliseconds.
func (t *tenant) querier(from, to int64) (storage.Querier, error) {
	return t.s.engine.Metrics().Querier(t.id, from, to)
}

// load reads what an earlier process knew: verdicts, barriers, polls and lags of the last hour.
func (t *tenant) load(ctx context.Context, now int64) error {
	if err := t.ledger.Load(ctx, now); err != nil {
		return err
	}
	t.broker.Begin(now - 3_600_000) // the first reading takes in the last hour
	return t.loadHistory(ctx, now)
}
