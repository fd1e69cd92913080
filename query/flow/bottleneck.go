package flow

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Hop is a stage as the search for the stuck one sees it.
type Hop struct {
	Stage      string
	Upstream   []string // stages that write what this one reads; nil = not known, then the order decides
	Instances  int
	Lag        TimeLag
	Backlog    float64 // records
	Trend      string
	Slope      Slope   // of the backlog, records per second
	In         float64 // records per second that arrive for it
	Out        float64 // records per second it takes
	Known      bool    // offsets or counts tell its lag
	Stalled    float64 // seconds since it last took something while there was something to take; 0 = it moves
	Poison     bool    // it is handed new records while one old record is never acknowledged
	Busy       *float64
	Pressure   float64 // 0..1 share of the time in which what it writes could not be put out; from a half on it is not to blame
	Drain      float64 // seconds
	Partitions []HopPartition
}

// HopPartition is a partition of a hop's input.
type HopPartition struct {
	Name    string
	Backlog float64
	In      float64
	Out     float64
	Stalled float64 // seconds
}

// Stuck is the stage that holds the data up.
type Stuck struct {
	Stage    string
	Class    string // poison, stalled, skew, slow, draining, late
	Sentence string
}

// blocked is the share of blocked output from which on the next stage is to blame.
const blocked = 0.5

// Bottleneck walks from the sinks up to the last stage whose input grows and whose output is not back-pressured.
// hops are in the order of the flow, sources first. Of several branches the one with the highest score is named. When nothing
// grows, a stage whose lag is beyond the objective (seconds) is named, the worst one. ok is false when nothing holds the data up.
func Bottleneck(hops []Hop, objective float64) (Stuck, bool) {
	var found *Hop
	var above map[string]bool // stages upstream of what was found
	for i := len(hops) - 1; i >= 0; i-- {
		h := &hops[i]
		if !h.Known || h.Pressure >= blocked || h.Backlog <= 0 || h.Stalled <= 0 && h.Trend != Growing {
			continue
		}
		if found == nil {
			found, above = h, upstream(hops, h.Stage)
		} else if !above[h.Stage] && h.Upstream != nil && Score(h) > Score(found) {
			found = h
		}
	}
	if found != nil {
		return describe(found), true
	}
	var worst *Hop
	for i := range hops {
		h := &hops[i]
		if h.Known && h.Lag.Known && h.Lag.Seconds > objective && (worst == nil || h.Lag.Seconds > worst.Lag.Seconds) {
			worst = h
		}
	}
	if worst == nil {
		return Stuck{}, false
	}
	return describe(worst), true
}

// upstream lists all stages before one.
func upstream(hops []Hop, stage string) map[string]bool {
	out := map[string]bool{}
	next := []string{stage}
	for len(next) > 0 {
		name := next[0]
		next = next[1:]
		for i := range hops {
			if hops[i].Stage != name {
				continue
			}
			for _, u := range hops[i].Upstream {
				if !out[u] {
					out[u] = true
					next = append(next, u)
				}
			}
		}
	}
	return out
}

func describe(h *Hop) Stuck {
	s := Stuck{Stage: h.Stage, Class: "late"}
	hot := hotPartitions(h.Partitions)
	switch {
	case h.Stalled > 0 && h.Poison:
		s.Class = "poison"
		s.Sentence = fmt.Sprintf("%s goes on but has not acknowledged its oldest record for %s: it fails again and again.", h.Stage, Age(h.Stalled))
	case h.Stalled > 0:
		s.Class = "stalled"
		s.Sentence = fmt.Sprintf("%s has taken nothing for %s; %s arrive and %s records wait.", h.Stage, Age(h.Stalled), Rate(h.In), Count(whole(h.Backlog)))
	case h.Trend == Growing:
		s.Class = "slow"
		if hot != "" {
			s.Class = "skew"
		}
		s.Sentence = fmt.Sprintf("%s takes %s.", h.Stage, RateOf(h.Out, h.In))
	case h.Trend == DrainingT:
		s.Class = "draining"
		s.Sentence = fmt.Sprintf("%s catches up: it takes %s and %s arrive", h.Stage, Rate(h.Out), Rate(h.In))
		if !math.IsInf(h.Drain, 0) && h.Drain > 0 {
			s.Sentence += "; done in " + Age(h.Drain)
		}
		s.Sentence += "."
	default:
		s.Sentence = fmt.Sprintf("%s is %s behind and takes %s.", h.Stage, Age(h.Lag.Seconds), RateOf(h.Out, h.In))
	}
	if hot != "" {
		s.Sentence += " " + hot
	}
	return s
}

// hotPartitions names the partitions that hold the backlog when fewer than half of them hold most of it.
func hotPartitions(ps []HopPartition) string {
	if len(ps) < 2 {
		return ""
	}
	sorted := slices.Clone(ps)
	slices.SortStableFunc(sorted, func(a, b HopPartition) int {
		switch {
		case a.Backlog > b.Backlog:
			return -1
		case a.Backlog < b.Backlog:
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	var total, held float64
	for _, p := range sorted {
		total += max(p.Backlog, 0)
	}
	if total < 100 {
		return ""
	}
	var names []string
	for _, p := range sorted {
		names = append(names, p.Name)
		held += p.Backlog
		if held >= 0.75*total {
			break
		}
	}
	if len(names) > 3 || 2*len(names) > len(ps) {
		return ""
	}
	word := "Partition"
	verb := "holds"
	if len(names) > 1 {
		word, verb = "Partitions", "hold"
	}
	return fmt.Sprintf("%s %s %s %s of the backlog.", word, List(names), verb, Percent(held/total))
}
