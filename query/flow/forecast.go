package flow

import "math"

// Never is a drain time that does not come.
var Never = math.Inf(1)

// PartitionRate is one partition of a group: its backlog in records and what flows in and out per second.
type PartitionRate struct {
	Lag      float64
	In, Out  float64
	Capacity float64 // most the reader can take per second; 0 = Out
}

// Drain is the time until a backlog is gone at the present rates, seconds: 0 when there is none, Never when it does not shrink.
func Drain(lag, in, out float64) float64 {
	switch {
	case lag <= 0:
		return 0
	case out > in:
		return lag / (out - in)
	default:
		return Never
	}
}

// DrainAll is the drain time of the slowest partition. The sum of all partitions would promise a
// time that a hot partition never keeps.
func DrainAll(ps []PartitionRate) float64 {
	worst := 0.0
	for _, p := range ps {
		worst = math.Max(worst, Drain(p.Lag, p.In, p.Out))
	}
	return worst
}

// DrainEventTime is the drain time of a time lag, seconds, when event time goes forward v seconds per second.
func DrainEventTime(lag, v float64) float64 {
	switch {
	case lag <= 0:
		return 0
	case v > 1:
		return lag / (v - 1)
	default:
		return Never
	}
}

// LossIn is the time until retention deletes unread records, seconds, for a time lag and a retention
// in seconds when event time goes forward v seconds per second; Never when the reader keeps ahead.
func LossIn(lag, retention, v float64) float64 {
	switch {
	case lag >= retention:
		return 0
	case v >= 1:
		return Never
	default:
		return (retention - lag) / (1 - v)
	}
}

// PartitionSkew is the largest inflow over the mean inflow; 1 is even, 0 when nothing flows.
func PartitionSkew(ps []PartitionRate) float64 {
	var total, most float64
	for _, p := range ps {
		total += p.In
		most = math.Max(most, p.In)
	}
	if total <= 0 {
		return 0
	}
	return most / (total / float64(len(ps)))
}

// WhatIf forecasts the drain with n consumers that take perConsumer records per second each and read
// whole partitions, as groups do: no consumer helps with half a partition, more consumers than
// partitions idle. Partitions go to the consumer with least inflow so far, hottest first.
func WhatIf(ps []PartitionRate, n int, perConsumer float64) float64 {
	if n <= 0 {
		n = 1
	}
	n = min(n, len(ps))
	load := make([]float64, n)
	lag := make([]float64, n)
	for _, i := range byInflow(ps) {
		least := 0
		for c := range load {
			if load[c] < load[least] {
				least = c
			}
		}
		load[least] += ps[i].In
		lag[least] += ps[i].Lag
	}
	worst := 0.0
	for c := range load {
		worst = math.Max(worst, Drain(lag[c], load[c], perConsumer))
	}
	return worst
}

func byInflow(ps []PartitionRate) []int {
	idx := make([]int, len(ps))
	for i := range idx {
		idx[i] = i
	}
	for i := 1; i < len(idx); i++ { // few partitions, and equal inflows keep their order
		for j := i; j > 0 && ps[idx[j]].In > ps[idx[j-1]].In; j-- {
			idx[j], idx[j-1] = idx[j-1], idx[j]
		}
	}
	return idx
}
