package pipeline

import (
	"strings"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/ledger"
	"github.com/weirhq/weir/query/pipeline/losses"
	"github.com/weirhq/weir/store"
)

// Series about what was lost, and how much of the objective that uses up.
const (
	seriesLost         = ledger.SeriesLost
	seriesSurplus      = ledger.SeriesSurplus
	seriesVerdicts     = ledger.SeriesVerdicts
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

// completed is the share of records that arrived, of those the sources put out in windows that are settled and can be
// judged; ok is false where there are none. now and since are Unix seconds.
func (t *tenant) completed(p *pipe, since, now int64) (share float64, ok bool) {
	var lost, expected int64
	for _, b := range t.ledger.Of(p.id) {
		s := b.Over(since, now)
		lost += s.Lost
		if b.Key.Kind == store.EdgeTransport && t.fromSource(p, b.Key.From) {
			expected += s.Up - s.Unknown
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

// appendLedger adds the series about losses and objectives.
func (t *tenant) appendLedger(b *batch, now int64) {
	for bk := range t.ledger.All() {
		lost, surplus := bk.Totals()
		b.add(seriesLost, &lost, "edge", losses.Where(bk.Key), "pipeline", bk.Key.Pipeline)
		b.add(seriesSurplus, &surplus, "edge", losses.Where(bk.Key), "pipeline", bk.Key.Pipeline)
	}
	for id, m := range t.ledger.Counted() {
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
		newest := t.ledger.SettledTo(id)
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
