package spans

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

// Fresh says whether there is something that Assign has not seen.
func (b *Book) Fresh() bool { return b.fresh && len(b.book.Writers)+len(b.book.Readers) > 0 }

// Assign gives stages and queues that spans connect to pipelines: to the one that counts at one of the queues, as counted says by queue,
// else to one of their own. put takes in a port of a pipeline, and says whether there is room for the pipeline; heard is the end of the
// port's newest window, Unix milliseconds, 0 = none.
func (b *Book) Assign(counted map[string]string, put func(pipeline string, port flow.Port, heard int64) bool) {
	b.fresh = false
	b.of = map[edgeID]string{}
	for _, c := range components(b.book) {
		name := b.nameOf(&c, counted)
		for i, s := range c.sides {
			id := name
			if s.Pipeline != "" {
				id = s.Pipeline
			}
			port := flow.Port{Stage: s.Stage, Dir: cell.Out, Destination: s.Destination}
			if c.reads[i] {
				port.Dir, port.Group = cell.In, s.Group
			}
			var heard int64
			for w := range s.Windows {
				heard = max(heard, (w+s.Width)*1000)
			}
			if put(id, port, heard) {
				b.owner[s.Destination] = id
			}
		}
		for _, e := range c.edges {
			b.of[edgeKey(e)] = b.owner[e.Destination]
		}
	}
}

// Keep forgets which queues belonged to pipelines that are gone.
func (b *Book) Keep(there func(pipeline string) bool) {
	for d, id := range b.owner {
		if !there(id) {
			delete(b.owner, d)
		}
	}
}

// nameOf names a component: the pipeline that counts at one of its queues, the name its spans give, the name it had, or that of
// its first queue that no reader writes.
func (b *Book) nameOf(c *component, owner map[string]string) string {
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
