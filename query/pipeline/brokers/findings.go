package brokers

import (
	"github.com/weirhq/weir/query/flow"
)

// Findings sums what offset rules found for a group since a window began: how much of what the broker
// took in that window was lost by retention, skips and truncation, and how much was read again.
func (b *Book) Findings(destination, group string, w flow.Window) flow.Finding {
	var f flow.Finding
	q := b.QueueFor(destination, group)
	if q == nil {
		return f
	}
	f.Discarded, f.Discard = q.discardedSince(w.Start)
	for part, pos := range q.Positions(group) {
		f.Redelivered += pos.redeliveries(w.Start * 1000)
		for _, e := range pos.events {
			if e.Kind == flow.EventRewind || e.Kind == flow.EventRecreated || e.T < w.Start*1000 {
				continue
			}
			if e.Kind == flow.EventTruncation { // the newest records are gone: those since the end was last that low
				if before, ok := part.End.Before(e.T - 1); !ok || before.T < w.End()*1000 {
					f.Truncated += e.N
				}
				continue
			}
			lo, ok1 := part.End.Value(w.Start * 1000)
			hi, ok2 := part.End.Value(w.End() * 1000)
			if !ok1 || !ok2 {
				continue
			}
			n := min(float64(e.To), hi) - max(float64(e.From), lo)
			if n <= 0 {
				continue
			}
			switch e.Kind {
			case flow.EventRetention:
				f.Retention += int64(n)
			case flow.EventSkip:
				f.Skipped += int64(n)
			default:
				f.Truncated += int64(n)
			}
		}
	}
	return f
}

// How far around a window jumps are looked for, seconds, and in which steps.
const (
	jumpReach  = 300
	jumpFuture = 900
	jumpStep   = 5
)

// Jumped counts records that came in a window and that the group passed over quickly, where the broker does not tell
// what it handed out. blur is how many of them it may have read, where a jump begins or ends within the window.
func (b *Book) Jumped(destination, group string, w flow.Window) (records, blur int64) {
	q := b.QueueFor(destination, group)
	if q == nil {
		return 0, 0
	}
	n, unsure := 0.0, 0.0
	for part, pos := range q.Positions(group) {
		if pos.deliveredTotal.at > 0 {
			continue
		}
		lo, ok1 := part.End.Value(w.Start * 1000)
		hi, ok2 := part.End.Value(w.End() * 1000)
		if !ok1 || !ok2 || hi <= lo {
			continue
		}
		for _, j := range flow.Jumps(pos.table.Value, (w.Start-jumpReach)*1000, min((w.End()+jumpFuture)*1000, pos.at), jumpStep*1000) {
			in := min(j.To, hi) - max(j.From, lo)
			if in <= 0 {
				continue
			}
			n += in
			if j.From > lo {
				unsure += j.Blur
			}
			if j.To < hi {
				unsure += j.Blur
			}
		}
	}
	return int64(n), int64(unsure)
}
