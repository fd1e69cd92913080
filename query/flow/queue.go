package flow

import "github.com/weirhq/weir/store"

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
	N, Fp uint64
	At    int64
}

// PortWindow is a port in a window.
type PortWindow struct {
	Port
	Start int64
}

// Changes remembers when counts last changed. The zero value is ready.
type Changes struct{ m map[PortWindow]Change }

// Observe compares a tally with what was seen before. Windows that start before the oldest kept one
// (Unix seconds) are forgotten.
func (c *Changes) Observe(t *Tally, now, oldest int64) {
	if c.m == nil {
		c.m = map[PortWindow]Change{}
	}
	for p, ws := range t.ports {
		for start, s := range ws {
			k := PortWindow{p, start}
			if old, ok := c.m[k]; !ok || old.N != s.N || old.Fp != s.FpXor {
				c.m[k] = Change{s.N, s.FpXor, now}
			}
		}
	}
	for k := range c.m {
		if k.Start < oldest {
			delete(c.m, k)
		}
	}
}

// At is when a port's count of a window last changed; 0 when it never did.
func (c *Changes) At(p Port, w Window) int64 {
	if c == nil {
		return 0
	}
	return c.m[PortWindow{p, w.Start}].At
}

// Len is the number of counts remembered.
func (c *Changes) Len() int { return len(c.m) }
