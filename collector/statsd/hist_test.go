package statsd

import (
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"pgregory.net/rapid"
)

func TestBounds(t *testing.T) {
	for i, b := range bounds {
		if want := math.Exp2(float64(i)/8 - 1); math.Abs(b-want) > 1e-15 {
			t.Errorf("bound %d is %v, want %v", i, b, want)
		}
	}
	f := func(v float64, want int32) {
		t.Helper()
		if got := bucketOf(v); got != want {
			t.Errorf("%v is in bucket %d, want %d", v, got, want)
		}
	}
	f(1, 0)
	f(math.Nextafter(1, 2), 1)
	f(2, 8)
	f(0.5, -8)
	f(1.5, 5)
	f(1024, 80)
	f(math.MaxFloat64, 8192)
	f(math.SmallestNonzeroFloat64, -8592)
}

// TestHistogramHoldsEverything checks any values, in any split over two readers: the count and the sum are exact, the
// histogram is valid, and every value lies inside its bucket.
func TestHistogramHoldsEverything(t *testing.T) {
	value := rapid.OneOf(rapid.Float64Range(-1e4, 1e4), rapid.Float64Range(0, 1), rapid.Just(0.0), rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64), rapid.Float64Range(-1e-300, 1e-300))
	rapid.Check(t, func(t *rapid.T) {
		total, part := newHist(), newHist()
		values := rapid.SliceOfN(value, 1, 200).Draw(t, "values")
		merges := rapid.SliceOfN(rapid.Bool(), len(values), len(values)).Draw(t, "merge after")
		for i, v := range values {
			part.observe(v, 1)
			if merges[i] {
				total.merge(part)
			}
		}
		total.merge(part)
		var h histogram.Histogram
		total.fill(&h)
		if err := h.Validate(); err != nil {
			t.Fatal(err)
		}
		if h.Count != uint64(len(values)) {
			t.Fatalf("count %d of %d", h.Count, len(values))
		}
		seen := 0.0
		for it := h.ToFloat(nil).AllBucketIterator(); it.Next(); {
			b := it.At()
			n := 0.0
			for _, v := range values {
				in := v > b.Lower && v <= b.Upper
				switch {
				case b.Lower < 0 && b.Upper > 0:
					in = math.Abs(v) <= zeroThreshold
				case b.Upper <= 0:
					in = v >= b.Lower && v < b.Upper
				}
				if in && (math.Abs(v) > zeroThreshold || b.Lower < 0 && b.Upper > 0) {
					n++
				}
			}
			if n != b.Count {
				t.Fatalf("bucket %v holds %v values, schema %d: %v", b, n, h.Schema, values)
			}
			seen += n
		}
		if seen != float64(len(values)) {
			t.Fatalf("%v values lie in buckets", seen)
		}
		if len(total.pos.n) > maxBuckets || len(total.neg.n) > maxBuckets {
			t.Fatalf("%d and %d buckets", len(total.pos.n), len(total.neg.n))
		}
	})
}

func TestSampledObservationsEvenOut(t *testing.T) {
	h := newHist()
	for range 3000 {
		h.observe(2, 0.3)
	}
	if h.count != 10000 && h.count != 9999 {
		t.Errorf("3000 observations at 0.3 stand for %d, want 10000", h.count)
	}
}
