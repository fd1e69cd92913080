package otlp

import (
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pmetric"
)

// A point that an SDK folded others into is refused with the way out, not with what it lacks.
func TestOverflowPointIsRefused(t *testing.T) {
	md := pmetric.NewMetrics()
	m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("weir.audit.messages")
	sum := m.SetEmptySum()
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	p := sum.DataPoints().AppendEmpty()
	p.SetIntValue(7)
	p.SetStartTimestamp(1e15)
	p.SetTimestamp(2e15)
	p.Attributes().PutBool("otel.metric.overflow", true)
	got := Translate(md, testLimits)
	if len(got.Cells) != 0 || len(got.Rejected) != 1 || got.Rejected[0].Count != 1 || !strings.Contains(got.Rejected[0].Example, "cardinality limit") {
		t.Errorf("%d cells, rejected %+v", len(got.Cells), got.Rejected)
	}
}
