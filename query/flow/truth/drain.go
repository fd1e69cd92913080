package truth

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/weirhq/weir/query/flow"
)

// DrainResult compares forecasts with when a backlog was gone.
type DrainResult struct {
	Shape  string
	Asked  int       // forecasts of a backlog that was said to drain
	Within int       // the truth lay in the interval
	Soon   int       // it came before the interval
	Late   int       // it came after it
	Open   int       // intervals without a latest end
	Widths []float64 // of the others, as a share of the truth
	Errors []float64 // of the value, absolute, as a share of the truth
}

// Consumptions are the ways in which readers read.
func Consumptions() []string {
	return []string{"even", "noise", "slow noise", "steps", "hot partition", "all"}
}

type lane struct {
	in, out, lag   float64
	noiseI, noiseO float64
	end, committed flow.Table
	endV, comV     float64
	gone           float64
}

// Drain plays one reader of some partitions, forecasts after ten minutes, and plays on until the backlog is gone.
// ok is false when the forecast was not that it drains, or it took longer than six hours.
func Drain(shape string, seed uint64) (r DrainResult, ok bool) {
	rnd := rand.New(rand.NewPCG(seed, 2))
	has := func(s string) bool { return shape == s || shape == "all" }
	lanes := make([]*lane, 1+rnd.IntN(12))
	base := math.Pow(10, 1+2*rnd.Float64())
	gain := 1.05 + 1.5*rnd.Float64()
	for i := range lanes {
		w := 0.7 + 0.6*rnd.Float64()
		l := &lane{in: base * w, gone: -1}
		l.out = l.in * gain * (0.95 + 0.1*rnd.Float64())
		l.lag = (l.out - l.in) * (700 + 5000*rnd.Float64())
		lanes[i] = l
	}
	if has("hot partition") {
		l := lanes[0]
		l.in *= 2
		l.out = math.Max(l.out, l.in*(1.03+0.3*rnd.Float64()))
		l.lag *= 3
	}
	sigma, rho := 0.02, 0.0
	switch {
	case shape == "noise":
		sigma = 0.3
	case has("slow noise"):
		sigma, rho = 0.25, 0.98
	}
	interval := 5 + rnd.IntN(6)
	group := 1.0
	step := func(now int) {
		if has("steps") && rnd.Float64() < 1.0/1800 {
			group = 0.85 + 0.3*rnd.Float64()
		}
		for _, l := range lanes {
			l.noiseI = rho*l.noiseI + math.Sqrt(1-rho*rho)*sigma*rnd.NormFloat64()
			l.noiseO = rho*l.noiseO + math.Sqrt(1-rho*rho)*sigma*rnd.NormFloat64()
			in := math.Max(0, l.in*(1+l.noiseI))
			out := math.Min(l.lag+in, math.Max(0, l.out*group*(1+l.noiseO)))
			l.lag += in - out
			l.endV += in
			l.comV += out
			if l.lag < in && l.gone < 0 {
				l.gone = float64(now)
			}
		}
	}
	for _, l := range lanes {
		l.endV = l.lag
	}
	const asked = 600
	for now := range asked + 1 {
		step(now)
		if now%interval == 0 {
			for _, l := range lanes {
				l.committed.Add(int64(now+1)*1000, int64(l.comV))
				l.end.Add(int64(now+1)*1000, int64(l.endV))
			}
		}
	}
	var lags []float64
	var courses []flow.Course
	for _, l := range lanes {
		if l.gone >= 0 {
			return r, false
		}
		last, _ := l.committed.Last()
		end, _ := l.end.Last()
		lags = append(lags, float64(end.V-last.V))
		in, out := flow.TheilSen(l.end.Recent(last.T, 300_000, flow.SlopePoints)), flow.TheilSen(l.committed.Recent(last.T, 300_000, flow.SlopePoints))
		courses = append(courses, flow.CourseFrom(flow.Backlog(&l.end, &l.committed, last.T, 120_000), flow.Backlog(&l.end, &l.committed, last.T, 300_000), math.Max(in.Rate, out.Rate)))
	}
	span, _ := flow.DrainGroup(lags, courses)
	if !span.Known || math.IsInf(span.Value, 0) {
		return r, false
	}
	var truth float64
	for now := asked + 1; ; now++ {
		step(now)
		truth = 0
		left := false
		for _, l := range lanes {
			left = left || l.gone < 0
			truth = math.Max(truth, l.gone-asked)
		}
		if !left {
			break
		}
		if now > asked+6*3600 {
			return r, false
		}
	}
	r = DrainResult{Shape: shape, Asked: 1, Errors: []float64{math.Abs(span.Value-truth) / truth}}
	switch {
	case truth < span.Low-1:
		r.Soon = 1
	case truth > span.High+1:
		r.Late = 1
	default:
		r.Within = 1
	}
	if math.IsInf(span.High, 0) {
		r.Open = 1
	} else {
		r.Widths = []float64{(span.High - span.Low) / truth}
	}
	return r, true
}

// Add sums two results of one shape.
func (a DrainResult) Add(b DrainResult) DrainResult {
	a.Asked, a.Within, a.Soon, a.Late, a.Open = a.Asked+b.Asked, a.Within+b.Within, a.Soon+b.Soon, a.Late+b.Late, a.Open+b.Open
	a.Widths, a.Errors = append(a.Widths, b.Widths...), append(a.Errors, b.Errors...)
	return a
}

// Median of some figures; 0 when there are none.
func Median(vs []float64) float64 {
	if len(vs) == 0 {
		return 0
	}
	vs = slices.Sorted(slices.Values(vs))
	return vs[len(vs)/2]
}
