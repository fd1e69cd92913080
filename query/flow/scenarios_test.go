package flow

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// The scenarios of docs/pipeline-model.md by number. Base: source 1,000 records/s → orders
// (3 partitions) → enrich → enriched → sink; windows of 60 s with 60,000 records, ten of them.

func base() (s *sim, source, enrich, sink *simStage) {
	s = newSim(60)
	s.old, s.forward = true, true
	s.now-- // the first step falls on the first second of a window
	s.node("n1", 10)
	s.queue("orders", 3, "enrich")
	s.queue("enriched", 3, "sink")
	end := s.now + 600
	source = &simStage{name: "source", out: "orders", rate: 1000, node: "n1", stopped: func(now int64) bool { return now > end }}
	enrich = &simStage{name: "enrich", in: "orders", group: "enrich", out: "enriched", capacity: 3000, node: "n1"}
	sink = &simStage{name: "sink", in: "enriched", group: "sink", capacity: 3000, node: "n1"}
	s.stages = []*simStage{source, enrich, sink}
	return s, source, enrich, sink
}

func (s *sim) neverSaid(t *testing.T, states ...string) {
	t.Helper()
	for _, st := range states {
		if s.seen[st] > 0 {
			t.Errorf("said %s %d times", st, s.seen[st])
		}
	}
}

func all(t *testing.T, states map[string]int, want string, n int) {
	t.Helper()
	if states[want] != n || len(states) != 1 {
		t.Errorf("states %v, want %d × %s", states, n, want)
	}
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got-want) > tolerance || math.IsNaN(got) {
		t.Errorf("%s = %g, want %g ± %g", what, got, want, tolerance)
	}
}

func TestScenario01Healthy(t *testing.T) {
	s, _, _, _ := base()
	s.advance(720)
	for _, c := range []struct {
		kind store.EdgeKind
		to   string
	}{{store.EdgeTransport, "enrich"}, {store.EdgeTransport, "sink"}, {store.EdgeBalance, "enrich"}} {
		v, n, states := s.total(c.kind, c.to)
		all(t, states, OK, 10)
		if n != 10 || v.Up != 600_000 || v.Down != 600_000 || v.Delta != 0 {
			t.Errorf("%v: %d windows, U %d, D %d, δ %d", c, n, v.Up, v.Down, v.Delta)
		}
	}
	for k, v := range s.verdicts {
		if v.Level != L3 || v.Confidence != 0.999 || v.Revision != 0 || !v.Settled {
			t.Errorf("%v: level %s confidence %g revision %d settled %v", k, v.Level, v.Confidence, v.Revision, v.Settled)
		}
	}
	s.neverSaid(t, Loss, Duplicates, Mixed, Unknown, Late)
}

func TestScenario02SilentDrop(t *testing.T) {
	s, _, enrich, _ := base()
	enrich.drop = func(i int64) bool { return i%100 == 0 }
	s.advance(720)
	v, _, states := s.total(store.EdgeBalance, "enrich")
	if states[Loss] != 10 || v.Up != 600_000 || v.Down != 594_000 || v.Delta != 6000 || v.Lost != 6000 {
		t.Errorf("states %v, in %d, δ %d, lost %d", states, v.Up, v.Delta, v.Lost)
	}
	for k, v := range s.verdicts {
		if k.Kind == store.EdgeBalance && k.To == "enrich" && v.State == Loss {
			if v.Up != 60_000 || v.Down != 59_400 || v.Lost != 600 || v.Class != "dropped in stage" || v.Confidence < 0.98 {
				t.Errorf("window %d: in %d out %d lost %d class %q confidence %g", k.Window, v.Up, v.Down, v.Lost, v.Class, v.Confidence)
			}
		}
	}
	for _, to := range []string{"enrich", "sink"} {
		v, _, states := s.total(store.EdgeTransport, to)
		all(t, states, OK, 10)
		if v.Delta != 0 {
			t.Errorf("transport to %s: δ %d", to, v.Delta)
		}
	}
	ids := sample(64, 600_000, func(i int) int {
		if i%100 == 99 {
			return 0
		}
		return 1
	})
	if !(ids.Loss.Low <= 0.01 && 0.01 <= ids.Loss.High) || ids.Dup.Value != 0 {
		t.Errorf("id sample: loss %+v, dup %+v; 1 %% was lost", ids.Loss, ids.Dup)
	}
	rounded(t, Wilson(109, 9486), 1.15, 0.95, 1.38)
}

// sample counts how often each of n messages arrives and estimates from 1 id in m.
func sample(m uint64, n int, times func(i int) int) IDSample {
	var up, down []string
	for i := range n {
		id := strconv.Itoa(i)
		if !Sampled(id, m) {
			continue
		}
		up = append(up, id)
		for range times(i) {
			down = append(down, id)
		}
	}
	return CompareIDs(up, down)
}

func rounded(t *testing.T, s Share, value, low, high float64) {
	t.Helper()
	near(t, "share %", s.Value*100, value, 0.005)
	near(t, "low %", s.Low*100, low, 0.0051)
	near(t, "high %", s.High*100, high, 0.0051)
}

// The first window of an audit may have begun in its middle: what differs there is UNKNOWN.
func TestBeginningOfAudit(t *testing.T) {
	s, _, enrich, _ := base()
	s.old = false
	enrich.drop = func(i int64) bool { return i%100 == 0 }
	s.advance(300)
	if _, _, states := s.total(store.EdgeBalance, "enrich"); states[Unknown] != 1 || states[Loss] < 2 {
		t.Errorf("states %v", states)
	}
}

func TestScenario03Duplicates(t *testing.T) {
	s, source, _, _ := base()
	source.twice = func(i int64) bool { return i%200 == 0 }
	s.advance(720)
	v, _, states := s.total(store.EdgeTransport, "enrich")
	if states[Duplicates] != 10 || v.Delta != -3000 || v.Lost != 0 || v.Surplus != 3000 {
		t.Errorf("states %v, δ %d, surplus %d", states, v.Delta, v.Surplus)
	}
	for k, v := range s.verdicts {
		if v.State == Duplicates && (v.Delta != -300 || k.To != "enrich") {
			t.Errorf("%v: δ %d", k, v.Delta)
		}
	}
	s.neverSaid(t, Loss, Mixed)
	ids := sample(64, 600_000, func(i int) int {
		if i%200 == 0 {
			return 2
		}
		return 1
	})
	if !(ids.Dup.Low <= 0.005 && 0.005 <= ids.Dup.High) || ids.Missing != 0 {
		t.Errorf("id sample: dup %+v, missing %d", ids.Dup, ids.Missing)
	}
	rounded(t, Wilson(62, 9486), 0.65, 0.51, 0.84)
}

func TestScenario04LossAndDuplicatesInEqualNumbers(t *testing.T) {
	s, source, _, _ := base()
	source.twice = func(i int64) bool { return i%100 == 0 }
	s.queues["orders"].lose = func(r record) bool { return r.id%100 == 50 }
	s.advance(720)
	_, _, states := s.total(store.EdgeTransport, "enrich")
	if states[Mixed] != 10 || len(states) != 1 {
		t.Errorf("states %v: counts agree, messages differ: MIXED", states)
	}
	both := sample(64, 600_000, func(i int) int {
		switch i % 100 {
		case 0:
			return 2
		case 50:
			return 0
		}
		return 1
	})
	for what, sh := range map[string]Share{"loss": both.Loss, "dup": both.Dup} {
		if !(sh.Low <= 0.01 && 0.01 <= sh.High) {
			t.Errorf("%s: %+v, the truth is 1 %%", what, sh)
		}
	}
	rounded(t, Wilson(97, 9486), 1.02, 0.84, 1.25)
	v := Judge(Evidence{Kind: store.EdgeTransport, Up: cell.Counts{N: 60_000}, Down: cell.Counts{N: 60_000}, Settled: true, EndDelta: -1, IDs: &both})
	if v.State != Mixed || len(v.Examples) == 0 {
		t.Errorf("ids show loss and duplicates: %s", v.State)
	}
}

func TestScenario05StalledConsumer(t *testing.T) {
	s, source, enrich, _ := base()
	begin := s.now
	source.stopped = nil
	enrich.capacity = 2000
	enrich.stopped = func(now int64) bool { return now > begin+60 && now <= begin+360 }
	p := s.polls["orders"].Partitions
	lag := func() (records int64, seconds float64) {
		worst := 0.0
		for _, q := range p {
			end, _ := q.End.Last()
			c, _ := q.Groups["enrich"].Last()
			_, n := Messages(0, end.V, c.V)
			records += n
			l := LagOf(end.T, end.V, c.V, 0, &q.End)
			if !l.Known {
				t.Fatal("lag unknown")
			}
			worst = math.Max(worst, l.Seconds)
		}
		return records, worst
	}
	s.advance(360)
	n, sec := lag()
	if n != 300_000 {
		t.Errorf("at the resume: lag %d records", n)
	}
	near(t, "at the resume: T", sec, 300, 1)
	near(t, "drain by counts", Drain(float64(n), 1000, 2000), 300, 0)
	near(t, "drain by event time", DrainEventTime(300, 2), 300, 0)
	s.advance(100)
	if n, sec = lag(); n != 200_000 {
		t.Errorf("after 100 s: lag %d", n)
	}
	near(t, "after 100 s: T", sec, 200, 1)
	s.advance(200)
	if n, _ = lag(); n != 0 {
		t.Errorf("after 300 s: lag %d", n)
	}
	source.stopped = func(int64) bool { return true }
	s.advance(120)
	if s.seen[InFlight] == 0 || s.seen[OK] == 0 {
		t.Error("IN_FLIGHT, then OK")
	}
	s.neverSaid(t, Loss, Duplicates, Mixed, Unknown, RetentionLoss)
	_, _, states := s.total(store.EdgeTransport, "sink")
	all(t, states, OK, 11)
}

func TestScenario06Rewind(t *testing.T) {
	var w Watch
	w.Step(Offsets{1000, 0, 20_000, 15_000}, -1)
	ev := w.Step(Offsets{2000, 0, 20_000, 10_000}, -1)
	if len(ev) != 1 || ev[0].Kind != EventRewind || ev[0].N != 5000 || !w.Rewound() {
		t.Fatalf("events %+v", ev)
	}
	w.Step(Offsets{3000, 0, 20_000, 15_000}, -1)
	if w.Rewound() || w.Lost != 0 {
		t.Error("recovered once the old position is reached")
	}
	v := Judge(Evidence{Kind: store.EdgeTransport, Up: cell.Counts{N: 60_000}, Down: cell.Counts{N: 65_000}, Redelivered: 5000, EndDelta: -1, Settled: true})
	if v.State != OK || v.Redeliver != 5000 || v.Surplus != 0 {
		t.Errorf("%s, redelivered %d, surplus %d", v.State, v.Redeliver, v.Surplus)
	}
	// Inside the stage the repeated records went out again: nothing is missing.
	if v := Judge(Evidence{Kind: store.EdgeBalance, Up: cell.Counts{N: 65_000}, Down: cell.Counts{N: 65_000}, Redelivered: 5000, Settled: true}); v.State != OK {
		t.Errorf("balance: %s", v.State)
	}
	// A record taken twice and put out once is no loss either, and what exceeds the redeliveries is.
	if v := Judge(Evidence{Kind: store.EdgeBalance, Up: cell.Counts{N: 65_000}, Down: cell.Counts{N: 60_000}, Redelivered: 5000, Settled: true}); IsLoss(v.State) {
		t.Errorf("balance: %s", v.State)
	}
	if v := Judge(Evidence{Kind: store.EdgeBalance, Up: cell.Counts{N: 65_000}, Down: cell.Counts{N: 59_000}, Redelivered: 5000, Settled: true}); v.State != Loss || v.Lost != 1000 {
		t.Errorf("balance: %s %d", v.State, v.Lost)
	}
}

func TestScenario07RetryPath(t *testing.T) {
	// Direct calls, no queue between: 2 % arrive 90 s later. Lateness is known from earlier windows.
	const w0 = 1_732_334_400
	count := func(now int64) (up, down int64) {
		up = 60_000
		down = 58_800
		if now >= w0+60+90 {
			down = 60_000
		}
		return up, down
	}
	verdicts := map[store.VerdictKey]store.Verdict{}
	var changes Changes
	var states []string
	for now := int64(w0 + 61); now < w0+400; now += 5 {
		up, down := count(now)
		k := cell.Key{Pipeline: "p", Stage: "a", Dir: cell.Out, Destination: "b", Window: w0, Width: 60}
		d := k
		d.Stage, d.Dir, d.Group = "b", cell.In, "b"
		tl := Tallies([]cell.Cell{
			{Key: k, Instance: "n1/a", Counts: cell.Counts{N: uint64(up)}},
			{Key: d, Instance: "n2/b", Counts: cell.Counts{N: uint64(down)}},
		})["p"]
		changes.Observe(tl, now*1000, 0)
		out := Settle(Settlement{
			Now: now * 1000, Tally: tl, Topology: Build(tl), Rules: DefaultRules(), Changes: &changes,
			Audit:    NewAudit([]cell.Auditor{{Node: "n1", At: now * 1000, FlushMS: 1000}, {Node: "n2", At: now * 1000, FlushMS: 1000}}, now*1000, DefaultRules()),
			Known:    func(store.VerdictKey) (int64, bool) { return 0, true },
			Prior:    func(k store.VerdictKey) (store.Verdict, bool) { v, ok := verdicts[k]; return v, ok },
			Lateness: func(Edge) time.Duration { return 90 * time.Second },
			Latency:  func(string) time.Duration { return 0 },
		})
		for _, v := range out.Verdicts {
			if v.Kind != store.EdgeTransport || v.State == InFlight {
				continue
			}
			verdicts[v.VerdictKey] = v
			states = append(states, v.State)
			if now == w0+91 && (v.State != Late || v.InFlight != 1200) {
				t.Errorf("30 s after the window: %s, %d outstanding", v.State, v.InFlight)
			}
		}
	}
	last := ""
	for _, v := range verdicts {
		last = v.State
		if v.Delta != 0 || v.Revision != 1 || !v.Settled {
			t.Errorf("in the end: δ %d, revision %d, settled %v", v.Delta, v.Revision, v.Settled)
		}
	}
	if last != OK || strings.Contains(strings.Join(states, " "), Loss) {
		t.Errorf("states %v", states)
	}
}

func TestScenario08Restart(t *testing.T) {
	k := cell.Key{Pipeline: "p", Stage: "a", Dir: cell.Out, Destination: "d", Window: 1_732_334_400, Width: 60}
	tl := Tallies([]cell.Cell{
		{Key: k, Instance: "n1/a", Epoch: 1, Seq: 9, Counts: cell.Counts{N: 30_000}},
		{Key: k, Instance: "n1/a", Epoch: 2, Seq: 3, Counts: cell.Counts{N: 30_000}},
	})["p"]
	if n := tl.At(Port{"a", cell.Out, "d", ""}, Window{1_732_334_400, 60}).N; n != 60_000 {
		t.Errorf("epochs add up to %d", n)
	}
	// The consumer's collector crashes with up to 10 s of counts in memory, at once back.
	s, source, enrich, _ := base()
	source.stopped = nil
	s.node("n2", 10)
	enrich.node = "n2"
	s.advance(3*60 + 7)
	s.crash("n2")
	s.restart("n2")
	s.advance(6 * 60)
	s.neverSaid(t, Loss, Mixed, Duplicates, RetentionLoss)
	unknown := 0
	for k, v := range s.verdicts {
		if v.State != Unknown {
			continue
		}
		unknown++
		if v.Epsilon > 10_000 || v.Epsilon == 0 || v.Class != "auditor restarted" {
			t.Errorf("%v: bound %d class %q", k, v.Epsilon, v.Class)
		}
	}
	if unknown == 0 {
		t.Error("the windows around the crash are UNKNOWN")
	}
	if _, _, states := s.total(store.EdgeTransport, "enrich"); states[OK] < 5 {
		t.Errorf("windows before and after are OK: %v", states)
	}
}

func TestScenario09SampledSpans(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	var misses, sampled int64
	for i := range 100_000 {
		if r.Float64() < 0.1 { // consistent: both sides keep the same traces
			sampled++
			if i%100 == 0 {
				misses++
			}
		}
	}
	got := Wilson(misses, sampled)
	if got.Low > 0.01 || got.High < 0.01 {
		t.Errorf("paired: %+v does not hold 1 %%", got)
	}
	w := Wilson(100, 10_000)
	near(t, "low", w.Low*100, 0.823, 0.0006)
	near(t, "high", w.High*100, 1.215, 0.0006)
}

func TestScenario10ClockSkew(t *testing.T) {
	if s, ok := Skew(-4.95, 60_000); !ok || s != 4.95 {
		t.Errorf("skew %g %v", s, ok)
	}
	if _, ok := Skew(-4.95, 999); ok {
		t.Error("too few messages")
	}
	if _, ok := Skew(0.05, 60_000); ok {
		t.Error("no skew")
	}
	// Event time is stamped once, so counts are not touched: both sides name the same window.
	v := Judge(Evidence{Kind: store.EdgeTransport, Up: cell.Counts{N: 60_000}, Down: cell.Counts{N: 60_000}, Settled: true, EndDelta: -1})
	if v.State != OK {
		t.Error(v.State)
	}
}

func TestScenario11Retention(t *testing.T) {
	var w Watch
	var table Table
	at := func(sec int64) Offsets { // 1,000/s, retention 600 s, stalled since 0
		return Offsets{T: sec * 1000, Start: max(0, (sec-600)*1000), End: sec * 1000, Committed: 0}
	}
	var lost int64
	var kinds []EventKind
	for sec := int64(0); sec <= 900; sec++ {
		o := at(sec)
		table.Add(o.T, o.End)
		for _, e := range w.Step(o, 0) {
			lost += e.N
			kinds = append(kinds, e.Kind)
		}
		switch sec {
		case 600:
			if lost != 0 {
				t.Errorf("t=600: lost %d", lost)
			}
			near(t, "t=600: loss in", LossIn(LagOf(o.T, o.End, 0, 0, &table).Seconds, 600, 0), 0, 1)
		case 601:
			if lost != 1000 {
				t.Errorf("t=601: lost %d", lost)
			}
		}
	}
	if lost != 300_000 || w.Lost != 300_000 || kinds[0] != EventRetention {
		t.Errorf("t=900: lost %d", lost)
	}
	readable, nominal := Messages(300_000, 900_000, 0)
	if readable != 600_000 || nominal != 900_000 {
		t.Errorf("lag %d readable, %d nominal", readable, nominal)
	}
	near(t, "loss in at the start of the stall", LossIn(0, 600, 0), 600, 0)
	v := Judge(Evidence{Kind: store.EdgeTransport, Up: cell.Counts{N: 60_000}, Down: cell.Counts{N: 0}, Retention: 60_000, Settled: true, EndDelta: -1})
	if v.State != RetentionLoss || v.Lost != 60_000 {
		t.Errorf("%s %d", v.State, v.Lost)
	}
	// JetStream: at most 6,000 messages kept, 1,000 sent and consumed, then 9,000 sent: sequences 1 to 10,000,
	// of which 4,001 to 10,000 are left.
	var n Watch
	n.Step(Offsets{1000, 1, 1001, 1001}, -1)
	n.Step(Offsets{2000, 4001, 10_001, 1001}, -1)
	if readable, _ := Messages(4001, 10_001, 1001); n.Lost != 3000 || readable != 6000 {
		t.Errorf("lost %d, readable %d; want 3,000 and 6,000", n.Lost, readable)
	}
	// The floor: start 4000, commit 1000 loses 3,000; going back to 500 loses nothing more.
	var f Watch
	f.Step(Offsets{1, 0, 5000, 1000}, -1)
	f.Step(Offsets{2, 4000, 5000, 1000}, -1)
	f.Step(Offsets{3, 4000, 5000, 500}, -1)
	if f.Lost != 3000 {
		t.Errorf("lost %d, want 3,000", f.Lost)
	}
}

func TestScenario12Filter(t *testing.T) {
	v := Judge(Evidence{Kind: store.EdgeBalance, Up: cell.Counts{N: 60_000}, Down: cell.Counts{N: 42_000}, Filtered: 18_000, Settled: true})
	if v.State != OK || v.Delta != 0 || v.Lost != 0 {
		t.Errorf("declared: %s δ %d", v.State, v.Delta)
	}
	var ratios []float64
	for range 60 {
		ratios = append(ratios, 0.70)
	}
	r := LearnRatio(ratios)
	near(t, "learned", r.Median, 0.70, 1e-9)
	v = Judge(Evidence{Kind: store.EdgeBalance, Up: cell.Counts{N: 60_000}, Down: cell.Counts{N: 40_800}, Ratio: r, Settled: true})
	if v.State != Anomaly || v.Delta != 1200 || v.Lost != 0 {
		t.Errorf("0.68: %s δ %d", v.State, v.Delta)
	}
	if v = Judge(Evidence{Kind: store.EdgeBalance, Up: cell.Counts{N: 60_000}, Down: cell.Counts{N: 42_010}, Ratio: r, Settled: true}); v.State != OK {
		t.Errorf("0.70: %s", v.State)
	}
	if v = Judge(Evidence{Kind: store.EdgeBalance, Up: cell.Counts{N: 60_000}, Down: cell.Counts{N: 42_000}, Ratio: LearnRatio(ratios[:59]), Settled: true}); v.State != Unknown {
		t.Errorf("still learning: %s", v.State)
	}
}

func TestScenario13FanOut(t *testing.T) {
	var cells []cell.Cell
	for w := range int64(3) {
		for d, n := range map[string]uint64{"a": 60_000, "b": 60_000, "c": 59_400} {
			cells = append(cells, cell.Cell{Key: cell.Key{Pipeline: "p", Stage: "split", Dir: cell.Out, Destination: d, Window: 60 * (w + 1), Width: 60}, Instance: "n/1", Counts: cell.Counts{N: n}})
		}
		cells = append(cells, cell.Cell{Key: cell.Key{Pipeline: "p", Stage: "split", Dir: cell.In, Destination: "q", Group: "g", Window: 60 * (w + 1), Width: 60}, Instance: "n/1", Counts: cell.Counts{N: 60_000}})
	}
	out := judgeAll(cells)
	last := out[len(out)-1]
	if last.State != Loss || last.Up != 60_000 || last.Down != 179_400 || last.Lost != 600 {
		t.Errorf("%+v", last)
	}
	near(t, "overall", float64(last.Lost)/180_000*100, 0.333, 0.001)
	near(t, "amplification", float64(last.Down)/float64(last.Up), 2.99, 1e-9)
	if !strings.Contains(strings.Join(last.Reasons, " "), "c lacks 600 (1.00 %)") {
		t.Errorf("the branch is named: %v", last.Reasons)
	}
}

func TestScenario14Batches(t *testing.T) {
	v := Judge(Evidence{Kind: store.EdgeTransport, Up: cell.Counts{N: 600}, Down: cell.Counts{N: 599}, Settled: true, EndDelta: -1})
	if v.State != Loss || v.Lost != 1 {
		t.Errorf("batches: %s %d", v.State, v.Lost)
	}
	v = Judge(Evidence{Kind: store.EdgeBalance, Up: cell.Counts{N: 60_000}, Down: cell.Counts{N: 599}, Covers: 59_900, Ratio: Ratio{Kind: RatioCovers}, Settled: true})
	if v.State != Loss || v.Lost != 100 {
		t.Errorf("records: %s %d", v.State, v.Lost)
	}
	near(t, "share %", float64(v.Lost)/float64(v.Up)*100, 0.1667, 0.0001)
}

func TestScenario15UninstrumentedProducer(t *testing.T) {
	v := Judge(Evidence{Kind: store.EdgeTransport, Up: cell.Counts{N: 60_000}, Down: cell.Counts{N: 90_000}, EndDelta: 90_000, Settled: true})
	if v.State != Unknown || v.Class != "uninstrumented producer" || v.Epsilon != 30_000 || !strings.Contains(v.Reasons[0], "30,000") {
		t.Errorf("%s %q %d %v", v.State, v.Class, v.Epsilon, v.Reasons)
	}
}

func TestScenario16Skipped(t *testing.T) {
	var w Watch
	for i := range int64(10) {
		w.Step(Offsets{i * 1000, 0, 900_000, 599_000 + i*100}, 100)
	}
	ev := w.Step(Offsets{10_000, 0, 900_000, 900_000}, 0)
	if len(ev) != 1 || ev[0].Kind != EventSkip || ev[0].N != 300_100 {
		t.Fatalf("events %+v", ev)
	}
	var exact Watch
	exact.Step(Offsets{1000, 0, 900_000, 599_900}, -1)
	exact.Step(Offsets{2000, 0, 900_000, 600_000}, 100)
	if ev := exact.Step(Offsets{3000, 0, 900_000, 900_000}, 0); len(ev) != 1 || ev[0].N != 300_000 {
		t.Errorf("events %+v", ev)
	}
	v := Judge(Evidence{Kind: store.EdgeTransport, Up: cell.Counts{N: 300_000}, Skipped: 300_000, Settled: true, EndDelta: -1})
	if v.State != Skipped || v.Lost != 300_000 {
		t.Errorf("%s %d", v.State, v.Lost)
	}
	// JetStream positions against deliveries, and with 30 redeliveries between.
	if n := StreamSkip(3010, 10, 0); n != 3000 {
		t.Errorf("stream skip %d", n)
	}
	if raw, corrected := StreamSkip(3010, 40, 0), StreamSkip(3010, 40, 30); raw != 2970 || corrected != 3000 {
		t.Errorf("raw %d corrected %d", raw, corrected)
	}
}

func TestScenario17Poison(t *testing.T) {
	v := Judge(Evidence{Kind: store.EdgeBalance, Up: cell.Counts{N: 60_000}, Down: cell.Counts{N: 59_940}, DLQ: 60, Settled: true})
	if v.State != OK || v.Delta != 0 || v.DLQ != 60 || v.Class != "dead letters" {
		t.Errorf("%+v", v)
	}
	v = Judge(Evidence{Kind: store.EdgeBalance, Up: cell.Counts{N: 60_000}, Down: cell.Counts{N: 59_940}, Dropped: 60, Reasons: map[string]int64{"rejected 429": 60}, Settled: true})
	if v.State != Loss || v.Lost != 60 || v.Dropped != 60 || v.Delta != 0 || v.Class != "rejected 429" {
		t.Errorf("declared drops are loss with a reason: %+v", v)
	}
}

func TestScenario18SpanExporterLoses(t *testing.T) {
	// 1,000,000 messages, 1 % lost, 2 % of the spans of each side lost.
	const n = 1_000_000
	up := n * 0.98
	both := n * 0.99 * 0.98 * 0.98
	down := n * 0.99 * 0.98
	obs, tl, corrected := PairedLoss(int64(math.Round(up-both)), int64(up), int64(math.Round(down-both)), int64(down))
	near(t, "observed", obs.Value*100, 2.98, 0.011)
	near(t, "reverse", tl*100, 2, 0.001)
	near(t, "corrected", corrected*100, 1.00, 0.001)
}

func TestScenario19Transactions(t *testing.T) {
	if lag := TransactionalLag(33, 32, 33, 32, 1); lag != 0 {
		t.Errorf("fully read: %d", lag)
	}
	if lag := TransactionalLag(43, 32, 33, 32, 1); lag != 11 {
		t.Errorf("new records: %d", lag)
	}
}

func TestScenario20HotPartition(t *testing.T) {
	ps := []PartitionRate{{Lag: 90_000, In: 800, Out: 500}, {Lag: 1000, In: 100, Out: 500}, {Lag: 1000, In: 100, Out: 500}}
	if d := DrainAll(ps); !math.IsInf(d, 1) {
		t.Errorf("drain %g", d)
	}
	near(t, "aggregate would promise", Drain(92_000, 1000, 1500), 184, 0.01)
	near(t, "skew", PartitionSkew(ps), 2.40, 1e-9)
	if a, b := WhatIf(ps, 3, 500), WhatIf(ps, 6, 500); !math.IsInf(a, 1) || !math.IsInf(b, 1) {
		t.Errorf("what if: %g, %g", a, b)
	}
	h := Hop{Stage: "enrich", Known: true, Backlog: 92_000, Trend: Growing, In: 1000, Out: 700, Partitions: []HopPartition{{Name: "0", Backlog: 90_000, In: 800}, {Name: "1", Backlog: 1000, In: 100}, {Name: "2", Backlog: 1000, In: 100}}}
	b, ok := Bottleneck([]Hop{h}, 60)
	if !ok || b.Class != "skew" || b.Sentence != "enrich takes 0.7 k/s of 1.0 k/s. Partition 0 holds 98 % of the backlog." {
		t.Errorf("%+v", b)
	}
}

func TestScenario21SourceSilent(t *testing.T) {
	now := int64(1_732_335_000_000)
	age, state := Freshness(now, now-600_000, now-600_050, 60, 60, 5)
	near(t, "freshness", age, 600.05, 1e-9)
	if state != Idle {
		t.Error(state)
	}
	var table Table
	table.Add(now-600_000, 1000)
	table.Add(now, 1000)
	if l := LagOf(now, 1000, 1000, 0, &table); !l.Known || l.Seconds != 0 {
		t.Errorf("idle is not lag: %+v", l)
	}
	if _, state := Freshness(now, now-1000, now-600_000, 60, 60, 5); state != Stale {
		t.Error(state)
	}
	if _, ok := Bottleneck([]Hop{{Stage: "enrich", Known: true, Trend: Steady}}, 60); ok {
		t.Error("nothing is stuck")
	}
}

func TestScenario22Truncation(t *testing.T) {
	var w Watch
	w.Step(Offsets{1000, 0, 10_000, 9000}, -1)
	ev := w.Step(Offsets{2000, 0, 9400, 9000}, -1)
	if len(ev) != 1 || ev[0].Kind != EventTruncation || ev[0].N != 600 {
		t.Errorf("%+v", ev)
	}
}

func TestScenario23NeverCommitted(t *testing.T) {
	o := Offsets{1000, 0, 1_234_234, -1}
	if !o.NoCommit() {
		t.Error("NO_COMMIT")
	}
	var w Watch
	w.Step(o, -1)
	if ev := w.Step(Offsets{2000, 5000, 1_234_234, -1}, -1); len(ev) != 0 {
		t.Errorf("nobody had a position to lose: %+v", ev)
	}
	if (&Queue{Partitions: []*QueuePartition{{Groups: map[string]*Table{}}}}).Reads("g") {
		t.Error("a group without a commit is not known")
	}
}

func TestScenario24KnownFigures(t *testing.T) {
	v := Judge(Evidence{Kind: store.EdgeBalance, Up: cell.Counts{N: 200_000}, Down: cell.Counts{N: 149_391}, Settled: true})
	if v.State != Loss || v.Lost != 50_609 {
		t.Errorf("%s %d", v.State, v.Lost)
	}
	near(t, "share %", float64(v.Lost)/float64(v.Up)*100, 25.30, 0.005)
}

func TestScenario25AuditDatagramsDropped(t *testing.T) {
	w := int64(1_732_334_400)
	var cells []cell.Cell
	for i := range int64(5) {
		k := cell.Key{Pipeline: "p", Stage: "a", Dir: cell.Out, Destination: "d", Window: w + 60*i, Width: 60}
		d := k
		d.Stage, d.Dir, d.Group = "b", cell.In, "g"
		n := uint64(60_000)
		if i == 2 {
			n -= 500 // records whose counts were in the dropped datagrams
		}
		cells = append(cells,
			cell.Cell{Key: k, Instance: "n1/a", Lossy: true, Counts: cell.Counts{N: 60_000}},
			cell.Cell{Key: d, Instance: "n2/b", Lossy: true, Counts: cell.Counts{N: n}})
	}
	now := (w + 900) * 1000
	judge := func(drops uint64) store.Verdict {
		tl := Tallies(cells)["p"]
		out := Settle(Settlement{
			Now: now, Tally: tl, Topology: Build(tl), Rules: DefaultRules(),
			Audit: NewAudit([]cell.Auditor{{Node: "n1", At: now, FlushMS: 1000}, {Node: "n2", At: now, FlushMS: 1000, Drops: drops, DropFrom: w + 120, DropTo: w + 180}}, now, DefaultRules()),
		})
		return out.Verdicts[2] // of the third window
	}
	if v := judge(500); v.State != Unknown || v.Epsilon != 500 || v.Lost != 0 {
		t.Errorf("%s bound %d lost %d", v.State, v.Epsilon, v.Lost)
	}
	if v := judge(0); v.State != Loss || v.Lost != 500 {
		t.Errorf("without drops it is a loss: %s %d", v.State, v.Lost)
	}
}

func TestScenario26RetentionRace(t *testing.T) {
	const h = 3600
	near(t, "v = 0", LossIn(20*h, 24*h, 0)/h, 4, 1e-9)
	near(t, "v = 0.5", LossIn(20*h, 24*h, 0.5)/h, 8, 1e-9)
	near(t, "drain", DrainEventTime(1*h, 4)/60, 20, 1e-9)
}

func TestScenario27BurstProducer(t *testing.T) {
	// 30,000 records within one second of each minute, polls every 10 s.
	var table Table
	truth := func(offset int64) float64 { return float64(offset/30_000)*60_000 + float64(offset%30_000)/30 }
	end := func(ms int64) int64 { return ms/60_000*30_000 + min(ms%60_000*30, 30_000) }
	for ms := int64(0); ms <= 1_200_000; ms += 10_000 {
		table.Add(ms, end(ms))
	}
	worst := 0.0
	for off := int64(1); off < 590_000; off += 997 {
		at, bound, ok := table.TimeOf(off)
		if !ok {
			t.Fatal("unknown")
		}
		e := math.Abs(at - truth(off))
		worst = math.Max(worst, e)
		if e > bound {
			t.Fatalf("offset %d: error %g ms above the bound %g", off, e, bound)
		}
	}
	if worst > 10_000 {
		t.Errorf("error %g ms", worst)
	}
}
