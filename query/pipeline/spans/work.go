package spans

import (
	"cmp"
	"math"
	"slices"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
)

// Work is what process spans tell about a stage over the last windows.
type Work struct {
	P50, P99 *float64 // time of one process span, seconds; nil = not known
	Busy     *float64 // 0..1; nil = not known
	Spans    int64
}

// Works are the process spans of a stage by window, oldest first.
func (b *Book) Works(stage string) []*flow.Works { return b.works[stage] }

// Work sums what the process spans of a stage of a pipeline say. tally is what applications count, nil for nothing: it tells how many
// messages a span stands for where spans do not.
func (b *Book) Work(pipeline, stage string, tally *flow.Tally) Work {
	ws := b.works[stage]
	if len(ws) == 0 {
		return Work{}
	}
	key := pipeline + "\x00" + stage
	if out, ok := b.told[key]; ok {
		return out
	}
	var out Work
	var all cell.Sketch
	for _, w := range ws {
		all.Merge(w.Time)
		out.Spans += w.Spans
	}
	if all.Count > 0 {
		p50, p99 := all.Quantile(0.5)/1000, all.Quantile(0.99)/1000
		out.P50, out.P99 = &p50, &p99
	}
	out.Busy = busy(ws, stage, tally)
	b.told[key] = out
	return out
}

// busy is the share of the time the processes of a stage work: the sum of its process spans over instances, concurrency and
// time. How many spans one process works on at once is the most it was seen to in these windows. nil where nobody tells for how
// many messages a span stands.
func busy(ws []*flow.Works, stage string, tally *flow.Tally) *float64 {
	load := make([]float64, 0, len(ws)) // spans at work at once, per instance
	for _, w := range ws[:len(ws)-1] {  // the newest is not whole
		if w.Spans == 0 || w.Width <= 0 {
			continue
		}
		scale := 0.0
		switch {
		case w.Known == w.Spans:
			scale = w.Adjusted / float64(w.Spans)
		case tally != nil:
			var n uint64
			for _, o := range tally.Windows {
				if o.Start >= w.Start && o.End() <= w.End() {
					n += tally.StageSum(stage, cell.In, o).N
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
	share := math.Min(load[len(load)-1]/math.Max(1, math.Ceil(slices.Max(load))), 1)
	return &share
}

// Dependencies are what the process spans of a stage wait for, slowest first.
func (b *Book) Dependencies(stage string) []answer.Dependency {
	var sum cell.PairCounts
	for _, w := range b.works[stage] {
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
