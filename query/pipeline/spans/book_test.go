package spans

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/prometheus/storage"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/telemetry"
	"github.com/weirhq/weir/store"
)

// engine is a store with sums alone.
type engine struct {
	store.Engine
	sums sums
}

func (e *engine) Metrics() store.Metrics { return samples{} }
func (e *engine) Ledger() store.Ledger   { return e.sums }

type samples struct{ store.Metrics }

func (samples) Querier(store.Tenant, int64, int64) (storage.Querier, error) {
	return storage.NoopQuerier(), nil
}

type sums struct {
	store.Ledger
	pairs []cell.Pair
}

func (s sums) Pairs(_ context.Context, _ store.Tenant, from, to time.Time) (out []cell.Pair, err error) {
	for _, p := range s.pairs {
		if p.Window >= from.Unix() && p.Window < to.Unix() {
			out = append(out, p)
		}
	}
	return out, nil
}

// Sums become edges of a pipeline, with rates and works; those of a collector that lost records are doubted.
func TestBook(t *testing.T) {
	const begin = int64(1_732_334_400)
	e := &engine{}
	for w := begin; w < begin+180; w += 60 {
		put := func(kind cell.PairKind, from, group, to string, c cell.PairCounts) {
			k := cell.PairKey{Kind: kind, From: from, System: "kafka", Destination: "orders", Group: group, To: to, Window: w, Width: 60}
			if kind == cell.PairWork {
				k.System, k.Destination = "", ""
			}
			e.sums.pairs = append(e.sums.pairs, cell.Pair{PairKey: k, Instance: "s", Epoch: 1, Seq: 1, At: w * 1000, PairCounts: c})
		}
		put(cell.PairEdge, "shop", "g", "enrich", cell.PairCounts{Up: 600, UpMessages: 600, Matched: 600, MaxTS: (w + 59) * 1000})
		put(cell.PairWriter, "shop", "", "", cell.PairCounts{Messages: 600, Known: 600, Adjusted: 600, MaxTS: (w + 59) * 1000})
		put(cell.PairReader, "", "g", "enrich", cell.PairCounts{Messages: 600, Known: 600, Adjusted: 600})
		put(cell.PairWork, "", "", "enrich", cell.PairCounts{Spans: 600, Known: 600, Adjusted: 600, BusyMS: 3000, Instances: []string{"a"}})
	}
	gaps := int64(1)
	b := New(e, "t", func() []telemetry.Collector { return []telemetry.Collector{{Node: "n", Gaps: gaps}} }, new(metrics.Counter))
	now := (begin + 200) * 1000
	if err := b.Read(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	var ports []string
	assign := func(room bool) {
		ports = nil
		b.Assign(nil, func(pipeline string, p flow.Port, heard int64) bool {
			if heard != (begin+180)*1000 {
				t.Errorf("%+v heard at %d", p, heard)
			}
			ports = append(ports, strings.Join([]string{pipeline, p.Stage, string(p.Dir), p.Destination, p.Group}, " "))
			return room
		})
	}
	if !b.Fresh() {
		t.Error("nothing new")
	}
	assign(false)
	edge := flow.Edge{From: []string{"shop"}, Destination: "orders", Group: "g", To: "enrich"}
	if b.Fresh() || b.Joins("orders", edge) {
		t.Error("there was no room")
	}
	assign(true)
	if want := []string{"orders shop out orders ", "orders enrich in orders g"}; !slices.Equal(ports, want) {
		t.Errorf("%q", ports)
	}
	none := &flow.Topology{Pipeline: "orders"}
	if !b.Joins("orders", edge) || b.Joins("other", edge) || !b.Judges(none) || b.Joined("orders") != 1800 {
		t.Errorf("%d joined", b.Joined("orders"))
	}
	counted := &flow.Topology{Pipeline: "orders", Edges: []flow.Edge{edge}}
	if b.Judges(counted) {
		t.Error("counts are better evidence")
	}
	if r := b.Rate("enrich", cell.In, now); r == nil || *r != 10 || b.Rate("enrich", cell.Out, now) != nil {
		t.Errorf("rate %v", r)
	}
	if w := b.Work("orders", "enrich", nil); w.Spans != 1800 || w.Busy == nil || *w.Busy != 0.05 {
		t.Errorf("%+v", w)
	}
	w := flow.Window{Start: begin + 120, Width: 60}
	if got := b.LostIn(w, flow.DefaultSpanRules()); len(got) != 0 {
		t.Errorf("lost in vain: %q", got)
	}
	gaps = 3
	if err := b.Read(t.Context(), now+readEvery); err != nil {
		t.Fatal(err)
	}
	if got := b.LostIn(w, flow.DefaultSpanRules()); len(got) != 1 || !strings.HasPrefix(got[0], "2 records of the collector of n never arrived") {
		t.Errorf("%q", got)
	}
	b.Keep(func(string) bool { return false })
	if b.PreferCells(nil, ""); b.Stages("orders") != nil || len(b.owner) != 0 {
		t.Error("kept what is gone")
	}
}
