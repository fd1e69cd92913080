package alerts

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/weirhq/weir/query/answer"
)

// States of an alert.
const (
	pending  = "pending"
	firing   = "firing"
	resolved = "resolved"
)

// rule is one built-in condition on a pipeline.
type rule struct {
	name     string
	severity string
	// holds tells whether the condition is true, and known false when the evidence does not say.
	holds   func(p answer.PipelineRow) (is, known bool)
	summary func(p answer.PipelineRow) string
	wait    func(Config) time.Duration
}

func builtin() []rule {
	return []rule{
		{
			name: "losing", severity: "critical",
			holds: func(p answer.PipelineRow) (bool, bool) { return p.State == answer.Losing, p.State != answer.Unknown },
			summary: func(p answer.PipelineRow) string {
				return cmp.Or(p.Sentence, fmt.Sprintf("%s loses data: %d records in the last 24 h", p.ID, p.Lost24h))
			},
			wait: func(c Config) time.Duration { return c.LosingFor },
		},
		{
			name: "late", severity: "warning",
			// A losing pipeline may be late as well; its state then says the worse of the two.
			holds: func(p answer.PipelineRow) (bool, bool) {
				return p.State == answer.Late || p.State == answer.Draining || p.Late, p.State != answer.Unknown
			},
			summary: func(p answer.PipelineRow) string {
				why := p.Sentence
				if p.State == answer.Losing { // that tells the loss first
					why = p.LateWhy
				}
				if why != "" {
					return why
				}
				if p.Freshness != nil {
					return fmt.Sprintf("%s is late: its newest data at the sink is %s old", p.ID, seconds(*p.Freshness))
				}
				return p.ID + " is late"
			},
			wait: func(c Config) time.Duration { return c.LateFor },
		},
	}
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

// book is the state of all alerts of one tenant. Its functions are pure but for the receiver.
type book struct {
	Alerts map[string]answer.Alert `json:"alerts"` // by rule/pipeline
}

// step applies one evaluation at now and returns the alerts whose notification is due:
// those that began to fire and those that ended after having fired. left counts alerts there was no room for.
func (b *book) step(cfg Config, rows []answer.PipelineRow, now time.Time) (notify []answer.Alert, changed bool, left int) {
	if b.Alerts == nil {
		b.Alerts = map[string]answer.Alert{}
	}
	at := now.UnixMilli()
	seen := map[string]bool{}
	for _, p := range rows {
		for _, r := range builtin() {
			key := r.name + "/" + p.ID
			seen[key] = true
			a, had := b.Alerts[key]
			active := had && a.State != resolved
			is, known := r.holds(p)
			switch {
			case !known:
				// What is not known neither fires nor ends anything.
			case is && !active:
				if len(b.Alerts) >= cfg.MaxAlerts {
					left++
					continue
				}
				a = answer.Alert{ID: key, Rule: r.name, Pipeline: p.ID, State: pending, Severity: r.severity, Since: at}
				fallthrough
			case is:
				a.Summary, a.Stage = r.summary(p), p.Slowest
				if a.State == pending && now.Sub(time.UnixMilli(a.Since)) >= r.wait(cfg) {
					a.State, a.FiredAt = firing, at
					notify = append(notify, a)
					changed = true
				}
				b.Alerts[key] = a
				changed = changed || !active
			case active && a.State == pending:
				delete(b.Alerts, key)
				changed = true
			case active:
				a.State, a.EndedAt = resolved, at
				b.Alerts[key] = a
				notify = append(notify, a)
				changed = true
			}
		}
	}
	for key, a := range b.Alerts {
		old := a.State == resolved && now.Sub(time.UnixMilli(a.EndedAt)) > cfg.KeepResolved
		gone := !seen[key] && a.State == pending
		if old || gone {
			delete(b.Alerts, key)
			changed = true
		}
	}
	slices.SortFunc(notify, func(x, y answer.Alert) int { return cmp.Compare(x.ID, y.ID) })
	return notify, changed, left
}

// list returns the alerts in the order of the page: firing, pending, resolved; newest first in each.
func (b *book) list() []answer.Alert {
	rank := map[string]int{firing: 0, pending: 1, resolved: 2}
	out := make([]answer.Alert, 0, len(b.Alerts))
	for _, a := range b.Alerts {
		out = append(out, a)
	}
	slices.SortFunc(out, func(x, y answer.Alert) int {
		return cmp.Or(cmp.Compare(rank[x.State], rank[y.State]), cmp.Compare(y.Since, x.Since), cmp.Compare(x.ID, y.ID))
	})
	return out
}
