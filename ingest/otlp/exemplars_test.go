package otlp

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/weirhq/weir/store"
)

// Exemplars that name a trace come with the series of their point, in a histogram with their bucket.
func TestExemplarsFollowTheirPoints(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	trace := pcommon.TraceID{1, 2, 3}
	add := func(es pmetric.ExemplarSlice, v float64, id pcommon.TraceID, after time.Duration) {
		e := es.AppendEmpty()
		e.SetDoubleValue(v)
		e.SetTraceID(id)
		e.SetTimestamp(pcommon.NewTimestampFromTime(at.Add(after)))
	}
	md := pmetric.NewMetrics()
	ms := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics()

	m := ms.AppendEmpty()
	m.SetName("orders")
	sum := m.SetEmptySum()
	sum.SetIsMonotonic(true)
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	p := sum.DataPoints().AppendEmpty()
	p.SetIntValue(7)
	p.SetTimestamp(pcommon.NewTimestampFromTime(at))
	add(p.Exemplars(), 2, trace, time.Second)
	add(p.Exemplars(), 1, trace, 0)
	add(p.Exemplars(), 3, pcommon.TraceID{}, 0) // names no trace: counted, not kept

	m = ms.AppendEmpty()
	m.SetName("took")
	h := m.SetEmptyHistogram()
	h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	hp := h.DataPoints().AppendEmpty()
	hp.SetTimestamp(pcommon.NewTimestampFromTime(at))
	hp.SetCount(3)
	hp.ExplicitBounds().FromRaw([]float64{1, 10})
	hp.BucketCounts().FromRaw([]uint64{1, 1, 1})
	add(hp.Exemplars(), 10, trace, 0) // the bound belongs to the bucket
	add(hp.Exemplars(), 50, trace, 0)
	hp.Exemplars().At(1).SetSpanID(pcommon.SpanID{9})

	out := Translate(md, Limits{Labels: 30, Name: 200, Value: 2000, Series: 1000})
	if out.Received != 2 || out.Exemplars != 5 || len(out.Rejected) != 0 {
		t.Fatalf("received %d points, %d exemplars, rejected %v", out.Received, out.Exemplars, out.Rejected)
	}
	var got []string
	for _, b := range []store.MetricBatch{out.Single, out.Multi} {
		text := func(refs []uint32) string {
			var w []string
			for i := 0; i+1 < len(refs); i += 2 {
				w = append(w, b.Symbols[refs[i]]+"="+b.Symbols[refs[i+1]])
			}
			return strings.Join(w, ",")
		}
		for _, s := range b.Series {
			for _, e := range s.Exemplars {
				got = append(got, fmt.Sprintf("%s: %g at %d of %s", text(s.LabelRefs), e.V, e.T-at.UnixMilli(), text(e.LabelRefs)))
			}
		}
	}
	slices.Sort(got)
	id := "trace_id=01020300000000000000000000000000"
	want := []string{
		"__name__=orders_total: 1 at 0 of " + id,
		"__name__=orders_total: 2 at 1000 of " + id,
		"__name__=took_bucket,le=+Inf: 50 at 0 of span_id=0900000000000000," + id,
		"__name__=took_bucket,le=10: 10 at 0 of " + id,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
