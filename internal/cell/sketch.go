package cell

import (
	"fmt"
	"math"
	"slices"
)

// Bounds of a latency sketch.
const (
	Gamma       = 1.0156 // ratio of neighbouring buckets: relative error (γ−1)/(γ+1) = 0.77 %
	MaxBuckets  = 1024   // on each side of 0; the lowest are folded together
	MaxLatency  = 1e11   // about three years; whatever is beyond is refused, milliseconds
	zeroLatency = 1e-6   // a nanosecond: what is below counts as 0
	maxIndex    = 1700   // of MaxLatency, rounded up
	minIndex    = -1000  // of zeroLatency, rounded down
	micro       = 1000   // microseconds in a millisecond
	sumLimit    = math.MaxUint64/2 - 1
)

var logGamma = math.Log(Gamma)

// Sketch is a DDSketch of latencies in milliseconds: quantiles within 0.8 % of the true value, in bounded memory, merged in any
// order with the same result. Latencies below 0, which clocks that differ make, are counted and kept on their own side.
// The zero Sketch is that of nothing.
type Sketch struct {
	Count    uint64
	Clamped  uint64 // below 0
	Min, Max float64
	Sum      uint64 // microseconds; what is below 0 counts as 0

	zero     uint64
	pos, neg store
	bad      error
}

// store is the buckets of one side: n[i] values in (γ^(first+i−1), γ^(first+i)].
type store struct {
	first int
	n     []uint64
}

// Bad says what was wrong with a sketch that came as JSON; nil when nothing was.
func (s *Sketch) Bad() error { return s.bad }

// Observe adds a latency as often as weight says. It refuses what is not a number or absurdly large.
func (s *Sketch) Observe(ms float64, weight uint64) bool {
	if math.IsNaN(ms) || math.Abs(ms) > MaxLatency || weight == 0 {
		return false
	}
	if s.Count == 0 {
		s.Min, s.Max = ms, ms
	}
	s.Min, s.Max = min(s.Min, ms), max(s.Max, ms)
	s.put(ms, weight)
	return true
}

func (s *Sketch) put(v float64, weight uint64) {
	s.Count = plus(s.Count, weight)
	switch {
	case v > zeroLatency:
		s.pos.add(index(v), weight)
		s.Sum = min(plus(s.Sum, times(uint64(math.Round(v*micro)), weight)), sumLimit)
	case v < -zeroLatency:
		s.Clamped = plus(s.Clamped, weight)
		s.neg.add(index(-v), weight)
	default:
		s.zero = plus(s.zero, weight)
	}
}

func times(a, b uint64) uint64 {
	if b != 0 && a > math.MaxUint64/b {
		return math.MaxUint64
	}
	return a * b
}

// Merge adds o. It is commutative and associative, and leaves o as it is.
func (s *Sketch) Merge(o *Sketch) {
	if o == nil || o.Count == 0 {
		return
	}
	if s.Count == 0 {
		s.Min, s.Max = o.Min, o.Max
	}
	s.Min, s.Max = min(s.Min, o.Min), max(s.Max, o.Max)
	s.Count, s.Clamped = plus(s.Count, o.Count), plus(s.Clamped, o.Clamped)
	s.Sum, s.zero = min(plus(s.Sum, o.Sum), sumLimit), plus(s.zero, o.zero)
	s.pos.merge(&o.pos)
	s.neg.merge(&o.neg)
}

// Quantile returns the latency below which the share q of all lies, milliseconds; 0 for a sketch of nothing.
func (s *Sketch) Quantile(q float64) float64 {
	if s == nil || s.Count == 0 || math.IsNaN(q) {
		return 0
	}
	rank := uint64(min(max(q, 0), 1) * float64(s.Count-1))
	seen := uint64(0)
	for i, n := range slices.Backward(s.neg.n) {
		if seen += n; seen > rank {
			return -middle(s.neg.first + i)
		}
	}
	if seen += s.zero; seen > rank {
		return 0
	}
	for i, n := range s.pos.n {
		if seen += n; seen > rank {
			return min(middle(s.pos.first+i), s.Max)
		}
	}
	return s.Max
}

// Shifted returns the sketch of the same latencies, each plus ms. The error grows to 0.8 % of the latency before the shift.
func (s *Sketch) Shifted(ms float64) *Sketch {
	out := &Sketch{Min: s.Min + ms, Max: s.Max + ms}
	for i, n := range s.neg.n {
		out.putAll(-middle(s.neg.first+i)+ms, n)
	}
	out.putAll(ms, s.zero)
	for i, n := range s.pos.n {
		out.putAll(min(middle(s.pos.first+i), s.Max)+ms, n)
	}
	return out
}

func (s *Sketch) putAll(v float64, n uint64) {
	if n > 0 {
		s.put(min(max(v, -MaxLatency), MaxLatency), n)
	}
}

// Clone copies a sketch.
func (s *Sketch) Clone() *Sketch {
	if s == nil {
		return nil
	}
	c := *s
	c.pos.n, c.neg.n = slices.Clone(s.pos.n), slices.Clone(s.neg.n)
	return &c
}

// Equal compares two sketches.
func (s *Sketch) Equal(o *Sketch) bool {
	if s == nil || o == nil {
		return s == o
	}
	return s.Count == o.Count && s.Clamped == o.Clamped && s.Min == o.Min && s.Max == o.Max && s.Sum == o.Sum &&
		s.zero == o.zero && s.pos.equal(&o.pos) && s.neg.equal(&o.neg)
}

// Size is about how much memory a sketch holds, bytes.
func (s *Sketch) Size() int {
	if s == nil {
		return 0
	}
	return 128 + 8*(cap(s.pos.n)+cap(s.neg.n))
}

func index(v float64) int {
	return min(max(int(math.Ceil(math.Log(v)/logGamma)), minIndex), maxIndex)
}

// middle is the value of a bucket that is never further than the relative error from what lies in it.
func middle(i int) float64 { return 2 * math.Exp(float64(i)*logGamma) / (Gamma + 1) }

func (b *store) add(i int, n uint64) {
	if len(b.n) == 0 {
		b.first, b.n = i, append(b.n[:0], n)
		return
	}
	last := b.first + len(b.n) - 1
	switch {
	case i > last:
		b.n = append(b.n, make([]uint64, i-last)...)
		b.n[i-b.first] = n
		b.fold()
		return
	case i < b.first:
		i = max(i, last-MaxBuckets+1)
		if i < b.first {
			b.n = slices.Insert(b.n, 0, make([]uint64, b.first-i)...)
			b.first = i
		}
	}
	b.n[i-b.first] = plus(b.n[i-b.first], n)
}

// fold adds the lowest buckets together until MaxBuckets are left. How many are left depends on the highest bucket alone, so the
// order of additions does not matter.
func (b *store) fold() {
	over := len(b.n) - MaxBuckets
	if over <= 0 {
		return
	}
	low := uint64(0)
	for _, n := range b.n[:over+1] {
		low = plus(low, n)
	}
	b.n = slices.Delete(b.n, 0, over)
	b.first += over
	b.n[0] = low
	b.trim()
}

// trim takes away empty buckets at the front: two ways to the same content must look the same.
func (b *store) trim() {
	i := 0
	for i < len(b.n)-1 && b.n[i] == 0 {
		i++
	}
	b.n, b.first = b.n[i:], b.first+i
}

func (b *store) merge(o *store) {
	if len(o.n) == 0 {
		return
	}
	// The highest first: then nothing is stretched for what is folded later.
	b.add(o.first+len(o.n)-1, o.n[len(o.n)-1])
	for i, n := range o.n[:len(o.n)-1] {
		if n > 0 {
			b.add(o.first+i, n)
		}
	}
}

func (b *store) equal(o *store) bool {
	return len(b.n) == len(o.n) && (len(b.n) == 0 || b.first == o.first) && slices.Equal(b.n, o.n)
}

// check says what is wrong with a sketch from outside.
func (s *Sketch) check() error {
	total := plus(s.zero, plus(s.pos.sum(), s.neg.sum()))
	switch {
	case total != s.Count:
		return fmt.Errorf("cannot use latency sketch: its buckets hold %d values, its count is %d", total, s.Count)
	case s.neg.sum() != s.Clamped:
		return fmt.Errorf("cannot use latency sketch: %d values lie below 0, clamped says %d", s.neg.sum(), s.Clamped)
	case math.IsNaN(s.Min) || math.IsNaN(s.Max) || math.Abs(s.Min) > MaxLatency || math.Abs(s.Max) > MaxLatency:
		return fmt.Errorf("cannot use latency sketch: min %g and max %g must lie within ±%g ms", s.Min, s.Max, float64(MaxLatency))
	}
	return nil
}

func (b *store) sum() uint64 {
	total := uint64(0)
	for _, n := range b.n {
		total = plus(total, n)
	}
	return total
}
