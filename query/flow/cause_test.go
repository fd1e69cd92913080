package flow

import (
	"math"
	"strings"
	"testing"
)

// Each class of cause, with its sentence; the first that is certain names it.
func TestCauses(t *testing.T) {
	even := []HopPartition{{Name: "0", Backlog: 500, In: 100, Out: 80}, {Name: "1", Backlog: 500, In: 100, Out: 80}}
	growing := func() *Hop {
		return &Hop{Stage: "enrich", Known: true, Backlog: 1000, Trend: Growing, In: 200, Out: 160, Partitions: even}
	}
	stalled := func() *Hop {
		h := growing()
		h.Stalled, h.Out = 40, 0
		h.Partitions = []HopPartition{{Name: "0", Backlog: 500, In: 100, Stalled: 40}, {Name: "1", Backlog: 500, In: 100, Stalled: 40}}
		return h
	}
	const since = 1_732_334_460_000 // 04:01:00 UTC
	deploy := Happened{since - 40_000, "enrich runs 1.4.2, was 1.4.1.", "deploy"}
	for _, c := range []struct {
		name   string
		give   Circumstances
		class  string
		clause string
	}{
		{"nothing known", Circumstances{Hop: growing()}, "slow", ""},
		{"poison, told by deliveries", Circumstances{Hop: stalled(), Repeats: 12}, "poison", "The same record was delivered 12 times again without being acknowledged."},
		{"two deliveries are no poison", Circumstances{Hop: stalled(), Repeats: 2}, "stalled", ""},
		{"stopped", Circumstances{Hop: stalled(), Stopped: true, GroupState: "Empty"}, "stopped", "No consumer runs: the broker calls its group Empty."},
		{"no members", Circumstances{Hop: stalled(), Stopped: true}, "stopped", "No consumer runs: its group has no members."},
		{"rebalance loop", Circumstances{Hop: growing(), Rebalances: new(9.0)}, "rebalancing", "Its group rebalanced 9 times in ten minutes."},
		{"two rebalances are none", Circumstances{Hop: growing(), Rebalances: new(2.0)}, "slow", ""},
		{"rebalancing now", Circumstances{Hop: stalled(), GroupState: "PreparingRebalance"}, "rebalancing", "Its group is rebalancing: PreparingRebalance."},
		{"one partition is not read", Circumstances{Hop: &Hop{Stage: "enrich", Known: true, Backlog: 900, Trend: Growing, In: 200, Out: 100, Partitions: []HopPartition{
			{Name: "0", Backlog: 0, In: 100, Out: 100}, {Name: "1", Backlog: 900, In: 100, Stalled: 90},
		}}}, "stopped", "Partition 1 is not read for 1 m 30 s while the others are."},
		{"skew", Circumstances{Hop: &Hop{Stage: "enrich", Known: true, Backlog: 92_000, Trend: Growing, In: 1000, Out: 700, Partitions: []HopPartition{
			{Name: "0", Backlog: 90_000, In: 800, Out: 500}, {Name: "1", Backlog: 1000, In: 100, Out: 500}, {Name: "2", Backlog: 1000, In: 100, Out: 500},
		}}}, "skew", "Partition 0 gets 2.40 times the mean inflow: a whole partition has one reader, so more consumers do not help."},
		{"open transaction", Circumstances{Hop: growing(), Held: 5000}, "slow", "An open transaction holds back 5,000 records."},
		{"throttled", Circumstances{Hop: growing(), Use: Use{Throttled: new(0.62), CPULimit: new(0.5)}}, "throttled", "Its containers are throttled in 62 % of the periods at their limit of 0.5 cores."},
		{"hardly throttled", Circumstances{Hop: growing(), Use: Use{Throttled: new(0.1)}}, "slow", ""},
		{"killed for memory", Circumstances{Hop: growing(), Use: Use{OOM: new(2.0)}}, "saturated", "It was killed for memory 2 times in the last hour."},
		{"memory", Circumstances{Hop: growing(), Use: Use{Memory: new(97.0), MemLimit: new(100.0)}}, "saturated", "Its memory is at 97 % of the limit."},
		{"CPU", Circumstances{Hop: growing(), Use: Use{CPU: new(1.95), CPULimit: new(2.0)}}, "saturated", "It uses 1.9 of the 2 cores it may use."},
		{"dependency", Circumstances{Hop: growing(), Slow: []Slow{{"SELECT orders on db", 0.83, 1.4}}}, "dependency", "83 % of its time goes to SELECT orders on db (p99 1.4 s)."},
		{"surge", Circumstances{Hop: growing(), In: 2300, BandHigh: 1100, BandOf: "this hour of the week"}, "surge", "2.3 k/s arrive; up to 1.1 k/s are usual for this hour of the week."},
		{"usual flow", Circumstances{Hop: growing(), In: 1150, BandHigh: 1100, BandOf: "this hour of the week"}, "slow", ""},
		{"deploy", Circumstances{Hop: growing(), Since: since, Changes: []Happened{{since - 5000, "LATE, was OK.", "state"}, deploy}}, "deploy", "It began at 04:01:00 UTC, 40 s after: enrich runs 1.4.2, was 1.4.1."},
		{"throttled since a deploy", Circumstances{Hop: growing(), Use: Use{Throttled: new(0.5)}, Since: since, Changes: []Happened{deploy}}, "throttled", "Its containers are throttled in 50 % of the periods. It began at 04:01:00 UTC, 40 s after: enrich runs 1.4.2, was 1.4.1."},
		{"an old deploy", Circumstances{Hop: growing(), Since: since, Changes: []Happened{{since - 3_600_000, "old", "deploy"}}}, "slow", "It began at 04:01:00 UTC."},
	} {
		c.give.Stuck = describe(c.give.Hop)
		got := CauseOf(c.give)
		if c.class == "skew" && got.Class == "skew" && c.give.Stuck.Class != "skew" {
			t.Errorf("%s: the walk says %s", c.name, c.give.Stuck.Class)
		}
		if got.Class != c.class || got.Clause != c.clause {
			t.Errorf("%s: %s %q", c.name, got.Class, got.Clause)
		}
	}
}

// The walk goes up from the sinks to the last stage that grows, unless its output is blocked; among branches the score decides.
func TestBottleneckWalk(t *testing.T) {
	hop := func(name string, slope float64, up ...string) Hop {
		h := Hop{Stage: name, Known: true, In: 100, Out: 100, Trend: Steady, Upstream: append([]string{}, up...)}
		if slope > 0 {
			h.Trend, h.Slope, h.Backlog = Growing, Slope{Rate: slope, N: 10}, 1000
		}
		return h
	}
	a, b, c := hop("a", 50), hop("b", 30, "a"), hop("c", 0, "b")
	if s, ok := Bottleneck([]Hop{a, b, c}, 60); !ok || s.Stage != "b" {
		t.Errorf("%+v", s)
	}
	b.Pressure = 0.8 // it cannot put out: something after it is slow, or before the sink
	if s, _ := Bottleneck([]Hop{a, b, c}, 60); s.Stage != "a" {
		t.Errorf("%+v", s)
	}
	left, right := hop("left", 10, "a"), hop("right", 60, "a")
	if s, _ := Bottleneck([]Hop{hop("a", 0), right, left}, 60); s.Stage != "right" {
		t.Errorf("%+v", s)
	}
	right.Busy = new(0.1) // it has time: its input grows for another reason
	if s, _ := Bottleneck([]Hop{hop("a", 0), right, left}, 60); s.Stage != "left" {
		t.Errorf("%+v", s)
	}
	if _, ok := Bottleneck([]Hop{hop("a", 0), hop("b", 0, "a")}, 60); ok {
		t.Error("nothing is stuck")
	}
}

func TestChangePoint(t *testing.T) {
	series := func(n, bend int, before, after float64) []XY {
		var out []XY
		y := 1000.0
		for i := range n {
			if i < bend {
				y += before
			} else {
				y += after
			}
			out = append(out, XY{float64(i * 10), y + 3*math.Sin(float64(i*i))})
		}
		return out
	}
	if x, ok := ChangePoint(series(60, 40, 0, 50)); !ok || math.Abs(x-400) > 20 {
		t.Errorf("%g %v", x, ok)
	}
	if x, ok := ChangePoint(series(60, 60, 20, 0)); ok {
		t.Errorf("a straight line bends at %g", x)
	}
	if _, ok := ChangePoint(series(60, 60, 0, 0)); ok {
		t.Error("noise does not bend")
	}
	if _, ok := ChangePoint(series(6, 3, 0, 50)); ok {
		t.Error("too few points")
	}
}

func TestLossSpan(t *testing.T) {
	race := Reader{Lag: TimeLag{Seconds: 72_000, Known: true}, Speed: Slope{Rate: 0.5, Low: 0.4, High: 0.6, N: 10}, Unread: 1000, Course: Course{Rate: -10}}
	s, by := LossSpan(Kept{Seconds: 86_400}, race)
	if by != "age" || s.Value != 28_800 || s.Low != 24_000 || s.High != 36_000 {
		t.Errorf("%s %+v", by, s)
	}
	if s, by := LossSpan(Kept{Seconds: 86_400, Records: 1500}, race); by != "count" || s.Value != 50 {
		t.Errorf("%s %+v", by, s)
	}
	if s, by := LossSpan(Kept{Bytes: 500_000, Size: 100, Records: 9000}, race); by != "size" || s.Value != 400 {
		t.Errorf("%s %+v", by, s)
	}
	race.Speed, race.Course = Slope{Rate: 2, Low: 1.8, High: 2.2, N: 10}, Course{Rate: 10}
	if s, by := LossSpan(Kept{Seconds: 86_400, Records: 1500}, race); s.Known || by != "" {
		t.Errorf("it catches up: %s %+v", by, s)
	}
	race.Lag.Bound = math.Inf(1)
	race.Speed = Slope{}
	if s, _ := LossSpan(Kept{Seconds: 86_400}, race); !s.Known || s.Low != 0 {
		t.Errorf("at least so old: it may be now: %+v", s)
	}
}

// What cannot be is left out, and never told as a loss.
func TestWatchLeavesOutWhatCannotBe(t *testing.T) {
	var w Watch
	told := func(o Offsets) []Event { return w.Step(o, -1) }
	for i := range int64(5) {
		told(Offsets{i * 1000, 0, 1000, 500})
	}
	for i, o := range []Offsets{
		{5000, 0, 1 << 50, 500},
		{6000, 0, 1000, 500},
		{7000, -1, 1000, 500},
		{8000, 2000, 1000, 500},
		{9000, 0, 1000, 1 << 50},
		{10_000, 0, 1000, 500},
	} {
		for _, e := range told(o) {
			if e.Kind != EventRewind {
				t.Errorf("%d: %+v", i, e)
			}
		}
	}
	told(Offsets{11_000, 1 << 50, 1<<50 + 10, 500})
	if ev := told(Offsets{12_000, 1 << 50, 1<<50 + 20, 500}); len(ev) != 0 {
		t.Errorf("confirmed, it is a new beginning: %+v", ev)
	}
	var r Watch
	for i := range int64(3) {
		r.Step(Offsets{i, 500, 1000, 900}, -1)
	}
	if ev := r.Step(Offsets{3, 0, 10, 5}, -1); len(ev) != 1 || ev[0].Kind != EventRecreated || !strings.Contains(ev[0].Sentence("d", "0", "g"), "created again") {
		t.Errorf("start and end went back: made anew, %+v", ev)
	}
	loose := Watch{Loose: true}
	loose.Step(Offsets{1, 0, 1000, 100}, -1)
	if ev := loose.Step(Offsets{2, 900, 1000, 100}, 0); len(ev) != 0 {
		t.Errorf("compacted: %+v", ev)
	}
}

func FuzzWatch(f *testing.F) {
	f.Add(int64(1), int64(0), int64(10), int64(5), int64(3))
	f.Add(int64(math.MaxInt64), int64(math.MinInt64), int64(math.MaxInt64), int64(-1), int64(-1))
	f.Fuzz(func(_ *testing.T, at, start, end, committed, delivered int64) {
		var w Watch
		w.Step(Offsets{1, 0, 100, 50}, -1)
		w.Step(Offsets{at, start, end, committed}, delivered)
		w.Step(Offsets{at + 1, end, start, committed}, delivered)
		var tb Table
		tb.Add(at, end)
		tb.Add(at+1, start)
		tb.Add(at+2, committed)
		LagOf(at, end, committed, start, &tb)
	})
}
