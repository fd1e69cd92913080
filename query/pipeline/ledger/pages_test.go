package ledger

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// Pages look while verdicts come, are revised and forgotten. What they see only grows, and in the end it is all.
func TestPagesLookWhileVerdictsCome(t *testing.T) {
	const edges, windows = 20, 60
	l := New(nil, store.DefaultTenant)
	key := func(e, w int) store.VerdictKey {
		return store.VerdictKey{Pipeline: "p", Kind: store.EdgeTransport, From: "a", Destination: fmt.Sprint("q", e), Group: "g", To: "b", Window: start + int64(w)*10, Width: 10}
	}
	from, to := time.Unix(start, 0), time.Unix(start+windows*10, 0)
	q := answer.LossQuery{From: from, To: to}
	done := make(chan struct{})
	var pages sync.WaitGroup
	for range 3 {
		pages.Go(func() {
			seen := int64(0)
			for last := false; !last; {
				select {
				case <-done:
					last = true
				default:
				}
				var a, b answer.Loss
				l.Day(&a, q, nil)
				if a.Lost < seen || a.Lost%(3*edges) != 0 { // all of a change or nothing
					t.Errorf("%d lost, and before that %d", a.Lost, seen)
					return
				}
				seen = a.Lost
				vs := l.Join(&Range{from: from.Unix(), to: to.Unix(), stored: map[store.VerdictKey][]store.Verdict{}, at: map[store.VerdictKey]int{}})
				l.Rows(&b, q, vs)
				for k, list := range vs {
					for i := range list {
						if v := &list[i]; v.Settled && v.Up != v.Down+v.Lost {
							t.Errorf("half a verdict of %v: %+v", k, v)
							return
						}
					}
				}
				for _, in := range l.IncidentsOfDay((start + windows*10) * 1000) {
					if in.Lost == 0 || in.Row.Incident != in.ID {
						t.Errorf("%+v", in)
						return
					}
				}
				if r, whole := l.Reasons(q, start*1000+seen); !whole {
					l.AddReasons(r, nil)
				}
				l.Many(from, to, "p", 10)
				l.Edges("p")
			}
			if want := int64(edges * windows * 3); seen != want {
				t.Errorf("%d lost of %d", seen, want)
			}
		})
	}
	for w := range windows {
		l.Change(func() {
			for e := range edges {
				v := store.Verdict{VerdictKey: key(e, w), State: flow.InFlight, Up: 100, Down: 90}
				now := v.Window*1000 + 10_000
				l.Verdict(v.VerdictKey)
				l.Say(v, now)
				v.State, v.Settled, v.SettledAt, v.Down, v.Lost, v.UpdatedAt = flow.Loss, true, now, 98, 2, now
				l.Say(v, now)
				late := v
				late.Down, late.Lost = 97, 3
				l.Revise(v, true, late)
				l.AddExamples(l.Get(v.VerdictKey), v.Window, []string{"x"}, "why")
			}
		})
		l.RecentLosses((start + int64(w)*10) * 1000)
		l.pruned = 0
		l.Prune((start+int64(w)*10)*1000, 3600)
	}
	close(done)
	pages.Wait()
}
