package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/brokers"
	"github.com/weirhq/weir/query/series"
)

// spanBook holds what joined spans say: sums of the last windows, never spans.
type spanBook struct {
	pairs map[pairID]cell.Pair
	book  *flow.SpanBook
	owner map[string]string // destination → pipeline, for what only spans know; names stay
	of    map[edgeID]string // edge → pipeline
	works map[string][]*flow.Works
	from  map[flow.SpanStage]bool // stages counted from spans
	gaps  []spanGap
	gapAt map[string]spanCount // newest reading of each counter of lost spans
	told  map[string]spanWork  // what workOf said of a stage since the last reading
	fresh bool                 // read since discoverSpans last ran
	next  int64
	wide  int64
}

type (
	pairID struct {
		cell.PairKey
		instance string
		epoch    int64
	}
	edgeID    struct{ destination, group, to string }
	spanCount struct {
		at int64
		v  float64
	}
	// spanGap is a time in which weir's own way for spans lost some.
	spanGap struct {
		from, to int64 // Unix milliseconds
		text     string
	}
)

// How often sums are read, and how far back: newest windows often, all that may change from time to time.
const (
	spanEvery  = 5_000            // milliseconds
	spanWide   = 60_000           // milliseconds
	spanRecent = 5 * 60           // seconds
	spanMemory = 25 * 60          // seconds
	maxPairs   = 500_000          // sums of one tenant
	maxGaps    = 1000             //
	spanSettle = 10 * time.Second // from the begin of a producer span to the broker's end offset
)

// readSpans reads what joined spans say.
func (t *tenant) readSpans(ctx context.Context, now int64) error {
	b := &t.spans
	if now < b.next {
		return nil
	}
	b.next = now + spanEvery
	if b.pairs == nil {
		b.pairs, b.owner, b.gapAt = map[pairID]cell.Pair{}, map[string]string{}, map[string]spanCount{}
	}
	span := int64(spanRecent)
	if now-b.wide >= spanWide {
		span, b.wide = spanMemory, now
	}
	ps, err := t.s.engine.Ledger().Pairs(ctx, t.id, time.Unix(now/1000-span, 0), time.UnixMilli(now).Add(time.Hour))
	if err != nil {
		return fmt.Errorf("cannot read what joined spans say: %w", err)
	}
	for i := range ps {
		k := pairID{ps[i].PairKey, ps[i].Instance, ps[i].Epoch}
		if old, ok := b.pairs[k]; ok && old.Seq >= ps[i].Seq {
			continue
		} else if !ok && len(b.pairs) >= maxPairs {
			t.s.overflow.Inc()
			continue
		}
		b.pairs[k] = ps[i]
	}
	for k := range b.pairs {
		if k.Window+k.Width < now/1000-spanMemory {
			delete(b.pairs, k)
		}
	}
	list := make([]cell.Pair, 0, len(b.pairs))
	for _, p := range b.pairs {
		list = append(list, p)
	}
	b.book = flow.Spans(list, now, flow.DefaultSpanRules())
	b.fresh, b.told = true, map[string]spanWork{}
	b.works = map[string][]*flow.Works{}
	for i := range b.book.Works {
		w := &b.book.Works[i]
		b.works[w.Stage] = append(b.works[w.Stage], w)
	}
	if len(list) == 0 {
		return nil
	}
	return t.readSpanGaps(ctx, now)
}

// readSpanGaps finds when collectors' spools had to drop spans, and when records of a spool never arrived.
func (t *tenant) readSpanGaps(ctx context.Context, now int64) error {
	b := &t.spans
	from := now - 3*spanEvery - 60_000
	if len(b.gapAt) == 0 {
		from = now - spanMemory*1000
	}
	q, err := t.s.engine.Metrics().Querier(t.id, from, now)
	if err != nil {
		return fmt.Errorf("cannot read the drops of spools: %w", err)
	}
	defer func() { _ = q.Close() }()
	key, node := "", ""
	err = series.Each(ctx, q, "weir_spool_dropped_items_total", func(ls labels.Labels) bool {
		key, node = ls.String(), ls.Get("node")
		return true
	}, func(at int64, v float64) {
		last, ok := b.gapAt[key]
		if ok && at <= last.at {
			return
		}
		if ok && v > last.v {
			b.gap(last.at-60_000, at, fmt.Sprintf("The collector of %s had to drop %s spans.", node, flow.Count(int64(v-last.v))))
		}
		b.gapAt[key] = spanCount{at, v}
	}, labels.MustNewMatcher(labels.MatchEqual, "signal", "spans"))
	if err != nil {
		return fmt.Errorf("cannot read the drops of spools: %w", err)
	}
	for _, c := range t.collectors() {
		k := "gaps of " + c.Node
		if last, ok := b.gapAt[k]; ok && float64(c.Gaps) > last.v {
			b.gap(last.at-120_000, now, fmt.Sprintf("%s records of the collector of %s never arrived; there may be spans among them.", flow.Count(c.Gaps-int64(last.v)), c.Node))
		}
		b.gapAt[k] = spanCount{now, float64(c.Gaps)}
	}
	b.gaps = slices.DeleteFunc(b.gaps, func(g spanGap) bool { return g.to < now-2*spanMemory*1000 })
	return nil
}

func (b *spanBook) gap(from, to int64, text string) {
	if len(b.gaps) < maxGaps {
		b.gaps = append(b.gaps, spanGap{from, to, text})
	}
}

// lostIn says why spans of a window may be missing through weir's own fault.
func (b *spanBook) lostIn(w flow.Window, r flow.SpanRules) []string {
	var out []string
	for _, g := range b.gaps {
		if g.to >= w.Start*1000 && g.from <= w.End()*1000+r.Mature && len(out) < 5 {
			out = append(out, g.text)
		}
	}
	return out
}

// settleSpans judges the edges that spans tell of. Where applications count on both sides their cells speak, and spans give
// examples.
func (t *tenant) settleSpans(now int64) {
	b := &t.spans
	if b.book == nil {
		return
	}
	rules := flow.DefaultSpanRules()
	for _, p := range t.pipes {
		if p.cells && p.spans {
			t.giveEndings(p)
		}
	}
	for i := range b.book.Edges {
		e := &b.book.Edges[i]
		p := t.pipes[b.of[edgeKey(e)]]
		if p == nil || len(e.From) == 0 {
			continue
		}
		if counted := t.countedEdge(p, e); counted != nil {
			t.giveExamples(p, *counted, e)
			continue
		}
		q := t.broker.QueueFor(e.Destination, e.Group)
		if q != nil && q.ReadsSome(e.Group) {
			continue // the group leaves records out on purpose
		}
		for j := range e.Windows {
			t.settleSpanWindow(p, e, &e.Windows[j], q, now, rules)
		}
	}
}

func (t *tenant) settleSpanWindow(p *pipe, e *flow.SpanEdge, w *flow.SpanWindow, q *brokers.Queue, now int64, rules flow.SpanRules) {
	to := e.To
	if to == "" {
		to = e.Group
	}
	k := flow.Edge{From: e.From, Destination: e.Destination, Group: e.Group, To: to}.Key(p.id, w.Window)
	prior, before := t.ledger.Verdict(k)
	if before && prior.Level != flow.LT && prior.Settled { // told by better evidence
		return
	}
	found := t.broker.Findings(e.Destination, e.Group, w.Window)
	ev := flow.SpanEvidence{
		SpanWindow: *w, Lost: t.spans.lostIn(w.Window, rules), Redelivered: found.Redelivered,
		Explained: found.Retention + found.Skipped + found.Truncated,
	}
	ev.Orphans, ev.Unjudged, ev.Down = e.Telemetry(w.Window, now, rules)
	if q != nil {
		if passed, told, at := q.Flow().Passed(e.Group, w.Window, spanSettle); told {
			ev.Passed, ev.PassedAt = &passed, at
		}
	}
	v, ok := flow.JudgeSpans(ev, now, rules)
	if !ok {
		return
	}
	v.VerdictKey, v.UpdatedAt = k, now
	if v.Settled {
		v.SettledAt = now
	}
	if before {
		v.Revision = prior.Revision
		if prior.State != v.State || prior.Lost != v.Lost {
			v.Revision++
		}
		if prior.Settled {
			if !v.Settled { // what is told stands until something else is known
				return
			}
			v.SettledAt = prior.SettledAt
		}
	}
	t.ledger.Say(v, now)
}

func edgeKey(e *flow.SpanEdge) edgeID {
	k := edgeID{e.Destination, e.Group, ""}
	if e.Group == "" {
		k.to = e.To
	}
	return k
}

// countedEdge finds the edge of the applications' own counts that a span edge lies on.
func (t *tenant) countedEdge(p *pipe, e *flow.SpanEdge) *flow.Edge {
	for i := range p.counted.Edges {
		c := &p.counted.Edges[i]
		if sameEdge(c, e) && !t.spans.from[flow.SpanStage{Pipeline: p.id, Stage: c.To}] &&
			!slices.ContainsFunc(c.From, func(s string) bool { return t.spans.from[flow.SpanStage{Pipeline: p.id, Stage: s}] }) {
			return c
		}
	}
	return nil
}

func sameEdge(c *flow.Edge, e *flow.SpanEdge) bool {
	return c.Destination == e.Destination && (c.Group == e.Group || e.Group == "" && c.To == e.To)
}

// joins says whether joined spans judge an edge.
func (t *tenant) joins(p *pipe, c flow.Edge) bool {
	if t.spans.book == nil {
		return false
	}
	for i := range t.spans.book.Edges {
		e := &t.spans.book.Edges[i]
		if len(e.From) > 0 && sameEdge(&c, e) && t.spans.of[edgeKey(e)] == p.id {
			return true
		}
	}
	return false
}

// preferCells turns what collectors counted from spans into the counts of stages that do not count themselves.
func (t *tenant) preferCells(cells []cell.Cell) []cell.Cell {
	out, from := flow.PreferCells(cells, func(destination string) string { return t.spans.owner[destination] })
	for st := range from {
		if t.spans.from == nil {
			t.spans.from = map[flow.SpanStage]bool{}
		}
		t.spans.from[st] = true
	}
	return out
}

// fromSpans are the stages of a pipeline that are counted from spans.
func (t *tenant) fromSpans(p *pipe) map[string]bool {
	var out map[string]bool
	for st := range t.spans.from {
		if st.Pipeline == p.id {
			if out == nil {
				out = map[string]bool{}
			}
			out[st.Stage] = true
		}
	}
	return out
}

// giveExamples adds the trace ids of missing messages to what counts found lost.
func (t *tenant) giveExamples(p *pipe, c flow.Edge, e *flow.SpanEdge) {
	bk := t.ledger.Get(c.Key(p.id, flow.Window{}))
	if bk == nil {
		return
	}
	for i := range e.Windows {
		w := &e.Windows[i]
		if len(w.Examples) == 0 {
			continue
		}
		for start, v := range bk.Verdicts() {
			if start >= w.End() || start+v.Width <= w.Start || v.Lost == 0 || slices.ContainsFunc(v.Examples, isTrace) {
				continue
			}
			t.ledger.AddExamples(bk, start, w.Examples, fmt.Sprintf("Of %s joined traces %s end on the way.", flow.Count(w.Up), flow.Count(w.Missed)))
		}
	}
}

// giveEndings adds traces that end in a stage to what counts found lost in it. Where it leaves records out on purpose they would
// be no examples.
func (t *tenant) giveEndings(p *pipe) {
	for _, st := range p.counted.Stages {
		bk := t.ledger.Get(flow.BalanceKey(p.id, st.Name, flow.Window{}))
		if bk == nil {
			continue
		}
		for _, w := range t.spans.works[st.Name] {
			if w.Missed == 0 || w.Matched == 0 {
				continue
			}
			for start, v := range bk.Verdicts() {
				if start >= w.End() || start+v.Width <= w.Start || v.Lost == 0 || v.Filtered+v.DLQ > 0 || slices.ContainsFunc(v.Examples, isTrace) {
					continue
				}
				t.ledger.AddExamples(bk, start, w.Examples, fmt.Sprintf("%s of %s sampled traces end in %s.", flow.Count(w.Missed), flow.Count(w.Missed+w.Matched), st.Name))
			}
		}
	}
}

// isTrace tells trace ids from message ids.
func isTrace(s string) bool {
	return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == ""
}

// joinedSpans is how many producer spans of a pipeline were joined in the last windows.
func (t *tenant) joinedSpans(p *pipe) (n int64) {
	if t.spans.book == nil {
		return 0
	}
	for i := range t.spans.book.Edges {
		e := &t.spans.book.Edges[i]
		if t.spans.of[edgeKey(e)] != p.id {
			continue
		}
		for j := range e.Windows {
			n += e.Windows[j].Matched
		}
	}
	return n
}

// judgedBySpans says whether some edge of a pipeline has no better evidence than spans.
func (t *tenant) judgedBySpans(p *pipe) bool {
	if t.spans.book == nil {
		return false
	}
	for i := range t.spans.book.Edges {
		e := &t.spans.book.Edges[i]
		if t.spans.of[edgeKey(e)] == p.id && len(e.From) > 0 && t.countedEdge(p, e) == nil {
			return true
		}
	}
	return false
}

// spanRate is what a stage takes in or puts out per second as spans tell, in the newest whole window; nil where they do not
// tell how many messages one span stands for.
func (t *tenant) spanRate(stage string, d cell.Dir, now int64) *float64 {
	b := t.spans.book
	if b == nil {
		return nil
	}
	sides := b.Writers
	if d == cell.In {
		sides = b.Readers
	}
	var sum float64
	some := false
	for i := range sides {
		s := &sides[i]
		if s.Stage != stage || s.Width <= 0 {
			continue
		}
		w := now/1000 - 20 - s.Width // spans of the newest whole window are there after some seconds
		w -= w % s.Width
		n, told := s.Windows[w].Estimate()
		if n > 0 && !told {
			return nil
		}
		sum += n / float64(s.Width)
		some = true
	}
	if !some {
		return nil
	}
	return &sum
}
