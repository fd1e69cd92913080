package ingest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/internal/lease"
	"github.com/weirhq/weir/store"
)

func TestLeases(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	l := newLeases(now, metrics.NewSet())
	ask := func(t *testing.T, tenant store.Tenant, node string, epoch, ttl int64, aside bool) lease.Answer {
		t.Helper()
		a, err := l.ask(now, tenant, lease.Request{System: "kafka", Cluster: "c", Node: node, Epoch: epoch, TTL: ttl, Aside: aside})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	is := func(t *testing.T, a lease.Answer, held bool, node string) lease.Answer {
		t.Helper()
		if a.Held != held || a.Node != node {
			t.Fatalf("answer %+v, want held %v, node %q", a, held, node)
		}
		return a
	}
	first := is(t, ask(t, "x", "a", 1, 30_000, false), true, "a")
	if first.Fence <= uint64(now.UnixMilli()) {
		t.Errorf("fence %d does not exceed those of an earlier run of the server", first.Fence)
	}
	is(t, ask(t, "x", "b", 2, 30_000, false), false, "a")
	is(t, ask(t, "y", "b", 2, 30_000, false), true, "b") // another tenant's broker is another broker
	now = now.Add(29 * time.Second)
	if a := is(t, ask(t, "x", "a", 1, 30_000, false), true, "a"); a.Fence != first.Fence || a.Expires != now.Add(30*time.Second).UnixMilli() {
		t.Errorf("renewed: %+v, want the same fence and 30 s more", a)
	}
	now = now.Add(30 * time.Second) // ended
	if a := is(t, ask(t, "x", "b", 2, 30_000, false), true, "b"); a.Fence <= first.Fence {
		t.Errorf("fence %d did not grow with the holder", a.Fence)
	}
	is(t, ask(t, "x", "a", 1, 30_000, false), false, "b")
	is(t, ask(t, "x", "a", 1, 0, false), false, "b")          // giving back what one does not hold does nothing
	is(t, ask(t, "x", "b", 3, 30_000, false), true, "b")      // started again
	is(t, ask(t, "x", "b", 2, 30_000, false), false, "b")     // its earlier life
	is(t, ask(t, "x", "b", 3, 30_000, true), false, "")       // steps aside
	is(t, ask(t, "x", "b", 3, 30_000, true), false, "")       // still
	is(t, ask(t, "x", "a", 1, 30_000, false), true, "a")      // somebody else may
	is(t, ask(t, "x", "b", 3, 30_000, true), false, "a")      // and is told
	is(t, ask(t, "x", "a", 1, 0, false), false, "")           // given back
	is(t, ask(t, "x", "b", 3, 30_000, false), true, "b")      // at once
	if _, err := l.ask(now, "x", lease.Request{System: "kafka", Cluster: "c", Node: "a", Epoch: 1, TTL: 1 << 50}); err == nil {
		t.Error("a lease for ever was given")
	}
}

func TestLeasesAreBounded(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	l := newLeases(now, metrics.NewSet())
	ask := func(i int) error {
		_, err := l.ask(now, "x", lease.Request{System: "kafka", Cluster: fmt.Sprint(i), Node: "a", Epoch: 1, TTL: 1000})
		return err
	}
	for i := range maxLeases {
		if err := ask(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := ask(maxLeases); refusalOf(err).code != http.StatusTooManyRequests {
		t.Errorf("beyond the bound: %v, want 429", err)
	}
	now = now.Add(time.Second)
	if err := ask(maxLeases); err != nil {
		t.Errorf("after all have ended: %v", err)
	}
	if n := len(l.by["x"]); n != 1 {
		t.Errorf("%d leases are kept, want 1", n)
	}
}

func TestLeaseDoor(t *testing.T) {
	in := &Ingest{leases: newLeases(time.Now(), metrics.NewSet())}
	for _, c := range []struct {
		body string
		code int
		want string
	}{
		{`{"system":"kafka","cluster":"c","node":"a","epoch":1,"ttl_ms":30000}`, 200, `"held":true`},
		{`{"system":"kafka","cluster":"c","node":"b","epoch":1,"ttl_ms":30000}`, 200, `"held":false,"node":"a"`},
		{`{"system":"kafka","cluster":"c","epoch":1,"ttl_ms":30000}`, 400, "node is missing"},
		{`{"system":"kafka","cluster":"c","node":"a","ttl_ms":30000}`, 400, "epoch 0"},
		{`{"system":`, 400, "cannot read the request"},
		{`{"node":"` + strings.Repeat("x", maxLeaseBody) + `"}`, 400, "too large"},
	} {
		w := httptest.NewRecorder()
		in.brokerLease(w, httptest.NewRequest(http.MethodPost, "/api/v1/broker-leases", strings.NewReader(c.body)))
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%.80s: %d %s, want %d %q", c.body, w.Code, w.Body, c.code, c.want)
		}
	}
}
