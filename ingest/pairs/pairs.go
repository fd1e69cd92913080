// Package pairs joins producer and consumer spans while they come in: over links and parents, places in a queue, message ids.
// What it finds about each edge, side and stage goes to store.Ledger as sums per event minute, so that nobody scans spans;
// query/flow judges it.
//
// A producer span waits for its consumer spans for ten minutes at most. When more spans come than can be remembered,
// every second key is left out, on both sides alike: the sample becomes smaller and stays right.
package pairs

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// maxTenants bounds the tenants whose spans are joined.
const maxTenants = 1000

// maxUnwritten bounds the sums that wait for the ledger; when it is away for longer, the oldest are left out.
const maxUnwritten = 100_000

// Pairs joins the spans of all tenants. It is safe for concurrent use.
type Pairs struct {
	cfg      Config
	ledger   func() store.Ledger
	log      *slog.Logger
	instance string
	epoch    int64
	seq      atomic.Uint64
	scratch  sync.Pool // *[]fact
	meters   meters

	mu      sync.RWMutex
	tenants map[store.Tenant]*table

	unwritten map[store.Tenant][]cell.Pair // only Run touches it
}

type meters struct {
	spans, again, badTime, windowsFull, edgesFull, callsFull, halved, tenantsFull, written, failures, unwritten *metrics.Counter
}

// New builds a Pairs whose sums are written under the name of instance from now on; Run writes them.
func New(cfg Config, instance string, now time.Time, ledger func() store.Ledger, log *slog.Logger, set *metrics.Set) *Pairs {
	dropped := func(reason string) *metrics.Counter {
		return set.NewCounter(fmt.Sprintf("weir_pairs_dropped_total{reason=%q}", reason))
	}
	p := &Pairs{
		cfg: cfg, ledger: ledger, log: log, instance: instance, epoch: now.UnixMilli(), tenants: map[store.Tenant]*table{}, unwritten: map[store.Tenant][]cell.Pair{},
		meters: meters{
			spans: set.NewCounter("weir_pairs_spans_total"), again: set.NewCounter("weir_pairs_spans_again_total"),
			badTime: dropped("bad_time"), windowsFull: dropped("windows"), edgesFull: dropped("edges"), callsFull: dropped("calls"), tenantsFull: dropped("tenants"),
			halved: set.NewCounter("weir_pairs_halved_total"), written: set.NewCounter("weir_pairs_sums_written_total"),
			failures: set.NewCounter("weir_pairs_write_failures_total"), unwritten: set.NewCounter("weir_pairs_sums_given_up_total"),
		},
	}
	p.seq.Store(uint64(now.UnixMicro()))
	p.scratch.New = func() any { return new([]fact) }
	set.NewGauge("weir_pairs_pending", func() float64 {
		n := 0
		for _, t := range p.all() {
			t.mu.Lock()
			n += len(t.ups) + t.waiting()
			t.mu.Unlock()
		}
		return float64(n)
	})
	return p
}

// memory is how long after its end a window may still change, milliseconds.
func (p *Pairs) memory() int64 { return p.cfg.Age.Milliseconds() + 120_000 }

// Observe takes spans that are stored. Spans and their strings are only used during the call.
func (p *Pairs) Observe(t store.Tenant, spans []store.Span) { p.ObserveAt(t, spans, time.Now()) }

// ObserveAt is Observe at a time of the caller's choice.
func (p *Pairs) ObserveAt(t store.Tenant, spans []store.Span, at time.Time) {
	if !p.cfg.Enabled || len(spans) == 0 {
		return
	}
	tb := p.table(t)
	if tb == nil {
		p.meters.tenantsFull.Add(len(spans))
		return
	}
	facts := p.scratch.Get().(*[]fact) //nolint:forcetypeassert // the pool holds nothing else
	list := (*facts)[:0]
	consumers := *tb.consumers.Load()
	var r factReader
	var f fact
	for i := range spans {
		if r.read(&spans[i], consumers, &f) {
			list = append(list, f)
		}
	}
	if len(list) > 0 {
		now := at.UnixMilli()
		tb.mu.Lock()
		for i := range list {
			tb.take(&list[i], now)
		}
		tb.mu.Unlock()
	}
	clear(list) // strings belong to the request
	*facts = list[:0]
	p.scratch.Put(facts)
}

func (p *Pairs) table(t store.Tenant) *table {
	p.mu.RLock()
	tb := p.tenants[t]
	p.mu.RUnlock()
	if tb != nil {
		return tb
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if tb = p.tenants[t]; tb == nil && len(p.tenants) < maxTenants {
		tb = newTable(p)
		p.tenants[t] = tb
	}
	return tb
}

func (p *Pairs) all() map[store.Tenant]*table {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return maps.Clone(p.tenants)
}

// Run writes what changed every Flush until ctx ends, and once more then.
func (p *Pairs) Run(ctx context.Context) error {
	if !p.cfg.Enabled {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(p.cfg.Flush)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return p.lastWords(ctx)
		case <-tick.C:
			if err := p.Flush(ctx, time.Now()); err != nil && ctx.Err() == nil {
				p.log.Warn("sums of joined spans not written, they are tried again", "error", err)
			}
		}
	}
}

func (p *Pairs) lastWords(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return p.Flush(ctx, time.Now())
}

// Flush writes what changed. Run calls it; two calls at the same time are not allowed.
func (p *Pairs) Flush(ctx context.Context, now time.Time) error {
	var failed error
	for id, t := range p.all() {
		list := slices.Concat(p.unwritten[id], t.snapshot(now.UnixMilli()))
		if n := len(list) - maxUnwritten; n > 0 {
			p.meters.unwritten.Add(n)
			list = list[n:]
		}
		if len(list) == 0 {
			continue
		}
		if err := p.ledger().PutPairs(ctx, id, list); err != nil {
			p.meters.failures.Inc()
			p.unwritten[id] = list
			failed = fmt.Errorf("cannot write %d sums of joined spans: %w", len(list), err)
			continue
		}
		delete(p.unwritten, id)
		p.meters.written.Add(len(list))
	}
	return failed
}
