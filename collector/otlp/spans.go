package otlp

import (
	"encoding/binary"
	"log/slog"
	"sync"

	"github.com/VictoriaMetrics/metrics"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/internal/messaging"
)

// spanCounts counts messaging spans into audit cells, before anybody samples them. A span that says nothing about sampling
// is not counted: of a sample only ingest can tell something, by joining its spans.
type spanCounts struct {
	all bool // also spans that do not say that they are not sampled

	mu     sync.Mutex
	recent messaging.Recent // a batch whose answer got lost comes again

	counted, again, sampled, unnamed, refused *metrics.Counter
}

// recentSpans is how many spans are remembered so that they are not counted again.
const recentSpans = 1 << 17

func newSpanCounts(all bool, set *metrics.Set) *spanCounts {
	c := func(result string) *metrics.Counter {
		return set.GetOrCreateCounter(`weir_otlp_span_cells_total{result="` + result + `"}`)
	}
	return &spanCounts{
		all: all, recent: messaging.NewRecent(recentSpans),
		counted: c("counted"), again: c("again"), sampled: c("sampled"), unnamed: c("unnamed"), refused: c("refused"),
	}
}

// count adds the messaging spans of one batch that is on disk.
func (c *spanCounts) count(td ptrace.Traces, to AuditSink, log *slog.Logger) {
	var list []Increment // spans of one batch are mostly of few ports
	for _, rs := range td.ResourceSpans().All() {
		res := rs.Resource().Attributes()
		unsampled := c.all || text(res, messaging.Sampling) == "none"
		for _, ss := range rs.ScopeSpans().All() {
			for _, sp := range ss.Spans().All() {
				if inc, ok := c.increment(res, sp, unsampled); ok {
					list = merge(list, inc)
				}
			}
		}
	}
	for i := range list {
		n := int(min(list[i].Counts.N, 1<<40))
		if err := to.Add(list[i]); err != nil {
			c.refused.Add(n)
			log.Debug("count of spans refused", "stage", list[i].Key.Stage, "error", err)
			continue
		}
		c.counted.Add(n)
	}
}

// increment is what one span counts; ok is false when it counts nothing.
func (c *spanCounts) increment(res pcommon.Map, sp ptrace.Span, unsampled bool) (inc Increment, ok bool) {
	switch sp.Kind() {
	case ptrace.SpanKindProducer, ptrace.SpanKindConsumer, ptrace.SpanKindClient:
	default:
		return inc, false
	}
	a := sp.Attributes()
	system, isMessaging := a.Get(messaging.System)
	if !isMessaging || system.AsString() == "" {
		return inc, false
	}
	role := messaging.RoleOf(uint8(sp.Kind()), text(a, messaging.OperationType), text(a, messaging.Operation), text(a, messaging.OperationName))
	if role == messaging.None || role == messaging.Create { // created messages count when they are sent
		return inc, false
	}
	if th, told := messaging.Threshold(sp.TraceState().AsRaw()); told && th > 0 || !told && !unsampled {
		c.sampled.Inc()
		return inc, false
	}
	k := cell.Key{
		Pipeline: first(a, res, messaging.Pipeline), Stage: first(a, res, messaging.Stage), Destination: text(a, messaging.Destination),
	}
	if k.Destination == "" {
		k.Destination = text(a, messaging.DestinationV1)
	}
	if k.Pipeline == "" {
		k.Pipeline = cell.SpanPipeline
	}
	if k.Stage == "" {
		k.Stage = text(res, attrService)
	}
	if k.Stage == "" || k.Destination == "" || truth(a, messaging.Temporary) || truth(a, messaging.Anonymous) {
		c.unnamed.Inc()
		return inc, false
	}
	failed := sp.Status().Code() == ptrace.StatusCodeError
	switch role {
	case messaging.Send:
		if k.Dir = cell.SpanOut; failed {
			k.Dir = cell.SpanFailed
		}
	case messaging.Receive:
		k.Dir = cell.SpanReceived
	case messaging.Settle:
		k.Dir = cell.SpanAcked
	default:
		k.Dir = cell.SpanIn
	}
	if k.Dir != cell.SpanOut && k.Dir != cell.SpanFailed {
		for _, name := range [...]string{messaging.Group, messaging.GroupKafka, messaging.GroupV1, messaging.Subscription} {
			if k.Group = text(a, name); k.Group != "" {
				break
			}
		}
	}
	var ts int64
	if v, said := a.Get(messaging.Time); said {
		ts = messaging.ParseTime(v.AsString())
	}
	if ts == 0 && role == messaging.Send && sp.ParentSpanID().IsEmpty() { // the message begins here
		ts = messaging.SaneTime(int64(sp.StartTimestamp() / 1e6))
	}
	k.Window = ts / 1000
	if !c.isNew(sp) {
		c.again.Inc()
		return inc, false
	}
	batch := int64(0)
	if v, said := a.Get(messaging.BatchCount); said && v.Type() == pcommon.ValueTypeInt {
		batch = v.Int()
	}
	return Increment{
		Key: k, Instance: instanceOf(res), Service: text(res, attrService), Node: text(res, attrHost),
		Counts: cell.Counts{N: uint64(messaging.Weight(batch, sp.Links().Len())), MaxTS: ts},
	}, true
}

func (c *spanCounts) isNew(sp ptrace.Span) bool {
	t, s := sp.TraceID(), sp.SpanID()
	id := binary.LittleEndian.Uint64(s[:])*0x9e3779b97f4a7c15 ^ binary.LittleEndian.Uint64(t[:8]) ^ binary.LittleEndian.Uint64(t[8:])*0xbf58476d1ce4e5b9
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.recent.Add(id)
}

func merge(list []Increment, inc Increment) []Increment {
	for i := range list {
		o := &list[i]
		if o.Key == inc.Key && o.Instance == inc.Instance {
			o.Counts.Add(inc.Counts)
			return list
		}
	}
	return append(list, inc)
}

func first(a, res pcommon.Map, key string) string {
	if v := text(a, key); v != "" {
		return v
	}
	return text(res, key)
}

func truth(a pcommon.Map, key string) bool {
	v, ok := a.Get(key)
	return ok && v.Type() == pcommon.ValueTypeBool && v.Bool()
}
