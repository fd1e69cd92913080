package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// audited is a pipeline producer → orders → enrich → enriched → sink, whose cells hold ids and latencies. Windows of a minute.
type audited struct {
	t   *testing.T
	e   *fakeEngine
	s   *Service
	now int64
	seq uint64
}

func newAudited(t *testing.T) *audited {
	t.Helper()
	a := &audited{t: t, e: newFake(), now: demoStart}
	a.s = New(DefaultConfig(), a.e, slog.New(slog.DiscardHandler), metrics.NewSet(), Extras{})
	return a
}

type stageCell struct {
	stage, node, dst, group string
	dir                     cell.Dir
	from, to                int // numbers of the records counted
	without                 int // every so many-th is left out; 0 = none
	latency                 func(i int) float64
	bytes                   uint64
}

// window writes the cells of one window, as they are at its end.
func (a *audited) window(w int64, cells ...stageCell) {
	a.t.Helper()
	a.seq++
	var b cell.Batch
	for _, c := range cells {
		out := cell.Cell{
			Key:      cell.Key{Pipeline: "orders", Stage: c.stage, Dir: c.dir, Destination: c.dst, Group: c.group, Window: w, Width: 60},
			Instance: c.node + "/" + c.stage, Node: c.node, Epoch: 1, Seq: a.seq, Sample: cell.Sample{IDs: &cell.IDs{}},
		}
		for i := c.from; i < c.to; i++ {
			if c.without > 0 && i%c.without == 0 {
				continue
			}
			out.N++
			out.Bytes += c.bytes
			id := fmt.Sprint("o-", i)
			out.IDs.Observe(cell.Hash(id), id)
			if c.latency != nil {
				if out.Latency == nil {
					out.Latency = &cell.Sketch{}
				}
				out.Latency.Observe(c.latency(i), 1)
			}
		}
		b.Cells = append(b.Cells, out)
	}
	if err := a.e.Ledger().PutCells(context.Background(), store.DefaultTenant, b); err != nil {
		a.t.Fatal(err)
	}
}

func (a *audited) auditors(offsets map[string]int64) {
	a.t.Helper()
	for n, off := range offsets {
		a.seq++
		au := cell.Auditor{Node: n, Epoch: 1, Seq: a.seq, At: a.now * 1000, FlushMS: 10_000, ClockOffset: off * 1000}
		if off != 0 || n == "n1" {
			au.ClockError = 1500
		}
		if err := a.e.Ledger().PutCells(context.Background(), store.DefaultTenant, cell.Batch{Auditor: au}); err != nil {
			a.t.Fatal(err)
		}
	}
}

func (a *audited) evaluate(seconds int64) answer.Pipeline {
	a.t.Helper()
	a.now += seconds
	a.s.Evaluate(context.Background(), time.Unix(a.now, 0))
	p, err := a.s.Pipeline(context.Background(), store.DefaultTenant, "orders")
	if err != nil {
		a.t.Fatal(err)
	}
	return p
}

func flat(ms float64) func(int) float64 { return func(int) float64 { return ms } }

func TestLatencyOnThePage(t *testing.T) {
	a := newAudited(t)
	a.auditors(map[string]int64{"n1": 0, "n2": 0})
	spread := func(i int) float64 { return 100 + float64(i%100) } // 100 to 199 ms
	for k := range 10 {
		w, lo, hi := int64(demoStart+60*k), 2000*k, 2000*k+2000
		a.window(
			w,
			stageCell{stage: "producer", node: "n1", dir: cell.Out, dst: "orders", from: lo, to: hi},
			stageCell{stage: "enrich", node: "n1", dir: cell.In, dst: "orders", group: "enrich", from: lo, to: hi, latency: flat(20)},
			stageCell{stage: "enrich", node: "n1", dir: cell.Out, dst: "enriched", from: lo, to: hi, bytes: 100},
			stageCell{stage: "sink", node: "n2", dir: cell.In, dst: "enriched", group: "sink", from: lo, to: hi, latency: spread},
		)
	}
	a.now += 600
	a.auditors(map[string]int64{"n1": 0, "n2": 0})
	a.evaluate(5)
	p := a.evaluate(5)
	var got []string
	for _, r := range p.Latency {
		got = append(got, fmt.Sprintf("%s/%s %d", r.Stage, r.Destination, r.Count))
	}
	if s := strings.Join(got, ", "); s != "enrich/ 20000, enrich/orders 20000, sink/ 20000, sink/enriched 20000" {
		t.Fatal(s)
	}
	sink := p.Latency[2]
	for what, x := range map[string][2]float64{"p50": {sink.P50, 0.149}, "p90": {sink.P90, 0.189}, "p99": {sink.P99, 0.198}, "max": {sink.Max, 0.199}, "enrich": {p.Latency[0].P50, 0.020}} {
		if math.Abs(x[0]-x[1]) > 0.008*x[1] {
			t.Errorf("%s is %g s, want %g", what, x[0], x[1])
		}
	}
	for _, r := range p.Stages {
		if r.Stage == "enrich" && r.Bytes != 10*2000*100 {
			t.Errorf("bytes %d", r.Bytes)
		}
	}
	found := 0
	for _, s := range a.e.order {
		if s.ls.Get("__name__") != seriesLatency {
			continue
		}
		found++
		if s.ls.Get("stage") == "sink" && s.ls.Get("quantile") == "0.5" {
			if v := s.v[len(s.v)-1]; math.Abs(v-0.149) > 0.002 {
				t.Errorf("series says %g", v)
			}
		}
	}
	if found != 8 {
		t.Errorf("%d series of latency, want 2 stages × 4 quantiles", found)
	}
	// A resend and the passing of time change nothing.
	before := p.Latency[2].Count
	for range 40 {
		p = a.evaluate(60)
	}
	if p.Latency[2].Count != before {
		t.Errorf("%d records after a while, %d before", p.Latency[2].Count, before)
	}
	if len(a.s.tenant(store.DefaultTenant).pipes["orders"].latency.paths[flow.PathKey{Stage: "sink"}].recent) != 0 {
		t.Error("old windows are folded")
	}
	if p = a.evaluate(3600); len(p.Latency) != 0 {
		t.Errorf("after more than an hour: %+v", p.Latency)
	}
}

// Scenario 10 through the store and the service: the sink's clock is 5 s behind.
func TestScenario10OnThePage(t *testing.T) {
	for _, c := range []struct {
		offset           int64
		p50, tol, skew   float64
		clamped, counted int64
	}{{0, 0, 0, 4.95, 2000, 2000}, {5000, 0.050, 0.04, 4.95, 0, 2000}} {
		a := newAudited(t)
		a.auditors(map[string]int64{"n1": 0, "n2": c.offset})
		a.window(
			demoStart,
			stageCell{stage: "producer", node: "n1", dir: cell.Out, dst: "orders", from: 0, to: 2000},
			stageCell{stage: "sink", node: "n2", dir: cell.In, dst: "orders", group: "sink", from: 0, to: 2000, latency: flat(-4950)},
		)
		p := a.evaluate(300)
		if len(p.Latency) == 0 {
			t.Fatal("no latency")
		}
		r := p.Latency[0]
		if math.Abs(r.P50-c.p50) > c.tol || math.Abs(r.Skew-c.skew) > 1e-9 || r.Clamped != c.clamped || r.Count != c.counted {
			t.Errorf("offset %d: %+v", c.offset, r)
		}
		for _, row := range a.losses() {
			if flow.IsLoss(row.Verdict) || row.Verdict == flow.Duplicates {
				t.Errorf("a skewed clock makes a %s", row.Verdict)
			}
		}
	}
}

func (a *audited) losses() []answer.LossRow {
	a.t.Helper()
	l, err := a.s.Loss(context.Background(), store.DefaultTenant, time.Unix(demoStart-600, 0), time.Unix(a.now, 0), "")
	if err != nil {
		a.t.Fatal(err)
	}
	return l.Rows
}

// Ids come all the way: cells in the ledger, a verdict of level L3 with examples. Windows are judged only when their ids are read.
func TestVerdictsByIDs(t *testing.T) {
	a := newAudited(t)
	ledger := a.s.tenant(store.DefaultTenant)
	for k := range 15 {
		w, lo, hi := int64(demoStart+60*k), 6000*k, 6000*k+6000
		without := 10
		if k < 2 { // a stage that is known to put out what it takes in
			without = 0
		}
		a.window(
			w,
			stageCell{stage: "producer", node: "n1", dir: cell.Out, dst: "orders", from: lo, to: hi},
			stageCell{stage: "enrich", node: "n1", dir: cell.In, dst: "orders", group: "enrich", from: lo, to: hi},
			stageCell{stage: "enrich", node: "n1", dir: cell.Out, dst: "enriched", from: lo, to: hi, without: without},
			stageCell{stage: "sink", node: "n1", dir: cell.In, dst: "enriched", group: "sink", from: lo, to: hi, without: without},
		)
		for range 6 {
			a.now += 10
			a.auditors(map[string]int64{"n1": 0})
			ledger.cells.samplesNext = a.now*1000 + int64(k%2)*15_000 // sometimes samples are not read at once
			a.s.Evaluate(context.Background(), time.Unix(a.now, 0))
		}
	}
	for range 60 {
		a.now += 10
		a.auditors(map[string]int64{"n1": 0})
		a.s.Evaluate(context.Background(), time.Unix(a.now, 0))
	}
	lossy := 0
	for k, v := range a.e.verdicts {
		if v.State == flow.Unknown && k.Window == demoStart {
			continue // counting began
		}
		if v.Level != flow.L3 || !v.Settled {
			t.Errorf("%v: %s, level %s, settled %v", k, v.State, v.Level, v.Settled)
		}
		if v.State == flow.Loss {
			lossy++
			if k.To != "enrich" || k.Kind != store.EdgeBalance || v.Lost != 600 || len(v.Examples) == 0 || !strings.HasPrefix(v.Examples[0], "o-") && !strings.HasPrefix(v.Examples[0], "hash:") {
				t.Errorf("%v: lost %d, examples %v", k, v.Lost, v.Examples)
			}
		}
	}
	if lossy < 10 {
		t.Errorf("%d windows of loss", lossy)
	}
}
