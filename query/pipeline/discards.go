package pipeline

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/brokers"
	"github.com/weirhq/weir/store"
)

// discardLosses makes verdicts of what brokers gave up, for destinations that no counted edge audits. The count of a window is
// told as a whole, so that another process which reads the same polls says the same.
func (t *tenant) discardLosses(now int64) {
	for q := range t.broker.Queues() {
		if q.Destination == "" { // of the cluster as a whole: whose records they were nobody knows
			t.unplaced.add(q, now, t.s.overflow)
			continue
		}
		if !q.DiscardsGrew() {
			continue
		}
		for _, p := range t.pipes {
			if !p.touches(q.Destination) || slices.ContainsFunc(p.topo.Edges, func(e flow.Edge) bool { return e.Destination == q.Destination }) {
				continue
			}
			for _, w := range q.DiscardWindows() {
				t.discardVerdict(p.id, q, w, now)
			}
		}
	}
	for _, text := range t.unplaced.due(now) {
		t.note(now, changeBroker, text)
	}
}

// touches says whether a pipeline reads or writes a destination.
func (p *pipe) touches(destination string) bool {
	for _, in := range p.offsets {
		if in.Destination == destination {
			return true
		}
	}
	for i := range p.topo.Stages {
		if slices.Contains(p.topo.Stages[i].Out, destination) || slices.ContainsFunc(p.topo.Stages[i].In, func(in flow.Input) bool { return in.Destination == destination }) {
			return true
		}
	}
	return false
}

func (t *tenant) discardVerdict(id string, q *brokers.Queue, w, now int64) {
	var lost, dead float64
	class, most := "", 0.0
	var reasons []string
	for c, n := range q.DiscardsIn(w) {
		switch {
		case n == 0 || !c.GivenUp():
		case c.DeadLettered:
			dead += n
			reasons = append(reasons, fmt.Sprintf("The broker moved %s records of %s to a dead-letter destination: %s.", flow.Count(int64(n)), q.Destination, c.Reason))
		default:
			lost += n
			if n > most || n == most && c.Reason < class {
				class, most = c.Reason, n
			}
			reasons = append(reasons, fmt.Sprintf("The broker gave up %s records of %s: %s.", flow.Count(int64(n)), q.Destination, c.Reason))
		}
	}
	k := store.VerdictKey{Pipeline: id, Kind: store.EdgeTransport, Destination: q.Destination, Window: w, Width: brokers.DiscardWidth}
	old, _ := t.ledger.Verdict(k)
	if int64(lost) <= old.Lost && int64(dead) <= old.DLQ {
		return
	}
	v := old
	v.VerdictKey = k
	v.State, v.Settled, v.Level, v.Confidence, v.SettledAt, v.UpdatedAt = flow.OK, true, flow.L0, 0.95, now, now
	v.Lost, v.DLQ = max(v.Lost, int64(lost)), max(v.DLQ, int64(dead))
	v.Delta, v.Explained = v.Lost, v.Lost
	v.Class = "dead letters"
	if v.Lost > 0 {
		v.State, v.Class = flow.Loss, cmp.Or(class, v.Class)
	}
	slices.Sort(reasons)
	v.Reasons = reasons
	t.ledger.Say(v, now)
}
