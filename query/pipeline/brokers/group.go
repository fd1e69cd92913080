package brokers

import (
	"slices"

	"github.com/weirhq/weir/query/flow"
)

// Group is what the broker tells of a consumer group as a whole.
type Group struct {
	kind, state    string
	stateAt        int64
	members, epoch sample
	grew           []flow.Point // generations gained, over time; an hour
}

// StaleAfter is how old a poll may be before its figures are no longer shown as present, milliseconds.
const StaleAfter = 45_000

// maxGrew bounds how many steps of a group's generation are remembered.
const maxGrew = 400

func (g *Group) epochAt(at int64, v float64) {
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

// Rebalances since a time, Unix milliseconds; nil when the broker tells no generation.
func (g *Group) Rebalances(since int64) *float64 {
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

// Members is how many consumers there are, at a time shortly after a poll; nil when it is not told.
func (g *Group) Members(now int64) *int {
	if g.members.at == 0 || now-g.members.at > StaleAfter || g.members.v > 1e6 {
		return nil
	}
	n := int(g.members.v)
	return &n
}

// State is the broker's word for the state of the group; empty when it is old or not told.
func (g *Group) State(now int64) string {
	if g.stateAt == 0 || now-g.stateAt > StaleAfter {
		return ""
	}
	return g.state
}

// Stopped says that nobody reads: the broker calls the group empty or dead, or counts no members.
func (g *Group) Stopped(now int64) bool {
	switch g.State(now) {
	case "Empty", "EMPTY", "empty", "Dead", "DEAD", "dead":
		return true
	}
	n := g.Members(now)
	return n != nil && *n == 0
}
