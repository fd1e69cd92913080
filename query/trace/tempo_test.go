package trace

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/weirhq/weir/internal/access"
	"github.com/weirhq/weir/store"
)

// fake is a store with given traces; it remembers the last question.
type fake struct {
	store.Spans // nil: what is not defined below must not be called
	traces      map[store.TraceID][]store.Span
	sums        []store.TraceSummary
	err         error
	asked       store.SpanQuery
	tenant      store.Tenant
	tag         string
	from, to    time.Time
	calls       int
}

func (f *fake) Trace(_ context.Context, t store.Tenant, id store.TraceID) ([]store.Span, error) {
	f.tenant = t
	f.calls++
	if f.err != nil {
		return nil, f.err
	}
	s, ok := f.traces[id]
	if !ok {
		return nil, fmt.Errorf("trace: %w", store.ErrNotFound)
	}
	return s, nil
}

func (f *fake) Search(_ context.Context, t store.Tenant, q store.SpanQuery) ([]store.TraceSummary, error) {
	f.tenant, f.asked = t, q
	return f.sums, f.err
}

func (f *fake) TagNames(_ context.Context, t store.Tenant, from, to time.Time, _ int) ([]string, error) {
	f.tenant, f.from, f.to = t, from, to
	return []string{"container", "http.route", "kind", "name", "node", "service", "status"}, f.err
}

func (f *fake) TagValues(_ context.Context, t store.Tenant, tag string, from, to time.Time, _ int) ([]string, error) {
	f.tenant, f.tag, f.from, f.to = t, tag, from, to
	return []string{"a", "b"}, f.err
}

func serve(f *fake) http.Handler {
	mux := http.NewServeMux()
	for _, r := range Routes(f, func(context.Context) store.Tenant { return "acme" }) {
		if r.Need != access.Query {
			panic(r.Pattern + " does not need the permission to query")
		}
		mux.Handle(r.Pattern, r.Handler)
	}
	return mux
}

func get(t *testing.T, f *fake, path, accept string) (int, string, http.Header) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	serve(f).ServeHTTP(w, r)
	return w.Code, w.Body.String(), w.Header()
}

func twoSpans() []store.Span {
	a := span(1, 0, "web", 0, 2, kind(store.KindServer), on("n1"))
	a.Resource = []store.Attr{{Key: "version", Str: "1"}}
	a.Attrs = []store.Attr{{Key: "code", Kind: store.AttrInt, Num: 200}, {Key: "ok", Kind: store.AttrBool}, {Key: "f", Kind: store.AttrFloat, Num: 0x3ff8000000000000}}
	a.Events = []store.SpanEvent{{Time: a.Start + 1, Name: "e"}}
	b := span(2, 1, "cart", 1, 1, link(9, 8))
	b.Status, b.StatusMsg, b.Scope = store.StatusError, "boom", "lib"
	return []store.Span{a, b}
}

func TestTempoTrace(t *testing.T) {
	f := &fake{traces: map[store.TraceID][]store.Span{tid(1): twoSpans()}}
	code, body, _ := get(t, f, "/tempo/api/traces/1", "")
	const want = `{"batches":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"web"}},{"key":"host.name","value":{"stringValue":"n1"}},{"key":"version","value":{"stringValue":"1"}}]},` +
		`"scopeSpans":[{"scope":{},"spans":[{"traceId":"00000000000000000000000000000001","spanId":"0000000000000001","name":"op1","kind":"SPAN_KIND_SERVER","startTimeUnixNano":"1000000000000","endTimeUnixNano":"1002000000000",` +
		`"attributes":[{"key":"code","value":{"intValue":"200"}},{"key":"ok","value":{"boolValue":false}},{"key":"f","value":{"doubleValue":1.5}}],"events":[{"timeUnixNano":"1000000000001","name":"e"}],"status":{}}]}]},` +
		`{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"cart"}}]},"scopeSpans":[{"scope":{"name":"lib"},"spans":[{"traceId":"00000000000000000000000000000001","spanId":"0000000000000002","parentSpanId":"0000000000000001","name":"op2","kind":"SPAN_KIND_UNSPECIFIED",` +
		`"startTimeUnixNano":"1001000000000","endTimeUnixNano":"1002000000000","links":[{"traceId":"00000000000000000000000000000009","spanId":"0000000000000008"}],"status":{"code":"STATUS_CODE_ERROR","message":"boom"}}]}]}]}`
	if code != http.StatusOK {
		t.Fatalf("code %d: %s", code, body)
	}
	if d := cmp.Diff(want, body); d != "" {
		t.Errorf("body (-want +got):\n%s", d)
	}
	if f.tenant != "acme" {
		t.Errorf("asked for tenant %q", f.tenant)
	}
	code, body, _ = get(t, f, "/tempo/api/v2/traces/00000000000000000000000000000001?start=1&end=2000", "application/json")
	if code != http.StatusOK || body != `{"trace":{"resourceSpans":`+strings.TrimPrefix(strings.TrimSuffix(want, "}"), `{"batches":`)+`},"metrics":{},"status":"COMPLETE"}` {
		t.Errorf("v2: %d %s", code, body)
	}
}

// walkFields calls f for every field of a message; it fails the test on bytes that are none.
func walkFields(t *testing.T, b []byte, f func(num protowire.Number, v []byte, n uint64)) {
	t.Helper()
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatalf("no tag in %x", b)
		}
		b = b[n:]
		switch typ {
		case protowire.BytesType:
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				t.Fatalf("field %d: no bytes", num)
			}
			f(num, v, 0)
			b = b[n:]
		case protowire.VarintType:
			v, n := protowire.ConsumeVarint(b)
			f(num, nil, v)
			b = b[n:]
		case protowire.Fixed64Type:
			v, n := protowire.ConsumeFixed64(b)
			f(num, nil, v)
			b = b[n:]
		default:
			t.Fatalf("field %d has type %d", num, typ)
		}
	}
}

func TestTempoProtobuf(t *testing.T) {
	f := &fake{traces: map[store.TraceID][]store.Span{tid(1): twoSpans()}}
	code, body, h := get(t, f, "/tempo/api/v2/traces/1", "application/protobuf, application/json;q=0.5")
	if code != http.StatusOK || h.Get("Content-Type") != "application/protobuf" {
		t.Fatalf("code %d, type %q", code, h.Get("Content-Type"))
	}
	var got []string
	resourceSpan := func(b []byte) {
		walkFields(t, b, func(num protowire.Number, v []byte, _ uint64) {
			if num != 2 {
				return
			}
			walkFields(t, v, func(num protowire.Number, v []byte, _ uint64) {
				if num != 2 {
					return
				}
				line := ""
				walkFields(t, v, func(num protowire.Number, v []byte, n uint64) {
					switch num { //nolint:exhaustive // the named numbers are limits, not fields
					case 1, 2, 4:
						line += fmt.Sprintf("%d=%s ", num, strings.TrimLeft(hex.EncodeToString(v), "0"))
					case 5:
						line += fmt.Sprintf("name=%s ", v)
					case 6, 7, 8:
						line += fmt.Sprintf("%d=%d ", num, n)
					case 15:
						line += fmt.Sprintf("status=%x", v)
					}
				})
				got = append(got, line)
			})
		})
	}
	walkFields(t, []byte(body), func(num protowire.Number, v []byte, _ uint64) {
		if num == 1 {
			walkFields(t, v, func(_ protowire.Number, v []byte, _ uint64) { resourceSpan(v) })
		}
	})
	want := []string{
		"1=1 2=1 name=op1 6=2 7=1000000000000 8=1002000000000 status=",
		"1=1 2=2 4=1 name=op2 7=1001000000000 8=1002000000000 status=1204626f6f6d1802",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("spans (-want +got):\n%s", d)
	}
	_, v1, _ := get(t, f, "/tempo/api/traces/1", "application/protobuf")
	if !strings.Contains(body, v1) {
		t.Error("v2 does not hold the message of v1")
	}
}

func TestTempoSearch(t *testing.T) {
	f := &fake{sums: []store.TraceSummary{
		{Trace: tid(7), RootService: "web", RootName: "GET /", Start: 5_000_000_001, Duration: 1_500_000_000, Spans: 3, Errors: 1, Services: []string{"web"}},
	}}
	q := "/tempo/api/search?tags=service.name%3Dweb+a%3D%22b+c%22&minDuration=10ms&maxDuration=2s&start=100&end=200&limit=5"
	code, body, _ := get(t, f, q, "")
	if want := `{"traces":[{"traceID":"00000000000000000000000000000007","rootServiceName":"web","rootTraceName":"GET /","startTimeUnixNano":"5000000001","durationMs":1500,"serviceStats":{"web":{"spanCount":3,"errorCount":1}}}],"metrics":{}}`; code != http.StatusOK || body != want {
		t.Errorf("%d %s\nwant %s", code, body, want)
	}
	want := store.SpanQuery{
		Service: "web", Attrs: map[string]string{"a": "b c"}, MinDuration: 10 * time.Millisecond, MaxDuration: 2 * time.Second,
		From: time.Unix(100, 0), To: time.Unix(200, 0), Limit: 5,
	}
	if d := cmp.Diff(want, f.asked); d != "" {
		t.Errorf("question (-want +got):\n%s", d)
	}
	if code, _, _ := get(t, f, "/tempo/api/search?q="+"%7Bname%3D%22x%22%7D&limit=999999", ""); code != http.StatusOK || f.asked.Name != "x" || f.asked.Limit != maxTraces {
		t.Errorf("q: %d %+v", code, f.asked)
	}
}

func TestTempoErrors(t *testing.T) {
	for _, c := range []struct {
		path string
		err  error
		code int
		says string
	}{
		{"/tempo/api/traces/xyz", nil, 400, "hexadecimal"},
		{"/tempo/api/traces/" + strings.Repeat("1", 33), nil, 400, "hexadecimal"},
		{"/tempo/api/traces/5", nil, 404, "not found"},
		{"/tempo/api/v2/traces/5", nil, 404, "not found"},
		{"/tempo/api/v2/traces/1?start=5000", nil, 404, "not found"},
		{"/tempo/api/traces/1", store.ErrUnavailable, 503, "unavailable"},
		{"/tempo/api/traces/1", context.DeadlineExceeded, 422, "shorter time range"},
		{"/tempo/api/traces/1", errors.New("boom"), 500, "boom"},
		{"/tempo/api/search?q=%7Bname%7D", nil, 400, "TraceQL"},
		{"/tempo/api/search?q=%7B%7D&tags=a%3Db", nil, 400, "together"},
		{"/tempo/api/search?start=x", nil, 400, "Unix seconds"},
		{"/tempo/api/search?start=99999999999999999", nil, 400, "Unix seconds"},
		{"/tempo/api/search?start=200&end=100", nil, 400, "before start"},
		{"/tempo/api/search?limit=-1", nil, 400, "positive number"},
		{"/tempo/api/search?minDuration=fast", nil, 400, "minDuration"},
		{"/tempo/api/search?minDuration=2s&maxDuration=1s", nil, 400, "no duration"},
		{"/tempo/api/search", store.ErrLimit, 422, "limit"},
		{"/tempo/api/search/tags?end=x", nil, 400, "Unix seconds"},
		{"/tempo/api/v2/search/tag/a/values?limit=x", nil, 400, "positive number"},
	} {
		f := &fake{traces: map[store.TraceID][]store.Span{tid(1): twoSpans()}, err: c.err}
		code, body, _ := get(t, f, c.path, "")
		if code != c.code || !strings.Contains(body, c.says) {
			t.Errorf("%s: %d %q, want %d and %q", c.path, code, body, c.code, c.says)
		}
	}
}

func TestTempoTags(t *testing.T) {
	for _, c := range []struct{ path, want, tag string }{
		{"/tempo/api/echo", "echo", ""},
		{"/tempo/api/search/tags?start=1&end=2", `{"tagNames":["container.id","http.route","kind","name","host.name","service.name","status"],"metrics":{}}`, ""},
		{"/tempo/api/v2/search/tags", `{"scopes":[{"name":"resource","tags":["container.id","host.name","service.name"]},{"name":"span","tags":["http.route"]},{"name":"intrinsic","tags":["duration","name","status"]}],"metrics":{}}`, ""},
		{"/tempo/api/v2/search/tags?scope=span", `{"scopes":[{"name":"span","tags":["http.route"]}],"metrics":{}}`, ""},
		{"/tempo/api/search/tag/service.name/values", `{"tagValues":["a","b"],"metrics":{}}`, "service"},
		{"/tempo/api/search/tag/a%2Fb/values", `{"tagValues":["a","b"],"metrics":{}}`, "a/b"},
		{"/tempo/api/v2/search/tag/resource.service.name/values", `{"tagValues":[{"type":"string","value":"a"},{"type":"string","value":"b"}],"metrics":{}}`, "service"},
		{"/tempo/api/v2/search/tag/.http.route/values", `{"tagValues":[{"type":"string","value":"a"},{"type":"string","value":"b"}],"metrics":{}}`, "http.route"},
		{"/tempo/api/v2/search/tag/status/values", `{"tagValues":[{"type":"keyword","value":"error"},{"type":"keyword","value":"ok"},{"type":"keyword","value":"unset"}],"metrics":{}}`, ""},
	} {
		f := &fake{}
		code, body, _ := get(t, f, c.path, "")
		if code != http.StatusOK || body != c.want || f.tag != c.tag {
			t.Errorf("%s: %d %s (tag %q)\nwant %s (tag %q)", c.path, code, body, f.tag, c.want, c.tag)
		}
	}
	code, body, _ := get(t, &fake{}, "/tempo/api/status/buildinfo", "")
	var info map[string]string
	if err := json.Unmarshal([]byte(body), &info); err != nil || code != http.StatusOK || info["version"] == "" {
		t.Errorf("buildinfo: %d %s", code, body)
	}
}

func TestServiceFollowsLinks(t *testing.T) {
	consumer := span(1, 0, "sink", 10, 1, kind(store.KindConsumer))
	f := &fake{traces: map[store.TraceID][]store.Span{}}
	for n := byte(2); n < 40; n++ { // more than are followed; every third has gone
		link(n, 5)(&consumer)
		if n%3 != 0 {
			f.traces[tid(n)] = []store.Span{span(5, 0, "p", 2, 1, in(n), kind(store.KindProducer)), span(6, 5, "p", 2, 1, in(n))}
		}
	}
	f.traces[tid(1)] = []store.Span{consumer}
	got, err := New(f).Trace(t.Context(), "acme", "1")
	if err != nil {
		t.Fatal(err)
	}
	if f.calls != 1+maxHops {
		t.Errorf("%d traces read, want %d", f.calls, 1+maxHops)
	}
	if got.Linked != 13 || len(got.Spans) != 14 || got.Spans[13].Wait != 7 { // 2 … 21 without 3, 6, … 21
		t.Errorf("linked %d, rows %d: %v", got.Linked, len(got.Spans), shape(got))
	}
	if got.Spans[0].Trace == got.ID || got.Spans[13].Trace != got.ID {
		t.Errorf("traces of rows: %s, %s", got.Spans[0].Trace, got.Spans[13].Trace)
	}
}

func TestServiceBounds(t *testing.T) {
	f := &fake{traces: map[store.TraceID][]store.Span{tid(1): large(maxSpans + 5)}}
	got, err := New(f).Trace(t.Context(), "acme", "1")
	if err != nil || len(got.Spans) != maxSpans || got.Truncated != 5 {
		t.Errorf("%d rows, %d truncated, %v", len(got.Spans), got.Truncated, err)
	}
	if _, err := New(f).Traces(t.Context(), "acme", store.SpanQuery{From: time.Unix(2, 0), To: time.Unix(1, 0)}); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("error %v, want invalid", err)
	}
	f.sums = []store.TraceSummary{{Trace: tid(3), Start: 1_500_000_000, Duration: 2_000_000_000, Spans: 2}}
	rows, err := New(f).Traces(t.Context(), "acme", store.SpanQuery{})
	if err != nil || f.asked.Limit != defaultFind || len(rows.Traces) != 1 || rows.Traces[0].Start != 1500 || rows.Traces[0].Duration != 2 || !slices.Equal(rows.Traces[0].Services, []string{}) {
		t.Errorf("%+v, limit %d, %v", rows, f.asked.Limit, err)
	}
}
