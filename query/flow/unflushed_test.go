package flow

import (
	"testing"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// What an application counted and did not tell when it was killed is never a loss, nor are its records doubled; what is
// missing beyond that still is.
func TestKilledApplications(t *testing.T) {
	told := killed{up: 64, down: 64, hard: true}
	for name, c := range map[string]struct {
		up, down uint64
		hashed   bool
		same     bool
		killed   killed
		state    string
		lost     int64
		surplus  int64
		bound    int64
	}{
		"nobody ended":                {1000, 969, false, false, killed{}, Loss, 31, 0, 0},
		"counts of the reader":        {1000, 969, false, false, told, Unknown, 0, 0, 95},
		"counts of the writer":        {969, 1000, false, false, told, Unknown, 0, 0, 95},
		"more than it can have held":  {1000, 500, false, false, told, Loss, 436, 0, 128},
		"doubled more":                {500, 520, false, false, killed{up: 5, down: 5, hard: true}, Duplicates, 0, 15, 10},
		"as many missing of both":     {1000, 1000, false, false, told, Unknown, 0, 0, 64},
		"the same, proved":            {1000, 1000, true, true, told, OK, 0, 0, 128},
		"other records":               {1000, 1000, true, false, told, Unknown, 0, 0, 64},
		"one that never says":         {1000, 1000, false, false, killed{up: 64, down: 64}, OK, 0, 0, 128},
		"one that never says, others": {1000, 1000, true, false, killed{up: 64, down: 64}, Unknown, 0, 0, 64},
		"one that never says, less":   {1000, 990, false, false, killed{up: 64, down: 64}, Unknown, 0, 0, 74},
	} {
		ev := Evidence{Kind: store.EdgeTransport, Settled: true, InFlight: -1, EndDelta: -1, Up: cell.Counts{N: c.up}, Down: cell.Counts{N: c.down}, Killed: c.killed}
		if c.hashed {
			ev.Up.Hashed, ev.Down.Hashed = c.up, c.down
			if !c.same {
				ev.Up.FpSum = 1
			}
		}
		v := Judge(ev)
		if v.State != c.state || v.Lost != c.lost || v.Surplus != c.surplus || v.Epsilon != c.bound {
			t.Errorf("%s: %s lost %d surplus %d bound %d %v, want %s %d %d %d", name, v.State, v.Lost, v.Surplus, v.Epsilon, v.Reasons, c.state, c.lost, c.surplus, c.bound)
		}
	}
}

// A stage that was killed may have told less on both sides, and what it took again hides the more.
func TestKilledStage(t *testing.T) {
	w := Window{1_732_334_400, 60}
	key := func(d cell.Dir, dst string) cell.Key {
		return cell.Key{Pipeline: "p", Stage: "b", Dir: d, Destination: dst, Window: w.Start, Width: 60}
	}
	cells := []cell.Cell{
		{Key: key(cell.In, "x"), Instance: "n1/1", Epoch: 1, Seq: 1, Counts: cell.Counts{N: 1000}},
		{Key: key(cell.Out, "y"), Instance: "n1/1", Epoch: 1, Seq: 1, Counts: cell.Counts{N: 1000}},
		{Key: key(cell.Unflushed, ""), Instance: "n1/1~a", Epoch: 1, Seq: 1, Counts: cell.Counts{N: 10, MaxTS: 77}},
		{Key: key(cell.Unflushed, ""), Instance: "n1/2~b", Epoch: 1, Seq: 1, Counts: cell.Counts{N: 5, MaxTS: 99}},
		{Key: key(cell.Unflushed, ""), Instance: "n1/3~c", Epoch: 1, Seq: 1}, // alive after all
	}
	of := func(cells []cell.Cell, v view, w Window) killed {
		tl := Tallies(cells)["p"]
		s := &settler{Settlement: &Settlement{Tally: tl}, w: w}
		return s.killedOf(&v)
	}
	balance := view{kind: store.EdgeBalance, stage: Stage{Name: "b"}}
	if k := of(cells, balance, w); k != (killed{up: 15, down: 30, hard: true, told: 99}) {
		t.Errorf("balance: %+v", k)
	}
	balance.ratio = Ratio{Kind: RatioFanout, K: 3}
	if k := of(cells, balance, w); k != (killed{up: 45, down: 60, hard: true, told: 99}) {
		t.Errorf("fan-out: %+v", k)
	}
	if k := of(cells, view{kind: store.EdgeTransport, edge: Edge{From: []string{"a"}, To: "b"}}, w); k != (killed{up: 0, down: 15, hard: true, told: 99}) {
		t.Errorf("way in: %+v", k)
	}
	if k := of(cells, view{kind: store.EdgeTransport, edge: Edge{From: []string{"b"}, To: "c"}}, w); k != (killed{up: 15, down: 0, hard: true, told: 99}) {
		t.Errorf("way out: %+v", k)
	}
	tl := Tallies(cells)["p"]
	if len(tl.AllPorts()) != 2 || len(tl.Windows) != 1 || tl.Timed != 2000 {
		t.Errorf("an end is no count: ports %v, windows %v, %d records", tl.AllPorts(), tl.Windows, tl.Timed)
	}
	// Folded into wider windows the records of one end are the same ones.
	cells[0].Window, cells[0].Width = w.Start-w.Start%3600, 3600
	next := cells[2]
	next.Window += 60
	if k := of(append(cells, next), view{kind: store.EdgeBalance, stage: Stage{Name: "b"}}, Window{cells[0].Window, 3600}); k.up != 15 {
		t.Errorf("folded: %+v", k)
	}
}

// What was settled before an application last told everything is not touched by its end; what was settled after is judged anew.
func TestVerdictsBeforeAnEndStand(t *testing.T) {
	k := killed{up: 10, down: 10, hard: true, told: 100_000}
	for name, c := range map[string]struct {
		prior store.Verdict
		want  bool
	}{
		"settled before":       {store.Verdict{State: Loss, SettledAt: 90_000}, true},
		"settled after":        {store.Verdict{State: Loss, SettledAt: 101_000}, false},
		"settled just before":  {store.Verdict{State: Loss, SettledAt: 99_000}, false},
		"proved, not knowing":  {store.Verdict{State: OK, Level: L3, SettledAt: 101_000}, false},
		"proved, with a bound": {store.Verdict{State: OK, Level: L3, SettledAt: 101_000, Epsilon: 20}, true},
	} {
		if got := k.standing(&c.prior, 2000); got != c.want {
			t.Errorf("%s stands: %v", name, got)
		}
	}
	if !(killed{}).standing(&store.Verdict{State: Loss, SettledAt: 101_000}, 2000) {
		t.Error("where nobody ended every verdict stands")
	}
}

// Counts whose keys an SDK folded away are UNKNOWN by a name of their own, also where both sides say the same.
func TestFoldedCounts(t *testing.T) {
	const w = 1_732_334_400
	tl := Tallies([]cell.Cell{
		{Key: cell.Key{Pipeline: "p", Stage: "b", Dir: cell.Unflushed, Reason: cell.Folded, Window: w, Width: 60}, Instance: "n1/1~~1", Epoch: 1, Seq: 1, Counts: cell.Counts{N: 1000, MaxTS: 1}},
	})["p"]
	s := &settler{Settlement: &Settlement{Tally: tl}, w: Window{w, 60}}
	edge := view{kind: store.EdgeTransport, edge: Edge{From: []string{"a"}, To: "b"}}
	for in, want := range map[uint64]string{0: Unknown, 1000: Unknown, 10: Unknown} {
		v := Judge(Evidence{Kind: store.EdgeTransport, Settled: true, InFlight: -1, EndDelta: -1, Up: cell.Counts{N: 1000}, Down: cell.Counts{N: in}, Killed: s.killedOf(&edge)})
		if v.State != want || v.Class != ClassFolded || v.Lost != 0 {
			t.Errorf("%d of 1000 counted: %s %q, lost %d", in, v.State, v.Class, v.Lost)
		}
	}
	if v := Judge(Evidence{Kind: store.EdgeTransport, Settled: true, InFlight: -1, EndDelta: -1, Up: cell.Counts{N: 2500}, Killed: s.killedOf(&edge)}); v.State != Loss || v.Lost != 1500 {
		t.Errorf("more missing than was folded: %s, lost %d", v.State, v.Lost)
	}
	if k := s.killedOf(&edge); k.standing(&store.Verdict{State: Loss, SettledAt: w * 1000}, 2000) {
		t.Error("a verdict settled before anybody knew stands")
	}
}
