package flow

import (
	"math"
	"slices"
)

// Never is a time that does not come.
var Never = math.Inf(1)

// Span is a time from now in seconds with its 80 % interval; Never stands for an end that does not come.
type Span struct {
	Value, Low, High float64
	Known            bool
}

// exactly is a span without doubt.
func exactly(v float64) Span { return Span{v, v, v, true} }

// Drain is the time until a backlog is gone at the present rates, seconds: 0 when there is none, Never when it does not shrink.
func Drain(lag, in, out float64) float64 {
	switch {
	case lag <= 0:
		return 0
	case out > in:
		return lag / (out - in)
	default:
		return Never
	}
}

// PartitionRate is one partition of a group: its backlog in records and what flows in and out per second.
type PartitionRate struct {
	Name     string
	Lag      float64
	In, Out  float64
	Capacity float64 // most the reader can take per second; 0 = Out
}

// DrainAll is the drain time of the slowest partition. The sum of all partitions would promise a
// time that a hot partition never keeps.
func DrainAll(ps []PartitionRate) float64 {
	worst := 0.0
	for _, p := range ps {
		worst = math.Max(worst, Drain(p.Lag, p.In, p.Out))
	}
	return worst
}

// DrainEventTime is the drain time of a time lag, seconds, when event time goes forward v seconds per second.
func DrainEventTime(lag, v float64) float64 {
	switch {
	case lag <= 0:
		return 0
	case v > 1:
		return lag / (v - 1)
	default:
		return Never
	}
}

// Course is how fast a backlog shrinks, records per second (negative: it grows), and how unsteady that is.
type Course struct {
	Rate   float64
	Spread float64 // standard deviation of the rate over blocks of Block seconds
	Block  float64
	Blocks int
	Flow   float64 // records per second that flow in or out, the larger
	Trend  Slope   // of the backlog, with its interval
}

// courseBlocks is how many blocks a course is cut into.
const courseBlocks = 6

// CourseOf measures a course from the backlog over time, oldest first, evenly spaced.
func CourseOf(backlog []XY) Course {
	c := Course{Trend: TheilSen(backlog)}
	c.Rate = -c.Trend.Rate
	n := len(backlog)
	blocks := min(courseBlocks, (n-1)/2)
	if !c.Trend.Known() || blocks < 2 {
		return c
	}
	var rates [courseBlocks]float64
	mean := 0.0
	for b := range blocks {
		i, j := b*(n-1)/blocks, (b+1)*(n-1)/blocks
		rates[b] = -(backlog[j].Y - backlog[i].Y) / (backlog[j].X - backlog[i].X)
		mean += rates[b] / float64(blocks)
	}
	for _, r := range rates[:blocks] {
		c.Spread += (r - mean) * (r - mean)
	}
	c.Spread = math.Sqrt(c.Spread / float64(blocks-1))
	c.Blocks, c.Block = blocks, (backlog[n-1].X-backlog[0].X)/float64(blocks)
	return c
}

// t90 is the 90 % quantile of Student's distribution by degrees of freedom.
var t90 = [...]float64{0, 3.078, 1.886, 1.638, 1.533, 1.476}

// wander is how much of a block's spread stays when it is averaged over longer than was seen, because what
// varies slowly does not average out. change is how far rates change for good within half an hour, as a share of
// the flow: a calm past is no promise of a calm future.
const (
	wander = 0.7
	change = 0.03
)

// doubt is half the 80 % interval of the mean rate over the next h seconds: what was measured is uncertain,
// and what comes varies as much as what was seen. many partitions that end together need a wider one, because the last of them counts.
func (c Course) doubt(h float64, many int) float64 {
	half := (c.Trend.High - c.Trend.Low) / 2
	sd := change * c.Flow * math.Sqrt(math.Min(h, 7200)/1800) * 1.2816
	if c.Blocks >= 2 && c.Block > 0 {
		ahead := math.Max(h/c.Block, 0.25)
		s := c.Spread * math.Sqrt(1/float64(c.Blocks)+math.Max(1/ahead, wander*wander))
		sd = math.Hypot(sd, s*t90[min(c.Blocks-1, len(t90)-1)])
	}
	return math.Max(half, sd*math.Sqrt(1+math.Log(float64(max(many, 1)))))
}

// DrainSpan forecasts when a backlog is gone. many is how many partitions are expected to end at about the same time.
func DrainSpan(lag float64, c Course, many int) Span {
	if lag <= 0 {
		return exactly(0)
	}
	if !c.Trend.Known() {
		return Span{}
	}
	s := Span{Value: Drain(lag, 0, c.Rate), Known: true}
	h := s.Value
	if math.IsInf(h, 0) {
		h = c.Block * courseBlocks
	}
	d := c.doubt(h, many)
	s.Low, s.High = Drain(lag, 0, c.Rate+d), Drain(lag, 0, c.Rate-d)
	return s
}

// WorstSpan is the span of what ends last: of several partitions, the whole is done when the last one is.
func WorstSpan(spans []Span) Span {
	out := Span{Known: len(spans) > 0}
	for _, s := range spans {
		if !s.Known {
			return Span{}
		}
		out.Value, out.Low, out.High = math.Max(out.Value, s.Value), math.Max(out.Low, s.Low), math.Max(out.High, s.High)
	}
	return out
}

// Together counts how many spans end at about the time of the last one, in three quarters of its time or later.
func Together(spans []Span) int {
	worst := WorstSpan(spans)
	n := 0
	for _, s := range spans {
		if s.Value >= 0.75*worst.Value && s.Value > 0 {
			n++
		}
	}
	return max(n, 1)
}

// LossIn is the time until retention deletes unread records, seconds, for a time lag and a retention
// in seconds when event time goes forward v seconds per second; Never when the reader keeps ahead.
func LossIn(lag, retention, v float64) float64 {
	switch {
	case lag >= retention:
		return 0
	case v >= 1:
		return Never
	default:
		return (retention - lag) / (1 - v)
	}
}

// Kept are the limits of a partition; 0 = none.
type Kept struct {
	Seconds float64 // by age
	Records float64 // by count
	Bytes   float64 // by size
	Size    float64 // mean bytes of a record
}

// Reader is a group on a partition as the race with retention sees it.
type Reader struct {
	Lag    TimeLag
	Speed  Slope   // event time read per second
	Unread float64 // records
	Course Course
}

// LossSpan forecasts when retention deletes what was not read, by which limit (age, size, count) first.
// Known is false when there is no limit, nothing waits, or the limit's figures are not known.
func LossSpan(k Kept, r Reader) (Span, string) {
	if r.Unread <= 0 {
		return Span{}, ""
	}
	var out Span
	by := ""
	take := func(s Span, name string) {
		if !out.Known || s.Value < out.Value {
			out, by = s, name
		}
	}
	if k.Seconds > 0 && r.Lag.Known {
		bound := r.Lag.Bound
		if math.IsInf(bound, 0) { // at least so old: it may be any time
			bound = k.Seconds
		}
		v, low, high := 1.0, 0.0, 1.0
		if r.Speed.Known() {
			v, low, high = r.Speed.Rate, r.Speed.Low, r.Speed.High
		}
		take(Span{
			LossIn(r.Lag.Seconds, k.Seconds, v), LossIn(r.Lag.Seconds+bound, k.Seconds, low),
			LossIn(math.Max(r.Lag.Seconds-bound, 0), k.Seconds, high), true,
		}, "age")
	}
	full := func(limit float64, name string) {
		left := limit - r.Unread
		grow := -r.Course.Rate
		at := Span{Value: toFull(left, grow), Known: true}
		h := at.Value
		if math.IsInf(h, 0) {
			h = r.Course.Block * courseBlocks
		}
		d := r.Course.doubt(h, 1)
		at.Low, at.High = toFull(left, grow+d), toFull(left, grow-d)
		take(at, name)
	}
	if k.Records > 0 {
		full(k.Records, "count")
	}
	if k.Bytes > 0 && k.Size > 0 {
		full(k.Bytes/k.Size, "size")
	}
	if !out.Known || math.IsInf(out.Value, 0) && math.IsInf(out.Low, 0) {
		return Span{}, "" // not in sight
	}
	return out, by
}

func toFull(left, grow float64) float64 {
	switch {
	case left <= 0:
		return 0
	case grow > 0:
		return left / grow
	default:
		return Never
	}
}

// PartitionSkew is the largest inflow over the mean inflow; 1 is even, 0 when nothing flows.
func PartitionSkew(ps []PartitionRate) float64 {
	var total, most float64
	for _, p := range ps {
		total += p.In
		most = math.Max(most, p.In)
	}
	if total <= 0 {
		return 0
	}
	return most / (total / float64(len(ps)))
}

// PerConsumer estimates what one of n consumers takes per second when it has work: no less than the busiest
// partition that has a backlog is read with, and no less than its part of all that is taken. 0 when no partition has work.
func PerConsumer(ps []PartitionRate, n int) float64 {
	var total, most float64
	work := false
	for _, p := range ps {
		total += p.Out
		if p.Lag > 0 && p.Out > 0 {
			work = true
			most = math.Max(most, p.Out)
		}
	}
	if !work {
		return 0
	}
	if n > 0 {
		most = math.Max(most, total/float64(min(n, len(ps))))
	}
	return most
}

// ChangePoint finds where a series bends: the two straight lines that fit it best meet there. ok is false
// when one line fits about as well, or the series has fewer than eight points.
func ChangePoint(points []XY) (x float64, ok bool) {
	n := len(points)
	if n < 8 {
		return 0, false
	}
	whole := lineError(points)
	best, at := math.Inf(1), 0
	for i := 2; i < n-2; i++ {
		if e := lineError(points[:i+1]) + lineError(points[i:]); e < best {
			best, at = e, i
		}
	}
	// Four parameters instead of two must take away most of the error: F of about 10.
	scale := 0.0
	for _, p := range points {
		scale = math.Max(scale, math.Abs(p.Y))
	}
	if whole <= 1e-6*scale*scale || (whole-best)/2 < 10*best/float64(n-4) {
		return 0, false
	}
	return points[at].X, true
}

// lineError is the sum of the squared distances from the line of least squares.
func lineError(ps []XY) float64 {
	n := float64(len(ps))
	var sx, sy, sxx, sxy, syy float64
	x0, y0 := ps[0].X, ps[0].Y // keeps the sums small
	for _, p := range ps {
		x, y := p.X-x0, p.Y-y0
		sx, sy, sxx, sxy, syy = sx+x, sy+y, sxx+x*x, sxy+x*y, syy+y*y
	}
	vx, vy, c := sxx-sx*sx/n, syy-sy*sy/n, sxy-sx*sy/n
	if vx <= 0 {
		return math.Max(vy, 0)
	}
	return math.Max(vy-c*c/vx, 0)
}

func byInflow(ps []PartitionRate) []int {
	idx := make([]int, len(ps))
	for i := range idx {
		idx[i] = i
	}
	slices.SortStableFunc(idx, func(a, b int) int {
		switch {
		case ps[a].In > ps[b].In:
			return -1
		case ps[a].In < ps[b].In:
			return 1
		}
		return 0
	})
	return idx
}

// CourseFrom measures a course over the long span unless the short one says that something changed; then
// the change counts as spread. flow is what flows in or out, the larger, records per second.
func CourseFrom(short, long []XY, flow float64) Course {
	s, l := CourseOf(short), CourseOf(long)
	s.Flow, l.Flow = flow, flow
	switch {
	case l.Blocks < courseBlocks:
		return s
	case s.Trend.Known() && (l.Rate < -s.Trend.High || l.Rate > -s.Trend.Low):
		s.Spread = math.Max(math.Max(s.Spread, l.Spread), math.Abs(s.Rate-l.Rate))
		s.Block = l.Block
		return s
	}
	return l
}

// DrainGroup forecasts when the last of several partitions has no backlog.
func DrainGroup(lags []float64, courses []Course) (worst Span, each []Span) {
	each = make([]Span, len(lags))
	for i := range lags {
		each[i] = DrainSpan(lags[i], courses[i], 1)
	}
	if many := Together(each); many > 1 {
		for i := range lags {
			each[i] = DrainSpan(lags[i], courses[i], many)
		}
	}
	return WorstSpan(each), each
}
