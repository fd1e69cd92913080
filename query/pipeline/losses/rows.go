// Package losses makes answers about losses of verdicts: rows with their ribbons, incidents with their sentences, windows with their
// reasons, the names of all of them, and what is found when somebody searches.
//
// Verdicts come from query/pipeline/ledger, rows and incidents go there and to query/pipeline. It is functions of values.
package losses

import (
	"cmp"
	"slices"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// ribbonCells is how many cells a ribbon has at most; of longer ranges each cell shows the worst of its windows.
const ribbonCells = 300

// MaxRows bounds the rows of one answer, fewRows how many have ribbons of full length.
const (
	MaxRows = 500
	fewRows = 100
)

// Loses says whether a window is one of loss: MIXED ones are, although nobody can say of how many.
func Loses(state string, lost int64) bool { return lost > 0 || state == flow.Mixed }

// Lately says whether what the newest settled window says goes on at a time, Unix seconds: windows come for as long as records do, and
// the next one would be settled by then.
func Lately(window, width, at int64) bool { return at-(window+width) < 300+2*width }

// Worst sorts rows, worst first, and cuts them to what one answer holds; left is how many that leaves out.
func Worst(rows []answer.LossRow) (worst []answer.LossRow, left int) {
	Sort(rows)
	left = max(len(rows)-MaxRows, 0)
	return rows[:len(rows)-left], left
}

// Shorten makes the ribbons of many rows coarser.
func Shorten(rows []answer.LossRow) {
	if len(rows) <= fewRows {
		return
	}
	for i := range rows {
		rows[i].Ribbon = coarser(rows[i].Ribbon)
	}
}

// coarser joins three cells of a ribbon into one with their worst state.
func coarser(cells []answer.RibbonCell) []answer.RibbonCell {
	if len(cells) <= ribbonCells/3 {
		return cells
	}
	out := make([]answer.RibbonCell, 0, len(cells)/3+1)
	for i := range cells {
		if i%3 == 0 {
			out = append(out, cells[i])
			continue
		}
		c := &out[len(out)-1]
		if flow.Severity(cells[i].State) > flow.Severity(c.State) {
			c.State = cells[i].State
		}
		c.Lost += cells[i].Lost
	}
	return out
}

// Sort puts the worst rows first.
func Sort(rows []answer.LossRow) {
	slices.SortFunc(rows, func(a, b answer.LossRow) int {
		return cmp.Or(-cmp.Compare(flow.Severity(a.Verdict), flow.Severity(b.Verdict)), -cmp.Compare(a.Lost, b.Lost), -cmp.Compare(a.Bound, b.Bound), cmp.Compare(a.ID, b.ID))
	})
}

// Row sums the verdicts of one balance, oldest first, of a stretch of time, Unix seconds.
func Row(k store.VerdictKey, vs []store.Verdict, from, to int64) answer.LossRow {
	r := answer.LossRow{ID: ID(k), Pipeline: k.Pipeline, Kind: string(k.Kind), Where: Where(k), Verdict: flow.OK, Ribbon: []answer.RibbonCell{}}
	if len(vs) == 0 {
		r.Verdict = ""
	}
	// The newest windows are always in flight; they speak for the row only when no window is settled.
	settled := slices.ContainsFunc(vs, func(v store.Verdict) bool { return v.Settled })
	var lostUp int64
	var worst store.Verdict
	for _, v := range vs {
		r.Up += v.Up
		r.Down += v.Down
		r.Lost += v.Lost
		r.Surplus += v.Surplus
		if v.State == flow.Unknown {
			r.Bound += v.Epsilon
		}
		if v.Lost > 0 {
			lostUp += v.Up
		}
		switch {
		case settled && v.State == flow.InFlight:
		case flow.Severity(v.State) > 0 && flow.Severity(v.State) >= flow.Severity(r.Verdict):
			r.Verdict, worst = v.State, v
		case worst.State == "":
			r.Confidence = v.Confidence
		}
		if v.Level > r.Level {
			r.Level = v.Level
		}
		if v.Settled {
			switch {
			case Loses(v.State, v.Lost) && (r.Since == nil || !r.Still):
				w := v.Window
				r.Since, r.Still = &w, true
			case !Loses(v.State, v.Lost):
				r.Still = false
			}
		}
	}
	if n := len(vs); r.Still && !Lately(vs[n-1].Window, vs[n-1].Width, to) {
		r.Still = false
	}
	if worst.State != "" {
		r.Class, r.Confidence = worst.Class, worst.Confidence
		if r.Since == nil {
			r.Since = sinceOf(vs, worst.Window)
		}
	}
	if lostUp > 0 {
		share := float64(r.Lost) / float64(lostUp)
		r.Share = &share
	}
	r.Ribbon = ribbon(vs, from, to)
	return r
}

// sinceOf is the first window of the run of equal verdicts that ends with a window; vs are oldest first.
func sinceOf(vs []store.Verdict, last int64) *int64 {
	i := slices.IndexFunc(vs, func(v store.Verdict) bool { return v.Window == last })
	for i > 0 && vs[i-1].State == vs[i].State && vs[i-1].Window+max(vs[i-1].Width, 1) >= vs[i].Window {
		i--
	}
	return &vs[i].Window
}

func ribbon(vs []store.Verdict, from, to int64) []answer.RibbonCell {
	out := make([]answer.RibbonCell, 0, min(len(vs), ribbonCells))
	if len(vs) <= ribbonCells {
		for _, v := range vs {
			out = append(out, answer.RibbonCell{Window: v.Window, State: v.State, Lost: v.Lost})
		}
		return out
	}
	width := max((to-from+ribbonCells-1)/ribbonCells, 1)
	for _, v := range vs {
		start := from + (v.Window-from)/width*width
		if n := len(out); n == 0 || out[n-1].Window != start {
			out = append(out, answer.RibbonCell{Window: start, State: v.State})
		}
		c := &out[len(out)-1]
		if flow.Severity(v.State) > flow.Severity(c.State) {
			c.State = v.State
		}
		c.Lost += v.Lost
	}
	return out
}
