package ledger

import (
	"testing"
	"time"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// What is told of a loss stays the same when its verdict is not followed any more, and ends when nothing comes after it.
func TestLossAfterItIsFollowedNoMore(t *testing.T) {
	l := New(nil, store.DefaultTenant)
	say := func(w int64, state string, lost int64) {
		v := store.Verdict{State: state, Settled: true, Up: 100, Down: 100 - lost, Lost: lost, Level: flow.L1, Confidence: 0.7, SettledAt: (w + 90) * 1000}
		v.VerdictKey = store.VerdictKey{Pipeline: "p", Kind: store.EdgeTransport, From: "a", Destination: "q", Group: "g", To: "b", Window: w, Width: 60}
		if lost > 0 {
			v.Class = "given up"
		} else {
			v.Confidence = 0.99
		}
		l.Say(v, (w+90)*1000)
	}
	for i := range int64(10) {
		say(start+60*i, flow.OK, 0)
	}
	say(start+600, flow.ProbableLoss, 7)
	say(start+660, flow.ProbableLoss, 7)
	row := func(at int64) answer.LossRow {
		l.pruned = 0
		l.Prune(at*1000, 6*3600)
		var a answer.Loss
		l.Day(&a, answer.LossQuery{From: time.Unix(at-86400, 0), To: time.Unix(at, 0)}, nil)
		return a.Rows[0]
	}
	right := func(when string, r answer.LossRow, still bool) {
		t.Helper()
		if r.Still != still || r.Lost != 14 || r.Level != flow.L1 || r.Class != "given up" || r.Confidence != 0.7 || r.Down != r.Up-14 {
			t.Errorf("%s: %+v", when, r)
		}
	}
	right("at once", row(start+750), true)
	recent := l.RecentLosses((start + 3000) * 1000)
	l.pruned = 0
	l.Prune((start+3000)*1000, 6*3600) // its verdicts are forgotten
	if again := l.RecentLosses((start + 3000) * 1000); len(recent) != 1 || len(again) != 1 || again[0].Confidence != recent[0].Confidence || again[0].Level != recent[0].Level ||
		again[0].Class != recent[0].Class || again[0].Up != recent[0].Up || again[0].Down != recent[0].Down {
		t.Errorf("%+v, then %+v", recent, again)
	}
	list := l.IncidentsOfDay((start + 3000) * 1000)
	if len(list) != 1 || list[0].Still || list[0].Row.Confidence != 0.7 || list[0].Row.Down != 186 || list[0].Row.Up != 200 {
		t.Errorf("%+v", list)
	}
	right("hours of silence later", row(start+4*3600), false)
	say(start+720, flow.OK, 0)
	right("good windows came after it", row(start+4*3600), false)
}
