package pipeline

import (
	"slices"

	"github.com/weirhq/weir/query/flow"
)

// groupInfo is what the broker tells of a group as a whole.
type groupInfo struct {
	kind, state    string
	stateAt        int64
	members, epoch sample
	grew           []flow.Point // generations gained, over time; an hour
}

// maxGrew bounds how many steps of a group's generation are remembered.
const maxGrew = 400

func (g *groupInfo) epochAt(at int64, v float64) {
	if at <= g.epoch.at {
		return
	}
	if n := v - g.epoch.v; g.epoch.at > 0 && n > 0 && n < 1e6 {
		g.grew = append(g.grew, flow.Point{T: at, V: int64(n)})
		old := 0
		for old < len(g.grew) && (g.grew[old].T < at-3_600_000 || len(g.grew)-old > maxGrew) {
			old++
		}
		g.grew = slices.Delete(g.grew, 0, old)
	}
	g.epoch = sample{at, v}
}

// rebalances since a time; nil when the broker tells no generation.
func (g *groupInfo) rebalances(since int64) *float64 {
	if g.epoch.at < since {
		return nil
	}
	n := 0.0
	for _, p := range g.grew {
		if p.T >= since {
			n += float64(p.V)
		}
	}
	return &n
}

// memberCount is the number of members at the time of a poll; nil when it is not told.
func (g *groupInfo) memberCount(now int64) *int {
	if g.members.at == 0 || now-g.members.at > staleAfter || g.members.v > 1e6 {
		return nil
	}
	n := int(g.members.v)
	return &n
}

// stateNow is the broker's word for the state of the group; empty when it is old or not told.
func (g *groupInfo) stateNow(now int64) string {
	if g.stateAt == 0 || now-g.stateAt > staleAfter {
		return ""
	}
	return g.state
}

// stopped says that nobody reads: the broker calls the group empty or dead, or counts no members.
func (g *groupInfo) stopped(now int64) bool {
	switch g.stateNow(now) {
	case "Empty", "EMPTY", "empty", "Dead", "DEAD", "dead":
		return true
	}
	n := g.memberCount(now)
	return n != nil && *n == 0
}
