package client

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func testClient(t *testing.T, addr string, edit func(*Config)) *Client {
	t.Helper()
	cfg := Config{Addr: "unix://" + addr, Pipeline: "orders", Stage: "enrich"}
	if edit != nil {
		edit(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Latencies that do not fit stand for each other: their weights add up to what was measured.
func TestLatenciesAreThinnedEvenly(t *testing.T) {
	c := testClient(t, "/nowhere", nil)
	ts := time.Now().Add(-time.Second)
	const n = 100_000
	for i := range n {
		c.In("orders", "enrich", Record{ID: fmt.Sprint(i), Time: ts})
	}
	for range 3 {
		c.Flush(t.Context()) // and what is kept is not counted twice
	}
	v := c.cells[key{dir: "in", dst: "orders", group: "enrich", window: ts.Unix() / 60 * 60}]
	if got := uint64(len(v.latencies)) * v.stride; got < n*95/100 || got > n*105/100 || len(v.latencies) > maxLatencies {
		t.Errorf("%d latencies that stand for %d each", len(v.latencies), v.stride)
	}
	if v.n != n || v.hashed != n || v.m != 256 || len(v.ids) > maxIDs || len(v.ids) < 250 {
		t.Errorf("%d records, %d hashed, %d ids of 1 in %d", v.n, v.hashed, len(v.ids), v.m)
	}
}

func TestWhatWasGivenUpIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	c := testClient(t, path, func(cfg *Config) { cfg.Window, cfg.MaxKept = time.Second, 3 })
	for i := range 5 {
		c.Out("d", Record{ID: "x", Time: time.Unix(int64(1000+i), 0)})
	}
	c.Flush(t.Context())
	l := listen(t, path)
	c.Flush(t.Context())
	_, _, _, lines := received(t, l)
	all := strings.Join(lines, "\n")
	for _, want := range []string{"weir.audit.lost:1|c|#p:orders,st:enrich,ew:1000", "weir.audit.lost:1|c|#p:orders,st:enrich,ew:1001", "weir.audit.out:1|c|#p:orders,st:enrich,dst:d,ew:1004"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	if c.Lost() != 2 || strings.Contains(all, "weir.audit.out:1|c|#p:orders,st:enrich,dst:d,ew:1000") {
		t.Errorf("%d given up\n%s", c.Lost(), all)
	}
}

func TestBatchesFailuresAndNames(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	l := listen(t, path)
	c := testClient(t, path, func(cfg *Config) { cfg.NoLatency = true })
	at := time.Unix(1_732_334_400, 0)
	c.OutBatch("table", Record{ID: "b-1"}, Record{ID: "1", Time: at.Add(70 * time.Second)}, Record{ID: "2", Time: at})
	c.Covers("table", Record{Time: at}, 7)
	c.Failed(Record{Time: at})
	c.Retried(Record{Time: at})
	c.DeadLettered("dead,letters", Record{Time: at})
	c.Dropped("bad|field", Record{ID: "no sample of this", Time: at})
	c.Dropped("bad|field", Record{Time: at}) // one without an id: then neither fingerprint nor sample is whole
	c.Flush(t.Context())
	_, _, _, lines := received(t, l)
	all := strings.Join(lines, "\n")
	for _, want := range []string{
		"weir.audit.out:1|c|#p:orders,st:enrich,dst:table,ew:1732334400,fs:", "weir.audit.covers:8|c|#p:orders,st:enrich,dst:table,ew:1732334400,mt:",
		"weir.audit.covers:1|c|#p:orders,st:enrich,dst:table,ew:1732334460,fs:", "weir.audit.failed:1|c|", "weir.audit.retried:1|c|",
		"weir.audit.dlq:1|c|#p:orders,st:enrich,dst:dead_letters,", "weir.audit.dropped:2|c|#p:orders,st:enrich,ew:1732334400,mt:1732334400000,reason:bad_field,svc:enrich",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	if strings.Contains(all, "latency") {
		t.Error("latency was not wanted")
	}
}

func TestHeadersCarryTheOrigin(t *testing.T) {
	r := Origin("o-1")
	h := r.Headers()
	back := FromHeaders(func(n string) string { return h[n] })
	if back.ID != "o-1" || back.Time.UnixMilli() != r.Time.UnixMilli() {
		t.Errorf("%+v, was %+v", back, r)
	}
	for _, bad := range []string{"", "x", "-5", "99999999999999999999", "1e9", "9007199254740993"} {
		if r := FromHeaders(func(string) string { return bad }); !r.Time.IsZero() {
			t.Errorf("%q is taken for %s", bad, r.Time)
		}
	}
}

func TestThreeLinesAreEnough(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	l := listen(t, path)
	t.Setenv("WEIR_STATSD", "unix://"+path)
	c, err := New(Config{Pipeline: "orders", Stage: "enrich"})
	if err != nil {
		t.Fatal(err)
	}
	stop := c.Start(t.Context())
	c.In("orders", "enrich", Origin("o-1"))
	stop()
	if n, _, _, lines := received(t, l); n != 1 {
		t.Errorf("%v", lines)
	}
}
