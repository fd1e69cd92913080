package trace

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"slices"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/store"
)

// Assemble makes the waterfall of a trace: parents before children, children by start. linked are
// spans of other traces that consumers of this one link to; they stand as roots of their own.
//
// A span whose parent is not there is an orphan and stands as a root with its parent's id. A child
// that starts before its parent is moved to the parent's start, with everything under it that runs
// on the same node; Skewed counts the spans that were moved. Wait is, for a consumer, the time from
// the end of the producer it is a child of or links to; of several, the longest.
func Assemble(id store.TraceID, spans, linked []store.Span) answer.Trace {
	a := assembler{
		id: id, spans: slices.Concat(spans, linked), own: len(spans),
		at: make(map[spanKey]int32, len(spans)+len(linked)),
	}
	return a.run()
}

type spanKey struct {
	trace store.TraceID
	span  store.SpanID
}

// place is where a span stands: indexes into the assembler's spans, -1 = none.
type place struct {
	parent, child, next int32
	depth               int32
	shift               int64 // nanoseconds the span is moved by
	done                bool
}

type assembler struct {
	id     store.TraceID
	spans  []store.Span
	own    int // the first own spans are of the trace, the rest is linked
	at     map[spanKey]int32
	places []place
	order  []int32
	out    answer.Trace
}

func (a *assembler) run() answer.Trace {
	a.out = answer.Trace{ID: hex.EncodeToString(a.id[:]), Services: []string{}, Spans: []answer.SpanRow{}}
	roots := a.tree()
	for _, r := range roots {
		a.walk(r)
	}
	// What is left hangs in circles of parents: begin each at its earliest span.
	for _, i := range a.byStart() {
		if !a.places[i].done {
			a.out.Orphans++
			a.places[i].parent = -1
			a.walk(i)
		}
	}
	a.rows()
	return a.out
}

func (a *assembler) byStart() []int32 {
	idx := make([]int32, len(a.spans))
	for i := range idx {
		idx[i] = int32(i)
	}
	slices.SortFunc(idx, func(x, y int32) int {
		s, t := &a.spans[x], &a.spans[y]
		return cmp.Or(cmp.Compare(s.Start, t.Start), bytes.Compare(s.ID[:], t.ID[:]))
	})
	return idx
}

// tree links children to parents, in order of start, and returns the roots in that order.
func (a *assembler) tree() []int32 {
	a.places = make([]place, len(a.spans))
	for i := range a.spans {
		a.places[i] = place{parent: -1, child: -1, next: -1}
		k := spanKey{a.spans[i].Trace, a.spans[i].ID}
		if _, dup := a.at[k]; !dup {
			a.at[k] = int32(i)
		}
	}
	order := a.byStart()
	var roots []int32
	for _, i := range slices.Backward(order) { // each goes to the front of its list
		s, p := &a.spans[i], &a.places[i]
		if int(i) < a.own && s.Parent != (store.SpanID{}) {
			if at, ok := a.at[spanKey{s.Trace, s.Parent}]; ok && at != i {
				p.parent = at
				p.next, a.places[at].child = a.places[at].child, i
				continue
			}
			a.out.Orphans++
		}
		roots = append(roots, i)
	}
	slices.Reverse(roots)
	return roots
}

// walk puts a span and everything under it in order; no recursion, because traces are as deep as
// their senders like.
func (a *assembler) walk(root int32) {
	stack := []int32{root}
	for len(stack) > 0 {
		i := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		p := &a.places[i]
		if p.done {
			continue
		}
		p.done = true
		a.order = append(a.order, i)
		if p.parent >= 0 {
			a.under(i, p.parent)
		}
		at := len(stack)
		for c := p.child; c >= 0; c = a.places[c].next {
			if !a.places[c].done {
				stack = append(stack, c)
			}
		}
		slices.Reverse(stack[at:])
	}
}

// under sets depth and shift of a span from its parent, which has its own.
func (a *assembler) under(i, parent int32) {
	p, up := &a.places[i], &a.places[parent]
	s, us := &a.spans[i], &a.spans[parent]
	p.depth = up.depth + 1
	if s.Node == us.Node && s.Service == us.Service {
		p.shift = up.shift
	}
	if late := us.Start + up.shift - (s.Start + p.shift); late > 0 {
		p.shift += late
	}
	if p.shift > 0 {
		a.out.Skewed++
	}
}

func (a *assembler) start(i int32) int64 { return a.spans[i].Start + a.places[i].shift }
func (a *assembler) end(i int32) int64   { return a.start(i) + a.spans[i].Duration }

// wait is the longest time in a queue before a consumer span, nanoseconds.
func (a *assembler) wait(i int32) int64 {
	s := &a.spans[i]
	if s.Kind != store.KindConsumer {
		return 0
	}
	longest := int64(0)
	see := func(at int32) {
		if a.spans[at].Kind == store.KindProducer {
			// Across machines a consumer may seem to start before its producer ends; that is no wait.
			longest = max(longest, a.start(i)-a.end(at))
		}
	}
	if p := a.places[i].parent; p >= 0 {
		see(p)
	}
	for _, l := range s.Links {
		if at, ok := a.at[spanKey{l.Trace, l.Span}]; ok {
			see(at)
		}
	}
	return longest
}

func (a *assembler) rows() {
	if len(a.order) == 0 {
		return
	}
	first, last := a.start(a.order[0]), a.end(a.order[0])
	services := map[string]struct{}{}
	for _, i := range a.order {
		first, last = min(first, a.start(i)), max(last, a.end(i))
		services[a.spans[i].Service] = struct{}{}
	}
	for s := range services {
		a.out.Services = append(a.out.Services, s)
	}
	slices.Sort(a.out.Services)
	a.out.Start, a.out.Duration = first/1e6, seconds(last-first)
	a.out.Linked = len(a.spans) - a.own
	a.out.Spans = make([]answer.SpanRow, 0, len(a.order))
	for _, i := range a.order {
		a.out.Spans = append(a.out.Spans, a.row(i, first))
	}
}

func seconds(ns int64) float64 { return float64(ns) / 1e9 }

func (a *assembler) row(i int32, first int64) answer.SpanRow {
	s, p := &a.spans[i], &a.places[i]
	r := answer.SpanRow{
		ID: hex.EncodeToString(s.ID[:]), Trace: a.out.ID, Service: s.Service, Node: s.Node, Container: s.Container,
		Name: s.Name, Kind: s.Kind.String(), Status: s.Status.String(),
		Start: seconds(a.start(i) - first), Duration: seconds(s.Duration), Wait: seconds(a.wait(i)), Depth: int(p.depth),
		Links: make([]string, 0, len(s.Links)), Events: make([]answer.SpanEvent, 0, len(s.Events)),
		Attrs: make(map[string]string, len(s.Attrs)+len(s.Resource)+2),
	}
	if s.Trace != a.id {
		r.Trace = hex.EncodeToString(s.Trace[:])
	}
	if s.Parent != (store.SpanID{}) && int(i) < a.own {
		r.Parent = hex.EncodeToString(s.Parent[:])
	}
	for _, l := range s.Links {
		r.Links = append(r.Links, hex.EncodeToString(l.Span[:]))
	}
	if s.StatusMsg != "" {
		r.Attrs["status.message"] = s.StatusMsg
	}
	if s.Scope != "" {
		r.Attrs["otel.scope.name"] = s.Scope
	}
	putAttrs(r.Attrs, s.Resource)
	putAttrs(r.Attrs, s.Attrs) // the span's own win
	for _, e := range s.Events {
		ev := answer.SpanEvent{At: seconds(e.Time + p.shift - first), Name: e.Name, Attrs: make(map[string]string, len(e.Attrs))}
		putAttrs(ev.Attrs, e.Attrs)
		r.Events = append(r.Events, ev)
	}
	return r
}

func putAttrs(m map[string]string, as []store.Attr) {
	for i := range as {
		m[as[i].Key] = text(&as[i])
	}
}
