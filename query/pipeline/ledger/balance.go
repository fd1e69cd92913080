package ledger

import (
	"iter"
	"maps"
	"math"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// Balance is one balance of a pipeline over time.
type Balance struct {
	Key store.VerdictKey // without window

	first    int64          // oldest settled window; 0 = none
	latest   int64          // newest settled window; 0 = none
	agreed   flow.Agreement // whether all readers count
	kept     flow.Mapping   // whether the stage puts out what it takes in
	verdicts map[int64]store.Verdict
	open     map[int64]store.Verdict // IN_FLIGHT: told, not stored
	bad      map[int64]loss          // windows of the last day with a loss or a doubt
	hour     map[int64]window        // settled windows of the last hour
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
	up, down            int64
	surplus, dropped    int64
	confidence          float32
	width               int64
	revision            int
	settled             bool
}

// Sums are records of settled windows: put in, taken out, lost, more than put in; Unknown are those that were put in where nobody
// can judge.
type Sums struct{ Up, Down, Lost, Surplus, Unknown int64 }

func (s *Sums) plus(o *Sums) {
	s.Up += o.Up
	s.Down += o.Down
	s.Lost += o.Lost
	s.Surplus += o.Surplus
	s.Unknown += o.Unknown
}

// HourSums are Sums of windows of which more is known, records too: filtered, given to a dead-letter destination, dropped on purpose.
type HourSums struct {
	Sums
	Filtered, DLQ, Dropped int64
}

type window struct {
	HourSums
	toldLost, toldSurplus int64 // already in the totals, also while the window is open again
}

// Verdicts goes through the verdicts that are still followed, by window, Unix seconds, in any order.
func (b *Balance) Verdicts() iter.Seq2[int64, store.Verdict] { return maps.All(b.verdicts) }

// InFlight is how many windows are told to be in flight.
func (b *Balance) InFlight() int { return len(b.open) }

// Ratio is what a stage usually puts out per record it takes in, and of how many windows that was learned.
func (b *Balance) Ratio() (r flow.Ratio, windows int) {
	return flow.LearnRatio(b.ratios), len(b.ratios)
}

// Totals are the records that were ever lost and came more than once. They never fall and go on where an earlier process ended.
func (b *Balance) Totals() (lost, surplus float64) { return b.total, b.surplus }

// Hour sums the windows of the last hour that start at a time or later, Unix seconds, and tells how many they are.
func (b *Balance) Hour(since int64) (s HourSums, windows int) {
	for w, h := range b.hour {
		if w < since {
			continue
		}
		s.plus(&h.Sums)
		s.Filtered += h.Filtered
		s.DLQ += h.DLQ
		s.Dropped += h.Dropped
		windows++
	}
	return s, windows
}

// Over sums what a balance settled since a time, Unix seconds: from single windows where they are known, else by
// quarters of an hour.
func (b *Balance) Over(since, now int64) (s Sums) {
	if since >= now-3600 {
		h, _ := b.Hour(since)
		return h.Sums
	}
	if b.day.sums == nil {
		return s
	}
	top := b.day.newest / (sumWidth / cellWidth)
	for i := max(since/sumWidth, top-sumCount+1); i <= top; i++ {
		s.plus(&b.day.sums[i%sumCount])
	}
	return s
}

// begin remembers the oldest settled window, and learns whether all readers count, and whether the stage keeps what it takes.
func (b *Balance) begin(v *store.Verdict) {
	b.agreed.Learn(v)
	b.kept.Learn(v)
	if !v.Settled {
		return
	}
	b.latest = max(b.latest, v.Window)
	if b.first == 0 || v.Window < b.first {
		b.first = v.Window
	}
}

// mark remembers a window with a loss or a doubt, and forgets one that has none any more.
func (b *Balance) mark(v *store.Verdict) {
	if _, bad := flow.BadWindow(v); !bad && v.Lost == 0 && (!v.Settled || v.State != flow.Unknown) {
		delete(b.bad, v.Window)
		return
	}
	x := loss{
		state: v.State, class: v.Class, level: v.Level, lost: v.Lost, settle: v.SettledAt, up: v.Up, down: v.Down, surplus: v.Surplus, dropped: v.Dropped,
		confidence: float32(v.Confidence), width: v.Width, revision: v.Revision, settled: v.Settled,
	}
	if v.State == flow.Unknown && v.Settled {
		x.bound = v.Epsilon
	}
	if _, known := b.bad[v.Window]; known || len(b.bad) < maxWindows {
		b.bad[v.Window] = x
	}
}

// badVerdicts are the bad windows of a balance that are in memory, in brief.
func (b *Balance) badVerdicts() []store.Verdict {
	out := make([]store.Verdict, 0, len(b.bad))
	for w, x := range b.bad {
		v, ok := b.verdicts[w]
		if !ok {
			v = x.verdict(b.Key, w)
		}
		out = append(out, v)
	}
	return out
}

// verdict is what is left of the verdict of a window.
func (x *loss) verdict(k store.VerdictKey, window int64) store.Verdict {
	v := store.Verdict{
		VerdictKey: k, State: x.state, Class: x.class, Level: x.level, Settled: x.settled, Lost: x.lost, Up: x.up, Down: x.down,
		Surplus: x.surplus, Dropped: x.dropped, Epsilon: x.bound, Revision: x.revision, SettledAt: x.settle,
		Confidence: math.Round(float64(x.confidence)*1e6) / 1e6,
	}
	v.Window, v.Width = window, x.width
	return v
}
