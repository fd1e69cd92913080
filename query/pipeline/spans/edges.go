package spans

import (
	"iter"
	"slices"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/flow"
)

func edgeKey(e *flow.SpanEdge) edgeID {
	k := edgeID{e.Destination, e.Group, ""}
	if e.Group == "" {
		k.to = e.To
	}
	return k
}

// Edges are those that spans tell of, each after the name of its pipeline, empty before Assign gave it one.
func (b *Book) Edges() iter.Seq2[string, *flow.SpanEdge] {
	return func(yield func(string, *flow.SpanEdge) bool) {
		for i := range b.book.Edges {
			if e := &b.book.Edges[i]; !yield(b.of[edgeKey(e)], e) {
				return
			}
		}
	}
}

// edgesOf are the edges of one pipeline.
func (b *Book) edgesOf(pipeline string) iter.Seq[*flow.SpanEdge] {
	return func(yield func(*flow.SpanEdge) bool) {
		for id, e := range b.Edges() {
			if id == pipeline && !yield(e) {
				return
			}
		}
	}
}

// Counted is the edge of what applications count, counted, that a span edge lies on; nil where there is none, or where one of its
// stages is counted from spans too.
func (b *Book) Counted(counted *flow.Topology, e *flow.SpanEdge) *flow.Edge {
	ofSpans := func(stage string) bool { return b.from[flow.SpanStage{Pipeline: counted.Pipeline, Stage: stage}] }
	for i := range counted.Edges {
		if c := &counted.Edges[i]; same(c, e) && !ofSpans(c.To) && !slices.ContainsFunc(c.From, ofSpans) {
			return c
		}
	}
	return nil
}

func same(c *flow.Edge, e *flow.SpanEdge) bool {
	return c.Destination == e.Destination && (c.Group == e.Group || e.Group == "" && c.To == e.To)
}

// Joins says whether joined spans judge an edge of a pipeline.
func (b *Book) Joins(pipeline string, c flow.Edge) bool {
	for i := range b.book.Edges {
		if e := &b.book.Edges[i]; len(e.From) > 0 && same(&c, e) && b.of[edgeKey(e)] == pipeline {
			return true
		}
	}
	return false
}

// Judges says whether some edge of a pipeline has no better evidence than spans. counted is what its applications count.
func (b *Book) Judges(counted *flow.Topology) bool {
	for e := range b.edgesOf(counted.Pipeline) {
		if len(e.From) > 0 && b.Counted(counted, e) == nil {
			return true
		}
	}
	return false
}

// Joined is how many producer spans of a pipeline were joined in the last windows.
func (b *Book) Joined(pipeline string) (n int64) {
	for e := range b.edgesOf(pipeline) {
		for j := range e.Windows {
			n += e.Windows[j].Matched
		}
	}
	return n
}

// Newest calls f with the newest event times, Unix milliseconds, that stages of a pipeline put out and took in.
func (b *Book) Newest(pipeline string, f func(stage string, d cell.Dir, at int64)) {
	for i := range b.book.Writers {
		if s := &b.book.Writers[i]; b.owner[s.Destination] == pipeline || s.Pipeline == pipeline {
			f(s.Stage, cell.Out, s.MaxTS)
		}
	}
	for e := range b.edgesOf(pipeline) {
		var at int64
		for j := range e.Windows {
			at = max(at, e.Windows[j].MaxTS)
		}
		f(e.To, cell.In, at)
	}
}
