package cell

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestHistogramsBecomeSketches(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var vs []float64 // seconds
	for range 10_000 {
		vs = append(vs, 0.05*math.Exp(r.NormFloat64()))
	}
	slices.Sort(vs)
	exp := Histogram{Unit: "s", Exponential: true, Scale: 5, Offset: -600, Counts: make([]uint64, 1000)}
	bounds := []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1, 2.5}
	explicit := Histogram{Unit: "s", Bounds: bounds, Counts: make([]uint64, len(bounds)+1), Min: vs[0], Max: vs[len(vs)-1], HasRange: true}
	for _, v := range vs {
		exp.Counts[int(math.Ceil(math.Log2(v)*32))-1+600]++
		i, _ := slices.BinarySearch(bounds, v)
		explicit.Counts[i]++
	}
	for what, c := range map[string]struct {
		h     Histogram
		error float64
	}{"exponential": {exp, 0.02}, "explicit": {explicit, 0.6}} {
		s, err := c.h.Sketch()
		if err != nil || s.Count != 10_000 {
			t.Fatalf("%s: %v", what, err)
		}
		for _, q := range []float64{0.5, 0.9, 0.99} {
			want := vs[int(q*9999)] * 1000
			if got := s.Quantile(q); math.Abs(got-want) > c.error*want {
				t.Errorf("%s: quantile %g is %g ms, want %g", what, q, got, want)
			}
		}
	}
}

func TestBadHistograms(t *testing.T) {
	for what, h := range map[string]Histogram{
		"unit":   {Unit: "furlong", Counts: []uint64{1}},
		"counts": {Bounds: []float64{1, 2}, Counts: []uint64{1, 2}},
		"none":   {Counts: []uint64{1}},
		"scale":  {Exponential: true, Scale: 60, Counts: []uint64{1, 1}},
		"NaN":    {Bounds: []float64{math.NaN()}, Counts: []uint64{1, 1}},
		"huge":   {Unit: "s", Exponential: true, Scale: -10, Offset: 30, Counts: []uint64{1, 1}},
		"inf":    {Bounds: []float64{1, math.Inf(1)}, Counts: []uint64{1, 1, 1}},
	} {
		if s, err := h.Sketch(); err == nil {
			t.Errorf("%s becomes %+v", what, s)
		}
	}
}

func FuzzHistogram(f *testing.F) {
	f.Add("s", int32(3), int32(-5), uint64(1), uint64(7), 0.5, 2.0)
	f.Fuzz(func(t *testing.T, unit string, scale, offset int32, a, b uint64, lo, hi float64) {
		for _, h := range []Histogram{
			{Unit: unit, Exponential: true, Scale: scale, Offset: offset, NegOffset: offset, Zero: a, Counts: []uint64{a, b, a}, Negative: []uint64{b}},
			{Unit: unit, Bounds: []float64{lo, hi}, Counts: []uint64{a, b, a}, Min: lo, Max: hi, HasRange: a%2 == 0},
		} {
			s, err := h.Sketch()
			if err != nil {
				continue
			}
			if back, err := ParseSample((&Sample{Latency: s}).AppendBinary(nil)); err != nil || !back.Latency.Equal(s) {
				t.Fatalf("%+v: %v", h, err)
			}
		}
	})
}
