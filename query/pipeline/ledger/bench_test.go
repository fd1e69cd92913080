package ledger

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/losses"
	"github.com/weirhq/weir/store"
)

const start = 1_732_334_400

// manyLosses fills the ledger of 1,000 pipelines with a day of one-minute windows: four balances each, one in a hundred
// with something lost in a tenth of its windows.
func manyLosses() (*Ledger, int64) {
	l := New(nil, "")
	now := int64(start + 86400)
	for p := range 1000 {
		for i := range 4 {
			k := store.VerdictKey{Pipeline: fmt.Sprint("pipeline-", p), Kind: store.EdgeTransport, From: fmt.Sprint("stage-", i), Destination: fmt.Sprint("queue-", p, "-", i), Group: "g", To: fmt.Sprint("stage-", i+1)}
			if i%2 == 1 {
				k.Kind, k.From, k.Destination, k.Group = store.EdgeBalance, k.To, "", ""
			}
			b := l.balance(k)
			for w := int64(start); w < now; w += 60 {
				v := store.Verdict{VerdictKey: k, State: flow.OK, Settled: true, Up: 60_000, Down: 60_000, SettledAt: w * 1000, Confidence: 0.99, Level: flow.L2}
				v.Window, v.Width = w, 60
				if p%100 == 0 && w/60%10 == 0 {
					v.State, v.Lost, v.Down, v.Class = flow.Loss, 600, 59_400, "dropped in stage"
				}
				b.day.add(&v, nil)
				b.day.show(&v, nil)
				b.mark(&v)
				b.begin(&v)
			}
		}
	}
	l.filled = start
	l.changed++
	return l, now
}

// BenchmarkLoss answers the loss page of 1,000 pipelines over a day, with its JSON.
func BenchmarkLoss(b *testing.B) {
	l, now := manyLosses()
	b.ReportAllocs()
	for b.Loop() {
		var a answer.Loss
		l.Day(&a, answer.LossQuery{From: time.Unix(now-86400, 0), To: time.Unix(now, 0)}, nil)
		if len(a.Rows) != losses.MaxRows || a.Left != 4000-losses.MaxRows || a.Rows[0].Lost != 144*600 {
			b.Fatal(len(a.Rows), a.Left)
		}
		body, err := json.Marshal(a)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(body))/1e6, "MB")
	}
}

// BenchmarkIncidents lists the incidents of the same day anew after every change.
func BenchmarkIncidents(b *testing.B) {
	l, now := manyLosses()
	b.ReportAllocs()
	for b.Loop() {
		l.changed++
		list, _ := losses.ChooseIncidents(l.IncidentsOfDay(now*1000), answer.LossQuery{From: time.Unix(now-86400, 0), To: time.Unix(now, 0), Limit: 100})
		if len(list) != 100 {
			b.Fatal(len(list))
		}
	}
}
