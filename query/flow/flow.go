// Package flow is the pipeline model: pure functions from evidence to lag, throughput, loss and the
// sentence that says where the data is stuck. No I/O, no clock, no goroutine; time is an argument.
//
// Evidence (audit cells, auditors, broker offsets, barriers) comes from query/pipeline, which reads
// it from the store; verdicts, lags and forecasts go back to it. docs/pipeline-model.md explains
// every formula. Times are Unix milliseconds unless a name says otherwise; event windows are Unix
// seconds, as in cells. Arithmetic saturates: absurd input gives absurd output, never a panic.
package flow

import (
	"math"
	"time"
)

// States of a verdict (store.Verdict.State).
const (
	OK            = "OK"
	InFlight      = "IN_FLIGHT"
	Late          = "LATE"
	Loss          = "LOSS"
	ProbableLoss  = "PROBABLE_LOSS"
	Duplicates    = "DUPLICATES"
	Mixed         = "MIXED"
	Skipped       = "SKIPPED"
	RetentionLoss = "RETENTION_LOSS"
	Filtered      = "FILTERED"
	Anomaly       = "ANOMALY"
	Unknown       = "UNKNOWN"
)

// Levels of evidence, weakest first.
const (
	L0 = "L0" // broker offsets only
	L1 = "L1" // standard counters
	L2 = "L2" // event-window cells
	L3 = "L3" // cells with fingerprints or id samples
	LT = "T"  // paired spans
)

// IsLoss says whether a verdict state means that records are gone.
func IsLoss(state string) bool {
	switch state {
	case Loss, ProbableLoss, Skipped, RetentionLoss, Mixed:
		return true
	}
	return false
}

// Severity orders verdict states, worst highest.
func Severity(state string) int {
	switch state {
	case Loss:
		return 11
	case RetentionLoss:
		return 10
	case Skipped:
		return 9
	case Mixed:
		return 8
	case ProbableLoss:
		return 7
	case Unknown:
		return 6
	case Late:
		return 5
	case Anomaly:
		return 4
	case Duplicates:
		return 3
	case InFlight:
		return 2
	case Filtered:
		return 1
	default:
		return 0
	}
}

// Rules are the tunable figures of the model.
type Rules struct {
	// Grace is how long after the end of a window its producers must have reported before the
	// window counts as complete on their side. A learned lateness makes it longer per edge.
	Grace time.Duration
	// Margin is how long after a commit the counts of the same records may still be on their way
	// (client-side aggregation of statsd increments).
	Margin time.Duration
	// MaxLatency caps what is waited for where no offsets say when a hop is done.
	MaxLatency time.Duration
	// SilentFlushes is how many flush intervals an auditor may miss before it counts as silent.
	SilentFlushes int
	// Apart is how far the clocks of collectors and of this server are apart, as far as that is known.
	Apart time.Duration
}

// DefaultRules are the figures of docs/pipeline-model.md.
func DefaultRules() Rules {
	return Rules{Grace: 30 * time.Second, Margin: 2 * time.Second, MaxLatency: 5 * time.Minute, SilentFlushes: 3}
}

func (r Rules) normal() Rules {
	r.Grace = min(max(r.Grace, 0), 24*time.Hour)
	r.Margin = min(max(r.Margin, 0), time.Hour)
	r.MaxLatency = min(max(r.MaxLatency, 0), 24*time.Hour)
	r.Apart = min(max(r.Apart, 0), time.Hour)
	r.SilentFlushes = min(max(r.SilentFlushes, 1), 1000)
	return r
}

// far is a time after all others; half the range so that sums with durations stay in range.
const far = math.MaxInt64 / 2

// num converts a counter to a signed figure, clamped.
func num(u uint64) int64 {
	if u > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(u)
}

// product, of figures that are not negative, add and sub saturate.
func product(a, b int64) int64 {
	if a > 0 && b > far/a {
		return far
	}
	return a * b
}

func add(a, b int64) int64 {
	s := a + b
	if a > 0 && b > 0 && s < 0 {
		return math.MaxInt64
	}
	if a < 0 && b < 0 && s >= 0 {
		return math.MinInt64
	}
	return s
}

func sub(a, b int64) int64 {
	if b == math.MinInt64 {
		return add(add(a, math.MaxInt64), 1)
	}
	return add(a, -b)
}

// whole converts a float to int64, clamped; NaN is 0.
func whole(f float64) int64 {
	switch {
	case math.IsNaN(f):
		return 0
	case f >= math.MaxInt64:
		return math.MaxInt64
	case f <= math.MinInt64:
		return math.MinInt64
	}
	return int64(f)
}

func sum(xs ...int64) int64 {
	var s int64
	for _, x := range xs {
		s = add(s, x)
	}
	return s
}
