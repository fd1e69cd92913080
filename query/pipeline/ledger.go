package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
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
	counted     map[string]map[string]float64 // settled verdicts by pipeline and state, never falling
	filled      int64                         // windows from here on are in the days of all books, Unix seconds
	changed     uint64                        // grows with every verdict
}

// book is one balance over time.
type book struct {
	key      store.VerdictKey // without window
	first    int64            // oldest settled window; 0 = none
	agreed   flow.Agreement   // whether all readers count
	verdicts map[int64]store.Verdict
	open     map[int64]store.Verdict // IN_FLIGHT: told, not stored
	bad      map[int64]loss          // windows of the last day with a loss or a doubt
	hour     map[int64]sums          // settled windows of the last hour
	day      day                     // settled windows of the last day, in brief
	lateness int64                   // learned, milliseconds
	lateAt   int64
	ratios   []float64
	total    float64 // records lost, never falling; goes on where an earlier process ended
	surplus  float64 // records that came more than once, the same
	ratioTo  int64   // window up to which ratios are learned
	named    struct {
		changed uint64
		id      string // of the newest incident
	}
}

// loss is what a window says after its verdict is forgotten.
type loss struct {
	state, class, level string
	lost, bound, settle int64 // records, records, Unix milliseconds
	up                  int64
	width               int64
	revision            int
	settled             bool
}

type sums struct {
	up, down, filtered, dlq, dropped, lost, surplus int64
	unknown                                         bool
	toldLost, toldSurplus                           int64 // already in the totals, also while the window is open again
}

// How long verdicts are followed for late cells, and how many windows of a balance are remembered, at most.
const (
	followed   = 20 * 60 // seconds
	maxWindows = 20_000
	maxPending = 200_000
)

func newLedgerBook() ledgerBook {
	return ledgerBook{
		barriers: map[flow.BarrierKey]store.Barrier{}, books: map[store.VerdictKey]*book{}, byPipe: map[string][]*book{},
		newVerdicts: map[store.VerdictKey]store.Verdict{}, counted: map[string]map[string]float64{},
	}
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
	l.filled = at.Add(-time.Hour).Unix()
	vs, err := ledger.Verdicts(ctx, t.id, store.VerdictQuery{From: at.Add(-24 * time.Hour), To: time.Unix(l.filled, 0), OnlyNotOK: true})
	if err != nil {
		return fmt.Errorf("cannot read verdicts: %w", err)
	}
	for i := range vs {
		b := l.book(vs[i].VerdictKey)
		b.mark(&vs[i])
		b.begin(&vs[i])
	}
	if err := t.reachBack(ctx, at.Add(-24*time.Hour)); err != nil {
		return err
	}
	vs, err = ledger.Verdicts(ctx, t.id, store.VerdictQuery{From: time.Unix(l.filled, 0), To: at.Add(time.Hour)})
	if err != nil {
		return fmt.Errorf("cannot read verdicts: %w", err)
	}
	for _, v := range vs {
		l.take(v)
	}
	for _, b := range l.books { // what was told before is in the series
		b.total, b.surplus = 0, 0
	}
	l.counted = map[string]map[string]float64{}
	return t.loadTotals(ctx, now, vs)
}

// take remembers a verdict.
func (l *ledgerBook) take(v store.Verdict) {
	l.changed++
	b := l.book(v.VerdictKey)
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
	h := sums{toldLost: b.hour[v.Window].toldLost, toldSurplus: b.hour[v.Window].toldSurplus}
	if v.Settled {
		h.up, h.down, h.filtered, h.dlq, h.dropped, h.lost, h.surplus, h.unknown = v.Up, v.Down, v.Filtered, v.DLQ, v.Dropped, v.Lost, v.Surplus, v.State == flow.Unknown
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
func (l *ledgerBook) count(b *book, prior, v *store.Verdict) {
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

// begin remembers the oldest settled window, and learns whether all readers count.
func (b *book) begin(v *store.Verdict) {
	b.agreed.Learn(v)
	if v.Settled && (b.first == 0 || v.Window < b.first) {
		b.first = v.Window
	}
}

// agreedSince is the first window of an edge from which on all readers were seen to count, whoever wrote into it then.
func (l *ledgerBook) agreedSince(k store.VerdictKey) (first int64, ok bool) {
	for _, b := range l.byPipe[k.Pipeline] {
		if o := &b.key; b.agreed.Since > 0 && o.Kind == k.Kind && o.Destination == k.Destination && o.Group == k.Group && o.To == k.To && (!ok || b.agreed.Since < first) {
			first, ok = b.agreed.Since, true
		}
	}
	return first, ok
}

// mark remembers a window with a loss or a doubt, and forgets one that has none any more.
func (b *book) mark(v *store.Verdict) {
	if _, bad := flow.BadWindow(v); !bad && v.Lost == 0 && (!v.Settled || v.State != flow.Unknown) {
		delete(b.bad, v.Window)
		return
	}
	x := loss{state: v.State, class: v.Class, level: v.Level, lost: v.Lost, settle: v.SettledAt, up: v.Up, width: v.Width, revision: v.Revision, settled: v.Settled}
	if v.State == flow.Unknown && v.Settled {
		x.bound = v.Epsilon
	}
	if _, known := b.bad[v.Window]; known || len(b.bad) < maxWindows {
		b.bad[v.Window] = x
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
	same := before && sameSaid(&prior, &v)
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
		b.forget(s - 86400)
		for w := range b.hour {
			if w < s-3600 {
				delete(b.hour, w)
			}
		}
		if now-b.lateAt > 3_600_000 {
			b.lateness = 0
		}
		if len(b.verdicts)+len(b.open)+len(b.bad)+len(b.hour) == 0 && b.first < s-86400 && b.day.newest*cellWidth < s-86400 {
			delete(l.books, k)
			l.byPipe[k.Pipeline] = slices.DeleteFunc(l.byPipe[k.Pipeline], func(o *book) bool { return o == b })
			if len(l.byPipe[k.Pipeline]) == 0 {
				delete(l.byPipe, k.Pipeline)
				delete(l.counted, k.Pipeline) // counts anew when it comes back
			}
		}
	}
}

// forget drops bad windows that began before a time, but for those of an incident that goes on after it: it keeps its name.
func (b *book) forget(before int64) {
	old, keep := false, int64(math.MaxInt64)
	for w, x := range b.bad {
		old = old || w < before
		if w >= before {
			keep = min(keep, w-(flow.RunGap+1)*max(x.width, 1))
		}
	}
	if !old {
		return
	}
	ws := slices.Sorted(maps.Keys(b.bad))
	for _, w := range slices.Backward(ws) {
		switch {
		case w >= before:
		case w >= keep && len(b.bad) < maxWindows:
			keep = min(keep, w-(flow.RunGap+1)*max(b.bad[w].width, 1))
		default:
			delete(b.bad, w)
		}
	}
}

// lost24h sums the losses of a balance in a day, and the records whose fate is unknown.
func (b *book) lost24h(now int64) (lost, bound int64) {
	for w, x := range b.bad {
		if w < now/1000-86400 {
			continue
		}
		lost += x.lost
		bound += x.bound
	}
	return lost, bound
}

// recentLoss returns the whole run of losses whose newest window was settled no longer than hold ago, at least
// two windows: what was lost in it, of how many records where that is still known, and the first window. A
// run goes on over gaps no longer than that, as the state does. Windows that lost as many as came twice (MIXED) belong to
// it, how many that were is not known. Nothing lost recently: since is 0.
func (b *book) recentLoss(now, hold int64) (lost, up, since int64) {
	recent, width := false, int64(0)
	var run []int64
	for w, x := range b.bad {
		if (x.lost <= 0 || !flow.IsLoss(x.state) && x.state != flow.Unknown) && x.state != flow.Mixed {
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
		if h := b.hour[w].up; h > 0 && b.bad[w].lost > 0 {
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

// loses says whether a window is one of loss: MIXED ones are, although nobody can say of how many.
func loses(state string, lost int64) bool { return lost > 0 || state == flow.Mixed }

// losing says whether a settled loss is recent.
func (b *book) losing(now, hold int64) bool {
	_, _, since := b.recentLoss(now, hold)
	return since > 0
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
		if !loses(b.bad[w].state, b.bad[w].lost) {
			return since, since != 0
		}
		since = w
	}
}
