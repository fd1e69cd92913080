package remotewrite

import (
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"pgregory.net/rapid"
)

// want is one thing added to a batch, in the terms of the model; floats are compared by their bits.
type want struct {
	Labels   string
	Meta     metadata.Metadata
	Kind     string
	T, Start int64
	V        uint64
	Hist     string
	HistMeta string
	ExLabels string
}

func decode(t rapid.TB, raw []byte) []want {
	var req writev2.Request
	if err := req.Unmarshal(raw); err != nil {
		t.Fatalf("cannot decode what was encoded: %v", err)
	}
	if len(req.Symbols) == 0 || req.Symbols[0] != "" {
		t.Fatalf("first symbol must be the empty string, symbols are %q", req.Symbols)
	}
	seen := map[string]bool{}
	for _, s := range req.Symbols {
		if seen[s] {
			t.Fatalf("symbol %q is written twice", s)
		}
		seen[s] = true
	}
	out := make([]want, 0, len(req.Timeseries))
	sb := labels.NewScratchBuilder(0)
	for _, ts := range req.Timeseries {
		ls, err := ts.ToLabels(&sb, req.Symbols)
		if err != nil {
			t.Fatal(err)
		}
		m, err := ts.ToMetadata(req.Symbols)
		if err != nil {
			t.Fatal(err)
		}
		w := want{Labels: ls.String(), Meta: m}
		if n := len(ts.Samples) + len(ts.Histograms) + len(ts.Exemplars); n != 1 {
			t.Fatalf("a message holds %d things, want 1", n)
		}
		for _, s := range ts.Samples {
			w.Kind, w.T, w.Start, w.V = "sample", s.Timestamp, s.StartTimestamp, math.Float64bits(s.Value)
		}
		for _, h := range ts.Histograms {
			w.Kind, w.T, w.Start = "histogram", h.Timestamp, h.StartTimestamp
			if h.IsFloatHistogram() {
				fh := h.ToFloatHistogram()
				w.Hist, w.HistMeta = floatKey(fh)
			} else {
				w.Hist, w.HistMeta = intKey(h.ToIntHistogram())
			}
		}
		for _, e := range ts.Exemplars {
			ex, err := e.ToExemplar(&sb, req.Symbols)
			if err != nil {
				t.Fatal(err)
			}
			w.Kind, w.T, w.V, w.ExLabels = "exemplar", ex.Ts, math.Float64bits(ex.Value), ex.Labels.String()
		}
		out = append(out, w)
	}
	return out
}

func intKey(h *histogram.Histogram) (shape, meta string) {
	return fmt.Sprintf("%d %d %x %d %x %v %v %v %v %x", h.Count, h.ZeroCount, math.Float64bits(h.Sum), h.Schema, math.Float64bits(h.ZeroThreshold),
		h.PositiveSpans, h.NegativeSpans, h.PositiveBuckets, h.NegativeBuckets, h.CustomValues), fmt.Sprint(h.CounterResetHint)
}

func floatKey(h *histogram.FloatHistogram) (shape, meta string) {
	return fmt.Sprintf("f %x %x %x %d %x %v %v %v %v %x", h.Count, h.ZeroCount, math.Float64bits(h.Sum), h.Schema, math.Float64bits(h.ZeroThreshold),
		h.PositiveSpans, h.NegativeSpans, h.PositiveBuckets, h.NegativeBuckets, h.CustomValues), fmt.Sprint(h.CounterResetHint)
}

var types = []model.MetricType{
	model.MetricTypeUnknown, model.MetricTypeCounter, model.MetricTypeGauge, model.MetricTypeHistogram,
	model.MetricTypeGaugeHistogram, model.MetricTypeSummary, model.MetricTypeInfo, model.MetricTypeStateset,
}

func genSeries(t *rapid.T) *Series {
	text := rapid.SampledFrom([]string{"", "a", "b", "job", "request latency", "größe", "x\x00y", "seconds"})
	m := rapid.MapOfN(rapid.SampledFrom([]string{"__name__", "job", "le", "node", "service", "z"}), rapid.StringN(0, 12, -1), 0, 6).Draw(t, "labels")
	make := rapid.SampledFrom([]func(labels.Labels, metadata.Metadata) *Series{NewSeries, NewLeanSeries}).Draw(t, "constructor")
	return make(labels.FromMap(m), metadata.Metadata{Type: rapid.SampledFrom(types).Draw(t, "type"), Help: text.Draw(t, "help"), Unit: text.Draw(t, "unit")})
}

func genFloat() *rapid.Generator[float64] {
	return rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{
		0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(), math.Float64frombits(value.StaleNaN),
	}))
}

func genSpans(t *rapid.T, name string) []histogram.Span {
	spans := make([]histogram.Span, rapid.IntRange(0, 4).Draw(t, name))
	for i := range spans {
		spans[i] = histogram.Span{Offset: rapid.Int32().Draw(t, "offset"), Length: rapid.Uint32().Draw(t, "length")}
	}
	return spans
}

// TestDecodesAsWritten drives batches and series in random order, series moving between two batches, and decodes
// each request with the reference implementation.
func TestDecodesAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pool := make([]*Series, rapid.IntRange(1, 8).Draw(t, "series"))
		told := map[*Series]description{}
		for i := range pool {
			pool[i] = genSeries(t)
			told[pool[i]] = *pool[i].own
		}
		batches := []*Batch{NewBatch(), NewBatch()}
		model := [2][]want{{}, {}}
		ints := rapid.SliceOfN(rapid.Int64(), 0, 5)
		floats := rapid.SliceOfN(genFloat(), 0, 5)
		millis := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64())
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			k := rapid.IntRange(0, 1).Draw(t, "batch")
			b := batches[k]
			s := rapid.SampledFrom(pool).Draw(t, "one")
			ts, start := millis.Draw(t, "t"), millis.Draw(t, "start")
			d := told[s]
			if got := s.Labels(); !labels.Equal(got, d.labels) || s.LabelCount() != got.Len() {
				t.Fatalf("Labels says %s and %d of them, want %s", got, s.LabelCount(), d.labels)
			}
			w := want{Labels: d.labels.String(), Meta: metadata.Metadata{Type: types[s.kind], Help: d.help, Unit: d.unit}, T: ts, Start: start}
			switch rapid.IntRange(0, 9).Draw(t, "op") {
			case 0:
				if got := len(b.AppendTo(nil)); got != b.Size() {
					t.Fatalf("Size says %d, AppendTo wrote %d", b.Size(), got)
				}
				if d := cmp.Diff(model[k], decode(t, b.AppendTo([]byte{})), cmp.Transformer("", func(w want) string { return fmt.Sprintf("%+v", w) })); d != "" {
					t.Fatal(d)
				}
				if rapid.Bool().Draw(t, "forget") {
					b.dict.clear()
					b.begin()
				} else {
					b.Reset()
				}
				model[k] = []want{}
				continue
			case 1:
				h := &histogram.Histogram{
					CounterResetHint: histogram.CounterResetHint(rapid.IntRange(0, 3).Draw(t, "hint")), Schema: rapid.Int32().Draw(t, "schema"),
					ZeroThreshold: genFloat().Draw(t, "zt"), ZeroCount: rapid.Uint64().Draw(t, "zc"), Count: rapid.Uint64().Draw(t, "c"), Sum: genFloat().Draw(t, "sum"),
					PositiveSpans: genSpans(t, "ps"), NegativeSpans: genSpans(t, "ns"),
					PositiveBuckets: ints.Draw(t, "pb"), NegativeBuckets: ints.Draw(t, "nb"), CustomValues: floats.Draw(t, "cv"),
				}
				b.AddHistogram(s, ts, start, h)
				w.Kind = "histogram"
				w.Hist, w.HistMeta = intKey(h)
			case 2:
				h := &histogram.FloatHistogram{
					CounterResetHint: histogram.CounterResetHint(rapid.IntRange(0, 3).Draw(t, "hint")), Schema: rapid.Int32().Draw(t, "schema"),
					ZeroThreshold: genFloat().Draw(t, "zt"), ZeroCount: genFloat().Draw(t, "zc"), Count: genFloat().Draw(t, "c"), Sum: genFloat().Draw(t, "sum"),
					PositiveSpans: genSpans(t, "ps"), NegativeSpans: genSpans(t, "ns"),
					PositiveBuckets: floats.Draw(t, "pb"), NegativeBuckets: floats.Draw(t, "nb"), CustomValues: floats.Draw(t, "cv"),
				}
				b.AddFloatHistogram(s, ts, start, h)
				w.Kind = "histogram"
				w.Hist, w.HistMeta = floatKey(h)
			case 3:
				ls := labels.FromStrings("trace_id", rapid.StringN(1, 9, -1).Draw(t, "trace"))
				v := genFloat().Draw(t, "v")
				b.AddExemplar(s, ts, v, ls)
				w.Kind, w.Start, w.V, w.ExLabels = "exemplar", 0, math.Float64bits(v), ls.String()
			default:
				v := genFloat().Draw(t, "v")
				b.Add(s, ts, start, v)
				w.Kind, w.V = "sample", math.Float64bits(v)
			}
			model[k] = append(model[k], w)
		}
	})
}

func TestLenCountsSamplesAndHistograms(t *testing.T) {
	b := NewBatch()
	s := NewSeries(labels.FromStrings("__name__", "up"), metadata.Metadata{})
	b.Add(s, 1, 0, 1)
	b.AddHistogram(s, 1, 0, &histogram.Histogram{})
	b.AddExemplar(s, 1, 1, labels.EmptyLabels())
	if b.Len() != 2 {
		t.Errorf("Len is %d, want 2", b.Len())
	}
	b.Reset()
	if b.Len() != 0 || b.Size() != 2 {
		t.Errorf("after Reset Len is %d and Size %d, want 0 and 2 (the empty symbol)", b.Len(), b.Size())
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	b, pool := NewBatch(), manySeries(100)
	var dst []byte
	round := func() {
		for i, s := range pool {
			b.Add(s, 1700000000000, 1600000000000, float64(i))
		}
		dst = b.AppendTo(dst[:0])
		b.Reset()
	}
	round()
	if n := testing.AllocsPerRun(50, round); n != 0 {
		t.Errorf("%v allocations per batch of known series, want 0", n)
	}
}

// TestDictionaryForgets sends ever new series: the dictionary must not keep what nobody uses any more.
func TestDictionaryForgets(t *testing.T) {
	b := NewBatch()
	for i := range 60_000 {
		s := NewSeries(labels.FromStrings("__name__", "up", "pod", fmt.Sprint(i)), metadata.Metadata{})
		for range 3 {
			b.Add(s, 1, 0, 1)
		}
		if b.Len() >= 30 {
			b.Reset()
		}
	}
	if n := len(b.dict.home.strings); n > 20_000 {
		t.Errorf("dictionary holds %d strings after 60,000 series of one batch each, want few", n)
	}
}

func manySeries(n int) []*Series {
	out := make([]*Series, n)
	for i := range out {
		out[i] = NewSeries(labels.FromStrings(
			"__name__", fmt.Sprintf("http_server_requests_%d_total", i%50), "node", "node-17.example.org", "service", "checkout",
			"container", "c0ffee0123456789", "instance", "10.0.0.17:8080", "job", "checkout", "path", fmt.Sprintf("/api/v1/%d", i), "code", "200",
		), metadata.Metadata{Type: model.MetricTypeCounter, Help: fmt.Sprintf("Requests of kind %d.", i%50)})
	}
	return out
}

func BenchmarkBatch(b *testing.B) {
	pool := manySeries(1000)
	batch := NewBatch()
	var dst []byte
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		batch.Reset()
		for i, s := range pool {
			batch.Add(s, 1700000000000, 1600000000000, float64(n+i))
		}
		dst = batch.AppendTo(dst[:0])
		n++
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(pool)), "ns/sample")
	b.ReportMetric(float64(len(dst))/float64(len(pool)), "B/sample")
}
