package pipeline

import (
	"maps"
	"slices"
	"strings"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/flow"
)

// component is stages and queues that spans connect.
type component struct {
	sides []*flow.SpanSide
	reads []bool // whether the side reads
	edges []*flow.SpanEdge
}

// discoverSpans finds the pipelines that spans tell of: stages and queues that are connected. They join the pipeline that knows
// one of their queues already; else they are one of their own, with the name the spans give or that of the first queue.
func (t *tenant) discoverSpans(now int64) {
	b := &t.spans
	if !b.fresh || len(b.book.Writers)+len(b.book.Readers) == 0 {
		return
	}
	b.fresh = false
	owner := map[string]string{} // by queue: the pipeline whose applications count there
	for _, id := range slices.Sorted(maps.Keys(t.pipes)) {
		p := t.pipes[id]
		if !p.cells || p.counted == nil {
			continue
		}
		for _, st := range p.counted.Stages {
			for _, d := range st.Out {
				if d != "" && owner[d] == "" {
					owner[d] = id
				}
			}
			for _, in := range st.In {
				if in.Destination != "" && owner[in.Destination] == "" {
					owner[in.Destination] = id
				}
			}
		}
	}
	b.of = map[edgeID]string{}
	seen := map[string]bool{}
	for _, c := range components(b.book) {
		name := b.nameOf(&c, owner)
		for i, s := range c.sides {
			id := name
			if s.Pipeline != "" {
				id = s.Pipeline
			}
			p := t.pipe(id)
			if p == nil {
				continue
			}
			seen[id] = true
			p.addSpanPort(t, s, c.reads[i], now)
			b.owner[s.Destination] = id
		}
		for _, e := range c.edges {
			id := b.owner[e.Destination]
			b.of[edgeKey(e)] = id
		}
	}
	for id := range seen {
		p := t.pipes[id]
		p.spans = true
		for port, at := range p.spanPorts {
			if now-at > t.s.cfg.Forget.Milliseconds() {
				delete(p.spanPorts, port)
				p.spanChanged = true
			}
		}
		if p.spanChanged {
			p.spanChanged = false
			p.rebuild()
		}
		t.spanTimes(p, now)
	}
	for d, id := range b.owner {
		if t.pipes[id] == nil {
			delete(b.owner, d)
		}
	}
}

func (p *pipe) addSpanPort(t *tenant, s *flow.SpanSide, reads bool, now int64) {
	port := flow.Port{Stage: s.Stage, Dir: cell.Out, Destination: s.Destination}
	if reads {
		port.Dir, port.Group = cell.In, s.Group
	}
	if p.spanPorts == nil {
		p.spanPorts = map[flow.Port]int64{}
	}
	if _, ok := p.spanPorts[port]; !ok {
		if len(p.spanPorts) >= maxPorts {
			t.s.overflow.Inc()
			return
		}
		p.spanChanged = true
	}
	p.spanPorts[port] = now
	for w := range s.Windows {
		p.heard = max(p.heard, min(now, (w+s.Width)*1000))
	}
}

// nameOf names a component: the pipeline that counts at one of its queues, the name it had, the name its spans give, or that of
// its first queue that no reader writes.
func (b *spanBook) nameOf(c *component, owner map[string]string) string {
	var counted, had, given, roots, all []string
	reader := map[string]bool{}
	for i, s := range c.sides {
		if c.reads[i] {
			reader[s.Stage] = true
		}
	}
	for i, s := range c.sides {
		all = append(all, s.Destination)
		if id := owner[s.Destination]; id != "" {
			counted = append(counted, id)
		}
		if id := b.owner[s.Destination]; id != "" {
			had = append(had, id)
		}
		if s.Pipeline != "" {
			given = append(given, s.Pipeline)
		}
		if !c.reads[i] && !reader[s.Stage] {
			roots = append(roots, s.Destination)
		}
	}
	for _, names := range [][]string{counted, given, had, roots, all} {
		if len(names) > 0 {
			return slices.Min(names)
		}
	}
	return ""
}

// components splits what spans tell into connected parts, each in the same order every time.
func components(book *flow.SpanBook) []component {
	parent := map[string]string{}
	var find func(string) string
	find = func(x string) string {
		p, ok := parent[x]
		if !ok || p == x {
			parent[x] = x
			return x
		}
		root := find(p)
		parent[x] = root
		return root
	}
	stage, queue := func(s string) string { return "s\x00" + s }, func(d string) string { return "d\x00" + d }
	sides := func(f func(s *flow.SpanSide, reads bool)) {
		for i := range book.Writers {
			f(&book.Writers[i], false)
		}
		for i := range book.Readers {
			f(&book.Readers[i], true)
		}
	}
	sides(func(s *flow.SpanSide, _ bool) {
		a, b := find(stage(s.Stage)), find(queue(s.Destination))
		if a != b {
			parent[max(a, b)] = min(a, b)
		}
	})
	by := map[string]*component{}
	sides(func(s *flow.SpanSide, reads bool) {
		root := find(stage(s.Stage))
		c := by[root]
		if c == nil {
			c = &component{}
			by[root] = c
		}
		c.sides, c.reads = append(c.sides, s), append(c.reads, reads)
	})
	for i := range book.Edges {
		e := &book.Edges[i]
		if c := by[find(queue(e.Destination))]; c != nil {
			c.edges = append(c.edges, e)
		}
	}
	out := make([]component, 0, len(by))
	for _, root := range slices.SortedFunc(maps.Keys(by), strings.Compare) {
		out = append(out, *by[root])
	}
	return out
}

// spanTimes takes the newest event times of stages that do not count themselves.
func (t *tenant) spanTimes(p *pipe, now int64) {
	set := func(sd stageDir, ts int64) {
		if p.counts(sd) || ts <= p.newest[sd].ts {
			return
		}
		p.newest[sd] = newest{min(ts, now), 0}
	}
	for i := range t.spans.book.Writers {
		if s := &t.spans.book.Writers[i]; t.spans.owner[s.Destination] == p.id || s.Pipeline == p.id {
			set(stageDir{s.Stage, cell.Out}, s.MaxTS)
		}
	}
	for i := range t.spans.book.Edges {
		e := &t.spans.book.Edges[i]
		if t.spans.of[edgeKey(e)] != p.id {
			continue
		}
		var ts int64
		for j := range e.Windows {
			ts = max(ts, e.Windows[j].MaxTS)
		}
		set(stageDir{e.To, cell.In}, ts)
	}
}

// readBySpans are the inputs of the graph that no application counts.
func (p *pipe) readBySpans() []flow.Input {
	var out []flow.Input
	for _, st := range p.topo.Stages {
		own, _ := p.counted.Stage(st.Name)
		for _, in := range st.In {
			if in.Group != "" && !slices.Contains(own.In, in) {
				out = append(out, in)
			}
		}
	}
	return out
}

// counts says whether a stage counts itself in one direction.
func (p *pipe) counts(sd stageDir) bool {
	for port := range p.ports {
		if port.Stage == sd.stage && port.Dir == sd.dir {
			return true
		}
	}
	return false
}
