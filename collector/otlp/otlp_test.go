package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/weirhq/weir/collector/signal"
	"github.com/weirhq/weir/internal/cell"
)

// appended is one call of Append.
type appended struct {
	kind  signal.Kind
	items int
	body  []byte
}

type fakeOutput struct {
	mu    sync.Mutex
	calls []appended
	fail  error
	hold  chan struct{} // when set, Append waits for it
	enter chan struct{}
}

func (o *fakeOutput) Append(_ context.Context, k signal.Kind, items int, body []byte) error {
	if o.hold != nil {
		o.enter <- struct{}{}
		<-o.hold
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fail != nil {
		return o.fail
	}
	o.calls = append(o.calls, appended{k, items, bytes.Clone(body)})
	return nil
}

func (o *fakeOutput) setFail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fail = err
}

func (o *fakeOutput) all() []appended {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]appended(nil), o.calls...)
}

type setCall struct {
	Inc   Increment
	Epoch int64
	Delta bool
}

type fakeAudit struct {
	mu    sync.Mutex
	calls []setCall
	fail  error
}

func (a *fakeAudit) Add(inc Increment) error { return a.put(setCall{inc, 0, true}) }

func (a *fakeAudit) Set(inc Increment, epoch int64) (uint64, error) {
	return inc.Counts.N, a.put(setCall{inc, epoch, false})
}

func (a *fakeAudit) Seen(Life) error { return nil }

func (a *fakeAudit) Folded(Life, uint64, time.Time, time.Time) error { return nil }

func (a *fakeAudit) put(c setCall) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fail != nil {
		return a.fail
	}
	a.calls = append(a.calls, c)
	return nil
}

type fakeOrigin struct{}

func (fakeOrigin) OTLP(pid int32, peer net.Addr) (service, container string) {
	if peer == nil || !strings.HasPrefix(peer.String(), "127.0.0.1") {
		return "", ""
	}
	return fmt.Sprintf("svc-%d", pid), "c0ffee"
}

// addrs catches the addresses the receiver says it listens on.
type addrs struct {
	slog.Handler
	found chan string
}

func (a addrs) Enabled(context.Context, slog.Level) bool { return true }
func (a addrs) WithAttrs([]slog.Attr) slog.Handler       { return a }

func (a addrs) Handle(_ context.Context, r slog.Record) error {
	var says, endpoint string
	r.Attrs(func(at slog.Attr) bool {
		switch at.Key {
		case "says":
			says = at.Value.String()
		case "endpoint":
			endpoint = at.Value.String()
		}
		return true
	})
	if strings.HasPrefix(says, "Starting") {
		a.found <- endpoint
	}
	return nil
}

type rig struct {
	out        *fakeOutput
	audit      *fakeAudit
	set        *metrics.Set
	grpc, http string
	conn       *grpc.ClientConn
}

func start(t *testing.T, change func(*Config, *fakeOutput)) *rig {
	t.Helper()
	r := &rig{out: &fakeOutput{}, audit: &fakeAudit{}, set: metrics.NewSet()}
	cfg := DefaultConfig()
	cfg.GRPC, cfg.HTTP = "127.0.0.1:0", "127.0.0.1:0"
	if change != nil {
		change(&cfg, r.out)
	}
	a := addrs{slog.DiscardHandler, make(chan string, 2)}
	rec, err := New(cfg, "n1", r.out, r.audit, fakeOrigin{}, r.set, slog.New(a))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- rec.Run(ctx) }()
	r.grpc, r.http = <-a.found, <-a.found
	r.conn, err = grpc.NewClient(r.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.conn.Close()
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run does not return")
		}
	})
	return r
}

func (r *rig) count(name string) int { return int(r.set.GetOrCreateCounter(name).Get()) }

// equation checks received = accepted + dropped of a door and returns the three.
func (r *rig) equation(t *testing.T, name string) (received, accepted, dropped int) {
	t.Helper()
	var b bytes.Buffer
	r.set.WritePrometheus(&b)
	for line := range strings.Lines(b.String()) {
		if !strings.Contains(line, `door="`+name+`"`) {
			continue
		}
		var n int
		if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &n); err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasPrefix(line, "weir_collector_received_total"):
			received += n
		case strings.HasPrefix(line, "weir_collector_accepted_total"):
			accepted += n
		case strings.HasPrefix(line, "weir_collector_dropped_total"):
			dropped += n
		}
	}
	if received != accepted+dropped {
		t.Errorf("door %s: received %d != accepted %d + dropped %d", name, received, accepted, dropped)
	}
	return received, accepted, dropped
}

func spans(n int, attrs map[string]any) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	if err := rs.Resource().Attributes().FromRaw(attrs); err != nil {
		panic(err)
	}
	ss := rs.ScopeSpans().AppendEmpty()
	for i := range n {
		s := ss.Spans().AppendEmpty()
		s.SetName(fmt.Sprint("span ", i))
		s.SetTraceID(pcommon.TraceID{1, byte(i)})
		s.SetSpanID(pcommon.SpanID{1, byte(i)})
	}
	return td
}

func (r *rig) sendSpans(t *testing.T, td ptrace.Traces) error {
	t.Helper()
	_, err := ptraceotlp.NewGRPCClient(r.conn).Export(t.Context(), ptraceotlp.NewExportRequestFromTraces(td))
	return err
}

func (r *rig) sendMetrics(t *testing.T, md pmetric.Metrics) error {
	t.Helper()
	_, err := pmetricotlp.NewGRPCClient(r.conn).Export(t.Context(), pmetricotlp.NewExportRequestFromMetrics(md))
	return err
}

func decodeSpans(t *testing.T, a appended) ptrace.Traces {
	t.Helper()
	req := ptraceotlp.NewExportRequest()
	if err := req.UnmarshalProto(a.body); err != nil || a.kind != signal.Spans {
		t.Fatalf("kind %v, body: %v", a.kind, err)
	}
	return req.Traces()
}

func TestSpansOverGRPC(t *testing.T) {
	r := start(t, nil)
	if err := r.sendSpans(t, spans(3, map[string]any{"process.pid": 77})); err != nil {
		t.Fatal(err)
	}
	calls := r.out.all()
	if len(calls) != 1 || calls[0].items != 3 {
		t.Fatalf("calls = %+v, want one of 3 spans", calls)
	}
	td := decodeSpans(t, calls[0])
	got := td.ResourceSpans().At(0).Resource().Attributes().AsRaw()
	want := map[string]any{"process.pid": int64(77), "service.name": "svc-77", "host.name": "n1", "container.id": "c0ffee"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("resource (-want +got):\n%s", d)
	}
	if td.SpanCount() != 3 || td.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(2).Name() != "span 2" {
		t.Error("spans were changed")
	}
	if rec, acc, _ := r.equation(t, "otlp_traces"); rec != 3 || acc != 3 {
		t.Errorf("received %d, accepted %d, want 3", rec, acc)
	}
}

func TestSendersOwnAttributesStay(t *testing.T) {
	r := start(t, nil)
	own := map[string]any{"service.name": "mine", "host.name": "elsewhere", "container.id": "abc"}
	if err := r.sendSpans(t, spans(1, own)); err != nil {
		t.Fatal(err)
	}
	got := decodeSpans(t, r.out.all()[0]).ResourceSpans().At(0).Resource().Attributes().AsRaw()
	if d := cmp.Diff(own, got); d != "" {
		t.Errorf("resource (-want +got):\n%s", d)
	}
}

func (r *rig) post(t *testing.T, path, contentType, encoding string, body []byte) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.http+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if encoding != "" {
		req.Header.Set("Content-Encoding", encoding)
	}
	resp, err := http.DefaultClient.Do(req) //nolint:forbidigo // a test's own client
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

func zip(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	zw := gzip.NewWriter(&out)
	if _, err := zw.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestHTTPForms(t *testing.T) {
	r := start(t, nil)
	req := ptraceotlp.NewExportRequestFromTraces(spans(2, nil))
	proto, _ := req.MarshalProto()
	js, _ := req.MarshalJSON()
	zipped := zip(t, proto)
	for i, c := range []struct {
		contentType, encoding string
		body                  []byte
	}{
		{"application/x-protobuf", "", proto},
		{"application/x-protobuf", "gzip", zipped},
		{"application/json", "", js},
	} {
		if code, body := r.post(t, "/v1/traces", c.contentType, c.encoding, c.body); code != 200 {
			t.Errorf("%s %s: %d %q", c.contentType, c.encoding, code, body)
		}
		if n := len(r.out.all()); n != i+1 {
			t.Fatalf("%d batches kept, want %d", n, i+1)
		}
	}
	calls := r.out.all()
	for _, c := range calls[1:] {
		if !bytes.Equal(c.body, calls[0].body) {
			t.Error("the same spans were kept as different bytes")
		}
	}
}

func TestMalformedBodies(t *testing.T) {
	r := start(t, nil)
	for _, c := range []struct {
		contentType, encoding, body string
		want                        int
	}{
		{"application/x-protobuf", "", "\x0a\xff\xff\xff\xff\x7f", 400},
		{"application/json", "", `{"resourceSpans":[{`, 400},
		{"application/x-protobuf", "gzip", "not gzip", 400},
		{"text/plain", "", "x", 415},
	} {
		if code, body := r.post(t, "/v1/traces", c.contentType, c.encoding, []byte(c.body)); code != c.want {
			t.Errorf("%q: %d %q, want %d", c.body, code, body, c.want)
		}
	}
	if n := len(r.out.all()); n != 0 {
		t.Errorf("%d batches kept", n)
	}
	if err := r.sendSpans(t, spans(1, nil)); err != nil {
		t.Errorf("after bad bodies: %v", err)
	}
}

func TestTooLargeRequest(t *testing.T) {
	r := start(t, func(c *Config, _ *fakeOutput) { c.MaxRequestBytes = 1 << 20 })
	zipped := zip(t, make([]byte, 64<<20))
	if code, body := r.post(t, "/v1/traces", "application/x-protobuf", "gzip", zipped); code < 400 || code >= 500 {
		t.Errorf("a bomb of %d bytes: %d %q", len(zipped), code, body)
	}
	td := spans(1, map[string]any{"x": strings.Repeat("x", 3<<20)})
	if err := r.sendSpans(t, td); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("3 MiB over gRPC: %v, want ResourceExhausted", err)
	}
}

func TestRefusedBySpoolIsRetryable(t *testing.T) {
	r := start(t, nil)
	r.out.setFail(errors.New("disk full"))
	if err := r.sendSpans(t, spans(5, nil)); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("error = %v, want Unavailable with the cause", err)
	}
	body, _ := ptraceotlp.NewExportRequestFromTraces(spans(2, nil)).MarshalProto()
	if code, _ := r.post(t, "/v1/traces", "application/x-protobuf", "", body); code != 503 {
		t.Errorf("HTTP status = %d, want 503", code)
	}
	r.out.setFail(nil)
	if err := r.sendSpans(t, spans(5, nil)); err != nil {
		t.Errorf("second try: %v", err)
	}
	if rec, acc, drop := r.equation(t, "otlp_traces"); rec != 12 || acc != 5 || drop != 7 {
		t.Errorf("received %d, accepted %d, dropped %d; want 12, 5, 7", rec, acc, drop)
	}
}

func TestBytesInFlightAreBounded(t *testing.T) {
	r := start(t, func(c *Config, o *fakeOutput) {
		c.MaxRequestBytes, c.MaxInFlightBytes = 1<<20, 1<<20
		o.hold, o.enter = make(chan struct{}), make(chan struct{}, 1)
	})
	big := spans(1, map[string]any{"x": strings.Repeat("x", 700<<10)})
	first := make(chan error, 1)
	go func() { first <- r.sendSpans(t, big) }()
	<-r.out.enter
	if err := r.sendSpans(t, big); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "max_in_flight_bytes") {
		t.Errorf("second batch: %v, want Unavailable naming the limit", err)
	}
	close(r.out.hold)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if err := r.sendSpans(t, big); err != nil {
		t.Errorf("after the first has ended: %v", err)
	}
	if _, _, drop := r.equation(t, "otlp_traces"); drop != 1 {
		t.Errorf("dropped %d, want 1", drop)
	}
}

const epoch = 1732334000000 // Unix ms

func auditMetrics(delta bool) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "enrich")
	rm.Resource().Attributes().PutStr("service.instance.id", "pod-7")
	ms := rm.ScopeMetrics().AppendEmpty().Metrics()
	attrs := func(p pmetric.NumberDataPoint) {
		p.Attributes().PutStr("weir.dir", "in")
		p.Attributes().PutStr("weir.pipeline", "orders")
		p.Attributes().PutStr("weir.stage", "enrich")
		p.Attributes().PutStr("weir.destination", "orders")
		p.Attributes().PutStr("weir.group", "enrich")
		p.Attributes().PutInt("weir.window", 1732334400)
	}
	m := ms.AppendEmpty()
	m.SetName("weir.audit.messages")
	sum := m.SetEmptySum()
	sum.SetIsMonotonic(true)
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	if delta {
		sum.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	}
	p := sum.DataPoints().AppendEmpty()
	p.SetIntValue(5000)
	p.SetStartTimestamp(epoch * 1e6)
	attrs(p)
	for name, v := range map[string]uint64{"weir.audit.fp_sum": 1<<63 + 5, "weir.audit.fp_xor": 0xfeedface} {
		g := ms.AppendEmpty()
		g.SetName(name)
		p := g.SetEmptyGauge().DataPoints().AppendEmpty() // no start time: many SDKs give none to gauges
		p.SetIntValue(int64(v))
		attrs(p)
	}
	return md
}

func addPoint(md pmetric.Metrics) {
	g := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().AppendEmpty()
	g.SetName("queue.size")
	g.SetEmptyGauge().DataPoints().AppendEmpty().SetIntValue(3)
}

func TestAuditIsDiverted(t *testing.T) {
	r := start(t, nil)
	md := auditMetrics(false)
	addPoint(md)
	if err := r.sendMetrics(t, md); err != nil {
		t.Fatal(err)
	}
	want := []setCall{{
		Inc: Increment{
			Key:      cell.Key{Pipeline: "orders", Stage: "enrich", Dir: cell.In, Destination: "orders", Group: "enrich", Window: 1732334400},
			Instance: "pod-7", Service: "enrich", Node: "n1",
			Counts: cell.Counts{N: 5000, FpSum: 1<<63 + 5, FpXor: 0xfeedface, Hashed: 5000},
		},
		Epoch: epoch,
	}}
	if d := cmp.Diff(want, r.audit.calls); d != "" {
		t.Errorf("audit (-want +got):\n%s", d)
	}
	calls := r.out.all()
	if len(calls) != 1 || calls[0].kind != signal.Points || calls[0].items != 1 {
		t.Fatalf("calls = %+v, want one point", calls)
	}
	req := pmetricotlp.NewExportRequest()
	if err := req.UnmarshalProto(calls[0].body); err != nil {
		t.Fatal(err)
	}
	rm := req.Metrics().ResourceMetrics().At(0)
	if n := rm.ScopeMetrics().At(0).Metrics().Len(); n != 1 || rm.ScopeMetrics().At(0).Metrics().At(0).Name() != "queue.size" {
		t.Errorf("%d metrics kept, want queue.size alone", n)
	}
	if h, _ := rm.Resource().Attributes().Get("host.name"); h.Str() != "n1" {
		t.Errorf("host.name = %q", h.Str())
	}
	if rec, acc, _ := r.equation(t, "otlp_metrics"); rec != 1 || acc != 1 {
		t.Errorf("points received %d, accepted %d; want 1", rec, acc)
	}
	if rec, acc, _ := r.equation(t, "otlp_audit"); rec != 1 || acc != 1 {
		t.Errorf("counts received %d, accepted %d; want 1", rec, acc)
	}
}

func TestAuditAloneAppendsNothing(t *testing.T) {
	r := start(t, nil)
	if err := r.sendMetrics(t, auditMetrics(true)); err != nil {
		t.Fatal(err)
	}
	if n := len(r.out.all()); n != 0 {
		t.Errorf("%d bodies kept, want none", n)
	}
	if len(r.audit.calls) != 1 || !r.audit.calls[0].Delta || !r.audit.calls[0].Inc.Lossy || r.audit.calls[0].Inc.Counts.N != 5000 {
		t.Errorf("audit = %+v, want a lossy increment of 5000", r.audit.calls)
	}
}

// A batch whose points cannot be kept is sent again: its counts must not have been taken.
func TestAuditWaitsForTheSpool(t *testing.T) {
	r := start(t, nil)
	r.out.setFail(errors.New("disk full"))
	md := auditMetrics(true)
	addPoint(md)
	if err := r.sendMetrics(t, md); status.Code(err) != codes.Unavailable {
		t.Errorf("error = %v", err)
	}
	if len(r.audit.calls) != 0 {
		t.Errorf("audit = %+v, want nothing yet", r.audit.calls)
	}
	r.out.setFail(nil)
	if err := r.sendMetrics(t, md); err != nil {
		t.Fatal(err)
	}
	if len(r.audit.calls) != 1 {
		t.Errorf("audit = %+v, want one", r.audit.calls)
	}
}

func TestBadAuditCounts(t *testing.T) {
	for _, c := range []struct {
		reason string
		change func(p pmetric.NumberDataPoint)
	}{
		{"bad_dir", func(p pmetric.NumberDataPoint) { p.Attributes().PutStr("weir.dir", "sideways") }},
		{"bad_window", func(p pmetric.NumberDataPoint) { p.Attributes().PutStr("weir.window", "noon") }},
		{"bad_window", func(p pmetric.NumberDataPoint) { p.Attributes().PutStr("weir.width", "wide") }},
		{"bad_window", func(p pmetric.NumberDataPoint) { p.Attributes().PutInt("weir.width", 0) }},
		{"bad_window", func(p pmetric.NumberDataPoint) { p.Attributes().PutInt("weir.width", -60) }},
		{"bad_window", func(p pmetric.NumberDataPoint) { p.Attributes().PutInt("weir.width", 86_401) }},
		{"bad_value", func(p pmetric.NumberDataPoint) { p.SetIntValue(-1) }},
		{"bad_value", func(p pmetric.NumberDataPoint) { p.SetDoubleValue(1.5) }},
		{"no_epoch", func(p pmetric.NumberDataPoint) { p.SetStartTimestamp(0) }},
	} {
		t.Run(c.reason, func(t *testing.T) {
			set := metrics.NewSet()
			a := &fakeAudit{}
			s := newSink(DefaultConfig(), "n1", &fakeOutput{}, a, nil, set, slog.New(slog.DiscardHandler))
			md := auditMetrics(false)
			c.change(md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints().At(0))
			if err := s.metrics(t.Context(), md); err != nil {
				t.Errorf("error = %v; a count that never becomes right must not be sent again", err)
			}
			r := rig{set: set}
			if rec, acc, drop := r.equation(t, "otlp_audit"); rec != 1 || acc != 0 || drop != 1 {
				t.Errorf("received %d, accepted %d, dropped %d; want 1, 0, 1", rec, acc, drop)
			}
			if got := r.count(`weir_collector_dropped_total{door="otlp_audit",reason="` + c.reason + `"}`); got != 1 {
				t.Errorf("dropped for %s: %d, want 1", c.reason, got)
			}
			if len(a.calls) != 0 {
				t.Errorf("audit = %+v", a.calls)
			}
		})
	}
}

// Sampled ids come as an attribute of the count, latencies as histograms; what is wrong with them leaves the count as it is.
func TestAuditSamples(t *testing.T) {
	run := func(change func(md pmetric.Metrics)) (*fakeAudit, *metrics.Set) {
		set, a := metrics.NewSet(), &fakeAudit{}
		s := newSink(DefaultConfig(), "n1", &fakeOutput{}, a, nil, set, slog.New(slog.DiscardHandler))
		md := auditMetrics(false)
		change(md)
		if err := s.metrics(t.Context(), md); err != nil {
			t.Error(err)
		}
		return a, set
	}
	point := func(md pmetric.Metrics) pcommon.Map {
		return md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints().At(0).Attributes()
	}
	latency := func(md pmetric.Metrics) pmetric.Metric {
		m := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().AppendEmpty()
		m.SetName("weir.audit.latency")
		m.SetUnit("s")
		return m
	}
	a, _ := run(func(md pmetric.Metrics) {
		point(md).PutStr("weir.ids", "0000000000000080+0000000000000100*3")
		point(md).PutInt("weir.ids_m", 128)
		h := latency(md).SetEmptyExponentialHistogram()
		h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		p := h.DataPoints().AppendEmpty()
		point(md).CopyTo(p.Attributes())
		p.SetStartTimestamp(epoch * 1e6)
		p.SetScale(7)
		p.Positive().SetOffset(-554) // about 50 ms
		p.Positive().BucketCounts().FromRaw([]uint64{40, 60})
	})
	if len(a.calls) != 1 {
		t.Fatalf("%+v", a.calls)
	}
	inc := a.calls[0].Inc
	if inc.IDs == nil || inc.IDs.M != 128 || inc.IDs.Of != 5000 || len(inc.IDs.IDs) != 2 || inc.IDs.IDs[1].Times != 3 {
		t.Errorf("ids %+v", inc.IDs)
	}
	if p := inc.Latency.Quantile(0.5); inc.Latency.Count != 100 || p < 49 || p > 51 {
		t.Errorf("latency %g ms, %+v", p, inc.Latency)
	}
	// A histogram alone is a measurement alone, also of a delta, also without weir.dir.
	a, _ = run(func(md pmetric.Metrics) {
		attrs := pcommon.NewMap()
		point(md).CopyTo(attrs)
		attrs.Remove("weir.dir")
		h := latency(md).SetEmptyHistogram()
		h.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		p := h.DataPoints().AppendEmpty()
		attrs.CopyTo(p.Attributes())
		p.ExplicitBounds().FromRaw([]float64{0.01, 0.1})
		p.BucketCounts().FromRaw([]uint64{0, 9, 0})
		md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().RemoveIf(func(m pmetric.Metric) bool { return m.Name() != "weir.audit.latency" })
	})
	if len(a.calls) != 1 || !a.calls[0].Delta || a.calls[0].Inc.Key.Dir != cell.In || a.calls[0].Inc.Counts.N != 0 || a.calls[0].Inc.Latency.Count != 9 {
		t.Errorf("%+v", a.calls)
	}
	for what, change := range map[string]func(md pmetric.Metrics){
		"ids":     func(md pmetric.Metrics) { point(md).PutStr("weir.ids", "nonsense") },
		"modulus": func(md pmetric.Metrics) { point(md).PutStr("weir.ids", ""); point(md).PutInt("weir.ids_m", 65) },
		"type":    func(md pmetric.Metrics) { latency(md).SetEmptyGauge() },
		"window": func(md pmetric.Metrics) {
			p := latency(md).SetEmptyHistogram().DataPoints().AppendEmpty()
			p.ExplicitBounds().FromRaw([]float64{1})
			p.BucketCounts().FromRaw([]uint64{1, 1})
			p.Attributes().PutStr("weir.window", "noon")
		},
		"bounds": func(md pmetric.Metrics) {
			p := latency(md).SetEmptyHistogram().DataPoints().AppendEmpty()
			point(md).CopyTo(p.Attributes())
			p.ExplicitBounds().FromRaw([]float64{math.NaN()})
			p.BucketCounts().FromRaw([]uint64{1, 1})
		},
	} {
		a, set := run(change)
		bad := set.GetOrCreateCounter(`weir_otlp_audit_samples_dropped_total{kind="ids"}`).Get() + set.GetOrCreateCounter(`weir_otlp_audit_samples_dropped_total{kind="latency"}`).Get()
		if len(a.calls) != 1 || a.calls[0].Inc.Counts.N != 5000 || a.calls[0].Inc.IDs != nil || a.calls[0].Inc.Latency != nil || bad != 1 {
			t.Errorf("%s: %d bad samples counted, %+v", what, bad, a.calls)
		}
	}
}

func TestPortTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, which := range []string{"grpc", "http"} {
		cfg := DefaultConfig()
		cfg.GRPC, cfg.HTTP = "127.0.0.1:0", "127.0.0.1:0"
		if which == "grpc" {
			cfg.GRPC = ln.Addr().String()
		} else {
			cfg.HTTP = ln.Addr().String()
		}
		_, err := New(cfg, "n1", &fakeOutput{}, nil, nil, metrics.NewSet(), slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), ln.Addr().String()) || !strings.Contains(err.Error(), "otlp."+which) {
			t.Errorf("%s: error = %v, want the address and the way out", which, err)
		}
	}
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.GRPC = "4317" }, `otlp.grpc "4317" is no address`},
		{func(c *Config) { c.HTTP = c.GRPC }, "both"},
		{func(c *Config) { c.MaxRequestBytes = 1 }, "max_request_bytes 1 is too small"},
		{func(c *Config) { c.MaxInFlightBytes = 2 << 20 }, "less than max_request_bytes"},
		{func(c *Config) { c.Service = "" }, "service is empty"},
		{func(c *Config) { c.ReadTimeout = 0 }, "read_timeout"},
		{func(c *Config) { c.Receivers = map[string]map[string]any{"zipkin": nil} }, `no receiver of type "zipkin" in this build; it has otlp`},
		{func(c *Config) { c.Receivers = map[string]map[string]any{"otlp/b": {"prtocols": nil}} }, `"otlp/b"`},
	} {
		cfg := DefaultConfig()
		c.change(&cfg)
		_, err := New(cfg, "n1", &fakeOutput{}, nil, nil, metrics.NewSet(), slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error = %v, want %q", err, c.want)
		}
	}
}

// A receiver from the list of factories is configured as in the OpenTelemetry Collector.
func TestFurtherReceiver(t *testing.T) {
	r := start(t, func(c *Config, _ *fakeOutput) {
		c.GRPC, c.HTTP = "", ""
		c.Receivers = map[string]map[string]any{"otlp/second": {"protocols": map[string]any{
			"grpc": map[string]any{"endpoint": "127.0.0.1:0"},
			"http": map[string]any{"endpoint": "127.0.0.1:0"},
		}}}
	})
	if err := r.sendSpans(t, spans(1, nil)); err != nil {
		t.Fatal(err)
	}
	if len(r.out.all()) != 1 {
		t.Error("nothing kept")
	}
}
