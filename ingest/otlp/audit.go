package otlp

import (
	"strconv"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/weirhq/weir/internal/cell"
)

// AuditCell is a cell made of the audit points of one key.
type AuditCell struct {
	cell.Cell
	Points int // messages, fp_sum, fp_xor
}

type auditKey struct {
	cell.Key
	instance string
	epoch    int64
}

type auditCell struct {
	AuditCell
	counted bool // weir.audit.messages was among the points
	sum     bool
	xor     bool
}

// defaultWidth is the event window of senders that name none, seconds.
const defaultWidth = 60

// audit takes the points of weir.audit.* (docs: wire forms of audit counts). They never become time series.
func (t *translator) audit(m pmetric.Metric) {
	n := points(m)
	t.out.Received += n
	if m.Name() == "weir.audit.latency" {
		t.latencies(m, n)
		return
	}
	var ps pmetric.NumberDataPointSlice
	switch {
	case m.Name() == "weir.audit.messages" && m.Type() == pmetric.MetricTypeSum && m.Sum().AggregationTemporality() == pmetric.AggregationTemporalityCumulative:
		ps = m.Sum().DataPoints()
	case (m.Name() == "weir.audit.fp_sum" || m.Name() == "weir.audit.fp_xor") && m.Type() == pmetric.MetricTypeGauge:
		ps = m.Gauge().DataPoints()
	default:
		t.reject(ReasonAudit, n, "metric "+strconv.Quote(clip(m.Name()))+" ("+m.Type().String()+"): want the cumulative sum weir.audit.messages, the gauges weir.audit.fp_sum and weir.audit.fp_xor, or the cumulative histogram weir.audit.latency")
		return
	}
	for _, p := range ps.All() {
		t.auditPoint(m.Name(), p)
	}
}

func (t *translator) auditPoint(name string, p pmetric.NumberDataPoint) {
	if p.ValueType() != pmetric.NumberDataPointValueTypeInt || p.Flags().NoRecordedValue() {
		t.reject(ReasonAudit, 1, name+": only integer points can be counted")
		return
	}
	if p.StartTimestamp() == 0 || p.Timestamp() < p.StartTimestamp() || p.Timestamp() > 1<<62 {
		t.reject(ReasonAudit, 1, name+": start_time_unix_nano must be the start of the counting process, and not after the point")
		return
	}
	a := p.Attributes()
	if textOf(a, "otel.metric.overflow") == "true" {
		t.reject(ReasonAudit, 1, name+": the SDK has reached its cardinality limit and folds counts together: export with delta temporality to a collector, or raise the limit of the view")
		return
	}
	c := t.auditCell(a, int64(p.StartTimestamp())/1e6, "")
	v := uint64(p.IntValue())
	switch name {
	case "weir.audit.messages":
		if p.IntValue() < 0 {
			t.reject(ReasonAudit, 1, name+": a count cannot be negative")
			return
		}
		// The time of the point orders snapshots: of two in one request the newer counts.
		if seq := uint64(p.Timestamp()) / 1e6; !c.counted || seq >= c.Seq {
			c.N, c.Seq = v, seq
			t.sample(c, a)
		}
		c.counted = true
	case "weir.audit.fp_sum":
		c.FpSum, c.sum = v, true
	case "weir.audit.fp_xor":
		c.FpXor, c.xor = v, true
	}
	c.Points++
}

func (t *translator) auditCell(a pcommon.Map, epoch int64, suffix string) *auditCell {
	k := auditKey{epoch: epoch}
	k.Key = cell.Key{
		Pipeline: textOf(a, "weir.pipeline"), Stage: textOf(a, "weir.stage"), Dir: cell.Dir(textOf(a, "weir.dir")),
		Destination: textOf(a, "weir.destination"), Group: textOf(a, "weir.group"), Reason: textOf(a, "weir.reason"),
		Window: intOf(a, "weir.window", 0), Width: intOf(a, "weir.width", defaultWidth),
	}
	if k.Dir == "" && suffix != "" {
		k.Dir = cell.In
	}
	k.instance = t.auditor() + suffix
	c := t.cells[k]
	if c == nil {
		c = &auditCell{AuditCell: AuditCell{Cell: cell.Cell{Key: k.Key, Instance: k.instance, Service: t.res.service, Node: t.res.node, Epoch: k.epoch}}}
		t.cells[k] = c
		t.order = append(t.order, k)
	}
	return c
}

// sample reads the ids of a count; what is wrong with them leaves the count as it is.
func (t *translator) sample(c *auditCell, a pcommon.Map) {
	c.IDs = nil
	v, ok := a.Get("weir.ids")
	if !ok {
		return
	}
	ids := &cell.IDs{}
	if err := ids.ParseTag([]byte(v.AsString()), uint64(intOf(a, "weir.ids_m", cell.MinM)), c.N); err != nil {
		t.out.BadIDs++
		t.out.BadID = err
		return
	}
	c.IDs = ids
}

// latencies become cells of their own: in one that also counts, a snapshot without counts would take its place.
const latencyInstance = "#latency"

func (t *translator) latencies(m pmetric.Metric, n int) {
	give := func(a pcommon.Map, start, at pcommon.Timestamp, h *cell.Histogram) {
		if start == 0 || at < start || at > 1<<62 {
			t.reject(ReasonAudit, 1, m.Name()+": start_time_unix_nano must be the start of the measuring process, and not after the point")
			return
		}
		h.Unit = m.Unit()
		sk, err := h.Sketch()
		if err != nil {
			t.reject(ReasonAudit, 1, m.Name()+": "+err.Error())
			return
		}
		c := t.auditCell(a, int64(start)/1e6, latencyInstance)
		if seq := uint64(at) / 1e6; c.Latency == nil || seq >= c.Seq {
			c.Latency, c.Seq = sk, seq
		}
		c.counted = true
		c.Points++
	}
	switch {
	case m.Type() == pmetric.MetricTypeHistogram && m.Histogram().AggregationTemporality() == pmetric.AggregationTemporalityCumulative:
		for _, p := range m.Histogram().DataPoints().All() {
			give(p.Attributes(), p.StartTimestamp(), p.Timestamp(), &cell.Histogram{
				Min: p.Min(), Max: p.Max(), HasRange: p.HasMin() && p.HasMax(), Counts: p.BucketCounts().AsRaw(), Bounds: p.ExplicitBounds().AsRaw(),
			})
		}
	case m.Type() == pmetric.MetricTypeExponentialHistogram && m.ExponentialHistogram().AggregationTemporality() == pmetric.AggregationTemporalityCumulative:
		for _, p := range m.ExponentialHistogram().DataPoints().All() {
			give(p.Attributes(), p.StartTimestamp(), p.Timestamp(), &cell.Histogram{
				Min: p.Min(), Max: p.Max(), HasRange: p.HasMin() && p.HasMax(), Exponential: true, Scale: p.Scale(), Zero: p.ZeroCount(),
				Offset: p.Positive().Offset(), Counts: p.Positive().BucketCounts().AsRaw(),
				NegOffset: p.Negative().Offset(), Negative: p.Negative().BucketCounts().AsRaw(),
			})
		}
	default:
		t.reject(ReasonAudit, n, m.Name()+": want a cumulative histogram or exponential histogram")
	}
}

// auditor names who counted: node/container, or what else tells instances of a service apart.
func (t *translator) auditor() string {
	who := t.res.container
	if who == "" {
		who = t.res.instance
	}
	if who == "" {
		who = t.res.service
	}
	return t.res.node + "/" + who
}

func (t *translator) finishCells() {
	for _, k := range t.order {
		c := t.cells[k]
		if !c.counted {
			t.reject(ReasonAudit, c.Points, "a fingerprint without weir.audit.messages of the same attributes")
			continue
		}
		if c.sum && c.xor {
			c.Hashed = c.N
		} else {
			c.FpSum, c.FpXor = 0, 0 // one alone proves nothing
		}
		t.out.Cells = append(t.out.Cells, c.AuditCell)
	}
}

func textOf(m pcommon.Map, k string) string {
	v, ok := m.Get(k)
	if !ok {
		return ""
	}
	return valid(v.AsString())
}

func intOf(m pcommon.Map, k string, def int64) int64 {
	v, ok := m.Get(k)
	if !ok {
		return def
	}
	if v.Type() == pcommon.ValueTypeInt {
		return v.Int()
	}
	n, err := strconv.ParseInt(v.AsString(), 10, 64)
	if err != nil {
		return -1 // the check of windows refuses it
	}
	return n
}
