package pipeline

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// fakeEngine keeps one tenant in memory.
type fakeEngine struct {
	mu       sync.Mutex
	series   map[string]*fakeSeries
	order    []*fakeSeries
	cells    map[fakeCellKey]cell.Cell
	updated  map[fakeCellKey]int64 // Unix seconds
	auditors map[[2]any]cell.Auditor
	barriers map[flow.BarrierKey]store.Barrier
	verdicts map[store.VerdictKey]store.Verdict
	pairs    []cell.Pair
	writes   map[store.VerdictKey]int
	fail     error
	catalog  fakeCatalog
	spans    store.Spans
}

// fakeCatalog keeps the newest version of each document.
type fakeCatalog struct {
	mu   sync.Mutex
	docs map[[3]string]store.Document
}

func (c *fakeCatalog) Get(_ context.Context, t store.Tenant, kind, name string) (store.Document, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok := c.docs[[3]string{string(t), kind, name}]
	if !ok || d.Body == nil {
		return d, store.ErrNotFound
	}
	return d, nil
}

func (c *fakeCatalog) List(_ context.Context, t store.Tenant, kind string) ([]store.Document, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []store.Document
	for k, d := range c.docs {
		if k[0] == string(t) && k[1] == kind && d.Body != nil {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b store.Document) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

func (c *fakeCatalog) Put(_ context.Context, t store.Tenant, kind, name string, body []byte, expect int64, by string) (store.Document, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := [3]string{string(t), kind, name}
	old := c.docs[k]
	current := old.Version
	if old.Body == nil {
		current = 0
	}
	if expect >= 0 && expect != current {
		return store.Document{}, store.ErrConflict
	}
	if c.docs == nil {
		c.docs = map[[3]string]store.Document{}
	}
	c.docs[k] = store.Document{Kind: kind, Name: name, Version: old.Version + 1, Body: slices.Clone(body), By: by, At: time.Now()}
	return c.docs[k], nil
}

func (c *fakeCatalog) Delete(_ context.Context, t store.Tenant, kind, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := [3]string{string(t), kind, name}
	d, ok := c.docs[k]
	if !ok || d.Body == nil {
		return store.ErrNotFound
	}
	d.Body = nil
	c.docs[k] = d
	return nil
}

func (c *fakeCatalog) History(context.Context, store.Tenant, string, string) ([]store.Document, error) {
	return nil, nil
}

type fakeCellKey struct {
	cell.Key
	instance string
	epoch    int64
}

func newFake() *fakeEngine {
	return &fakeEngine{
		series: map[string]*fakeSeries{}, cells: map[fakeCellKey]cell.Cell{}, updated: map[fakeCellKey]int64{}, auditors: map[[2]any]cell.Auditor{},
		barriers: map[flow.BarrierKey]store.Barrier{}, verdicts: map[store.VerdictKey]store.Verdict{}, writes: map[store.VerdictKey]int{},
	}
}

func (e *fakeEngine) Metrics() store.Metrics { return fakeMetrics{e} }
func (e *fakeEngine) Spans() store.Spans     { return e.spans }
func (e *fakeEngine) Ledger() store.Ledger   { return fakeLedger{e} }
func (e *fakeEngine) Catalog() store.Catalog { return &e.catalog }
func (e *fakeEngine) Stats(context.Context) (store.Stats, error) {
	return store.Stats{Series: uint64(len(e.series))}, e.fail
}
func (e *fakeEngine) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (e *fakeEngine) sample(at int64, v float64, ls labels.Labels) {
	k := string(ls.Bytes(nil))
	s := e.series[k]
	if s == nil {
		s = &fakeSeries{ls: ls}
		e.series[k] = s
		e.order = append(e.order, s)
	}
	if n := len(s.t); n > 0 && s.t[n-1] >= at {
		return
	}
	s.t, s.v = append(s.t, at), append(s.v, v)
}

func sorted(ls labels.Labels) bool {
	last, ok := "", ls.Len() > 1
	ls.Range(func(l labels.Label) {
		ok = ok && l.Name > last && l.Value != ""
		last = l.Name
	})
	return ok
}

type fakeSeries struct {
	ls labels.Labels
	t  []int64
	v  []float64
}

type fakeMetrics struct{ e *fakeEngine }

func (m fakeMetrics) Append(_ context.Context, _ store.Tenant, b *store.MetricBatch) (store.AppendResult, error) {
	m.e.mu.Lock()
	defer m.e.mu.Unlock()
	var sb labels.ScratchBuilder
	for i := range b.Series {
		ls := b.LabelsOf(&b.Series[i], &sb)
		if !sorted(ls) {
			return store.AppendResult{}, errors.New("labels not sorted")
		}
		for _, s := range b.Series[i].Samples {
			m.e.sample(s.T, s.V, ls.Copy())
		}
	}
	return store.AppendResult{Samples: len(b.Series)}, m.e.fail
}

func (m fakeMetrics) Querier(_ store.Tenant, mint, maxt int64) (storage.Querier, error) {
	return &fakeQuerier{e: m.e, mint: mint, maxt: maxt}, m.e.fail
}

func (fakeMetrics) Exemplars(context.Context, store.Tenant) (storage.ExemplarQuerier, error) {
	return nil, nil //nolint:nilnil // the contract allows it
}

func (fakeMetrics) Metadata(context.Context, store.Tenant, string, int) (map[string]metadata.Metadata, error) {
	return nil, nil //nolint:nilnil // none
}

type fakeQuerier struct {
	e          *fakeEngine
	mint, maxt int64
}

func (q *fakeQuerier) Select(_ context.Context, _ bool, _ *storage.SelectHints, ms ...*labels.Matcher) storage.SeriesSet {
	q.e.mu.Lock()
	defer q.e.mu.Unlock()
	set := &fakeSet{at: -1}
next:
	for _, s := range q.e.order {
		for _, m := range ms {
			if !m.Matches(s.ls.Get(m.Name)) {
				continue next
			}
		}
		i, _ := slices.BinarySearch(s.t, q.mint)
		j, _ := slices.BinarySearch(s.t, q.maxt+1)
		if i < j {
			set.list = append(set.list, &fakeSeries{s.ls, slices.Clone(s.t[i:j]), slices.Clone(s.v[i:j])})
		}
	}
	return set
}

// LabelValues knows no time, as the head of a TSDB does not.
func (q *fakeQuerier) LabelValues(_ context.Context, name string, _ *storage.LabelHints, ms ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	q.e.mu.Lock()
	defer q.e.mu.Unlock()
	seen := map[string]bool{}
next:
	for _, s := range q.e.order {
		for _, m := range ms {
			if !m.Matches(s.ls.Get(m.Name)) {
				continue next
			}
		}
		if v := s.ls.Get(name); v != "" {
			seen[v] = true
		}
	}
	return slices.Sorted(maps.Keys(seen)), nil, nil
}

func (q *fakeQuerier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}
func (q *fakeQuerier) Close() error { return nil }

type fakeSet struct {
	list []*fakeSeries
	at   int
}

func (s *fakeSet) Next() bool                        { s.at++; return s.at < len(s.list) }
func (s *fakeSet) At() storage.Series                { return s.list[s.at] }
func (s *fakeSet) Err() error                        { return nil }
func (s *fakeSet) Warnings() annotations.Annotations { return nil }

func (s *fakeSeries) Labels() labels.Labels { return s.ls }
func (s *fakeSeries) Iterator(chunkenc.Iterator) chunkenc.Iterator {
	return &fakeIterator{s: s, i: -1}
}

type fakeIterator struct {
	chunkenc.Iterator // nil: only what follows is used
	s                 *fakeSeries
	i                 int
}

func (it *fakeIterator) Next() chunkenc.ValueType {
	it.i++
	if it.i < len(it.s.t) {
		return chunkenc.ValFloat
	}
	return chunkenc.ValNone
}
func (it *fakeIterator) At() (int64, float64) { return it.s.t[it.i], it.s.v[it.i] }
func (it *fakeIterator) Err() error           { return nil }

type fakeLedger struct{ e *fakeEngine }

func (l fakeLedger) PutCells(_ context.Context, _ store.Tenant, b cell.Batch) error {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	k := [2]any{b.Auditor.Node, b.Auditor.Epoch}
	if old, ok := l.e.auditors[k]; !ok || b.Auditor.Seq > old.Seq {
		l.e.auditors[k] = b.Auditor
	}
	for _, c := range b.Cells {
		k := fakeCellKey{c.Key, c.Instance, c.Epoch}
		if old, ok := l.e.cells[k]; !ok || c.Seq > old.Seq {
			l.e.cells[k] = c
			l.e.updated[k] = b.Auditor.At / 1000
		}
	}
	return l.e.fail
}

func (l fakeLedger) Cells(_ context.Context, _ store.Tenant, q store.CellQuery) ([]cell.Cell, error) {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	var out []cell.Cell
	for _, c := range l.e.cells {
		if (q.Pipeline == "" || c.Pipeline == q.Pipeline) && c.Window >= q.From.Unix() && c.Window < q.To.Unix() {
			if !q.SamplesFrom.IsZero() && c.Window < q.SamplesFrom.Unix() {
				c.Sample = cell.Sample{}
			}
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b cell.Cell) int {
		return cmp.Or(a.Compare(b.Key), cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Epoch, b.Epoch))
	})
	return out, l.e.fail
}

func (l fakeLedger) Late(_ context.Context, _ store.Tenant, since time.Time) ([]store.LateWindow, error) {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	seen := map[store.LateWindow]bool{}
	for k, at := range l.e.updated {
		if at >= since.Unix() && k.Window > 0 && at-k.Window > int64(store.LateAfter/time.Second) {
			seen[store.LateWindow{Pipeline: k.Pipeline, Window: k.Window, Width: k.Width}] = true
		}
	}
	out := slices.Collect(maps.Keys(seen))
	slices.SortFunc(out, func(a, b store.LateWindow) int {
		return cmp.Or(cmp.Compare(a.Pipeline, b.Pipeline), cmp.Compare(a.Window, b.Window))
	})
	return out, l.e.fail
}

func (l fakeLedger) Auditors(_ context.Context, _ store.Tenant, since time.Time) ([]cell.Auditor, error) {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	var out []cell.Auditor
	for _, a := range l.e.auditors {
		if a.At >= since.UnixMilli() {
			out = append(out, a)
		}
	}
	return out, l.e.fail
}

func (l fakeLedger) PutPairs(_ context.Context, _ store.Tenant, ps []cell.Pair) error {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	l.e.pairs = append(l.e.pairs, ps...)
	return l.e.fail
}

func (l fakeLedger) Pairs(_ context.Context, _ store.Tenant, from, to time.Time) ([]cell.Pair, error) {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	var out []cell.Pair
	for _, p := range l.e.pairs {
		if p.Window >= from.Unix() && p.Window < to.Unix() {
			out = append(out, p)
		}
	}
	return out, l.e.fail
}

func (l fakeLedger) PutBarriers(_ context.Context, _ store.Tenant, bs []store.Barrier) error {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	for _, b := range bs {
		if _, ok := l.e.barriers[flow.KeyOf(b)]; !ok {
			l.e.barriers[flow.KeyOf(b)] = b
		}
	}
	return l.e.fail
}

func (l fakeLedger) Barriers(_ context.Context, _ store.Tenant, from, to time.Time) ([]store.Barrier, error) {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	var out []store.Barrier
	for _, b := range l.e.barriers {
		if b.Window >= from.Unix() && b.Window < to.Unix() {
			out = append(out, b)
		}
	}
	return out, l.e.fail
}

func (l fakeLedger) PutVerdicts(_ context.Context, _ store.Tenant, vs []store.Verdict) error {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	if l.e.fail != nil {
		return l.e.fail
	}
	for _, v := range vs {
		l.e.writes[v.VerdictKey]++
		l.e.verdicts[v.VerdictKey] = v
	}
	return nil
}

func (l fakeLedger) Verdicts(_ context.Context, _ store.Tenant, q store.VerdictQuery) ([]store.Verdict, error) {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	var out []store.Verdict
	for _, v := range l.e.verdicts {
		if (q.Pipeline == "" || v.Pipeline == q.Pipeline) && v.Window >= q.From.Unix() && v.Window < q.To.Unix() &&
			(!q.OnlyNotOK || v.State != flow.OK && v.State != flow.Filtered) && (!q.OnlySettled || v.Settled) {
			out = append(out, v)
		}
	}
	return out, l.e.fail
}
