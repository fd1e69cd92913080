package pipeline

import (
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// spanWorld feeds sums of joined spans as ingest writes them: shop → orders → enrich → enriched → sink, each message traced.
type spanWorld struct {
	t    *testing.T
	e    *fakeEngine
	s    *Service
	now  int64 // Unix seconds
	seq  uint64
	n    int64 // messages per window and edge
	loss func(window int64, destination string) int64
	mute bool // no sums any more
	name string
}

func newSpanWorld(t *testing.T) *spanWorld {
	t.Helper()
	w := &spanWorld{t: t, e: newFake(), now: demoStart, n: 6000}
	w.s = New(DefaultConfig(), w.e, slog.New(slog.DiscardHandler), metrics.NewSet(), Extras{Version: "test"})
	return w
}

func (w *spanWorld) put(k cell.PairKey, c cell.PairCounts) {
	w.seq++
	w.e.mu.Lock()
	defer w.e.mu.Unlock()
	p := cell.Pair{PairKey: k, Instance: "s", Epoch: 1, Seq: w.seq, At: w.now * 1000, Changed: (k.Window + k.Width + 5) * 1000, PairCounts: c}
	for i := range w.e.pairs {
		if w.e.pairs[i].PairKey == k {
			w.e.pairs[i] = p
			return
		}
	}
	w.e.pairs = append(w.e.pairs, p)
}

// minute writes the sums of one window and lets a minute pass.
func (w *spanWorld) minute() {
	win := w.now
	key := func(kind cell.PairKind, from, d, g, to string) cell.PairKey {
		return cell.PairKey{Kind: kind, Pipeline: w.name, From: from, System: "kafka", Destination: d, Group: g, To: to, Window: win, Width: 60}
	}
	if !w.mute {
		for _, e := range [][4]string{{"shop", "orders", "g-enrich", "enrich"}, {"enrich", "enriched", "g-sink", "sink"}} {
			lost := int64(0)
			if w.loss != nil {
				lost = w.loss(win, e[1])
			}
			var wait cell.Sketch
			wait.Observe(20, uint64(w.n))
			c := cell.PairCounts{Up: w.n, UpMessages: w.n, Matched: w.n - lost, InMessages: w.n - lost, Missed: lost, Wait: &wait, MaxTS: (win + 59) * 1000}
			if lost > 0 {
				c.Examples = []string{fmt.Sprintf("%032x", win)}
			}
			w.put(key(cell.PairEdge, e[0], e[1], e[2], e[3]), c)
			w.put(key(cell.PairWriter, e[0], e[1], "", ""), cell.PairCounts{Messages: w.n, Known: w.n, Adjusted: float64(w.n), MaxTS: (win + 59) * 1000})
			w.put(key(cell.PairReader, "", e[1], e[2], e[3]), cell.PairCounts{Messages: w.n - lost, Known: w.n - lost, Adjusted: float64(w.n - lost)})
			var spent, sql cell.Sketch
			spent.Observe(5, uint64(w.n))
			sql.Observe(4, uint64(w.n))
			w.put(key(cell.PairWork, "", "", "", e[3]), cell.PairCounts{
				Spans: w.n, Known: w.n, Adjusted: float64(w.n), BusyMS: 5 * float64(w.n), Instances: []string{"a", "b"}, Time: &spent,
				Calls: []cell.Dependency{{Name: "postgresql INSERT pg-1", N: w.n, MS: 4 * float64(w.n), Time: &sql}},
			})
		}
	}
	for range 60 {
		w.now++
		w.s.Evaluate(w.t.Context(), time.Unix(w.now, 0))
	}
}

func (w *spanWorld) page(id string) answer.Pipeline {
	w.t.Helper()
	p, err := w.s.Pipeline(w.t.Context(), store.DefaultTenant, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// A pipeline that only spans know is there with its map, its rates, its verdicts and what its stages wait for.
func TestPipelineOfSpans(t *testing.T) {
	w := newSpanWorld(t)
	w.loss = func(win int64, d string) int64 {
		if d == "enriched" && win >= demoStart+300 {
			return 60
		}
		return 0
	}
	for i := range 12 {
		w.minute()
		if i == 0 { // before spans are ripe
			if l, err := w.s.Loss(t.Context(), store.DefaultTenant, time.Unix(demoStart, 0), time.Unix(w.now, 0), "orders"); err != nil || l.Watched != 2 {
				t.Errorf("%d balances are watched, %v", l.Watched, err)
			}
		}
	}
	p := w.page("orders") // the queue that the first stage writes
	if p.Level != flow.LT || p.State != answer.Losing || !strings.Contains(p.Evidence, "joined spans") {
		t.Errorf("level %s, state %s, %q, evidence %q", p.Level, p.State, p.Sentence, p.Evidence)
	}
	var nodes []string
	for _, n := range p.Nodes {
		nodes = append(nodes, n.ID)
	}
	if got := strings.Join(nodes, " "); got != "stage:shop queue:orders stage:enrich queue:enriched stage:sink" {
		t.Errorf("map: %s", got)
	}
	for _, s := range p.Stages {
		if s.Stage == "shop" {
			continue
		}
		if s.P99 == nil || math.Abs(*s.P99-0.005) > 0.0001 || s.Busy == nil || math.Abs(*s.Busy-0.25) > 0.01 || s.RateIn == nil || math.Abs(*s.RateIn-100) > 2 {
			t.Errorf("stage %+v", s)
		}
	}
	l, err := w.s.Loss(t.Context(), store.DefaultTenant, time.Unix(demoStart, 0), time.Unix(w.now, 0), "orders")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range l.Rows {
		want, lost := flow.OK, int64(0)
		if strings.HasPrefix(r.Where, "enrich") {
			want, lost = flow.Loss, 60*5 // the newest windows wait for their telemetry
		}
		if r.Verdict != want || r.Level != flow.LT || r.Lost < lost || lost == 0 && r.Lost > 0 {
			t.Errorf("%s: %s of %d at %s, want %s", r.Where, r.Verdict, r.Lost, r.Level, want)
		}
		if want == flow.Loss {
			d, err := w.s.LossDetail(t.Context(), store.DefaultTenant, r.ID, time.Unix(demoStart, 0), time.Unix(w.now, 0))
			if err != nil || len(d.Examples) < 3 || !isTrace(d.Examples[0]) {
				t.Errorf("%v %+v", err, d.Examples)
			}
		}
	}
	tn := w.s.tenant(store.DefaultTenant)
	tn.mu.Lock()
	defer tn.mu.Unlock()
	deps := tn.spans.Dependencies("enrich")
	if len(deps) != 1 || deps[0].Name != "postgresql INSERT pg-1" || math.Abs(deps[0].Share-0.8) > 1e-9 || math.Abs(deps[0].P99-0.004) > 1e-4 {
		t.Errorf("%+v", deps)
	}
}

// Spans that name a pipeline make it; what shares a queue with counts joins their pipeline, and the counts judge.
func TestSpansJoinWhatCounts(t *testing.T) {
	w := newSpanWorld(t)
	w.name = "shop-orders"
	w.minute()
	w.minute()
	if p := w.page("shop-orders"); len(p.Stages) != 3 {
		t.Errorf("%+v", p.Stages)
	}

	w = newSpanWorld(t)
	w.loss = func(int64, string) int64 { return 60 }
	for i := range 10 {
		win := int64(demoStart) + int64(i)*60
		for _, c := range []struct {
			stage string
			dir   cell.Dir
			d, g  string
			n     uint64
		}{{"shop", cell.Out, "orders", "", 60_000}, {"enrich", cell.In, "orders", "g-enrich", 59_400}} {
			k := cell.Key{Pipeline: "counted", Stage: c.stage, Dir: c.dir, Destination: c.d, Group: c.g, Window: win, Width: 60}
			w.e.cells[fakeCellKey{k, "n/1", 1}] = cell.Cell{Key: k, Instance: "n/1", Node: "n", Epoch: 1, Seq: 1, Counts: cell.Counts{N: c.n, MaxTS: (win + 59) * 1000}}
		}
		w.minute()
	}
	p := w.page("counted")
	if len(p.Stages) != 3 || p.Level == flow.LT || !strings.Contains(p.Evidence, "joined spans") {
		t.Errorf("level %s, evidence %q, stages %+v", p.Level, p.Evidence, p.Stages)
	}
	l, err := w.s.Loss(t.Context(), store.DefaultTenant, time.Unix(demoStart, 0), time.Unix(w.now, 0), "counted")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, r := range l.Rows {
		switch {
		case strings.Contains(r.Where, "orders"):
			seen++
			if r.Level != flow.L2 || r.Lost%600 != 0 || r.Lost == 0 {
				t.Errorf("counts on both sides: %+v", r)
			}
			d, err := w.s.LossDetail(t.Context(), store.DefaultTenant, r.ID, time.Unix(demoStart, 0), time.Unix(w.now, 0))
			if err != nil || !slices.ContainsFunc(d.Examples, isTrace) {
				t.Errorf("no traces: %v %+v", err, d)
			}
		case strings.Contains(r.Where, "enriched"):
			seen++
			if r.Level != flow.LT || r.Verdict != flow.Loss {
				t.Errorf("spans alone: %+v", r)
			}
		}
	}
	if seen != 2 {
		t.Errorf("%+v", l.Rows)
	}
	if _, err := w.s.Pipeline(t.Context(), store.DefaultTenant, "orders"); err == nil {
		t.Error("the queue makes a second pipeline")
	}
}

// When weir's own way for spans loses some, nothing follows from those that are missing.
func TestSpansThatWeirLost(t *testing.T) {
	w := newSpanWorld(t)
	w.loss = func(int64, string) int64 { return 60 }
	for i := range 8 {
		dropped := 0.0
		if i >= 4 {
			dropped = 500
		}
		w.e.sample(w.now*1000, dropped, labels.FromStrings("__name__", "weir_spool_dropped_items_total", "node", "n1", "reason", "full", "signal", "spans"))
		w.minute()
	}
	vs, err := w.e.Ledger().Verdicts(t.Context(), store.DefaultTenant, store.VerdictQuery{From: time.Unix(demoStart, 0), To: time.Unix(w.now, 0), OnlySettled: true})
	if err != nil {
		t.Fatal(err)
	}
	unknown, losses := 0, 0
	for _, v := range vs {
		switch v.State {
		case flow.Unknown:
			unknown++
			if !strings.Contains(strings.Join(v.Reasons, " "), "n1 had to drop 500 spans") || v.Epsilon != 60 || v.Lost != 0 {
				t.Errorf("%+v", v)
			}
		case flow.Loss:
			losses++
		default:
			t.Errorf("%+v", v)
		}
	}
	if unknown < 4 || losses < 2 {
		t.Errorf("%d windows unknown, %d lost", unknown, losses)
	}
}
