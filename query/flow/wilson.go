package flow

import (
	"math"

	"github.com/weirhq/weir/internal/cell"
)

// Share is an estimated share with its 95 % interval, each 0..1.
type Share struct{ Value, Low, High float64 }

// Wilson is the 95 % Wilson score interval of hits among n trials.
func Wilson(hits, n int64) Share {
	if n <= 0 {
		return Share{0, 0, 1}
	}
	const z = 1.959963984540054
	k, m := float64(min(max(hits, 0), n)), float64(n)
	p := k / m
	d := 1 + z*z/m
	mid := (p + z*z/(2*m)) / d
	half := z / d * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return Share{p, math.Max(0, mid-half), math.Min(1, mid+half)}
}

// IDSample is the result of comparing the sampled message ids of two sides of an edge.
type IDSample struct {
	Upstream  int64 // distinct sampled ids upstream
	Missing   int64 // of those, not seen downstream
	Extra     int64 // repetitions downstream: sum of (multiplicity - 1)
	Foreign   int64 // sampled downstream, not known upstream
	Loss, Dup Share
	Examples  []string // ids that are missing, at most 10
}

// Sampled says whether an id belongs to the sample 1 in m: its hash modulo m is 0.
func Sampled(id string, m uint64) bool { return m > 0 && cell.Hash(id)%m == 0 }

// CompareIDs estimates loss and duplication from the sampled ids of both sides. The same hash
// chooses on both sides, so an id is in both samples or in neither unless it was lost.
func CompareIDs(up, down []string) IDSample {
	seen := make(map[string]int64, len(down))
	for _, id := range down {
		seen[id]++
	}
	var s IDSample
	known := make(map[string]bool, len(up))
	for _, id := range up {
		if known[id] {
			continue
		}
		known[id] = true
		s.Upstream++
		n := seen[id]
		if n == 0 {
			s.Missing++
			if len(s.Examples) < 10 {
				s.Examples = append(s.Examples, id)
			}
			continue
		}
		s.Extra += n - 1
	}
	s.Loss = Wilson(s.Missing, s.Upstream)
	s.Dup = Wilson(s.Extra, s.Upstream)
	return s
}

// PairedLoss is the loss among sampled upstream spans whose partner downstream is missing, corrected
// for telemetry loss: downstream spans whose upstream partner is missing show how many spans get lost on the way.
// Unpaired totals must never be used for loss; they only give throughput.
func PairedLoss(misses, upstream, reverseMisses, downstream int64) (observed Share, telemetry, corrected float64) {
	observed = Wilson(misses, upstream)
	if downstream > 0 {
		telemetry = float64(min(max(reverseMisses, 0), downstream)) / float64(downstream)
	}
	corrected = observed.Value
	if telemetry < 1 {
		corrected = math.Max(0, 1-(1-observed.Value)/(1-telemetry))
	}
	return observed, telemetry, corrected
}

// CorrectedLoss is the loss of PairedLoss after correction with its 95 % interval, made of the Wilson intervals of both shares.
func CorrectedLoss(misses, upstream, reverseMisses, downstream int64) Share {
	miss, gone := Wilson(misses, upstream), Wilson(reverseMisses, downstream)
	if downstream <= 0 {
		gone = Share{0, 0, 0}
	}
	log := func(x float64) float64 { return math.Log(math.Max(1-x, 1e-12)) }
	a, aLow, aHigh := log(miss.Value), log(miss.High), log(miss.Low)
	b, bLow, bHigh := log(gone.Value), log(gone.High), log(gone.Low)
	l := func(x float64) float64 { return math.Min(math.Max(1-math.Exp(x), 0), 1) }
	return Share{l(a - b), l(a - b + math.Hypot(aHigh-a, b-bLow)), l(a - b - math.Hypot(a-aLow, bHigh-b))}
}

// missingByChance is the chance that at least so many spans miss their partner downstream when telemetry loss alone makes spans
// miss their partners, as often on this side as on the other: Fisher's exact test, one-sided; beyond 2,000 misses the normal one.
func missingByChance(misses, upstream, reverseMisses, downstream int64) float64 {
	a, n, b, m := float64(misses), float64(upstream), float64(max(reverseMisses, 0)), float64(max(downstream, 0))
	switch {
	case misses <= 0 || upstream <= 0:
		return 1
	case m == 0:
		return 1
	}
	bad, all := a+b, n+m
	if bad > 2000 {
		pool := bad / all
		sd := math.Sqrt(pool * (1 - pool) * (1/n + 1/m))
		if sd == 0 {
			return 1
		}
		return math.Erfc((a/n-b/m)/sd/math.Sqrt2) / 2
	}
	choose := func(n, k float64) float64 {
		x, _ := math.Lgamma(n + 1)
		y, _ := math.Lgamma(k + 1)
		z, _ := math.Lgamma(n - k + 1)
		return x - y - z
	}
	p, total := 0.0, choose(all, bad)
	for k := a; k <= math.Min(bad, n); k++ {
		if bad-k <= m {
			p += math.Exp(choose(n, k) + choose(m, bad-k) - total)
		}
	}
	return math.Min(p, 1)
}

// Skew judges clocks: when the smallest latency of an edge over at least 1,000 messages is negative
// the clocks differ by at least that much. Seconds.
func Skew(minLatency float64, messages int64) (skew float64, known bool) {
	if messages < 1000 || math.IsNaN(minLatency) || minLatency >= 0 {
		return 0, false
	}
	return -minLatency, true
}
