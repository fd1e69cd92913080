package flow

import (
	"math"
	"slices"
)

// WhatIf forecasts the drain with n consumers that take perConsumer records per second each and read
// whole partitions, as groups do: no consumer helps with half a partition, more consumers than
// partitions idle. Partitions go to the consumer with least inflow so far, hottest first.
func WhatIf(ps []PartitionRate, n int, perConsumer float64) float64 {
	worst := 0.0
	for _, t := range Assign(ps, n, perConsumer).Drain() {
		worst = math.Max(worst, t)
	}
	return worst
}

// Plan is who reads what: a consumer for each partition, and what each can take.
type Plan struct {
	Partitions []PartitionRate
	Consumer   []int     // by partition
	Capacity   []float64 // by consumer, records per second
}

// Assign gives whole partitions to n consumers, the hottest first to the one with least inflow.
func Assign(ps []PartitionRate, n int, perConsumer float64) Plan {
	n = min(max(n, 1), max(len(ps), 1))
	p := Plan{Partitions: ps, Consumer: make([]int, len(ps)), Capacity: make([]float64, n)}
	load, count := make([]float64, n), make([]int, n)
	for c := range p.Capacity {
		p.Capacity[c] = perConsumer
	}
	for _, i := range byInflow(ps) {
		least := 0
		for c := range load {
			if load[c] < load[least] || load[c] == load[least] && count[c] < count[least] {
				least = c
			}
		}
		p.Consumer[i] = least
		load[least] += ps[i].In
		count[least]++
	}
	return p
}

// AsItIs gives each partition a reader of its own that takes what is taken of it now; of a partition that
// has no backlog at least the usual part of a consumer.
func AsItIs(ps []PartitionRate, consumers int, perConsumer float64) Plan {
	p := Plan{Partitions: ps, Consumer: make([]int, len(ps)), Capacity: make([]float64, len(ps))}
	share := perConsumer
	if consumers > 0 && consumers < len(ps) {
		share *= float64(consumers) / float64(len(ps))
	}
	for i := range ps {
		p.Consumer[i] = i
		p.Capacity[i] = ps[i].Out
		if ps[i].Capacity > 0 {
			p.Capacity[i] = ps[i].Capacity
		} else if ps[i].Lag <= 0 {
			p.Capacity[i] = math.Max(ps[i].Out, share)
		}
	}
	return p
}

// enoughWith is how far the inflow of a consumer without backlog may seem to be above what it takes: rates are measured.
const enoughWith = 1.03

// Drain is when each partition's backlog is gone: when that of its consumer is. A consumer always works, so
// it is exact for the last of its partitions.
func (p Plan) Drain() []float64 {
	load, lag := make([]float64, len(p.Capacity)), make([]float64, len(p.Capacity))
	for i, c := range p.Consumer {
		load[c] += p.Partitions[i].In
		lag[c] += math.Max(p.Partitions[i].Lag, 0)
	}
	out := make([]float64, len(p.Consumer))
	for i, c := range p.Consumer {
		if p.Partitions[i].Lag > 0 || load[c] > enoughWith*p.Capacity[c] {
			out[i] = Drain(math.Max(lag[c], 1), load[c], p.Capacity[c])
		}
	}
	return out
}

// Backlog is the sum of all partitions' backlogs some seconds from now.
func (p Plan) Backlog(in float64) float64 {
	load, lag := make([]float64, len(p.Capacity)), make([]float64, len(p.Capacity))
	for i, c := range p.Consumer {
		load[c] += p.Partitions[i].In
		lag[c] += math.Max(p.Partitions[i].Lag, 0)
	}
	total := 0.0
	for c := range load {
		total += math.Max(0, lag[c]+(load[c]-p.Capacity[c])*in)
	}
	return total
}

// Spread is what a topic looks like with n partitions. The backlog stays where it is, only new records are
// spread: evenly, but for the excess of a hot partition (more than twice the median inflow), which is taken
// to belong to keys that stay together. excess is that, records per second.
func Spread(ps []PartitionRate, n int) (out []PartitionRate, excess float64) {
	if n <= len(ps) || len(ps) == 0 {
		return ps, 0
	}
	ins := make([]float64, len(ps))
	total := 0.0
	for i := range ps {
		ins[i] = ps[i].In
		total += ps[i].In
	}
	slices.Sort(ins)
	mid := median(ins)
	out = make([]PartitionRate, n)
	copy(out, ps)
	for i := range ps {
		over := 0.0
		if ps[i].In > 2*mid {
			over = ps[i].In - mid
		}
		out[i].In = over
		excess += over
	}
	for i := range out {
		out[i].In += (total - excess) / float64(n)
	}
	return out, excess
}
