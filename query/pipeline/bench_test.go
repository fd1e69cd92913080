package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// BenchmarkEvaluate is one second of 1,000 pipelines: three stages, two queues of three partitions each,
// polls every second, cells every ten, windows of a minute. Time includes the engine in memory.
func BenchmarkEvaluate(b *testing.B) {
	e := newFake()
	s := New(DefaultConfig(), e, slog.New(slog.DiscardHandler), metrics.NewSet(), Extras{})
	now := int64(demoStart)
	type series struct {
		end, committed labels.Labels
	}
	var all []series
	const pipelines = 1000
	for i := range pipelines {
		for _, q := range []string{"in", "out"} {
			for p := range 3 {
				ls := func(name string, more ...string) labels.Labels {
					return labels.FromStrings(append([]string{model.MetricNameLabel, name, "system", "kafka", "cluster", "c", "destination", fmt.Sprint(q, i), "partition", fmt.Sprint(p)}, more...)...)
				}
				all = append(all, series{ls("weir_broker_end_offset"), ls("weir_broker_committed_offset", "group", "g")})
			}
		}
	}
	counts := map[fakeCellKey]*cell.Cell{}
	count := func(p int, stage string, dir cell.Dir, dst, g string) {
		k := cell.Key{Pipeline: fmt.Sprint("p", p), Stage: stage, Dir: dir, Destination: fmt.Sprint(dst, p), Group: g, Window: now - now%60, Width: 60}
		id := fakeCellKey{k, "n1/" + stage, 1}
		c := counts[id]
		if c == nil {
			c = &cell.Cell{Key: k, Instance: id.instance, Node: "n1", Epoch: 1}
			counts[id] = c
		}
		c.N += 10
		c.MaxTS = now * 1000
	}
	second := func() {
		now++
		for _, x := range all {
			e.sample(now*1000, float64((now-demoStart)*100), x.end)
			e.sample(now*1000, float64((now-demoStart)*100-50), x.committed)
		}
		for p := range pipelines {
			count(p, "source", cell.Out, "in", "")
			count(p, "map", cell.In, "in", "g")
			count(p, "map", cell.Out, "out", "")
			count(p, "sink", cell.In, "out", "g")
		}
		if now%10 == 0 {
			batch := cell.Batch{Auditor: cell.Auditor{Node: "n1", Epoch: 1, Seq: uint64(now), At: now * 1000, FlushMS: 10_000}}
			for id, c := range counts {
				c.Seq = uint64(now)
				batch.Cells = append(batch.Cells, *c)
				if id.Window < now-120 {
					delete(counts, id)
				}
			}
			if err := e.Ledger().PutCells(context.Background(), store.DefaultTenant, batch); err != nil {
				b.Fatal(err)
			}
		}
	}
	for range 180 {
		second()
		if now%10 == 0 {
			s.Evaluate(context.Background(), time.Unix(now, 0))
		}
	}
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		second()
		b.StartTimer()
		s.Evaluate(context.Background(), time.Unix(now, 0))
	}
	b.StopTimer()
	v := s.tenant(store.DefaultTenant).view.Load()
	if len(v.rows) != pipelines || v.rows[0].Lag.Seconds == nil {
		b.Fatalf("%d pipelines, worst %+v", len(v.rows), v.rows[0])
	}
}

// manyLosses fills the ledger of 1,000 pipelines with a day of one-minute windows: four balances each, one in a hundred
// with something lost in a tenth of its windows.
func manyLosses(tb testing.TB) (*Service, int64) {
	tb.Helper()
	e := newFake()
	s := New(DefaultConfig(), e, slog.New(slog.DiscardHandler), metrics.NewSet(), Extras{})
	now := int64(demoStart + 86400)
	s.Evaluate(context.Background(), time.Unix(now, 0))
	t := s.tenant(store.DefaultTenant)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cells.width = 60
	for p := range 1000 {
		for i := range 4 {
			k := store.VerdictKey{Pipeline: fmt.Sprint("pipeline-", p), Kind: store.EdgeTransport, From: fmt.Sprint("stage-", i), Destination: fmt.Sprint("queue-", p, "-", i), Group: "g", To: fmt.Sprint("stage-", i+1)}
			if i%2 == 1 {
				k.Kind, k.From, k.Destination, k.Group = store.EdgeBalance, k.To, "", ""
			}
			b := t.ledger.book(k)
			for w := int64(demoStart); w < now; w += 60 {
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
	t.ledger.filled = demoStart
	t.ledger.changed++
	return s, now
}

// BenchmarkLoss answers the loss page of 1,000 pipelines over a day, with its JSON.
func BenchmarkLoss(b *testing.B) {
	s, now := manyLosses(b)
	b.ReportAllocs()
	for b.Loop() {
		l, err := s.Loss(context.Background(), store.DefaultTenant, time.Unix(now-86400, 0), time.Unix(now, 0), "")
		if err != nil || len(l.Rows) != maxRows || l.Left != 4000-maxRows || l.Rows[0].Lost != 144*600 {
			b.Fatal(len(l.Rows), l.Left, err)
		}
		body, err := json.Marshal(l)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(body))/1e6, "MB")
	}
}

// BenchmarkIncidents lists the incidents of the same day anew after every change.
func BenchmarkIncidents(b *testing.B) {
	s, now := manyLosses(b)
	t := s.tenant(store.DefaultTenant)
	b.ReportAllocs()
	for b.Loop() {
		t.mu.Lock()
		t.ledger.changed++
		t.mu.Unlock()
		l, err := s.Incidents(context.Background(), store.DefaultTenant, time.Unix(now-86400, 0), time.Unix(now, 0), "", 100)
		if err != nil || len(l.Incidents) != 100 {
			b.Fatal(len(l.Incidents), err)
		}
	}
}
