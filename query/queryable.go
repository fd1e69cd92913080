package query

import (
	"context"
	"errors"
	"sync"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/weirhq/weir/store"
)

// Queryable reads the samples of the tenant in the context of each call. PromQL asks for a
// querier before it hands over a context, so the tenant is only looked up when data is selected.
type Queryable struct {
	metrics store.Metrics
}

// Querier implements storage.Queryable.
func (q *Queryable) Querier(mint, maxt int64) (storage.Querier, error) {
	return &tenantQuerier{metrics: q.metrics, mint: mint, maxt: maxt}, nil
}

// ChunkQuerier implements storage.ChunkQueryable; chunks are served by no route of weir.
func (*Queryable) ChunkQuerier(int64, int64) (storage.ChunkQuerier, error) {
	return nil, errors.New("remote read is not served: use the query API")
}

// ExemplarQuerier implements storage.ExemplarQueryable.
func (q *Queryable) ExemplarQuerier(ctx context.Context) (storage.ExemplarQuerier, error) {
	e, err := q.metrics.Exemplars(ctx, Tenant(ctx))
	if err != nil {
		return nil, err
	}
	if e == nil {
		return noExemplars{}, nil
	}
	return e, nil
}

type tenantQuerier struct {
	metrics    store.Metrics
	mint, maxt int64

	mu   sync.Mutex
	open map[store.Tenant]storage.Querier
}

func (q *tenantQuerier) of(ctx context.Context) (storage.Querier, error) {
	t := Tenant(ctx)
	q.mu.Lock()
	defer q.mu.Unlock()
	if r, ok := q.open[t]; ok {
		return r, nil
	}
	r, err := q.metrics.Querier(t, q.mint, q.maxt)
	if err != nil {
		return nil, err
	}
	if q.open == nil {
		q.open = map[store.Tenant]storage.Querier{}
	}
	q.open[t] = r
	return r, nil
}

func (q *tenantQuerier) Select(ctx context.Context, sorted bool, h *storage.SelectHints, m ...*labels.Matcher) storage.SeriesSet {
	r, err := q.of(ctx)
	if err != nil {
		return storage.ErrSeriesSet(err)
	}
	return r.Select(ctx, sorted, h, m...)
}

func (q *tenantQuerier) LabelValues(ctx context.Context, name string, h *storage.LabelHints, m ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	r, err := q.of(ctx)
	if err != nil {
		return nil, nil, err
	}
	return r.LabelValues(ctx, name, h, m...)
}

func (q *tenantQuerier) LabelNames(ctx context.Context, h *storage.LabelHints, m ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	r, err := q.of(ctx)
	if err != nil {
		return nil, nil, err
	}
	return r.LabelNames(ctx, h, m...)
}

func (q *tenantQuerier) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	var errs []error
	for _, r := range q.open {
		errs = append(errs, r.Close())
	}
	q.open = nil
	return errors.Join(errs...)
}

// tracker bounds how many queries run at once; further ones wait until their context ends.
type tracker struct {
	slots  chan struct{}
	queued *metrics.Counter
}

func newTracker(n int, set *metrics.Set) *tracker {
	t := &tracker{slots: make(chan struct{}, n), queued: set.GetOrCreateCounter("weir_query_waited_total")}
	set.GetOrCreateGauge("weir_query_running", func() float64 { return float64(len(t.slots)) })
	return t
}

func (t *tracker) GetMaxConcurrent() int { return cap(t.slots) }

func (t *tracker) Insert(ctx context.Context, _ string) (int, error) {
	select {
	case t.slots <- struct{}{}:
		return 0, nil
	default:
	}
	t.queued.Inc()
	select {
	case t.slots <- struct{}{}:
		return 0, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (t *tracker) Delete(int) { <-t.slots }

func (t *tracker) Close() error { return nil }
