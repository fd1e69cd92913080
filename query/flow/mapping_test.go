package flow

import (
	"testing"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// A stage whose ratio nobody declared is judged once it put out what it took in, exactly, and enough of it.
func TestMapping(t *testing.T) {
	v := func(w int64, up, down int64, state string) *store.Verdict {
		return &store.Verdict{VerdictKey: store.VerdictKey{Kind: store.EdgeBalance, Window: w, Width: 10}, State: state, Settled: true, Up: up, Down: down}
	}
	dropped := v(30, 100, 90, Loss)
	dropped.Dropped, dropped.Lost = 10, 10
	for name, c := range map[string]struct {
		vs   []*store.Verdict
		want int64
	}{
		"all at once":                      {[]*store.Verdict{v(10, 100, 100, OK)}, 10},
		"all, little by little":            {[]*store.Verdict{v(10, 60, 60, OK), v(20, 60, 60, OK)}, 10},
		"too few":                          {[]*store.Verdict{v(10, 50, 50, OK)}, 0},
		"a filter that let few pass whole": {[]*store.Verdict{v(10, 60, 60, OK), v(20, 10, 9, Unknown), v(30, 60, 60, OK)}, 0},
		"after it":                         {[]*store.Verdict{v(10, 60, 59, Unknown), v(20, 110, 110, OK)}, 20},
		"a loss was proved before":         {[]*store.Verdict{{VerdictKey: store.VerdictKey{Kind: store.EdgeBalance, Window: 20}, State: Loss, Settled: true, Up: 100, Down: 90, Lost: 10}}, 20},
		"given up with a reason, evenly":   {[]*store.Verdict{dropped}, 30},
		"open":                             {[]*store.Verdict{{VerdictKey: store.VerdictKey{Kind: store.EdgeBalance, Window: 20}, State: InFlight, Up: 100, Down: 100}}, 0},
		"of an edge":                       {[]*store.Verdict{{VerdictKey: store.VerdictKey{Kind: store.EdgeTransport, Window: 20}, State: OK, Settled: true, Up: 100, Down: 100}}, 0},
	} {
		var m Mapping
		for _, x := range c.vs {
			if x.State == Unknown {
				x.Class = "ratio not declared"
			}
			m.Learn(x)
		}
		if m.Since != c.want {
			t.Errorf("%s: since %d, want %d", name, m.Since, c.want)
		}
	}
}

// A filter that does not count what it leaves out is no loss; a stage that had kept all is.
func TestUndeclaredRatioIsNoLoss(t *testing.T) {
	const w, now = 1_732_334_400, (1_732_334_400 + 900) * 1000
	var cells []cell.Cell
	for at := int64(w); at <= w+120; at += 60 {
		k := cell.Key{Pipeline: "p", Stage: "filter", Dir: cell.In, Destination: "d", Group: "g", Window: at, Width: 60}
		o := cell.Key{Pipeline: "p", Stage: "filter", Dir: cell.Out, Destination: "e", Window: at, Width: 60}
		cells = append(cells,
			cell.Cell{Key: k, Instance: "n/f", Node: "n", Counts: cell.Counts{N: 60_000, MaxTS: (at + 59) * 1000}},
			cell.Cell{Key: o, Instance: "n/f", Node: "n", Counts: cell.Counts{N: 42_000, MaxTS: (at + 59) * 1000}})
	}
	at := func(kept bool) store.Verdict {
		tl := Tallies(cells)["p"]
		out := Settle(Settlement{
			Now: now, Tally: tl, Topology: Build(tl), Rules: DefaultRules(),
			Audit: NewAudit([]cell.Auditor{{Node: "n", At: now, FlushMS: 1000}}, now, DefaultRules()),
			Known: func(store.VerdictKey) (int64, bool) { return w - 600, true },
			Kept:  func(store.VerdictKey) (int64, bool) { return w - 600, kept },
		})
		for _, v := range out.Verdicts {
			if v.Kind == store.EdgeBalance {
				return v
			}
		}
		t.Fatal("no balance")
		return store.Verdict{}
	}
	if v := at(false); v.State != Unknown || v.Class != "ratio not declared" || v.Lost != 0 || v.Epsilon != 18_000 {
		t.Errorf("%s %q, lost %d of up to %d", v.State, v.Class, v.Lost, v.Epsilon)
	}
	if v := at(true); v.State != Loss || v.Lost != 18_000 {
		t.Errorf("%s, lost %d", v.State, v.Lost)
	}
}
