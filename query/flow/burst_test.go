package flow

import (
	"testing"
	"time"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// What a stage without a queue puts out after a stall comes within a moment, younger records among older ones: that some
// younger ones are out says nothing of the older ones in that moment, and everything a little later.
func TestBurstAfterAStallIsNoLoss(t *testing.T) {
	const w0 = 1_732_334_400
	for name, c := range map[string]struct {
		final uint64 // records of the first window out in the end
		want  string
	}{
		"all come":   {100, OK},
		"ten do not": {90, Loss},
	} {
		var changes Changes
		verdicts := map[store.VerdictKey]store.Verdict{}
		for now := int64(w0 + 61); now < w0+300; now++ {
			var cells []cell.Cell
			count := func(stage string, dir cell.Dir, dest, group string, window int64, n uint64) {
				if n > 0 {
					cells = append(cells, cell.Cell{
						Key:      cell.Key{Pipeline: "p", Stage: stage, Dir: dir, Destination: dest, Group: group, Window: window, Width: 60},
						Instance: "n1/" + stage, Counts: cell.Counts{N: n},
					})
				}
			}
			first, younger := uint64(50), uint64(0)
			if now >= w0+200 {
				younger = 50
			}
			if now >= w0+202 {
				first = c.final
			}
			count("a", cell.Out, "b", "", w0, 100)
			count("b", cell.In, "b", "b", w0, 100)
			count("b", cell.Out, "d", "", w0, first)
			for w := int64(w0 + 60); w <= now-60; w += 60 {
				count("a", cell.Out, "b", "", w, 100)
				count("b", cell.In, "b", "b", w, 100)
				count("b", cell.Out, "d", "", w, younger)
			}
			tl := Tallies(cells)["p"]
			changes.Observe(tl, now*1000, 0)
			out := Settle(Settlement{
				Now: now * 1000, Tally: tl, Topology: Build(tl), Rules: DefaultRules(), Changes: &changes,
				Audit:   NewAudit([]cell.Auditor{{Node: "n1", At: now * 1000, FlushMS: 1000}}, now*1000, DefaultRules()),
				Known:   func(store.VerdictKey) (int64, bool) { return 0, true },
				Prior:   func(k store.VerdictKey) (store.Verdict, bool) { v, ok := verdicts[k]; return v, ok },
				Latency: func(string) time.Duration { return 0 },
			})
			for _, v := range out.Verdicts {
				if v.Kind != store.EdgeBalance || v.To != "b" || v.Window != w0 {
					continue
				}
				verdicts[v.VerdictKey] = v
				if IsLoss(v.State) && now < w0+203 {
					t.Fatalf("%s: %s of %d at +%d s", name, v.State, v.Lost, now-w0)
				}
			}
		}
		if len(verdicts) != 1 {
			t.Fatalf("%s: %d verdicts", name, len(verdicts))
		}
		for _, v := range verdicts {
			if v.State != c.want || !v.Settled {
				t.Errorf("%s: in the end %s (settled %v), want %s", name, v.State, v.Settled, c.want)
			}
		}
	}
}
