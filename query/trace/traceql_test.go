package trace

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/store"
)

func TestParseTraceQL(t *testing.T) {
	ok := func(q string, want store.SpanQuery) {
		t.Helper()
		got, err := ParseTraceQL(q)
		if err != nil {
			t.Errorf("%s: %v", q, err)
			return
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", q, d)
		}
	}
	bad := func(q, says string) {
		t.Helper()
		_, err := ParseTraceQL(q)
		if !errors.Is(err, store.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error %v, want one that says %q", q, err, says)
		}
	}
	ok(`{}`, store.SpanQuery{})
	ok(` { } `, store.SpanQuery{})
	ok(`{ resource.service.name = "x" && name = "y" && status = error && duration > 100ms && .attr = "v" }`, store.SpanQuery{
		Service: "x", Name: "y", Status: store.StatusError, MinDuration: 100*time.Millisecond + 1, Attrs: map[string]string{"attr": "v"},
	})
	ok(`{resource.service.name="x"&&duration>=1.5s&&duration<2s}`, store.SpanQuery{Service: "x", MinDuration: 1500 * time.Millisecond, MaxDuration: 2*time.Second - 1})
	ok(`{ span.http.status_code = 500 && resource.host.name = "n1" && .container.id = "c" }`, store.SpanQuery{Attrs: map[string]string{"http.status_code": "500", "node": "n1", "container": "c"}})
	ok("{ span.\"odd key\" = `a\\b` && .ok = true && .f = -1.5 }", store.SpanQuery{Attrs: map[string]string{"odd key": `a\b`, "ok": "true", "f": "-1.5"}})
	ok(`{ name = "a \"quoted\" }" }`, store.SpanQuery{Name: `a "quoted" }`})
	ok(`{ span:name = "a" && span:status = ok && span:duration = 5ms }`, store.SpanQuery{Name: "a", Status: store.StatusOK, MinDuration: 5 * time.Millisecond, MaxDuration: 5 * time.Millisecond})

	bad(``, `expected "{"`)
	bad(`name = "x"`, `expected "{"`)
	bad(`{ name = "x" `, `expected "&&" or "}"`)
	bad(`{ name = "x" || name = "y" }`, "joined by &&")
	bad(`{ name =~ "x.*" }`, "=~ is not supported")
	bad(`{ name != "x" }`, "!= is not supported")
	bad(`{ kind = server }`, "kind is not supported")
	bad(`{ traceDuration > 1s }`, "traceDuration is not supported")
	bad(`{ status = unset }`, "use error or ok")
	bad(`{ duration > 10 }`, "write it as 100ms")
	bad(`{ duration < 0s }`, "too small")
	bad(`{ duration > 2s && duration < 1s }`, "no duration")
	bad(`{ name = "x" && name = "y" }`, "at once")
	bad(`{ .a = "x" && span.a = "y" }`, "at once")
	bad(`{ .a = nil }`, "nil is not supported")
	bad(`{ name = "x" } | rate()`, "behind the selector")
	bad(`{ name = "x" } >> { name = "y" }`, "behind the selector")
	bad(`{ name = "x`, "closing quote")
	bad(`{ = "x" }`, "expected a field")
	bad(`{ name "x" }`, "expected =")
	bad(`{ name = }`, "expected a value")
	bad(`{ name = "" }`, "name a value")
	bad("{"+strings.Repeat(`.a="x"&&`, 40)+`.a="x"}`, "more than 32 conditions")
}

func TestParseTags(t *testing.T) {
	ok := func(q string, want store.SpanQuery) {
		t.Helper()
		got, err := ParseTags(q)
		if err != nil {
			t.Errorf("%s: %v", q, err)
			return
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", q, d)
		}
	}
	ok("", store.SpanQuery{})
	ok(`service.name=cart http.status_code=500  name="GET /x y" error=true`, store.SpanQuery{
		Service: "cart", Name: "GET /x y", Status: store.StatusError, Attrs: map[string]string{"http.status_code": "500"},
	})
	ok(`host.name=n1 error=false`, store.SpanQuery{Attrs: map[string]string{"node": "n1", "error": "false"}})
	for _, q := range []string{"novalue", "=x", `a="open`, `a b=c`, `service.name=a service.name=b`} {
		if _, err := ParseTags(q); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%s: error %v, want invalid", q, err)
		}
	}
}

func FuzzParseTraceQL(f *testing.F) {
	for _, s := range []string{`{}`, `{ resource.service.name = "x" && status = error }`, `{.a="\x` + "`", `{ duration > 1s } | x`, "{span.\"a\\"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q, err := ParseTraceQL(s)
		if err != nil && !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%q: error %v is not of kind invalid", s, err)
		}
		if err == nil && q.MaxDuration > 0 && q.MaxDuration < q.MinDuration {
			t.Errorf("%q: contradictory durations %+v", s, q)
		}
	})
}

func FuzzParseTags(f *testing.F) {
	for _, s := range []string{"", `a=b c="d e"`, `a="\"`, "a=\x00\xff", "===", `error=true`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := ParseTags(s); err != nil && !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%q: error %v is not of kind invalid", s, err)
		}
	})
}
