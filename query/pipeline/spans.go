package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/brokers"
)

// spanSettle is the time from the begin of a producer span to the broker's end offset.
const spanSettle = 10 * time.Second

// settleSpans judges the edges that spans tell of. Where applications count on both sides their cells speak, and spans give
// examples.
func (t *tenant) settleSpans(now int64) {
	rules := flow.DefaultSpanRules()
	for _, p := range t.pipes {
		if p.cells && p.spans {
			t.giveEndings(p)
		}
	}
	for id, e := range t.spans.Edges() {
		p := t.pipes[id]
		if p == nil || len(e.From) == 0 {
			continue
		}
		if counted := t.spans.Counted(p.counted, e); counted != nil {
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
	t.ledger.Know(k) // spans are ripe after minutes; that they are joined is seen at once
	prior, before := t.ledger.Verdict(k)
	if before && prior.Level != flow.LT && prior.Settled { // told by better evidence
		return
	}
	found := t.broker.Findings(e.Destination, e.Group, w.Window)
	ev := flow.SpanEvidence{
		SpanWindow: *w, Lost: t.spans.LostIn(w.Window, rules), Redelivered: found.Redelivered,
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
		for _, w := range t.spans.Works(st.Name) {
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
