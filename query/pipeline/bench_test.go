package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/internal/cell"
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
