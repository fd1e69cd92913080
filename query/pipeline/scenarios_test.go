package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
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

// of lists the verdicts of one balance from a time on, by state.
func (d *demo) of(kind store.EdgeKind, to string, from int64) (states map[string]int, lost, surplus, redelivered int64) {
	states = map[string]int{}
	for k, v := range d.e.verdicts {
		if k.Kind == kind && k.To == to && v.Settled && k.Window >= from {
			states[v.State]++
			lost, surplus, redelivered = lost+v.Lost, surplus+v.Surplus, redelivered+v.Redeliver
		}
	}
	return states, lost, surplus, redelivered
}

// Scenario 6: a partition rewinds; what comes again is explained, nobody is paged, and it is told when it is over.
func TestRewindOfACountedEdge(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.run(63)
	const back = 1500
	d.enrich = 0
	d.run(1)
	d.queues["orders"].committed[1] -= back
	d.run(1)
	d.enrich = 5000
	paged := map[answer.State]int{}
	for range 80 {
		d.second()
		paged[d.page().State]++
	}
	if paged[answer.Losing]+paged[answer.Unknown] > 0 {
		t.Errorf("states on the way: %v", paged)
	}
	states, lost, surplus, again := d.of(store.EdgeTransport, "enrich", demoStart)
	if lost != 0 || surplus != 0 || again != back || states[flow.Loss]+states[flow.Duplicates]+states[flow.Unknown] > 0 {
		t.Errorf("transport: %v lost %d surplus %d, %d known redeliveries", states, lost, surplus, again)
	}
	if states, lost, surplus, _ := d.of(store.EdgeTransport, "sink", demoStart); lost+surplus != 0 || states[flow.OK] == 0 || len(states) != 1 {
		t.Errorf("downstream: %v", states)
	}
	var told []string
	for _, c := range d.page().Changes {
		if c.Kind == changeRewind {
			told = append(told, c.Text)
		}
	}
	if len(told) != 2 || told[1] != "enrich went back on orders partition 1: up to 1,500 records come again." || told[0] != "enrich is again where it was on orders partition 1." {
		t.Errorf("told %q", told)
	}
	if list := d.incidents(demoStart, d.now); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}

// Scenario 11 on a counted edge: what retention deleted before it was read is located and named, to the record.
func TestRetentionOfACountedEdge(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.run(60)
	d.enrich = 0
	d.run(30)
	gone := d.expire(5000)
	states, lost, _, _ := d.of(store.EdgeTransport, "enrich", demoStart)
	if lost != gone || states[flow.RetentionLoss] == 0 || states[flow.Loss]+states[flow.Unknown] > 0 {
		t.Errorf("%v, lost %d of %d", states, lost, gone)
	}
	if p := d.page(); p.Lost24h != gone {
		t.Errorf("lost in 24 h: %d of %d", p.Lost24h, gone)
	}
	list := d.incidents(demoStart, d.now)
	if len(list) != 1 || list[0].Class != "retention" || list[0].Lost != gone || list[0].Stage != "enrich" || list[0].Row.Kind != "transport" {
		t.Errorf("%+v", list)
	}
}

// expire deletes up to n records of each partition of orders that enrich has not read, and lets it go on behind them.
func (d *demo) expire(n int) (gone int64) {
	q := d.queues["orders"]
	start := q.committed[0] + n
	for p := range q.parts {
		gone += int64(start - q.committed[p])
	}
	d.starts = map[string]int{"orders": start}
	d.run(2)
	for p := range q.parts {
		q.committed[p] = start
	}
	d.enrich = 5000
	d.run(60)
	return gone
}

// Who was behind for longer than windows are followed has lost what was deleted meanwhile, too; offsets alone tell it.
func TestRetentionOfWindowsFollowedNoMore(t *testing.T) {
	c := demoConfig()
	c.Lookback = time.Minute
	d := newDemo(t, c)
	d.run(60)
	d.enrich = 0
	d.run(240)
	gone := d.expire(60_000)
	if p := d.page(); p.Lost24h < gone-gone/50 || p.Lost24h > gone+gone/50 {
		t.Errorf("lost in 24 h: %d of %d", p.Lost24h, gone)
	}
	found := int64(0)
	for _, in := range d.incidents(demoStart, d.now) {
		if in.Class != "retention" || in.Stage != "enrich" {
			t.Errorf("%+v", in)
		}
		found += in.Lost
	}
	if found < gone-gone/50 {
		t.Errorf("incidents tell %d of %d", found, gone)
	}
}

// Where only readers count, offsets tell what was deleted before they read it, as they do of readers that do not count.
func TestRetentionWithoutACountedProducer(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.uncount = func(instance string) bool { return instance == "producer-1" }
	d.run(60)
	d.enrich = 0
	d.run(30)
	gone := d.expire(5000)
	list := d.incidents(demoStart, d.now)
	if len(list) != 1 || list[0].Class != "retention" || list[0].Lost != gone || list[0].Stage != "enrich" {
		t.Errorf("%d gone: %+v", gone, list)
	}
}

// A stage that leaves records out from its first window on, and neither counts nor declares that, is not said to lose them.
func TestUndeclaredFilterLosesNothing(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.drop = true
	d.run(120)
	states, lost, _, _ := d.of(store.EdgeBalance, "enrich", demoStart)
	if lost != 0 || states[flow.Loss] > 0 || states[flow.Unknown] < 5 {
		t.Errorf("%v, lost %d", states, lost)
	}
	for k, v := range d.e.verdicts {
		if k.To == "enrich" && k.Kind == store.EdgeBalance && v.State == flow.Unknown && k.Window > demoStart+10 && v.Class != "ratio not declared" {
			t.Errorf("%d: %q", k.Window, v.Class)
		}
	}
}

// A producer that begins to write later does not make the losses before it happen once more, under both names.
func TestNewWriterTellsNoLossTwice(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.run(60)
	d.enrich = 0
	d.run(30)
	gone := d.expire(5000)
	d.foreign = 100
	begun := d.now
	for range 90 {
		for i := range d.foreign {
			d.count("importer", cell.Out, "orders", "", "importer-1", d.now*1000+int64(i)*10, 1)
		}
		d.second()
	}
	if list := d.incidents(demoStart, d.now); len(list) != 1 || list[0].Lost != gone {
		t.Errorf("%d gone: %+v", gone, list)
	}
	if p := d.page(); p.Lost24h != gone {
		t.Errorf("lost in 24 h: %d of %d", p.Lost24h, gone)
	}
	names := map[string][2]int64{} // first and last window
	for k, v := range d.e.verdicts {
		if k.Kind == store.EdgeTransport && k.To == "enrich" && v.Settled {
			n, ok := names[k.From]
			if !ok {
				n[0] = k.Window
			}
			names[k.From] = [2]int64{min(n[0], k.Window), max(n[1], k.Window)}
		}
	}
	if one, both := names["producer"], names["importer,producer"]; len(names) != 2 || one[1] >= begun || both[0] < begun-10 || both[1] == 0 {
		t.Errorf("%v, begun at %d", names, begun)
	}
}

// Scenario 16 on a counted edge: the group jumps over records.
func TestSkipOfACountedEdge(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.run(60)
	d.enrich = 0
	d.run(30)
	q := d.queues["orders"]
	gone := int64(0)
	for p := range q.parts {
		gone += int64(len(q.parts[p]) - q.committed[p])
		q.committed[p] = len(q.parts[p])
	}
	d.run(1)
	d.enrich = 5000
	d.run(60)
	states, lost, _, _ := d.of(store.EdgeTransport, "enrich", demoStart)
	if lost != gone || states[flow.Skipped] != 3 || states[flow.Loss] > 0 {
		t.Errorf("%v, lost %d of %d", states, lost, gone)
	}
}

// Scenario 22 on a counted edge: acknowledged records are gone with the end of a partition.
func TestTruncationOfACountedEdge(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.run(64)
	d.enrich = 0
	d.run(4)
	q := d.queues["orders"]
	q.parts[0] = q.parts[0][:len(q.parts[0])-600]
	d.rate = 0
	d.run(2)
	d.rate, d.enrich = 1000, 5000
	d.run(60)
	states, lost, surplus, _ := d.of(store.EdgeTransport, "enrich", demoStart)
	truncated := 0
	for k, v := range d.e.verdicts {
		if k.To == "enrich" && v.Class == "truncation" {
			truncated++
		}
	}
	if lost != 600 || surplus != 0 || truncated == 0 {
		t.Errorf("%v, lost %d surplus %d, %d windows called truncated", states, lost, surplus, truncated)
	}
}

// Scenario 15: a second producer that nobody counts is no duplication.
func TestForeignProducer(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.foreign = 500
	d.run(90)
	n := 0
	for k, v := range d.e.verdicts {
		if k.Kind != store.EdgeTransport || k.To != "enrich" || !v.Settled || k.Window < demoStart+20 {
			continue
		}
		n++
		if v.State != flow.Unknown || v.Class != "uninstrumented producer" || v.Up != 10_000 || v.Down != 15_000 || v.Lost != 0 {
			t.Errorf("%+v", v)
		}
	}
	if n < 4 {
		t.Errorf("%d windows", n)
	}
	if s := d.page().State; s == answer.Losing {
		t.Errorf("state %s", s)
	}
}

// Scenario 17: poison goes to the dead-letter queue: no loss, and it is told.
func TestDeadLetters(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.dead = func(n int) bool { return n%1000 == 0 }
	d.run(90)
	n := 0
	for k, v := range d.e.verdicts {
		if k.Kind != store.EdgeBalance || k.To != "enrich" || !v.Settled || k.Window < demoStart+10 {
			continue
		}
		n++
		if v.State != flow.OK || v.Class != "dead letters" || v.DLQ != 10 || v.Lost != 0 {
			t.Errorf("%+v", v)
		}
	}
	if n < 5 {
		t.Errorf("%d windows", n)
	}
	d.want(answer.OK, "")
	if p := d.page(); p.Stages[1].DLQ == 0 {
		t.Errorf("%+v", p.Stages[1])
	}
}

// Scenarios 16 and 22 where nobody counts: offsets alone.
func TestSkipAndTruncationFromOffsets(t *testing.T) {
	e := newFake()
	s := New(demoConfig(), e, slog.New(slog.DiscardHandler), metrics.NewSet(), Extras{})
	end, committed, delivered := 600_000.0, 600_000.0, 600_000.0
	now := int64(demoStart)
	second := func() {
		now++
		put := func(name string, v float64, more ...string) {
			e.sample(now*1000, v, labels.FromStrings(append([]string{model.MetricNameLabel, name, "system", "nats", "cluster", "c", "destination", "logs", "partition", "0"}, more...)...))
		}
		put("weir_broker_start_offset", 0)
		put("weir_broker_end_offset", end)
		put("weir_broker_committed_offset", committed, "group", "g")
		put("weir_broker_delivered_total", delivered, "group", "g")
		s.Evaluate(context.Background(), time.Unix(now, 0))
	}
	for range 30 {
		end, committed, delivered = end+100, committed+100, delivered+100
		second()
	}
	for range 30 { // it stands still
		end += 10_000
		second()
	}
	want := int64(end - committed)
	committed = end // its offsets expired, it begins at the end
	second()
	for range 70 {
		second()
	}
	page := func() answer.Pipeline {
		t.Helper()
		p, err := s.Pipeline(context.Background(), store.DefaultTenant, "logs")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := page(); p.Lost24h != want {
		t.Errorf("skipped %d, want %d", p.Lost24h, want)
	}
	end -= 600
	committed = end
	second()
	for range 5 {
		second()
	}
	if p := page(); p.Lost24h != want+600 {
		t.Errorf("lost %d, want %d", p.Lost24h, want+600)
	}
	l, err := s.Incidents(context.Background(), store.DefaultTenant, time.Unix(demoStart, 0), time.Unix(now, 0), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, in := range l.Incidents {
		got = append(got, fmt.Sprint(in.Verdict, " ", in.Class, " ", in.Lost, " ", in.Level, " ", in.Stage))
	}
	if want := fmt.Sprintf("%s skipped by the reader %d L0 g", flow.Skipped, want+600); len(got) != 1 || got[0] != want {
		t.Errorf("%v, want %s", strings.Join(got, "; "), want)
	}
}
