package cell

import (
	"fmt"
	"math"
)

// Histogram is a histogram of latencies as OTLP tells it: with explicit bounds, or Exponential, where count i holds values in
// (base^(Offset+i), base^(Offset+i+1)], base = 2^(2^−Scale).
type Histogram struct {
	Unit     string // "s", "ms" or "" (milliseconds), "us", "ns"
	Min, Max float64
	HasRange bool // Min and Max are told
	Counts   []uint64
	Bounds   []float64

	Exponential bool
	Scale       int32
	Offset      int32
	Zero        uint64
	Negative    []uint64
	NegOffset   int32
}

// Sketch turns the histogram into a sketch. Its error is that of the histogram's own buckets, of which the middle is taken.
func (h *Histogram) Sketch() (*Sketch, error) {
	unit, ok := map[string]float64{"": 1, "ms": 1, "s": 1000, "us": 1e-3, "µs": 1e-3, "ns": 1e-6}[h.Unit]
	if !ok {
		return nil, fmt.Errorf("cannot read latencies in unit %q: use s, ms, us or ns", clip([]byte(h.Unit)))
	}
	s := &Sketch{}
	bad := false
	put := func(v float64, n uint64) {
		if n == 0 {
			return
		}
		if h.HasRange {
			v = max(min(v, h.Max), h.Min)
		}
		bad = !s.Observe(v*unit, n) || bad
	}
	if !h.Exponential {
		if len(h.Bounds) == 0 || len(h.Counts) != len(h.Bounds)+1 {
			return nil, fmt.Errorf("cannot read latencies: %d bounds need %d counts, there are %d", len(h.Bounds), len(h.Bounds)+1, len(h.Counts))
		}
		for i, n := range h.Counts {
			put(explicitMiddle(h.Bounds, i), n)
		}
	} else {
		if h.Scale < -10 || h.Scale > 20 {
			return nil, fmt.Errorf("cannot read latencies: scale %d must lie between -10 and 20", h.Scale)
		}
		ln := math.Exp2(-float64(h.Scale)) * math.Ln2
		for i, n := range h.Negative {
			put(-math.Exp((float64(h.NegOffset)+float64(i)+0.5)*ln), n)
		}
		put(0, h.Zero)
		for i, n := range h.Counts {
			put(math.Exp((float64(h.Offset)+float64(i)+0.5)*ln), n)
		}
	}
	if bad {
		return nil, fmt.Errorf("cannot read latencies: some are no number or beyond ±%g ms", float64(MaxLatency))
	}
	if h.HasRange && s.Count > 0 {
		s.Min = max(min(h.Min*unit, MaxLatency), -MaxLatency)
	}
	return s, nil
}

func explicitMiddle(bounds []float64, i int) float64 {
	switch {
	case i == 0 && bounds[0] <= 0:
		return bounds[0]
	case i == 0:
		return bounds[0] / 2
	case i == len(bounds):
		return bounds[i-1]
	case bounds[i-1] > 0:
		return math.Sqrt(bounds[i-1] * bounds[i])
	default:
		return (bounds[i-1] + bounds[i]) / 2
	}
}
