package flow

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// sampledBase is the base with stages that sample ids. The ids are named so that 9,486 of 600,000 are in the sample 1 in 64, as in
// the table of docs/pipeline-model.md, and that the numbers of what is lost and doubled below are those of the table as well.
func sampledBase() (s *sim, source, enrich, sink *simStage) {
	s, source, enrich, sink = base()
	s.ids, s.prefix = true, "4w-"
	return s, source, enrich, sink
}

// compared adds up what the id samples of all windows say about two ports.
func (s *sim) compared(t *testing.T, up, down Port) IDSample {
	t.Helper()
	tl := Tallies(s.cells())["p"]
	var out IDSample
	for _, w := range tl.Windows {
		us, ds := tl.At(up, w), tl.At(down, w)
		u, d := us.Sample(), ds.Sample()
		if u == nil || d == nil {
			t.Fatalf("window %d: no sample", w.Start)
		}
		c := CompareSamples(u, d)
		out.Upstream += c.Upstream
		out.Missing += c.Missing
		out.Extra += c.Extra
		out.Foreign += c.Foreign
	}
	out.Loss, out.Dup = Wilson(out.Missing, out.Upstream), Wilson(out.Extra, out.Upstream)
	return out
}

func TestScenario02WithIDs(t *testing.T) {
	s, _, enrich, _ := sampledBase()
	enrich.dropID = func(id uint64) bool { return id%100 == 93 }
	s.advance(720)
	v, _, states := s.total(store.EdgeBalance, "enrich")
	if states[Loss] != 10 || v.Lost != 6000 || v.Delta != 6000 {
		t.Errorf("states %v, δ %d, lost %d", states, v.Delta, v.Lost)
	}
	for k, v := range s.verdicts {
		if v.Level != L3 {
			t.Errorf("%v: %s", k, v.Level)
		}
		if v.State != Loss {
			continue
		}
		if k.Kind != store.EdgeBalance || k.To != "enrich" || v.Lost != 600 || v.Confidence != 0.999 || len(v.Examples) == 0 ||
			!strings.Contains(strings.Join(v.Reasons, " "), "sampled ids are missing downstream") {
			t.Errorf("%v: lost %d, confidence %g, examples %v, %v", k, v.Lost, v.Confidence, v.Examples, v.Reasons)
		}
		for _, id := range v.Examples {
			var n int
			if _, err := fmt.Sscanf(id, "4w-%d", &n); err == nil && n%100 != 93 {
				t.Errorf("%s was not lost", id)
			} else if err != nil && !strings.HasPrefix(id, "hash:") {
				t.Errorf("example %q", id)
			}
		}
	}
	ids := s.compared(t, Port{"enrich", cell.In, "orders", "enrich"}, Port{"enrich", cell.Out, "enriched", ""})
	if ids.Upstream != 9486 || ids.Missing != 109 || ids.Extra != 0 || ids.Foreign != 0 {
		t.Errorf("%+v", ids)
	}
	rounded(t, ids.Loss, 1.15, 0.95, 1.38)
	for _, e := range []struct{ up, down Port }{
		{Port{"source", cell.Out, "orders", ""}, Port{"enrich", cell.In, "orders", "enrich"}},
		{Port{"enrich", cell.Out, "enriched", ""}, Port{"sink", cell.In, "enriched", "sink"}},
	} {
		if ids := s.compared(t, e.up, e.down); ids.Missing != 0 || ids.Extra != 0 {
			t.Errorf("transport to %s: %+v", e.down.Stage, ids)
		}
	}
	s.neverSaid(t, Mixed, Duplicates, Unknown)
}

func TestScenario03WithIDs(t *testing.T) {
	s, source, _, _ := sampledBase()
	source.twice = func(id int64) bool { return id%200 == 125 }
	s.advance(720)
	_, _, states := s.total(store.EdgeTransport, "enrich")
	all(t, states, Duplicates, 10)
	for k, v := range s.verdicts {
		if v.State == Duplicates && (v.Delta != -300 || v.Level != L3 || !strings.Contains(strings.Join(v.Reasons, " "), "came more than once")) {
			t.Errorf("%v: δ %d %s %v", k, v.Delta, v.Level, v.Reasons)
		}
	}
	ids := s.compared(t, Port{"source", cell.Out, "orders", ""}, Port{"enrich", cell.In, "orders", "enrich"})
	if ids.Upstream != 9486 || ids.Extra != 62 || ids.Missing != 0 {
		t.Errorf("%+v", ids)
	}
	rounded(t, ids.Dup, 0.65, 0.51, 0.84)
	s.neverSaid(t, Loss, Mixed, Unknown)
}

// Without fingerprints only ids tell that equal counts are different records.
func TestScenario04WithIDsAlone(t *testing.T) {
	for _, prints := range []bool{true, false} {
		s, source, _, _ := sampledBase()
		s.noPrints = !prints
		source.twice = func(id int64) bool { return id%100 == 70 }
		s.queues["orders"].lose = func(r record) bool { return r.id%100 == 93 }
		s.advance(720)
		_, _, states := s.total(store.EdgeTransport, "enrich")
		all(t, states, Mixed, 10)
		for k, v := range s.verdicts {
			if v.State == Mixed && (k.To != "enrich" || v.Level != L3 || len(v.Examples) == 0) {
				t.Errorf("%v: level %s, examples %v", k, v.Level, v.Examples)
			}
		}
		ids := s.compared(t, Port{"source", cell.Out, "orders", ""}, Port{"enrich", cell.In, "orders", "enrich"})
		if ids.Upstream != 9486 || ids.Missing != 109 || ids.Extra != 97 {
			t.Errorf("%+v", ids)
		}
		rounded(t, ids.Loss, 1.15, 0.95, 1.38)
		rounded(t, ids.Dup, 1.02, 0.84, 1.25)
		s.neverSaid(t, Loss, Duplicates, Unknown)
	}
}

// A stage that gives new ids loses nothing by it; one that keeps only some proves nothing either.
func TestStagesThatGiveNewIDs(t *testing.T) {
	var in, out, half cell.IDs
	for i := range 60_000 {
		id := fmt.Sprint("a-", i)
		in.Observe(cell.Hash(id), id)
		id = fmt.Sprint("b-", i)
		out.Observe(cell.Hash(id), id)
		if i%2 == 0 {
			id = fmt.Sprint("a-", i)
		}
		half.Observe(cell.Hash(id), id)
	}
	for what, o := range map[string]*cell.IDs{"new": &out, "half": &half, "kept": &in} {
		if got := keepsIDs(CompareSamples(&in, o)); got != (what == "kept") {
			t.Errorf("%s: keeps ids %v", what, got)
		}
	}
}

// Samples of different moduli are compared at the coarser one.
func TestSamplesOfDifferentModuli(t *testing.T) {
	var up, down, few cell.IDs
	for i := range 50_000 {
		id := fmt.Sprint(i)
		up.Observe(cell.Hash(id), id)
		if i%10 != 0 {
			down.Observe(cell.Hash(id), id)
		}
	}
	few = *down.Clone()
	few.Raise()
	few.Raise()
	c := CompareSamples(&up, &few)
	if few.M != 256 || c.Upstream < 100 || c.Upstream > 300 || c.Foreign != 0 || c.Loss.Low > 0.1 || c.Loss.High < 0.1 {
		t.Errorf("%+v", c)
	}
	// A record that upstream counts twice is expected twice.
	var a, b cell.IDs
	a.Observe(64, "")
	a.Observe(64, "")
	b.Observe(64, "")
	if c := CompareSamples(&a, &b); c.Missing != 1 || c.Upstream != 2 || c.Extra != 0 {
		t.Errorf("%+v", c)
	}
}

// An incomplete sample proves nothing: one instance does not sample.
func TestSampleOfSomeIsNoEvidence(t *testing.T) {
	w := Window{1_732_334_400, 60}
	ids := func(n int) *cell.IDs {
		var s cell.IDs
		for i := range n {
			s.Observe(uint64(i)*64, "")
		}
		return &s
	}
	k := cell.Key{Pipeline: "p", Stage: "a", Dir: cell.Out, Destination: "d", Window: w.Start, Width: w.Width}
	tl := Tallies([]cell.Cell{
		{Key: k, Instance: "1", Counts: cell.Counts{N: 100}, Sample: cell.Sample{IDs: ids(100)}},
		{Key: k, Instance: "2", Counts: cell.Counts{N: 100}},
	})["p"]
	s := tl.At(Port{"a", cell.Out, "d", ""}, w)
	if s.Sample() != nil {
		t.Error("half a sample is taken for a whole one")
	}
}

// An unknown producer shows by ids that nobody put out, also where the broker tells nothing.
func TestForeignIDsAreNoDuplicates(t *testing.T) {
	e := Evidence{
		Kind: store.EdgeTransport, Up: cell.Counts{N: 60_000}, Down: cell.Counts{N: 90_000}, EndDelta: -1, Settled: true,
		IDs: &IDSample{Upstream: 937, Foreign: 470},
	}
	if v := Judge(e); v.State != Unknown || v.Class != "uninstrumented producer" || v.Epsilon != 30_000 {
		t.Errorf("%s %q %d", v.State, v.Class, v.Epsilon)
	}
}

// Equal fingerprints outweigh a sample that contradicts them.
func TestFingerprintsOutweighIDs(t *testing.T) {
	c := cell.Counts{N: 10, Hashed: 10, FpSum: 5, FpXor: 5}
	v := Judge(Evidence{Kind: store.EdgeTransport, Up: c, Down: c, EndDelta: -1, Settled: true, IDs: &IDSample{Upstream: 3, Missing: 1}})
	if v.State != OK {
		t.Errorf("%s", v.State)
	}
}
