package flow

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// clocksApart is a pipeline whose sink stands on a node with a clock of its own: what it measures, and the clocks the collectors found.
type clocksApart struct {
	origin, sink float64 // how far the server's clock is ahead, ms
	measured     bool    // the collectors know
	latency      func() float64
}

func (k clocksApart) cells() (cells []cell.Cell, auditors []cell.Auditor, w Window) {
	w = Window{1_732_334_400, 60}
	out := cell.Key{Pipeline: "p", Stage: "source", Dir: cell.Out, Destination: "orders", Window: w.Start, Width: w.Width}
	in := out
	in.Stage, in.Dir, in.Group = "sink", cell.In, "g"
	var s cell.Sample
	s.Latency = &cell.Sketch{}
	if k.measured && math.Abs(k.sink) > 10 {
		s.Corrected = &cell.Sketch{}
	}
	for range 60_000 {
		// Origin stamp by the origin's clock, arrival by the sink's.
		v := k.latency() - k.sink + k.origin
		s.Latency.Observe(v, 1)
		if s.Corrected != nil {
			s.Corrected.Observe(v+k.sink, 1)
		}
	}
	cells = []cell.Cell{
		{Key: out, Instance: "n1/a", Node: "n1", Counts: cell.Counts{N: 60_000}},
		{Key: in, Instance: "n2/b", Node: "n2", Counts: cell.Counts{N: 60_000}, Sample: s},
	}
	auditors = []cell.Auditor{{Node: "n1", Epoch: 1, At: 5}, {Node: "n2", Epoch: 1, At: 5}}
	if k.measured {
		auditors[0].ClockOffset, auditors[0].ClockError = int64(k.origin*1000), 2000
		auditors[1].ClockOffset, auditors[1].ClockError = int64(k.sink*1000), 2000
	}
	return cells, auditors, w
}

func (k clocksApart) path(t *testing.T) *Path {
	t.Helper()
	cells, auditors, w := k.cells()
	tl := Tallies(cells)["p"]
	ps := tl.Latencies(w, Build(tl), Clocks(auditors))
	whole, read := ps[PathKey{Stage: "sink"}], ps[PathKey{"sink", "orders"}]
	if len(ps) != 2 || whole == nil || !whole.Latency.Equal(read.Latency) {
		t.Fatalf("paths %v", ps)
	}
	return whole
}

// Clock of the sink 5 s behind, true latency 50 ms.
func TestScenario10ClockSkewInFull(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 10))
	fifty := func() float64 { return 50 + 2*r.NormFloat64() }

	unknown := clocksApart{sink: 5000, latency: func() float64 { return 50 }}.path(t)
	near(t, "min as measured", unknown.Min, -4950, 0.001)
	near(t, "skew", unknown.Skew(), 4.95, 1e-9)
	if unknown.Latency.Clamped != 60_000 || unknown.Quantile(0.5) != 0 || unknown.Error != 0 {
		t.Errorf("without clocks: %d clamped, p50 %g", unknown.Latency.Clamped, unknown.Quantile(0.5))
	}
	known := clocksApart{sink: 5000, measured: true, latency: fifty}.path(t)
	near(t, "corrected p50", known.Quantile(0.5), 0.050, 0.0005)
	if known.Latency.Clamped != 0 || known.Skew() < 4.93 || known.Error != 4 {
		t.Errorf("with clocks: %d clamped, skew %g, error %g", known.Latency.Clamped, known.Skew(), known.Error)
	}
	for _, c := range []struct {
		what         string
		origin, sink float64
		tolerance    float64
	}{
		{"both nodes 5 s behind the server", 5000, 5000, 0.0005},
		{"origin 5 s ahead", -5000, 0, 0.041},
		{"origin 5 s behind", 5000, 0, 0.041},
		{"both a little off", -3, 2, 0.006},
		{"sink 300 ms ahead", 0, -300, 0.0005},
	} {
		p := clocksApart{c.origin, c.sink, true, fifty}.path(t)
		near(t, c.what, p.Quantile(0.5), 0.050, c.tolerance)
	}

	// Event time is stamped once: the counts of both sides are of the same window, and equal.
	cells, auditors, w := clocksApart{sink: 5000, measured: true, latency: fifty}.cells()
	tl := Tallies(cells)["p"]
	now := (w.Start + 600) * 1000
	for i := range auditors {
		auditors[i].At, auditors[i].FlushMS = now, 1000
	}
	out := Settle(Settlement{
		Now: now, Tally: tl, Topology: Build(tl), Rules: DefaultRules(), Audit: NewAudit(auditors, now, DefaultRules()),
		Known: func(k store.VerdictKey) (int64, bool) { return 0, k.Kind == store.EdgeTransport },
	})
	if len(out.Verdicts) != 1 || out.Verdicts[0].State != OK || out.Verdicts[0].Delta != 0 {
		t.Errorf("%+v", out.Verdicts)
	}
}

// A percentile of the whole is that of all records, whatever stages and instances they went through.
func TestLatenciesMergeLikeOneStage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all cell.Sketch
		var cells []cell.Cell
		for i := range rapid.IntRange(1, 5).Draw(t, "instances") {
			var s cell.Sketch
			for range rapid.IntRange(1, 50).Draw(t, "records") {
				v := rapid.Float64Range(0.1, 1e5).Draw(t, "latency")
				s.Observe(v, 1)
				all.Observe(v, 1)
			}
			cells = append(cells, cell.Cell{
				Key:      cell.Key{Pipeline: "p", Stage: "b", Dir: cell.In, Destination: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "dst"), Group: "g", Window: 60, Width: 60},
				Instance: string(rune('a' + i)), Counts: cell.Counts{N: 50}, Sample: cell.Sample{Latency: &s},
			})
		}
		cells = rapid.Permutation(cells).Draw(t, "order")
		tl := Tallies(cells)["p"]
		got := tl.Latencies(Window{60, 60}, Build(tl), nil)[PathKey{Stage: "b"}]
		if !got.Latency.Equal(&all) {
			t.Fatalf("%+v, want %+v", got.Latency, all)
		}
	})
}

// A source that stamps measures nothing; a stage that measures only its output is shown by that.
func TestLatencyAtTheOutput(t *testing.T) {
	var s cell.Sketch
	s.Observe(7, 3)
	k := cell.Key{Pipeline: "p", Stage: "b", Dir: cell.Out, Destination: "table", Window: 60, Width: 60}
	tl := Tallies([]cell.Cell{{Key: k, Instance: "n/1", Sample: cell.Sample{Latency: &s}}})["p"]
	ps := tl.Latencies(Window{60, 60}, Build(tl), nil)
	if len(ps) != 1 || ps[PathKey{Stage: "b"}] == nil || ps[PathKey{Stage: "b"}].Latency.Count != 3 {
		t.Errorf("%+v", ps)
	}
	if len(tl.Instances["b"]) != 0 {
		t.Error("who only measures is no instance")
	}
}
