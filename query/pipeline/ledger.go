package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// ledgerBook holds barriers and verdicts of the windows that are still followed, and what was lost in a day.
type ledgerBook struct {
	barriers map[flow.BarrierKey]store.Barrier
	books    map[store.VerdictKey]*book // by key without window
	byPipe   map[string][]*book
	// What waits for the store; kept when a write fails.
	newBarriers []store.Barrier
	newVerdicts map[store.VerdictKey]store.Verdict
	pruned      int64
}

// book is one balance over time.
type book struct {
	key      store.VerdictKey // without window
	first    int64            // oldest settled window; 0 = none
	verdicts map[int64]store.Verdict
	open     map[int64]store.Verdict // IN_FLIGHT: told, not stored
	bad      map[int64]loss          // windows of the last day with a loss or a doubt
	hour     map[int64]sums          // settled windows of the last hour
	lateness int64                   // learned, milliseconds
	lateAt   int64
	ratios   []float64
	total    float64 // records lost since the process began, never falling; begins with the last day's
	ratioTo  int64   // window up to which ratios are learned
}

// loss is what a window says after its verdict is forgotten.
type loss struct {
	state               string
	lost, bound, settle int64 // records, records, Unix milliseconds
	width               int64
}

type sums struct{ up, down, filtered, dlq, dropped, lost, surplus int64 }

// How long verdicts are followed for late cells, and how many windows of a balance are remembered, at most.
const (
	followed   = 20 * 60 // seconds
	maxWindows = 20_000
	maxPending = 200_000
)

func newLedgerBook() ledgerBook {
	return ledgerBook{barriers: map[flow.BarrierKey]store.Barrier{}, books: map[store.VerdictKey]*book{}, byPipe: map[string][]*book{}, newVerdicts: map[store.VerdictKey]store.Verdict{}}
}

func bare(k store.VerdictKey) store.VerdictKey {
	k.Window, k.Width = 0, 0
	return k
}

func (l *ledgerBook) book(k store.VerdictKey) *book {
	k = bare(k)
	b := l.books[k]
	if b == nil {
		b = &book{key: k, verdicts: map[int64]store.Verdict{}, open: map[int64]store.Verdict{}, bad: map[int64]loss{}, hour: map[int64]sums{}}
		l.books[k] = b
		l.byPipe[k.Pipeline] = append(l.byPipe[k.Pipeline], b)
	}
	return b
}

// loadLedger reads barriers and verdicts of the last hour and what was lost in the last day.
func (t *tenant) loadLedger(ctx context.Context, now int64) error {
	l := &t.ledger
	at := time.UnixMilli(now)
	ledger := t.s.engine.Ledger()
	bs, err := ledger.Barriers(ctx, t.id, at.Add(-time.Hour), at.Add(time.Hour))
	if err != nil {
		return fmt.Errorf("cannot read barriers: %w", err)
	}
	for _, b := range bs {
		l.barriers[flow.KeyOf(b)] = b
	}
	for _, q := range []store.VerdictQuery{
		{From: at.Add(-24 * time.Hour), To: at.Add(time.Hour), OnlyNotOK: true},
		{From: at.Add(-time.Hour), To: at.Add(time.Hour)},
	} {
		vs, err := ledger.Verdicts(ctx, t.id, q)
		if err != nil {
			return fmt.Errorf("cannot read verdicts: %w", err)
		}
		for _, v := range vs {
			l.take(v)
		}
	}
	return nil
}

// take remembers a verdict.
func (l *ledgerBook) take(v store.Verdict) {
	b := l.book(v.VerdictKey)
	if v.State == flow.InFlight {
		b.open[v.Window] = v
		return
	}
	delete(b.open, v.Window)
	if lost := v.Lost - b.verdicts[v.Window].Lost; lost > 0 && v.Settled {
		b.total += float64(lost)
	}
	if v.State == flow.OK {
		v.Reasons, v.Examples = nil, nil // the store has them
	}
	b.verdicts[v.Window] = v
	if v.Settled {
		if b.first == 0 || v.Window < b.first {
			b.first = v.Window
		}
		b.hour[v.Window] = sums{v.Up, v.Down, v.Filtered, v.DLQ, v.Dropped, v.Lost, v.Surplus}
	}
	switch {
	case v.Lost > 0 || v.Settled && v.State == flow.Unknown:
		bound := int64(0)
		if v.State == flow.Unknown {
			bound = v.Epsilon
		}
		if len(b.bad) < maxWindows {
			b.bad[v.Window] = loss{v.State, v.Lost, bound, v.SettledAt, v.Width}
		}
	default:
		delete(b.bad, v.Window)
	}
}

// say takes a new verdict and queues it for the store when it says something new.
func (l *ledgerBook) say(v store.Verdict, now int64) {
	b := l.book(v.VerdictKey)
	prior, before := b.verdicts[v.Window]
	b.learnLate(prior, v, now)
	if v.State == flow.InFlight {
		b.open[v.Window] = v
		return
	}
	same := before && prior.State == v.State && prior.Settled == v.Settled && prior.Lost == v.Lost && prior.Surplus == v.Surplus &&
		prior.Up == v.Up && prior.Down == v.Down && prior.Filtered == v.Filtered && prior.DLQ == v.DLQ && prior.Dropped == v.Dropped && prior.Epsilon == v.Epsilon
	quietly := before && !v.Settled && !prior.Settled && prior.State == v.State && prior.Lost == v.Lost && now-prior.UpdatedAt < 30_000
	if same {
		delete(b.open, v.Window)
		return
	}
	if quietly {
		v.UpdatedAt = prior.UpdatedAt
	} else if len(l.newVerdicts) < maxPending {
		l.newVerdicts[v.VerdictKey] = v
	}
	l.take(v)
}

// learnLate learns how long after their window records came, when a settled window grows. It does so when they come,
// not when the window is settled again: that waits for the lateness itself. What was complete and came again is not late.
func (b *book) learnLate(prior, v store.Verdict, now int64) {
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

// write hands barriers and verdicts to the store, barriers first: a verdict rests on them.
func (t *tenant) write(ctx context.Context) error {
	l := &t.ledger
	if len(l.newBarriers) > 0 {
		if err := t.s.engine.Ledger().PutBarriers(ctx, t.id, l.newBarriers); err != nil {
			return fmt.Errorf("cannot store %d barriers: %w", len(l.newBarriers), err)
		}
		l.newBarriers = l.newBarriers[:0]
	}
	if len(l.newVerdicts) > 0 {
		vs := make([]store.Verdict, 0, len(l.newVerdicts))
		for _, v := range l.newVerdicts {
			vs = append(vs, v)
		}
		if err := t.s.engine.Ledger().PutVerdicts(ctx, t.id, vs); err != nil {
			return fmt.Errorf("cannot store %d verdicts: %w", len(vs), err)
		}
		clear(l.newVerdicts)
	}
	return nil
}

// prune forgets what is too old to matter.
func (l *ledgerBook) prune(now, lookback int64) {
	if now-l.pruned < 60_000 {
		return
	}
	l.pruned = now
	s := now / 1000
	for k := range l.barriers {
		if k.Window+k.Width < s-lookback {
			delete(l.barriers, k)
		}
	}
	for k, b := range l.books {
		for w, v := range b.verdicts {
			if v.Settled && w+v.Width < s-followed-v.Width || w < s-lookback {
				delete(b.verdicts, w)
			}
		}
		for w := range b.open {
			if w < s-lookback {
				delete(b.open, w)
			}
		}
		for w := range b.bad {
			if w < s-86400 {
				delete(b.bad, w)
			}
		}
		for w := range b.hour {
			if w < s-3600 {
				delete(b.hour, w)
			}
		}
		if now-b.lateAt > 3_600_000 {
			b.lateness = 0
		}
		if len(b.verdicts)+len(b.open)+len(b.bad)+len(b.hour) == 0 && b.first < s-86400 {
			delete(l.books, k)
			l.byPipe[k.Pipeline] = slices.DeleteFunc(l.byPipe[k.Pipeline], func(o *book) bool { return o == b })
		}
	}
}

// lost24h sums the losses of a balance in a day, and the records whose fate is unknown.
func (b *book) lost24h() (lost, bound int64) {
	for _, x := range b.bad {
		lost += x.lost
		bound += x.bound
	}
	return lost, bound
}

// recentLoss returns the whole run of losses whose newest window was settled no longer than hold ago, at least
// two windows: what was lost in it, of how many records where that is still known, and the first window. A
// run goes on over gaps no longer than that, as the state does. Nothing lost recently: lost is 0.
func (b *book) recentLoss(now, hold int64) (lost, up, since int64) {
	recent, width := false, int64(0)
	var run []int64
	for w, x := range b.bad {
		if x.lost <= 0 || !flow.IsLoss(x.state) && x.state != flow.Unknown {
			continue
		}
		run = append(run, w)
		width = max(width, x.width)
		recent = recent || now-x.settle <= max(hold, 2*x.width*1000)
	}
	if !recent {
		return 0, 0, 0
	}
	slices.SortFunc(run, func(a, b int64) int { return cmp.Compare(b, a) })
	gap := max(hold/1000, 2*width) + width
	known := int64(0)
	for i, w := range run {
		if i > 0 && run[i-1]-w > gap {
			break
		}
		lost += b.bad[w].lost
		if h := b.hour[w].up; h > 0 {
			known += b.bad[w].lost
			up += h
		}
		since = w
	}
	if known > 0 && known < lost { // windows older than the hour: the share of the younger ones stands for all
		up = int64(float64(up) * float64(lost) / float64(known))
	}
	return lost, up, since
}

// losingSince tells the first window of the run of losses that ends with the newest settled window.
func (b *book) losingSince(width int64) (since int64, still bool) {
	newest := int64(0)
	for w := range b.hour {
		newest = max(newest, w)
	}
	if newest == 0 || width <= 0 {
		return 0, false
	}
	for w := newest; ; w -= width {
		if b.bad[w].lost <= 0 {
			return since, since != 0
		}
		since = w
	}
}
