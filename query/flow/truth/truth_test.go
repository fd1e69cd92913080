package truth

import (
	"testing"
)

// T3: the error of the stated time lag is within its bound in 99.9 % of the points.
func TestLagIsWithinItsBound(t *testing.T) {
	for _, shape := range Shapes() {
		sum := LagResult{Shape: shape}
		for seed := range uint64(6) {
			sum = sum.Add(Lag(shape, 6, seed))
		}
		sum = sum.Add(Lag(shape, 40, 99))
		if share := float64(sum.Within) / float64(sum.Points); sum.Points < 1000 || share < 0.999 || sum.Short*1000 > sum.AtLeast {
			t.Errorf("%+v: %.4f within", sum, share)
		}
	}
}

// T4: the truth lies in the stated 80 % interval in at least 80 % of the forecasts.
func TestDrainIsWithinItsInterval(t *testing.T) {
	for _, shape := range Consumptions() {
		sum := DrainResult{Shape: shape}
		for seed := range uint64(400) {
			if r, ok := Drain(shape, seed); ok {
				sum = sum.Add(r)
			}
		}
		n := float64(sum.Asked)
		t.Logf("%-14s %4d asked, %.3f within, %.3f soon, %.3f late, %.2f open, median width %.2f, median error %.2f", shape, sum.Asked,
			float64(sum.Within)/n, float64(sum.Soon)/n, float64(sum.Late)/n, float64(sum.Open)/n, Median(sum.Widths), Median(sum.Errors))
		if sum.Asked < 80 || float64(sum.Within)/n < 0.8 {
			t.Errorf("%+v", sum)
		}
	}
}
