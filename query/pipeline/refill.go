package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/query/flow"
)

// The stored end offsets are the table of offsets and times; memory holds a few hours of it. Where a group is further behind, older
// polls are read back, day by day until its position is met: those with the largest backlog first, a few at a time.
const (
	refillEvery = 600_000         // milliseconds until a partition is tried again
	refillBack  = 15 * 86_400_000 // milliseconds
	refillDay   = 86_400_000
	maxRefills  = 8 // partitions in one evaluation
)

type refillJob struct {
	q  *queue
	p  *partition
	to float64 // offset to be met
	by float64 // backlog
}

// refill completes the tables of partitions whose lag is only known to be "at least".
func (t *tenant) refill(ctx context.Context, now int64) error {
	jobs := map[*partition]refillJob{}
	for _, q := range t.broker.queues {
		for _, r := range q.readings {
			if !r.lag.known || !r.lag.lag.Known || !math.IsInf(r.lag.lag.Bound, 0) {
				continue
			}
			for _, s := range r.seats {
				if !s.m.lag.Known || !math.IsInf(s.m.lag.Bound, 0) || now-s.p.filledAt < refillEvery {
					continue
				}
				j, ok := jobs[s.p]
				if !ok {
					j = refillJob{q: q, p: s.p, to: math.Inf(1)}
				}
				j.to, j.by = math.Min(j.to, math.Max(s.m.committed.v, s.p.start.v)), math.Max(j.by, s.m.records)
				jobs[s.p] = j
			}
		}
	}
	if len(jobs) == 0 {
		return nil
	}
	list := make([]refillJob, 0, len(jobs))
	for _, j := range jobs {
		list = append(list, j)
	}
	slices.SortFunc(list, func(a, b refillJob) int { return -cmp.Compare(a.by, b.by) })
	for _, j := range list[:min(len(list), maxRefills)] {
		if err := t.refillOne(ctx, j, now); err != nil {
			return err
		}
	}
	return nil
}

func (t *tenant) refillOne(ctx context.Context, j refillJob, now int64) error {
	first, ok := j.p.End.First()
	if !ok {
		return nil
	}
	j.p.filledAt = now
	ms := []*labels.Matcher{
		labels.MustNewMatcher(labels.MatchEqual, "system", j.q.system), labels.MustNewMatcher(labels.MatchEqual, "cluster", j.q.cluster),
		labels.MustNewMatcher(labels.MatchEqual, "destination", j.q.destination), labels.MustNewMatcher(labels.MatchEqual, "partition", j.p.Name),
	}
	oldest := max(now-refillBack, j.q.since)
	var days [][]flow.Point // newest first
	for to := first.T - 1; to > oldest; to -= refillDay {
		from := max(to-refillDay+1, oldest)
		points, err := t.stored(ctx, from, to, ms)
		if err != nil {
			return fmt.Errorf("cannot read the past of %s partition %s: %w", j.q.destination, j.p.Name, err)
		}
		days = append(days, points)
		if len(points) > 0 && float64(points[0].V) <= j.to {
			break
		}
	}
	var older []flow.Point
	for _, d := range slices.Backward(days) {
		older = append(older, d...)
	}
	j.p.End.Backfill(older, now)
	return nil
}

// stored reads the polls of one partition's end, oldest first.
func (t *tenant) stored(ctx context.Context, from, to int64, ms []*labels.Matcher) ([]flow.Point, error) {
	q, err := t.s.engine.Metrics().Querier(t.id, from, to)
	if err != nil {
		return nil, err
	}
	defer func() { _ = q.Close() }()
	var out []flow.Point
	series := 0
	err = each(ctx, q, figures[figEnd], func(labels.Labels) bool { series++; return true }, func(at int64, v float64) {
		if v >= 0 && v <= 1<<53 {
			out = append(out, flow.Point{T: at, V: int64(v)})
		}
	}, ms...)
	if series > 1 { // several collectors one after the other
		slices.SortStableFunc(out, func(a, b flow.Point) int { return cmp.Compare(a.T, b.T) })
	}
	return out, err
}
