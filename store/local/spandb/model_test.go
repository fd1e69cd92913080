package spandb

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/weirhq/weir/store"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func testConfig(dir string) Config {
	c := DefaultConfig()
	c.Dir = dir
	c.RowGroupSpans = 16 // many row groups
	c.Retention = 0      // the data is of a fixed day
	return c
}

func mustOpen(t interface {
	Helper()
	Fatal(args ...any)
}, c Config,
) *DB {
	t.Helper()
	db, err := open(c, disk{lazy: true}, quiet(), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	return db
}

const baseTime = int64(1_760_000_000_000_000_000)

// genSpan makes spans from small alphabets, so that traces, ids and values meet.
func genSpan(t *rapid.T) store.Span {
	text := rapid.SampledFrom([]string{"", "a", "b", "checkout", "späti", "\"quoted\"\n", "x y"})
	attr := rapid.Custom(func(t *rapid.T) store.Attr {
		a := store.Attr{Key: rapid.SampledFrom([]string{"k", "http.method", "id", "ü"}).Draw(t, "key")}
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			a.Str = text.Draw(t, "str")
		case 1:
			a.Kind, a.Num = store.AttrInt, uint64(rapid.Int64().Draw(t, "int"))
		case 2:
			a.Kind = store.AttrFloat
			a.Num = math.Float64bits(rapid.SampledFrom([]float64{0, 1.5, -2e300, math.Inf(1), math.NaN(), 0.1}).Draw(t, "float"))
		case 3:
			a.Kind, a.Num = store.AttrBool, uint64(rapid.IntRange(0, 1).Draw(t, "bool"))
		case 4:
			a.Kind, a.Str = store.AttrJSON, `{"a":[1,2]}`
		}
		return a
	})
	attrs := rapid.SliceOfN(attr, 0, 3)
	s := store.Span{
		Trace:     store.TraceID{byte(rapid.IntRange(0, 12).Draw(t, "trace")), 15: 1},
		ID:        store.SpanID{byte(rapid.IntRange(1, 20).Draw(t, "span"))},
		Duration:  int64(rapid.IntRange(0, 300).Draw(t, "dur")) * 1e6,
		Service:   text.Draw(t, "service"),
		Node:      text.Draw(t, "node"),
		Container: text.Draw(t, "container"),
		Name:      text.Draw(t, "name"),
		Scope:     text.Draw(t, "scope"),
		Kind:      store.SpanKind(rapid.IntRange(0, 5).Draw(t, "kind")),
		Status:    store.SpanStatus(rapid.IntRange(0, 2).Draw(t, "status")),
		StatusMsg: text.Draw(t, "msg"),
		Dropped:   uint32(rapid.IntRange(0, 1).Draw(t, "dropped")),
		Resource:  attrs.Draw(t, "resource"),
		Attrs:     attrs.Draw(t, "attrs"),
	}
	// What else the sender of a span id changes its mind about, it does not change its start: a search
	// orders by the earliest start it knows of each place.
	s.Start = baseTime + int64(s.Trace[0])*211e6 + int64(s.ID[0])*137e6%900e6
	if rapid.Bool().Draw(t, "child") {
		s.Parent = store.SpanID{byte(rapid.IntRange(1, 20).Draw(t, "parent"))}
	}
	if rapid.IntRange(0, 4).Draw(t, "rare") == 0 {
		s.TraceState = "ot=th:8"
		s.Events = []store.SpanEvent{{Time: s.Start + 1, Name: text.Draw(t, "event"), Attrs: attrs.Draw(t, "eattrs")}}
		s.Links = []store.SpanLink{{Trace: store.TraceID{9}, Span: store.SpanID{8}, Attrs: attrs.Draw(t, "lattrs")}}
	}
	return s
}

// model is what the store must look like: the first span of every id.
type model struct {
	order []store.TraceID
	spans map[store.TraceID][]store.Span
}

func (m *model) append(spans []store.Span) {
	for _, s := range spans {
		old, ok := m.spans[s.Trace]
		if !ok {
			m.order = append(m.order, s.Trace)
		}
		if !slices.ContainsFunc(old, func(o store.Span) bool { return o.ID == s.ID }) {
			m.spans[s.Trace] = append(old, s)
		}
	}
}

func (m *model) trace(id store.TraceID) []store.Span {
	out := slices.Clone(m.spans[id])
	slices.SortFunc(out, func(a, b store.Span) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return out
}

func (m *model) search(q store.SpanQuery) []store.TraceSummary {
	var out []store.TraceSummary
	for _, id := range m.order {
		spans := m.trace(id)
		if slices.ContainsFunc(spans, func(s store.Span) bool { return modelMatch(&s, q) }) {
			out = append(out, summarize(id, spans))
		}
	}
	slices.SortFunc(out, newestFirst)
	limit := q.Limit
	if limit == 0 {
		limit = 20
	}
	return out[:min(limit, len(out))]
}

func modelMatch(s *store.Span, q store.SpanQuery) bool {
	if q.Service != "" && s.Service != q.Service || q.Name != "" && s.Name != q.Name ||
		q.Status != 0 && s.Status != q.Status ||
		!q.From.IsZero() && s.Start < q.From.UnixNano() || !q.To.IsZero() && s.Start >= q.To.UnixNano() ||
		s.Duration < int64(q.MinDuration) || q.MaxDuration > 0 && s.Duration > int64(q.MaxDuration) {
		return false
	}
	for k, v := range q.Attrs {
		ok := k == "node" && s.Node == v || k == "container" && s.Container == v
		for _, a := range append(slices.Clone(s.Attrs), s.Resource...) {
			ok = ok || a.Key == k && string(appendText(nil, &a)) == v
		}
		if !ok {
			return false
		}
	}
	return true
}

var same = []gocmp.Option{cmpopts.EquateEmpty()}

// canon is a span as the store gives it back.
func canon(spans []store.Span) []store.Span {
	out := slices.Clone(spans)
	for i := range out {
		for _, as := range [][]store.Attr{out[i].Attrs, out[i].Resource} {
			for j := range as {
				if as[j].Kind != store.AttrString && as[j].Kind != store.AttrJSON {
					as[j].Num = canonical(&as[j])
				}
			}
		}
	}
	return out
}

func TestAgainstModel(t *testing.T) {
	ctx := context.Background()
	tenants := []store.Tenant{"default", "a/b ü"}
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		c := testConfig(fmt.Sprintf("%s/%d", t.TempDir(), n))
		db := mustOpen(rt, c)
		defer func() { _ = db.shut() }()
		models := map[store.Tenant]*model{}
		for _, tn := range tenants {
			models[tn] = &model{spans: map[store.TraceID][]store.Span{}}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				tn := rapid.SampledFrom(tenants).Draw(rt, "tenant")
				spans := rapid.SliceOfN(rapid.Custom(genSpan), 1, 12).Draw(rt, "spans")
				if err := db.Append(ctx, tn, spans); err != nil {
					rt.Fatal(err)
				}
				models[tn].append(canon(spans))
			},
			"flush": func(rt *rapid.T) {
				if err := db.Flush(); err != nil {
					rt.Fatal(err)
				}
			},
			"restart": func(rt *rapid.T) {
				if err := db.shut(); err != nil {
					rt.Fatal(err)
				}
				db = mustOpen(rt, c)
			},
			"trace": func(rt *rapid.T) {
				tn := rapid.SampledFrom(tenants).Draw(rt, "tenant")
				id := store.TraceID{byte(rapid.IntRange(0, 12).Draw(rt, "trace")), 15: 1}
				got, err := db.Trace(ctx, tn, id)
				want := models[tn].trace(id)
				if len(want) == 0 {
					if !errors.Is(err, store.ErrNotFound) {
						rt.Fatalf("trace %x of %q: error %v, want not found", id, tn, err)
					}
					return
				}
				if err != nil {
					rt.Fatal(err)
				}
				if d := gocmp.Diff(want, got, same...); d != "" {
					rt.Fatalf("trace %x (-want +got):\n%s", id, d)
				}
			},
			"search": func(rt *rapid.T) {
				tn := rapid.SampledFrom(tenants).Draw(rt, "tenant")
				q := genQuery(rt)
				got, err := db.Search(ctx, tn, q)
				if err != nil {
					rt.Fatal(err)
				}
				if d := gocmp.Diff(models[tn].search(q), got, same...); d != "" {
					rt.Fatalf("search %+v (-want +got):\n%s", q, d)
				}
			},
		})
	})
}

func genQuery(rt *rapid.T) store.SpanQuery {
	maybe := func(p string) bool { return rapid.IntRange(0, 2).Draw(rt, p) == 0 }
	q := store.SpanQuery{Limit: rapid.IntRange(0, 5).Draw(rt, "limit")}
	text := rapid.SampledFrom([]string{"a", "b", "checkout", "späti", "nowhere"})
	if maybe("service") {
		q.Service = text.Draw(rt, "service name")
	}
	if maybe("name") {
		q.Name = text.Draw(rt, "span name")
	}
	if maybe("status") {
		q.Status = store.StatusError
	}
	if maybe("from") {
		q.From = time.Unix(0, baseTime+int64(rapid.IntRange(0, 3000).Draw(rt, "from ms"))*1e6)
	}
	if maybe("to") {
		q.To = time.Unix(0, baseTime+int64(rapid.IntRange(2000, 5000).Draw(rt, "to ms"))*1e6)
	}
	if maybe("min") {
		q.MinDuration = time.Duration(rapid.IntRange(0, 200).Draw(rt, "min ms")) * time.Millisecond
	}
	if maybe("max") {
		q.MaxDuration = time.Duration(rapid.IntRange(50, 300).Draw(rt, "max ms")) * time.Millisecond
	}
	if maybe("attr") {
		k := rapid.SampledFrom([]string{"k", "http.method", "id", "node", "container", "missing"}).Draw(rt, "attr key")
		q.Attrs = map[string]string{k: rapid.SampledFrom([]string{"a", "b", "true", "1.5", "NaN", "späti", "\"quoted\"\n"}).Draw(rt, "attr value")}
	}
	return q
}
