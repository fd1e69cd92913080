package losses

import (
	"slices"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// Verdicts are those of some balances, by their keys without window, oldest first.
type Verdicts map[store.VerdictKey][]store.Verdict

// maxWhys bounds for how many windows of a row the reasons are told.
const maxWhys = 100

// Bounds of one incident's page.
const (
	maxBalances = 2000
	maxExamples = 50
	maxReasons  = 20
)

func lossWindow(v *store.Verdict) answer.LossWindow {
	return answer.LossWindow{
		Window: v.Window, Width: v.Width, Verdict: v.State, Settled: v.Settled, SettledAt: v.SettledAt, Up: v.Up, Down: v.Down,
		Filtered: v.Filtered, DLQ: v.DLQ, Dropped: v.Dropped, InFlight: v.InFlight, Lost: v.Lost, Surplus: v.Surplus,
		Epsilon: v.Epsilon, Revision: v.Revision, Confidence: v.Confidence,
	}
}

// Detail is the row of one of the balances with its windows, newest first, of a stretch of time, Unix seconds.
func (vs Verdicts) Detail(k store.VerdictKey, from, to int64) answer.LossDetail {
	list := vs[k]
	d := answer.LossDetail{Row: Row(k, list, from, to), Windows: make([]answer.LossWindow, 0, len(list)), Reasons: []string{}, Examples: []string{}}
	whys := 0
	for _, v := range slices.Backward(list) {
		w := lossWindow(&v)
		if v.State != flow.OK && v.State != flow.InFlight && whys < maxWhys {
			whys++
			w.Why = &answer.WindowWhy{Class: v.Class, Level: v.Level, Reasons: append([]string{}, v.Reasons...), Examples: append([]string{}, v.Examples...)}
		}
		d.Windows = append(d.Windows, w)
		// Reasons of the newest windows that say what the row says.
		if v.State == d.Row.Verdict && len(d.Reasons) < 10 {
			for _, r := range v.Reasons {
				if !slices.Contains(d.Reasons, r) {
					d.Reasons = append(d.Reasons, r)
				}
			}
		}
		for _, e := range v.Examples {
			if len(d.Examples) < 20 {
				d.Examples = append(d.Examples, e)
			}
		}
	}
	return d
}

// Prove adds to the page of an incident the windows of its balance, what they say, and what the other balances did meanwhile, in a
// stretch of time, Unix seconds.
func (vs Verdicts) Prove(d *answer.IncidentDetail, k store.VerdictKey, from, to int64) {
	d.Balances, d.Reasons, d.Examples, d.Around = []answer.LossWindow{}, []string{}, []string{}, []answer.LossRow{}
	list := vs[k]
	for i := range list {
		v := &list[len(list)-1-i]
		if len(d.Balances) < maxBalances {
			d.Balances = append(d.Balances, lossWindow(v))
		}
		if _, bad := flow.BadWindow(v); !bad {
			continue
		}
		for _, r := range v.Reasons {
			if len(d.Reasons) < maxReasons && !slices.Contains(d.Reasons, r) {
				d.Reasons = append(d.Reasons, r)
			}
		}
		for _, e := range v.Examples {
			if len(d.Examples) < maxExamples && !slices.Contains(d.Examples, e) {
				d.Examples = append(d.Examples, e)
			}
		}
	}
	for o, list := range vs {
		if o != k && len(list) > 0 {
			d.Around = append(d.Around, Row(o, list, from, to))
		}
	}
	Sort(d.Around)
}
