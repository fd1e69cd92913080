package pipeline

import (
	"context"
	"fmt"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/series"
	"github.com/weirhq/weir/store"
)

// Series about what was lost, and how much of the objective that uses up.
const (
	seriesLost         = "weir_pipeline_lost_total"
	seriesSurplus      = "weir_pipeline_surplus_total"
	seriesVerdicts     = "weir_pipeline_verdicts_total"
	seriesCompleteness = "weir_pipeline_completeness_ratio"
	seriesBurn         = "weir_pipeline_completeness_burn_rate"
	seriesSLOLag       = "weir_pipeline_slo_lag_seconds"
	seriesSLOFresh     = "weir_pipeline_slo_freshness_seconds"
	seriesSLOComplete  = "weir_pipeline_slo_completeness_ratio"
	seriesSLOLatency   = "weir_pipeline_slo_latency_p99_seconds"
)

// burnWindows are those of the usual pages: 14.4 times over 1 h and 5 min, 6 times over 6 h and 30 min.
var burnWindows = []struct {
	name    string
	seconds int64
}{{"5m", 300}, {"30m", 1800}, {"1h", 3600}, {"6h", 6 * 3600}}

// loadTotals lets totals go on where an earlier process ended, so that a restart is no loss in PromQL. recent are the
// verdicts of the last hour: what was settled after the last sample is not in it.
func (t *tenant) loadTotals(ctx context.Context, now int64, recent []store.Verdict) error {
	l := &t.ledger
	q, err := t.s.engine.Metrics().Querier(t.id, now-900_000, now)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", seriesLost, err)
	}
	defer func() { _ = q.Close() }()
	byEdge := map[[2]string]*book{}
	for k, b := range l.books {
		byEdge[[2]string{k.Pipeline, where(k)}] = b
	}
	lastAt := map[string]int64{}
	for name, put := range map[string]func(*book, float64){
		seriesLost:    func(b *book, v float64) { b.total = v },
		seriesSurplus: func(b *book, v float64) { b.surplus = v },
	} {
		var b *book
		err := series.Each(ctx, q, name, func(ls labels.Labels) bool {
			b = byEdge[[2]string{ls.Get("pipeline"), ls.Get("edge")}]
			return b != nil
		}, func(at int64, v float64) {
			put(b, v)
			lastAt[b.key.Pipeline] = max(lastAt[b.key.Pipeline], at)
		})
		if err != nil {
			return fmt.Errorf("cannot read %s: %w", name, err)
		}
	}
	var m map[string]float64
	var state string
	err = series.Each(ctx, q, seriesVerdicts, func(ls labels.Labels) bool {
		id := ls.Get("pipeline")
		if m = l.counted[id]; m == nil {
			m = map[string]float64{}
			l.counted[id] = m
		}
		state = ls.Get("state")
		return state != ""
	}, func(_ int64, v float64) { m[state] = v })
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", seriesVerdicts, err)
	}
	for i := range recent {
		v := &recent[i]
		if at := lastAt[v.Pipeline]; at > 0 && v.SettledAt > at {
			b := l.book(v.VerdictKey)
			h := b.hour[v.Window]
			h.toldLost, h.toldSurplus = 0, 0
			b.hour[v.Window] = h
			l.count(b, &store.Verdict{}, v)
		}
	}
	return nil
}

// completed is the share of records that arrived, of those the sources put out in windows that are settled and can be
// judged; ok is false where there are none. now and since are Unix seconds.
func (t *tenant) completed(p *pipe, since, now int64) (share float64, ok bool) {
	var lost, expected int64
	for _, b := range t.ledger.byPipe[p.id] {
		s := b.over(since, now)
		lost += s.lost
		if b.key.Kind == store.EdgeTransport && t.fromSource(p, b.key.From) {
			expected += s.up - s.unknown
		}
	}
	if expected <= 0 {
		return 0, false
	}
	return max(0, 1-float64(lost)/float64(expected)), true
}

func (t *tenant) fromSource(p *pipe, from string) bool {
	for name := range strings.SplitSeq(from, ",") {
		if st, ok := p.topo.Stage(name); ok && st.Kind == flow.KindSource {
			return true
		}
	}
	return false
}

// newestSettled is the end of the newest settled window of a pipeline, Unix seconds.
func (t *tenant) newestSettled(p *pipe) int64 {
	var end int64
	for _, b := range t.ledger.byPipe[p.id] {
		for w := range b.hour {
			end = max(end, w)
		}
	}
	return end
}

// appendLedger adds the series about losses and objectives.
func (t *tenant) appendLedger(b *batch, now int64) {
	for k, bk := range t.ledger.books {
		b.add(seriesLost, &bk.total, "edge", where(k), "pipeline", k.Pipeline)
		b.add(seriesSurplus, &bk.surplus, "edge", where(k), "pipeline", k.Pipeline)
	}
	for id, m := range t.ledger.counted {
		for state, n := range m {
			b.add(seriesVerdicts, &n, "pipeline", id, "state", state)
		}
	}
	for id, p := range t.pipes {
		lag, fresh := t.objective(id)
		b.add(seriesSLOLag, &lag, "pipeline", id)
		b.add(seriesSLOFresh, &fresh, "pipeline", id)
		slo := 0.0
		if doc := t.declared.Of(id); doc != nil {
			if slo = doc.SLO.Completeness; slo > 0 {
				b.add(seriesSLOComplete, &slo, "pipeline", id)
			}
			if s := doc.SLO.LatencyP99.Seconds(); s > 0 {
				b.add(seriesSLOLatency, &s, "pipeline", id)
			}
		}
		if share, ok := t.completed(p, now/1000-86400, now/1000); ok {
			b.add(seriesCompleteness, &share, "pipeline", id)
		}
		newest := t.newestSettled(p)
		if slo <= 0 || newest == 0 {
			continue
		}
		for _, w := range burnWindows {
			// The last window that is settled ends the span: what is still open is no evidence.
			if share, ok := t.completed(p, min(newest, now/1000)-w.seconds+1, now/1000); ok {
				burn := (1 - share) / (1 - slo)
				b.add(seriesBurn, &burn, "pipeline", id, "window", w.name)
			}
		}
	}
}
