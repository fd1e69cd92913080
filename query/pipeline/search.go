package pipeline

import (
	"context"
	"fmt"
	"strings"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// search is what somebody looks for: words that must all be found, any case.
type search []string

func newSearch(text string) search { return strings.Fields(strings.ToLower(text)) }

// in says whether every word is part of one of the texts.
func (s search) in(texts ...string) bool {
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
func (s search) row(r *answer.LossRow, reasons []string) bool {
	if len(s) == 0 {
		return true
	}
	what := "edge transport"
	if r.Kind == string(store.EdgeBalance) {
		what = "stage balance"
	}
	return s.in(append([]string{r.Pipeline, r.Where, what, r.Verdict, r.Class, r.Level, evidenceWords[r.Level]}, reasons...)...)
}

// incident says whether an incident is looked for.
func (s search) incident(in *answer.Incident) bool {
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

// choose leaves the rows that are looked for and counts them; reasonsOf gives the reasons of a row's windows.
func choose(l *answer.Loss, rows []answer.LossRow, q answer.LossQuery, reasonsOf func(id string) []string) []answer.LossRow {
	s := newSearch(q.Text)
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

// reasonsAge is for how long reasons read from the store serve searches, milliseconds: a page that follows a search asks every second.
const reasonsAge = 10_000

// reasonBook keeps the reasons of the windows that are not OK, for searches in many balances.
type reasonBook struct {
	key string
	at  int64 // Unix ms
	by  map[string][]string
}

// reasons reads why windows of a range are not OK, by the id of their row. Of more windows than one request may read only
// those in memory are told: the newest.
func (s *Service) reasons(ctx context.Context, t *tenant, q answer.LossQuery, now int64) (map[string][]string, error) {
	key := fmt.Sprint(q.Pipeline, q.From.Unix()/60, q.To.Unix()/60)
	t.mu.Lock()
	defer t.mu.Unlock()
	if b := &t.reasons; b.key == key && now-b.at < reasonsAge {
		return b.by, nil
	}
	by := map[string][]string{}
	told := map[string]bool{}
	add := func(v *store.Verdict) {
		id := idOf(bare(v.VerdictKey))
		for _, r := range v.Reasons {
			if k := id + "\n" + r; !told[k] {
				told[k] = true
				by[id] = append(by[id], r)
			}
		}
	}
	bad := 0
	for k, b := range t.ledger.books {
		if q.Pipeline != "" && k.Pipeline != q.Pipeline {
			continue
		}
		bad += len(b.bad)
		for w, v := range b.verdicts {
			if w >= q.From.Unix() && w < q.To.Unix() {
				add(&v)
			}
		}
	}
	if bad <= maxIncidentVerdicts {
		t.mu.Unlock()
		vs, err := s.engine.Ledger().Verdicts(ctx, t.id, store.VerdictQuery{Pipeline: q.Pipeline, From: q.From, To: q.To, OnlyNotOK: true})
		t.mu.Lock()
		if err != nil {
			return nil, fmt.Errorf("cannot read verdicts: %w", err)
		}
		for i := range vs {
			add(&vs[i])
		}
	}
	t.reasons = reasonBook{key: key, at: now, by: by}
	return by, nil
}
