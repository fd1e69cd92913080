package otlp

import (
	"cmp"
	"slices"
	"sort"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/weirhq/weir/store"
)

// maxExemplars bounds the exemplars of one point; further ones are counted and left out.
const maxExemplars = 100

// exemplars attaches those of a point that name a trace, oldest first; of picks the series for a value.
// Filtered attributes are left out: the trace has them.
func (t *translator) exemplars(b *batch, es pmetric.ExemplarSlice, of func(v float64) *store.BatchSeries) {
	for i, e := range es.All() {
		t.out.Exemplars++
		if i >= maxExemplars || e.TraceID().IsEmpty() || e.Timestamp() == 0 {
			continue
		}
		v := e.DoubleValue()
		if e.ValueType() == pmetric.ExemplarValueTypeInt {
			v = float64(e.IntValue())
		}
		refs := []uint32{b.ref("trace_id"), b.ref(e.TraceID().String())}
		if id := e.SpanID(); id != (pcommon.SpanID{}) {
			refs = []uint32{b.ref("span_id"), b.ref(id.String()), refs[0], refs[1]}
		}
		s := of(v)
		s.Exemplars = append(s.Exemplars, store.Exemplar{LabelRefs: refs, T: e.Timestamp().AsTime().UnixMilli(), V: v})
		slices.SortStableFunc(s.Exemplars, func(x, y store.Exemplar) int { return cmp.Compare(x.T, y.T) })
	}
}

// bucketOf picks the series of the bucket that a value fell into: bounds[i] belongs to series first+i, +Inf to the last.
func (t *translator) bucketOf(bounds pcommon.Float64Slice, counted bool, first int) func(v float64) *store.BatchSeries {
	return func(v float64) *store.BatchSeries {
		i := 0
		if counted {
			i = sort.Search(bounds.Len(), func(i int) bool { return bounds.At(i) >= v })
		}
		return &t.multi.b.Series[first+i]
	}
}
