package flow

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/weirhq/weir/internal/cell"
)

// SpanRules are the figures of the judgement of joined spans.
type SpanRules struct {
	Grace    int64 // how long after a window its spans are waited for, milliseconds
	Mature   int64 // how long after it telemetry loss is known: consumer spans wait for their producer spans, milliseconds
	Memory   int64 // a server that has not said anything about a waiting span for so long is gone, milliseconds
	Probable float64
	Sure     float64
	MaxLoss  float64 // telemetry loss up to which a loss can be confirmed
	Most     float64 // telemetry loss beyond which nothing is said
	MinDown  int64   // consumer spans that telemetry loss must be measured on for a confirmation
	Neighbor int64   // telemetry loss is measured over so many windows before and after, too
}

// DefaultSpanRules are those of docs/pipeline-model.md.
func DefaultSpanRules() SpanRules {
	return SpanRules{Grace: 45_000, Mature: 100_000, Memory: 900_000, Probable: 1e-3, Sure: 1e-9, MaxLoss: 0.01, Most: 0.2, MinDown: 1000, Neighbor: 5}
}

// SpanEdge is one reader of a queue as spans tell: several stages may write, one group reads.
type SpanEdge struct {
	System, Destination, Group, To string
	From                           []string // sorted
	Windows                        []SpanWindow
}

// SpanWindow is what joined spans say about an edge in one window.
type SpanWindow struct {
	Window
	cell.PairCounts
	Dead    int64 // producer spans that waited at a server that ended or is gone: nobody knows
	Changed int64 // when a count last changed, Unix milliseconds
	Writers PairTotals
	Readers PairTotals
}

// PairTotals are messages by all spans of a side, joined or not: throughput, never a loss.
type PairTotals struct {
	Messages int64
	Adjusted float64 // 1/p each; only of Known
	Known    int64
	Failed   int64
}

// Estimate is how many messages a side had, where every span tells with which probability it was kept.
func (p PairTotals) Estimate() (n float64, ok bool) {
	if p.Messages == 0 || p.Known < p.Messages {
		return float64(p.Messages), false
	}
	return p.Adjusted, true
}

// Works are the process spans of a stage in one window.
type Works struct {
	Stage, Pipeline string
	Window
	cell.PairCounts
}

// SpanBook is what spans say, by edge and stage. The order of pairs does not matter.
type SpanBook struct {
	Edges   []SpanEdge
	Writers []SpanSide // stage → destination
	Readers []SpanSide // destination, group → stage
	Works   []Works
}

// SpanSide is one stage that writes or reads a queue.
type SpanSide struct {
	Pipeline, Stage, System, Destination, Group string
	Windows                                     map[int64]PairTotals
	Width                                       int64
	MaxTS                                       int64 // newest event time, of a writer, Unix milliseconds
}

// newestPairs keeps of equal (key, instance, epoch) the snapshot with the highest Seq.
func newestPairs(ps []cell.Pair) []cell.Pair {
	type id struct {
		cell.PairKey
		instance string
		epoch    int64
	}
	at := make(map[id]int, len(ps))
	out := make([]cell.Pair, 0, len(ps))
	for i := range ps {
		p := &ps[i]
		if p.Width <= 0 || p.Width > maxWidth || p.Window < 0 {
			continue
		}
		k := id{p.PairKey, p.Instance, p.Epoch}
		j, ok := at[k]
		if !ok {
			at[k] = len(out)
			out = append(out, *p)
		} else if p.Seq > out[j].Seq {
			out[j] = *p
		}
	}
	slices.SortFunc(out, func(a, b cell.Pair) int {
		return cmp.Or(a.Compare(b.PairKey), cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Epoch, b.Epoch))
	})
	return out
}

// Spans sums pairs over servers and epochs. Now is Unix milliseconds.
func Spans(ps []cell.Pair, now int64, r SpanRules) *SpanBook {
	ps = newestPairs(ps)
	epochs := map[string]int64{} // newest of each server
	for i := range ps {
		p := &ps[i]
		server, _, _ := strings.Cut(p.Instance, "~")
		epochs[server] = max(epochs[server], p.Epoch)
	}
	type edgeKey struct{ destination, group, to string }
	type sideKey struct {
		kind                                      cell.PairKind
		pipeline, stage, system, destination, grp string
	}
	edges, sides, works := map[edgeKey]*SpanEdge{}, map[sideKey]*SpanSide{}, map[string]map[int64]*Works{}
	windows := map[edgeKey]map[int64]*SpanWindow{}
	edge := func(p *cell.Pair) (*SpanEdge, *SpanWindow) {
		k := edgeKey{destination: p.Destination, group: p.Group}
		if p.Group == "" {
			k.to = p.To
		}
		e := edges[k]
		if e == nil {
			e = &SpanEdge{System: p.System, Destination: p.Destination, Group: p.Group, To: p.To}
			edges[k], windows[k] = e, map[int64]*SpanWindow{}
		}
		w := windows[k][p.Window]
		if w == nil {
			w = &SpanWindow{Window: Window{p.Window, p.Width}}
			windows[k][p.Window] = w
		}
		return e, w
	}
	for i := range ps {
		p := &ps[i]
		switch p.Kind {
		case cell.PairEdge:
			e, w := edge(p)
			if j, found := slices.BinarySearch(e.From, p.From); !found {
				e.From = slices.Insert(e.From, j, p.From)
			}
			server, _, _ := strings.Cut(p.Instance, "~")
			if p.Waiting > 0 && (p.Epoch < epochs[server] || sub(now, p.At) > r.Memory && sub(now, milli(p.Window)) > r.Memory) {
				w.Dead = add(w.Dead, p.Waiting)
			}
			w.PairCounts.Add(&p.PairCounts)
			w.Changed = max(w.Changed, p.Changed)
		case cell.PairWriter, cell.PairReader:
			stage := p.From
			n := PairTotals{Messages: p.Messages, Adjusted: possible(p.Adjusted), Known: p.Known, Failed: p.Failed}
			if p.Kind == cell.PairReader {
				stage = p.To
				if n.Messages == 0 { // a reader that only fetches
					n.Messages = p.Received
				}
			}
			k := sideKey{p.Kind, p.Pipeline, stage, p.System, p.Destination, p.Group}
			s := sides[k]
			if s == nil {
				s = &SpanSide{p.Pipeline, stage, p.System, p.Destination, p.Group, map[int64]PairTotals{}, p.Width, 0}
				sides[k] = s
			}
			s.Windows[p.Window] = s.Windows[p.Window].plus(n)
			s.MaxTS = max(s.MaxTS, p.MaxTS)
			if p.Kind == cell.PairReader {
				_, w := edge(p)
				w.Reverse, w.Unjudged = add(w.Reverse, p.Reverse), add(w.Unjudged, p.Unjudged)
				w.Readers = w.Readers.plus(n)
				w.Changed = max(w.Changed, p.Changed)
			}
		case cell.PairWork:
			m := works[p.To]
			if m == nil {
				m = map[int64]*Works{}
				works[p.To] = m
			}
			w := m[p.Window]
			if w == nil {
				w = &Works{Stage: p.To, Pipeline: p.Pipeline, Window: Window{p.Window, p.Width}}
				m[p.Window] = w
			}
			w.PairCounts.Add(&p.PairCounts)
		}
	}
	b := &SpanBook{}
	for k, e := range edges {
		for _, w := range windows[k] {
			for _, s := range sides {
				if s.Group == "" && s.Destination == e.Destination && slices.Contains(e.From, s.Stage) {
					w.Writers = w.Writers.plus(s.Windows[w.Start])
				}
			}
			e.Windows = append(e.Windows, *w)
		}
		slices.SortFunc(e.Windows, func(a, b SpanWindow) int { return cmp.Compare(a.Start, b.Start) })
		b.Edges = append(b.Edges, *e)
	}
	for k, s := range sides {
		if k.kind == cell.PairWriter {
			b.Writers = append(b.Writers, *s)
		} else {
			b.Readers = append(b.Readers, *s)
		}
	}
	for _, m := range works {
		for _, w := range m {
			b.Works = append(b.Works, *w)
		}
	}
	slices.SortFunc(b.Edges, func(a, b SpanEdge) int {
		return cmp.Or(cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.Group, b.Group), cmp.Compare(a.To, b.To))
	})
	bySide := func(a, b SpanSide) int {
		return cmp.Or(cmp.Compare(a.Stage, b.Stage), cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.Group, b.Group), cmp.Compare(a.System, b.System), cmp.Compare(a.Pipeline, b.Pipeline))
	}
	slices.SortFunc(b.Writers, bySide)
	slices.SortFunc(b.Readers, bySide)
	slices.SortFunc(b.Works, func(a, b Works) int { return cmp.Or(cmp.Compare(a.Stage, b.Stage), cmp.Compare(a.Start, b.Start)) })
	return b
}

// possible is an estimate of messages that can be.
func possible(n float64) float64 {
	if math.IsNaN(n) {
		return 0
	}
	return min(max(n, 0), 1e15)
}

func (p PairTotals) plus(o PairTotals) PairTotals {
	return PairTotals{add(p.Messages, o.Messages), p.Adjusted + o.Adjusted, add(p.Known, o.Known), add(p.Failed, o.Failed)}
}

// Telemetry is how much of a reader's telemetry is lost around a window: consumer spans whose producer span is not there, among
// those of windows for which all that comes has come. Of unjudged ones nobody knows whether it ever was.
func (e *SpanEdge) Telemetry(w Window, now int64, r SpanRules) (orphans, unjudged, down int64) {
	for i := range e.Windows {
		o := &e.Windows[i]
		if d := o.Start - w.Start; d > r.Neighbor*w.Width || d < -r.Neighbor*w.Width || now < add(o.endMS(), r.Mature) {
			continue
		}
		orphans, unjudged = add(orphans, o.Reverse), add(unjudged, o.Unjudged)
		down = add(down, sum(o.Matched, o.Reverse))
	}
	return orphans, unjudged, down
}
