package spans

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/series"
)

type (
	count struct {
		at int64
		v  float64
	}
	// gap is a time in which weir's own way for spans lost some.
	gap struct {
		from, to int64 // Unix milliseconds
		text     string
	}
)

// readGaps finds when collectors' spools had to drop spans, and when records of a spool never arrived.
func (b *Book) readGaps(ctx context.Context, now int64) error {
	from := now - 3*readEvery - 60_000
	if len(b.gapAt) == 0 {
		from = now - memory*1000
	}
	q, err := b.engine.Metrics().Querier(b.tenant, from, now)
	if err != nil {
		return fmt.Errorf("cannot read the drops of spools: %w", err)
	}
	defer func() { _ = q.Close() }()
	key, node := "", ""
	err = series.Each(ctx, q, "weir_spool_dropped_items_total", func(ls labels.Labels) bool {
		key, node = ls.String(), ls.Get("node")
		return true
	}, func(at int64, v float64) { b.dropped(key, node, at, v) }, labels.MustNewMatcher(labels.MatchEqual, "signal", "spans"))
	if err != nil {
		return fmt.Errorf("cannot read the drops of spools: %w", err)
	}
	for _, c := range b.collectors() {
		k := "gaps of " + c.Node
		if last, ok := b.gapAt[k]; ok && float64(c.Gaps) > last.v {
			b.gap(last.at-120_000, now, fmt.Sprintf("%s records of the collector of %s never arrived; there may be spans among them.", flow.Count(c.Gaps-int64(last.v)), c.Node))
		}
		b.gapAt[k] = count{now, float64(c.Gaps)}
	}
	b.forget(now)
	return nil
}

// dropped takes a sample of what a spool had to drop since its collector began.
func (b *Book) dropped(key, node string, at int64, v float64) {
	last, ok := b.gapAt[key]
	if ok && at <= last.at {
		return
	}
	b.gapAt[key] = count{at, v}
	d := v - last.v
	if d < 0 {
		d = v // its collector began anew
	}
	if ok && d > 0 {
		b.gap(last.at-60_000, at, fmt.Sprintf("The collector of %s had to drop %s spans.", node, flow.Count(int64(d))))
	}
}

// forget drops gaps that no window remembered lies in, and counters that nobody tells any more.
func (b *Book) forget(now int64) {
	b.gaps = slices.DeleteFunc(b.gaps, func(g gap) bool { return g.to < now-2*memory*1000 })
	maps.DeleteFunc(b.gapAt, func(_ string, c count) bool { return c.at < now-3_600_000 })
}

// gap notes a gap; beyond the bound it takes the place of the one that ended first.
func (b *Book) gap(from, to int64, text string) {
	if len(b.gaps) >= maxGaps {
		b.over.Inc()
		oldest := 0
		for i := range b.gaps {
			if b.gaps[i].to < b.gaps[oldest].to {
				oldest = i
			}
		}
		b.gaps = slices.Delete(b.gaps, oldest, oldest+1)
	}
	b.gaps = append(b.gaps, gap{from, to, text})
}

// LostIn says in sentences why spans of a window may be missing through weir's own fault.
func (b *Book) LostIn(w flow.Window, r flow.SpanRules) []string {
	var out []string
	for _, g := range b.gaps {
		if g.to >= w.Start*1000 && g.from <= w.End()*1000+r.Mature && len(out) < 5 {
			out = append(out, g.text)
		}
	}
	return out
}
