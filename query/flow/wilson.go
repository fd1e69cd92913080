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

// Skew judges clocks: when the smallest latency of an edge over at least 1,000 messages is negative
// the clocks differ by at least that much. Seconds.
func Skew(minLatency float64, messages int64) (skew float64, known bool) {
	if messages < 1000 || math.IsNaN(minLatency) || minLatency >= 0 {
		return 0, false
	}
	return -minLatency, true
}
