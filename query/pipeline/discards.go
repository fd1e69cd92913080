package pipeline

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// discardKey names a count of records that a broker itself gave up, as one collector reports it.
type discardKey struct {
	reason string
	dead   bool // they went to a dead-letter destination
	node   string
}

// discards follows such a count.
type discards struct {
	last    sample
	windows map[int64]float64 // minute → how many
	dirty   bool
}

// discardWidth is the width of the windows in which discards are told, seconds.
const discardWidth = 60

// take counts the growth in the window of the poll; a fall is a restart of the broker, and all of the new count is new.
func (d *discards) take(at int64, v float64) {
	if at <= d.last.at {
		return
	}
	n := v - d.last.v
	if n < 0 {
		n = v
	}
	if d.last.at > 0 && n > 0 {
		if d.windows == nil {
			d.windows = map[int64]float64{}
		}
		d.windows[at/1000/discardWidth*discardWidth] += n
		d.dirty = true
		for w := range d.windows {
			if w < at/1000-2*3600 {
				delete(d.windows, w)
			}
		}
	}
	d.last = sample{at, v}
}

func (q *queue) discard(k discardKey) *discards {
	d := q.discards[k]
	if d == nil {
		d = &discards{}
		q.discards[k] = d
	}
	return d
}

// notLost are reasons under which a broker deletes records that may well have been read: the offsets tell whether they were.
func notLost(reason string) bool { return reason == "trimmed" || reason == "retention" }

// discardLosses makes verdicts of what brokers gave up, for destinations that no counted edge audits. The count of a window is
// told as a whole, so that another process which reads the same polls says the same.
func (t *tenant) discardLosses(now int64) {
	for _, q := range t.broker.queues {
		dirty := false
		for _, d := range q.discards {
			dirty = dirty || d.dirty
			d.dirty = false
		}
		if !dirty {
			continue
		}
		for _, p := range t.pipes {
			if !p.touches(q.destination) || slices.ContainsFunc(p.topo.Edges, func(e flow.Edge) bool { return e.Destination == q.destination }) {
				continue
			}
			for _, w := range q.discardWindows() {
				t.discardVerdict(p.id, q, w, now)
			}
		}
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

func (q *queue) discardWindows() []int64 {
	seen := map[int64]bool{}
	for _, d := range q.discards {
		for w := range d.windows {
			seen[w] = true
		}
	}
	out := make([]int64, 0, len(seen))
	for w := range seen {
		out = append(out, w)
	}
	slices.Sort(out)
	return out
}

// discardedSince is how many records the broker says that it gave up since a time, Unix seconds, and why most of them.
func (q *queue) discardedSince(since int64) (total int64, reason string) {
	counts := map[string]float64{} // of several collectors the one that saw most
	for k, d := range q.discards {
		n := 0.0
		if k.dead || !notLost(k.reason) {
			for w, x := range d.windows {
				if w+discardWidth > since {
					n += x
				}
			}
		}
		why := k.reason
		if k.dead {
			why = "moved to a dead-letter destination: " + k.reason
		}
		counts[why] = max(counts[why], n)
	}
	most := 0.0
	for why, n := range counts {
		total += int64(n)
		if n > most || n == most && n > 0 && why < reason {
			most, reason = n, why
		}
	}
	return total, reason
}

func (t *tenant) discardVerdict(id string, q *queue, w, now int64) {
	type cause struct {
		reason string
		dead   bool
	}
	counts := map[cause]float64{} // of several collectors the one that saw most
	for k, d := range q.discards {
		c := cause{k.reason, k.dead}
		counts[c] = max(counts[c], d.windows[w])
	}
	var lost, dead float64
	class, most := "", 0.0
	var reasons []string
	for c, n := range counts {
		switch {
		case n == 0 || !c.dead && notLost(c.reason):
		case c.dead:
			dead += n
			reasons = append(reasons, fmt.Sprintf("The broker moved %s records of %s to a dead-letter destination: %s.", flow.Count(int64(n)), q.destination, c.reason))
		default:
			lost += n
			if n > most || n == most && c.reason < class {
				class, most = c.reason, n
			}
			reasons = append(reasons, fmt.Sprintf("The broker gave up %s records of %s: %s.", flow.Count(int64(n)), q.destination, c.reason))
		}
	}
	k := store.VerdictKey{Pipeline: id, Kind: store.EdgeTransport, Destination: q.destination, Window: w, Width: discardWidth}
	old := t.ledger.book(k).verdicts[w]
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
	t.ledger.say(v, now)
}
