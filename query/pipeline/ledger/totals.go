package ledger

import (
	"context"
	"fmt"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/query/pipeline/losses"
	"github.com/weirhq/weir/query/series"
	"github.com/weirhq/weir/store"
)

// Series of Totals, by pipeline and edge, and of Counted, by pipeline and state, in which they go on after a restart.
const (
	SeriesLost     = "weir_pipeline_lost_total"
	SeriesSurplus  = "weir_pipeline_surplus_total"
	SeriesVerdicts = "weir_pipeline_verdicts_total"
)

// loadTotals lets totals go on where an earlier process ended, so that a restart is no loss in PromQL. recent are the
// verdicts of the last hour: what was settled after the last sample is not in it.
func (l *Ledger) loadTotals(ctx context.Context, now int64, recent []store.Verdict) error {
	q, err := l.engine.Metrics().Querier(l.tenant, now-900_000, now)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", SeriesLost, err)
	}
	defer func() { _ = q.Close() }()
	byEdge := map[[2]string]*Balance{}
	for k, b := range l.balances {
		byEdge[[2]string{k.Pipeline, losses.Where(k)}] = b
	}
	lastAt := map[string]int64{}
	for name, put := range map[string]func(*Balance, float64){
		SeriesLost:    func(b *Balance, v float64) { b.total = v },
		SeriesSurplus: func(b *Balance, v float64) { b.surplus = v },
	} {
		var b *Balance
		err := series.Each(ctx, q, name, func(ls labels.Labels) bool {
			b = byEdge[[2]string{ls.Get("pipeline"), ls.Get("edge")}]
			return b != nil
		}, func(at int64, v float64) {
			put(b, v)
			lastAt[b.Key.Pipeline] = max(lastAt[b.Key.Pipeline], at)
		})
		if err != nil {
			return fmt.Errorf("cannot read %s: %w", name, err)
		}
	}
	var m map[string]float64
	var state string
	err = series.Each(ctx, q, SeriesVerdicts, func(ls labels.Labels) bool {
		id := ls.Get("pipeline")
		if m = l.counted[id]; m == nil {
			m = map[string]float64{}
			l.counted[id] = m
		}
		state = ls.Get("state")
		return state != ""
	}, func(_ int64, v float64) { m[state] = v })
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", SeriesVerdicts, err)
	}
	for i := range recent {
		v := &recent[i]
		if at := lastAt[v.Pipeline]; at > 0 && v.SettledAt > at {
			b := l.balance(v.VerdictKey)
			h := b.hour[v.Window]
			h.toldLost, h.toldSurplus = 0, 0
			b.hour[v.Window] = h
			l.count(b, &store.Verdict{}, v)
		}
	}
	return nil
}

// Counted are how many verdicts were ever settled, by pipeline and state: they never fall. Not to be changed.
func (l *Ledger) Counted() map[string]map[string]float64 { return l.counted }

// SettledTo is the start of the newest settled window of a pipeline in the last hour, Unix seconds; 0 for none.
func (l *Ledger) SettledTo(pipeline string) (window int64) {
	for _, b := range l.byPipe[pipeline] {
		for w := range b.hour {
			window = max(window, w)
		}
	}
	return window
}
