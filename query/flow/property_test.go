package flow

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// Nothing is lost in these pipelines, so at no time may anybody be told that something was:
// random chains, capacities, delays, stalls, crashes and orderly restarts of collectors, snapshots resent in any order.
func TestNoFalseLoss(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSim(10)
		s.ids, s.noPrints = rapid.Bool().Draw(t, "ids"), rapid.Bool().Draw(t, "no fingerprints")
		s.rules.Grace, s.rules.Margin = 5e9, 2e9
		s.pollEvery = rapid.Int64Range(1, 5).Draw(t, "poll")
		s.shuffle = rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		nodes := rapid.IntRange(1, 3).Draw(t, "nodes")
		for i := range nodes {
			s.node(fmt.Sprint("n", i), rapid.Int64Range(1, 5).Draw(t, "flush"))
			s.nodes[fmt.Sprint("n", i)].delay = rapid.Int64Range(0, 3).Draw(t, "delay")
		}
		on := func(what string) string { return fmt.Sprint("n", rapid.IntRange(0, nodes-1).Draw(t, what)) }
		length := rapid.IntRange(1, 3).Draw(t, "length")
		for i := range length {
			s.queue(fmt.Sprint("q", i), rapid.IntRange(1, 3).Draw(t, "partitions"), "g")
		}
		sources := rapid.IntRange(1, 2).Draw(t, "sources")
		rate := rapid.Int64Range(1, 8).Draw(t, "rate")
		late := rapid.Int64Range(0, 40).Draw(t, "late") // a few records come long after the grace period
		for i := range sources {
			s.stages = append(s.stages, &simStage{
				name: fmt.Sprint("src", i), out: "q0", rate: rate, node: on("source node"),
				late: func(i int64) int64 {
					if i%7 == 0 {
						return late
					}
					return 0
				},
			})
		}
		for i := range length {
			out := fmt.Sprint("q", i+1)
			if i == length-1 {
				out = rapid.SampledFrom([]string{"", "table"}).Draw(t, "sink")
			}
			from := s.now + rapid.Int64Range(0, 120).Draw(t, "stall")
			to := from + rapid.Int64Range(0, 60).Draw(t, "stall length")
			s.stages = append(s.stages, &simStage{
				name: fmt.Sprint("st", i), in: fmt.Sprint("q", i), group: "g", out: out, node: on("stage node"),
				capacity: rate*int64(sources) + rapid.Int64Range(-1, 20).Draw(t, "capacity"), delay: rapid.Int64Range(0, 2).Draw(t, "inside"),
				stopped: func(now int64) bool { return now >= from && now < to },
			})
		}
		at := rapid.Int64Range(20, 80).Draw(t, "restart at")
		down := rapid.Int64Range(0, 30).Draw(t, "down")
		victim := on("victim")
		crash := rapid.Bool().Draw(t, "crash")
		begin := s.now
		for range 160 {
			if s.now-begin == at && crash {
				s.crash(victim)
			} else if s.now-begin == at {
				s.stop(victim)
			}
			if s.now-begin == at+down {
				s.restart(victim)
			}
			s.advance(1)
		}
		for _, bad := range []string{Loss, RetentionLoss, Skipped, Mixed, ProbableLoss, Duplicates, Anomaly} {
			if s.seen[bad] > 0 {
				for _, v := range s.verdicts {
					if v.State == bad {
						t.Logf("%+v", v)
					}
				}
				t.Fatalf("said %s %d times although nothing was lost", bad, s.seen[bad])
			}
		}
	})
}

func randomCells(t *rapid.T) []cell.Cell {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) cell.Cell {
		return cell.Cell{
			Key: cell.Key{
				Pipeline: "p", Stage: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "stage"),
				Dir:         rapid.SampledFrom(cell.Dirs()).Draw(t, "dir"),
				Destination: rapid.SampledFrom([]string{"", "d", "e"}).Draw(t, "dst"),
				Group:       rapid.SampledFrom([]string{"", "g"}).Draw(t, "group"),
				Window:      rapid.SampledFrom([]int64{0, 60, 120, 180}).Draw(t, "window"), Width: 60,
			},
			Instance: rapid.SampledFrom([]string{"n1/x", "n2/y"}).Draw(t, "instance"),
			Epoch:    rapid.Int64Range(1, 2).Draw(t, "epoch"), Seq: rapid.Uint64Range(1, 5).Draw(t, "seq"),
		}
	}), 0, 60).Draw(t, "cells")
}

// Counts of a snapshot are a function of its sequence, as in a cumulative counter.
func fill(cells []cell.Cell) {
	for i := range cells {
		c := &cells[i]
		c.N = c.Seq * 10
		c.Hashed, c.FpSum, c.FpXor = c.N, c.Seq*77, c.Seq*991
	}
}

func judgeAll(cells []cell.Cell) []store.Verdict {
	var out []store.Verdict
	for _, t := range Tallies(cells) {
		out = append(out, Settle(Settlement{
			Now: 1_000_000_000, Tally: t, Topology: Build(t), Audit: NewAudit(nil, 1_000_000_000, DefaultRules()), Rules: DefaultRules(),
		}).Verdicts...)
	}
	return out
}

func TestOrderAndResendsDoNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cells := randomCells(t)
		fill(cells)
		want := judgeAll(cells)
		again := append([]cell.Cell(nil), cells...)
		for range rapid.IntRange(0, 10).Draw(t, "resends") {
			if len(cells) > 0 {
				again = append(again, cells[rapid.IntRange(0, len(cells)-1).Draw(t, "which")])
			}
		}
		rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 2)).Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
		if d := cmp.Diff(want, judgeAll(again)); d != "" {
			t.Fatal(d)
		}
	})
}

// The ring of decisions must survive any figures.
func FuzzJudge(f *testing.F) {
	f.Add(uint64(1), uint64(2), int64(3), int64(4), int64(5), uint8(0), true)
	f.Add(^uint64(0), uint64(0), int64(-1)<<62, int64(1)<<62, int64(-1)<<63, uint8(7), false)
	f.Fuzz(func(t *testing.T, up, down uint64, a, b, c int64, mode uint8, settled bool) {
		kind := store.EdgeTransport
		if mode&1 == 1 {
			kind = store.EdgeBalance
		}
		v := Judge(Evidence{
			Kind: kind, Up: cell.Counts{N: up, Hashed: up}, Down: cell.Counts{N: down, Hashed: down}, Filtered: a, DLQ: b, Dropped: c, Covers: b,
			Ratio: Ratio{Kind: RatioKind(mode >> 1 & 3), K: int(c), Median: float64(a), Band: float64(b)}, Retention: a, Skipped: b, Truncated: c,
			Explained: c, Redelivered: a, EndDelta: b, EndError: c, Settled: settled, NoTime: float64(a), Doubts: []Doubt{{Hard: mode&64 != 0, Bound: c}},
		})
		if v.Lost < 0 || v.Surplus < 0 || v.Confidence < 0 || v.Confidence > 1 {
			t.Fatalf("absurd verdict %+v", v)
		}
	})
}

func FuzzSettle(f *testing.F) {
	f.Add(int64(60), int64(60), int64(1000), int64(5), int64(7), uint64(9))
	f.Add(int64(1)<<62, int64(86400), int64(1)<<62, int64(-5), int64(1)<<62, ^uint64(0))
	f.Add(int64(-9), int64(-1), int64(-1)<<63, int64(-1)<<63, int64(-1)<<63, uint64(1))
	f.Fuzz(func(t *testing.T, window, width, now, epoch, at int64, n uint64) {
		cells := []cell.Cell{
			{Key: cell.Key{Pipeline: "p", Stage: "a", Dir: cell.Out, Destination: "d", Window: window, Width: width}, Instance: "n/1", Epoch: epoch, Seq: n, Counts: cell.Counts{N: n}},
			{Key: cell.Key{Pipeline: "p", Stage: "b", Dir: cell.In, Destination: "d", Group: "g", Window: window, Width: width}, Instance: "n/1", Epoch: epoch, Counts: cell.Counts{N: n / 2}},
			{Key: cell.Key{Pipeline: "p", Stage: "b", Dir: cell.Out, Destination: "d", Window: window, Width: 60}, Instance: "m/1", Epoch: epoch, Counts: cell.Counts{N: ^n}},
			{Key: cell.Key{Pipeline: "p", Stage: "b", Dir: cell.In, Destination: "d", Group: "g", Window: window, Width: 10}, Instance: "m/1", Epoch: at, Counts: cell.Counts{N: ^uint64(0)}},
		}
		q := &Queue{Destination: "d", Partitions: []*QueuePartition{{Groups: map[string]*Table{"g": {}}}}}
		q.Partitions[0].End.Add(at, int64(n))
		q.Partitions[0].End.Add(now, epoch)
		q.Partitions[0].Groups["g"].Add(now, at)
		as := []cell.Auditor{{Node: "n", Epoch: epoch, At: at, FlushMS: width, Drops: n}, {Node: "n", Epoch: at, At: now, FlushMS: now, PreviousOpen: true}}
		for _, tl := range Tallies(cells) {
			in := Settlement{Now: now, Tally: tl, Topology: Build(tl), Audit: NewAudit(as, now, Rules{}), Queues: map[string]*Queue{"d": q}, Rules: Rules{SilentFlushes: int(epoch), Grace: 1 << 62, Margin: -1 << 62}}
			var c Changes
			c.Observe(tl, now, 0)
			in.Changes = &c
			Settle(in)
		}
		var w Watch
		for _, o := range []Offsets{{1, window, now, at}, {now, epoch, at, width}, {at, at, epoch, now}} {
			w.Step(o, width)
		}
		LagOf(now, at, epoch, window, &q.Partitions[0].End)
		q.Partitions[0].End.Recent(now, window, 30)
	})
}

// What one stage drops silently is found in that stage, in full, once everything is settled; restarts in order
// and late records change nothing. The counterpart of TestNoFalseLoss.
func TestLossIsFoundWhereItHappens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSim(10)
		s.ids, s.noPrints = rapid.Bool().Draw(t, "ids"), rapid.Bool().Draw(t, "no fingerprints")
		s.old = true
		s.rules.Grace, s.rules.Margin = 5e9, 2e9
		s.shuffle = rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 3))
		s.node("n0", rapid.Int64Range(1, 5).Draw(t, "flush"))
		s.node("n1", rapid.Int64Range(1, 5).Draw(t, "flush"))
		length := rapid.IntRange(1, 3).Draw(t, "length")
		for i := range length {
			s.queue(fmt.Sprint("q", i), rapid.IntRange(1, 3).Draw(t, "partitions"), "g")
		}
		begin := s.now
		late := rapid.Int64Range(0, 40).Draw(t, "late")
		s.stages = append(s.stages, &simStage{
			name: "src", out: "q0", rate: rapid.Int64Range(1, 8).Draw(t, "rate"), node: "n0", stopped: func(now int64) bool { return now > begin+100 },
			late: func(i int64) int64 {
				if i%9 == 0 {
					return late
				}
				return 0
			},
		})
		for i := range length {
			out := fmt.Sprint("q", i+1)
			if i == length-1 {
				out = "table"
			}
			s.stages = append(s.stages, &simStage{name: fmt.Sprint("st", i), in: fmt.Sprint("q", i), group: "g", out: out, node: fmt.Sprint("n", i%2), capacity: 30})
		}
		guilty := rapid.IntRange(1, length).Draw(t, "guilty")
		every := rapid.Int64Range(2, 20).Draw(t, "every")
		s.stages[guilty].drop = func(i int64) bool { return i%every == 0 }
		s.advance(220)
		for _, st := range s.stages[1:] {
			v, _, states := s.total(store.EdgeBalance, st.name)
			if v.Lost != s.lost[st.name] || states[Unknown] > 0 {
				t.Fatalf("%s lost %d, injected %d, states %v", st.name, v.Lost, s.lost[st.name], states)
			}
			if v, _, states := s.total(store.EdgeTransport, st.name); v.Delta != 0 || states[Loss] > 0 {
				t.Fatalf("transport to %s: δ %d, states %v", st.name, v.Delta, states)
			}
		}
	})
}
