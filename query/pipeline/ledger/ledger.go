// Package ledger remembers what was said of the balances of pipelines: verdicts of the windows that are still followed, what was
// lost or cannot be judged in the last day, and all of that day in brief.
//
// Verdicts come from query/pipeline, which judges windows; at a start, and for times that memory does not reach, they come from the
// ledger of the store. New ones go there, with the barriers they rest on. Rows and incidents, made with losses, go to query/pipeline.
package ledger

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// Ledger holds the balances of one tenant. One owner changes it, from one goroutine at a time, and may read all of it without waiting.
// Everybody else may ask, at any time, for what is said to be for pages: that waits only while a Change goes on, and sees all of it or
// nothing.
type Ledger struct {
	mu       sync.RWMutex // held by the owner while it changes what pages see, and by pages while they look
	changing bool         // the owner holds it
	engine   store.Engine
	tenant   store.Tenant
	barriers map[flow.BarrierKey]store.Barrier
	balances map[store.VerdictKey]*Balance // by key without window
	byPipe   map[string][]*Balance
	// What waits for the store; kept when a write fails.
	newBarriers []store.Barrier
	newVerdicts map[store.VerdictKey]store.Verdict
	pruned      int64
	counted     map[string]map[string]float64 // settled verdicts by pipeline and state, never falling
	filled      int64                         // windows from here on are in the days of all balances, Unix seconds
	changed     uint64                        // grows with every verdict

	made      sync.Mutex // guards what pages keep for each other; never waits for mu
	incidents dayIncidents
	reasons   *Reasons
}

// Followed is for how long verdicts are followed for late cells, seconds.
const Followed = 20 * 60

// How many windows of a balance are remembered, and how many verdicts and barriers wait for the store, at most.
const (
	maxWindows = 20_000
	maxPending = 200_000
)

// New builds an empty ledger of a tenant over that of an engine.
func New(engine store.Engine, tenant store.Tenant) *Ledger {
	return &Ledger{
		engine: engine, tenant: tenant,
		barriers: map[flow.BarrierKey]store.Barrier{}, balances: map[store.VerdictKey]*Balance{}, byPipe: map[string][]*Balance{},
		newVerdicts: map[store.VerdictKey]store.Verdict{}, counted: map[string]map[string]float64{},
	}
}

func bare(k store.VerdictKey) store.VerdictKey {
	k.Window, k.Width = 0, 0
	return k
}

// Change does many changes at once. Those that are not within one are each one for itself.
func (l *Ledger) Change(f func()) {
	defer l.unlock(l.lock())
	f()
}

// lock begins a change unless one goes on.
func (l *Ledger) lock() (begun bool) {
	if l.changing {
		return false
	}
	l.mu.Lock()
	l.changing = true
	return true
}

// unlock ends a change that lock began.
func (l *Ledger) unlock(begun bool) {
	if begun {
		l.changing = false
		l.mu.Unlock()
	}
}

// known is a balance that is known from then on.
func (l *Ledger) known(k store.VerdictKey) *Balance {
	if b := l.balances[bare(k)]; b != nil {
		return b
	}
	defer l.unlock(l.lock())
	return l.balance(k)
}

// balance makes a balance known, with mu held.
func (l *Ledger) balance(k store.VerdictKey) *Balance {
	k = bare(k)
	b := l.balances[k]
	if b == nil {
		b = &Balance{Key: k, verdicts: map[int64]store.Verdict{}, open: map[int64]store.Verdict{}, bad: map[int64]loss{}, hour: map[int64]window{}}
		l.balances[k] = b
		l.byPipe[k.Pipeline] = append(l.byPipe[k.Pipeline], b)
	}
	return b
}

// Get is the balance of a key, with or without a window; nil when nothing was ever said of it.
func (l *Ledger) Get(k store.VerdictKey) *Balance { return l.balances[bare(k)] }

// Of are the balances of a pipeline, not to be changed.
func (l *Ledger) Of(pipeline string) []*Balance { return l.byPipe[pipeline] }

// All goes through all balances, in any order.
func (l *Ledger) All() iter.Seq[*Balance] { return maps.Values(l.balances) }

// Know makes a balance known before anything is said of it: pages show that it is watched.
func (l *Ledger) Know(k store.VerdictKey) { l.known(k) }

// Verdict is what memory holds of a window.
func (l *Ledger) Verdict(k store.VerdictKey) (store.Verdict, bool) {
	b := l.Get(k)
	if b == nil {
		return store.Verdict{}, false
	}
	v, ok := b.verdicts[k.Window]
	return v, ok
}

// First is the oldest window of a balance that was settled, Unix seconds.
func (l *Ledger) First(k store.VerdictKey) (window int64, ok bool) {
	b := l.Get(k)
	if b == nil || b.first == 0 {
		return 0, false
	}
	return b.first, true
}

// AgreedSince is the first window of an edge, Unix seconds, from which on all readers were seen to count, whoever wrote into it then.
func (l *Ledger) AgreedSince(k store.VerdictKey) (first int64, ok bool) {
	for _, b := range l.byPipe[k.Pipeline] {
		if o := &b.Key; b.agreed.Since > 0 && o.Kind == k.Kind && o.Destination == k.Destination && o.Group == k.Group && o.To == k.To && (!ok || b.agreed.Since < first) {
			first, ok = b.agreed.Since, true
		}
	}
	return first, ok
}

// KeptSince is the first window of a stage, Unix seconds, from which on it was seen to put out exactly what it takes in.
func (l *Ledger) KeptSince(k store.VerdictKey) (first int64, ok bool) {
	b := l.Get(k)
	if b == nil || b.kept.Since == 0 {
		return 0, false
	}
	return b.kept.Since, true
}

// Lateness is how long after their window records of a balance came, as learned. The balance is known from then on.
func (l *Ledger) Lateness(k store.VerdictKey) time.Duration {
	return time.Duration(l.known(k).lateness) * time.Millisecond
}

// Ratio is what a stage usually puts out per record it takes in, by its balance, which is known from then on.
func (l *Ledger) Ratio(k store.VerdictKey) flow.Ratio { return flow.LearnRatio(l.known(k).ratios) }

// verdicts reads what the store holds.
func (l *Ledger) verdicts(ctx context.Context, q store.VerdictQuery) ([]store.Verdict, error) {
	vs, err := l.engine.Ledger().Verdicts(ctx, l.tenant, q)
	if err != nil {
		return nil, fmt.Errorf("cannot read verdicts: %w", err)
	}
	return vs, nil
}

// Load reads what an earlier process left: barriers and verdicts of the last hour, what was lost in the last day, and totals. now is
// in Unix milliseconds.
func (l *Ledger) Load(ctx context.Context, now int64) error {
	defer l.unlock(l.lock()) // there is nothing to see before it ends
	at := time.UnixMilli(now)
	bs, err := l.engine.Ledger().Barriers(ctx, l.tenant, at.Add(-time.Hour), at.Add(time.Hour))
	if err != nil {
		return fmt.Errorf("cannot read barriers: %w", err)
	}
	for _, b := range bs {
		l.barriers[flow.KeyOf(b)] = b
	}
	l.filled = at.Add(-time.Hour).Unix()
	vs, err := l.verdicts(ctx, store.VerdictQuery{From: at.Add(-24 * time.Hour), To: time.Unix(l.filled, 0), OnlyNotOK: true})
	if err != nil {
		return err
	}
	for i := range vs {
		b := l.balance(vs[i].VerdictKey)
		b.mark(&vs[i])
		b.begin(&vs[i])
	}
	if err := l.reachBack(ctx, at.Add(-24*time.Hour)); err != nil {
		return err
	}
	vs, err = l.verdicts(ctx, store.VerdictQuery{From: time.Unix(l.filled, 0), To: at.Add(time.Hour)})
	if err != nil {
		return err
	}
	for _, v := range vs {
		l.take(v)
	}
	for _, b := range l.balances { // what was told before is in the series
		b.total, b.surplus = 0, 0
	}
	l.counted = map[string]map[string]float64{}
	return l.loadTotals(ctx, now, vs)
}

// reachBack reads bad windows before a time for balances whose incident may have begun there, so that it keeps its name.
func (l *Ledger) reachBack(ctx context.Context, from time.Time) error {
	for lo := from; from.Sub(lo) < maxReach; lo = lo.Add(-24 * time.Hour) {
		open := map[string]bool{}
		for _, b := range l.balances {
			for w, x := range b.bad {
				if w <= lo.Unix()+flow.RunGap*max(x.width, 1) {
					open[b.Key.Pipeline] = true
				}
			}
		}
		if len(open) == 0 {
			return nil
		}
		found := false
		for id := range open {
			vs, err := l.verdicts(ctx, store.VerdictQuery{Pipeline: id, From: lo.Add(-24 * time.Hour), To: lo, OnlyNotOK: true})
			if err != nil {
				return err
			}
			for i := range vs {
				b := l.balance(vs[i].VerdictKey)
				b.mark(&vs[i])
				b.begin(&vs[i])
				found = true
			}
		}
		for _, b := range l.balances {
			b.forget(from.Unix())
		}
		if !found {
			return nil
		}
	}
	return nil
}

// Prune forgets, once a minute, what is too old to matter. now is in Unix milliseconds; lookback is for how long windows may stay open,
// seconds.
func (l *Ledger) Prune(now, lookback int64) {
	if now-l.pruned < 60_000 {
		return
	}
	l.pruned = now
	defer l.unlock(l.lock())
	s := now / 1000
	for k := range l.barriers {
		if k.Window+k.Width < s-lookback {
			delete(l.barriers, k)
		}
	}
	for k, b := range l.balances {
		for w, v := range b.verdicts {
			if v.Settled && w+v.Width < s-Followed-v.Width || w < s-lookback {
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
			delete(l.balances, k)
			l.byPipe[k.Pipeline] = slices.DeleteFunc(l.byPipe[k.Pipeline], func(o *Balance) bool { return o == b })
			if len(l.byPipe[k.Pipeline]) == 0 {
				delete(l.byPipe, k.Pipeline)
				delete(l.counted, k.Pipeline) // counts anew when it comes back
			}
		}
	}
}

// forget drops bad windows that began before a time, but for those of an incident that goes on after it: it keeps its name.
func (b *Balance) forget(before int64) {
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
