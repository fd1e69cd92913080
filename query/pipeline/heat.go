package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/series"
	"github.com/weirhq/weir/store"
)

// maxHeat is how many partitions a heat strip shows, maxCells how many cells.
const (
	maxHeat  = 500
	maxCells = 1_000_000
)

// Heat answers the backlog of each partition over time from the polls that are stored. At each step the newest poll counts that is not
// older than a step or a minute.
func (s *Service) Heat(ctx context.Context, id store.Tenant, pipeline, destination, group string, from, to time.Time, step time.Duration) (answer.PartitionHeat, error) {
	v, err := s.viewOf(ctx, id)
	if err != nil {
		return answer.PartitionHeat{}, err
	}
	if v.pages[pipeline] == nil {
		return answer.PartitionHeat{}, fmt.Errorf("cannot find pipeline %q: %w", pipeline, store.ErrNotFound)
	}
	h := answer.PartitionHeat{Destination: destination, Group: group, From: from.UnixMilli(), To: to.UnixMilli(), Step: step.Milliseconds(), Partitions: []string{}, Backlog: [][]float64{}}
	if h.Step <= 0 || h.To < h.From || (h.To-h.From)/h.Step > 2000 {
		return h, fmt.Errorf("cannot draw %s to %s in steps of %s: choose a step above 0 that makes at most 2,000 columns: %w", from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339), step, store.ErrInvalid)
	}
	ms := []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "destination", destination)}
	for _, in := range v.parts[pipeline].inputs {
		if in.Destination == destination && in.Group == group {
			ms = append(ms, labels.MustNewMatcher(labels.MatchEqual, "system", in.System), labels.MustNewMatcher(labels.MatchEqual, "cluster", in.cluster))
			break
		}
	}
	ends, err := s.grid(ctx, id, &h, "weir_broker_end_offset", ms)
	if err != nil {
		return h, err
	}
	commits, err := s.grid(ctx, id, &h, "weir_broker_committed_offset", append(ms, labels.MustNewMatcher(labels.MatchEqual, "group", group)))
	if err != nil {
		return h, err
	}
	type strip struct {
		name    string
		backlog []float64
		most    float64
	}
	var strips []strip
	for name, c := range commits {
		e := ends[name]
		if e == nil {
			continue
		}
		x := strip{name: name, backlog: make([]float64, len(c))}
		for i := range c {
			if x.backlog[i] = -1; c[i] >= 0 && e[i] >= 0 {
				x.backlog[i] = math.Max(0, e[i]-c[i])
			}
			x.most = math.Max(x.most, x.backlog[i])
		}
		strips = append(strips, x)
	}
	slices.SortFunc(strips, func(a, b strip) int {
		return cmp.Or(-cmp.Compare(a.most, b.most), flow.ComparePartitions(a.name, b.name))
	})
	if len(strips) > maxHeat {
		h.Left, strips = len(strips)-maxHeat, strips[:maxHeat]
	}
	slices.SortFunc(strips, func(a, b strip) int { return flow.ComparePartitions(a.name, b.name) })
	for _, x := range strips {
		h.Partitions, h.Backlog = append(h.Partitions, x.name), append(h.Backlog, x.backlog)
		h.Max = math.Max(h.Max, x.most)
	}
	return h, nil
}

// grid reads a figure of all partitions at the steps of a heat strip; −1 where it is not known. Of two collectors the later sample counts.
func (s *Service) grid(ctx context.Context, id store.Tenant, h *answer.PartitionHeat, name string, ms []*labels.Matcher) (map[string][]float64, error) {
	valid := max(h.Step, 60_000)
	q, err := s.engine.Metrics().Querier(id, h.From-valid, h.To)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", name, err)
	}
	defer func() { _ = q.Close() }()
	n := int((h.To-h.From)/h.Step) + 1
	out := map[string][]float64{}
	times := map[string][]int64{}
	var vs []float64
	var ts []int64
	err = series.Each(ctx, q, name, func(ls labels.Labels) bool {
		p := ls.Get("partition")
		if vs, ts = out[p], times[p]; vs == nil {
			if (len(out)+1)*n > maxCells*4 {
				return false
			}
			vs, ts = make([]float64, n), make([]int64, n)
			for i := range vs {
				vs[i] = -1
			}
			out[p], times[p] = vs, ts
		}
		return true
	}, func(at int64, v float64) {
		for i := max(0, (at-h.From+h.Step-1)/h.Step); i < int64(n) && h.From+i*h.Step < at+valid; i++ {
			if at >= ts[i] {
				ts[i], vs[i] = at, v
			}
		}
	}, ms...)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", name, err)
	}
	return out, nil
}
