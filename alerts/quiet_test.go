package alerts

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/pipeline"
	"github.com/weirhq/weir/query/pipeline/world"
	"github.com/weirhq/weir/store"
)

// base is source → orders → enrich → enriched → sink, 60 records a second, windows of ten seconds.
func base(seed uint64, cfg pipeline.Config) (w *world.World, source, enrich, sink *world.Stage) {
	w = world.New(seed, 10, cfg)
	n1, n2 := w.AddNode("n1", 1000), w.AddNode("n2", 1000)
	orders, enriched := w.AddQueue("orders", 3, true, "enrich"), w.AddQueue("enriched", 3, true, "sink")
	orders.Poller, enriched.Poller = n1, n2
	source = w.AddStage("source", n1).Writes(orders)
	source.Rate = 60
	enrich = w.AddStage("enrich", n1, n2).Reads(orders).Writes(enriched)
	sink = w.AddStage("sink", n2).Reads(enriched)
	sink.Table = "table"
	return w, source, enrich, sink
}

// The scenarios of docs/pipeline-model.md that page nobody, with the rules that page over the answers of the pages.
// Scenario 5 is late beyond the common objective; here its own allows for the stall.
func TestQuietScenariosPageNobody(t *testing.T) {
	for name, c := range map[string]struct {
		play func(w *world.World, source, enrich, sink *world.Stage)
		end  answer.State
	}{
		"1 healthy": {func(w *world.World, _, _, _ *world.Stage) { w.Run(180) }, answer.OK},
		"5 stalled for 300 s and back": {func(w *world.World, _, enrich, _ *world.Stage) {
			w.Run(60)
			enrich.Stalled = true
			w.Run(300)
			enrich.Stalled, enrich.Capacity = false, 60
			w.Run(420)
		}, answer.OK},
		"6 rewind": {func(w *world.World, _, _, sink *world.Stage) {
			w.Run(60)
			w.Rewind(sink, 100)
			w.Run(120)
		}, answer.OK},
		"7 two percent take a slow way": {func(w *world.World, source, _, _ *world.Stage) {
			source.Late = func(id uint64) int64 {
				if id%50 == 0 {
					return 9000
				}
				return 0
			}
			w.Run(240)
		}, answer.OK},
		"8 restart": {func(w *world.World, _, enrich, _ *world.Stage) {
			w.Run(65)
			enrich.Stop(w, 1)
			w.Run(3)
			enrich.Start(w, 1)
			w.Run(120)
		}, answer.OK},
		"8 crash of a collector": {func(w *world.World, _, _, _ *world.Stage) {
			w.Run(65)
			w.Nodes[1].Crash()
			w.Run(2)
			w.Nodes[1].Start(w)
			w.Run(120)
		}, answer.OK},
		"10 a clock behind": {func(w *world.World, _, _, _ *world.Stage) {
			w.Nodes[1].Skew = -5000
			w.Run(180)
		}, answer.OK},
		"12 filter": {func(w *world.World, _, enrich, _ *world.Stage) {
			enrich.Filter = 0.3
			w.Run(180)
		}, answer.OK},
		"15 a producer nobody counts": {func(w *world.World, _, enrich, _ *world.Stage) {
			w.Run(60)
			s := w.AddStage("stranger", w.Nodes[0]).Writes(enrich.In[0].Queue)
			s.Uncounted, s.Rate = true, 30
			w.Run(120)
		}, answer.OK},
		"19 transactions, fully read": {func(w *world.World, source, enrich, sink *world.Stage) {
			enrich.In[0].Queue.Markers, sink.In[0].Queue.Markers = 1, 1
			w.Run(60)
			source.Stalled = true
			w.Run(180)
		}, answer.Idle},
		"21 source silent for ten minutes": {func(w *world.World, source, _, _ *world.Stage) {
			w.Run(60)
			source.Stalled = true
			w.Run(600)
		}, answer.Idle},
		"25 datagrams dropped": {func(w *world.World, _, _, _ *world.Stage) {
			w.Run(60)
			w.Nodes[1].Loses = 0.05
			w.Run(60)
			w.Nodes[1].Loses = 0
			w.Run(60)
		}, answer.OK},
	} {
		objective := world.Config()
		if strings.HasPrefix(name, "5 ") {
			objective.Lag, objective.Freshness = 400*time.Second, 400*time.Second
		}
		w, source, enrich, sink := base(1, objective)
		b := &book{}
		cfg := DefaultConfig()
		cfg.LateFor = 5 * time.Second
		var last answer.PipelineRow
		w.OnEvaluate = func() {
			ps, err := w.Service.Pipelines(context.Background(), store.DefaultTenant)
			if err != nil {
				t.Fatal(err)
			}
			if len(ps.Pipelines) > 0 {
				last = ps.Pipelines[0]
			}
			notify, _, _ := b.step(cfg, ps.Pipelines, time.UnixMilli(w.Now))
			for _, a := range notify {
				t.Errorf("%s: %s alerts at t+%d: %s", name, a.Rule, (w.Now-world.Begin)/1000, a.Summary)
			}
		}
		c.play(w, source, enrich, sink)
		if last.State != c.end {
			t.Errorf("%s: %s in the end (%s), want %s", name, last.State, last.Sentence, c.end)
		}
	}
}
