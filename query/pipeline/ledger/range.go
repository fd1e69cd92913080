package ledger

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/pipeline/losses"
	"github.com/weirhq/weir/store"
)

// maxVerdicts bounds what one request reads window by window; beyond it the last day is answered from memory, in cells of
// five minutes, and older times only from what is not OK.
const maxVerdicts = 40_000

// Many says whether a range holds more windows than one request reads, of one pipeline or of all. width is that of most
// windows, seconds. For pages.
func (l *Ledger) Many(from, to time.Time, pipeline string, width int64) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	n := len(l.balances)
	if pipeline != "" {
		n = len(l.byPipe[pipeline])
	}
	return int64(n)*int64(to.Sub(from)/time.Second)/max(width, 1) > maxVerdicts
}

// Edges is how many balances of a pipeline are known. For pages.
func (l *Ledger) Edges(pipeline string) int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.byPipe[pipeline])
}

// Range is what the store holds of a stretch of time, of one pipeline or of all.
type Range struct {
	from, to int64 // Unix seconds
	pipeline string
	stored   losses.Verdicts
	at       map[store.VerdictKey]int // place of each verdict
}

// Read reads a range; of Many windows only what is not OK. For pages.
func (l *Ledger) Read(ctx context.Context, from, to time.Time, pipeline string, many bool) (*Range, error) {
	vs, err := l.verdicts(ctx, store.VerdictQuery{Pipeline: pipeline, From: from, To: to, OnlyNotOK: many})
	if err != nil {
		return nil, err
	}
	r := &Range{from: from.Unix(), to: to.Unix(), pipeline: pipeline, stored: losses.Verdicts{}, at: map[store.VerdictKey]int{}}
	for _, v := range vs {
		k := bare(v.VerdictKey)
		r.at[v.VerdictKey] = len(r.stored[k])
		r.stored[k] = append(r.stored[k], v)
	}
	return r, nil
}

// Join adds what memory knows better than the store, and the windows that are open now: the verdicts of all balances of a
// range, oldest first. For pages.
func (l *Ledger) Join(r *Range) losses.Verdicts {
	l.mu.RLock()
	defer l.mu.RUnlock()
	out, at := r.stored, r.at
	for k, b := range l.balances {
		if r.pipeline != "" && k.Pipeline != r.pipeline {
			continue
		}
		if out[k] == nil {
			out[k] = []store.Verdict{}
		}
		for _, m := range []map[int64]store.Verdict{b.verdicts, b.open} {
			for w, v := range m {
				if w < r.from || w >= r.to {
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
	return out
}

// Rows fills in the rows of a range that are looked for, worst first. For pages.
func (l *Ledger) Rows(a *answer.Loss, q answer.LossQuery, vs losses.Verdicts) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	a.Rows = make([]answer.LossRow, 0, len(vs))
	keys := make(map[string]store.VerdictKey, len(vs))
	for k, list := range vs {
		r := losses.Row(k, list, q.From.Unix(), q.To.Unix())
		r.Incident = l.incidentOf(k)
		a.Rows = append(a.Rows, r)
		keys[r.ID] = k
	}
	a.Rows = losses.Choose(a, a.Rows, q, func(id string) (out []string) {
		for _, v := range vs[keys[id]] {
			out = append(out, v.Class)
			out = append(out, v.Reasons...)
		}
		return out
	})
	a.Rows, a.Left = losses.Worst(a.Rows)
	losses.Shorten(a.Rows)
}
