package flow

import (
	"maps"
	"slices"
	"strings"

	"github.com/weirhq/weir/internal/cell"
)

// Window is an event-time window, in Unix seconds.
type Window struct{ Start, Width int64 }

// End is the first second after the window.
func (w Window) End() int64 { return add(w.Start, w.Width) }

// startMS and endMS are the borders in milliseconds.
func (w Window) startMS() int64 { return milli(w.Start) }
func (w Window) endMS() int64   { return milli(w.End()) }

func milli(s int64) int64 {
	const limit = far / 1000
	return min(max(s, -limit), limit) * 1000
}

// Port is one place where a stage counts records.
type Port struct {
	Stage       string
	Dir         cell.Dir
	Destination string
	Group       string
}

// Sum is what all instances and epochs of a port counted in one window.
type Sum struct {
	cell.Counts
	Lossy   bool
	Nodes   []NodeCount      // sorted by node; who counted
	Reasons map[string]int64 // of dropped cells; nil when there are none

	ids       []*cell.IDs // of the cells, merged when somebody asks
	latencies []nodeLatency
}

// nodeLatency is what a cell holds of latencies, by the clock of the node that counted.
type nodeLatency struct {
	node string
	cell.Sample
}

// NodeCount is the share of one node in a sum.
type NodeCount struct {
	Node  string
	N     int64
	Lossy bool
}

// Tally is the cells of one pipeline, summed per port and window.
type Tally struct {
	Pipeline  string
	Windows   []Window // every window with a count, oldest first
	Width     int64    // seconds; the largest width seen, to which all cells are folded
	Bad       int      // cells that could not be used: no stage, no or absurd width, negative window
	NoTime    int64    // records without an event time, in and out
	Timed     int64    // records with one
	Instances map[string][]string
	Sampled   bool // some cells hold ids or latencies
	ports     map[Port]map[int64]*Sum
	unflushed map[string]map[int64][]unflushed // by stage and window
}

// maxWidth bounds the width of a window; a day holds every sensible one.
const maxWidth = 86400

// Tallies sums cells per pipeline. The order of the cells does not matter, and of several
// snapshots of the same (key, instance, epoch) only the one with the highest Seq counts.
func Tallies(cells []cell.Cell) map[string]*Tally {
	cells = newest(cells)
	out := map[string]*Tally{}
	for i := range cells {
		c := &cells[i]
		t := out[c.Pipeline]
		if t == nil {
			t = &Tally{Pipeline: c.Pipeline, ports: map[Port]map[int64]*Sum{}, Instances: map[string][]string{}}
			out[c.Pipeline] = t
		}
		if c.Stage == "" || c.Width <= 0 || c.Width > maxWidth || c.Window < 0 {
			t.Bad++
			continue
		}
		t.Width = max(t.Width, c.Width)
	}
	for i := range cells {
		out[cells[i].Pipeline].add(&cells[i])
	}
	for _, t := range out {
		t.finish()
	}
	return out
}

func (t *Tally) add(c *cell.Cell) {
	if c.Stage == "" || c.Width <= 0 || c.Width > maxWidth || c.Window < 0 {
		return
	}
	if c.Window == 0 {
		if c.Dir != cell.Unflushed {
			t.NoTime = add(t.NoTime, num(c.N))
		}
		return
	}
	if c.Dir == cell.Unflushed {
		t.end(c)
		return
	}
	t.Timed = add(t.Timed, num(c.N))
	p := Port{Stage: c.Stage, Dir: c.Dir, Destination: c.Destination, Group: c.Group}
	if c.Dir != cell.In {
		p.Group = ""
	}
	ws := t.ports[p]
	if ws == nil {
		ws = map[int64]*Sum{}
		t.ports[p] = ws
	}
	start := c.Window - c.Window%t.Width
	s := ws[start]
	if s == nil {
		s = &Sum{}
		ws[start] = s
	}
	s.Add(c.Counts)
	s.Lossy = s.Lossy || c.Lossy
	node := nodeOf(c)
	t.Sampled = t.Sampled || c.IDs != nil || c.Latency != nil
	if c.IDs != nil {
		s.ids = append(s.ids, c.IDs)
	}
	if c.Latency != nil {
		s.latencies = append(s.latencies, nodeLatency{node, c.Sample})
	}
	i, found := slices.BinarySearchFunc(s.Nodes, node, func(n NodeCount, name string) int { return strings.Compare(n.Node, name) })
	if !found {
		s.Nodes = slices.Insert(s.Nodes, i, NodeCount{Node: node})
	}
	s.Nodes[i].N = add(s.Nodes[i].N, num(c.N))
	s.Nodes[i].Lossy = s.Nodes[i].Lossy || c.Lossy
	if c.Dir == cell.Dropped {
		if s.Reasons == nil {
			s.Reasons = map[string]int64{}
		}
		s.Reasons[c.Reason] = add(s.Reasons[c.Reason], num(c.N))
	}
	if c.N == 0 && c.Latency != nil {
		return // only measures; whoever counts is an instance
	}
	if ins := t.Instances[c.Stage]; !slices.Contains(ins, c.Instance) && len(ins) < 1000 {
		t.Instances[c.Stage] = append(ins, c.Instance)
	}
}

func (t *Tally) finish() {
	seen := map[int64]bool{}
	for _, ws := range t.ports {
		for start := range ws {
			seen[start] = true
		}
	}
	for start := range seen {
		t.Windows = append(t.Windows, Window{start, t.Width})
	}
	slices.SortFunc(t.Windows, func(a, b Window) int {
		if a.Start < b.Start {
			return -1
		}
		return 1
	})
	for _, ins := range t.Instances {
		slices.Sort(ins)
	}
}

// At returns the sum of a port in a window; the zero Sum when nothing was counted.
func (t *Tally) At(p Port, w Window) Sum {
	if s := t.ports[p][w.Start]; s != nil {
		return *s
	}
	return Sum{}
}

// Ports lists the ports of a stage in one direction, sorted by destination and group.
func (t *Tally) Ports(stage string, d cell.Dir) []Port {
	var out []Port
	for p := range t.ports {
		if p.Stage == stage && p.Dir == d {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, comparePorts)
	return out
}

// StageSum adds all ports of a stage in one direction.
func (t *Tally) StageSum(stage string, d cell.Dir, w Window) Sum {
	var out Sum
	for _, p := range t.Ports(stage, d) {
		out.merge(t.At(p, w))
	}
	return out
}

// NewestTS returns the newest event time counted at ports of a stage in one direction, Unix
// milliseconds, and its error: 0 where senders told the time, the window's width where only the window is known.
func (t *Tally) NewestTS(stage string, d cell.Dir) (ts, bound int64, ok bool) {
	for p, ws := range t.ports {
		if p.Stage != stage || p.Dir != d {
			continue
		}
		for start, s := range ws {
			if s.N == 0 {
				continue
			}
			v, b := s.MaxTS, int64(0)
			if v <= 0 {
				w := Window{start, t.Width}
				v, b = w.endMS(), milli(t.Width)
			}
			if !ok || v > ts {
				ts, bound, ok = v, b, true
			}
		}
	}
	return ts, bound, ok
}

// Nodes lists the nodes that counted anything, sorted.
func (t *Tally) Nodes() []string {
	var out []string
	for _, ws := range t.ports {
		for _, s := range ws {
			for _, n := range s.Nodes {
				if i, found := slices.BinarySearch(out, n.Node); !found {
					out = slices.Insert(out, i, n.Node)
				}
			}
		}
	}
	return out
}

// Lateness is how long after the end of their window records were still counted at the readers of a
// destination, milliseconds; ok is false below three windows.
func (t *Tally) Lateness(destination string) (ms int64, ok bool) {
	windows := 0
	for p, ws := range t.ports {
		if p.Dir != cell.In || p.Destination != destination {
			continue
		}
		windows = max(windows, len(ws))
		for _, s := range ws {
			ms = max(ms, s.LateMax)
		}
	}
	return ms, windows >= 3
}

func (s *Sum) merge(o Sum) {
	s.Add(o.Counts)
	s.Lossy = s.Lossy || o.Lossy
	s.ids = append(slices.Clip(s.ids), o.ids...)
	s.latencies = append(slices.Clip(s.latencies), o.latencies...)
	for _, n := range o.Nodes {
		i, found := slices.BinarySearchFunc(s.Nodes, n.Node, func(n NodeCount, name string) int { return strings.Compare(n.Node, name) })
		if !found {
			s.Nodes = slices.Insert(slices.Clip(s.Nodes), i, n)
			continue
		}
		s.Nodes = slices.Clone(s.Nodes)
		s.Nodes[i].N = add(s.Nodes[i].N, n.N)
		s.Nodes[i].Lossy = s.Nodes[i].Lossy || n.Lossy
	}
	if len(o.Reasons) > 0 {
		m := make(map[string]int64, len(o.Reasons)+len(s.Reasons))
		maps.Copy(m, s.Reasons)
		for r, n := range o.Reasons {
			m[r] = add(m[r], n)
		}
		s.Reasons = m
	}
}

// nodeOf names the auditor a cell belongs to: its node, else the part of the instance before the first slash.
func nodeOf(c *cell.Cell) string {
	if c.Node != "" {
		return c.Node
	}
	n, _, _ := strings.Cut(c.Instance, "/")
	return n
}

// newest keeps of equal (key, instance, epoch) the snapshot with the highest Seq; of equal Seq the
// larger count, so that the result does not depend on the order.
func newest(cells []cell.Cell) []cell.Cell {
	type id struct {
		cell.Key
		instance string
		epoch    int64
	}
	sorted := true
	for i := 1; i < len(cells) && sorted; i++ {
		a, b := &cells[i-1], &cells[i]
		k := a.Compare(b.Key)
		sorted = k < 0 || k == 0 && (a.Instance < b.Instance || a.Instance == b.Instance && a.Epoch < b.Epoch)
	}
	if sorted { // as the ledger returns them: every one already the newest
		return cells
	}
	at := make(map[id]int, len(cells))
	out := make([]cell.Cell, 0, len(cells))
	for i := range cells {
		c := &cells[i]
		k := id{c.Key, c.Instance, c.Epoch}
		j, ok := at[k]
		if !ok {
			at[k] = len(out)
			out = append(out, *c)
			continue
		}
		if o := &out[j]; c.Seq > o.Seq || c.Seq == o.Seq && c.N > o.N {
			*o = *c
		}
	}
	return out
}

func comparePorts(a, b Port) int {
	if c := strings.Compare(a.Stage, b.Stage); c != 0 {
		return c
	}
	if c := strings.Compare(string(a.Dir), string(b.Dir)); c != 0 {
		return c
	}
	if c := strings.Compare(a.Destination, b.Destination); c != 0 {
		return c
	}
	return strings.Compare(a.Group, b.Group)
}
