package pipeline

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// The scenarios of docs/pipeline-model.md, section 10, through the whole evaluation over a store, with their figures.
// Those that are not here are in scenarios_test.go, broker_test.go, declared_test.go, counters_test.go and latency_test.go.

func TestFigures01Healthy(t *testing.T) {
	t.Parallel()
	m := newMill(t)
	m.run(780)
	for _, b := range []struct {
		kind store.EdgeKind
		to   string
	}{{store.EdgeTransport, "enrich"}, {store.EdgeBalance, "enrich"}, {store.EdgeTransport, "sink"}} {
		if s := m.each(b.kind, b.to, flow.OK, 60_000, 60_000, 0); s.Up != 600_000 || s.Down != 600_000 {
			t.Errorf("U %d, D %d", s.Up, s.Down)
		}
		for _, v := range m.ten(b.kind, b.to) {
			if v.Level != flow.L3 || v.Confidence != 0.999 {
				t.Errorf("%s %s: level %s, confidence %g", b.kind, b.to, v.Level, v.Confidence)
			}
		}
	}
	m.calm()
}

func TestFigures02SilentDrop(t *testing.T) {
	t.Parallel()
	m := newMill(t)
	m.enrich = func(i int64) (cell.Dir, int) {
		if i%100 == 99 && inTen(i) {
			return "", 0
		}
		return cell.Out, 1
	}
	m.run(780)
	s := m.each(store.EdgeBalance, "enrich", flow.Loss, 60_000, 59_400, 600)
	if s.Up != 600_000 || s.Lost != 6000 {
		t.Errorf("in %d, lost %d", s.Up, s.Lost)
	}
	m.each(store.EdgeTransport, "enrich", flow.OK, 60_000, 60_000, 0)
	m.each(store.EdgeTransport, "sink", flow.OK, 59_400, 59_400, 0)
	dropped := map[string]bool{}
	for i := 60_099; i < 660_000; i += 100 {
		id := strconv.Itoa(i)
		dropped[id], dropped[fmt.Sprintf("hash:%016x", cell.Hash(id))] = true, true
	}
	for _, id := range s.Examples {
		if !dropped[id] {
			t.Errorf("%s is an example and was not dropped", id)
		}
	}
	if p := m.page(); p.Lost24h != 6000 || len(s.Examples) == 0 || !strings.HasPrefix(m.losing, "enrich loses 1.00 %") {
		t.Errorf("lost %d, %d examples, %q", p.Lost24h, len(s.Examples), m.losing)
	}
}

func TestFigures03Duplicates(t *testing.T) {
	t.Parallel()
	m := newMill(t)
	m.transport = func(i int64) int { return 1 + btoi(i%200 == 0 && inTen(i)) }
	m.run(780)
	if s := m.each(store.EdgeTransport, "enrich", flow.Duplicates, 60_000, 60_300, -300); s.Surplus != 3000 || s.Lost != 0 {
		t.Errorf("surplus %d, lost %d", s.Surplus, s.Lost)
	}
	m.each(store.EdgeBalance, "enrich", flow.OK, 60_300, 60_300, 0)
	m.each(store.EdgeTransport, "sink", flow.OK, 60_300, 60_300, 0)
	if m.seen[answer.Losing] > 0 {
		t.Errorf("duplicates are no loss: %q", m.losing)
	}
}

// A count-only auditor says OK here, so whoever asks weir must be told by state and alert, although nobody can say how many.
func TestFigures04LossAndDuplicatesInEqualNumbers(t *testing.T) {
	t.Parallel()
	m := newMill(t)
	m.transport = func(i int64) int {
		switch {
		case inTen(i) && i%100 == 0:
			return 2
		case inTen(i) && i%100 == 50:
			return 0
		}
		return 1
	}
	m.run(780)
	m.each(store.EdgeTransport, "enrich", flow.Mixed, 60_000, 60_000, 0)
	m.each(store.EdgeBalance, "enrich", flow.OK, 60_000, 60_000, 0)
	if want := "Records, as many as came twice, lost on the way source → orders → enrich, since 04:01:00 UTC."; m.losing != want {
		t.Errorf("said %q, want %q", m.losing, want)
	}
	l := m.s.tenant(store.DefaultTenant).ledger.RecentLosses((demoStart + m.now) * 1000)
	if len(l) != 1 || l[0].Verdict != flow.Mixed || l[0].Since == nil || *l[0].Since != demoStart+60 {
		t.Errorf("%+v", l)
	}
	m.run(300)
	if p := m.page(); p.State != answer.OK {
		t.Errorf("after it is over: %s %q", p.State, p.Sentence)
	}
}

// Stalled for 300 s, then 2,000/s.
func TestFigures05StalledConsumer(t *testing.T) {
	t.Parallel()
	m := newMill(t)
	c := DefaultConfig()
	c.Lag, c.Freshness = 1000e9, 1000e9
	m.configure(c)
	m.ids, m.speed = false, 2000
	m.stalled = func(now int64) bool { return now > 120 && now <= 420 }
	m.run(420)
	look := func(records, seconds float64) {
		t.Helper()
		p := m.page()
		if p.Lag.Messages == nil || *p.Lag.Messages != records || p.Lag.Seconds == nil || math.Abs(*p.Lag.Seconds-seconds) > 1 {
			t.Errorf("t+%d: lag %v records, %v s; want %g and %g", m.now, orNil(p.Lag.Messages), orNil(p.Lag.Seconds), records, seconds)
		}
	}
	look(300_000, 300)
	m.run(100)
	look(200_000, 200)
	if p := m.page(); p.Lag.Drain == nil || math.Abs(*p.Lag.Drain-200) > 20 {
		t.Errorf("drain %v s, want 200", orNil(p.Lag.Drain))
	}
	m.run(200)
	look(0, 0)
	m.run(120)
	m.each(store.EdgeTransport, "enrich", flow.OK, 60_000, 60_000, 0)
	m.each(store.EdgeTransport, "sink", flow.OK, 60_000, 60_000, 0)
	m.calm()
}

// orders goes back by 5,000 records: they come again, which is told and explained.
func TestFigures06Rewind(t *testing.T) {
	t.Parallel()
	m := newMill(t)
	m.stalled = func(now int64) bool { return now > 300 && now <= 320 }
	m.run(310)
	m.queues[0].committed -= 5000
	m.run(470)
	again, told := int64(0), []string{}
	for _, v := range m.ten(store.EdgeTransport, "enrich") {
		again += v.Redeliver
		if v.State != flow.OK || v.Surplus != 0 {
			t.Errorf("%s, surplus %d", v.State, v.Surplus)
		}
	}
	for _, c := range m.page().Changes {
		if c.Kind == changeRewind {
			told = append(told, c.Text)
		}
	}
	if again != 5000 || len(told) != 2 || !strings.Contains(told[1], "up to 5,000 records come again") {
		t.Errorf("%d known redeliveries, told %q", again, told)
	}
	m.calm()
}

// A share of the records takes a way of 90 s around. No broker tells of it, so max_latency says that it may until
// weir has learned it, and a window has its 1,200 outstanding until they come.
func TestFigures07RetryPath(t *testing.T) {
	t.Parallel()
	d := newDirect(t, newFake())
	c := DefaultConfig()
	c.MaxLatency = 2 * time.Minute
	d.s = newService(c, d.e)
	for n := range int64(16) {
		w := d.now
		d.count(w, "source", cell.Out, "", 60_000, "a")
		d.count(w, "sink", cell.In, "g", 58_800, "b")
		d.pass(30)
		if n > 1 { // 30 s after its end the window before lacks them, 90 s after it the one before that has them
			l, err := d.s.Loss(t.Context(), store.DefaultTenant, unix(d.start), unix(d.now), "p")
			if err != nil || len(l.Rows) != 1 {
				t.Fatalf("%+v %v", l.Rows, err)
			}
			det, err := d.s.LossDetail(t.Context(), store.DefaultTenant, l.Rows[0].ID, unix(d.start), unix(d.now))
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range det.Windows {
				if x.Window == w-60 && (x.Verdict != flow.InFlight && x.Verdict != flow.Late || x.InFlight != 1200 || x.Settled) {
					t.Errorf("minute %d: %+v", n, x)
				}
			}
			d.late = 90_000
			d.count(w-120, "sink", cell.In, "g", 60_000, "b")
			d.late = 0
		}
		d.pass(30)
		p, err := d.s.Pipeline(t.Context(), store.DefaultTenant, "p")
		if err != nil || p.State == answer.Losing || p.Lost24h > 0 {
			t.Errorf("minute %d: %s %q %v", n, p.State, p.Sentence, err)
		}
	}
	d.pass(240)
	for n := range int64(14) {
		if v := d.verdict(d.start + 60*n); v.State != flow.OK || v.Delta != 0 || v.Lost != 0 || v.Revision > 1 || !v.Settled {
			t.Errorf("window %d: %s δ %d, revision %d, settled %v", n, v.State, v.Delta, v.Revision, v.Settled)
		}
	}
}

// enrich's application restarts in the middle of a window: two epochs of 30,000.
func TestFigures08Restart(t *testing.T) {
	t.Parallel()
	m := newMill(t)
	m.run(210)
	for k, c := range m.cells { // what was counted so far belongs to the epoch before
		if c.Node == "n2" {
			old := *c
			old.Seq, old.IDs = m.seq+1, c.IDs.Clone()
			if err := m.e.Ledger().PutCells(t.Context(), store.DefaultTenant, cell.Batch{
				Auditor: cell.Auditor{Node: "n2", Epoch: c.Epoch, Seq: m.seq + 1, At: (demoStart + m.now) * 1000, FlushMS: 10_000, Closed: true}, Cells: []cell.Cell{old},
			}); err != nil {
				t.Fatal(err)
			}
			delete(m.cells, k)
		}
	}
	epoch := (demoStart + m.now) * 1000
	m.auditor = func(a *cell.Auditor) { a.Epoch, a.Previous = epoch, (demoStart-60)*1000 }
	m.epoch = epoch
	m.run(570)
	if s := m.each(store.EdgeTransport, "enrich", flow.OK, 60_000, 60_000, 0); s.Down != 600_000 {
		t.Errorf("%d", s.Down)
	}
	m.each(store.EdgeBalance, "enrich", flow.OK, 60_000, 60_000, 0)
	m.calm()
}

// A tenth of the traces is kept, of 100,000 messages 1 % are lost: what is joined says so, window by window.
func TestFigures09SampledSpans(t *testing.T) {
	t.Parallel()
	w := newSpanWorld(t)
	w.n = 1000 // spans of the sample a window and edge, of 10,000 messages
	w.loss = func(win int64, d string) int64 { return int64(btoi(d == "enriched") * 10) }
	for range 16 {
		w.minute()
	}
	up, missed := int64(0), int64(0)
	for k, v := range w.e.verdicts {
		switch {
		case k.Window >= demoStart+600:
		case !v.Settled || v.Level != flow.LT:
			t.Errorf("%v: settled %v at level %s", k, v.Settled, v.Level)
		case k.Destination == "enriched":
			up, missed = up+v.Up, missed+v.Lost
			if v.State != flow.Loss && v.State != flow.ProbableLoss {
				t.Errorf("%v: %s", k, v.State)
			}
		case v.State != flow.OK:
			t.Errorf("%v: %s", k, v.State)
		}
	}
	if s := flow.Wilson(missed, up); up != 10_000 || missed != 100 || math.Abs(s.Low-0.00823) > 6e-6 || math.Abs(s.High-0.01215) > 6e-6 {
		t.Errorf("%d of %d, %+v", missed, up, s)
	}
}

// Retention 600 s, enrich stalled for 900 s: what is deleted is lost, to the record.
func TestFigures11Retention(t *testing.T) {
	t.Parallel()
	m := newMill(t)
	m.ids, m.keep = false, 600
	m.stalled = func(now int64) bool { return now > 60 && now <= 960 }
	m.hold = true
	m.run(660)
	if p := m.page(); p.Lost24h != 0 {
		t.Errorf("600 s after the stall: lost %d", p.Lost24h)
	}
	m.run(300)
	if p := m.page(); p.Lag.Messages == nil || *p.Lag.Messages != 900_000 {
		t.Errorf("after 900 s: nominal lag %v", orNil(p.Lag.Messages))
	} else if r := p.Partitions[0]; *r.End-*r.Start != 600_000 || *r.Start-*r.Committed != 300_000 {
		t.Errorf("after 900 s: start %g, end %g, committed %g", *r.Start, *r.End, *r.Committed)
	}
	m.keep = 0
	m.run(600)
	s := m.ten(store.EdgeTransport, "enrich")
	lost := int64(0)
	for i, v := range s {
		want := int64(0)
		if i < 5 {
			want = 60_000
		}
		if v.Lost != want || (v.State == flow.RetentionLoss) != (i < 5) {
			t.Errorf("window %d: %s %d", i, v.State, v.Lost)
		}
		lost += v.Lost
	}
	if p := m.page(); lost != 300_000 || p.Lost24h != 300_000 {
		t.Errorf("lost %d, in a day %d", lost, p.Lost24h)
	}
}

func TestFigures12Filter(t *testing.T) {
	t.Parallel()
	m := newMill(t)
	m.enrich = func(i int64) (cell.Dir, int) {
		if i%10 < 3 {
			return cell.Filtered, 1
		}
		return cell.Out, 1
	}
	m.run(780)
	for i, v := range m.ten(store.EdgeBalance, "enrich") {
		if v.State != flow.OK && v.State != flow.Filtered || v.Up != 60_000 || v.Down != 42_000 || v.Filtered != 18_000 || v.Delta != 0 {
			t.Errorf("window %d: %+v", i, v)
		}
	}
	m.calm()
}

// Batches of 100, one of the 600 in a window is lost: inside enrich, or on the way to sink.
func TestFigures14Batches(t *testing.T) {
	t.Parallel()
	one := func(b int64) bool { return b%600 == 300 && inTen(b*100) }
	inside := newMill(t)
	inside.batch, inside.hush = 100, one
	inside.run(780)
	for i, v := range inside.ten(store.EdgeBalance, "enrich") {
		if v.State != flow.Loss || v.Up != 60_000 || v.Lost != 100 || v.Down != 599 {
			t.Errorf("inside, window %d: %+v", i, v)
		}
	}
	inside.each(store.EdgeTransport, "sink", flow.OK, 599, 599, 0)
	if r := inside.row("enrich"); r.Lost != 1000 || r.Share == nil || math.Abs(*r.Share-0.001667) > 1e-6 {
		t.Errorf("%+v", r)
	}
	between := newMill(t)
	between.batch, between.lose = 100, one
	between.run(780)
	if s := between.each(store.EdgeTransport, "sink", flow.Loss, 600, 599, 1); s.Lost != 10 {
		t.Errorf("lost %d batches", s.Lost)
	}
	for i, v := range between.ten(store.EdgeBalance, "enrich") {
		if v.State != flow.OK || v.Delta != 0 {
			t.Errorf("between, window %d: %+v", i, v)
		}
	}
}

func TestFigures15UninstrumentedProducer(t *testing.T) {
	t.Parallel()
	m := newMill(t)
	m.ids, m.foreign = false, 500
	m.run(780)
	for i, v := range m.ten(store.EdgeTransport, "enrich") {
		if v.State != flow.Unknown || v.Class != "uninstrumented producer" || v.Up != 60_000 || v.Down != 90_000 || v.Epsilon < 30_000 {
			t.Errorf("window %d: %s %q, up %d, down %d, bound %d", i, v.State, v.Class, v.Up, v.Down, v.Epsilon)
		}
	}
	m.calm()
}

// The group's offsets expire while it stands still, and it begins anew at the end: 300,000 are passed over, the lag is 0.
func TestFigures16Skipped(t *testing.T) {
	t.Parallel()
	m := newMill(t)
	m.ids = false
	m.stalled = func(now int64) bool { return now > 120 && now <= 420 }
	m.run(420)
	m.queues[0].committed = int64(len(m.queues[0].records))
	m.run(360)
	lost := int64(0)
	for i, v := range m.ten(store.EdgeTransport, "enrich") {
		lost += v.Lost
		if (v.State == flow.Skipped) != (v.Lost > 0) {
			t.Errorf("window %d: %s %d", i, v.State, v.Lost)
		}
	}
	if p := m.page(); lost != 300_000 || p.Lost24h != 300_000 || p.Lag.Messages == nil || *p.Lag.Messages != 0 {
		t.Errorf("lost %d, in a day %d, lag %v", lost, p.Lost24h, orNil(p.Lag.Messages))
	}
}

func TestFigures17DeadLetters(t *testing.T) {
	t.Parallel()
	m := newMill(t)
	m.enrich = func(i int64) (cell.Dir, int) {
		if i%1000 == 0 {
			return cell.DLQ, 1
		}
		return cell.Out, 1
	}
	m.run(780)
	for i, v := range m.ten(store.EdgeBalance, "enrich") {
		if v.State != flow.OK || v.DLQ != 60 || v.Delta != 0 || v.Class != "dead letters" {
			t.Errorf("window %d: %+v", i, v)
		}
	}
	m.calm()
}

// Both exporters lose 2 % of their spans and 1 % of the messages are lost: 2.98 % look lost, 1 % is.
func TestFigures18SpanExporterLoses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		lost  float64
		state string
	}{{0.01, flow.ProbableLoss}, {0, flow.OK}} {
		w := newSpanWorld(t)
		const n = 100_000
		for range 14 {
			win := w.now
			key := func(kind cell.PairKind, from, g, to string) cell.PairKey {
				return cell.PairKey{Kind: kind, From: from, System: "kafka", Destination: "orders", Group: g, To: to, Window: win, Width: 60}
			}
			up := int64(n * 0.98)
			both := int64(math.Round(n * (1 - c.lost) * 0.98 * 0.98))
			down := int64(math.Round(n * (1 - c.lost) * 0.98))
			w.put(key(cell.PairEdge, "shop", "g", "enrich"), cell.PairCounts{Up: up, UpMessages: up, Matched: both, InMessages: both, Missed: up - both, MaxTS: (win + 59) * 1000})
			w.put(key(cell.PairWriter, "shop", "", ""), cell.PairCounts{Messages: up, Known: up, Adjusted: float64(up), MaxTS: (win + 59) * 1000})
			w.put(key(cell.PairReader, "", "g", "enrich"), cell.PairCounts{Messages: down, Known: down, Adjusted: float64(down), Reverse: down - both})
			w.mute = true
			w.minute()
		}
		windows := 0
		for k, v := range w.e.verdicts {
			if k.Window >= demoStart+600 {
				continue
			}
			windows++
			share := float64(v.Lost) / float64(v.Up)
			if v.State != c.state || math.Abs(share-c.lost) > 0.0002 {
				t.Errorf("loss %g: %s, %.4f (%d of %d)", c.lost, v.State, share, v.Lost, v.Up)
			}
		}
		if windows != 10 {
			t.Errorf("%d windows", windows)
		}
	}
}

func TestFigures21SourceSilent(t *testing.T) {
	t.Parallel()
	m := newMill(t)
	m.silent = 120
	m.run(720)
	p := m.page()
	if p.State != answer.Idle || p.Freshness == nil || math.Abs(*p.Freshness-600) > 0.01 || p.Lag.Seconds == nil || *p.Lag.Seconds != 0 {
		t.Errorf("%s, freshness %v, lag %v", p.State, orNil(p.Freshness), orNil(p.Lag.Seconds))
	}
	m.calm()
}

// The counts of 500 records were in audit datagrams that the kernel dropped.
func TestFigures25AuditDatagramsDropped(t *testing.T) {
	t.Parallel()
	m := newMill(t)
	m.ids, m.lossy = false, true
	m.uncounted = func(i int64) bool { return i >= 180_000 && i < 180_500 }
	m.auditor = func(a *cell.Auditor) {
		if m.now > 180 {
			a.Drops, a.DropMax, a.DropFrom, a.DropTo = 500, 1, demoStart+180, demoStart+240
		}
	}
	m.run(780)
	for i, v := range m.ten(store.EdgeTransport, "enrich") {
		switch {
		case i == 2 && (v.State != flow.Unknown || v.Epsilon < 500 || v.Epsilon > 1000 || v.Delta != 500):
			t.Errorf("the window concerned: %s δ %d bound %d", v.State, v.Delta, v.Epsilon)
		case i != 2 && v.State != flow.OK:
			t.Errorf("window %d: %s", i, v.State)
		}
	}
	m.calm()
}

// 30,000 records in the first second of each minute, polls every 10 s.
func TestFigures27BurstProducer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	end := func(s int) int { return s/60*30_000 + min(s%60*30_000, 30_000) }
	when := func(n int) float64 { return float64(n/30_000*60) + float64(n%30_000)/30_000 }
	worst, asked := 0.0, 0
	for s := 10; s <= 1800; s += 10 {
		read := max(0, end(s)-45_000+s*7) // somewhere within the last bursts
		read = min(read, end(s)-1)
		w.now = demoStart + int64(s)
		w.put("up", 1)
		w.lane("logs", 0, 0, float64(end(s)), float64(read))
		w.s.Evaluate(t.Context(), unix(w.now))
		p := w.page("logs")
		if s < 300 || p.Lag.Seconds == nil {
			continue
		}
		e := math.Abs(*p.Lag.Seconds - (float64(s) - when(read)))
		if asked++; p.Lag.Bound == nil || e > *p.Lag.Bound {
			t.Errorf("t+%d: error %g s, stated bound %v", s, e, orNil(p.Lag.Bound))
		}
		worst = math.Max(worst, e)
	}
	if worst > 10 || asked < 100 {
		t.Errorf("largest error %g s of %d, want at most 10", worst, asked)
	}
}

// inTen tells whether a record belongs to the ten windows that the figures are of.
func inTen(i int64) bool { return i >= 60_000 && i < 660_000 }
