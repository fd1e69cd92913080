package otlp

import (
	"errors"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/weirhq/weir/internal/cell"
)

// latencies reads the points of weir.audit.latency.
func (t *auditTaker) latencies(s *sink, resource pcommon.Map, m pmetric.Metric) {
	refuse := func(err error) {
		s.auditDoor.badLatency.Inc()
		s.log.Debug("latencies left out", "error", err)
	}
	give := func(a pcommon.Map, start pcommon.Timestamp, delta bool, h *cell.Histogram) {
		h.Unit = m.Unit()
		sk, err := h.Sketch()
		if err != nil {
			refuse(err)
			return
		}
		if text(a, "weir.dir") == "" {
			a.PutStr("weir.dir", string(cell.In))
		}
		key, drop := s.auditKey(a)
		if drop != nil || key.Dir != cell.In && key.Dir != cell.Out || !delta && start == 0 {
			refuse(errLatencyKey)
			return
		}
		k := countKey{key: key, instance: instanceOf(resource), delta: delta}
		if !delta {
			k.epoch = int64(start / 1e6)
		}
		c := t.find(k, resource)
		if c.latency == nil {
			c.latency = &cell.Sketch{}
		}
		c.latency.Merge(sk)
	}
	switch m.Type() {
	case pmetric.MetricTypeHistogram:
		delta := m.Histogram().AggregationTemporality() == pmetric.AggregationTemporalityDelta
		for _, p := range m.Histogram().DataPoints().All() {
			give(p.Attributes(), p.StartTimestamp(), delta, &cell.Histogram{
				Min: p.Min(), Max: p.Max(), HasRange: p.HasMin() && p.HasMax(), Counts: p.BucketCounts().AsRaw(), Bounds: p.ExplicitBounds().AsRaw(),
			})
		}
	case pmetric.MetricTypeExponentialHistogram:
		delta := m.ExponentialHistogram().AggregationTemporality() == pmetric.AggregationTemporalityDelta
		for _, p := range m.ExponentialHistogram().DataPoints().All() {
			give(p.Attributes(), p.StartTimestamp(), delta, &cell.Histogram{
				Min: p.Min(), Max: p.Max(), HasRange: p.HasMin() && p.HasMax(), Exponential: true, Scale: p.Scale(), Zero: p.ZeroCount(),
				Offset: p.Positive().Offset(), Counts: p.Positive().BucketCounts().AsRaw(),
				NegOffset: p.Negative().Offset(), Negative: p.Negative().BucketCounts().AsRaw(),
			})
		}
	default:
		refuse(errLatencyType)
	}
}

var (
	errLatencyKey  = errors.New("cannot take weir.audit.latency: weir.window must be Unix seconds, weir.width 1 to 86400, weir.dir in or out, and cumulative points need a start time")
	errLatencyType = errors.New("cannot take weir.audit.latency: it must be a histogram or an exponential histogram")
)
