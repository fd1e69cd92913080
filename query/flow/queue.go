package flow

import (
	"strings"

	"github.com/weirhq/weir/store"
)

// Queue is what the broker tells about one destination.
type Queue struct {
	System, Cluster, Destination string
	Partitions                   []*QueuePartition
}

// QueuePartition is one partition with the offsets of its polls.
type QueuePartition struct {
	Name       string
	Start, End Table
	Groups     map[string]*Table // committed offset per group
}

// ComparePartitions orders names of partitions: numbers by value and other names by text.
func ComparePartitions(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// Reads says whether the broker knows the group on this destination.
func (q *Queue) Reads(group string) bool {
	if q == nil {
		return false
	}
	for _, p := range q.Partitions {
		if p.Groups[group].Len() > 0 {
			return true
		}
	}
	return false
}

// BarrierKey names the barrier of one partition in one window.
type BarrierKey struct {
	System, Cluster, Destination, Partition string
	Window, Width                           int64
}

// KeyOf is the key of a stored barrier.
func KeyOf(b store.Barrier) BarrierKey {
	return BarrierKey{b.System, b.Cluster, b.Destination, b.Partition, b.Window, b.Width}
}

// Change says when the count of a port in a window last changed, as the server saw it.
type Change struct {
	N, Fp     uint64
	At, First int64 // Unix milliseconds; First is 0 for a count that was there from the beginning
}

// PortWindow is a port in a window.
type PortWindow struct {
	Port
	Start int64
}

// Changes remembers when counts last changed and how much was counted since it began. The zero value is ready.
type Changes struct {
	m      map[PortWindow]Change
	totals map[Port]uint64
	oldest int64
	begun  bool
}

// Observe compares a tally with what was seen before. Windows that start before the oldest kept one
// (Unix seconds) are forgotten.
func (c *Changes) Observe(t *Tally, now, oldest int64) {
	if c.m == nil {
		c.m, c.totals = map[PortWindow]Change{}, map[Port]uint64{}
	}
	for p, ws := range t.ports {
		for start, s := range ws {
			k := PortWindow{p, start}
			old, ok := c.m[k]
			if ok && old.N == s.N && old.Fp == s.FpXor {
				continue
			}
			first := old.First
			if !ok && c.begun {
				first = now
			}
			c.m[k] = Change{s.N, s.FpXor, now, first}
			if s.N > old.N && (ok || c.begun && start >= c.oldest) {
				c.totals[p] += s.N - old.N
			}
		}
	}
	c.begun = true
	c.oldest = max(c.oldest, oldest)
	for k := range c.m {
		if k.Start < oldest {
			delete(c.m, k)
		}
	}
}

// Total is how many records a port counted since the first call of Observe; it never falls.
func (c *Changes) Total(p Port) uint64 { return c.totals[p] }

// At is when a port's count of a window last changed; 0 when it never did.
func (c *Changes) At(p Port, w Window) int64 {
	if c == nil {
		return 0
	}
	return c.m[PortWindow{p, w.Start}].At
}

// First is when a port's count of the window that starts then was first seen; 0 when it was there from the beginning.
func (c *Changes) First(p Port, start int64) int64 {
	if c == nil {
		return 0
	}
	return c.m[PortWindow{p, start}].First
}
