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
	var ps pmetric.NumberDataPointSlice
	switch {
	case m.Name() == "weir.audit.messages" && m.Type() == pmetric.MetricTypeSum && m.Sum().AggregationTemporality() == pmetric.AggregationTemporalityCumulative:
		ps = m.Sum().DataPoints()
	case (m.Name() == "weir.audit.fp_sum" || m.Name() == "weir.audit.fp_xor") && m.Type() == pmetric.MetricTypeGauge:
		ps = m.Gauge().DataPoints()
	default:
		t.reject(ReasonAudit, n, "metric "+strconv.Quote(clip(m.Name()))+" ("+m.Type().String()+"): want the cumulative sum weir.audit.messages or the gauges weir.audit.fp_sum and weir.audit.fp_xor")
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
	k := auditKey{epoch: int64(p.StartTimestamp()) / 1e6}
	k.Key = cell.Key{
		Pipeline: textOf(a, "weir.pipeline"), Stage: textOf(a, "weir.stage"), Dir: cell.Dir(textOf(a, "weir.dir")),
		Destination: textOf(a, "weir.destination"), Group: textOf(a, "weir.group"), Reason: textOf(a, "weir.reason"),
		Window: intOf(a, "weir.window", 0), Width: intOf(a, "weir.width", defaultWidth),
	}
	k.instance = t.auditor()
	c := t.cells[k]
	if c == nil {
		c = &auditCell{AuditCell: AuditCell{Cell: cell.Cell{Key: k.Key, Instance: k.instance, Service: t.res.service, Node: t.res.node, Epoch: k.epoch}}}
		t.cells[k] = c
		t.order = append(t.order, k)
	}
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
		}
		c.counted = true
	case "weir.audit.fp_sum":
		c.FpSum, c.sum = v, true
	case "weir.audit.fp_xor":
		c.FpXor, c.xor = v, true
	}
	c.Points++
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
