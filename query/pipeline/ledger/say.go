package ledger

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// take remembers a verdict, with mu held.
func (l *Ledger) take(v store.Verdict) {
	l.changed++
	b := l.balance(v.VerdictKey)
	if v.State == flow.InFlight {
		b.open[v.Window] = v
		return
	}
	delete(b.open, v.Window)
	prior, before := b.verdicts[v.Window]
	l.count(b, &prior, &v)
	if v.State == flow.OK {
		v.Reasons, v.Examples = nil, nil // the store has them
	}
	b.verdicts[v.Window] = v
	b.begin(&v)
	h := window{toldLost: b.hour[v.Window].toldLost, toldSurplus: b.hour[v.Window].toldSurplus}
	if v.Settled {
		h.Up, h.Down, h.Filtered, h.DLQ, h.Dropped, h.Lost, h.Surplus = v.Up, v.Down, v.Filtered, v.DLQ, v.Dropped, v.Lost, v.Surplus
		if v.State == flow.Unknown {
			h.Unknown = v.Up
		}
	}
	if _, known := b.hour[v.Window]; known || v.Settled {
		b.hour[v.Window] = h
	}
	if v.Window >= l.filled {
		if !before {
			b.day.add(&v, nil)
		} else {
			b.day.add(&v, &prior)
		}
	}
	b.mark(&v)
	b.day.show(&v, b)
}

// count lets totals grow by what a verdict says more than the one before.
func (l *Ledger) count(b *Balance, prior, v *store.Verdict) {
	if !v.Settled {
		return
	}
	told, known := b.hour[v.Window]
	if prior.Settled {
		told.toldLost, told.toldSurplus = max(told.toldLost, prior.Lost), max(told.toldSurplus, prior.Surplus)
	}
	if n := v.Lost - told.toldLost; n > 0 {
		b.total += float64(n)
		told.toldLost = v.Lost
	}
	if n := v.Surplus - told.toldSurplus; n > 0 {
		b.surplus += float64(n)
		told.toldSurplus = v.Surplus
	}
	if known || told.toldLost+told.toldSurplus > 0 {
		b.hour[v.Window] = told
	}
	if !prior.Settled || prior.State != v.State {
		m := l.counted[v.Pipeline]
		if m == nil {
			m = map[string]float64{}
			l.counted[v.Pipeline] = m
		}
		m[v.State]++
	}
}

// Say takes a new verdict and queues it for the store when it says something new. now is in Unix milliseconds.
func (l *Ledger) Say(v store.Verdict, now int64) {
	defer l.unlock(l.lock())
	b := l.balance(v.VerdictKey)
	prior, before := b.verdicts[v.Window]
	b.learnLate(prior, v, now)
	if v.State == flow.InFlight {
		b.open[v.Window] = v
		return
	}
	same := before && sameSaid(&prior, &v)
	quietly := before && !v.Settled && !prior.Settled && prior.State == v.State && prior.Lost == v.Lost && now-prior.UpdatedAt < 30_000
	if same {
		delete(b.open, v.Window)
		return
	}
	if quietly {
		v.UpdatedAt = prior.UpdatedAt
	} else {
		l.queue(v)
	}
	l.take(v)
}

func (l *Ledger) queue(v store.Verdict) {
	if len(l.newVerdicts) < maxPending {
		l.newVerdicts[v.VerdictKey] = v
	}
}

// sameSaid says whether two verdicts of a window tell the same.
func sameSaid(a, b *store.Verdict) bool {
	return a.State == b.State && a.Settled == b.Settled && a.Lost == b.Lost && a.Surplus == b.Surplus &&
		a.Up == b.Up && a.Down == b.Down && a.Filtered == b.Filtered && a.DLQ == b.DLQ && a.Dropped == b.Dropped && a.Epsilon == b.Epsilon
}

// Revise takes a verdict that replaces an old one of which memory may know nothing any more, unless it tells the same. known is
// false where there is no old one.
func (l *Ledger) Revise(old store.Verdict, known bool, v store.Verdict) {
	if known && sameSaid(&old, &v) {
		return
	}
	defer l.unlock(l.lock())
	b := l.balance(v.VerdictKey)
	if _, here := b.verdicts[v.Window]; !here && known {
		b.verdicts[v.Window] = old
	}
	if known && old.Settled {
		late := "Counts that came late changed this verdict, which was " + old.State + "."
		if !slices.Contains(v.Reasons, late) {
			v.Reasons = append(slices.Clip(v.Reasons), late)
		}
		v.SettledAt = cmp.Or(old.SettledAt, v.SettledAt)
	}
	l.queue(v)
	l.take(v)
}

// learnLate learns how long after their window records came, when a settled window grows. It does so when they come,
// not when the window is settled again: that waits for the lateness itself. What was complete and came again is not late.
func (b *Balance) learnLate(prior, v store.Verdict, now int64) {
	if !prior.Settled || prior.State == flow.Unknown {
		return
	}
	last := prior
	if o, ok := b.open[v.Window]; ok && o.UpdatedAt > prior.UpdatedAt {
		last = o
	}
	if last.Up != v.Up || last.Down != v.Down && last.Delta > 0 {
		b.lateness = min(max(b.lateness, now-(v.Window+v.Width)*1000), 300_000)
		b.lateAt = now
	}
}

// Learn keeps the ratios of stages, which follow from their settled balances.
func (l *Ledger) Learn(v store.Verdict) {
	if v.Kind != store.EdgeBalance || !v.Settled {
		return
	}
	defer l.unlock(l.lock())
	b := l.balance(v.VerdictKey)
	left := v.Up - v.Filtered - v.DLQ - v.Dropped
	if v.Window <= b.ratioTo || left <= 0 {
		return
	}
	b.ratioTo = v.Window
	b.ratios = append(b.ratios, float64(v.Down)/float64(left))
	if len(b.ratios) > 4*flow.MinLearn {
		b.ratios = append(b.ratios[:0], b.ratios[flow.MinLearn:]...)
	}
}

// AddExamples adds traces of lost messages to a verdict that is still followed, with the reason they give.
func (l *Ledger) AddExamples(b *Balance, window int64, traces []string, reason string) {
	v := b.verdicts[window]
	v.Examples = append(slices.Clip(v.Examples), traces...)
	v.Reasons = append(slices.Clip(v.Reasons), reason)
	defer l.unlock(l.lock())
	b.verdicts[window] = v
	l.queue(v)
}

// Barriers are those in force. Whoever settles adds those that are new, and gives them to AddBarriers.
func (l *Ledger) Barriers() map[flow.BarrierKey]store.Barrier { return l.barriers }

// AddBarriers queues barriers for the store, and tells how many older ones that leaves no room for: the store has been away for
// long, and their windows settle by what is in memory.
func (l *Ledger) AddBarriers(bs []store.Barrier) (dropped int) {
	l.newBarriers = append(l.newBarriers, bs...)
	dropped = max(len(l.newBarriers)-maxPending, 0)
	l.newBarriers = l.newBarriers[dropped:]
	return dropped
}

// Write hands barriers and verdicts to the store, barriers first: a verdict rests on them.
func (l *Ledger) Write(ctx context.Context) error {
	if len(l.newBarriers) > 0 {
		if err := l.engine.Ledger().PutBarriers(ctx, l.tenant, l.newBarriers); err != nil {
			return fmt.Errorf("cannot store %d barriers: %w", len(l.newBarriers), err)
		}
		l.newBarriers = l.newBarriers[:0]
	}
	if len(l.newVerdicts) > 0 {
		vs := make([]store.Verdict, 0, len(l.newVerdicts))
		for _, v := range l.newVerdicts {
			vs = append(vs, v)
		}
		if err := l.engine.Ledger().PutVerdicts(ctx, l.tenant, vs); err != nil {
			return fmt.Errorf("cannot store %d verdicts: %w", len(vs), err)
		}
		clear(l.newVerdicts)
	}
	return nil
}
