package flow

import (
	"math"
	"slices"
)

// XY is a value at a time in seconds.
type XY struct{ X, Y float64 }

// Slope is a rate of change per second with its 80 % interval.
type Slope struct {
	Rate, Low, High float64
	N               int // points it rests on
}

// Known says whether there were enough points for a slope: three.
func (s Slope) Known() bool { return s.N >= 3 }

// maxSlopePoints bounds the work of TheilSen: 64 points have 2,016 pairs.
const maxSlopePoints = 64

// TheilSen is the median of the slopes between all pairs of points. Its interval is the one of
// Sen (1968): ranks around the median from the variance of Kendall's statistic. Up to 29 % of the
// points may be arbitrarily wrong. Of more than 64 points an even choice is used.
func TheilSen(points []XY) Slope {
	if len(points) > maxSlopePoints {
		thin := make([]XY, 0, maxSlopePoints)
		for i := range maxSlopePoints {
			thin = append(thin, points[i*(len(points)-1)/(maxSlopePoints-1)])
		}
		points = thin
	}
	var few [128]float64 // the usual number of points makes no garbage
	slopes := few[:0]
	for i := range points {
		for j := i + 1; j < len(points); j++ {
			dx := points[j].X - points[i].X
			if s := (points[j].Y - points[i].Y) / dx; dx != 0 && !math.IsNaN(s) && !math.IsInf(s, 0) {
				slopes = append(slopes, s)
			}
		}
	}
	n := len(points)
	if len(slopes) == 0 || n < 3 {
		return Slope{}
	}
	slices.Sort(slopes)
	const z80 = 1.2815515655446004
	c := z80 * math.Sqrt(float64(n)*float64(n-1)*float64(2*n+5)/18)
	at := func(rank float64) float64 {
		return slopes[min(max(int(rank), 0), len(slopes)-1)]
	}
	m := float64(len(slopes))
	return Slope{Rate: median(slopes), Low: at(math.Floor((m - c) / 2)), High: at(math.Ceil((m + c) / 2)), N: n}
}

// RoughSlope is the median of the slopes between points half the series apart: a tenth of the work of
// TheilSen, with the spread of those slopes as a rough interval. For series whose exact trend nobody asks for.
func RoughSlope(points []XY) Slope {
	n := len(points)
	if n < 3 {
		return Slope{}
	}
	var few [maxSlopePoints]float64
	slopes, half := few[:0], n/2
	for i := 0; i+half < n && len(slopes) < maxSlopePoints; i++ {
		if dx := points[i+half].X - points[i].X; dx > 0 {
			slopes = append(slopes, (points[i+half].Y-points[i].Y)/dx)
		}
	}
	if len(slopes) == 0 {
		return Slope{}
	}
	slices.Sort(slopes)
	return Slope{Rate: median(slopes), Low: slopes[0], High: slopes[len(slopes)-1], N: n}
}

// median of sorted values.
func median(sorted []float64) float64 {
	n := len(sorted)
	if n == 0 {
		return math.NaN()
	}
	if n%2 == 1 {
		return sorted[n/2]
	}
	return sorted[n/2-1]/2 + sorted[n/2]/2
}

// Trends of a lag.
const (
	Growing      = "growing"
	Steady       = "steady"
	DrainingT    = "draining"
	TrendUnknown = "unknown"
)

// Trend says whether a backlog grows: its slope's 80 % interval must leave out 0, and the change
// must matter: at least one in two hundred of what flows in (records per second), and half a record a second.
func Trend(lag Slope, inRate float64) string {
	if !lag.Known() {
		return TrendUnknown
	}
	floor := math.Max(0.5, math.Abs(inRate)/200)
	switch {
	case lag.Low > 0 && lag.Rate >= floor:
		return Growing
	case lag.High < 0 && lag.Rate <= -floor:
		return DrainingT
	default:
		return Steady
	}
}
