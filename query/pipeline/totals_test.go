package pipeline

import (
	"context"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/ledger"
	"github.com/weirhq/weir/query/pipeline/losses"
	"github.com/weirhq/weir/store"
)

// value is the newest sample of a series in the fake store.
func (d *demo) value(name string, ls ...string) float64 {
	d.t.Helper()
	s := d.e.series[string(labels.FromStrings(append([]string{model.MetricNameLabel, name}, ls...)...).Bytes(nil))]
	if s == nil {
		d.t.Fatalf("no series %s %v", name, ls)
	}
	return s.v[len(s.v)-1]
}

func TestLedgerSeries(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.declare(ordersDecl("map", "enriched", "", 0), 0)
	d.run(64)
	d.drop = true
	d.run(50)
	d.drop = false
	d.run(66)
	p := []string{"pipeline", "orders"}
	lost := float64(total(d.dropped))
	if v := d.value(seriesLost, append([]string{"edge", "enrich"}, p...)...); v != lost {
		t.Errorf("lost %g of %g", v, lost)
	}
	if v := d.value(seriesSurplus, append([]string{"edge", "enrich"}, p...)...); v != 0 {
		t.Errorf("surplus %g", v)
	}
	settled := map[string]float64{}
	expected, arrived := 0.0, 0.0
	for k, v := range d.e.verdicts {
		if v.Settled {
			settled[v.State]++
		}
		if k.Kind == store.EdgeTransport && k.From == "producer" && v.Settled && v.State != flow.Unknown {
			expected += float64(v.Up)
		}
		if v.Settled {
			arrived -= float64(v.Lost)
		}
	}
	arrived += expected
	for state, n := range settled {
		if v := d.value(seriesVerdicts, append(p, "state", state)...); v < n || v > n+2 {
			t.Errorf("%s: %g, want %g", state, v, n)
		}
	}
	ratio := d.value(seriesCompleteness, p...)
	if math.Abs(ratio-arrived/expected) > 1e-4 {
		t.Errorf("completeness %g, want %g", ratio, arrived/expected)
	}
	// 0.999 is declared; all of this lies within every window but the shortest ones.
	for _, w := range []string{"1h", "6h"} {
		if v := d.value(seriesBurn, append(p, "window", w)...); math.Abs(v-(1-ratio)/0.001) > 0.2 {
			t.Errorf("burn rate over %s: %g, completeness %g", w, v, ratio)
		}
	}
	if v := d.value(seriesSLOLag, p...); v != 30 {
		t.Errorf("objective %g", v)
	}
	if v := d.value(seriesSLOComplete, p...); v != 0.999 {
		t.Errorf("objective %g", v)
	}
	// A restart is no loss.
	before := d.value(seriesVerdicts, append(p, "state", flow.OK)...)
	d.s = New(demoConfig(), d.e, slog.New(slog.DiscardHandler), metrics.NewSet(), Extras{})
	d.run(12)
	if v := d.value(seriesLost, append([]string{"edge", "enrich"}, p...)...); v != lost {
		t.Errorf("after a restart: lost %g of %g", v, lost)
	}
	if v := d.value(seriesVerdicts, append(p, "state", flow.OK)...); v < before || v > before+8 {
		t.Errorf("after a restart: %g verdicts, before %g", v, before)
	}
}

// The day of a balance in brief says what the verdicts say, also after a restart and revisions.
func TestDayIsWhatTheVerdictsSay(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.run(65)
	d.drop = true
	d.run(40)
	d.drop = false
	d.run(400)
	const cellWidth = 300
	check := func(when string) {
		t.Helper()
		tn := d.s.tenant(store.DefaultTenant)
		tn.mu.Lock()
		defer tn.mu.Unlock()
		var day answer.Loss
		tn.ledger.Day(&day, answer.LossQuery{From: time.Unix(d.now-86400, 0), To: time.Unix(d.now+60, 0)}, nil)
		shown := map[store.VerdictKey]map[int64]string{} // states by cell of five minutes
		for _, r := range day.Rows {
			k, _ := losses.KeyOf(r.ID)
			shown[k] = map[int64]string{}
			for _, c := range r.Ribbon {
				shown[k][c.Window/cellWidth] = c.State
			}
		}
		for b := range tn.ledger.All() {
			var want ledger.Sums
			worst := map[int64]string{}
			for k, v := range d.e.verdicts {
				if k.Window, k.Width = 0, 0; k != b.Key || !v.Settled {
					continue
				}
				want.Up, want.Down, want.Lost, want.Surplus = want.Up+v.Up, want.Down+v.Down, want.Lost+v.Lost, want.Surplus+v.Surplus
				if v.State == flow.Unknown {
					want.Unknown += v.Up
				}
				if c := v.Window / cellWidth; worst[c] == "" || flow.Severity(v.State) > flow.Severity(worst[c]) {
					worst[c] = v.State
				}
			}
			if got := b.Over(0, d.now); got != want {
				t.Errorf("%s: %s: %+v, want %+v", when, losses.Where(b.Key), got, want)
			}
			for c, state := range worst {
				if shown[b.Key][c] != state {
					t.Errorf("%s: %s: cell %d shows %s, want %s", when, losses.Where(b.Key), c, shown[b.Key][c], state)
				}
			}
		}
	}
	check("running")
	d.now += 2 * 3600 // everything is older than what a start reads at once
	d.s = New(demoConfig(), d.e, slog.New(slog.DiscardHandler), metrics.NewSet(), Extras{})
	d.run(8)
	check("after a start")
	q := answer.LossQuery{From: time.Unix(d.now-86400, 0), To: time.Unix(d.now, 0)}
	var day answer.Loss
	d.s.tenant(store.DefaultTenant).ledger.Day(&day, q, nil)
	r := day.Rows
	if len(r) != 4 || r[0].Where != "enrich" || r[0].Lost != total(d.dropped) || r[0].Class != "dropped in stage" || r[0].Verdict != flow.Loss || r[0].Share == nil || r[0].Incident == "" || len(r[0].Ribbon) < 2 {
		t.Errorf("%+v", r)
	}
	l, err := d.s.Loss(context.Background(), store.DefaultTenant, time.Unix(d.now-86400, 0), time.Unix(d.now, 0), "")
	if err != nil {
		t.Fatal(err)
	}
	for i := range l.Rows {
		if l.Rows[i].ID != r[i].ID || l.Rows[i].Lost != r[i].Lost || l.Rows[i].Verdict != r[i].Verdict || l.Rows[i].Incident != r[i].Incident || (l.Rows[i].Since == nil) != (r[i].Since == nil) {
			t.Errorf("from the store %+v\nfrom memory %+v", l.Rows[i], r[i])
		}
	}
}
