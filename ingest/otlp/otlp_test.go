package otlp

import (
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/histogram"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

func randomValue(r *rand.Rand, v pcommon.Value, depth int) {
	switch n := r.IntN(8); {
	case n == 0:
		v.SetStr("text \"quoted\" ü")
	case n == 1:
		v.SetInt(r.Int64() - r.Int64())
	case n == 2:
		v.SetDouble([]float64{r.NormFloat64(), math.NaN(), math.Inf(1), 0}[r.IntN(4)])
	case n == 3:
		v.SetBool(r.IntN(2) == 0)
	case n == 4:
		v.SetEmptyBytes().FromRaw([]byte{1, 2, 3})
	case n == 5 && depth < 3:
		s := v.SetEmptySlice()
		for range r.IntN(3) {
			randomValue(r, s.AppendEmpty(), depth+1)
		}
	case n == 6 && depth < 3:
		randomMap(r, v.SetEmptyMap(), depth+1)
	}
}

func randomMap(r *rand.Rand, m pcommon.Map, depth int) {
	for _, k := range []string{"a", "b", "c"}[:r.IntN(4)] {
		randomValue(r, m.PutEmpty(k), depth)
	}
}

func randomTraces(r *rand.Rand) ptrace.Traces {
	td := ptrace.NewTraces()
	for range r.IntN(3) {
		rs := td.ResourceSpans().AppendEmpty()
		if r.IntN(4) > 0 {
			rs.Resource().Attributes().PutStr("service.name", "svc")
			rs.Resource().Attributes().PutStr("host.name", "n1")
		}
		randomMap(r, rs.Resource().Attributes(), 0)
		rs.Resource().SetDroppedAttributesCount(uint32(r.IntN(2)))
		for range r.IntN(3) {
			ss := rs.ScopeSpans().AppendEmpty()
			ss.Scope().SetName("scope")
			for range r.IntN(4) {
				s := ss.Spans().AppendEmpty()
				if r.IntN(6) > 0 {
					s.SetTraceID(pcommon.TraceID{1, byte(r.IntN(256))})
				}
				if r.IntN(6) > 0 {
					s.SetSpanID(pcommon.SpanID{2, byte(r.IntN(256))})
				}
				s.SetParentSpanID(pcommon.SpanID{byte(r.IntN(2))})
				s.SetName("name")
				s.SetKind(ptrace.SpanKind(r.IntN(8)))
				s.Status().SetCode(ptrace.StatusCode(r.IntN(4)))
				s.Status().SetMessage("msg")
				s.TraceState().FromRaw("a=b")
				s.SetStartTimestamp(pcommon.Timestamp(r.IntN(3)) * 1e9)
				s.SetEndTimestamp(pcommon.Timestamp(r.IntN(3)) * 1e9)
				s.SetDroppedAttributesCount(uint32(r.IntN(3)))
				s.SetDroppedEventsCount(uint32(r.IntN(3)))
				randomMap(r, s.Attributes(), 0)
				for range r.IntN(3) {
					e := s.Events().AppendEmpty()
					e.SetName("event")
					e.SetTimestamp(5)
					e.SetDroppedAttributesCount(1)
					randomMap(r, e.Attributes(), 0)
				}
				for range r.IntN(3) {
					l := s.Links().AppendEmpty()
					l.SetTraceID(pcommon.TraceID{9})
					l.SetSpanID(pcommon.SpanID{8})
					randomMap(r, l.Attributes(), 0)
				}
			}
		}
	}
	return td
}

func encode(tb testing.TB, td ptrace.Traces) []byte {
	tb.Helper()
	b, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// compare decodes in both ways. Only what pdata takes is compared: it refuses ids of a wrong length as a whole.
func compare(t *testing.T, b []byte) bool {
	t.Helper()
	var d SpanDecoder
	err := d.Decode(b, 1000)
	req := ptraceotlp.NewExportRequest()
	perr := req.UnmarshalProto(b)
	n := 0
	for _, r := range d.Out.Rejected {
		n += r.Count
	}
	if err == nil && d.Out.Received != n+len(d.Out.Spans) {
		t.Fatalf("received %d, but %d spans and %d rejected", d.Out.Received, len(d.Out.Spans), n)
	}
	if err != nil || perr != nil {
		return err == nil
	}
	want := FromTraces(req.Traces())
	if len(want.Spans) == 0 {
		want.Spans = nil
	}
	got := d.Out
	if len(got.Spans) == 0 {
		got.Spans = nil
	}
	if diff := cmp.Diff(want, got, equateEmpty); diff != "" {
		t.Fatalf("pdata (-) and own (+) differ:\n%s", diff)
	}
	return true
}

// equateEmpty treats nil and empty slices as equal.
var equateEmpty = cmp.FilterValues(func(a, b any) bool { return emptySlice(a) && emptySlice(b) }, cmp.Ignore())

func emptySlice(v any) bool {
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Slice && r.Len() == 0
}

func TestDecodeDifferential(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		if !compare(t, encode(t, randomTraces(r))) {
			t.Fatal("a good request was refused")
		}
	}
}

func TestDecodeDamaged(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 4 {
		b := encode(t, randomTraces(r))
		for i := range b {
			compare(t, b[:i])
			c := append([]byte(nil), b...)
			c[i] ^= 1 << r.IntN(8)
			compare(t, c)
		}
	}
}

func FuzzSpans(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		f.Add(encode(f, randomTraces(r)))
	}
	f.Fuzz(func(t *testing.T, b []byte) { compare(t, b) })
}

func FuzzMetrics(f *testing.F) {
	f.Add([]byte(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","gauge":{"dataPoints":[{"timeUnixNano":"1000000","asInt":"1"}]}}]}]}]}`))
	f.Add([]byte(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"h","histogram":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":"1000000","count":"2","bucketCounts":["1","1"],"explicitBounds":[1]}]}}]}]}]}`))
	f.Add([]byte(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"e","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":"1000000","count":"2","scale":9,"positive":{"offset":-3,"bucketCounts":["1","0","1"]}}]}}]}]}]}`))
	f.Add([]byte(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"weir.audit.messages","sum":{"aggregationTemporality":2,"dataPoints":[{"startTimeUnixNano":"1","timeUnixNano":"1000000","asInt":"1"}]}}]}]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		md, err := (&pmetric.JSONUnmarshaler{}).UnmarshalMetrics(b)
		if err != nil {
			return
		}
		checkMetrics(t, Translate(md, testLimits))
	})
}

var testLimits = Limits{Labels: 30, Name: 200, Value: 2048, Series: 10_000}

// checkMetrics holds the equation and the form of batches.
func checkMetrics(t *testing.T, m *Metrics) {
	t.Helper()
	n := m.SinglePoints() + len(m.MultiFrom)
	for _, c := range m.Cells {
		n += c.Points
	}
	for _, r := range m.Rejected {
		n += r.Count
	}
	if n != m.Received {
		t.Fatalf("received %d, but %d are accounted for", m.Received, n)
	}
	for _, b := range []struct {
		symbols []string
		refs    func(func([]uint32))
	}{
		{m.Single.Symbols, func(f func([]uint32)) {
			for _, s := range m.Single.Series {
				f(s.LabelRefs)
			}
		}},
		{m.Multi.Symbols, func(f func([]uint32)) {
			for _, s := range m.Multi.Series {
				f(s.LabelRefs)
			}
		}},
	} {
		b.refs(func(refs []uint32) {
			prev := ""
			for i := 0; i < len(refs); i += 2 {
				if name := b.symbols[refs[i]]; name <= prev {
					t.Fatalf("labels are not sorted: %q after %q", name, prev)
				} else {
					prev = name
				}
			}
		})
	}
}

func TestExponentialBuckets(t *testing.T) {
	for _, c := range []struct {
		scale, offset int32
		counts        []uint64
		schema        int32
		spans         []histogram.Span
		deltas        []int64
	}{
		{0, 0, []uint64{1, 2, 3}, 0, []histogram.Span{{Offset: 1, Length: 3}}, []int64{1, 1, 1}},
		{0, -2, []uint64{4}, 0, []histogram.Span{{Offset: -1, Length: 1}}, []int64{4}},
		{0, 0, []uint64{1, 0, 2}, 0, []histogram.Span{{Offset: 1, Length: 3}}, []int64{1, -1, 2}},
		{0, 0, []uint64{1, 0, 0, 0, 2}, 0, []histogram.Span{{Offset: 1, Length: 1}, {Offset: 3, Length: 1}}, []int64{1, 1}},
		{9, 0, []uint64{1, 2, 3, 4}, 8, []histogram.Span{{Offset: 1, Length: 2}}, []int64{3, 4}},
		{9, -3, []uint64{1, 2, 3}, 8, []histogram.Span{{Offset: -1, Length: 2}}, []int64{1, 4}},
		{0, 5, []uint64{0, 0}, 0, nil, nil},
	} {
		md := pmetric.NewMetrics()
		m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
		m.SetName("h")
		m.SetEmptyExponentialHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		p := m.ExponentialHistogram().DataPoints().AppendEmpty()
		p.SetTimestamp(1e6)
		p.SetScale(c.scale)
		p.Positive().SetOffset(c.offset)
		p.Positive().BucketCounts().FromRaw(c.counts)
		var sum uint64
		for _, n := range c.counts {
			sum += n
		}
		p.SetCount(sum)
		out := Translate(md, testLimits)
		if len(out.Single.Series) != 1 {
			t.Fatalf("%+v: %+v", c, out.Rejected)
		}
		h := out.Single.Series[0].Histograms[0].H
		if h.Schema != c.schema {
			t.Errorf("%+v: schema %d", c, h.Schema)
		}
		if diff := cmp.Diff(c.spans, h.PositiveSpans); diff != "" {
			t.Errorf("%+v: spans %s", c, diff)
		}
		if diff := cmp.Diff(c.deltas, h.PositiveBuckets); diff != "" {
			t.Errorf("%+v: deltas %s", c, diff)
		}
	}
}

// TestLabelClash: attributes that differ only in what a label cannot hold are joined; resource labels win.
func TestLabelClash(t *testing.T) {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("host.name", "n1")
	m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("g")
	p := m.SetEmptyGauge().DataPoints().AppendEmpty()
	p.SetTimestamp(1e6)
	p.Attributes().PutStr("a.b", "1")
	p.Attributes().PutStr("a_b", "2")
	p.Attributes().PutStr("node", "liar")
	p.Attributes().PutStr("__name__", "liar")
	out := Translate(md, testLimits)
	checkMetrics(t, out)
	var got []string
	for _, r := range out.Single.Series[0].LabelRefs {
		got = append(got, out.Single.Symbols[r])
	}
	if s := strings.Join(got, ","); s != "__name__,g,a_b,1;2,node,n1" {
		t.Error(s)
	}
}

func BenchmarkDecodeSpans(b *testing.B) {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "svc")
	ss := rs.ScopeSpans().AppendEmpty()
	const n = 1000
	for i := range n {
		s := ss.Spans().AppendEmpty()
		s.SetTraceID(pcommon.TraceID{1, byte(i)})
		s.SetSpanID(pcommon.SpanID{1, byte(i), byte(i >> 8)})
		s.SetName("GET /api")
		s.SetStartTimestamp(5)
		for _, k := range []string{"http.method", "http.route", "peer.service", "db.system", "net.peer.name"} {
			s.Attributes().PutStr(k, "value")
		}
		s.Attributes().PutInt("http.status_code", 200)
	}
	body := encode(b, td)
	b.Run("own", func(b *testing.B) {
		var d SpanDecoder
		b.ReportAllocs()
		for b.Loop() {
			if err := d.Decode(body, 50_000); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/span")
	})
	b.Run("pdata", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			req := ptraceotlp.NewExportRequest()
			if err := req.UnmarshalProto(body); err != nil {
				b.Fatal(err)
			}
			FromTraces(req.Traces())
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/span")
	})
}
