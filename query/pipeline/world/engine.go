package world

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// Engine keeps one tenant in memory, as much of a store as the evaluation of pipelines needs. It is not safe for
// concurrent use: a world is one thread.
type Engine struct {
	series   map[string][]*series // by metric name
	cells    map[string]map[cellKey]cell.Cell
	late     map[store.LateWindow]int64 // to which cells came late, and when the last ones did, Unix seconds
	auditors map[auditorKey]cell.Auditor
	barriers map[flow.BarrierKey]store.Barrier
	Verdicts map[store.VerdictKey]store.Verdict
	// OnVerdict sees every verdict that is written.
	OnVerdict func(store.Verdict)
}

type cellKey struct {
	cell.Key
	instance string
	epoch    int64
}

type auditorKey struct {
	node  string
	epoch int64
}

type series struct {
	ls labels.Labels
	t  []int64
	v  []float64
}

// NewEngine makes an empty one.
func NewEngine() *Engine {
	return &Engine{
		series: map[string][]*series{}, cells: map[string]map[cellKey]cell.Cell{}, late: map[store.LateWindow]int64{}, auditors: map[auditorKey]cell.Auditor{},
		barriers: map[flow.BarrierKey]store.Barrier{}, Verdicts: map[store.VerdictKey]store.Verdict{},
	}
}

// Metrics holds what the broker polls gave; derived series are taken and forgotten.
func (e *Engine) Metrics() store.Metrics { return samples{e} }

// Spans are none.
func (e *Engine) Spans() store.Spans { return noSpans{} }

// Ledger holds cells, auditors, barriers and verdicts.
func (e *Engine) Ledger() store.Ledger { return ledger{e} }

// Catalog is empty: nothing is declared, and what is put is forgotten.
func (e *Engine) Catalog() store.Catalog { return noCatalog{} }

// Stats are empty.
func (e *Engine) Stats(context.Context) (store.Stats, error) { return store.Stats{}, nil }

// Run waits for the end.
func (e *Engine) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// line is a series of a metric; of equal labels it is the same one.
func (e *Engine) line(name string, more ...string) *series {
	ls := labels.FromStrings(append([]string{model.MetricNameLabel, name}, more...)...)
	for _, s := range e.series[name] {
		if labels.Equal(s.ls, ls) {
			return s
		}
	}
	s := &series{ls: ls}
	e.series[name] = append(e.series[name], s)
	return s
}

func (s *series) add(at int64, v float64) {
	if n := len(s.t); n > 0 && s.t[n-1] >= at {
		return
	}
	s.t, s.v = append(s.t, at), append(s.v, v)
}

type samples struct{ e *Engine }

func (samples) Append(context.Context, store.Tenant, *store.MetricBatch) (store.AppendResult, error) {
	return store.AppendResult{}, nil
}

func (m samples) Querier(_ store.Tenant, mint, maxt int64) (storage.Querier, error) {
	return &querier{e: m.e, mint: mint, maxt: maxt}, nil
}

func (samples) Exemplars(context.Context, store.Tenant) (storage.ExemplarQuerier, error) {
	return nil, nil //nolint:nilnil // the contract allows it
}

func (samples) Metadata(context.Context, store.Tenant, string, int) (map[string]metadata.Metadata, error) {
	return nil, nil //nolint:nilnil // none
}

type querier struct {
	e          *Engine
	mint, maxt int64
}

func (q *querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, ms ...*labels.Matcher) storage.SeriesSet {
	set := &seriesSet{at: -1}
	take := func(list []*series) {
	next:
		for _, s := range list {
			for _, m := range ms {
				if !m.Matches(s.ls.Get(m.Name)) {
					continue next
				}
			}
			i, _ := slices.BinarySearch(s.t, q.mint)
			j, _ := slices.BinarySearch(s.t, q.maxt+1)
			if i < j {
				set.list = append(set.list, &series{s.ls, s.t[i:j], s.v[i:j]})
			}
		}
	}
	for _, m := range ms {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
			take(q.e.series[m.Value])
			return set
		}
	}
	for _, list := range q.e.series {
		take(list)
	}
	return set
}

func (q *querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (q *querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}
func (q *querier) Close() error { return nil }

type seriesSet struct {
	list []*series
	at   int
}

func (s *seriesSet) Next() bool                        { s.at++; return s.at < len(s.list) }
func (s *seriesSet) At() storage.Series                { return s.list[s.at] }
func (s *seriesSet) Err() error                        { return nil }
func (s *seriesSet) Warnings() annotations.Annotations { return nil }

func (s *series) Labels() labels.Labels { return s.ls }

func (s *series) Iterator(chunkenc.Iterator) chunkenc.Iterator { return &iterator{s: s, i: -1} }

type iterator struct {
	chunkenc.Iterator // nil: only what follows is used
	s                 *series
	i                 int
}

func (it *iterator) Next() chunkenc.ValueType {
	if it.i++; it.i < len(it.s.t) {
		return chunkenc.ValFloat
	}
	return chunkenc.ValNone
}
func (it *iterator) At() (int64, float64) { return it.s.t[it.i], it.s.v[it.i] }
func (it *iterator) Err() error           { return nil }

type ledger struct{ e *Engine }

func (l ledger) PutCells(_ context.Context, _ store.Tenant, b cell.Batch) error {
	k := auditorKey{b.Auditor.Node, b.Auditor.Epoch}
	if old, ok := l.e.auditors[k]; !ok || b.Auditor.Seq > old.Seq {
		l.e.auditors[k] = b.Auditor
	}
	for i := range b.Cells {
		c := &b.Cells[i]
		m := l.e.cells[c.Pipeline]
		if m == nil {
			m = map[cellKey]cell.Cell{}
			l.e.cells[c.Pipeline] = m
		}
		k := cellKey{c.Key, c.Instance, c.Epoch}
		if old, ok := m[k]; !ok || c.Seq > old.Seq {
			m[k] = *c
			if at := b.Auditor.At / 1000; c.Window > 0 && at-c.Window > int64(store.LateAfter/time.Second) {
				w := store.LateWindow{Pipeline: c.Pipeline, Window: c.Window, Width: c.Width}
				l.e.late[w] = max(l.e.late[w], at)
			}
		}
	}
	return nil
}

func (l ledger) Cells(_ context.Context, _ store.Tenant, q store.CellQuery) ([]cell.Cell, error) {
	var out []cell.Cell
	for p, m := range l.e.cells {
		if q.Pipeline != "" && p != q.Pipeline {
			continue
		}
		for k, c := range m {
			if k.Window >= q.From.Unix() && k.Window < q.To.Unix() {
				out = append(out, c)
			}
		}
	}
	slices.SortFunc(out, func(a, b cell.Cell) int {
		return cmp.Or(a.Compare(b.Key), cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Epoch, b.Epoch))
	})
	return out, nil
}

func (l ledger) Late(_ context.Context, _ store.Tenant, since time.Time) ([]store.LateWindow, error) {
	var out []store.LateWindow
	for w, at := range l.e.late {
		if at >= since.Unix() {
			out = append(out, w)
		}
	}
	slices.SortFunc(out, func(a, b store.LateWindow) int {
		return cmp.Or(cmp.Compare(a.Pipeline, b.Pipeline), cmp.Compare(a.Window, b.Window))
	})
	return out, nil
}

// Pairs are none: a world sends no spans.
func (ledger) Pairs(context.Context, store.Tenant, time.Time, time.Time) ([]cell.Pair, error) {
	return nil, nil
}

func (ledger) PutPairs(context.Context, store.Tenant, []cell.Pair) error { return nil }

func (l ledger) Auditors(_ context.Context, _ store.Tenant, since time.Time) ([]cell.Auditor, error) {
	var out []cell.Auditor
	for _, a := range l.e.auditors {
		if a.At >= since.UnixMilli() {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b cell.Auditor) int { return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Epoch, b.Epoch)) })
	return out, nil
}

func (l ledger) PutBarriers(_ context.Context, _ store.Tenant, bs []store.Barrier) error {
	for _, b := range bs {
		if _, ok := l.e.barriers[flow.KeyOf(b)]; !ok {
			l.e.barriers[flow.KeyOf(b)] = b
		}
	}
	return nil
}

func (l ledger) Barriers(_ context.Context, _ store.Tenant, from, to time.Time) ([]store.Barrier, error) {
	var out []store.Barrier
	for _, b := range l.e.barriers {
		if b.Window >= from.Unix() && b.Window < to.Unix() {
			out = append(out, b)
		}
	}
	return out, nil
}

func (l ledger) PutVerdicts(_ context.Context, _ store.Tenant, vs []store.Verdict) error {
	for _, v := range vs {
		l.e.Verdicts[v.VerdictKey] = v
		if l.e.OnVerdict != nil {
			l.e.OnVerdict(v)
		}
	}
	return nil
}

func (l ledger) Verdicts(_ context.Context, _ store.Tenant, q store.VerdictQuery) ([]store.Verdict, error) {
	var out []store.Verdict
	for _, v := range l.e.Verdicts {
		if (q.Pipeline == "" || v.Pipeline == q.Pipeline) && v.Window >= q.From.Unix() && v.Window < q.To.Unix() &&
			(!q.OnlyNotOK || v.State != flow.OK) && (!q.OnlySettled || v.Settled) {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b store.Verdict) int { return cmp.Or(cmp.Compare(a.Window, b.Window), cmp.Compare(a.To, b.To)) })
	return out, nil
}

// noSpans answers that there are none.
type noSpans struct{ store.Spans }

func (noSpans) Search(context.Context, store.Tenant, store.SpanQuery) ([]store.TraceSummary, error) {
	return nil, nil
}

func (noSpans) Trace(context.Context, store.Tenant, store.TraceID) ([]store.Span, error) {
	return nil, store.ErrNotFound
}

// noCatalog holds nothing.
type noCatalog struct{ store.Catalog }

func (noCatalog) Get(context.Context, store.Tenant, string, string) (store.Document, error) {
	return store.Document{}, store.ErrNotFound
}

func (noCatalog) List(context.Context, store.Tenant, string) ([]store.Document, error) {
	return nil, nil
}

func (noCatalog) Put(_ context.Context, _ store.Tenant, kind, name string, body []byte, _ int64, by string) (store.Document, error) {
	return store.Document{Kind: kind, Name: name, Version: 1, Body: body, By: by}, nil
}

func (noCatalog) Delete(context.Context, store.Tenant, string, string) error { return nil }

func (noCatalog) History(context.Context, store.Tenant, string, string) ([]store.Document, error) {
	return nil, store.ErrNotFound
}
