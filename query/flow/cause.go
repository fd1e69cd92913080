package flow

import (
	"fmt"
	"math"
	"time"
)

// Use is what the containers of a stage use; nil = not known.
type Use struct {
	CPU, CPULimit    *float64 // cores
	Throttled        *float64 // 0..1 share of periods
	Memory, MemLimit *float64 // bytes, of the container nearest to its limit
	OOM              *float64 // kills in the last hour
}

// Slow is what a stage's process spans wait for.
type Slow struct {
	Name  string
	Share float64 // of their time
	P99   float64 // seconds
}

// Happened is a change near the time at which a backlog began to grow.
type Happened struct {
	At   int64
	Text string
	Kind string
}

// Circumstances are what is known around a stuck stage.
type Circumstances struct {
	Hop        *Hop
	Stuck      Stuck
	Repeats    float64  // deliveries of the same records since the commit last moved
	Stopped    bool     // the broker says that the group has no members
	Members    *int     // of the group
	GroupState string   // as the broker writes it
	Rebalances *float64 // in the last ten minutes
	Use        Use
	Slow       []Slow // largest share first
	In         float64
	BandHigh   float64 // usual inflow, upper end; 0 = not known
	BandOf     string  // of what the band is: this hour of the week
	Held       float64 // records behind an open transaction
	Since      int64   // when the backlog began to grow; 0 = not known
	Changes    []Happened
}

// Cause is why a stage is stuck.
type Cause struct {
	Class  string
	Clause string // what follows the sentence that names the stage
	Since  int64
	Before *Happened
	Facts  []string
}

// Limits beyond which something counts as a cause.
const (
	loopAt      = 3    // rebalances in ten minutes
	throttledAt = 0.25 // share of periods
	nearLimit   = 0.92 // of the memory
	saturatedAt = 0.9  // of the CPU limit
	slowShare   = 0.5  // of the time of process spans
	surgeAt     = 1.2  // times the upper end of the band
	skewAt      = 1.5  // times the mean inflow
	justBefore  = 10 * 60_000
	justAfter   = 60_000
)

// CauseOf classifies why a stage is stuck: the most certain of what speaks for itself first. All figures
// that were looked at and stand out are facts, whichever of them names the cause.
func CauseOf(c Circumstances) Cause {
	out := Cause{Class: c.Stuck.Class, Since: c.Since}
	var found []finding
	for _, f := range []func(*Circumstances) (finding, bool){poisoned, stopped, rebalancing, unread, skewed, transaction, starved, crowded, saturated, waiting, surged} {
		if x, ok := f(&c); ok {
			found = append(found, x)
			out.Facts = append(out.Facts, x.fact)
		}
	}
	out.Before = before(&c)
	if len(found) > 0 {
		out.Class, out.Clause = found[0].class, found[0].fact
	} else if out.Before != nil && (out.Before.Kind == "deploy" || out.Before.Kind == "config") && (c.Stuck.Class == "slow" || c.Stuck.Class == "late" || c.Stuck.Class == "stalled") {
		out.Class = "deploy"
	}
	if c.Since > 0 && c.Stuck.Class != "draining" {
		began := "It began at " + time.UnixMilli(c.Since).UTC().Format("15:04:05 UTC")
		if b := out.Before; b != nil {
			d := float64(sub(c.Since, b.At)) / 1000
			if d >= 0 {
				began += ", " + Age(d) + " after: " + b.Text
			} else {
				began += ", about when: " + b.Text
			}
			out.Facts = append(out.Facts, "The change before it: "+b.Text)
		}
		if began[len(began)-1] != '.' {
			began += "."
		}
		out.Clause = join(out.Clause, began)
	}
	return out
}

type finding struct{ class, fact string }

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + " " + b
}

func poisoned(c *Circumstances) (finding, bool) {
	switch {
	case c.Hop.Stalled <= 0 || !c.Hop.Poison && c.Repeats < 3:
		return finding{}, false
	case c.Repeats >= 3:
		return finding{"poison", fmt.Sprintf("The same record was delivered %s times again without being acknowledged.", Count(whole(c.Repeats)))}, true
	}
	return finding{"poison", "One record is delivered again and again without being acknowledged."}, true
}

func stopped(c *Circumstances) (finding, bool) {
	if !c.Stopped {
		return finding{}, false
	}
	if c.GroupState != "" {
		return finding{"stopped", fmt.Sprintf("No consumer runs: the broker calls its group %s.", c.GroupState)}, true
	}
	return finding{"stopped", "No consumer runs: its group has no members."}, true
}

func rebalancing(c *Circumstances) (finding, bool) {
	switch {
	case c.Rebalances != nil && *c.Rebalances >= loopAt:
		return finding{"rebalancing", fmt.Sprintf("Its group rebalanced %s times in ten minutes.", Count(whole(*c.Rebalances)))}, true
	case c.Hop.Stalled > 0 && (c.GroupState == "PreparingRebalance" || c.GroupState == "CompletingRebalance"):
		return finding{"rebalancing", "Its group is rebalancing: " + c.GroupState + "."}, true
	}
	return finding{}, false
}

// unread finds partitions that are not read while others are.
func unread(c *Circumstances) (finding, bool) {
	var names []string
	moves := false
	longest := 0.0
	for _, p := range c.Hop.Partitions {
		if p.Stalled > 0 && p.Backlog > 0 {
			names = append(names, p.Name)
			longest = math.Max(longest, p.Stalled)
		} else if p.Out > 0 {
			moves = true
		}
	}
	if len(names) == 0 || !moves {
		return finding{}, false
	}
	word, verb := "Partition", "is"
	if len(names) > 1 {
		word, verb = "Partitions", "are"
	}
	left := ""
	if len(names) > 5 {
		left = fmt.Sprintf(" and %d more", len(names)-5)
		names = names[:5]
	}
	return finding{"stopped", fmt.Sprintf("%s %s%s %s not read for %s while the others are.", word, List(names), left, verb, Age(longest))}, true
}

func skewed(c *Circumstances) (finding, bool) {
	ps := c.Hop.Partitions
	if len(ps) < 2 {
		return finding{}, false
	}
	total, hot := 0.0, 0
	for i := range ps {
		total += math.Max(ps[i].In, 0)
		if ps[i].In > ps[hot].In {
			hot = i
		}
	}
	mean := total / float64(len(ps))
	if mean <= 0 || ps[hot].In < skewAt*mean || ps[hot].Backlog < c.Hop.Backlog/2 {
		return finding{}, false
	}
	return finding{"skew", fmt.Sprintf("Partition %s gets %.2f times the mean inflow: a whole partition has one reader, so more consumers do not help.", ps[hot].Name, ps[hot].In/mean)}, true
}

func transaction(c *Circumstances) (finding, bool) {
	if c.Held <= 0 || c.Held < c.Hop.Backlog {
		return finding{}, false
	}
	return finding{"slow", fmt.Sprintf("An open transaction holds back %s records.", Count(whole(c.Held)))}, true
}

func starved(c *Circumstances) (finding, bool) {
	if c.Use.Throttled == nil || *c.Use.Throttled < throttledAt {
		return finding{}, false
	}
	s := fmt.Sprintf("Its containers are throttled in %s of the periods", Percent(*c.Use.Throttled))
	if c.Use.CPULimit != nil {
		s += fmt.Sprintf(" at their limit of %.2g cores", *c.Use.CPULimit)
	}
	return finding{"throttled", s + "."}, true
}

func crowded(c *Circumstances) (finding, bool) {
	if c.Use.OOM != nil && *c.Use.OOM >= 1 {
		return finding{"saturated", fmt.Sprintf("It was killed for memory %s times in the last hour.", Count(whole(*c.Use.OOM)))}, true
	}
	m, l := c.Use.Memory, c.Use.MemLimit
	if m == nil || l == nil || *l <= 0 || *m < nearLimit**l {
		return finding{}, false
	}
	return finding{"saturated", fmt.Sprintf("Its memory is at %s of the limit.", Percent(*m / *l))}, true
}

func saturated(c *Circumstances) (finding, bool) {
	u, l := c.Use.CPU, c.Use.CPULimit
	if u != nil && l != nil && *l > 0 && *u >= saturatedAt**l {
		return finding{"saturated", fmt.Sprintf("It uses %.2g of the %.2g cores it may use.", *u, *l)}, true
	}
	return finding{}, false
}

func waiting(c *Circumstances) (finding, bool) {
	if len(c.Slow) == 0 || c.Slow[0].Share < slowShare {
		return finding{}, false
	}
	s := c.Slow[0]
	return finding{"dependency", fmt.Sprintf("%s of its time goes to %s (p99 %s).", Percent(s.Share), s.Name, short(s.P99))}, true
}

func short(seconds float64) string {
	if seconds < 1 {
		return fmt.Sprintf("%.0f ms", seconds*1000)
	}
	return Age(seconds)
}

func surged(c *Circumstances) (finding, bool) {
	if c.BandHigh <= 0 || c.In < surgeAt*c.BandHigh || c.Hop.Stalled > 0 {
		return finding{}, false
	}
	return finding{"surge", fmt.Sprintf("%s arrive; up to %s are usual for %s.", Rate(c.In), Rate(c.BandHigh), c.BandOf)}, true
}

// before is the change that best explains the beginning: a deploy or a new configuration if there is one, else the last one.
func before(c *Circumstances) *Happened {
	if c.Since <= 0 {
		return nil
	}
	var best *Happened
	rank := func(h *Happened) int {
		switch h.Kind {
		case "deploy", "config":
			return 2
		case "state":
			return 0
		}
		return 1
	}
	for i := range c.Changes {
		h := &c.Changes[i]
		if h.At < c.Since-justBefore || h.At > c.Since+justAfter || rank(h) == 0 {
			continue
		}
		if best == nil || rank(h) > rank(best) || rank(h) == rank(best) && h.At > best.At {
			best = h
		}
	}
	return best
}

// Score tells how much a stage holds the data up: how busy it is, unless its output is blocked, times how fast its input lag
// grows in terms of what flows in. Where the busy share is not known a stage counts as fully busy.
func Score(h *Hop) float64 {
	busy := 1.0
	if h.Busy != nil {
		busy = *h.Busy
	}
	if h.In <= 0 {
		if h.Stalled > 0 {
			return busy
		}
		return 0
	}
	grow := math.Max(0, h.Slope.Rate) / h.In
	if h.Stalled > 0 {
		grow = math.Max(grow, 1)
	}
	return busy * (1 - math.Min(math.Max(h.Pressure, 0), 1)) * grow
}
