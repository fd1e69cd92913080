package otlp

import (
	"math"
	"strconv"

	"github.com/prometheus/prometheus/model/histogram"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/weirhq/weir/store"
)

// Native histograms know schemas -4 to 8; a finer scale is merged down to 8.
const (
	minSchema     = -4
	maxSchema     = 8
	zeroThreshold = 1e-128 // where the sender gives none
)

func (t *translator) exponential(p pmetric.ExponentialHistogramDataPoint) {
	ms, start, ok := t.times(p.Timestamp(), p.StartTimestamp())
	if !ok {
		return
	}
	scale := p.Scale()
	if scale < minSchema {
		t.reject(ReasonHistogram, 1, t.m.name+": scale "+strconv.Itoa(int(scale))+" is below "+strconv.Itoa(minSchema))
		return
	}
	down := max(0, scale-maxSchema)
	if down > 31 {
		t.reject(ReasonHistogram, 1, t.m.name+": scale "+strconv.Itoa(int(scale))+" is too fine")
		return
	}
	h := &histogram.Histogram{
		Schema: min(scale, maxSchema), ZeroThreshold: p.ZeroThreshold(), ZeroCount: p.ZeroCount(), Count: p.Count(), Sum: p.Sum(),
	}
	if h.ZeroThreshold == 0 {
		h.ZeroThreshold = zeroThreshold
	}
	h.PositiveSpans, h.PositiveBuckets = nativeBuckets(p.Positive(), int(down))
	h.NegativeSpans, h.NegativeBuckets = nativeBuckets(p.Negative(), int(down))
	if p.Flags().NoRecordedValue() {
		*h = histogram.Histogram{Schema: h.Schema, ZeroThreshold: h.ZeroThreshold, Sum: staleNaN()}
	} else if err := h.Validate(); err != nil {
		t.reject(ReasonHistogram, 1, t.m.name+": "+err.Error())
		return
	}
	ls, ok := t.labels(p.Attributes())
	if !ok {
		return
	}
	s := t.single.add(named(ls, t.m.name, label{}), t.m.meta)
	s.Histograms = []store.HistogramSample{{T: ms, Start: start, H: h}}
	t.exemplars(&t.single, p.Exemplars(), func(float64) *store.BatchSeries { return s })
}

// nativeBuckets merges 2^down neighbours into one bucket and leaves out empty runs.
// OTLP's bucket i lies above base^i, Prometheus' below it, hence the one added.
func nativeBuckets(b pmetric.ExponentialHistogramDataPointBuckets, down int) (spans []histogram.Span, deltas []int64) {
	counts := b.BucketCounts()
	const holes = 2 // a shorter run of empty buckets is cheaper as zeros than as a new span
	var prev int64
	last := math.MinInt // index of the last bucket written
	emit := func(idx int, n uint64) {
		switch gap := idx - last - 1; {
		case len(spans) == 0:
			spans = append(spans, histogram.Span{Offset: int32(idx), Length: 0})
		case gap > holes:
			spans = append(spans, histogram.Span{Offset: int32(gap), Length: 0})
		default:
			for range gap {
				deltas = append(deltas, -prev)
				prev = 0
				spans[len(spans)-1].Length++
			}
		}
		deltas = append(deltas, int64(n)-prev)
		prev = int64(n)
		spans[len(spans)-1].Length++
		last = idx
	}
	var sum uint64
	cur, have := 0, false
	for i := range counts.Len() {
		idx := ((int(b.Offset()) + i) >> down) + 1
		if have && idx != cur {
			if sum > 0 {
				emit(cur, sum)
			}
			sum = 0
		}
		cur, have = idx, true
		sum += counts.At(i)
	}
	if sum > 0 {
		emit(cur, sum)
	}
	return spans, deltas
}
