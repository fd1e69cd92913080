package ledger

import (
	"cmp"
	"time"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/losses"
	"github.com/weirhq/weir/store"
)

// dayIncidents are the incidents of the last day, kept as long as no verdict changes.
type dayIncidents struct {
	changed uint64
	minute  int64
	list    []answer.Incident // newest first
}

// IncidentsOfDay are the incidents that ended in the day before now, Unix milliseconds, or go on, newest first; made once per change
// and not to be changed. For pages.
func (l *Ledger) IncidentsOfDay(now int64) []answer.Incident {
	l.mu.RLock()
	defer l.mu.RUnlock()
	l.made.Lock() // whoever else asks waits for these
	defer l.made.Unlock()
	b := &l.incidents
	if b.list != nil && b.changed == l.changed && b.minute == now/60_000 {
		return b.list
	}
	list := []answer.Incident{}
	for k, bk := range l.balances {
		if len(bk.bad) == 0 {
			continue
		}
		runs := flow.Runs(bk.badVerdicts())
		for i := range runs {
			if runs[i].End() > now/1000-86400 {
				list = append(list, l.incident(k, &runs[i], now))
			}
		}
	}
	losses.SortIncidents(list)
	b.list, b.changed, b.minute = list, l.changed, now/60_000
	return list
}

// IncidentsOf are the incidents of bad verdicts that touch a range, newest first. now is in Unix milliseconds. For pages.
func (l *Ledger) IncidentsOf(bad losses.Verdicts, from, to time.Time, now int64) []answer.Incident {
	l.mu.RLock()
	defer l.mu.RUnlock()
	list := []answer.Incident{}
	for k, vs := range bad {
		runs := flow.Runs(vs)
		for i := range runs {
			if runs[i].End() > from.Unix() && runs[i].First < to.Unix() {
				list = append(list, l.incident(k, &runs[i], now))
			}
		}
	}
	losses.SortIncidents(list)
	return list
}

// incidentOf is the id of the newest incident of the last day in a balance; empty for none. The owner calls
// it, or whoever holds mu.
func (l *Ledger) incidentOf(k store.VerdictKey) string {
	b := l.balances[k]
	if b == nil || len(b.bad) == 0 {
		return ""
	}
	l.made.Lock()
	defer l.made.Unlock()
	if b.named.changed != l.changed || b.named.id == "" {
		b.named.changed, b.named.id = l.changed, ""
		runs := flow.Runs(b.badVerdicts())
		for i := range runs {
			if r := &runs[len(runs)-1-i]; r.Kind == flow.RunLoss || i == 0 {
				b.named.id = losses.IncidentID(k, r)
				if r.Kind == flow.RunLoss {
					break
				}
			}
		}
	}
	return b.named.id
}

// Incident makes the answer from one run of a balance. now is in Unix milliseconds. For pages.
func (l *Ledger) Incident(k store.VerdictKey, r *flow.Run, now int64) answer.Incident {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.incident(k, r, now)
}

func (l *Ledger) incident(k store.VerdictKey, r *flow.Run, now int64) answer.Incident {
	last, still := &r.Verdicts[len(r.Verdicts)-1], false
	if b := l.Get(k); b != nil {
		told := cmp.Or(last.SettledAt, last.UpdatedAt)
		still = b.latest <= r.Last && now-told < 300_000+2*r.Width*1000 && now/1000-r.Last < 86400
	}
	return losses.Incident(k, r, still)
}
