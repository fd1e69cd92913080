package flow

import (
	"slices"
	"strings"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// Kind of a stage.
type Kind string

// Kinds of stages. Which balance a stage has is its Ratio.
const (
	KindSource Kind = "source" // counts no input
	KindStage  Kind = "stage"
	KindSink   Kind = "sink" // what it writes nobody in the pipeline reads
)

// Input is a destination a stage reads, as which group.
type Input struct{ Destination, Group string }

// Stage is a node of a pipeline that works on records.
type Stage struct {
	Name      string
	Kind      Kind
	In        []Input  // sorted
	Out       []string // destinations written, sorted
	Instances []string
}

// Edge is a transport edge: what stages put into a destination and one stage takes out as one group.
type Edge struct {
	From        []string // sorted
	Destination string
	Group       string
	To          string
}

// Topology is the graph of one pipeline.
type Topology struct {
	Pipeline string
	Stages   []Stage // sources first, in the order of the flow
	Edges    []Edge  // in the order of their reading stage
}

// AllPorts lists every port of a tally.
func (t *Tally) AllPorts() []Port {
	out := make([]Port, 0, len(t.ports))
	for p := range t.ports {
		out = append(out, p)
	}
	return out
}

// Build finds the graph in a tally: stage A writes destination d, stage B reads d as group g.
func Build(t *Tally) *Topology { return BuildPorts(t.Pipeline, t.AllPorts(), t.Instances) }

// BuildPorts finds the graph in ports, in any order, each once. instances may be nil.
func BuildPorts(pipeline string, ports []Port, instances map[string][]string) *Topology {
	stages := map[string]*Stage{}
	for _, p := range ports {
		s := stages[p.Stage]
		if s == nil {
			s = &Stage{Name: p.Stage, Instances: instances[p.Stage]}
			stages[p.Stage] = s
		}
		switch p.Dir {
		case cell.In:
			s.In = append(s.In, Input{p.Destination, p.Group})
		case cell.Out:
			s.Out = append(s.Out, p.Destination)
		default: // other directions name no edge
		}
	}
	writers := map[string][]string{}
	read := map[string]bool{}
	names := make([]string, 0, len(stages))
	for name, s := range stages {
		names = append(names, name)
		slices.SortFunc(s.In, func(a, b Input) int {
			if c := strings.Compare(a.Destination, b.Destination); c != 0 {
				return c
			}
			return strings.Compare(a.Group, b.Group)
		})
		slices.Sort(s.Out)
		for _, d := range s.Out {
			writers[d] = append(writers[d], name)
		}
		for _, in := range s.In {
			read[in.Destination] = true
		}
	}
	slices.Sort(names)
	for _, w := range writers {
		slices.Sort(w)
	}
	for _, s := range stages {
		feeds := slices.ContainsFunc(s.Out, func(d string) bool { return d != "" && read[d] })
		switch {
		case len(s.In) == 0:
			s.Kind = KindSource
		case !feeds:
			s.Kind = KindSink
		default:
			s.Kind = KindStage
		}
	}
	topo := &Topology{Pipeline: pipeline}
	for _, name := range order(names, stages, writers) {
		s := stages[name]
		topo.Stages = append(topo.Stages, *s)
		for _, in := range s.In {
			if from := writers[in.Destination]; in.Destination != "" && len(from) > 0 {
				topo.Edges = append(topo.Edges, Edge{From: from, Destination: in.Destination, Group: in.Group, To: name})
			}
		}
	}
	return topo
}

// order sorts stages upstream first. Where retries make a circle it is cut at the stage met first.
func order(names []string, stages map[string]*Stage, writers map[string][]string) []string {
	out := make([]string, 0, len(names))
	state := map[string]int{}
	var visit func(string)
	visit = func(n string) {
		if state[n] != 0 {
			return
		}
		state[n] = 1
		for _, in := range stages[n].In {
			for _, w := range writers[in.Destination] {
				if in.Destination != "" {
					visit(w)
				}
			}
		}
		out = append(out, n)
	}
	for _, n := range names {
		if len(stages[n].In) == 0 {
			visit(n)
		}
	}
	for _, n := range names {
		visit(n)
	}
	return out
}

// Stage finds a stage by name.
func (t *Topology) Stage(name string) (Stage, bool) {
	for i := range t.Stages {
		if t.Stages[i].Name == name {
			return t.Stages[i], true
		}
	}
	return Stage{}, false
}

// Key names the verdict of a transport edge in a window.
func (e Edge) Key(pipeline string, w Window) store.VerdictKey {
	return store.VerdictKey{
		Pipeline: pipeline, Kind: store.EdgeTransport, From: strings.Join(e.From, ","),
		Destination: e.Destination, Group: e.Group, To: e.To, Window: w.Start, Width: w.Width,
	}
}

// BalanceKey names the verdict of a stage balance in a window.
func BalanceKey(pipeline, stage string, w Window) store.VerdictKey {
	return store.VerdictKey{
		Pipeline: pipeline, Kind: store.EdgeBalance, From: stage, To: stage, Window: w.Start, Width: w.Width,
	}
}
