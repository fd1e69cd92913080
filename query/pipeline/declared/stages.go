package declared

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/declare"
	"github.com/weirhq/weir/query/flow"
)

// StageName is the stage of a pipeline that reads an input nobody counts for: the declared one, else one named like its
// group.
func (b *Book) StageName(id string, in flow.Input) string {
	if pipeline, stage, ok := b.Reader("", "", in.Destination, in.Group); ok && pipeline == id {
		return stage
	}
	return in.Group
}

// Stages are those of a pipeline: those that count, those that only offsets tell about, and those that are only
// declared, which are unseen.
func (b *Book) Stages(id string, counted []flow.Stage, offsets []flow.Input) (stages []flow.Stage, unseen map[string]bool) {
	stages = slices.Clone(counted)
	doc := b.Of(id)
	for _, in := range offsets {
		name := b.StageName(id, in)
		i := slices.IndexFunc(stages, func(s flow.Stage) bool { return s.Name == name })
		if i < 0 || doc == nil {
			stages = append(stages, flow.Stage{Name: name, Kind: flow.KindSink, In: []flow.Input{in}})
			continue
		}
		stages[i].In = append(slices.Clip(stages[i].In), in)
	}
	if doc == nil {
		return stages, nil
	}
	unseen = map[string]bool{}
	var ports []flow.Port
	instances := map[string][]string{}
	for i := range stages {
		s := &stages[i]
		instances[s.Name] = s.Instances
		for _, in := range s.In {
			ports = append(ports, flow.Port{Stage: s.Name, Dir: cell.In, Destination: in.Destination, Group: in.Group})
		}
		for _, d := range s.Out {
			ports = append(ports, flow.Port{Stage: s.Name, Dir: cell.Out, Destination: d})
		}
	}
	for i := range doc.Stages {
		s := &doc.Stages[i]
		known := slices.IndexFunc(stages, func(o flow.Stage) bool { return o.Name == s.Name })
		if known >= 0 && len(stages[known].Instances) > 0 { // it counts: what it writes is known
			continue
		}
		for _, w := range s.Writes {
			ports = append(ports, flow.Port{Stage: s.Name, Dir: cell.Out, Destination: w})
		}
		if known < 0 {
			unseen[s.Name] = true
			for _, r := range s.Reads {
				ports = append(ports, flow.Port{Stage: s.Name, Dir: cell.In, Destination: r.Destination, Group: r.Group})
			}
		}
	}
	slices.SortFunc(ports, func(a, b flow.Port) int {
		return strings.Compare(a.Stage+"\x00"+string(a.Dir)+"\x00"+a.Destination+"\x00"+a.Group, b.Stage+"\x00"+string(b.Dir)+"\x00"+b.Destination+"\x00"+b.Group)
	})
	return flow.BuildPorts(id, slices.Compact(ports), instances).Stages, unseen
}

// Absent says what a declaration expects and nobody hears of. unseen are the stages of which nothing is heard, instances
// how many of a stage count; counted says whether applications count for the pipeline at all.
func Absent(doc *declare.Doc, unseen map[string]bool, instances func(stage string) int, counted bool) []string {
	var out []string
	for i := range doc.Stages {
		s := &doc.Stages[i]
		n := instances(s.Name)
		switch {
		case unseen[s.Name] && s.Kind == declare.Source && n == 0 && !counted:
			// Where nothing counts, a source cannot be seen.
		case unseen[s.Name]:
			out = append(out, fmt.Sprintf("Stage %s is declared, and nothing is heard of it.", s.Name))
		case s.Instances > 0 && n < s.Instances:
			out = append(out, fmt.Sprintf("%d of %d expected instances of %s count.", n, s.Instances, s.Name))
		}
	}
	return out
}

// Ratio turns what is declared of a stage into a balance; ok is false where nothing is. learned is asked where the
// declaration leaves the ratio open.
func (b *Book) Ratio(id, stage string, tally *flow.Tally, learned func() flow.Ratio) (r flow.Ratio, ok bool) {
	doc := b.Of(id)
	if doc == nil {
		return flow.Ratio{}, false
	}
	s := doc.Stage(stage)
	if s == nil {
		return flow.Ratio{}, false
	}
	counts := func(d cell.Dir) bool { return len(tally.Ports(s.Name, d)) > 0 }
	free := func() flow.Ratio {
		if s.Ratio.Value > 0 {
			return flow.Ratio{Kind: flow.RatioLearned, Median: s.Ratio.Value, Band: s.Ratio.BandOr(), Declared: true}
		}
		return learned()
	}
	switch s.KindOr() {
	case declare.Fanout:
		k := s.Ratio.K
		if k == 0 {
			k = max(len(s.Writes), 1)
		}
		return flow.Ratio{Kind: flow.RatioFanout, K: k, Declared: true}, true
	case declare.Filter:
		if counts(cell.Filtered) {
			return flow.Ratio{Kind: flow.RatioFilter, Median: s.Ratio.Value, Band: s.Ratio.BandOr(), Declared: true}, true
		}
		return free(), true
	case declare.Aggregate:
		if counts(cell.Covers) {
			return flow.Ratio{Kind: flow.RatioCovers, Declared: true}, true
		}
		return free(), true
	case declare.Map, declare.Fanin:
		return flow.Ratio{Kind: flow.RatioMap, Declared: true}, true
	case declare.Source, declare.Sink:
	}
	return flow.Ratio{}, false
}

// KeepsIDs are the stages that are declared to pass on the ids of their messages.
func (b *Book) KeepsIDs(id string) map[string]bool {
	out := map[string]bool{}
	if doc := b.Of(id); doc != nil {
		for i := range doc.Stages {
			if k := doc.Stages[i].KeepsIDs; k != nil {
				out[doc.Stages[i].Name] = *k
			}
		}
	}
	return out
}
