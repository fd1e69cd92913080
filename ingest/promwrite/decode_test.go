package promwrite

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/weirhq/weir/store"
)

// flat is a decoded series in a form that both decoders can be turned into.
type flat struct {
	Labels  string
	Samples []store.Sample
	Hist    []string
	Ex      []string
	Meta    metadata.Metadata
}

func flatten(b *store.MetricBatch) []flat {
	var out []flat
	var sb labels.ScratchBuilder
	for i := range b.Series {
		s := &b.Series[i]
		f := flat{Labels: b.LabelsOf(s, &sb).String(), Samples: append([]store.Sample(nil), s.Samples...), Meta: s.Meta}
		for _, h := range s.Histograms {
			f.Hist = append(f.Hist, showHist(h.T, h.Start, h.H, h.FH))
		}
		for _, e := range s.Exemplars {
			var ls []string
			for _, r := range e.LabelRefs {
				ls = append(ls, b.Symbols[r])
			}
			f.Ex = append(f.Ex, fmt.Sprintf("%q %v %v", ls, e.T, math.Float64bits(e.V)))
		}
		out = append(out, f)
	}
	return out
}

func showHist(t, start int64, h *histogram.Histogram, fh *histogram.FloatHistogram) string {
	if h != nil {
		return fmt.Sprintf("%d %d int %+v", t, start, *h)
	}
	return fmt.Sprintf("%d %d float %+v", t, start, *fh)
}

// want2 is what the generated types say a 2.0 request holds; ok false when it is not to be stored.
func want2(req *writev2.Request) (out []flat, ok bool) {
	if len(req.Symbols) > 0 && req.Symbols[0] != "" {
		return nil, false
	}
	for i := range req.Timeseries {
		ts := &req.Timeseries[i]
		b := labels.NewScratchBuilder(8)
		if len(ts.LabelsRefs)%2 != 0 {
			return nil, false
		}
		for _, r := range ts.LabelsRefs {
			if int(r) >= len(req.Symbols) {
				return nil, false
			}
		}
		ls, err := ts.ToLabels(&b, req.Symbols)
		if err != nil {
			return nil, false
		}
		md := metadata.Metadata{}
		if ts.Metadata.Type != 0 || ts.Metadata.HelpRef != 0 || ts.Metadata.UnitRef != 0 {
			if md, err = ts.ToMetadata(req.Symbols); err != nil {
				return nil, false
			}
		}
		f := flat{Labels: ls.WithoutEmpty().String(), Meta: md}
		for _, s := range ts.Samples {
			f.Samples = append(f.Samples, store.Sample{T: s.Timestamp, Start: s.StartTimestamp, V: s.Value})
		}
		for _, h := range ts.Histograms {
			if h.ResetHint < 0 || h.ResetHint > 3 {
				h.ResetHint = 0 // a hint from the future says nothing
			}
			var ih *histogram.Histogram
			var fh *histogram.FloatHistogram
			if h.IsFloatHistogram() {
				fh = h.ToFloatHistogram()
				err = fh.Validate()
			} else {
				ih = h.ToIntHistogram()
				err = ih.Validate()
			}
			if err == nil {
				f.Hist = append(f.Hist, showHist(h.Timestamp, h.StartTimestamp, ih, fh))
			}
		}
		for _, e := range ts.Exemplars {
			var names []string
			for _, r := range e.LabelsRefs {
				if int(r) >= len(req.Symbols) {
					return nil, false
				}
				names = append(names, req.Symbols[r])
			}
			f.Ex = append(f.Ex, fmt.Sprintf("%q %v %v", names, e.Timestamp, math.Float64bits(e.Value)))
		}
		if len(f.Samples)+len(f.Hist)+len(f.Ex) > 0 && acceptable(ls) {
			out = append(out, f)
		}
	}
	return out, true
}

func acceptable(ls labels.Labels) bool {
	lim := DefaultLimits()
	ok := ls.Get("__name__") != ""
	prev, n := "", 0
	ls.Range(func(l labels.Label) {
		ok = ok && l.Name != "" && l.Name != prev && len(l.Name) <= lim.Name && len(l.Value) <= lim.Value && strings.ToValidUTF8(l.Name, "!") == l.Name && strings.ToValidUTF8(l.Value, "!") == l.Value
		prev = l.Name
		if l.Value != "" {
			n++
		}
	})
	return ok && n <= lim.Labels && ls.Len() <= 2*lim.Labels
}

func random2(r *rand.Rand) *writev2.Request {
	st := writev2.NewSymbolTable()
	req := &writev2.Request{}
	for range r.IntN(6) {
		ts := writev2.TimeSeries{}
		ls := labels.FromStrings("__name__", fmt.Sprint("m", r.IntN(3)), "a", fmt.Sprint(r.IntN(3)), "ü", strings.Repeat("x", r.IntN(4)))
		switch r.IntN(12) {
		case 0:
			ls = labels.FromStrings("a", "no name")
		case 1:
			ls = labels.FromStrings("__name__", "m", "long", strings.Repeat("v", 3000))
		case 2:
			ls = labels.FromStrings("__name__", "m", "bad", "\xff")
		}
		ts.LabelsRefs = st.SymbolizeLabels(ls, nil)
		if r.IntN(8) == 0 && len(ts.LabelsRefs) > 3 { // unsorted
			ts.LabelsRefs[0], ts.LabelsRefs[2] = ts.LabelsRefs[2], ts.LabelsRefs[0]
			ts.LabelsRefs[1], ts.LabelsRefs[3] = ts.LabelsRefs[3], ts.LabelsRefs[1]
		}
		for range r.IntN(4) {
			ts.Samples = append(ts.Samples, writev2.Sample{Value: r.NormFloat64(), Timestamp: r.Int64() - r.Int64(), StartTimestamp: r.Int64N(3)})
		}
		for range r.IntN(3) {
			h := &histogram.Histogram{
				Schema: int32(r.IntN(12)) - 4, ZeroThreshold: 0.001, ZeroCount: uint64(r.IntN(3)), Count: 0, Sum: r.Float64(),
				PositiveSpans: []histogram.Span{{Offset: int32(r.IntN(5)) - 2, Length: 2}}, PositiveBuckets: []int64{1, int64(r.IntN(5)) - 2},
				NegativeSpans: []histogram.Span{{Offset: 0, Length: 1}, {Offset: 1, Length: 1}}, NegativeBuckets: []int64{2, 1},
				CounterResetHint: histogram.CounterResetHint(r.IntN(4)),
			}
			h.Count = h.ZeroCount + 1 + uint64(1+h.PositiveBuckets[1]) + 2 + 3
			if r.IntN(2) == 0 {
				ts.Histograms = append(ts.Histograms, writev2.FromIntHistogram(r.Int64N(1e12), h))
			} else {
				ts.Histograms = append(ts.Histograms, writev2.FromFloatHistogram(r.Int64N(1e12), h.ToFloat(nil)))
			}
		}
		if r.IntN(3) == 0 {
			ts.Exemplars = append(ts.Exemplars, writev2.Exemplar{LabelsRefs: st.SymbolizeLabels(labels.FromStrings("trace_id", "abc"), nil), Value: 1, Timestamp: r.Int64N(1e12)})
		}
		if r.IntN(2) == 0 {
			ts.Metadata = writev2.Metadata{Type: writev2.Metadata_MetricType(r.IntN(9)), HelpRef: st.Symbolize("help"), UnitRef: st.Symbolize("s")}
		}
		req.Timeseries = append(req.Timeseries, ts)
	}
	req.Symbols = st.Symbols()
	return req
}

func compare2(t *testing.T, body []byte) {
	t.Helper()
	var d Decoder
	err := d.V2(body, DefaultLimits())
	req := &writev2.Request{}
	gerr := req.Unmarshal(body)
	if err != nil {
		return // stricter than the generated code is fine; TestDifferential sees to it that good ones pass
	}
	if gerr != nil {
		t.Fatalf("taken, but the generated decoder says: %v", gerr)
	}
	want, ok := want2(req)
	if !ok {
		t.Fatal("taken, but references are wrong")
	}
	if diff := cmp.Diff(want, flatten(&d.Batch), cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })); diff != "" {
		t.Fatalf("generated (-) and own (+) differ:\n%s", diff)
	}
	checkCounts(t, &d)
}

// checkCounts holds the equation of the door: received = in the batch + rejected.
func checkCounts(t *testing.T, d *Decoder) {
	t.Helper()
	n := 0
	for _, s := range d.Batch.Series {
		n += len(s.Samples) + len(s.Histograms)
	}
	for _, r := range d.Rejected {
		n += r.Count
	}
	if n != d.Received {
		t.Fatalf("received %d, but %d are in the batch or rejected", d.Received, n)
	}
}

func TestDifferentialV2(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		req := random2(r)
		body, err := req.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		var d Decoder
		if err := d.V2(body, DefaultLimits()); err != nil {
			t.Fatalf("a good request was refused: %v", err)
		}
		compare2(t, body)
	}
}

func TestDifferentialV1(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 400 {
		req := random1(r)
		body, err := req.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		var d Decoder
		if err := d.V1(body, DefaultLimits()); err != nil {
			t.Fatalf("a good request was refused: %v", err)
		}
		compare1(t, body)
	}
}

func random1(r *rand.Rand) *prompb.WriteRequest {
	req := &prompb.WriteRequest{}
	for range r.IntN(6) {
		ts := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "m"}, {Name: "a", Value: fmt.Sprint(r.IntN(3))}}}
		if r.IntN(5) == 0 {
			ts.Labels = append(ts.Labels, prompb.Label{Name: "a", Value: "twice"})
		}
		for range r.IntN(4) {
			ts.Samples = append(ts.Samples, prompb.Sample{Value: r.NormFloat64(), Timestamp: r.Int64()})
		}
		if r.IntN(3) == 0 {
			h := &histogram.Histogram{Schema: 1, Count: 3, Sum: 2, PositiveSpans: []histogram.Span{{Offset: 1, Length: 2}}, PositiveBuckets: []int64{1, 1}}
			ts.Histograms = append(ts.Histograms, prompb.FromIntHistogram(r.Int64N(1e12), h), prompb.FromFloatHistogram(r.Int64N(1e12), h.ToFloat(nil)))
		}
		if r.IntN(3) == 0 {
			ts.Exemplars = append(ts.Exemplars, prompb.Exemplar{Labels: []prompb.Label{{Name: "trace_id", Value: "abc"}}, Value: 1, Timestamp: 7})
		}
		req.Timeseries = append(req.Timeseries, ts)
	}
	if r.IntN(2) == 0 {
		req.Metadata = append(req.Metadata, prompb.MetricMetadata{MetricFamilyName: "m", Help: "h"})
	}
	return req
}

func compare1(t *testing.T, body []byte) {
	t.Helper()
	var d Decoder
	if err := d.V1(body, DefaultLimits()); err != nil {
		return
	}
	req := &prompb.WriteRequest{}
	if err := req.Unmarshal(body); err != nil {
		t.Fatalf("taken, but the generated decoder says: %v", err)
	}
	var want []flat
	for i := range req.Timeseries {
		ts := &req.Timeseries[i]
		b := labels.NewScratchBuilder(8)
		ls := ts.ToLabels(&b, nil)
		f := flat{Labels: ls.WithoutEmpty().String()}
		for _, s := range ts.Samples {
			f.Samples = append(f.Samples, store.Sample{T: s.Timestamp, V: s.Value})
		}
		for _, h := range ts.Histograms {
			if h.ResetHint < 0 || h.ResetHint > 3 {
				h.ResetHint = 0
			}
			if h.IsFloatHistogram() {
				if fh := h.ToFloatHistogram(); fh.Validate() == nil {
					f.Hist = append(f.Hist, showHist(h.Timestamp, 0, nil, fh))
				}
			} else if ih := h.ToIntHistogram(); ih.Validate() == nil {
				f.Hist = append(f.Hist, showHist(h.Timestamp, 0, ih, nil))
			}
		}
		for _, e := range ts.Exemplars {
			var ls []string
			for _, l := range e.Labels {
				ls = append(ls, l.Name, l.Value)
			}
			f.Ex = append(f.Ex, fmt.Sprintf("%q %v %v", ls, e.Timestamp, math.Float64bits(e.Value)))
		}
		if len(f.Samples)+len(f.Hist)+len(f.Ex) > 0 && acceptable(ls) {
			want = append(want, f)
		}
	}
	if diff := cmp.Diff(want, flatten(&d.Batch), cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })); diff != "" {
		t.Fatalf("generated (-) and own (+) differ:\n%s", diff)
	}
	if d.Metadata != len(req.Metadata) {
		t.Fatalf("%d metadata records, want %d", d.Metadata, len(req.Metadata))
	}
	checkCounts(t, &d)
}

func FuzzV2(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 30 {
		b, err := random2(r).Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { compare2(t, b) })
}

func FuzzV1(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 30 {
		b, err := random1(r).Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { compare1(t, b) })
}

// TestDamaged cuts and flips good bodies: never a panic, and errors say where.
func TestDamaged(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 8 {
		b, err := random2(r).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		for i := range b {
			compare2(t, b[:i])
			c := slices.Clone(b)
			c[i] ^= byte(1 << r.IntN(8))
			compare2(t, c)
		}
	}
}

func TestErrors(t *testing.T) {
	lim := DefaultLimits()
	lim.Series, lim.Samples, lim.Histograms, lim.Buckets = 3, 4, 2, 10
	enc := func(req *writev2.Request) []byte {
		b, err := req.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	series := func(n, samples int) *writev2.Request {
		req := &writev2.Request{Symbols: []string{"", "__name__", "m"}}
		for range n {
			req.Timeseries = append(req.Timeseries, writev2.TimeSeries{LabelsRefs: []uint32{1, 2}, Samples: make([]writev2.Sample, samples)})
		}
		return req
	}
	badRef := series(2, 1)
	badRef.Timeseries[1].LabelsRefs = []uint32{1, 99}
	odd := series(1, 1)
	odd.Timeseries[0].LabelsRefs = []uint32{1}
	first := series(1, 1)
	first.Symbols[0] = "x"
	big := series(1, 0)
	big.Timeseries[0].Histograms = []writev2.Histogram{{PositiveDeltas: make([]int64, 11)}}
	v1, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{Labels: []prompb.Label{{Name: "__name__", Value: "m"}}}}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for want, body := range map[string][]byte{
		"more than 3 series":                    enc(series(4, 1)),
		"more than 4 samples":                   enc(series(1, 5)),
		"reference 99 is outside of the 3":      enc(badRef),
		"series 1, byte ":                       enc(badRef),
		"odd number of entries, 1":              enc(odd),
		"first symbol must be empty, not \"x\"": enc(first),
		"more than 10 buckets":                  enc(big),
		"is this a 1.0 body":                    v1,
		"byte 2: field is longer":               {0x2a, 0x7f},
	} {
		var d Decoder
		if err := d.V2(body, lim); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
	var d Decoder
	if err := d.V1(enc(series(1, 1)), lim); err == nil || !strings.Contains(err.Error(), "is this a 2.0 body") {
		t.Errorf("2.0 body as 1.0: %v", err)
	}
}

func TestReuse(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	var reused Decoder
	for range 200 {
		body, err := random2(r).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		var fresh Decoder
		if err := fresh.V2(body, DefaultLimits()); err != nil {
			t.Fatal(err)
		}
		if err := reused.V2(body, DefaultLimits()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(flatten(&fresh.Batch), flatten(&reused.Batch)); diff != "" {
			t.Fatal(diff)
		}
	}
}

// known returns a request of n series with ten labels, as scrapers send.
func known(n int) []byte {
	st := writev2.NewSymbolTable()
	req := &writev2.Request{}
	for i := range n {
		req.Timeseries = append(req.Timeseries, writev2.TimeSeries{
			LabelsRefs: st.SymbolizeLabels(labels.FromStrings("__name__", "http_requests_total", "code", "200", "handler", fmt.Sprintf("/api/%d", i%50), "instance", fmt.Sprintf("10.0.0.%d:80", i%97),
				"job", "api", "method", "get", "node", "node-1", "service", "api", "zone", "eu-1a", "le", fmt.Sprint(i)), nil),
			Samples: []writev2.Sample{{Value: float64(i), Timestamp: 1_700_000_000_000}},
		})
	}
	req.Symbols = st.Symbols()
	b, _ := req.Marshal()
	return b
}

func TestNoAllocation(t *testing.T) {
	body := known(1000)
	var d Decoder
	if n := testing.AllocsPerRun(20, func() {
		if err := d.V2(body, DefaultLimits()); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations per request of 1,000 known series", n)
	}
}

func BenchmarkV2(b *testing.B) {
	body := known(2000)
	var d Decoder
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if err := d.V2(body, DefaultLimits()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/sample")
}
