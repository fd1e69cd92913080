package trace

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/store"
)

const sec = int64(1e9)

func tid(n byte) store.TraceID { return store.TraceID{15: n} }
func sid(n byte) store.SpanID {
	if n == 0 {
		return store.SpanID{}
	}
	return store.SpanID{7: n}
}

// span makes a span of trace 1; times in seconds.
func span(id, parent byte, service string, start, dur int64, more ...func(*store.Span)) store.Span {
	s := store.Span{Trace: tid(1), ID: sid(id), Parent: sid(parent), Service: service, Name: fmt.Sprint("op", id), Start: 1000*sec + start*sec, Duration: dur * sec}
	for _, f := range more {
		f(&s)
	}
	return s
}

func kind(k store.SpanKind) func(*store.Span) { return func(s *store.Span) { s.Kind = k } }
func in(trace byte) func(*store.Span)         { return func(s *store.Span) { s.Trace = tid(trace) } }
func on(node string) func(*store.Span)        { return func(s *store.Span) { s.Node = node } }

func link(trace, id byte) func(*store.Span) {
	return func(s *store.Span) { s.Links = append(s.Links, store.SpanLink{Trace: tid(trace), Span: sid(id)}) }
}

// shape is what a waterfall looks like: id, depth, start and wait of every row.
func shape(t answer.Trace) []string {
	out := []string{}
	for _, s := range t.Spans {
		line := fmt.Sprintf("%s depth %d at %g", s.ID[14:], s.Depth, s.Start)
		if s.Wait != 0 {
			line += fmt.Sprintf(" wait %g", s.Wait)
		}
		out = append(out, line)
	}
	return out
}

func TestAssemble(t *testing.T) {
	for _, c := range []struct {
		name          string
		spans, linked []store.Span
		want          []string
		orphans, skew int
		duration      float64
	}{
		{name: "nothing", want: []string{}},
		{
			name:  "children by start, under their parents",
			spans: []store.Span{span(4, 2, "b", 2, 1), span(1, 0, "a", 0, 9), span(3, 1, "c", 5, 1), span(2, 1, "b", 1, 3)},
			want:  []string{"01 depth 0 at 0", "02 depth 1 at 1", "04 depth 2 at 2", "03 depth 1 at 5"}, duration: 9,
		},
		{
			name:  "an orphan is a root",
			spans: []store.Span{span(1, 0, "a", 1, 1), span(2, 99, "b", 0, 1), span(3, 2, "b", 0, 1)},
			want:  []string{"02 depth 0 at 0", "03 depth 1 at 0", "01 depth 0 at 1"}, orphans: 1, duration: 2,
		},
		{
			name:  "its own parent, and two parents of one another",
			spans: []store.Span{span(1, 1, "a", 0, 1), span(2, 3, "b", 1, 1), span(3, 2, "b", 2, 1)},
			want:  []string{"01 depth 0 at 0", "02 depth 0 at 1", "03 depth 1 at 2"}, orphans: 2, duration: 3,
		},
		{
			name: "a clock that is slow by three seconds, with what runs beside it",
			spans: []store.Span{
				span(1, 0, "a", 3, 5, on("n1")), span(2, 1, "b", 1, 1, on("n2")), span(3, 2, "b", 2, 1, on("n2")), span(4, 3, "a", 6, 1, on("n1")),
			},
			want: []string{"01 depth 0 at 0", "02 depth 1 at 0", "03 depth 2 at 1", "04 depth 3 at 3"}, skew: 2, duration: 5,
		},
		{
			name:  "a consumer under its producer waited",
			spans: []store.Span{span(1, 0, "a", 0, 2, kind(store.KindProducer)), span(2, 1, "b", 7, 1, kind(store.KindConsumer))},
			want:  []string{"01 depth 0 at 0", "02 depth 1 at 7 wait 5"}, duration: 8,
		},
		{
			name:  "a consumer that began before its producer ended did not wait",
			spans: []store.Span{span(1, 0, "a", 0, 2, kind(store.KindProducer)), span(2, 1, "b", 1, 1, kind(store.KindConsumer))},
			want:  []string{"01 depth 0 at 0", "02 depth 1 at 1"}, duration: 2,
		},
		{
			name:  "only consumers wait, and only for producers",
			spans: []store.Span{span(1, 0, "a", 0, 2), span(2, 1, "b", 7, 1, kind(store.KindConsumer)), span(3, 1, "b", 7, 1, kind(store.KindClient))},
			want:  []string{"01 depth 0 at 0", "02 depth 1 at 7", "03 depth 1 at 7"}, duration: 8,
		},
		{
			name:   "a batch consumer links to producers of other traces",
			spans:  []store.Span{span(1, 0, "sink", 10, 1, kind(store.KindConsumer), link(2, 7), link(3, 8), link(4, 9))},
			linked: []store.Span{span(8, 5, "p", 4, 1, in(3), kind(store.KindProducer)), span(7, 0, "p", 2, 1, in(2), kind(store.KindProducer))},
			want:   []string{"07 depth 0 at 0", "08 depth 0 at 2", "01 depth 0 at 8 wait 7"}, duration: 9,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Assemble(tid(1), c.spans, c.linked)
			if d := cmp.Diff(c.want, shape(got)); d != "" {
				t.Errorf("rows (-want +got):\n%s", d)
			}
			if got.Orphans != c.orphans || got.Skewed != c.skew || got.Duration != c.duration || got.Linked != len(c.linked) {
				t.Errorf("orphans %d, skewed %d, duration %g, linked %d; want %d, %d, %g, %d",
					got.Orphans, got.Skewed, got.Duration, got.Linked, c.orphans, c.skew, c.duration, len(c.linked))
			}
		})
	}
}

func TestRowHasEverything(t *testing.T) {
	s := span(2, 1, "cart", 1, 1, on("n1"), kind(store.KindServer), link(9, 8))
	s.Container, s.Scope, s.Status, s.StatusMsg = "c1", "lib", store.StatusError, "boom"
	s.Resource = []store.Attr{{Key: "version", Str: "1"}, {Key: "both", Str: "resource"}}
	s.Attrs = []store.Attr{{Key: "n", Kind: store.AttrInt, Num: 7}, {Key: "ok", Kind: store.AttrBool, Num: 1}, {Key: "both", Str: "span"}}
	s.Events = []store.SpanEvent{{Time: 1001*sec + sec/2, Name: "retry", Attrs: []store.Attr{{Key: "try", Str: "2"}}}}
	got := Assemble(tid(1), []store.Span{span(1, 0, "web", 0, 3), s}, nil)
	want := answer.SpanRow{
		ID: "0000000000000002", Parent: "0000000000000001", Trace: "00000000000000000000000000000001",
		Service: "cart", Node: "n1", Container: "c1", Name: "op2", Kind: "server", Status: "error", Start: 1, Duration: 1, Depth: 1,
		Links:  []string{"0000000000000008"},
		Attrs:  map[string]string{"version": "1", "both": "span", "n": "7", "ok": "true", "status.message": "boom", "otel.scope.name": "lib"},
		Events: []answer.SpanEvent{{At: 1.5, Name: "retry", Attrs: map[string]string{"try": "2"}}},
	}
	if d := cmp.Diff(want, got.Spans[1]); d != "" {
		t.Errorf("row (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"cart", "web"}, got.Services); d != "" {
		t.Errorf("services (-want +got):\n%s", d)
	}
}

// TestAssembleKeepsAll: whatever the parents, every span is there once, behind its parent and not
// before it in time.
func TestAssembleKeepsAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 40).Draw(t, "spans")
		spans := make([]store.Span, n)
		for i := range spans {
			spans[i] = span(byte(i+1), byte(rapid.IntRange(0, n+2).Draw(t, "parent")), rapid.SampledFrom([]string{"a", "b"}).Draw(t, "service"),
				int64(rapid.IntRange(0, 10).Draw(t, "start")), int64(rapid.IntRange(0, 10).Draw(t, "dur")))
		}
		got := Assemble(tid(1), spans, nil)
		if len(got.Spans) != n {
			t.Fatalf("%d rows of %d spans", len(got.Spans), n)
		}
		at := map[string]int{}
		for i, r := range got.Spans {
			if _, dup := at[r.ID]; dup {
				t.Fatalf("span %s twice", r.ID)
			}
			at[r.ID] = i
			if r.Start < 0 || r.Start+r.Duration > got.Duration+1e-6 || r.Wait < 0 {
				t.Fatalf("span %s outside of the trace: %+v", r.ID, r)
			}
			if r.Depth == 0 {
				continue
			}
			up, ok := at[r.Parent]
			if !ok || got.Spans[up].Depth != r.Depth-1 || got.Spans[up].Start > r.Start+1e-6 {
				t.Fatalf("span %s does not stand under its parent %s", r.ID, r.Parent)
			}
		}
	})
}

// large makes a trace of n spans with six attributes each, three wide and deep as it comes.
func large(n int) []store.Span {
	spans := make([]store.Span, n)
	res := []store.Attr{{Key: "k8s.pod.name", Str: "p"}, {Key: "service.version", Str: "1"}, {Key: "sdk", Str: "go"}}
	for i := range spans {
		s := &spans[i]
		s.Trace = tid(1)
		binary.BigEndian.PutUint64(s.ID[:], uint64(i+1))
		if i > 0 {
			binary.BigEndian.PutUint64(s.Parent[:], uint64(i/3+1))
		}
		if i == 1 {
			binary.BigEndian.PutUint64(s.Parent[:], 1)
		}
		s.Service, s.Name, s.Start, s.Duration, s.Resource = fmt.Sprint("svc", i%7), "op", int64(i)*1000, 5000, res
		s.Attrs = []store.Attr{
			{Key: "http.method", Str: "GET"},
			{Key: "http.route", Str: "/x"},
			{Key: "code", Kind: store.AttrInt, Num: 200},
			{Key: "offset", Kind: store.AttrInt, Num: uint64(i)},
			{Key: "peer", Str: "10.0.0.1"},
			{Key: "ok", Kind: store.AttrBool, Num: 1},
		}
	}
	return spans
}

func BenchmarkAssemble100k(b *testing.B) {
	spans := large(100_000)
	b.ReportAllocs()
	for b.Loop() {
		if got := Assemble(tid(1), spans, nil); len(got.Spans) != len(spans) {
			b.Fatal(len(got.Spans))
		}
	}
}

func TestDeepTrace(t *testing.T) {
	const n = 200_000 // a chain must not overflow a stack
	spans := make([]store.Span, n)
	for i := range spans {
		spans[i].Trace = tid(1)
		binary.BigEndian.PutUint64(spans[i].ID[:], uint64(i+1))
		binary.BigEndian.PutUint64(spans[i].Parent[:], uint64(i))
	}
	got := Assemble(tid(1), spans, nil)
	if len(got.Spans) != n || got.Spans[n-1].Depth != n-1 {
		t.Fatalf("%d rows, last depth %d", len(got.Spans), got.Spans[len(got.Spans)-1].Depth)
	}
}
