package brokers

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/series"
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
	q  *Queue
	p  *Partition
	to float64 // offset to be met
	by float64 // backlog
}

// Refill completes the tables of partitions whose lag is only known to be "at least", from the store.
func (b *Book) Refill(ctx context.Context, open Querier, now int64) error {
	jobs := map[*Partition]refillJob{}
	for r := range b.Readings() {
		if !r.Lag.Known || !r.Lag.Time.Known || !math.IsInf(r.Lag.Time.Bound, 0) {
			continue
		}
		for _, s := range r.seats {
			if !s.pos.lag.Known || !math.IsInf(s.pos.lag.Bound, 0) || now-s.p.filledAt < refillEvery {
				continue
			}
			j, ok := jobs[s.p]
			if !ok {
				j = refillJob{q: r.Queue, p: s.p, to: math.Inf(1)}
			}
			j.to, j.by = math.Min(j.to, math.Max(s.pos.committed.v, s.p.start.v)), math.Max(j.by, s.pos.records)
			jobs[s.p] = j
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
		if err := j.refill(ctx, open, now); err != nil {
			return err
		}
	}
	return nil
}

func (j *refillJob) refill(ctx context.Context, open Querier, now int64) error {
	first, ok := j.p.End.First()
	if !ok {
		return nil
	}
	j.p.filledAt = now
	ms := []*labels.Matcher{
		labels.MustNewMatcher(labels.MatchEqual, "system", j.q.System), labels.MustNewMatcher(labels.MatchEqual, "cluster", j.q.Cluster),
		labels.MustNewMatcher(labels.MatchEqual, "destination", j.q.Destination), labels.MustNewMatcher(labels.MatchEqual, "partition", j.p.Name),
	}
	oldest := max(now-refillBack, j.q.since)
	var days [][]flow.Point // newest first
	for to := first.T - 1; to > oldest; to -= refillDay {
		from := max(to-refillDay+1, oldest)
		points, err := stored(ctx, open, from, to, ms)
		if err != nil {
			return fmt.Errorf("cannot read the past of %s partition %s: %w", j.q.Destination, j.p.Name, err)
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
func stored(ctx context.Context, open Querier, from, to int64, ms []*labels.Matcher) ([]flow.Point, error) {
	q, err := open(from, to)
	if err != nil {
		return nil, err
	}
	defer func() { _ = q.Close() }()
	var out []flow.Point
	n := 0
	err = series.Each(ctx, q, figures[figEnd], func(labels.Labels) bool { n++; return true }, func(at int64, v float64) {
		if v >= 0 && v <= 1<<53 {
			out = append(out, flow.Point{T: at, V: int64(v)})
		}
	}, ms...)
	if n > 1 { // several collectors one after the other
		slices.SortStableFunc(out, func(a, b flow.Point) int { return cmp.Compare(a.T, b.T) })
	}
	return out, err
}
