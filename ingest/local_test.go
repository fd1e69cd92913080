package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/prometheus/model/labels"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/weirhq/weir/internal/access"
	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
	"github.com/weirhq/weir/store/local"
)

// TestLocal sends through every door into the real engine and reads it back, twice sent.
func TestLocal(t *testing.T) {
	set := metrics.NewSet()
	log := slog.New(slog.DiscardHandler)
	cfg := local.DefaultConfig()
	cfg.Dir = t.TempDir()
	engine, err := local.Open(t.Context(), cfg, log, set)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- engine.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	r := &rig{t: t, set: set, in: New(DefaultConfig(), engine, log, set)}
	g, err := access.New(access.DefaultConfig(), log, set)
	if err != nil {
		t.Fatal(err)
	}
	if r.h, err = g.Handler(r.in.Routes()); err != nil {
		t.Fatal(err)
	}

	at := time.Now().Truncate(time.Second)
	tr := tracesOf(10, 2)
	for _, s := range tr.Traces().ResourceSpans().At(0).ScopeSpans().At(0).Spans().All() {
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(at))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(at.Add(time.Second)))
	}
	c := cellAt(0, thisMinute())
	for range 2 {
		if w := r.write2(request2(t, 10, 0, at.UnixMilli())); w.Code != 204 {
			t.Fatalf("write: %d %s", w.Code, w.Body)
		}
		if w := r.post("/v1/traces", marshal(t, tr), "Content-Type", "application/x-protobuf"); w.Code != 200 {
			t.Fatalf("traces: %d %s", w.Code, w.Body)
		}
		if w := r.post("/v1/metrics", marshal(t, pmetricotlp.NewExportRequestFromMetrics(metricsOf(at.Add(-time.Minute)))), "Content-Type", "application/x-protobuf"); w.Code != 200 {
			t.Fatalf("metrics: %d %s", w.Code, w.Body)
		}
		if w := r.post("/api/v1/audit", batchJSON(t, cell.Batch{Auditor: cell.Auditor{Node: "n1", Epoch: 1, Seq: 1, At: at.UnixMilli()}, Cells: []cell.Cell{c}})); w.Code != 204 {
			t.Fatalf("audit: %d %s", w.Code, w.Body)
		}
	}
	for door, want := range map[string][3]int{"remote_write": {20, 20, 0}, "otlp_traces": {20, 16, 4}, "otlp_metrics": {18, 14, 4}, "audit": {2, 2, 0}} {
		if rec, st, dr := r.books(door); [3]int{rec, st, dr} != want {
			t.Errorf("%s: received %d stored %d dropped %d, want %v", door, rec, st, dr, want)
		}
	}

	q, err := engine.Metrics().Querier(store.DefaultTenant, 0, at.UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = q.Close() }()
	count := map[string]int{}
	ss := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchEqual, "node", "n1"))
	for ss.Next() {
		it := ss.At().Iterator(nil)
		for it.Next() != 0 {
			count[ss.At().Labels().Get("__name__")]++
		}
	}
	if err := ss.Err(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"m": 10, "queue_length": 1, "requests_bytes_total": 1, "latency_seconds_bucket": 9, "size": 1, "age": 1} {
		if count[name] != want {
			t.Errorf("%s: %d samples in the store, want %d (%v)", name, count[name], want, count)
		}
	}
	spans := 0
	for i := range 10 {
		got, err := engine.Spans().Trace(t.Context(), store.DefaultTenant, store.TraceID{1, byte(i)})
		if err == nil {
			spans += len(got)
		}
	}
	if spans != 8 {
		t.Errorf("%d spans in the store, want 8", spans)
	}
	cells, err := engine.Ledger().Cells(t.Context(), store.DefaultTenant, store.CellQuery{Pipeline: "orders"})
	if err != nil || len(cells) != 1 || cells[0] != c {
		t.Errorf("cells %+v %v", cells, err)
	}

	// Sequence numbers live through the real catalog.
	hdr := func(n int) []string {
		return []string{"Weir-Spool", "s", "Weir-Node", "n1", "Weir-Sequence", fmt.Sprint(n)}
	}
	r.write2(request2(t, 1, 0, at.UnixMilli()), hdr(1)...)
	r.write2(request2(t, 1, 0, at.UnixMilli()), hdr(4)...)
	if err := r.in.seq.saveAll(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	again := newSequences(DefaultConfig(), engine, log)
	again.put("s", 5, 5)
	if s := again.one(t); s.Gaps != 2 || s.Unverified != 0 {
		t.Errorf("%+v", s)
	}
}
