package pipeline

import (
	"cmp"
	"math"
	"slices"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
)

// spanWork is what process spans tell about a stage over the last windows.
type spanWork struct {
	p50, p99 *float64 // seconds
	busy     *float64 // 0..1
	spans    int64
}

// workOf sums what the process spans of a stage say.
func (t *tenant) workOf(p *pipe, stage string) spanWork {
	ws := t.spans.works[stage]
	if len(ws) == 0 {
		return spanWork{}
	}
	key := p.id + "\x00" + stage
	if out, ok := t.spans.told[key]; ok {
		return out
	}
	var out spanWork
	var all cell.Sketch
	for _, w := range ws {
		all.Merge(w.Time)
		out.spans += w.Spans
	}
	if all.Count > 0 {
		p50, p99 := all.Quantile(0.5)/1000, all.Quantile(0.99)/1000
		out.p50, out.p99 = &p50, &p99
	}
	out.busy = t.spanBusy(p, stage, ws)
	t.spans.told[key] = out
	return out
}

// spanBusy is the share of the time the processes of a stage work: the sum of its process spans over instances, concurrency and
// time. How many spans one process works on at once is the most it was seen to in these windows. nil where nobody tells for how
// many messages a span stands.
func (t *tenant) spanBusy(p *pipe, stage string, ws []*flow.Works) *float64 {
	load := make([]float64, 0, len(ws)) // spans at work at once, per instance
	for _, w := range ws[:len(ws)-1] {  // the newest is not whole
		if w.Spans == 0 || w.Width <= 0 {
			continue
		}
		scale := 0.0
		switch {
		case w.Known == w.Spans:
			scale = w.Adjusted / float64(w.Spans)
		case p.tally != nil:
			var n uint64
			for _, o := range p.tally.Windows {
				if o.Start >= w.Start && o.End() <= w.End() {
					n += p.tally.StageSum(stage, cell.In, o).N
				}
			}
			scale = float64(n) / float64(w.Spans)
		}
		if scale < 1 {
			continue
		}
		load = append(load, scale*w.BusyMS/1000/float64(max(len(w.Instances), 1))/float64(w.Width))
	}
	if len(load) == 0 {
		return nil
	}
	busy := math.Min(load[len(load)-1]/math.Max(1, math.Ceil(slices.Max(load))), 1)
	return &busy
}

// dependencies are what the process spans of a stage wait for, slowest first.
func (t *tenant) dependencies(_ *pipe, stage string) []answer.Dependency {
	var sum cell.PairCounts
	for _, w := range t.spans.works[stage] {
		part := cell.PairCounts{BusyMS: w.BusyMS, Calls: w.Calls}
		sum.Add(&part)
	}
	out := make([]answer.Dependency, 0, len(sum.Calls))
	for i := range sum.Calls {
		d := &sum.Calls[i]
		if sum.BusyMS <= 0 {
			break
		}
		out = append(out, answer.Dependency{Name: d.Name, Share: math.Min(d.MS/sum.BusyMS, 1), P99: d.Time.Quantile(0.99) / 1000, Spans: d.N})
	}
	slices.SortFunc(out, func(a, b answer.Dependency) int {
		return cmp.Or(-cmp.Compare(a.Share, b.Share), cmp.Compare(a.Name, b.Name))
	})
	return out
}
