package brokers

import (
	"context"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/weirhq/weir/query/series"
)

// Querier opens the store for a stretch of time, Unix milliseconds.
type Querier func(from, to int64) (storage.Querier, error)

// many is how many broker series are too many to be read when no broker was polled anew.
const many = 20_000

// Read takes in new polls up to now, Unix milliseconds, and says what changed at the brokers in sentences. Samples may come a little
// late; every half minute a longer stretch is looked at again. written is the time of the oldest sample that was written late on
// purpose since the last Read; 0 = none.
func (b *Book) Read(ctx context.Context, open Querier, now, written int64) (changes []string, err error) {
	from := max(b.until-10_000, now-3_600_000)
	again := int64(30_000)
	if len(b.series) > many {
		again = 120_000
	}
	wide := now-b.wide > again
	if wide {
		from = max(min(from, b.until-300_000), now-3_600_000)
	}
	if written > 0 {
		from = min(from, written-1)
	}
	q, err := open(from, now)
	if err != nil {
		return nil, fmt.Errorf("cannot read broker series: %w", err)
	}
	defer func() { _ = q.Close() }()
	r := reader{b: b, touched: map[*Partition]struct{}{}}
	polled := b.polled
	if err := r.read(ctx, q, figUp); err != nil {
		return nil, err
	}
	// With very many series only what was polled anew is read, at once and once more for what came late.
	if len(b.series) > many && !wide && b.polled == polled && now-b.read < 5000 {
		return nil, nil
	}
	if wide {
		b.wide = now
		b.prune(now, b.options.Forget.Milliseconds())
	}
	for fig := range figures {
		if fig == figUp {
			continue
		}
		if err := r.read(ctx, q, fig); err != nil {
			return nil, err
		}
	}
	b.compute(r.touched, now)
	b.until, b.read = now, now
	changes, b.notes = b.notes, nil
	return changes, nil
}

// reader hands samples of one Read to the book.
type reader struct {
	b       *Book
	touched map[*Partition]struct{}
}

func (r *reader) read(ctx context.Context, q storage.Querier, fig int) error {
	b := r.b
	var tg *target
	err := series.Each(ctx, q, figures[fig], func(ls labels.Labels) bool {
		tg = b.target(fig, ls)
		return tg != nil
	}, func(at int64, v float64) {
		if at <= tg.last {
			return
		}
		tg.last = at
		if v < 0 || math.IsInf(v, 0) || v > 1<<53 { // no count of records
			b.options.Absurd.Inc()
			return
		}
		if tg.q != nil && fig != figInfo && fig != figDiscarded && (at < tg.q.since || !tg.q.owns(tg.node, at, fig == figEnd || fig == figMessages)) {
			return
		}
		tg.take(b, at, v)
		if tg.p != nil {
			r.touched[tg.p] = struct{}{}
		}
	})
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", figures[fig], err)
	}
	return nil
}

// compute brings what was touched up to its newest poll.
func (b *Book) compute(touched map[*Partition]struct{}, now int64) {
	if len(touched) == 0 {
		return
	}
	b.version++
	queues := map[*Queue]struct{}{}
	for p := range touched {
		for _, pos := range p.groups {
			n := len(pos.events)
			if pos.onlyWaits(p) || pos.compute(p) {
				pos.r.stale = true
				queues[pos.r.Queue] = struct{}{}
			}
			if len(pos.events) != n {
				b.found = now
			}
		}
	}
	for q := range queues {
		for _, r := range q.readings {
			if r.stale {
				r.compute()
				q.version = b.version
			}
		}
	}
}
