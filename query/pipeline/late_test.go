package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// direct is a pipeline of a source and a sink without a broker, on any engine: 600 records per window of a minute.
type direct struct {
	t     *testing.T
	e     store.Engine
	s     *Service
	now   int64
	start int64
	seq   uint64
	late  int64 // how long after their window the last records came, milliseconds
}

func newDirect(t *testing.T, e store.Engine) *direct {
	t.Helper()
	start := time.Now().Add(-4*time.Hour).Unix() / 60 * 60
	d := &direct{t: t, e: e, now: start, start: start}
	d.restart()
	return d
}

func (d *direct) restart() {
	c := DefaultConfig()
	c.MaxLatency = 10 * time.Second
	d.s = New(c, d.e, slog.New(slog.DiscardHandler), metrics.NewSet(), Extras{})
}

func (d *direct) count(w int64, stage string, dir cell.Dir, group string, n uint64, instance string) {
	d.t.Helper()
	d.seq++
	b := cell.Batch{Auditor: d.auditor()}
	b.Cells = append(b.Cells, cell.Cell{
		Key:      cell.Key{Pipeline: "p", Stage: stage, Dir: dir, Destination: "d", Group: group, Window: w, Width: 60},
		Instance: "n/" + instance, Node: "n", Epoch: d.start * 1000, Seq: d.seq, Counts: cell.Counts{N: n, MaxTS: w*1000 + 59_000, LateMax: d.late},
	})
	if err := d.e.Ledger().PutCells(context.Background(), store.DefaultTenant, b); err != nil {
		d.t.Fatal(err)
	}
}

func (d *direct) auditor() cell.Auditor {
	return cell.Auditor{Node: "n", Epoch: d.start * 1000, Seq: d.seq, At: d.now * 1000, FlushMS: 10_000}
}

// minute counts one window and lets its time pass.
func (d *direct) minute(lost uint64) {
	w := d.now
	d.count(w, "source", cell.Out, "", 600, "a")
	d.count(w, "sink", cell.In, "g", 600-lost, "b")
	d.pass(60)
}

func (d *direct) pass(seconds int64) {
	for range seconds / 10 {
		d.now += 10
		d.seq++
		if err := d.e.Ledger().PutCells(context.Background(), store.DefaultTenant, cell.Batch{Auditor: d.auditor()}); err != nil {
			d.t.Fatal(err)
		}
		d.s.Evaluate(context.Background(), time.Unix(d.now, 0))
	}
}

func (d *direct) verdict(w int64) store.Verdict {
	d.t.Helper()
	vs, err := d.e.Ledger().Verdicts(context.Background(), store.DefaultTenant, store.VerdictQuery{Pipeline: "p", From: time.Unix(w, 0), To: time.Unix(w+1, 0)})
	if err != nil || len(vs) != 1 {
		d.t.Fatalf("%d verdicts, %v", len(vs), err)
	}
	return vs[0]
}

// whys wants that each window tells what its own verdict rests on.
func (d *direct) whys(w int64, row string) {
	d.t.Helper()
	det, err := d.s.LossDetail(context.Background(), store.DefaultTenant, row, time.Unix(d.start, 0), time.Unix(d.now, 0))
	if err != nil {
		d.t.Fatal(err)
	}
	told := 0
	for _, x := range det.Windows {
		want := map[int64]string{w: "100 (", w + 60: "50 ("}[x.Window]
		switch {
		case x.Verdict == flow.OK || x.Verdict == flow.InFlight:
			if x.Why != nil {
				d.t.Errorf("window %d is %s because of %+v", x.Window, x.Verdict, x.Why)
			}
		case x.Why == nil || !strings.Contains(strings.Join(x.Why.Reasons, " "), want):
			d.t.Errorf("window %d: %+v, want %q", x.Window, x.Why, want)
		default:
			told++
		}
	}
	if told != 2 {
		d.t.Errorf("%d windows say why", told)
	}
}

// Counts that come hours later revise the verdict, lower the loss and end the incident; after a restart as well.
func TestLateCountsReviseVerdicts(t *testing.T) {
	engines := map[string]func(t *testing.T) store.Engine{
		"memory": func(*testing.T) store.Engine { return newFake() },
		"disk": func(t *testing.T) store.Engine {
			t.Helper()
			e, stop := onDisk(t, t.TempDir())
			t.Cleanup(stop)
			return e
		},
	}
	for name, open := range engines {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " restart ", restart), func(t *testing.T) {
				d := newDirect(t, open(t))
				for range 3 {
					d.minute(0)
				}
				w := d.now
				d.minute(100)
				d.minute(50)
				for range 5 {
					d.minute(0)
				}
				if v := d.verdict(w); v.State != flow.Loss || v.Lost != 100 || !v.Settled {
					t.Fatalf("%+v", v)
				}
				l, err := d.s.Incidents(context.Background(), store.DefaultTenant, time.Unix(d.start, 0), time.Unix(d.now, 0), "", 10)
				if err != nil || len(l.Incidents) != 1 || l.Incidents[0].Lost != 150 {
					t.Fatalf("%+v %v", l, err)
				}
				id := l.Incidents[0].ID
				d.whys(w, l.Incidents[0].Row.ID)
				for range 60 { // an hour goes by
					d.minute(0)
				}
				if restart {
					d.restart()
					d.pass(20)
				}
				d.count(w, "sink", cell.In, "g", 100, "late")
				d.pass(60)
				v := d.verdict(w)
				// After the first verdict: LATE, then LOSS, then OK again.
				if v.State != flow.OK || v.Lost != 0 || v.Revision != 3 || v.Down != 600 || !v.Settled {
					t.Errorf("%+v", v)
				}
				p, err := d.s.Pipeline(context.Background(), store.DefaultTenant, "p")
				if err != nil || p.Lost24h != 50 {
					t.Errorf("lost %d, %v", p.Lost24h, err)
				}
				det, err := d.s.Incident(context.Background(), store.DefaultTenant, id)
				if err != nil || det.Lost != 50 || det.From != w+60 {
					t.Errorf("%d lost from %d, %v", det.Lost, det.From, err)
				}
				d.count(w+60, "sink", cell.In, "g", 50, "late")
				d.pass(60)
				if p, err = d.s.Pipeline(context.Background(), store.DefaultTenant, "p"); err != nil || p.Lost24h != 0 {
					t.Errorf("lost %d, %v", p.Lost24h, err)
				}
				if _, err := d.s.Incident(context.Background(), store.DefaultTenant, id); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("the incident is over: %v", err)
				}
				// More than was missing: the surplus is told, too.
				d.count(w+60, "sink", cell.In, "g", 70, "late")
				d.pass(60)
				if v := d.verdict(w + 60); v.State != flow.Duplicates || v.Surplus != 20 {
					t.Errorf("%+v", v)
				}
				if n := len(d.s.tenant(store.DefaultTenant).late.windows); n != 0 {
					t.Errorf("%d pipelines still have late windows", n)
				}
			})
		}
	}
}

// What spans alone count of a stage is there, too, when a window is judged once more.
func TestLateCountsBesideSpans(t *testing.T) {
	d := newDirect(t, newFake())
	var w int64
	for i := range 46 {
		if i == 5 {
			w = d.now
		}
		d.count(d.now, "source", cell.Out, "", 600, "a")
		d.count(d.now, "sink", cell.SpanIn, "g", 600, "b")
		d.pass(60)
	}
	if v := d.verdict(w); v.State != flow.OK || v.Up != 600 || v.Down != 600 {
		t.Fatalf("%+v", v)
	}
	d.count(w, "source", cell.Out, "", 1, "late")
	d.pass(120)
	if v := d.verdict(w); v.Down != 600 || v.Lost > 1 {
		t.Errorf("%+v", v)
	}
}
