package storetest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/weirhq/weir/store"
)

func testSpans(t *testing.T, fresh func(t *testing.T) Place) {
	t.Helper()
	e := opened(t, fresh)
	if err := e.Spans().Append(t.Context(), "a", []store.Span{span(1, 1, 0)}); errors.Is(err, store.ErrUnavailable) {
		t.Skipf("LOUD: this engine does not store spans yet: %v", err)
	}
	t.Run("whole", func(t *testing.T) { testWholeSpan(t, fresh) })
	t.Run("search", func(t *testing.T) { testSearch(t, fresh) })
	t.Run("random", func(t *testing.T) {
		rapid.Check(t, func(r *rapid.T) { randomSpans(r, start(r, fresh(t))) })
	})
}

// span makes span n of a trace; everything but the ids follows from them.
func span(trace, n byte, parent byte) store.Span {
	s := store.Span{
		Trace: store.TraceID{15: trace}, ID: store.SpanID{7: n},
		Start: base()*1e6 + int64(trace)*int64(time.Second) + int64(n)*int64(time.Millisecond), Duration: int64(n) * int64(time.Millisecond),
		Service: fmt.Sprintf("svc%d", n%3), Name: fmt.Sprintf("op%d", n%2), Kind: store.KindServer,
	}
	if parent != 0 {
		s.Parent = store.SpanID{7: parent}
	}
	if n%4 == 0 {
		s.Status = store.StatusError
	}
	return s
}

// testWholeSpan holds that every field comes back.
func testWholeSpan(t *testing.T, fresh func(t *testing.T) Place) {
	t.Helper()
	e := opened(t, fresh)
	s := span(1, 2, 1)
	s.Node, s.Container, s.Scope, s.StatusMsg, s.TraceState, s.Dropped = "n", "c", "lib", "msg", "k=v", 3
	s.Kind, s.Status = store.KindConsumer, store.StatusError
	attrs := []store.Attr{
		{Key: "b", Kind: store.AttrBool, Num: 1},
		{Key: "f", Kind: store.AttrFloat, Num: 1 << 62},
		{Key: "i", Kind: store.AttrInt, Num: ^uint64(0)},
		{Key: "j", Kind: store.AttrJSON, Str: `{"a":[1]}`},
		{Key: "s", Str: "text ö"},
	}
	s.Resource, s.Attrs = attrs[:2], attrs
	s.Events = []store.SpanEvent{{Time: s.Start + 1, Name: "ev", Attrs: attrs[3:]}}
	s.Links = []store.SpanLink{{Trace: store.TraceID{1}, Span: store.SpanID{2}, Attrs: attrs[4:]}}
	if err := e.Spans().Append(t.Context(), "a", []store.Span{s}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got, err := e.Spans().Trace(t.Context(), "a", s.Trace)
		if err != nil {
			t.Fatal(err)
		}
		if d := gocmp.Diff([]store.Span{s}, got, cmpopts.EquateEmpty()); d != "" {
			t.Error(d)
		}
		e.restart(t)
	}
	if _, err := e.Spans().Trace(t.Context(), "b", s.Trace); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("another tenant: %v", err)
	}
}

func testSearch(t *testing.T, fresh func(t *testing.T) Place) {
	t.Helper()
	e := opened(t, fresh)
	for tr := byte(1); tr <= 5; tr++ {
		spans := []store.Span{span(tr, 1, 0), span(tr, 2, 1), span(tr, tr+2, 2)}
		spans[2].Attrs = []store.Attr{{Key: "order", Kind: store.AttrInt, Num: uint64(tr)}}
		spans[1].Node = fmt.Sprintf("node%d", tr%2)
		if err := e.Spans().Append(t.Context(), "a", spans); err != nil {
			t.Fatal(err)
		}
	}
	all := store.SpanQuery{From: time.UnixMilli(base()).Add(-time.Minute), To: time.UnixMilli(base()).Add(time.Minute)}
	search := func(change func(*store.SpanQuery)) (ids []byte) {
		t.Helper()
		q := all
		change(&q)
		ts, err := e.Spans().Search(t.Context(), "a", q)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range ts {
			if i > 0 && s.Start > ts[i-1].Start {
				t.Error("oldest first")
			}
			ids = append(ids, s.Trace[15])
		}
		return ids
	}
	for _, c := range []struct {
		name   string
		change func(*store.SpanQuery)
		want   []byte
	}{
		{"all", func(*store.SpanQuery) {}, []byte{5, 4, 3, 2, 1}},
		{"limit", func(q *store.SpanQuery) { q.Limit = 2 }, []byte{5, 4}},
		{"attribute", func(q *store.SpanQuery) { q.Attrs = map[string]string{"order": "3"} }, []byte{3}},
		{"node", func(q *store.SpanQuery) { q.Attrs = map[string]string{"node": "node1"} }, []byte{5, 3, 1}},
		{"service and status", func(q *store.SpanQuery) { q.Service, q.Status = "svc1", store.StatusError }, []byte{2}},
		{"name of one span, service of another", func(q *store.SpanQuery) { q.Service, q.Name = "svc2", "op1" }, []byte{3}},
		{"nothing", func(q *store.SpanQuery) { q.Service = "none" }, nil},
		{"duration", func(q *store.SpanQuery) { q.MinDuration = 6 * time.Millisecond }, []byte{5, 4}},
		{"outside", func(q *store.SpanQuery) { q.To = q.From.Add(time.Second) }, nil},
	} {
		if got := search(c.change); !bytes.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
	ts, err := e.Spans().Search(t.Context(), "a", store.SpanQuery{From: all.From, To: all.To, Attrs: map[string]string{"order": "2"}})
	want := []store.TraceSummary{{
		Trace: store.TraceID{15: 2}, RootService: "svc1", RootName: "op1", Start: span(2, 1, 0).Start, Duration: int64(7 * time.Millisecond),
		Spans: 3, Errors: 1, Services: []string{"svc1", "svc2"},
	}}
	if d := gocmp.Diff(want, ts); d != "" || err != nil {
		t.Errorf("summary: %v\n%s", err, d)
	}
	vs, err := e.Spans().TagValues(t.Context(), "a", "order", all.From, all.To, 3)
	if err != nil || !slices.Equal(vs, []string{"1", "2", "3"}) {
		t.Errorf("tag values: %v %v", vs, err)
	}
	ns, err := e.Spans().TagNames(t.Context(), "a", all.From, all.To, 100)
	if err != nil || !slices.Contains(ns, "order") || !slices.IsSorted(ns) {
		t.Errorf("tag names: %v %v", ns, err)
	}
}

type spanID struct {
	trace store.TraceID
	id    store.SpanID
}

func randomSpans(t *rapid.T, e *running) {
	defer e.close(t)
	tenants := []store.Tenant{"a", "b"}
	model := map[store.Tenant]map[spanID]store.Span{"a": {}, "b": {}}
	draw := rapid.Custom(func(t *rapid.T) store.Span {
		return span(rapid.ByteRange(1, 4).Draw(t, "trace"), rapid.ByteRange(1, 12).Draw(t, "span"), 0)
	})
	check := func(t *rapid.T) {
		for _, id := range tenants {
			for tr := byte(1); tr <= 4; tr++ {
				want := slices.DeleteFunc(slices.Collect(maps.Values(model[id])), func(s store.Span) bool { return s.Trace[15] != tr })
				slices.SortFunc(want, func(a, b store.Span) int { return cmp.Compare(a.Start, b.Start) })
				got, err := e.Spans().Trace(t.Context(), id, store.TraceID{15: tr})
				if len(want) == 0 {
					if !errors.Is(err, store.ErrNotFound) {
						t.Fatalf("trace %d of %q: %v", tr, id, err)
					}
					continue
				}
				if err != nil {
					t.Fatalf("trace %d of %q: %v", tr, id, err)
				}
				if d := gocmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
					t.Fatalf("trace %d of %q (-want +got)\n%s", tr, id, d)
				}
			}
		}
	}
	t.Repeat(map[string]func(*rapid.T){
		"append": func(t *rapid.T) {
			id := rapid.SampledFrom(tenants).Draw(t, "tenant")
			spans := rapid.SliceOfN(draw, 1, 6).Draw(t, "spans")
			for range rapid.IntRange(1, 3).Draw(t, "times") {
				if err := e.Spans().Append(t.Context(), id, slices.Clone(spans)); err != nil {
					t.Fatalf("append: %v", err)
				}
			}
			for _, s := range spans {
				model[id][spanID{s.Trace, s.ID}] = s
			}
		},
		"restart": func(t *rapid.T) {
			if rapid.IntRange(0, 7).Draw(t, "seldom") == 0 {
				e.restart(t)
			}
		},
		"check": check,
	})
	check(t)
}
