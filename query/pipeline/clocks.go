package pipeline

import (
	"slices"
	"time"

	"github.com/weirhq/weir/internal/cell"
)

// clockBook learns how far the clocks of collectors are from the server's, and from each other, by when their
// snapshots arrive. What a collector has reported is compared with the times of another one's polls.
type clockBook struct {
	seen  map[string]uint64  // by node: sequence of the newest snapshot
	epoch map[string]int64   // by node: of that snapshot
	late  map[string][]int64 // by node: arrival minus snapshot of the last ones, milliseconds
}

// maxClocks and maxLate bound the book; maxSpread is the most that settlement waits for clocks.
const (
	maxClocks = 10_000
	maxLate   = 15
	maxSpread = time.Minute
)

// observe takes the auditors as they were read at now, sorted by node and epoch.
func (c *clockBook) observe(auditors []cell.Auditor, now int64) {
	if c.seen == nil {
		c.seen, c.epoch, c.late = map[string]uint64{}, map[string]int64{}, map[string][]int64{}
	}
	for i := range auditors {
		a := &auditors[i]
		if i+1 < len(auditors) && auditors[i+1].Node == a.Node {
			continue // not its newest run
		}
		seq, known := c.seen[a.Node]
		if !known && len(c.seen) >= maxClocks {
			continue
		}
		fresh := known && (a.Seq > seq || a.Epoch > c.epoch[a.Node])
		c.seen[a.Node], c.epoch[a.Node] = a.Seq, a.Epoch
		if !fresh {
			continue // when it arrived is not known
		}
		c.late[a.Node] = append(c.late[a.Node], now-a.At)
		c.late[a.Node] = c.late[a.Node][max(0, len(c.late[a.Node])-maxLate):]
	}
}

// spread is how far clocks are apart, the server's among them; the way of a snapshot counts as well.
func (c *clockBook) spread() time.Duration {
	low, high := int64(0), int64(0)
	for _, l := range c.late {
		m := slices.Min(l)
		low, high = min(low, m), max(high, m)
	}
	return min(time.Duration(high-low)*time.Millisecond, maxSpread)
}
