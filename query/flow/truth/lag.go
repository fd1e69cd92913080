// Package truth simulates brokers and readers whose every record has a known time, and compares what
// query/flow says about them: how far a stated lag is off, and whether a backlog is gone when a forecast said so.
//
// Tests hold the results against the bars; deploy/bench prints them.
package truth

import (
	"math"
	"math/rand/v2"

	"github.com/weirhq/weir/query/flow"
)

// LagResult compares stated time lags with the truth.
type LagResult struct {
	Shape   string
	Points  int     // lags with a stated bound
	Within  int     // of them, error ≤ bound
	AtLeast int     // lags said to be "at least"
	Short   int     // of them, those that were longer than the truth
	Mean    float64 // mean error, seconds
	Worst   float64 // largest error, seconds
	Bound   float64 // mean stated bound, seconds
}

// Shapes are the ways in which records arrive.
func Shapes() []string {
	return []string{"steady", "noisy", "bursts each minute", "on and off", "day and night", "rare"}
}

// arrivals of each second.
func arrivals(shape string, seconds int, r *rand.Rand) []int64 {
	out := make([]int64, seconds)
	base := math.Pow(10, 1+2.5*r.Float64())
	level, on := 1.0, true
	for s := range out {
		var n float64
		switch shape {
		case "steady":
			n = base
		case "noisy":
			level = math.Exp(0.95*math.Log(level) + 0.3*r.NormFloat64())
			n = base * level
		case "bursts each minute":
			if s%60 == 0 {
				n = base * 60
			}
		case "on and off":
			if r.Float64() < 1.0/200 {
				on = !on
			}
			if on {
				n = base
			}
		case "day and night":
			n = base * (1 + 0.9*math.Sin(2*math.Pi*float64(s)/86_400))
		default:
			if r.Float64() < 1.0/120 {
				n = 1
			}
		}
		out[s] = int64(n + r.Float64())
	}
	return out
}

// Lag runs one partition with one reader for some hours and asks for the lag at every poll.
func Lag(shape string, hours int, seed uint64) LagResult {
	r := rand.New(rand.NewPCG(seed, 1))
	seconds := hours * 3600
	in := arrivals(shape, seconds, r)
	cum := make([]int64, seconds+1)
	for s, n := range in {
		cum[s+1] = cum[s] + n
	}
	endAt := func(ms int64) int64 {
		s := min(max(ms/1000, 0), int64(seconds-1))
		return cum[s] + int64(float64(in[s])*float64(ms-s*1000)/1000)
	}
	mean := float64(cum[seconds]) / float64(seconds)
	res := LagResult{Shape: shape}
	var table flow.Table
	var committed float64
	second := 0
	appended := func(offset int64) float64 { // ms
		for second > 0 && cum[second] > offset {
			second--
		}
		for second+1 < len(cum) && cum[second+1] <= offset {
			second++
		}
		return float64(second)*1000 + 1000*(float64(offset-cum[second])+0.5)/float64(max(in[min(second, seconds-1)], 1))
	}
	interval := 5000 + r.Int64N(25_000)
	speed, last := 1.0, int64(0)
	for at := interval; at < int64(seconds)*1000; at += interval*9/10 + r.Int64N(interval/5+1) {
		if r.Float64() < 1.0/100 { // a poll that failed
			continue
		}
		if r.Float64() < 1.0/50 { // the reader stalls, goes on, or catches up
			speed = []float64{0, 0, 0.5, 1, 2, 10}[r.IntN(6)]
		}
		// Commits are read first, ends some milliseconds later; both carry the start of the poll.
		committed = math.Min(committed+speed*mean*float64(at-last)/1000, float64(endAt(at)))
		last = at
		end := endAt(at + r.Int64N(50))
		table.Add(at, end)
		c := int64(committed)
		if c >= end {
			continue
		}
		l := flow.LagOf(at, end, c, 0, &table)
		if !l.Known {
			continue
		}
		truth := math.Max(0, (float64(at)-appended(c))/1000)
		if math.IsInf(l.Bound, 0) {
			res.AtLeast++
			if l.Seconds > truth+0.05 {
				res.Short++
			}
			continue
		}
		e := math.Abs(l.Seconds - truth)
		res.Points++
		res.Mean += e
		res.Bound += l.Bound
		res.Worst = math.Max(res.Worst, e)
		if e <= l.Bound {
			res.Within++
		}
	}
	if res.Points > 0 {
		res.Mean /= float64(res.Points)
		res.Bound /= float64(res.Points)
	}
	return res
}

// Add sums two results of one shape.
func (a LagResult) Add(b LagResult) LagResult {
	n := float64(a.Points + b.Points)
	if n > 0 {
		a.Mean = (a.Mean*float64(a.Points) + b.Mean*float64(b.Points)) / n
		a.Bound = (a.Bound*float64(a.Points) + b.Bound*float64(b.Points)) / n
	}
	a.Points, a.Within = a.Points+b.Points, a.Within+b.Within
	a.AtLeast, a.Short = a.AtLeast+b.AtLeast, a.Short+b.Short
	a.Worst = math.Max(a.Worst, b.Worst)
	return a
}
