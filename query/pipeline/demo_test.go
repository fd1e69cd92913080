package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// demo is the pipeline of the demo in simulated seconds: producer → orders → enrich (three instances) →
// enriched → sink → table, 1,000 records a second; windows of ten seconds, a grace of five.
type demo struct {
	t       *testing.T
	e       *fakeEngine
	s       *Service
	set     *metrics.Set
	now     int64 // Unix seconds
	name    string
	queues  map[string]*demoQueue
	cells   map[fakeCellKey]*cell.Cell
	sent    map[fakeCellKey]uint64
	epoch   int64
	seq     uint64
	prev    int64
	open    bool
	down    bool
	rate    int
	width   int64
	enrich  int // per second, capacity
	sink    int
	drop    bool
	double  bool
	n       int
	dropped map[int64]int64 // by window
	doubled map[int64]int64
	quiet   bool                 // no broker polls
	filter  func(n int) bool     // enrich leaves out what it says
	told    bool                 // and counts it
	fan     func(n int) []string // enrich writes to these instead of enriched
	uncount func(ins string) bool
	dead    func(n int) bool // enrich puts it into the dead-letter queue
	foreign int              // records per second of a producer that nobody counts
	starts  map[string]int   // oldest offset kept, of each partition of a queue
}

type demoQueue struct {
	parts     [3][]int64 // event times of the records, Unix milliseconds
	committed [3]int
}

const demoStart = 1_732_334_400

func newDemo(t *testing.T, cfg Config) *demo {
	t.Helper()
	d := &demo{
		t: t, e: newFake(), set: metrics.NewSet(), now: demoStart, name: "orders", queues: map[string]*demoQueue{"orders": {}, "enriched": {}},
		cells: map[fakeCellKey]*cell.Cell{}, sent: map[fakeCellKey]uint64{}, epoch: (demoStart - 60) * 1000,
		rate: 1000, width: 10, enrich: 5000, sink: 5000, dropped: map[int64]int64{}, doubled: map[int64]int64{},
	}
	d.s = New(cfg, d.e, slog.New(slog.DiscardHandler), d.set, Extras{Version: "test", Ingest: d.set})
	return d
}

func demoConfig() Config {
	c := DefaultConfig()
	c.Grace, c.Lag, c.Freshness = 5*time.Second, 10*time.Second, 15*time.Second
	return c
}

func (d *demo) count(stage string, dir cell.Dir, dst, group, instance string, ts int64, n int) {
	if d.down || d.uncount != nil && d.uncount(instance) {
		return
	}
	w := ts / 1000
	k := cell.Key{Pipeline: d.name, Stage: stage, Dir: dir, Destination: dst, Group: group, Window: w - w%d.width, Width: d.width}
	id := fakeCellKey{k, "demo/" + instance, d.epoch}
	c := d.cells[id]
	if c == nil {
		c = &cell.Cell{Key: k, Instance: id.instance, Node: "demo", Epoch: d.epoch, Lossy: true}
		d.cells[id] = c
	}
	c.N += uint64(n)
	c.MaxTS = max(c.MaxTS, ts)
}

func (d *demo) read(q *demoQueue, capacity int, f func(part int, ts int64)) {
	for p := range q.parts {
		for n := capacity / 3; n > 0 && q.committed[p] < len(q.parts[p]); n-- {
			f(p, q.parts[p][q.committed[p]])
			q.committed[p]++
		}
	}
}

// second runs one second: every stage once, a flush, a poll, an evaluation.
func (d *demo) second() {
	d.now++
	orders, enriched := d.queues["orders"], d.queues["enriched"]
	for i := range d.rate {
		ts := d.now*1000 - 1000 + int64(i)*1000/int64(d.rate)
		d.count("producer", cell.Out, "orders", "", "producer-1", ts, 1)
		orders.parts[i%3] = append(orders.parts[i%3], ts)
	}
	for i := range d.foreign {
		orders.parts[i%3] = append(orders.parts[i%3], d.now*1000-1000+int64(i)*1000/int64(d.foreign))
	}
	d.read(orders, d.enrich, func(p int, ts int64) {
		ins := fmt.Sprintf("enrich-%d", p+1)
		d.count("enrich", cell.In, "orders", "enrich", ins, ts, 1)
		d.n++
		w := ts/1000 - ts/1000%d.width
		if d.dead != nil && d.dead(d.n) {
			d.count("enrich", cell.DLQ, "dead", "", ins, ts, 1)
			return
		}
		if d.filter != nil && d.filter(d.n) {
			if d.told {
				d.count("enrich", cell.Filtered, "", "", ins, ts, 1)
			}
			return
		}
		if d.fan != nil {
			for _, dst := range d.fan(d.n) {
				d.count("enrich", cell.Out, dst, "", ins, ts, 1)
				if q := d.queues[dst]; q != nil {
					q.parts[p] = append(q.parts[p], ts)
				}
			}
			return
		}
		if d.drop && d.n%100 == 0 {
			d.dropped[w]++
			return
		}
		d.count("enrich", cell.Out, "enriched", "", ins, ts, 1)
		enriched.parts[p] = append(enriched.parts[p], ts)
		if d.double && d.n%200 == 0 {
			d.doubled[w]++
			enriched.parts[p] = append(enriched.parts[p], ts)
		}
	})
	d.read(enriched, d.sink, func(_ int, ts int64) {
		d.count("sink", cell.In, "enriched", "sink", "sink-1", ts, 1)
		d.count("sink", cell.Out, "table", "", "sink-1", ts, 1)
	})
	if !d.down {
		d.flush(false)
	}
	if !d.quiet {
		d.poll()
	}
	d.s.Evaluate(context.Background(), time.Unix(d.now, 0))
}

func (d *demo) flush(closed bool) {
	d.seq++
	b := cell.Batch{Auditor: cell.Auditor{Node: "demo", Epoch: d.epoch, Seq: d.seq, At: d.now * 1000, FlushMS: 1000, Closed: closed, Previous: d.prev, PreviousOpen: d.open}}
	for id, c := range d.cells {
		if d.sent[id] == c.N {
			continue
		}
		d.sent[id] = c.N
		c.Seq = d.seq
		b.Cells = append(b.Cells, *c)
	}
	if err := d.e.Ledger().PutCells(context.Background(), store.DefaultTenant, b); err != nil {
		d.t.Fatal(err)
	}
}

func (d *demo) poll() {
	at := d.now * 1000
	for name, group := range map[string]string{"orders": "enrich", "enriched": "sink"} {
		q := d.queues[name]
		for p := range q.parts {
			base := []string{"system", "nats", "cluster", "demo", "destination", name, "partition", fmt.Sprint(p), "node", "demo"}
			put := func(metric string, v float64, more ...string) {
				d.e.sample(at, v, labels.FromStrings(append(append([]string{model.MetricNameLabel, metric}, base...), more...)...))
			}
			put("weir_broker_start_offset", float64(d.starts[name]))
			put("weir_broker_end_offset", float64(len(q.parts[p])))
			put("weir_broker_committed_offset", float64(q.committed[p]), "group", group)
		}
	}
	d.e.sample(at, 1, labels.FromStrings(model.MetricNameLabel, "weir_broker_up", "system", "nats", "cluster", "demo"))
}

func (d *demo) run(seconds int) {
	for range seconds {
		d.second()
	}
}

func (d *demo) crash() { d.down = true }

func (d *demo) restart() {
	d.prev, d.open = d.epoch, true
	d.epoch, d.seq, d.down = d.now*1000, 0, false
	d.cells, d.sent = map[fakeCellKey]*cell.Cell{}, map[fakeCellKey]uint64{}
}

func (d *demo) page() answer.Pipeline {
	d.t.Helper()
	p, err := d.s.Pipeline(context.Background(), store.DefaultTenant, d.name)
	if err != nil {
		d.t.Fatal(err)
	}
	return p
}

func stuckNode(p answer.Pipeline) string {
	for _, n := range p.Nodes {
		if n.Stuck {
			return n.Name
		}
	}
	return ""
}

func (d *demo) want(state answer.State, stuck string) answer.Pipeline {
	d.t.Helper()
	p := d.page()
	if p.State != state || stuckNode(p) != stuck {
		d.t.Errorf("t+%d: %s stuck at %q (%s), want %s at %q", d.now-demoStart, p.State, stuckNode(p), p.Sentence, state, stuck)
	}
	return p
}

// losses sums what the ledger holds by kind, and counts states of settled windows.
func (d *demo) losses() (lost, surplus map[string]int64, states map[string]int) {
	lost, surplus, states = map[string]int64{}, map[string]int64{}, map[string]int{}
	for k, v := range d.e.verdicts {
		name := string(k.Kind) + " " + k.To
		lost[name] += v.Lost
		surplus[name] += v.Surplus
		states[v.State]++
	}
	return lost, surplus, states
}

func total(m map[int64]int64) (n int64) {
	for _, x := range m {
		n += x
	}
	return n
}

func TestHealthy(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.run(120)
	p := d.want(answer.OK, "")
	if p.Freshness == nil || *p.Freshness > 2 {
		t.Errorf("freshness %v", p.Freshness)
	}
	if p.In == nil || *p.In < 990 || *p.In > 1010 || p.Out == nil || *p.Out < 990 || *p.Out > 1010 {
		t.Errorf("in %v out %v", p.In, p.Out)
	}
	if p.Level != flow.L2 || p.Lost24h != 0 || p.Completeness.Share == nil || *p.Completeness.Share != 1 || len(p.Completeness.Missing) != 0 {
		t.Errorf("level %s lost %d completeness %+v", p.Level, p.Lost24h, p.Completeness)
	}
	if len(p.Partitions) != 6 || len(p.Stages) != 3 {
		t.Errorf("%d partitions, %d stages", len(p.Partitions), len(p.Stages))
	}
	var names []string
	for _, n := range p.Nodes {
		names = append(names, n.Kind+" "+n.Name)
	}
	if got := fmt.Sprint(names); got != "[source producer queue orders stage enrich queue enriched stage sink sink table]" {
		t.Errorf("nodes %s", got)
	}
	_, _, states := d.losses()
	if states[flow.OK] != 4*11 || len(states) != 1 {
		t.Errorf("states %v: four balances, eleven settled windows", states)
	}
	for k, n := range d.e.writes {
		if n != 1 {
			t.Errorf("%v was written %d times", k, n)
		}
	}
	l, err := d.s.Loss(context.Background(), store.DefaultTenant, time.Unix(demoStart, 0), time.Unix(d.now, 0), "")
	if err != nil || len(l.Rows) != 4 {
		t.Fatalf("%d rows, %v", len(l.Rows), err)
	}
	for _, r := range l.Rows {
		det, err := d.s.LossDetail(context.Background(), store.DefaultTenant, r.ID, time.Unix(demoStart, 0), time.Unix(d.now, 0))
		if err != nil || len(det.Windows) < 10 || det.Row.ID != r.ID {
			t.Errorf("%s: %d windows, %v", r.ID, len(det.Windows), err)
		}
	}
	h, err := d.s.PipelineHistory(context.Background(), store.DefaultTenant, "orders", time.Unix(demoStart, 0), time.Unix(d.now, 0), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, s := range h.Series {
		if last := s.Points[len(s.Points)-2].V; last != nil {
			have[s.Name] = true
		}
	}
	for _, n := range []string{"lag enrich", "lag sink", "in", "out", "freshness"} {
		if !have[n] {
			t.Errorf("no history of %q, have %v", n, have)
		}
	}
	now, err := d.s.Now(context.Background(), store.DefaultTenant)
	if err != nil || now.State != answer.OK || len(now.Worst) != 1 || len(now.Losses) != 0 {
		t.Errorf("now %+v %v", now, err)
	}
}

func TestSlowStage(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.run(90)
	d.enrich = 600
	named := 0
	for i := range 60 {
		d.second()
		if p := d.page(); p.State == answer.Late && stuckNode(p) == "enrich" {
			named = i + 1
			break
		}
	}
	if named == 0 || named > 30 {
		t.Errorf("the stuck stage was named after %d s", named)
	}
	d.run(60)
	p := d.want(answer.Late, "enrich")
	if !strings.HasPrefix(p.Sentence, "enrich takes 0.6 k/s of 1.0 k/s. It began at 04:01:") {
		t.Errorf("sentence %q", p.Sentence)
	}
	if c := p.Cause; c == nil || c.Stage != "enrich" || c.Class != "slow" || c.Since < (demoStart+75)*1000 || c.Since > (demoStart+105)*1000 {
		t.Errorf("cause %+v, it was slow from %d", c, (demoStart+90)*1000)
	}
	if !p.Lag.DrainNever || p.Lag.Trend != flow.Growing || p.Slowest != "enrich" {
		t.Errorf("lag %+v slowest %s", p.Lag, p.Slowest)
	}
	backlog := float64(0)
	for i := range d.queues["orders"].parts {
		backlog += float64(len(d.queues["orders"].parts[i]) - d.queues["orders"].committed[i])
	}
	if p.Lag.Messages == nil || *p.Lag.Messages != backlog {
		t.Errorf("lag %v records, truth %g", p.Lag.Messages, backlog)
	}
	truth := float64(d.now*1000-d.queues["orders"].parts[0][d.queues["orders"].committed[0]]) / 1000
	if p.Lag.Seconds == nil || *p.Lag.Seconds < truth-1.01 || *p.Lag.Seconds > truth+1.01 {
		t.Errorf("lag %v s, truth %g", p.Lag.Seconds, truth)
	}
	d.enrich = 1800
	d.run(25)
	p = d.page()
	backlog = 0
	for i := range d.queues["orders"].parts {
		backlog += float64(len(d.queues["orders"].parts[i]) - d.queues["orders"].committed[i])
	}
	if p.State != answer.Draining || p.Lag.Drain == nil || math.Abs(*p.Lag.Drain-backlog/800) > backlog/800/10 {
		t.Errorf("%s %s, drain %v, truth %g", p.State, p.Sentence, p.Lag.Drain, backlog/800)
	}
	d.run(90)
	d.want(answer.OK, "")
	lost, surplus, states := d.losses()
	if states[flow.Loss]+states[flow.Unknown]+states[flow.Mixed]+states[flow.Duplicates] > 0 {
		t.Errorf("lost %v surplus %v states %v", lost, surplus, states)
	}
}

func TestStalledSink(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.run(60)
	d.sink = 0
	d.run(30)
	p := d.want(answer.Late, "sink")
	if !strings.HasPrefix(p.Sentence, "sink has taken nothing for 29 s; 1.0 k/s arrive and 30,000 records wait.") {
		t.Errorf("sentence %q", p.Sentence)
	}
	if p.Lag.Messages == nil || *p.Lag.Messages != 30_000 {
		t.Errorf("lag %v", p.Lag.Messages)
	}
	if p.LossIn != nil || !p.Lag.DrainNever {
		t.Errorf("loss in %v, lag %+v", p.LossIn, p.Lag)
	}
	d.sink = 5000
	d.run(60)
	d.want(answer.OK, "")
	if _, _, states := d.losses(); states[flow.OK] == 0 || len(states) != 1 {
		t.Errorf("states %v", states)
	}
}

// A pipeline that loses records and is late says both, and is no longer late once it has caught up, though it loses on.
func TestLosingAndLate(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.run(65)
	d.drop, d.sink = true, 0
	d.run(70)
	p := d.page()
	if p.State != answer.Losing || !p.Late || !strings.HasPrefix(p.LateWhy, "sink has taken nothing for ") || !strings.HasSuffix(p.Sentence, " Late as well: "+p.LateWhy) {
		t.Errorf("%s, late %v, why %q: %s", p.State, p.Late, p.LateWhy, p.Sentence)
	}
	d.sink = 9000
	d.run(90)
	if p = d.page(); p.State != answer.Losing || p.Late || p.LateWhy != "" || strings.Contains(p.Sentence, "Late as well") {
		t.Errorf("caught up: %s, late %v, why %q: %s", p.State, p.Late, p.LateWhy, p.Sentence)
	}
}

func TestDrop(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.run(65)
	d.drop = true
	d.run(50)
	p := d.page()
	if p.State != answer.Losing {
		t.Errorf("%s: %s", p.State, p.Sentence)
	}
	d.drop = false
	d.run(60)
	lost, surplus, states := d.losses()
	if lost["balance enrich"] != total(d.dropped) || total(d.dropped) != 500 || lost["transport enrich"]+lost["transport sink"]+lost["balance sink"] != 0 || total(map[int64]int64{0: surplus["transport sink"]}) != 0 {
		t.Errorf("lost %v of %d injected, states %v", lost, total(d.dropped), states)
	}
	for k, v := range d.e.verdicts {
		if k.Kind == store.EdgeBalance && k.To == "enrich" && v.Lost != d.dropped[k.Window] {
			t.Errorf("window %d: lost %d, injected %d", k.Window, v.Lost, d.dropped[k.Window])
		}
	}
	if p := d.page(); p.Lost24h != 500 {
		t.Errorf("lost in 24 h: %d", p.Lost24h)
	}
	l, err := d.s.Loss(context.Background(), store.DefaultTenant, time.Unix(demoStart, 0), time.Unix(d.now, 0), "orders")
	if err != nil {
		t.Fatal(err)
	}
	r := l.Rows[0]
	if r.Verdict != flow.Loss || r.Where != "enrich" || r.Lost != 500 || r.Still || r.Since == nil || r.Share == nil || r.Class != "dropped in stage" {
		t.Errorf("row %+v", r)
	}
	d.run(60)
	d.want(answer.OK, "")
}

func TestDuplicates(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.run(65)
	d.double = true
	d.run(40)
	d.double = false
	d.run(40)
	lost, surplus, states := d.losses()
	if surplus["transport sink"] != total(d.doubled) || total(d.doubled) != 200 || surplus["transport enrich"]+surplus["balance enrich"] != 0 || states[flow.Loss] > 0 {
		t.Errorf("surplus %v of %d, lost %v, states %v", surplus, total(d.doubled), lost, states)
	}
}

func TestKilledCollector(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.run(67)
	d.crash()
	d.run(5)
	d.want(answer.Unknown, "")
	d.run(3)
	p := d.page()
	if p.Completeness.Share == nil || *p.Completeness.Share != 0 || len(p.Completeness.Missing) == 0 {
		t.Errorf("completeness %+v", p.Completeness)
	}
	d.restart()
	d.run(60)
	d.want(answer.OK, "")
	_, _, states := d.losses()
	if states[flow.Loss]+states[flow.Duplicates]+states[flow.Mixed]+states[flow.Late] > 0 || states[flow.Unknown] == 0 || states[flow.Unknown] > 4*5 {
		t.Errorf("states %v", states)
	}
	for k, v := range d.e.verdicts {
		if v.State == flow.Unknown && !v.Settled && k.Window < d.now-60 {
			t.Errorf("%v never settled", k)
		}
		if v.State == flow.Unknown && (v.Epsilon == 0 || v.Epsilon > 10_000) {
			t.Errorf("%v: bound %d", k, v.Epsilon)
		}
	}
	if p := d.page(); p.Lost24h != 0 || p.LostBound == 0 {
		t.Errorf("lost %d bound %d", p.Lost24h, p.LostBound)
	}
	found := false
	for _, c := range d.page().Changes {
		found = found || c.At == d.epoch
	}
	if !found {
		t.Errorf("the restart is a change: %+v", d.page().Changes)
	}
}

func TestIdle(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.run(60)
	d.rate = 0
	d.run(130)
	p := d.want(answer.Idle, "")
	if p.Lag.Seconds == nil || *p.Lag.Seconds != 0 || p.Freshness == nil || *p.Freshness < 120 {
		t.Errorf("lag %v freshness %v", p.Lag.Seconds, p.Freshness)
	}
	for b := range d.s.tenant(store.DefaultTenant).ledger.All() {
		if b.InFlight() > 0 {
			t.Errorf("%v: %d windows are still open although nothing flows", b.Key, b.InFlight())
		}
	}
}

// After a restart a pipeline that was quiet for hours is still known, and IDLE.
func TestQuietPipelineSurvivesRestart(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.rate = 100
	d.run(60)
	d.rate = 0
	d.run(90)
	d.now += 2 * 3600 // the server was running: derived series go on
	d.second()
	d.run(10)
	d.s = New(demoConfig(), d.e, slog.New(slog.DiscardHandler), metrics.NewSet(), Extras{})
	d.run(3)
	p := d.want(answer.Idle, "")
	if len(p.Stages) != 3 || p.Freshness == nil || *p.Freshness < 7200 {
		t.Errorf("%d stages, freshness %v", len(p.Stages), p.Freshness)
	}
}

// Another process goes on where this one ended: nothing is judged anew, nothing is forgotten.
func TestRestartOfTheServer(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.run(65)
	d.drop = true
	d.run(20)
	d.drop = false
	d.run(40)
	before := len(d.e.writes)
	writes := 0
	for _, n := range d.e.writes {
		writes += n
	}
	d.s = New(demoConfig(), d.e, slog.New(slog.DiscardHandler), metrics.NewSet(), Extras{})
	d.run(1)
	after := 0
	for _, n := range d.e.writes {
		after += n
	}
	if len(d.e.writes)-before > 4 || after-writes > 4 {
		t.Errorf("%d verdicts written, %d before", after, writes)
	}
	p := d.page()
	if p.Lost24h != 200 {
		t.Errorf("lost %d", p.Lost24h)
	}
	if h := p.Lag.History; len(h) != 60 || h[58] < 0 {
		t.Errorf("history %v", h)
	}
	d.run(60)
	d.want(answer.OK, "")
	if lost, _, _ := d.losses(); lost["balance enrich"] != 200 {
		t.Errorf("lost %v", lost)
	}
}

func TestMinuteWindows(t *testing.T) {
	c := DefaultConfig()
	d := newDemo(t, c)
	d.width, d.rate = 60, 100
	d.run(130)
	d.drop = true
	d.run(60)
	d.drop = false
	d.run(180)
	if lost, _, states := d.losses(); lost["balance enrich"] != total(d.dropped) || total(d.dropped) != 60 {
		t.Errorf("lost %v of %d, states %v", lost, total(d.dropped), states)
	}
}

// The store away: pages keep what was known, verdicts are written when it is back.
func TestStoreAway(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.rate = 100
	d.run(60)
	n := len(d.e.verdicts)
	at := d.page().At
	d.e.fail = store.ErrUnavailable
	for range 5 {
		d.now++
		d.s.Evaluate(context.Background(), time.Unix(d.now, 0))
	}
	if p := d.page(); p.At != at {
		t.Errorf("at %d, was %d", p.At, at)
	}
	d.e.fail = nil
	d.run(30)
	if len(d.e.verdicts) <= n {
		t.Error("verdicts are written again")
	}
}

// Pages are read while the loop evaluates.
func TestReadersBesideTheLoop(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.rate = 50
	d.run(15)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				from, to := time.Unix(demoStart, 0), time.Unix(demoStart+600, 0)
				p, err1 := d.s.Pipeline(ctx, store.DefaultTenant, "orders")
				l, err2 := d.s.Loss(ctx, store.DefaultTenant, from, to, "")
				_, err3 := d.s.Self(ctx, store.DefaultTenant)
				_, err4 := d.s.Now(ctx, store.DefaultTenant)
				_, err5 := d.s.PipelineHistory(ctx, store.DefaultTenant, "orders", from, to, time.Second)
				if err := errors.Join(err1, err2, err3, err4, err5); err != nil || len(p.Nodes) == 0 || len(l.Rows) == 0 {
					t.Errorf("%v, %d nodes, %d rows", err, len(p.Nodes), len(l.Rows))
					return
				}
				if _, err := json.Marshal(p); err != nil {
					t.Error(err)
				}
			}
		})
	}
	d.run(40)
	cancel()
	wg.Wait()
}

func TestUnknownNames(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.rate = 10
	d.run(3)
	ctx := context.Background()
	from, to := time.Unix(demoStart, 0), time.Unix(d.now, 0)
	if _, err := d.s.Pipeline(ctx, store.DefaultTenant, "nope"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	if _, err := d.s.PipelineHistory(ctx, store.DefaultTenant, "nope", from, to, time.Second); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	if _, err := d.s.PipelineHistory(ctx, store.DefaultTenant, "orders", from, to, 0); !errors.Is(err, store.ErrInvalid) {
		t.Error(err)
	}
	if _, err := d.s.LossDetail(ctx, store.DefaultTenant, "x", from, to); !errors.Is(err, store.ErrInvalid) {
		t.Error(err)
	}
	if _, err := d.s.LossDetail(ctx, store.DefaultTenant, "a~b~c~d~e~f", from, to); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}

// Without any count, offsets alone make a pipeline, and retention a loss.
func TestOffsetsOnly(t *testing.T) {
	e := newFake()
	s := New(demoConfig(), e, slog.New(slog.DiscardHandler), metrics.NewSet(), Extras{})
	put := func(at int64, name string, v float64, more ...string) {
		e.sample(at*1000, v, labels.FromStrings(append([]string{model.MetricNameLabel, name, "system", "kafka", "cluster", "c", "destination", "logs", "partition", "0"}, more...)...))
	}
	for i := range int64(100) {
		now := demoStart + i
		end, start := i*100, max(0, (i-60)*100)
		put(now, "weir_broker_start_offset", float64(start))
		put(now, "weir_broker_end_offset", float64(end))
		put(now, "weir_broker_committed_offset", float64(min(end, 1000)), "group", "reader") // stops at 1,000
		s.Evaluate(context.Background(), time.Unix(now, 0))
	}
	s.Evaluate(context.Background(), time.Unix(demoStart+102, 0)) // losses are told at the next settlement
	p, err := s.Pipeline(context.Background(), store.DefaultTenant, "logs")
	if err != nil {
		t.Fatal(err)
	}
	// 9,900 written, 60 s kept: 3,900 is the oldest; what lay between 1,000 and there is gone.
	if p.State != answer.Losing || p.Lost24h != 2900 || p.Level != flow.L0 {
		t.Errorf("%s lost %d level %s: %s", p.State, p.Lost24h, p.Level, p.Sentence)
	}
	if !strings.Contains(p.Sentence, "2,900 records") || !strings.Contains(p.Sentence, "reader has taken nothing") {
		t.Errorf("sentence %q", p.Sentence)
	}
}

func TestSelf(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.rate = 10
	d.set.GetOrCreateCounter(`weir_ingest_received_total{door="audit"}`).Set(100)
	d.set.GetOrCreateCounter(`weir_ingest_stored_total{door="audit"}`).Set(90)
	d.set.GetOrCreateCounter(`weir_ingest_dropped_total{door="audit",reason="too \"old\", a}"}`).Set(10)
	for i := range int64(60) {
		d.run(1)
		put := func(name string, v float64, more ...string) {
			d.e.sample(d.now*1000, v, labels.FromStrings(append([]string{model.MetricNameLabel, name, "node", "n1"}, more...)...))
		}
		put("weir_collector_received_total", float64(1000+i*10), "door", "statsd_udp")
		put("weir_collector_accepted_total", float64(990+i*10), "door", "statsd_udp")
		put("weir_collector_dropped_total", 10, "door", "statsd_udp", "reason", "parse")
		put("weir_collector_received_total", float64(500), "door", "scrape")
		put("weir_collector_accepted_total", float64(450), "door", "scrape")
		put("weir_spool_appended_items_total", float64(70+i), "signal", "cells")
		put("weir_spool_delivered_items_total", float64(60+i), "signal", "cells")
		put("weir_spool_pending_items", 10, "signal", "cells")
	}
	s, err := d.s.Self(context.Background(), store.DefaultTenant)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]answer.DoorRow{}
	for _, r := range s.Doors {
		got[r.Part+" "+r.Door] = r
	}
	if r := got["ingest audit"]; !r.Balanced || r.Received != 100 || r.Unit != "cells" || len(r.Dropped) != 1 {
		t.Errorf("ingest %+v", r)
	}
	if r := got["collector statsd_udp"]; !r.Balanced || r.Diff != 0 || r.Rate == nil || math.Abs(*r.Rate-10) > 0.01 {
		t.Errorf("statsd %+v", r)
	}
	if r := got["spool cells"]; !r.Balanced || r.Spooled != 10 {
		t.Errorf("spool %+v", r)
	}
	if r := got["collector scrape"]; r.Balanced || r.Diff != 50 || s.Balanced {
		t.Errorf("a leak stays visible: %+v", r)
	}
	if len(s.Store) == 0 || len(s.Collectors) != 1 || s.Version != "test" {
		t.Errorf("%+v", s)
	}
}
