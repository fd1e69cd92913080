package ingest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// tracesOf makes n spans, of which the first bad ones have no trace id.
func tracesOf(n, bad int) ptraceotlp.ExportRequest {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "api")
	rs.Resource().Attributes().PutStr("host.name", "n1")
	rs.Resource().Attributes().PutStr("container.id", "c1")
	ss := rs.ScopeSpans().AppendEmpty()
	for i := range n {
		s := ss.Spans().AppendEmpty()
		if i >= bad {
			s.SetTraceID(pcommon.TraceID{1, byte(i), byte(i >> 8)})
		}
		s.SetSpanID(pcommon.SpanID{2, byte(i), byte(i >> 8)})
		s.SetName("get")
		s.SetStartTimestamp(pcommon.Timestamp(time.Unix(1_700_000_000, 0).UnixNano()))
		s.SetEndTimestamp(s.StartTimestamp() + 1000)
		s.Attributes().PutInt("i", int64(i))
	}
	return ptraceotlp.NewExportRequestFromTraces(td)
}

func marshal(t *testing.T, m interface{ MarshalProto() ([]byte, error) }) []byte {
	t.Helper()
	b, err := m.MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTraces(t *testing.T) {
	r := newRig(t)
	req := tracesOf(5, 2)
	w := r.post("/v1/traces", marshal(t, req), "Content-Type", "application/x-protobuf")
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	res := ptraceotlp.NewExportResponse()
	if err := res.UnmarshalProto(w.Body.Bytes()); err != nil {
		t.Fatal(err)
	}
	if ps := res.PartialSuccess(); ps.RejectedSpans() != 2 || !strings.Contains(ps.ErrorMessage(), "bad_trace_id") {
		t.Errorf("partial success %d %q", ps.RejectedSpans(), ps.ErrorMessage())
	}
	sp := r.e.spans[store.SpanID{2, 3}]
	if sp.Service != "api" || sp.Node != "n1" || sp.Container != "c1" || sp.Name != "get" || sp.Duration != 1000 || len(sp.Attrs) != 1 || sp.Attrs[0].Num != 3 {
		t.Errorf("stored %+v", sp)
	}
	js, err := req.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	w = r.post("/v1/traces", js, "Content-Type", "application/json")
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"rejectedSpans":"2"`) {
		t.Errorf("JSON: %d %s", w.Code, w.Body)
	}
	for _, enc := range []string{"zstd", "gzip"} {
		b := zstdOf(t, marshal(t, req))
		if enc == "gzip" {
			b = gzipOf(t, marshal(t, req))
		}
		if w := r.post("/v1/traces", b, "Content-Type", "application/x-protobuf", "Content-Encoding", enc); w.Code != 200 {
			t.Errorf("%s: %d %s", enc, w.Code, w.Body)
		}
	}
	if w := r.post("/v1/traces", []byte{0x0a, 0x7f}, "Content-Type", "application/x-protobuf"); w.Code != 400 || !strings.Contains(w.Body.String(), "byte 2") {
		t.Errorf("cut off: %d %q", w.Code, w.Body)
	}
	if rec, st, dr := r.books("otlp_traces"); rec != 20 || st != 12 || dr != 8 {
		t.Errorf("received %d stored %d dropped %d", rec, st, dr)
	}
	r.e.fail = store.ErrUnavailable
	if w := r.post("/v1/traces", marshal(t, req), "Content-Type", "application/x-protobuf"); w.Code != 503 || w.Header().Get("Retry-After") != "5" {
		t.Errorf("store away: %d %v", w.Code, w.Header())
	}
	r.books("otlp_traces")
}

// Spans that are stored are joined, also over requests that come one after the other; those that are not stored are not.
func TestTracesAreJoined(t *testing.T) {
	r := newRig(t)
	at := time.Now().Add(-time.Second)
	span := func(service string, kind ptrace.SpanKind, id byte, change func(ptrace.Span)) ptraceotlp.ExportRequest {
		td := ptrace.NewTraces()
		rs := td.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr("service.name", service)
		s := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
		s.SetTraceID(pcommon.TraceID{id})
		s.SetSpanID(pcommon.SpanID{id})
		s.SetKind(kind)
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(at))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(at.Add(time.Millisecond)))
		s.Attributes().PutStr("messaging.destination.name", "orders")
		if change != nil {
			change(s)
		}
		return ptraceotlp.NewExportRequestFromTraces(td)
	}
	link := func(s ptrace.Span) {
		l := s.Links().AppendEmpty()
		l.SetTraceID(pcommon.TraceID{1})
		l.SetSpanID(pcommon.SpanID{1})
	}
	lost := marshal(t, span("shop", ptrace.SpanKindProducer, 9, nil))
	r.e.fail = store.ErrUnavailable
	r.post("/v1/traces", lost, "Content-Type", "application/x-protobuf")
	r.e.fail = nil
	for range 2 {
		r.post("/v1/traces", marshal(t, span("shop", ptrace.SpanKindProducer, 1, nil)), "Content-Type", "application/x-protobuf")
		js, err := span("enrich", ptrace.SpanKindConsumer, 2, link).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		r.post("/v1/traces", js, "Content-Type", "application/json")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.in.Run(ctx); err != nil { // the last words
		t.Fatal(err)
	}
	var e cell.PairCounts
	for i := range r.e.pairs {
		if p := &r.e.pairs[i]; p.Kind == cell.PairEdge {
			e.Add(&p.PairCounts)
		}
	}
	if e.Up != 1 || e.Matched != 1 || len(r.e.pairs) != 4 {
		t.Errorf("%+v of %d sums: %+v", e, len(r.e.pairs), r.e.pairs)
	}
}

// metricsOf makes points of every kind; see the counts in TestMetrics.
func metricsOf(at time.Time) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "api")
	rm.Resource().Attributes().PutStr("host.name", "n1")
	ms := rm.ScopeMetrics().AppendEmpty().Metrics()
	ts := pcommon.NewTimestampFromTime(at)

	g := ms.AppendEmpty()
	g.SetName("queue.length")
	p := g.SetEmptyGauge().DataPoints().AppendEmpty()
	p.SetIntValue(7)
	p.SetTimestamp(ts)
	p.Attributes().PutStr("queue.name", "a")

	c := ms.AppendEmpty()
	c.SetName("requests")
	c.SetUnit("By")
	c.SetEmptySum().SetIsMonotonic(true)
	c.Sum().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	p = c.Sum().DataPoints().AppendEmpty()
	p.SetDoubleValue(3)
	p.SetTimestamp(ts)

	d := ms.AppendEmpty()
	d.SetName("deltas")
	d.SetEmptySum().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	d.Sum().DataPoints().AppendEmpty().SetTimestamp(ts)
	d.Sum().DataPoints().AppendEmpty().SetTimestamp(ts)

	h := ms.AppendEmpty()
	h.SetName("latency")
	h.SetUnit("s")
	h.SetEmptyHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	for i := range 3 {
		hp := h.Histogram().DataPoints().AppendEmpty()
		hp.SetTimestamp(pcommon.NewTimestampFromTime(at.Add(time.Duration(i) * time.Second)))
		hp.SetCount(6)
		hp.SetSum(2.5)
		hp.ExplicitBounds().FromRaw([]float64{0.1, 1})
		hp.BucketCounts().FromRaw([]uint64{1, 2, 3})
	}

	e := ms.AppendEmpty()
	e.SetName("size")
	e.SetEmptyExponentialHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	ep := e.ExponentialHistogram().DataPoints().AppendEmpty()
	ep.SetTimestamp(ts)
	ep.SetCount(6)
	ep.SetSum(11)
	ep.SetScale(1)
	ep.Positive().SetOffset(-1)
	ep.Positive().BucketCounts().FromRaw([]uint64{1, 0, 5})

	s := ms.AppendEmpty()
	s.SetName("age")
	sp := s.SetEmptySummary().DataPoints().AppendEmpty()
	sp.SetTimestamp(ts)
	sp.SetCount(2)
	sp.SetSum(3)
	q := sp.QuantileValues().AppendEmpty()
	q.SetQuantile(0.5)
	q.SetValue(1.5)
	return md
}

func TestMetrics(t *testing.T) {
	r := newRig(t)
	at := time.UnixMilli(1_700_000_000_000)
	post := func() pmetricotlp.ExportPartialSuccess {
		w := r.post("/v1/metrics", marshal(t, pmetricotlp.NewExportRequestFromMetrics(metricsOf(at))), "Content-Type", "application/x-protobuf")
		if w.Code != 200 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		res := pmetricotlp.NewExportResponse()
		if err := res.UnmarshalProto(w.Body.Bytes()); err != nil {
			t.Fatal(err)
		}
		return res.PartialSuccess()
	}
	if ps := post(); ps.RejectedDataPoints() != 2 || !strings.Contains(ps.ErrorMessage(), "cumulative") {
		t.Errorf("partial success %d %q", ps.RejectedDataPoints(), ps.ErrorMessage())
	}
	for key, want := range map[string]float64{
		`{__name__="queue_length", node="n1", queue_name="a", service="api"}`:      7,
		`{__name__="requests_bytes_total", node="n1", service="api"}`:              3,
		`{__name__="latency_seconds_count", node="n1", service="api"}`:             6,
		`{__name__="latency_seconds_sum", node="n1", service="api"}`:               2.5,
		`{__name__="latency_seconds_bucket", le="0.1", node="n1", service="api"}`:  1,
		`{__name__="latency_seconds_bucket", le="1", node="n1", service="api"}`:    3,
		`{__name__="latency_seconds_bucket", le="+Inf", node="n1", service="api"}`: 6,
		`{__name__="size", node="n1", service="api"}`:                              11,
		`{__name__="age", node="n1", quantile="0.5", service="api"}`:               1.5,
		`{__name__="age_count", node="n1", service="api"}`:                         2,
	} {
		if got, ok := r.e.samples["default"+key][at.UnixMilli()]; !ok || got != want {
			t.Errorf("%s: %v, want %v", key, got, want)
		}
	}
	if rec, st, dr := r.books("otlp_metrics"); rec != 9 || st != 7 || dr != 2 {
		t.Errorf("received %d stored %d dropped %d", rec, st, dr)
	}
	// One of the three histogram points is too old: it alone is dropped, whole.
	r.e.rejectT = at.UnixMilli() + 1000
	if ps := post(); ps.RejectedDataPoints() != 3 {
		t.Errorf("rejected %d %q", ps.RejectedDataPoints(), ps.ErrorMessage())
	}
	if rec, st, dr := r.books("otlp_metrics"); rec != 18 || st != 13 || dr != 5 {
		t.Errorf("received %d stored %d dropped %d", rec, st, dr)
	}
}

func auditMetrics(at time.Time, window int64, n int64) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "enrich")
	rm.Resource().Attributes().PutStr("service.instance.id", "i1")
	rm.Resource().Attributes().PutStr("host.name", "n1")
	ms := rm.ScopeMetrics().AppendEmpty().Metrics()
	point := func(p pmetric.NumberDataPoint, v int64) {
		p.SetIntValue(v)
		p.SetStartTimestamp(pcommon.NewTimestampFromTime(at.Add(-time.Minute)))
		p.SetTimestamp(pcommon.NewTimestampFromTime(at))
		a := p.Attributes()
		a.PutStr("weir.pipeline", "orders")
		a.PutStr("weir.stage", "enrich")
		a.PutStr("weir.dir", "in")
		a.PutStr("weir.group", "g")
		a.PutInt("weir.window", window)
	}
	m := ms.AppendEmpty()
	m.SetName("weir.audit.messages")
	m.SetEmptySum().SetIsMonotonic(true)
	m.Sum().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	point(m.Sum().DataPoints().AppendEmpty(), n)
	for i, name := range []string{"weir.audit.fp_sum", "weir.audit.fp_xor"} {
		f := ms.AppendEmpty()
		f.SetName(name)
		point(f.SetEmptyGauge().DataPoints().AppendEmpty(), -int64(i+1))
	}
	return md
}

func TestAuditOverOTLP(t *testing.T) {
	r := newRig(t)
	at := time.Now().Truncate(time.Millisecond)
	window := at.Unix() / 60 * 60
	post := func(md pmetric.Metrics) string {
		w := r.post("/v1/metrics", marshal(t, pmetricotlp.NewExportRequestFromMetrics(md)), "Content-Type", "application/x-protobuf")
		if w.Code != 200 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		return w.Body.String()
	}
	post(auditMetrics(at, window, 5))
	if len(r.e.cells) != 1 {
		t.Fatalf("cells %+v", r.e.cells)
	}
	want := cell.Cell{
		Key:      cell.Key{Pipeline: "orders", Stage: "enrich", Dir: cell.In, Group: "g", Window: window, Width: 60},
		Instance: "n1/i1", Service: "enrich", Node: "n1", Epoch: at.Add(-time.Minute).UnixMilli(), Seq: uint64(at.UnixMilli()),
		Counts: cell.Counts{N: 5, Hashed: 5, FpSum: 1<<64 - 1, FpXor: 1<<64 - 2},
	}
	if r.e.cells[0] != want {
		t.Errorf("got  %+v\nwant %+v", r.e.cells[0], want)
	}
	if msg := post(auditMetrics(at, window+1, 5)); !strings.Contains(msg, "bad_window") {
		t.Errorf("crooked window: %q", msg)
	}
	if len(r.e.samples) != 0 {
		t.Errorf("audit points became series: %v", r.e.samples)
	}
	if rec, st, dr := r.books("otlp_metrics"); rec != 6 || st != 3 || dr != 3 {
		t.Errorf("received %d stored %d dropped %d", rec, st, dr)
	}
}

// Ids come with their count; latencies become a cell of their own, so that no snapshot takes the place of a count.
func TestAuditSamplesOverOTLP(t *testing.T) {
	r := newRig(t)
	at := time.Now().Truncate(time.Millisecond)
	window := at.Unix() / 60 * 60
	post := func(ids string, bound float64) string {
		md := auditMetrics(at, window, 5)
		ms := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
		count := ms.At(0).Sum().DataPoints().At(0)
		count.Attributes().PutStr("weir.ids", ids)
		m := ms.AppendEmpty()
		m.SetName("weir.audit.latency")
		m.SetUnit("s")
		m.SetEmptyHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		p := m.Histogram().DataPoints().AppendEmpty()
		p.SetStartTimestamp(count.StartTimestamp())
		p.SetTimestamp(count.Timestamp())
		count.Attributes().CopyTo(p.Attributes())
		p.ExplicitBounds().FromRaw([]float64{bound, 0.1})
		p.BucketCounts().FromRaw([]uint64{0, 5, 0})
		r.e.cells = nil
		w := r.post("/v1/metrics", marshal(t, pmetricotlp.NewExportRequestFromMetrics(md)), "Content-Type", "application/x-protobuf")
		return w.Body.String()
	}
	post("0000000000000040*2+0000000000000080", 0.01)
	if len(r.e.cells) != 2 {
		t.Fatalf("%d cells", len(r.e.cells))
	}
	c, l := r.e.cells[0], r.e.cells[1]
	if c.N != 5 || c.IDs == nil || c.IDs.Of != 5 || len(c.IDs.IDs) != 2 || c.Latency != nil {
		t.Errorf("%+v, ids %+v", c, c.IDs)
	}
	if l.N != 0 || l.Instance == c.Instance || l.Latency == nil || l.Latency.Count != 5 || math.Abs(l.Latency.Quantile(0.5)-31.6) > 0.3 {
		t.Errorf("%+v, latency %+v", l, l.Latency)
	}
	if msg := post("nonsense", math.NaN()); !strings.Contains(msg, "bad_audit") || len(r.e.cells) != 1 || r.e.cells[0].N != 5 || r.e.cells[0].IDs != nil {
		t.Errorf("%q: %+v", msg, r.e.cells)
	}
	if n := r.set.GetOrCreateCounter(`weir_ingest_samples_left_out_total{door="otlp_metrics",kind="ids"}`).Get(); n != 1 {
		t.Errorf("%d samples left out", n)
	}
	r.books("otlp_metrics")
}

// TestOTLPBooks is the equation of both OTLP doors under random good and bad input.
func TestOTLPBooks(t *testing.T) {
	r := newRig(t)
	rnd := rand.New(rand.NewPCG(1, 3))
	for range 200 {
		r.e.fail, r.e.rejectT = nil, 0
		switch rnd.IntN(4) {
		case 0:
			r.e.fail = store.ErrUnavailable
		case 1:
			r.e.rejectT = 1_700_000_001_000
		}
		n := 1 + rnd.IntN(10)
		tr := marshal(t, tracesOf(n, rnd.IntN(n)))
		ms := marshal(t, pmetricotlp.NewExportRequestFromMetrics(metricsOf(time.Unix(1_700_000_000, 0))))
		if rnd.IntN(3) == 0 {
			tr[rnd.IntN(len(tr))] ^= 1 << rnd.IntN(8)
			ms[rnd.IntN(len(ms))] ^= 1 << rnd.IntN(8)
		}
		r.post("/v1/traces", tr, "Content-Type", "application/x-protobuf")
		r.post("/v1/metrics", ms, "Content-Type", "application/x-protobuf")
	}
	for _, door := range []string{"otlp_traces", "otlp_metrics"} {
		if rec, st, dr := r.books(door); rec == 0 || st == 0 || dr == 0 {
			t.Errorf("%s: received %d stored %d dropped %d: a case did not occur", door, rec, st, dr)
		}
	}
}

func TestMetricBomb(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxSamples = 1000 })
	md := pmetric.NewMetrics()
	ps := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty().SetEmptyGauge().DataPoints()
	for range 2000 {
		ps.AppendEmpty()
	}
	w := r.post("/v1/metrics", marshal(t, pmetricotlp.NewExportRequestFromMetrics(md)), "Content-Type", "application/x-protobuf")
	if w.Code != 400 || !strings.Contains(w.Body.String(), "more than 1000") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestGRPC(t *testing.T) {
	r := newRig(t)
	srv := grpc.NewServer(r.in.ServerOptions()...)
	r.in.RegisterGRPC(srv)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	defer func() {
		srv.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	res, err := ptraceotlp.NewGRPCClient(conn).Export(ctx, tracesOf(4, 1), grpc.UseCompressor("gzip"))
	if err != nil || res.PartialSuccess().RejectedSpans() != 1 {
		t.Errorf("traces: %v %d", err, res.PartialSuccess().RejectedSpans())
	}
	mres, err := pmetricotlp.NewGRPCClient(conn).Export(ctx, pmetricotlp.NewExportRequestFromMetrics(metricsOf(time.Unix(1_700_000_000, 0))))
	if err != nil || mres.PartialSuccess().RejectedDataPoints() != 2 {
		t.Errorf("metrics: %v %d", err, mres.PartialSuccess().RejectedDataPoints())
	}
	r.e.fail = fmt.Errorf("away: %w", store.ErrUnavailable)
	if _, err = ptraceotlp.NewGRPCClient(conn).Export(ctx, tracesOf(1, 0)); status.Code(err) != codes.Unavailable || len(status.Convert(err).Details()) != 1 {
		t.Errorf("store away: %v", err)
	}
	r.books("otlp_traces")
	r.books("otlp_metrics")
}
