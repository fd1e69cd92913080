package pipeline

import (
	"context"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/store"
	"github.com/weirhq/weir/store/local"
)

// Thirteen days of polls in a real store, another process: a group nine days behind has the right lag with its bound,
// and one that is behind what is stored is said to be at least that late.
func TestLagOfNineDaysAfterRestart(t *testing.T) {
	const day, poll = 86_400, 10
	cfg := local.DefaultConfig()
	cfg.Dir = t.TempDir()
	log := slog.New(slog.DiscardHandler)
	open := func() *local.Engine {
		e, err := local.Open(t.Context(), cfg, log, metrics.NewSet())
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	now := time.Now().Unix() / poll * poll
	begin := now - 13*day
	// 50 records a second on average, by day and by night.
	end := func(at int64) float64 {
		x := float64(at - begin)
		return 1_000_000 + math.Floor(50*x+0.9*50*day/(2*math.Pi)*(1-math.Cos(2*math.Pi*x/day)))
	}
	e := open()
	add := func(from, to int64) {
		t.Helper()
		groups := map[string]float64{"behind": end(now-9*day) + 0.5, "at end": 0, "lost": 10}
		b := store.MetricBatch{}
		symbol := func(s string) uint32 { b.Symbols = append(b.Symbols, s); return uint32(len(b.Symbols) - 1) }
		series := func(ls ...string) *store.BatchSeries {
			var refs []uint32
			for _, s := range ls {
				refs = append(refs, symbol(s))
			}
			b.Series = append(b.Series, store.BatchSeries{LabelRefs: refs})
			return &b.Series[len(b.Series)-1]
		}
		ends := series("__name__", "weir_broker_end_offset", "cluster", "c", "destination", "orders", "node", "n1", "partition", "0", "system", "kafka")
		for at := from; at <= to; at += poll {
			ends.Samples = append(ends.Samples, store.Sample{T: at * 1000, V: end(at)})
		}
		for g, v := range groups {
			s := series("__name__", "weir_broker_committed_offset", "cluster", "c", "destination", "orders", "group", g, "node", "n1", "partition", "0", "system", "kafka")
			for at := max(from, to-7200); at <= to; at += poll {
				if g == "at end" {
					v = end(at)
				}
				s.Samples = append(s.Samples, store.Sample{T: at * 1000, V: v})
			}
		}
		if r, err := e.Metrics().Append(context.Background(), store.DefaultTenant, &b); err != nil || len(r.Rejected) > 0 {
			t.Fatalf("%+v %v", r, err)
		}
	}
	for from := begin; from < now; from += day {
		add(from, min(from+day-poll, now))
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open()
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	s := New(DefaultConfig(), e, log, metrics.NewSet(), Extras{})
	s.Evaluate(t.Context(), time.Unix(now+1, 0))
	rows := func() map[string]answer.GroupRow {
		g, err := s.Groups(t.Context(), store.DefaultTenant, answer.GroupQuery{})
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]answer.GroupRow{}
		for _, r := range g.Groups {
			out[r.Group] = r
		}
		return out
	}
	if r := rows()["behind"]; r.Lag.Seconds == nil || r.Lag.Bound != nil || *r.Lag.Seconds > 3700 {
		t.Errorf("until the past is read, at least an hour: %+v", r.Lag)
	}
	add(now+poll, now+poll)
	began := time.Now()
	s.Evaluate(t.Context(), time.Unix(now+poll+1, 0))
	t.Logf("the next evaluation took %s", time.Since(began).Round(time.Millisecond))
	add(now+2*poll, now+2*poll)
	s.Evaluate(t.Context(), time.Unix(now+2*poll+1, 0))
	r := rows()
	truth := float64(9*day + 2*poll)
	if l := r["behind"].Lag; l.Seconds == nil || l.Bound == nil || *l.Bound > 600 || math.Abs(*l.Seconds-truth) > *l.Bound {
		t.Errorf("%+v: %v ± %v, truth %g", l, l.Seconds, l.Bound, truth)
	} else {
		t.Logf("%.1f s ± %.0f s, truth %.0f s", *l.Seconds, *l.Bound, truth)
	}
	if l := r["at end"].Lag; l.Seconds == nil || *l.Seconds != 0 {
		t.Errorf("%+v", l)
	}
	if l := r["lost"].Lag; l.Seconds == nil || l.Bound != nil || *l.Seconds < 13*day-3600 {
		t.Errorf("at least thirteen days: %+v", l)
	}
	if n := s.tenant(store.DefaultTenant).broker.QueueFor("orders", "").Partition("0").End.Len(); n > 5000 {
		t.Errorf("%d points", n)
	}
}
