package ledger

import (
	"cmp"
	"iter"
	"math"
	"slices"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/losses"
)

// Day fills in a part of the last day from memory: sums by quarters of an hour, ribbons by five minutes, losses
// exactly. reasons are those of Reasons, where words are searched. For pages.
func (l *Ledger) Day(a *answer.Loss, q answer.LossQuery, reasons map[string][]string) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	from, to := q.From.Unix(), q.To.Unix()
	books := l.byPipe[q.Pipeline]
	if q.Pipeline == "" {
		books = make([]*Balance, 0, len(l.balances))
		for _, b := range l.balances {
			books = append(books, b)
		}
	}
	rows := make([]answer.LossRow, len(books))
	at := make(map[string]*Balance, len(books))
	for i, b := range books {
		rows[i] = b.dayRow(from, to)
		at[rows[i].ID] = b
	}
	rows = losses.Choose(a, rows, q, func(id string) []string { return reasons[id] })
	a.Rows, a.Left = losses.Worst(rows)
	for i := range a.Rows {
		b := at[a.Rows[i].ID]
		a.Rows[i].Ribbon = b.dayRibbon(from, to)
		a.Rows[i].Incident = l.incidentOf(b.Key)
	}
	losses.Shorten(a.Rows)
}

// dayRow is the row of a balance without its ribbon.
func (b *Balance) dayRow(from, to int64) answer.LossRow {
	r := answer.LossRow{ID: losses.ID(b.Key), Pipeline: b.Key.Pipeline, Kind: string(b.Key.Kind), Where: losses.Where(b.Key), Ribbon: []answer.RibbonCell{}}
	for i := range b.dayCells(from, to) {
		if s := stateCodes[b.day.cells[i%cellCount]]; s != "" && (r.Verdict == "" || flow.Severity(s) > flow.Severity(r.Verdict)) {
			r.Verdict = s
		}
	}
	if b.day.newest*cellWidth-from <= 3600 { // single windows are known
		for w, h := range b.hour {
			if w >= from && w < to {
				r.Up, r.Down, r.Surplus = r.Up+h.Up, r.Down+h.Down, r.Surplus+h.Surplus
			}
		}
	} else if b.day.sums != nil {
		top := b.day.newest / (sumWidth / cellWidth)
		for i := max(from/sumWidth, top-sumCount+1); i <= min(top, (to-1)/sumWidth); i++ {
			s := b.day.sums[i%sumCount]
			r.Up, r.Down, r.Surplus = r.Up+s.Up, r.Down+s.Down, r.Surplus+s.Surplus
		}
	}
	var lostUp, last, worst int64
	sure := 0.0
	width := int64(60)
	for w, x := range b.bad {
		if w < from || w >= to {
			continue
		}
		r.Lost, r.Bound = r.Lost+x.lost, r.Bound+x.bound
		if x.lost > 0 {
			lostUp += x.up
		}
		if losses.Loses(x.state, x.lost) {
			last = max(last, w)
			width = max(x.width, 1)
		}
		if flow.Severity(x.state) >= flow.Severity(r.Verdict) && w >= worst {
			worst, r.Class, r.Verdict, sure = w, x.class, x.state, math.Round(float64(x.confidence)*1e6)/1e6
		}
		r.Level = max(r.Level, x.level)
	}
	for _, v := range b.verdicts {
		r.Level, r.Confidence = max(r.Level, v.Level), max(r.Confidence, v.Confidence)
	}
	if sure > 0 { // of what the row says
		r.Confidence = sure
	}
	if r.Verdict == "" && b.InFlight() > 0 {
		r.Verdict = flow.InFlight
	}
	if lostUp > 0 {
		share := float64(r.Lost) / float64(lostUp)
		r.Share = &share
	}
	if last > 0 {
		since := last
		for losses.Loses(b.bad[since-width].state, b.bad[since-width].lost) {
			since -= width
		}
		r.Since, r.Still = &since, b.latest <= last && losses.Lately(last, width, to)
	} else if x, ok := b.bad[worst]; ok && x.state == r.Verdict {
		since := worst
		for x.width > 0 && b.bad[since-x.width].state == x.state {
			since -= x.width
		}
		r.Since = &since
	}
	return r
}

// dayCells are the numbers of the cells of a range that are within the day.
func (b *Balance) dayCells(from, to int64) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		if b.day.cells == nil {
			return
		}
		for i := max(from/cellWidth, b.day.newest-cellCount+1); i <= min(b.day.newest, (to-1)/cellWidth); i++ {
			if !yield(i) {
				return
			}
		}
	}
}

// dayRibbon shows the worst state of each five minutes.
func (b *Balance) dayRibbon(from, to int64) []answer.RibbonCell {
	out := make([]answer.RibbonCell, 0, cellCount)
	for i := range b.dayCells(from, to) {
		if s := stateCodes[b.day.cells[i%cellCount]]; s != "" {
			out = append(out, answer.RibbonCell{Window: i * cellWidth, State: s})
		}
	}
	for w, x := range b.bad {
		if x.lost == 0 {
			continue
		}
		if i, ok := slices.BinarySearchFunc(out, w/cellWidth*cellWidth, func(c answer.RibbonCell, at int64) int { return cmp.Compare(c.Window, at) }); ok {
			out[i].Lost += x.lost
		}
	}
	return out
}
