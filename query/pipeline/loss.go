package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// ribbonCells is how many cells a ribbon has at most; of longer ranges each cell shows the worst of its windows.
const ribbonCells = 300

// maxVerdicts bounds what one request reads window by window; beyond it the last day is answered from memory, in cells of
// five minutes, and older times only from what is not OK.
const maxVerdicts = 40_000

// maxRows bounds the rows of one answer, fewRows how many have ribbons of full length.
const (
	maxRows = 500
	fewRows = 100
)

// idOf makes a balance's id, idKey reads it back.
func idOf(k store.VerdictKey) string {
	parts := []string{k.Pipeline, string(k.Kind), k.From, k.Destination, k.Group, k.To}
	for i := range parts {
		parts[i] = strings.ReplaceAll(url.QueryEscape(parts[i]), "~", "%7E")
	}
	return strings.Join(parts, "~")
}

func idKey(id string) (k store.VerdictKey, ok bool) {
	parts := strings.Split(id, "~")
	if len(parts) != 6 {
		return k, false
	}
	for i := range parts {
		s, err := url.QueryUnescape(parts[i])
		if err != nil {
			return k, false
		}
		parts[i] = s
	}
	return store.VerdictKey{Pipeline: parts[0], Kind: store.EdgeKind(parts[1]), From: parts[2], Destination: parts[3], Group: parts[4], To: parts[5]}, true
}

// verdicts reads what the store holds and adds the windows that are open now.
func (s *Service) verdicts(ctx context.Context, t *tenant, from, to time.Time, pipeline string) (map[store.VerdictKey][]store.Verdict, error) {
	q := store.VerdictQuery{Pipeline: pipeline, From: from, To: to, OnlyNotOK: t.many(from, to, pipeline)}
	vs, err := s.engine.Ledger().Verdicts(ctx, t.id, q)
	if err != nil {
		return nil, fmt.Errorf("cannot read verdicts: %w", err)
	}
	out := map[store.VerdictKey][]store.Verdict{}
	at := map[store.VerdictKey]int{}
	for _, v := range vs {
		k := bare(v.VerdictKey)
		at[v.VerdictKey] = len(out[k])
		out[k] = append(out[k], v)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, b := range t.ledger.books {
		if pipeline != "" && k.Pipeline != pipeline {
			continue
		}
		if out[k] == nil {
			out[k] = []store.Verdict{}
		}
		for _, m := range []map[int64]store.Verdict{b.verdicts, b.open} {
			for w, v := range m {
				if w < from.Unix() || w >= to.Unix() {
					continue
				}
				switch i, stored := at[v.VerdictKey]; {
				case !stored:
					at[v.VerdictKey] = len(out[k])
					out[k] = append(out[k], v)
				case v.UpdatedAt > out[k][i].UpdatedAt:
					out[k][i] = v
				}
			}
		}
		slices.SortFunc(out[k], func(a, b store.Verdict) int { return cmp.Compare(a.Window, b.Window) })
	}
	return out, nil
}

// many says whether a range holds more windows than one request reads.
func (t *tenant) many(from, to time.Time, pipeline string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.ledger.books)
	if pipeline != "" {
		n = len(t.ledger.byPipe[pipeline])
	}
	return int64(n)*int64(to.Sub(from)/time.Second)/max(t.cells.width, 1) > maxVerdicts
}

// Loss answers the ledger of [from, to], worst first.
func (s *Service) Loss(ctx context.Context, id store.Tenant, from, to time.Time, pipeline string) (answer.Loss, error) {
	return s.Losses(ctx, id, answer.LossQuery{From: from, To: to, Pipeline: pipeline})
}

// Losses answers the rows of the ledger that are looked for, worst first.
func (s *Service) Losses(ctx context.Context, id store.Tenant, q answer.LossQuery) (answer.Loss, error) {
	v, err := s.viewOf(ctx, id)
	if err != nil {
		return answer.Loss{}, err
	}
	t := s.tenant(id)
	l := answer.Loss{At: v.at, From: q.From.UnixMilli(), To: q.To.UnixMilli(), Completeness: v.completeness}
	if q.From.UnixMilli() >= v.at-86400_000-60_000 && t.many(q.From, q.To, q.Pipeline) {
		var reasons map[string][]string
		if len(newSearch(q.Text)) > 0 {
			if reasons, err = s.reasons(ctx, t, q, v.at); err != nil {
				return answer.Loss{}, err
			}
		}
		t.lossOfDay(&l, q, reasons)
		return l, nil
	}
	vs, err := s.verdicts(ctx, t, q.From, q.To, q.Pipeline)
	if err != nil {
		return answer.Loss{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l.Rows = make([]answer.LossRow, 0, len(vs))
	keys := make(map[string]store.VerdictKey, len(vs))
	for k, list := range vs {
		r := lossRow(k, list, q.From.Unix(), q.To.Unix())
		r.Incident = t.incidentOf(k)
		l.Rows = append(l.Rows, r)
		keys[r.ID] = k
	}
	l.Rows = choose(&l, l.Rows, q, func(id string) (out []string) {
		for _, v := range vs[keys[id]] {
			out = append(out, v.Class)
			out = append(out, v.Reasons...)
		}
		return out
	})
	l.Rows, l.Left = worstRows(l.Rows)
	return l, nil
}

// worstRows sorts rows and cuts them to what one answer holds.
func worstRows(rows []answer.LossRow) ([]answer.LossRow, int) {
	sortLosses(rows)
	left := max(len(rows)-maxRows, 0)
	rows = rows[:len(rows)-left]
	if len(rows) > fewRows {
		for i := range rows {
			rows[i].Ribbon = coarser(rows[i].Ribbon)
		}
	}
	return rows, left
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

// incidentOf is the id of the newest incident of the last day in a balance; empty for none.
func (t *tenant) incidentOf(k store.VerdictKey) string {
	b := t.ledger.books[k]
	if b == nil || len(b.bad) == 0 {
		return ""
	}
	if b.named.changed != t.ledger.changed || b.named.id == "" {
		b.named.changed, b.named.id = t.ledger.changed, ""
		runs := flow.Runs(b.badVerdicts())
		for i := range runs {
			if r := &runs[len(runs)-1-i]; r.Kind == flow.RunLoss || i == 0 {
				b.named.id = incidentID(k, r)
				if r.Kind == flow.RunLoss {
					break
				}
			}
		}
	}
	return b.named.id
}

// lossOfDay answers a part of the last day from memory: sums by quarters of an hour, ribbons by five minutes, losses
// exactly.
func (t *tenant) lossOfDay(l *answer.Loss, q answer.LossQuery, reasons map[string][]string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	from, to := q.From.Unix(), q.To.Unix()
	books := t.ledger.byPipe[q.Pipeline]
	if q.Pipeline == "" {
		books = make([]*book, 0, len(t.ledger.books))
		for _, b := range t.ledger.books {
			books = append(books, b)
		}
	}
	rows := make([]answer.LossRow, len(books))
	at := make(map[string]*book, len(books))
	for i, b := range books {
		rows[i] = b.dayRow(from, to)
		at[rows[i].ID] = b
	}
	rows = choose(l, rows, q, func(id string) []string { return reasons[id] })
	l.Rows, l.Left = worstRows(rows)
	for i := range l.Rows {
		b := at[l.Rows[i].ID]
		l.Rows[i].Ribbon = b.dayRibbon(from, to)
		if len(l.Rows) > fewRows {
			l.Rows[i].Ribbon = coarser(l.Rows[i].Ribbon)
		}
		l.Rows[i].Incident = t.incidentOf(b.key)
	}
}

// dayRow is the row of a balance without its ribbon.
func (b *book) dayRow(from, to int64) answer.LossRow {
	r := answer.LossRow{ID: idOf(b.key), Pipeline: b.key.Pipeline, Kind: string(b.key.Kind), Where: where(b.key), Ribbon: []answer.RibbonCell{}}
	for i := range b.dayCells(from, to) {
		if s := stateCodes[b.day.cells[i%cellCount]]; s != "" && (r.Verdict == "" || flow.Severity(s) > flow.Severity(r.Verdict)) {
			r.Verdict = s
		}
	}
	if b.day.newest*cellWidth-from <= 3600 { // single windows are known
		for w, h := range b.hour {
			if w >= from && w < to {
				r.Up, r.Down, r.Surplus = r.Up+h.up, r.Down+h.down, r.Surplus+h.surplus
			}
		}
	} else if b.day.sums != nil {
		top := b.day.newest / (sumWidth / cellWidth)
		for i := max(from/sumWidth, top-sumCount+1); i <= min(top, (to-1)/sumWidth); i++ {
			s := b.day.sums[i%sumCount]
			r.Up, r.Down, r.Surplus = r.Up+s.up, r.Down+s.down, r.Surplus+s.surplus
		}
	}
	var lostUp, last, worst int64
	width := int64(60)
	for w, x := range b.bad {
		if w < from || w >= to {
			continue
		}
		r.Lost, r.Bound = r.Lost+x.lost, r.Bound+x.bound
		if x.lost > 0 {
			lostUp += x.up
		}
		if loses(x.state, x.lost) {
			last = max(last, w)
			width = max(x.width, 1)
		}
		if flow.Severity(x.state) >= flow.Severity(r.Verdict) && w >= worst {
			worst, r.Class, r.Verdict = w, x.class, x.state
		}
		r.Level = max(r.Level, x.level)
	}
	for _, v := range b.verdicts {
		r.Level, r.Confidence = max(r.Level, v.Level), max(r.Confidence, v.Confidence)
	}
	if r.Verdict == "" && len(b.open) > 0 {
		r.Verdict = flow.InFlight
	}
	if lostUp > 0 {
		share := float64(r.Lost) / float64(lostUp)
		r.Share = &share
	}
	if last > 0 {
		since := last
		for loses(b.bad[since-width].state, b.bad[since-width].lost) {
			since -= width
		}
		r.Since, r.Still = &since, b.newestSettled() <= last
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
func (b *book) dayCells(from, to int64) iter.Seq[int64] {
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
func (b *book) dayRibbon(from, to int64) []answer.RibbonCell {
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

func sortLosses(rows []answer.LossRow) {
	slices.SortFunc(rows, func(a, b answer.LossRow) int {
		return cmp.Or(-cmp.Compare(flow.Severity(a.Verdict), flow.Severity(b.Verdict)), -cmp.Compare(a.Lost, b.Lost), -cmp.Compare(a.Bound, b.Bound), cmp.Compare(a.ID, b.ID))
	})
}

// lossRow sums the verdicts of one balance, oldest first.
func lossRow(k store.VerdictKey, vs []store.Verdict, from, to int64) answer.LossRow {
	r := answer.LossRow{ID: idOf(k), Pipeline: k.Pipeline, Kind: string(k.Kind), Where: where(k), Verdict: flow.OK, Ribbon: []answer.RibbonCell{}}
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
			case loses(v.State, v.Lost) && (r.Since == nil || !r.Still):
				w := v.Window
				r.Since, r.Still = &w, true
			case !loses(v.State, v.Lost):
				r.Still = false
			}
		}
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

// maxWhys bounds for how many windows of a row the reasons are told.
const maxWhys = 100

// LossDetail answers one row with its windows, newest first; store.ErrNotFound for an unknown id.
func (s *Service) LossDetail(ctx context.Context, id store.Tenant, row string, from, to time.Time) (answer.LossDetail, error) {
	k, ok := idKey(row)
	if !ok {
		return answer.LossDetail{}, fmt.Errorf("cannot read the id %q: take it from a row of /api/v1/loss: %w", row, store.ErrInvalid)
	}
	if _, err := s.viewOf(ctx, id); err != nil {
		return answer.LossDetail{}, err
	}
	vs, err := s.verdicts(ctx, s.tenant(id), from, to, k.Pipeline)
	if err != nil {
		return answer.LossDetail{}, err
	}
	list, ok := vs[k]
	if !ok {
		return answer.LossDetail{}, fmt.Errorf("cannot find the balance %q: %w", row, store.ErrNotFound)
	}
	d := answer.LossDetail{Row: lossRow(k, list, from.Unix(), to.Unix()), Windows: make([]answer.LossWindow, 0, len(list)), Reasons: []string{}, Examples: []string{}}
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
	return d, nil
}

// recentLosses are the balances that lost something in windows of the last hour, from memory.
func (t *tenant) recentLosses(now int64) []answer.LossRow {
	out := []answer.LossRow{}
	from := now/1000 - 3600
	for k, b := range t.ledger.books {
		var vs []store.Verdict
		for w, x := range b.bad {
			if w < from || !loses(x.state, x.lost) {
				continue
			}
			v, ok := b.verdicts[w]
			if !ok {
				h := b.hour[w]
				v = store.Verdict{State: x.state, Settled: true, Lost: x.lost, Up: h.up, Down: h.down, Confidence: 0.99, Level: flow.L2}
				v.VerdictKey = k
				v.Window, v.Width = w, x.width
			}
			vs = append(vs, v)
		}
		if len(vs) == 0 {
			continue
		}
		slices.SortFunc(vs, func(a, b store.Verdict) int { return cmp.Compare(a.Window, b.Window) })
		r := lossRow(k, vs, from, now/1000)
		r.Incident = t.incidentOf(k)
		if since, still := b.losingSince(vs[0].Width); still {
			r.Since, r.Still = &since, true
		} else {
			r.Still = false
		}
		out = append(out, r)
	}
	sortLosses(out)
	return out[:min(len(out), 20)]
}
