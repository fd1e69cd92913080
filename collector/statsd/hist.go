package statsd

import (
	"math"

	"github.com/prometheus/prometheus/model/histogram"
)

const (
	firstSchema   = 3                     // buckets grow by 2^(1/8), 9 %
	lastSchema    = -4                    // buckets grow by 2^16: any float64 fits into 128 of them
	maxBuckets    = 320                   // of each sign; past it, neighbours are joined
	zeroThreshold = 2.938735877055719e-39 // 2^-128, as Prometheus has it
)

// hist is an exponential histogram of a width that adapts itself.
type hist struct {
	schema   int32
	count    uint64
	zero     uint64
	sum      float64
	pos, neg buckets
	carry    float64 // what rounding 1/rate to whole observations left over
}

// buckets are the counts of neighbouring bucket indexes.
type buckets struct {
	lo int32 // index of n[0]
	n  []uint64
}

func newHist() *hist { return &hist{schema: firstSchema} }

// observe adds v as often as the sample rate stands for, in whole observations whose rounding evens out.
func (h *hist) observe(v, rate float64) {
	w := uint64(1)
	if rate != 1 {
		exact := 1/rate + h.carry
		w = uint64(exact)
		h.carry = exact - float64(w)
	}
	h.count += w
	h.sum += v * float64(w)
	a := math.Abs(v)
	if a <= zeroThreshold {
		h.zero += w
		return
	}
	b := &h.pos
	if v < 0 {
		b = &h.neg
	}
	i := scale(bucketOf(a), firstSchema-h.schema)
	for !b.reach(i, i) && h.schema > lastSchema {
		h.coarsen()
		i = scale(bucketOf(a), firstSchema-h.schema)
	}
	b.n[i-b.lo] += w
}

// bounds are the upper bounds of the eight buckets between 0.5 and 1 of schema 3: 2^(i/8 - 1).
var bounds = [8]float64{
	0.5, 0.5452538663326288, 0.5946035575013605, 0.6484197773255048,
	0.7071067811865475, 0.7711054127039704, 0.8408964152537144, 0.9170040432046711,
}

// bucketOf returns the index of v > 0 in schema 3: bucket i holds (2^((i-1)/8), 2^(i/8)].
func bucketOf(v float64) int32 {
	frac, exp := math.Frexp(v) // frac in [0.5, 1)
	i := int32(0)
	if frac > bounds[4] {
		i = 5
		if frac > bounds[6] {
			i = 7
		}
	} else if frac > bounds[0] {
		i = 1
		if frac > bounds[2] {
			i = 3
		}
	}
	if i > 0 && frac > bounds[i] {
		i++
	}
	return i + int32(exp-1)*8
}

// scale brings an index to a schema that is s steps coarser: each step joins two buckets, upper bounds stay.
func scale(i, s int32) int32 { return (i + 1<<s - 1) >> s }

// reach makes room for the indexes from lo to hi; it is false when there would be too many.
func (b *buckets) reach(lo, hi int32) bool {
	if len(b.n) == 0 {
		if hi-lo >= maxBuckets {
			return false
		}
		b.lo, b.n = lo, make([]uint64, hi-lo+1, max(int(hi-lo+1), 8))
		return true
	}
	end := b.lo + int32(len(b.n)) - 1
	if lo >= b.lo && hi <= end {
		return true
	}
	lo, hi = min(lo, b.lo), max(hi, end)
	if hi-lo >= maxBuckets {
		return false
	}
	if lo < b.lo {
		n := make([]uint64, hi-lo+1)
		copy(n[b.lo-lo:], b.n)
		b.lo, b.n = lo, n
		return true
	}
	b.n = append(b.n, make([]uint64, hi-end)...)
	return true
}

func (h *hist) coarsen() {
	h.schema--
	h.pos.join()
	h.neg.join()
}

func (b *buckets) join() {
	if len(b.n) == 0 {
		return
	}
	lo := scale(b.lo, 1)
	n := make([]uint64, scale(b.lo+int32(len(b.n))-1, 1)-lo+1)
	for i, v := range b.n {
		n[scale(b.lo+int32(i), 1)-lo] += v
	}
	b.lo, b.n = lo, n
}

// merge adds o to h and empties o.
func (h *hist) merge(o *hist) {
	for h.schema > o.schema {
		h.coarsen()
	}
	h.pos.merge(h, &o.pos, o.schema)
	h.neg.merge(h, &o.neg, o.schema)
	h.count += o.count
	h.zero += o.zero
	h.sum += o.sum
	o.count, o.zero, o.sum = 0, 0, 0
	clear(o.pos.n)
	clear(o.neg.n)
}

// merge adds o, which has schema s, to b, which belongs to h.
func (b *buckets) merge(h *hist, o *buckets, s int32) {
	first, last := 0, len(o.n)-1
	for first <= last && o.n[first] == 0 {
		first++
	}
	for last > first && o.n[last] == 0 {
		last--
	}
	if first > last {
		return
	}
	lo, hi := o.lo+int32(first), o.lo+int32(last)
	for !b.reach(scale(lo, s-h.schema), scale(hi, s-h.schema)) && h.schema > lastSchema {
		h.coarsen()
	}
	for i, v := range o.n {
		if v != 0 {
			b.n[scale(o.lo+int32(i), s-h.schema)-b.lo] += v
		}
	}
}

// fill writes h into out, whose slices it reuses.
func (h *hist) fill(out *histogram.Histogram) {
	out.CounterResetHint = histogram.UnknownCounterReset
	out.Schema, out.ZeroThreshold = h.schema, zeroThreshold
	out.Count, out.ZeroCount, out.Sum = h.count, h.zero, h.sum
	out.PositiveSpans, out.PositiveBuckets = h.pos.fill(out.PositiveSpans[:0], out.PositiveBuckets[:0])
	out.NegativeSpans, out.NegativeBuckets = h.neg.fill(out.NegativeSpans[:0], out.NegativeBuckets[:0])
}

func (b *buckets) fill(spans []histogram.Span, deltas []int64) ([]histogram.Span, []int64) {
	next, last := int32(0), int64(0) // index after the last span; count of the bucket before
	for i, v := range b.n {
		if v == 0 {
			continue
		}
		at := b.lo + int32(i)
		if len(spans) == 0 || at != next {
			spans = append(spans, histogram.Span{Offset: at - next})
		}
		spans[len(spans)-1].Length++
		deltas = append(deltas, int64(v)-last)
		next, last = at+1, int64(v)
	}
	return spans, deltas
}
