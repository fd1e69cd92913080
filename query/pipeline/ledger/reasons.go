package ledger

import (
	"context"
	"fmt"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/pipeline/losses"
	"github.com/weirhq/weir/store"
)

// reasonsAge is for how long reasons read from the store serve searches, milliseconds: a page that follows a search asks every second.
const reasonsAge = 10_000

// Reasons are why windows of a range are not OK, for searches in many balances.
type Reasons struct {
	By map[string][]string // by the id of their row; not to be changed

	key  string
	at   int64 // Unix ms
	told map[string]bool
}

func (r *Reasons) add(v *store.Verdict) {
	id := losses.ID(bare(v.VerdictKey))
	for _, why := range v.Reasons {
		if k := id + "\n" + why; !r.told[k] {
			r.told[k] = true
			r.By[id] = append(r.By[id], why)
		}
	}
}

// Reasons are those of a range that are in memory. whole is false when AddReasons is to add what ReadReasons reads, which it is
// not where that is known already, and of more windows than one request may read: of these memory holds the newest. now is in Unix
// milliseconds. For pages.
func (l *Ledger) Reasons(q answer.LossQuery, now int64) (r *Reasons, whole bool) {
	key := fmt.Sprint(q.Pipeline, q.From.Unix()/60, q.To.Unix()/60)
	l.made.Lock()
	r = l.reasons
	l.made.Unlock()
	if r != nil && r.key == key && now-r.at < reasonsAge {
		return r, true
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	r = &Reasons{By: map[string][]string{}, key: key, at: now, told: map[string]bool{}}
	bad := 0
	for k, b := range l.balances {
		if q.Pipeline != "" && k.Pipeline != q.Pipeline {
			continue
		}
		bad += len(b.bad)
		for w, v := range b.verdicts {
			if w >= q.From.Unix() && w < q.To.Unix() {
				r.add(&v)
			}
		}
	}
	if bad <= maxBad {
		return r, false
	}
	l.AddReasons(r, nil)
	return r, true
}

// ReadReasons reads the verdicts of a range that are not OK. For pages.
func (l *Ledger) ReadReasons(ctx context.Context, q answer.LossQuery) ([]store.Verdict, error) {
	return l.verdicts(ctx, store.VerdictQuery{Pipeline: q.Pipeline, From: q.From, To: q.To, OnlyNotOK: true})
}

// AddReasons completes reasons with those of verdicts, and keeps them for the next searches. For pages.
func (l *Ledger) AddReasons(r *Reasons, vs []store.Verdict) {
	for i := range vs {
		r.add(&vs[i])
	}
	r.told = nil
	l.made.Lock()
	l.reasons = r
	l.made.Unlock()
}
