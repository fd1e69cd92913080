package losses

import (
	"strings"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// Search is what somebody looks for: words that must all be found, any case.
type Search []string

// NewSearch takes the words of a text; without any it finds everything.
func NewSearch(text string) Search { return strings.Fields(strings.ToLower(text)) }

// In says whether every word is part of one of the texts.
func (s Search) In(texts ...string) bool {
	if len(s) == 0 {
		return true
	}
	all := strings.ToLower(strings.Join(texts, "\n"))
	for _, word := range s {
		if !strings.Contains(all, word) {
			return false
		}
	}
	return true
}

// evidenceWords are the levels as pages call them.
var evidenceWords = map[string]string{flow.L0: "offsets", flow.L1: "counters", flow.L2: "cells", flow.L3: "cells ids", flow.LT: "spans traces"}

// row says whether a row of the ledger is looked for; reasons are those of its windows.
func (s Search) row(r *answer.LossRow, reasons []string) bool {
	if len(s) == 0 {
		return true
	}
	what := "edge transport"
	if r.Kind == string(store.EdgeBalance) {
		what = "stage balance"
	}
	return s.In(append([]string{r.Pipeline, r.Where, what, r.Verdict, r.Class, r.Level, evidenceWords[r.Level]}, reasons...)...)
}

// incident says whether an incident is looked for.
func (s Search) incident(in *answer.Incident) bool {
	return len(s) == 0 || s.row(&in.Row, []string{in.Stage, in.Class, in.Verdict, in.Sentence})
}

// picks says whether a verdict is among those asked for.
func picks(asked, verdict string) bool {
	switch asked {
	case "loss":
		return flow.IsLoss(verdict)
	case "unknown":
		return verdict == "" || verdict == flow.Unknown
	default:
		return true
	}
}

// ChooseIncidents leaves those that are looked for, at most q.Limit of them, and tells how many more there are.
func ChooseIncidents(list []answer.Incident, q answer.LossQuery) (found []answer.Incident, left int) {
	words := NewSearch(q.Text)
	found = []answer.Incident{}
	for i := range list {
		in := &list[i]
		if q.Pipeline != "" && in.Pipeline != q.Pipeline || in.To <= q.From.Unix() || in.From >= q.To.Unix() || !picks(q.Verdict, in.Verdict) || !words.incident(in) {
			continue
		}
		if q.Limit > 0 && len(found) >= q.Limit {
			left++
			continue
		}
		found = append(found, *in)
	}
	return found, left
}

// Choose leaves the rows that are looked for and counts them in an answer; reasonsOf gives the reasons of a row's windows.
func Choose(l *answer.Loss, rows []answer.LossRow, q answer.LossQuery, reasonsOf func(id string) []string) []answer.LossRow {
	s := NewSearch(q.Text)
	out := rows[:0]
	l.Watched = len(rows)
	for i := range rows {
		r := &rows[i]
		l.Lost += r.Lost
		if len(s) > 0 && !s.row(r, reasonsOf(r.ID)) {
			continue
		}
		l.Found.All++
		switch {
		case picks("loss", r.Verdict):
			l.Found.Loss++
		case picks("unknown", r.Verdict):
			l.Found.Unknown++
		}
		if picks(q.Verdict, r.Verdict) {
			out = append(out, *r)
		}
	}
	return out
}
