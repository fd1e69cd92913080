package otlp

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"
	"go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/weirhq/weir/collector/signal"
)

// Resource attributes (OpenTelemetry semantic conventions).
const (
	attrService    = "service.name"
	attrInstance   = "service.instance.id"
	attrHost       = "host.name"
	attrContainer  = "container.id"
	attrProcessPID = "process.pid"
)

// sink is where all hosted receivers put their batches.
type sink struct {
	node, service string
	out           signal.Output
	audit         AuditSink
	origin        Origin
	log           *slog.Logger

	limit    int64
	inFlight atomic.Int64

	spans, points door
	counts        *spanCounts // nil: no cells are counted from spans
	auditDoor     auditDoor
	senders       *senders
}

// door is the equation of docs/wire.md. A batch that was refused is counted as dropped here although its sender,
// who was told so, sends it again.
type door struct {
	received, accepted    *metrics.Counter
	droppedFull, droppedS *metrics.Counter
}

func newDoor(set *metrics.Set, name string) door {
	c := func(format string) *metrics.Counter { return set.GetOrCreateCounter(fmt.Sprintf(format, name)) }
	return door{
		received:    c(`weir_collector_received_total{door=%q}`),
		accepted:    c(`weir_collector_accepted_total{door=%q}`),
		droppedFull: c(`weir_collector_dropped_total{door=%q,reason="in_flight"}`),
		droppedS:    c(`weir_collector_dropped_total{door=%q,reason="spool"}`),
	}
}

func newSink(cfg Config, node string, out signal.Output, audit AuditSink, origin Origin, set *metrics.Set, log *slog.Logger) *sink {
	s := &sink{
		node: node, service: cfg.Service, out: out, audit: audit, origin: origin, log: log, limit: cfg.MaxInFlightBytes,
		spans: newDoor(set, "otlp_traces"), points: newDoor(set, "otlp_metrics"), auditDoor: newAuditDoor(set), senders: newSenders(set),
	}
	if audit != nil && cfg.SpanCells != "off" {
		s.counts = newSpanCounts(cfg.SpanCells == "all", set)
	}
	set.GetOrCreateGauge(`weir_otlp_in_flight_bytes`, func() float64 { return float64(s.inFlight.Load()) })
	return s
}

// traces takes one batch of spans; nil means on disk. Every error is one that the sender should try again after.
func (s *sink) traces(ctx context.Context, td ptrace.Traces) error {
	n := td.SpanCount()
	if n == 0 {
		return nil
	}
	s.spans.received.Add(n)
	size := int64((&ptrace.ProtoMarshaler{}).TracesSize(td))
	if err := s.enter(size); err != nil {
		s.spans.droppedFull.Add(n)
		return err
	}
	defer s.leave(size)
	for i := range td.ResourceSpans().Len() {
		s.complete(ctx, td.ResourceSpans().At(i).Resource().Attributes())
	}
	body, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	if err == nil {
		err = s.out.Append(ctx, signal.Spans, n, body)
	}
	if err != nil {
		s.spans.droppedS.Add(n)
		return fmt.Errorf("cannot keep %d spans, send them again later: %w", n, err)
	}
	s.spans.accepted.Add(n)
	if s.counts != nil { // after the spans: a batch that is sent again must not be counted twice
		s.counts.count(td, s.audit, s.log)
	}
	return nil
}

// metrics takes one batch of metrics; nil means that the points are on disk and the audit counts with the counter.
func (s *sink) metrics(ctx context.Context, md pmetric.Metrics) error {
	size := int64((&pmetric.ProtoMarshaler{}).MetricsSize(md))
	if err := s.enter(size); err != nil {
		n := md.DataPointCount()
		s.points.received.Add(n)
		s.points.droppedFull.Add(n)
		return err
	}
	defer s.leave(size)
	for i := range md.ResourceMetrics().Len() {
		s.complete(ctx, md.ResourceMetrics().At(i).Resource().Attributes())
	}
	counts := s.takeAudit(md)
	if n := md.DataPointCount(); n > 0 {
		s.points.received.Add(n)
		body, err := pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
		if err == nil {
			err = s.out.Append(ctx, signal.Points, n, body)
		}
		if err != nil {
			s.points.droppedS.Add(n)
			return fmt.Errorf("cannot keep %d points, send them again later: %w", n, err)
		}
		s.points.accepted.Add(n)
	}
	s.giveAudit(counts) // after the points: a batch that is sent again must not be counted twice
	return nil
}

// enter admits a batch of size bytes, or tells the sender to come back. A single batch always passes alone.
func (s *sink) enter(size int64) error {
	if now := s.inFlight.Add(size); now > s.limit && now != size {
		s.inFlight.Add(-size)
		return fmt.Errorf("cannot take %d bytes now: %d are in flight, the limit is %d (otlp.max_in_flight_bytes); send them again later", size, now-size, s.limit)
	}
	return nil
}

func (s *sink) leave(size int64) { s.inFlight.Add(-size) }

// complete adds node, service and container to a resource; what the sender said stays.
func (s *sink) complete(ctx context.Context, a pcommon.Map) {
	var service, container string
	if s.origin != nil && (missing(a, attrService) || missing(a, attrContainer)) {
		service, container = s.origin.OTLP(pidOf(a), peer(ctx))
	}
	if missing(a, attrHost) && s.node != "" {
		a.PutStr(attrHost, s.node)
	}
	if missing(a, attrService) {
		if service == "" {
			service = s.service
		}
		a.PutStr(attrService, service)
	}
	if missing(a, attrContainer) && container != "" {
		a.PutStr(attrContainer, container)
	}
}

func missing(a pcommon.Map, key string) bool {
	v, ok := a.Get(key)
	return !ok || v.AsString() == ""
}

func pidOf(a pcommon.Map) int32 {
	v, ok := a.Get(attrProcessPID)
	if !ok || v.Type() != pcommon.ValueTypeInt || v.Int() <= 0 || v.Int() > 1<<22 {
		return 0
	}
	return int32(v.Int())
}

func peer(ctx context.Context) net.Addr { return client.FromContext(ctx).Addr }
