package cell

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// drawnIDs makes samples over a small world of ids, so that the same ones meet, with few bits so that M must rise.
func drawnIDs(t *rapid.T, what string) *IDs {
	var s IDs
	n := rapid.IntRange(0, 1500).Draw(t, what+" n")
	step := rapid.SampledFrom([]uint64{1, 64, 256, 4096}).Draw(t, what+" step")
	base := rapid.Uint64Range(0, 3000).Draw(t, what+" base")
	for i := range uint64(n) {
		s.Observe((base+i)*step, "")
	}
	for i := range rapid.IntRange(0, 100).Draw(t, what+" texts") {
		id := fmt.Sprint("o-", i*7)
		s.Observe(Hash(id), id)
	}
	return &s
}

// What a sample holds depends on what was counted, not on the order nor on how it was merged.
func TestIDsMergeInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := []*IDs{drawnIDs(t, "a"), drawnIDs(t, "b"), drawnIDs(t, "c")}
		var ab, ba, bc, left, right IDs
		ab.Merge(parts[0])
		ab.Merge(parts[1])
		ba.Merge(parts[1])
		ba.Merge(parts[0])
		if d := cmp.Diff(&ab, &ba); d != "" {
			t.Fatalf("a+b and b+a\n%s", d)
		}
		left.Merge(&ab)
		left.Merge(parts[2])
		bc.Merge(parts[1])
		bc.Merge(parts[2])
		right.Merge(parts[0])
		right.Merge(&bc)
		if d := cmp.Diff(&left, &right); d != "" {
			t.Fatalf("(a+b)+c and a+(b+c)\n%s", d)
		}
		if len(left.IDs) > MaxIDs || len(left.Texts) > MaxTexts {
			t.Fatalf("%d ids, %d texts", len(left.IDs), len(left.Texts))
		}
		for _, id := range left.IDs {
			if id.Hash%left.M != 0 {
				t.Fatalf("%x is not a multiple of %d", id.Hash, left.M)
			}
		}
	})
}

func TestIDsKeepWhatWasCounted(t *testing.T) {
	var s, twice IDs
	want := map[uint64]uint32{}
	for i := range 60_000 {
		id := fmt.Sprint("o-", i)
		h := Hash(id)
		s.Observe(h, id)
		if h%64 == 0 {
			want[h]++
		}
		if i%200 == 0 {
			s.Observe(h, id)
			if h%64 == 0 {
				want[h]++
			}
		}
	}
	if s.M != 64 || len(s.IDs) != len(want) || s.Of != 60_300 || len(s.Texts) != MaxTexts {
		t.Fatalf("M %d, %d ids of %d, %d texts; want %d ids", s.M, len(s.IDs), s.Of, len(s.Texts), len(want))
	}
	for _, id := range s.IDs {
		if want[id.Hash] != id.Times {
			t.Errorf("%x counted %d times, want %d", id.Hash, id.Times, want[id.Hash])
		}
	}
	for i := range 600_000 {
		twice.Observe(Hash(fmt.Sprint(i)), "")
	}
	if twice.M != 1024 || len(twice.IDs) > MaxIDs || len(twice.IDs) < 400 {
		t.Errorf("of 600,000: M %d, %d ids", twice.M, len(twice.IDs))
	}
	var evil IDs
	for i := range uint64(2000) {
		evil.Observe(i<<12, "")
	}
	if !evil.Void() || len(evil.IDs) != 0 || evil.Of != 2000 {
		t.Errorf("ids that are all in the coarsest sample: M %d, %d ids", evil.M, len(evil.IDs))
	}
	evil.Merge(&s)
	if !evil.Void() || len(evil.IDs) != 0 {
		t.Error("what was given up stays given up")
	}
}

func TestIDsSurviveEveryForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawnIDs(t, "s")
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back IDs
		if err := json.Unmarshal(b, &back); err != nil || s.M != 0 && back.Bad() != nil {
			t.Fatal(err, back.Bad())
		}
		if s.M != 0 && !s.Equal(&back) {
			t.Fatalf("JSON: %s", cmp.Diff(s, &back))
		}
		blob, err := ParseSample((&Sample{IDs: s}).AppendBinary(nil))
		if err != nil || !s.Equal(blob.IDs) {
			t.Fatalf("blob: %v %s", err, cmp.Diff(s, blob.IDs))
		}
		if s.M == 0 || s.Void() {
			return
		}
		var tag IDs
		if err := tag.ParseTag(s.AppendTag(nil), s.M, s.Of); err != nil || !s.Equal(&tag) {
			t.Fatalf("tag: %v %s", err, cmp.Diff(s, &tag))
		}
	})
}

func TestBadIDTags(t *testing.T) {
	in := Hash("o-17")
	good := fmt.Sprintf("%016x", in)
	for _, c := range []struct {
		tag, want string
		m         uint64
	}{
		{good, "power of two", 65},
		{good, "power of two", 0},
		{good, "power of two", 32},
		{good, "power of two", 1 << 40},
		{"0000000000000001", "not a multiple of 64", 64},
		{"xyz", "16 hexadecimal digits", 64},
		{"0000000000000040+", "", 64}, // an empty last one is no id
		{"+0000000000000040", "16 hexadecimal digits", 64},
		{"0000000000000040*0", "not a number above 0", 64},
		{"0000000000000040*99999999999", "not a number above 0", 64},
		{"0000000000000040=o-17", "its hash is", 64},
		{"0000000000000040=%zz", "two hexadecimal digits", 64},
		{"0000000000000040=a b", "two hexadecimal digits", 64},
		{"0000000000000040!", "only *COUNT and =ID", 64},
	} {
		var s IDs
		err := s.ParseTag([]byte(c.tag), c.m, 5)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q: %v, want %q", c.tag, err, c.want)
		}
		if err != nil && (s.M != 0 || s.Of != 0 || len(s.IDs) != 0) {
			t.Errorf("%q leaves %+v", c.tag, s)
		}
	}
}

func FuzzIDTag(f *testing.F) {
	f.Add([]byte("0000000000000040*3=a%2fb+0000000000000080"), uint64(64), uint64(9))
	f.Add([]byte("50bd6d326ec35280"), uint64(128), uint64(1))
	f.Fuzz(func(t *testing.T, tag []byte, m, of uint64) {
		var s IDs
		if s.ParseTag(tag, m, of) != nil {
			return
		}
		var again IDs
		if !s.Void() {
			if err := again.ParseTag(s.AppendTag(nil), s.M, s.Of); err != nil || !s.Equal(&again) {
				t.Fatalf("%q: %v", tag, err)
			}
		}
		if b, err := ParseSample((&Sample{IDs: &s}).AppendBinary(nil)); err != nil || !s.Equal(b.IDs) {
			t.Fatalf("%q: %v", tag, err)
		}
	})
}

func FuzzSampleBlob(f *testing.F) {
	var ids IDs
	var sk Sketch
	for i := range 2000 {
		ids.Observe(Hash(fmt.Sprint(i)), fmt.Sprint(i))
		sk.Observe(float64(i)-3, 1)
	}
	f.Add((&Sample{IDs: &ids, Latency: &sk, Corrected: sk.Shifted(5)}).AppendBinary(nil))
	f.Add((&Sample{IDs: &ids}).AppendBinary(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSample(b)
		if err != nil {
			return
		}
		again, err := ParseSample(s.AppendBinary(nil))
		if err != nil || !cmp.Equal(s, again) {
			t.Fatalf("%v: %s", err, cmp.Diff(s, again))
		}
	})
}

func FuzzBatchJSON(f *testing.F) {
	f.Add([]byte(`{"cells":[{"ids":{"m":64,"of":3,"ids":"0000000000000040","times":{"40":2}},"latency":{"count":3,"zero":1,"min":0,"max":2,"sum_us":3,"first":45,"buckets":[1,3,1]}}]}`))
	f.Add([]byte(`{"cells":[{"ids":{"m":65},"latency":{"count":-1}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var batch Batch
		if json.Unmarshal(b, &batch) != nil {
			return
		}
		for i := range batch.Cells {
			c := &batch.Cells[i]
			if c.IDs != nil && c.IDs.Bad() != nil || c.Latency != nil && c.Latency.Bad() != nil {
				continue
			}
			c.Corrected = nil
			s, err := ParseSample(c.AppendBinary(nil))
			if err != nil || !cmp.Equal(s, c.Sample) {
				t.Fatalf("%s: %v", b, err)
			}
			_ = c.Latency.Quantile(0.5)
		}
	})
}

// latencies draws values of many sizes, also none and below 0.
func latencies(t *rapid.T, what string) []float64 {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) float64 {
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			return 0
		case 1:
			return -rapid.Float64Range(0, 1e7).Draw(t, "negative")
		case 2:
			return rapid.Float64Range(0, MaxLatency).Draw(t, "any")
		default:
			return math.Pow(10, rapid.Float64Range(-3, 6).Draw(t, "power"))
		}
	}), 0, 200).Draw(t, what)
}

func sketchOf(vs []float64) *Sketch {
	var s Sketch
	for _, v := range vs {
		s.Observe(v, 1)
	}
	return &s
}

func TestSketchMergesInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := latencies(t, "a"), latencies(t, "b"), latencies(t, "c")
		all := sketchOf(slices.Concat(a, b, c))
		back := slices.Concat(a, b, c)
		slices.Reverse(back)
		var left, bc, right Sketch
		for _, p := range [][]float64{a, b, c} {
			left.Merge(sketchOf(p))
		}
		bc.Merge(sketchOf(c))
		bc.Merge(sketchOf(b))
		right.Merge(&bc)
		right.Merge(sketchOf(a))
		for what, s := range map[string]*Sketch{"reversed": sketchOf(back), "(a+b)+c": &left, "(c+b)+a": &right} {
			if !all.Equal(s) {
				t.Fatalf("%s differs: %+v and %+v", what, all, s)
			}
		}
		if err := all.check(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSketchQuantilesAreExactEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		vs := latencies(t, "values")
		if len(vs) == 0 {
			return
		}
		s := sketchOf(vs)
		slices.Sort(vs)
		for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.95, 0.99, 1} {
			want := vs[int(q*float64(len(vs)-1))]
			// Only what lies more than a factor of seven million below the largest is folded.
			if want > 0 && want < vs[len(vs)-1]/1e6 || want < 0 && want > vs[0]/1e6 {
				continue
			}
			if got := s.Quantile(q); math.Abs(got-want) > 0.008*math.Abs(want)+zeroLatency {
				t.Fatalf("quantile %g is %g, want %g", q, got, want)
			}
		}
	})
}

func TestSketchRefusesNonsense(t *testing.T) {
	var s Sketch
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e300, -1e300, MaxLatency * 2} {
		if s.Observe(v, 1) {
			t.Errorf("takes %g", v)
		}
	}
	if s.Count != 0 {
		t.Errorf("%+v", s)
	}
	s.Observe(-4950, 1000)
	s.Observe(5, 1)
	if s.Clamped != 1000 || s.Min != -4950 || s.Max != 5 || s.Quantile(0.5) > -4900 {
		t.Errorf("%+v", s)
	}
	s.Observe(1, math.MaxUint64)
	s.Observe(1, math.MaxUint64)
	if s.Count != math.MaxUint64 {
		t.Errorf("count %d", s.Count)
	}
}

func TestSketchesCanBeShifted(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var raw Sketch
	for range 60_000 {
		raw.Observe(50+5*r.NormFloat64()-5000, 1)
	}
	if raw.Clamped != raw.Count || raw.Min > -4900 {
		t.Errorf("%d clamped, min %g", raw.Clamped, raw.Min)
	}
	if p := raw.Shifted(5000).Quantile(0.5); math.Abs(p-50) > 0.008*5000 {
		t.Errorf("p50 %g ms, want 50 ± 40", p)
	}
}

func TestSketchSurvivesEveryForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := sketchOf(latencies(t, "values"))
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back Sketch
		if err := json.Unmarshal(b, &back); err != nil || back.Bad() != nil || !s.Equal(&back) {
			t.Fatalf("JSON: %v %v\n%s", err, back.Bad(), b)
		}
		blob := (&Sample{Latency: s}).AppendBinary([]byte("x"))
		if !bytes.HasPrefix(blob, []byte("x")) {
			t.Fatal("does not append")
		}
		sk, err := ParseSample(blob[1:])
		if err != nil || !s.Equal(sk.Latency) {
			t.Fatalf("blob: %v", err)
		}
	})
}

func TestBadSamplesDoNotSpoilTheBatch(t *testing.T) {
	var b Batch
	err := json.Unmarshal([]byte(`{"cells":[
		{"pipeline":"p","n":1,"ids":{"m":65,"of":1,"ids":""}},
		{"pipeline":"p","n":2,"ids":{"m":64,"of":1,"ids":"0000000000000001"}},
		{"pipeline":"p","n":3,"ids":"yes"},
		{"pipeline":"p","n":4,"latency":{"count":1e300}},
		{"pipeline":"p","n":5,"latency":{"count":2,"zero":1}},
		{"pipeline":"p","n":6,"latency":{"count":1,"first":5000,"buckets":[1]}},
		{"pipeline":"p","n":7,"latency":{"count":1,"clamped":1,"zero":1}}
	]}`), &b)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range b.Cells {
		if c.N != uint64(i+1) || (c.IDs == nil || c.IDs.Bad() == nil) && (c.Latency == nil || c.Latency.Bad() == nil) {
			t.Errorf("cell %d: %+v", i, c)
		}
	}
}

func BenchmarkIDsMerge(b *testing.B) {
	var full, few IDs
	for i := range 60_000 {
		full.Observe(Hash(fmt.Sprint(i)), "")
	}
	for i := range 500 {
		few.Observe(Hash(fmt.Sprint("x", i)), "")
	}
	for b.Loop() {
		s := full.Clone()
		s.Merge(&few)
	}
}

func BenchmarkSketchObserve(b *testing.B) {
	var s Sketch
	for i := 0; b.Loop(); i++ {
		s.Observe(float64(i%1000), 1)
	}
}

// BenchmarkSample shows how large a full cell is.
func BenchmarkSample(b *testing.B) {
	var ids IDs
	var sk Sketch
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 60_000 {
		id := fmt.Sprint("order-", i)
		ids.Observe(Hash(id), id)
		sk.Observe(50*math.Exp(r.NormFloat64()), 1)
	}
	full := Sample{IDs: &ids, Latency: &sk}
	blob := full.AppendBinary(nil)
	for b.Loop() {
		if _, err := ParseSample(blob); err != nil {
			b.Fatal(err)
		}
	}
	j, err := json.Marshal(Cell{Sample: full})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(len(blob)), "blob-B")
	b.ReportMetric(float64(len((&Sample{Latency: &sk}).AppendBinary(nil))), "sketch-B")
	b.ReportMetric(float64(len(j)), "json-B")
	b.ReportMetric(float64(ids.Size()), "ids-mem-B")
	b.ReportMetric(float64(sk.Size()), "sketch-mem-B")
}
