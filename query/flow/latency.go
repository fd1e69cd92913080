package flow

import (
	"math"

	"github.com/weirhq/weir/internal/cell"
)

// Clock is how far the server's clock is ahead of a node's, and the bound of that figure, milliseconds.
type Clock struct{ Offset, Error float64 }

// Clocks reads what the newest record of each auditor says about its node's clock.
func Clocks(auditors []cell.Auditor) map[string]Clock {
	out := map[string]Clock{}
	at := map[string]int64{}
	for i := range auditors {
		a := &auditors[i]
		if a.ClockError <= 0 || a.At < at[a.Node] {
			continue
		}
		at[a.Node] = a.At
		out[a.Node] = Clock{float64(a.ClockOffset) / 1000, float64(a.ClockError) / 1000}
	}
	return out
}

// PathKey names where latency is measured: a stage, and what it read; Destination "" is the stage as a whole.
type PathKey struct{ Stage, Destination string }

// Path is how long records took from their origin to a stage.
type Path struct {
	Latency *cell.Sketch // as true as the clocks allow
	Min     float64      // smallest as measured, milliseconds
	Error   float64      // bound of what clocks add to every latency that was corrected, milliseconds
}

// Merge adds o and leaves it as it is.
func (p *Path) Merge(o *Path) {
	if o == nil || o.Latency == nil || o.Latency.Count == 0 {
		return
	}
	if p.Latency == nil || p.Latency.Count == 0 {
		p.Min, p.Latency = o.Min, &cell.Sketch{}
	}
	p.Latency.Merge(o.Latency)
	p.Min, p.Error = math.Min(p.Min, o.Min), math.Max(p.Error, o.Error)
}

// Skew is by how much clocks differ at least, seconds; 0 when nothing shows it.
func (p *Path) Skew() float64 {
	if p.Latency == nil {
		return 0
	}
	s, _ := Skew(p.Min/1000, num(p.Latency.Count))
	return s
}

// Quantile of the latency, seconds; what is still below 0 counts as 0.
func (p *Path) Quantile(q float64) float64 { return math.Max(0, p.Latency.Quantile(q)) / 1000 }

// Latencies merges what the instances of each stage measured in a window: by what was read, and for the stage as a whole. A stage
// that measures nothing at its input is shown by its output. Percentiles of stages are never added up: each sketch begins at the
// origin. Known clock offsets are taken out.
func (t *Tally) Latencies(w Window, topo *Topology, clocks map[string]Clock) map[PathKey]*Path {
	var out map[PathKey]*Path
	origin, known := Clock{}, false
	measured := map[string]bool{} // stages that measure at their input
	for _, d := range [...]cell.Dir{cell.In, cell.Out} {
		for p, ws := range t.ports {
			s := ws[w.Start]
			if p.Dir != d || s == nil || len(s.latencies) == 0 || d == cell.Out && measured[p.Stage] {
				continue
			}
			measured[p.Stage] = measured[p.Stage] || d == cell.In
			if out == nil {
				out = map[PathKey]*Path{}
				origin, known = t.originClock(topo, clocks)
			}
			keys := []PathKey{{Stage: p.Stage}}
			if p.Destination != "" && d == cell.In {
				keys = append(keys, PathKey{p.Stage, p.Destination})
			}
			for _, l := range s.latencies {
				c, has := clocks[l.node]
				one := correct(l.Sample, c, origin, known && has)
				for _, k := range keys {
					if out[k] == nil {
						out[k] = &Path{}
					}
					out[k].Merge(one)
				}
			}
		}
	}
	return out
}

// correct takes the offsets of both clocks out of what one cell measured. Where the collector kept latencies by the server's clock
// as well, the one that needs the smaller shift is taken: shifting costs 0.8 % of the latency before it.
func correct(s cell.Sample, here, origin Clock, known bool) *Path {
	p := &Path{Latency: s.Latency, Min: s.Latency.Min}
	shift, bound := here.Offset-origin.Offset, here.Error+origin.Error
	if !known || math.Abs(shift) <= bound {
		return p
	}
	p.Error = bound
	if s.Corrected != nil && s.Corrected.Count == s.Latency.Count && math.Abs(origin.Offset) < math.Abs(shift) {
		p.Latency, shift = s.Corrected, -origin.Offset
	}
	if math.Abs(shift) > bound {
		p.Latency = p.Latency.Shifted(shift)
	}
	return p
}

// originClock is the clock of the nodes whose sources stamp the records; unknown when that of one of them is.
func (t *Tally) originClock(topo *Topology, clocks map[string]Clock) (Clock, bool) {
	var sum, weight float64
	var all []Clock
	for i := range topo.Stages {
		if topo.Stages[i].Kind != KindSource {
			continue
		}
		for p, ws := range t.ports {
			if p.Stage != topo.Stages[i].Name || p.Dir != cell.Out {
				continue
			}
			for _, s := range ws {
				for _, n := range s.Nodes {
					c, ok := clocks[n.Node]
					if !ok {
						return Clock{}, false
					}
					sum += c.Offset * float64(n.N)
					weight += float64(n.N)
					all = append(all, c)
				}
			}
		}
	}
	if weight <= 0 {
		return Clock{}, false
	}
	out := Clock{Offset: sum / weight}
	for _, c := range all {
		out.Error = math.Max(out.Error, math.Abs(c.Offset-out.Offset)+c.Error)
	}
	return out, true
}
