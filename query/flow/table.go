package flow

import (
	"math"
	"slices"
	"sort"
)

// Point is an offset at a time (Unix milliseconds).
type Point struct{ T, V int64 }

// Table maps offsets to times and back: what one offset of a partition was at each poll. It keeps
// five minutes of every poll, 10 s points for an hour, 60 s for a day and 10 min for 14 days, and
// the first and last point of flat runs, so about 4,000 points at most.
type Table struct {
	// Brief tables keep an hour, after five minutes one point a minute: enough for rates and stalls.
	Brief bool

	points []Point
	packed int   // length after the last thinning
	fell   Point // when the value last fell, and to what; T 0 = never
	again  *again
}

// Tiers of a table: up to this age, one point per step. Milliseconds.
var tiers = [...]tier{
	{5 * 60_000, 0},
	{3_600_000, 10_000},
	{24 * 3_600_000, 60_000},
	{14 * 24 * 3_600_000, 600_000},
}

var briefTiers = [...]tier{{5*60_000 + 30_000, 0}, {3_600_000, 60_000}}

type tier struct{ age, step int64 }

// stepAt is how far apart points of an age need to be; −1 = not kept.
func stepAt(ts []tier, age int64) int64 {
	for _, t := range ts {
		if age <= t.age {
			return t.step
		}
	}
	return -1
}

// Add appends a poll. Older or equal times are ignored. When the value falls (truncation, rewind)
// the points above it are forgotten, because the offsets will be used again.
func (t *Table) Add(at, v int64) {
	n := len(t.points)
	if n > 0 && at <= t.points[n-1].T {
		return
	}
	if n > 0 && v < t.points[n-1].V {
		t.fell = Point{at, v}
		high := t.points[n-1].V
		n = sort.Search(n, func(i int) bool { return t.points[i].V > v })
		t.points = t.points[:n]
		if !t.Brief {
			since := int64(-far)
			if n > 0 {
				since = t.points[n-1].T
			}
			t.again = t.again.fell(reach{v, high, since})
		}
	} else if t.again != nil {
		t.again.step(v)
	}
	if n >= 2 && t.points[n-1].V == v && t.points[n-2].V == v {
		t.points[n-1].T = at
		return
	}
	t.points = append(t.points, Point{at, v})
	if len(t.points) > t.packed+max(32, min(t.packed/2, 512)) {
		t.thin(at)
	}
}

// Forget drops what is older than a time and not needed to tell when the record at an offset was appended.
func (t *Table) Forget(before, offset int64) {
	i := sort.Search(len(t.points), func(i int) bool { return t.points[i].T >= before })
	j := sort.Search(len(t.points), func(i int) bool { return t.points[i].V > offset })
	if n := min(i, j) - 2; n > len(t.points)/8 { // two points before, so that a flat run keeps its ends
		t.points = append(t.points[:0:0], t.points[n:]...)
		t.packed = len(t.points)
	}
}

// Backfill puts older polls before the first one, oldest first, thinned to the tiers as of now. Points
// that are not older, or lie above what follows (offsets used again after a truncation), are left out.
func (t *Table) Backfill(older []Point, now int64) {
	if t.Len() == 0 {
		return
	}
	ts := tiers[:]
	if t.Brief {
		ts = briefTiers[:]
	}
	first := t.points[0]
	var keep []Point // newest first
	next := first
	for i, p := range slices.Backward(older) {
		if p.T >= next.T || p.V > next.V {
			continue
		}
		step := stepAt(ts, now-p.T)
		if step < 0 {
			break
		}
		// Of a flat run the oldest point counts: it bounds the records that came before.
		if n := len(keep); n > 1 && keep[n-1].V == p.V && keep[n-2].V == p.V {
			keep[n-1] = p
		} else if next.T-p.T >= step || i == 0 {
			keep = append(keep, p)
		} else {
			continue
		}
		next = keep[len(keep)-1]
	}
	out := make([]Point, 0, len(keep)+len(t.points))
	for _, p := range slices.Backward(keep) {
		out = append(out, p)
	}
	t.points = append(out, t.points...)
	t.packed = len(t.points)
}

func (t *Table) thin(now int64) {
	ts := tiers[:]
	if t.Brief {
		ts = briefTiers[:]
	}
	kept := t.points[:0]
	last := int64(-far)
	for i, p := range t.points {
		step := stepAt(ts, now-p.T)
		flat := i > 0 && t.points[i-1].V == p.V || i+1 < len(t.points) && t.points[i+1].V == p.V
		if step < 0 || (p.T-last < step && (!flat || step > 10_000)) {
			continue
		}
		kept = append(kept, p)
		last = p.T
	}
	t.points = kept
	t.packed = len(kept)
}

// Renew forgets everything: what the offsets count was deleted and made anew at a time, so the value fell to nothing then.
func (t *Table) Renew(at int64) { *t = Table{Brief: t.Brief, fell: Point{at, 0}} }

// Fell returns the poll at which the value last fell, and to what; ok is false when it never did.
func (t *Table) Fell() (Point, bool) {
	if t == nil {
		return Point{}, false
	}
	return t.fell, t.fell.T != 0
}

// Len is the number of points kept.
func (t *Table) Len() int {
	if t == nil {
		return 0
	}
	return len(t.points)
}

// Last is the newest point.
func (t *Table) Last() (Point, bool) {
	if t.Len() == 0 {
		return Point{}, false
	}
	return t.points[len(t.points)-1], true
}

// First is the oldest point.
func (t *Table) First() (Point, bool) {
	if t.Len() == 0 {
		return Point{}, false
	}
	return t.points[0], true
}

// After returns the first poll at or after a time. Of a flat run only the ends are kept: within it the
// time asked for is as good as that of the poll that followed.
func (t *Table) After(at int64) (Point, bool) {
	if t.Len() == 0 {
		return Point{}, false
	}
	i := sort.Search(len(t.points), func(i int) bool { return t.points[i].T >= at })
	if i == len(t.points) {
		return Point{}, false
	}
	if i > 0 && t.points[i-1].V == t.points[i].V {
		return Point{at, t.points[i].V}, true
	}
	return t.points[i], true
}

// Before returns the last poll at or before a time.
func (t *Table) Before(at int64) (Point, bool) {
	if t.Len() == 0 {
		return Point{}, false
	}
	i := sort.Search(len(t.points), func(i int) bool { return t.points[i].T > at })
	if i == 0 {
		return Point{}, false
	}
	return t.points[i-1], true
}

// Reached returns the time of the first poll with a value of at least v.
func (t *Table) Reached(v int64) (int64, bool) { return t.ReachedSince(v, -far) }

// ReachedSince returns the time of the first poll with a value of at least v that is not older than since.
func (t *Table) ReachedSince(v, since int64) (int64, bool) {
	if t.Len() == 0 {
		return 0, false
	}
	i := sort.Search(len(t.points), func(i int) bool { return t.points[i].V >= v && t.points[i].T >= since })
	if i == len(t.points) {
		return 0, false
	}
	return t.points[i].T, true
}

// TimeOf estimates when the record at an offset was appended, in a table of end offsets, by linear
// interpolation between the polls before and after. The truth lies within bound of the estimate, which is +Inf where
// the estimate is only the latest that it can have been.
// known is false when the record is older than the table (the estimate is then the latest it can
// have been) or not yet appended.
func (t *Table) TimeOf(offset int64) (at float64, bound float64, known bool) {
	n := t.Len()
	if n == 0 {
		return 0, 0, false
	}
	// The record is there at the first poll whose end lies above its offset.
	i := sort.Search(n, func(i int) bool { return t.points[i].V > offset })
	if i == n {
		return float64(t.points[n-1].T), 0, false
	}
	if i == 0 {
		return float64(t.points[0].T), 0, false
	}
	a, b := t.points[i-1], t.points[i]
	width := float64(b.T - a.T)
	share := (float64(offset) - float64(a.V)) / (float64(b.V) - float64(a.V))
	at = float64(a.T) + min(max(share, 0), 1)*width
	if since, ok := t.again.since(offset); ok {
		if since <= -far { // the latest it can have been
			return float64(b.T), math.Inf(1), true
		}
		width = max(width, at-float64(since))
	}
	return at, width, true
}

// Value interpolates what the offset was at a time between two polls.
func (t *Table) Value(at int64) (float64, bool) {
	a, ok := t.Before(at)
	if !ok {
		return 0, false
	}
	b, ok := t.After(at)
	if !ok {
		return 0, false
	}
	if b.T == a.T {
		return float64(a.V), true
	}
	return float64(a.V) + (float64(b.V)-float64(a.V))*float64(at-a.T)/float64(b.T-a.T), true
}

// Recent resamples the last span milliseconds before now at n evenly spread times, oldest first.
// Fewer when the table does not reach back that far: none before its first poll, none after its last.
func (t *Table) Recent(now, span int64, n int) []XY {
	last, ok := t.Last()
	if !ok || n < 2 || span <= 0 {
		return nil
	}
	step := max(span/int64(n-1), 1)
	out := make([]XY, 0, n)
	for i := range int64(n) {
		at := now - span + i*step
		if at > last.T {
			break
		}
		if v, ok := t.Value(at); ok {
			out = append(out, XY{float64(at) / 1000, v})
		}
	}
	return out
}

// SlopePoints is at how many times a span is sampled for a slope.
const SlopePoints = 13

// Backlog samples end − committed over the last span milliseconds before now, oldest first.
func Backlog(end, committed *Table, now, span int64) []XY {
	return Minus(end.Recent(now, span, SlopePoints), committed.Recent(now, span, SlopePoints))
}

// Minus subtracts two samplings of the same times, which may begin at different ones.
func Minus(a, b []XY) []XY {
	n := min(len(a), len(b))
	a, b = a[len(a)-n:], b[len(b)-n:]
	out := make([]XY, n)
	for i := range out {
		out[i] = XY{b[i].X, a[i].Y - b[i].Y}
	}
	return out
}

// Plus adds two samplings of the same times, which may begin at different ones.
func Plus(a, b []XY) []XY {
	for i := range b {
		b[i].Y = -b[i].Y
	}
	return Minus(a, b)
}
