package pipeline

import (
	"context"
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/series"
)

// trouble is what is remembered of a pipeline that is late: when its backlog began to grow, and what flow is usual.
type trouble struct {
	stage    string
	input    flow.Input
	began    int64 // first evaluation in which the stage was stuck
	since    int64 // change point of the backlog; 0 = not known
	stalled  bool  // and that is when it last took something
	bandHigh float64
	bandOf   string
	read     int64 // when the store was last asked
}

// How often the store is asked about a pipeline that is late, and about how many in one evaluation.
const (
	troubleEvery = 60_000
	maxTroubles  = 20
)

// cause says why a stage holds the data up, from what is in memory.
func (t *tenant) cause(p *pipe, looks []stageLook, hops []flow.Hop, stuck flow.Stuck, now int64) *answer.Cause {
	i := slices.IndexFunc(looks, func(l stageLook) bool { return l.Name == stuck.Stage })
	if i < 0 {
		return nil
	}
	l := &looks[i]
	if p.trouble == nil || p.trouble.stage != stuck.Stage {
		p.trouble = &trouble{stage: stuck.Stage, input: l.input, began: now}
	}
	tr := p.trouble
	tr.input = l.input
	if l.worst != nil && (tr.since == 0 || tr.stalled != (l.lag.Stalled > 0)) {
		if since := l.worst.Began(now); since > 0 {
			tr.since, tr.stalled = since, l.lag.Stalled > 0
		}
	}
	services := t.servedBy(p, l.Name)
	c := flow.Circumstances{
		Hop: &hops[i], Stuck: stuck, Repeats: l.lag.Repeats, Use: t.useOf(services), In: l.lag.In,
		BandHigh: tr.bandHigh, BandOf: tr.bandOf, Held: l.lag.Held, Since: tr.since,
	}
	if l.worst != nil {
		info := l.worst.Info
		c.Members, c.GroupState, c.Stopped, c.Rebalances = info.Members(now), info.State(now), info.Stopped(now), info.Rebalances(now-600_000)
	}
	for _, d := range t.slowOf(p, l.Name, now) {
		c.Slow = append(c.Slow, flow.Slow{Name: d.Name, Share: d.Share, P99: d.P99})
	}
	if tr.since > 0 {
		for _, ch := range t.changesNear(p, tr.since-900_000, tr.since+120_000) {
			c.Changes = append(c.Changes, flow.Happened{At: ch.At, Text: ch.Text, Kind: ch.Kind})
		}
	}
	found := flow.CauseOf(c)
	out := &answer.Cause{Stage: stuck.Stage, Class: found.Class, Sentence: stuck.Sentence, Since: found.Since, Facts: orEmpty(found.Facts)}
	if found.Clause != "" {
		out.Sentence += " " + found.Clause
	}
	if b := found.Before; b != nil {
		out.Before = &answer.Change{At: b.At, Text: b.Text, Kind: b.Kind}
	}
	return out
}

// readTroubles asks the store about pipelines that are late: since when their backlog grows, where memory does not reach
// back that far, and what inflow is usual at this hour of the week.
func (t *tenant) readTroubles(ctx context.Context, now int64) error {
	n := 0
	for _, p := range t.pipes {
		tr := p.trouble
		if tr == nil {
			continue
		}
		if p.state != answer.Late && p.state != answer.Draining && p.state != answer.Losing {
			p.trouble = nil
			continue
		}
		if now-tr.read < troubleEvery {
			continue
		}
		if n++; n > maxTroubles {
			break
		}
		tr.read = now
		if err := t.readTrouble(ctx, p, tr, now); err != nil {
			return fmt.Errorf("cannot read the past of %q: %w", p.id, err)
		}
	}
	return nil
}

func (t *tenant) readTrouble(ctx context.Context, p *pipe, tr *trouble, now int64) error {
	only := labels.MustNewMatcher(labels.MatchEqual, "pipeline", p.id)
	if tr.since == 0 {
		q, err := t.s.engine.Metrics().Querier(t.id, now-24*3_600_000, now)
		if err != nil {
			return err
		}
		defer func() { _ = q.Close() }()
		var points []flow.XY
		err = series.Each(ctx, q, seriesMessages, func(labels.Labels) bool { return true }, func(at int64, v float64) {
			if x := float64(at / 1000); len(points) == 0 || x-points[len(points)-1].X >= 300 {
				points = append(points, flow.XY{X: x, Y: v})
			}
		}, only, labels.MustNewMatcher(labels.MatchEqual, "destination", tr.input.Destination), labels.MustNewMatcher(labels.MatchEqual, "group", tr.input.Group))
		if err != nil {
			return err
		}
		if x, ok := flow.ChangePoint(points); ok {
			tr.since = int64(x * 1000)
		}
	}
	if tr.bandHigh == 0 {
		high, of, err := t.band(ctx, only, now, tr.began)
		if err != nil {
			return err
		}
		tr.bandHigh, tr.bandOf = high, of
	}
	return nil
}

// enough is how many samples make a band.
const enough = 60

// band is the upper end of the usual inflow of a pipeline: of this hour of the week in the weeks before, else of the last day
// before it was late.
func (t *tenant) band(ctx context.Context, only *labels.Matcher, now, began int64) (high float64, of string, err error) {
	const week, half = 7 * 86_400_000, 1_800_000
	read := func(from, to int64, vs []float64) ([]float64, error) {
		q, err := t.s.engine.Metrics().Querier(t.id, from, to)
		if err != nil {
			return vs, err
		}
		defer func() { _ = q.Close() }()
		err = series.Each(ctx, q, seriesIn, func(labels.Labels) bool { return true }, func(_ int64, v float64) { vs = append(vs, v) },
			only, labels.MustNewMatcher(labels.MatchEqual, "stage", ""))
		return vs, err
	}
	var vs []float64
	for k := int64(1); k <= 2; k++ {
		if vs, err = read(now-k*week-half, now-k*week+half, vs); err != nil {
			return 0, "", err
		}
	}
	of = "this hour of the week"
	if len(vs) < enough {
		of = "the day before"
		if vs, err = read(began-86_400_000, began-600_000, vs[:0]); err != nil || len(vs) < enough {
			return 0, "", err
		}
	}
	slices.Sort(vs)
	return vs[len(vs)*95/100], of, nil
}

// upstreamOf names the stages that write what one reads.
func upstreamOf(looks []stageLook, l *stageLook) []string {
	out := []string{}
	for i := range looks {
		for _, in := range l.In {
			if in.Destination != "" && looks[i].Name != l.Name && slices.Contains(looks[i].Out, in.Destination) {
				out = append(out, looks[i].Name)
				break
			}
		}
	}
	return out
}

// neverCommitted says that all that is known of a pipeline is that its readers never committed.
func neverCommitted(looks []stageLook) string {
	for i := range looks {
		for _, r := range looks[i].never {
			return fmt.Sprintf("%s never committed on %s: up to %s records may wait, how many is not known.", r.Group, r.Queue.Destination, flow.Count(int64(r.Lag.Potential)))
		}
	}
	return ""
}
