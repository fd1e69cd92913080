package counters

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/flow/rules"
	"github.com/weirhq/weir/store"
)

// world is a store of samples in memory with a book that reads it.
type world struct {
	t      *testing.T
	now    int64 // milliseconds
	series map[string]*line
	order  []*line
	book   *Book
	told   map[store.VerdictKey]store.Verdict
	writes int
}

type line struct {
	ls labels.Labels
	t  []int64
	v  []float64
}

const begin = 1_732_334_400_000

func newWorld(t *testing.T) *world {
	t.Helper()
	set, err := rules.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, now: begin, series: map[string]*line{}, book: New(set, DefaultLimits()), told: map[store.VerdictKey]store.Verdict{}}
}

func (w *world) put(v float64, name string, ls ...string) {
	l := labels.FromStrings(append([]string{model.MetricNameLabel, name}, ls...)...)
	k := l.String()
	s := w.series[k]
	if s == nil {
		s = &line{ls: l}
		w.series[k] = s
		w.order = append(w.order, s)
	}
	if n := len(s.t); n > 0 && s.t[n-1] >= w.now {
		return
	}
	s.t, s.v = append(s.t, w.now), append(s.v, v)
}

func (w *world) stale(name string, ls ...string) {
	w.put(math.Float64frombits(value.StaleNaN), name, ls...)
}

// read reads as the evaluation does and keeps verdicts as the ledger does.
func (w *world) read() {
	w.t.Helper()
	from := w.book.Begin(w.now)
	if err := w.book.Read(context.Background(), &reader{w: w, from: from, to: w.now}, w.now); err != nil {
		w.t.Fatal(err)
	}
	for _, v := range w.book.Verdicts(w.now) {
		w.told[v.VerdictKey] = v
		w.writes++
		if v.State == flow.Loss || v.Level != flow.L1 || v.Confidence < 0.5 || v.Confidence > 0.9 || v.Lost < 0 || v.Up < 0 || v.Down < 0 {
			w.t.Fatalf("%+v", v)
		}
	}
}

// lost sums what was told, by where.
func (w *world) lost() (lost, dropped int64, states map[string]int) {
	states = map[string]int{}
	for _, v := range w.told {
		lost += v.Lost
		dropped += v.Dropped
		states[v.State]++
	}
	return lost, dropped, states
}

type reader struct {
	storage.Querier
	w        *world
	from, to int64
}

func (r *reader) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	var out []string
	for _, s := range r.w.order {
		if n := s.ls.Get(model.MetricNameLabel); !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out, nil, nil
}

func (r *reader) Select(_ context.Context, _ bool, _ *storage.SelectHints, ms ...*labels.Matcher) storage.SeriesSet {
	set := &lines{at: -1}
next:
	for _, s := range r.w.order {
		for _, m := range ms {
			if !m.Matches(s.ls.Get(m.Name)) {
				continue next
			}
		}
		i, _ := slices.BinarySearch(s.t, r.from)
		j, _ := slices.BinarySearch(s.t, r.to+1)
		if i < j {
			set.list = append(set.list, &line{s.ls, s.t[i:j], s.v[i:j]})
		}
	}
	return set
}

type lines struct {
	list []*line
	at   int
}

func (s *lines) Next() bool                                  { s.at++; return s.at < len(s.list) }
func (s *lines) At() storage.Series                          { return s.list[s.at] }
func (s *lines) Err() error                                  { return nil }
func (s *lines) Warnings() annotations.Annotations           { return nil }
func (l *line) Labels() labels.Labels                        { return l.ls }
func (l *line) Iterator(chunkenc.Iterator) chunkenc.Iterator { return &points{l: l, i: -1} }

type points struct {
	chunkenc.Iterator
	l *line
	i int
}

func (p *points) Next() chunkenc.ValueType {
	if p.i++; p.i < len(p.l.t) {
		return chunkenc.ValFloat
	}
	return chunkenc.ValNone
}
func (p *points) At() (int64, float64) { return p.l.t[p.i], p.l.v[p.i] }
func (p *points) Err() error           { return nil }
