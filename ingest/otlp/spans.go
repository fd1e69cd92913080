// Package otlp turns OpenTelemetry spans and metrics into weir's: spans into store.Span, metric points
// into a store.MetricBatch, audit points into cells.
//
// Values come from ingest's OTLP doors, as bytes or as pdata; they go to store.Spans, store.Metrics and store.Ledger.
package otlp

import (
	"encoding/base64"
	"encoding/json"
	"math"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/weirhq/weir/store"
)

// Reasons of rejections made here.
const (
	ReasonTraceID  = "bad_trace_id"
	ReasonSpanID   = "bad_span_id"
	ReasonTime     = "bad_time"
	unknownService = "unknown_service"
)

// Spans is the outcome of a translation: Received = len(Spans) + Σ Rejected.
type Spans struct {
	Spans    []store.Span
	Received int
	Rejected []store.Rejection
}

func (s *Spans) reject(reason, example string) { s.Rejected = reject(s.Rejected, reason, 1, example) }

func reject(list []store.Rejection, reason string, n int, example string) []store.Rejection {
	for i := range list {
		if list[i].Reason == reason {
			list[i].Count += n
			return list
		}
	}
	return append(list, store.Rejection{Reason: reason, Count: n, Example: example})
}

// resource is what all spans of one resource share.
type resource struct {
	service, node, container string
	attrs                    []store.Attr
	dropped                  uint32
}

// take keeps a resource attribute, the three names every view asks for apart from the rest.
func (r *resource) take(a store.Attr) {
	if a.Kind == store.AttrString {
		switch a.Key {
		case "service.name":
			r.service = a.Str
			return
		case "host.name":
			r.node = a.Str
			return
		case "container.id":
			r.container = a.Str
			return
		}
	}
	r.attrs = append(r.attrs, a)
}

func (r *resource) done() {
	if r.service == "" {
		r.service = unknownService
	}
}

// FromTraces translates pdata; used for gRPC and JSON. Strings are shared with td.
func FromTraces(td ptrace.Traces) Spans {
	out := Spans{Spans: make([]store.Span, 0, td.SpanCount())}
	for _, rs := range td.ResourceSpans().All() {
		var res resource
		for k, v := range rs.Resource().Attributes().All() {
			res.take(attrOf(k, v))
		}
		res.dropped = rs.Resource().DroppedAttributesCount()
		res.done()
		for _, ss := range rs.ScopeSpans().All() {
			for _, sp := range ss.Spans().All() {
				out.Received++
				s := store.Span{
					Trace: store.TraceID(sp.TraceID()), ID: store.SpanID(sp.SpanID()), Parent: store.SpanID(sp.ParentSpanID()),
					Service: res.service, Node: res.node, Container: res.container, Resource: res.attrs,
					Name: valid(sp.Name()), Scope: valid(ss.Scope().Name()), Kind: spanKind(uint64(sp.Kind())),
					Status: spanStatus(uint64(sp.Status().Code())), StatusMsg: valid(sp.Status().Message()), TraceState: valid(sp.TraceState().AsRaw()),
					Attrs:   attrsOf(sp.Attributes()),
					Dropped: sp.DroppedAttributesCount() + sp.DroppedEventsCount() + sp.DroppedLinksCount() + res.dropped,
				}
				for _, e := range sp.Events().All() {
					s.Events = append(s.Events, store.SpanEvent{Time: clampTime(uint64(e.Timestamp())), Name: valid(e.Name()), Attrs: attrsOf(e.Attributes())})
					s.Dropped += e.DroppedAttributesCount()
				}
				for _, l := range sp.Links().All() {
					s.Links = append(s.Links, store.SpanLink{Trace: store.TraceID(l.TraceID()), Span: store.SpanID(l.SpanID()), Attrs: attrsOf(l.Attributes())})
					s.Dropped += l.DroppedAttributesCount()
				}
				out.add(s, uint64(sp.StartTimestamp()), uint64(sp.EndTimestamp()))
			}
		}
	}
	return out
}

// add checks what makes a span a span, and keeps or rejects it.
func (s *Spans) add(sp store.Span, start, end uint64) {
	switch {
	case sp.Trace == store.TraceID{}:
		s.reject(ReasonTraceID, "trace id of span "+show(sp)+" is empty or has not 16 bytes")
	case sp.ID == store.SpanID{}:
		s.reject(ReasonSpanID, "span id of span "+show(sp)+" is empty or has not 8 bytes")
	case start == 0 || start > math.MaxInt64:
		s.reject(ReasonTime, "span "+show(sp)+" has no start time")
	default:
		sp.Start = int64(start)
		// A clock that was set back makes an end before the start; the span itself is still worth having.
		if end > start {
			sp.Duration = int64(min(end, math.MaxInt64) - start)
		}
		s.Spans = append(s.Spans, sp)
	}
}

func show(sp store.Span) string {
	b, _ := json.Marshal(clip(sp.Name)) // quotes and repairs
	return string(b) + " of service " + clip(sp.Service)
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

func clampTime(ns uint64) int64 { return int64(min(ns, math.MaxInt64)) }

func spanKind(v uint64) store.SpanKind {
	if v > uint64(store.KindConsumer) {
		return store.KindUnspecified
	}
	return store.SpanKind(v)
}

func spanStatus(v uint64) store.SpanStatus {
	if v > uint64(store.StatusError) {
		return store.StatusUnset
	}
	return store.SpanStatus(v)
}

func attrsOf(m pcommon.Map) []store.Attr {
	if m.Len() == 0 {
		return nil
	}
	out := make([]store.Attr, 0, m.Len())
	for k, v := range m.All() {
		out = append(out, attrOf(k, v))
	}
	return out
}

func attrOf(k string, v pcommon.Value) store.Attr {
	a := store.Attr{Key: valid(k)}
	switch v.Type() {
	case pcommon.ValueTypeStr:
		a.Str = valid(v.Str())
	case pcommon.ValueTypeInt:
		a.Kind, a.Num = store.AttrInt, uint64(v.Int())
	case pcommon.ValueTypeDouble:
		a.Kind, a.Num = store.AttrFloat, math.Float64bits(v.Double())
	case pcommon.ValueTypeBool:
		a.Kind = store.AttrBool
		if v.Bool() {
			a.Num = 1
		}
	case pcommon.ValueTypeEmpty, pcommon.ValueTypeMap, pcommon.ValueTypeSlice, pcommon.ValueTypeBytes:
		a.Kind, a.Str = store.AttrJSON, jsonText(v)
	}
	return a
}

// jsonText writes a composite value as JSON; bytes are base64.
func jsonText(v pcommon.Value) string {
	return string(appendValue(nil, v, 0))
}

// maxDepth bounds nesting; deeper values become null.
const maxDepth = 16

func appendValue(b []byte, v pcommon.Value, depth int) []byte {
	if depth > maxDepth {
		return append(b, "null"...)
	}
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return appendString(b, v.Str())
	case pcommon.ValueTypeInt:
		return appendInt(b, v.Int())
	case pcommon.ValueTypeDouble:
		return appendFloat(b, v.Double())
	case pcommon.ValueTypeBool:
		return appendBool(b, v.Bool())
	case pcommon.ValueTypeBytes:
		return appendString(b, base64.StdEncoding.EncodeToString(v.Bytes().AsRaw()))
	case pcommon.ValueTypeSlice:
		b = append(b, '[')
		for i, e := range v.Slice().All() {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendValue(b, e, depth+1)
		}
		return append(b, ']')
	case pcommon.ValueTypeMap:
		b = append(b, '{')
		first := true
		for k, e := range v.Map().All() {
			if !first {
				b = append(b, ',')
			}
			first = false
			b = appendString(b, k)
			b = append(b, ':')
			b = appendValue(b, e, depth+1)
		}
		return append(b, '}')
	case pcommon.ValueTypeEmpty:
	}
	return append(b, "null"...)
}
