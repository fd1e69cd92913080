package pipeline

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/series"
	"github.com/weirhq/weir/store"
)

// spark is the lag of the last hour, worst value of each minute; -1 where it was not known. It has a lock of its own, so that
// lists show it while an evaluation runs.
type spark struct {
	mu     sync.Mutex
	minute int64
	v      [60]float64
}

func (p *pipe) spark(in flow.Input) *spark {
	s := p.sparks[in]
	if s == nil {
		s = &spark{}
		for i := range s.v {
			s.v[i] = -1
		}
		p.sparks[in] = s
	}
	return s
}

func (s *spark) add(now int64, l flow.TimeLag) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := now / 60_000
	if s.minute == 0 || m-s.minute > 60 {
		s.minute = m - 60
	}
	for s.minute < m {
		s.minute++
		s.v[s.minute%60] = -1
	}
	if m < s.minute-59 || !l.Known {
		return
	}
	s.v[m%60] = max(s.v[m%60], l.Seconds)
}

// values oldest first; empty before anything was known.
func (s *spark) values() []float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]float64, 0, 60)
	if s.minute == 0 {
		return out
	}
	for i := range int64(60) {
		out = append(out, s.v[(s.minute+1+i)%60])
	}
	return out
}

// Derived series. Samples are written every five seconds, so PromQL, alerts and histories read the same.
const (
	seriesLag       = "weir_pipeline_lag_seconds"
	seriesBound     = "weir_pipeline_lag_bound_seconds"
	seriesMessages  = "weir_pipeline_lag_messages"
	seriesFreshness = "weir_pipeline_freshness_seconds"
	seriesIn        = "weir_pipeline_in_rate"
	seriesOut       = "weir_pipeline_out_rate"
	seriesUnknown   = "weir_pipeline_unknown_24h"
	seriesState     = "weir_pipeline_state"
	seriesDrain     = "weir_pipeline_drain_seconds"
	seriesLossIn    = "weir_pipeline_loss_in_seconds"
	seriesWatermark = "weir_pipeline_watermark_lag_seconds"
)

var help = map[string]metadata.Metadata{
	seriesLag:       {Type: "gauge", Help: "Age of the oldest record a group has not read.", Unit: "seconds"},
	seriesBound:     {Type: "gauge", Help: "Stated error of weir_pipeline_lag_seconds.", Unit: "seconds"},
	seriesMessages:  {Type: "gauge", Help: "Records a group has not read."},
	seriesFreshness: {Type: "gauge", Help: "Age of the newest data at the sink.", Unit: "seconds"},
	seriesIn:        {Type: "gauge", Help: "Records per second taken in by a stage; of the pipeline where there is no stage label."},
	seriesOut:       {Type: "gauge", Help: "Records per second put out by a stage; of the pipeline where there is no stage label."},
	seriesLost:      {Type: "counter", Help: "Records lost in settled windows, by edge or stage."},
	seriesLatency:   {Type: "gauge", Help: "Time from the origin to a stage, percentiles of the records of the last five minutes.", Unit: "seconds"},
	seriesDrain:     {Type: "gauge", Help: "Time until the backlog of a group is gone at the present rates; +Inf = never.", Unit: "seconds"},
	seriesLossIn:    {Type: "gauge", Help: "Time until retention deletes records the group has not read.", Unit: "seconds"},
	seriesWatermark: {Type: "gauge", Help: "How far the watermark of a stage is behind now.", Unit: "seconds"},
	seriesSurplus:   {Type: "counter", Help: "Records that came more than once in settled windows, by edge or stage."},
	seriesVerdicts:  {Type: "counter", Help: "Windows settled, by state of the verdict; a revised one counts again."},
	seriesSLOLag:    {Type: "gauge", Help: "Objective of the lag.", Unit: "seconds"},
	seriesSLOFresh:  {Type: "gauge", Help: "Objective of the freshness.", Unit: "seconds"},

	seriesCompleteness: {Type: "gauge", Help: "Share of the records of the last 24 hours that arrived, over settled windows.", Unit: "ratio"},
	seriesBurn:         {Type: "gauge", Help: "How many times faster than allowed the error budget of the completeness objective is used up."},
	seriesSLOComplete:  {Type: "gauge", Help: "Objective of the completeness.", Unit: "ratio"},
	seriesSLOLatency:   {Type: "gauge", Help: "Objective of the latency from the origin to the sink, 99 of 100 records.", Unit: "seconds"},
	seriesUnknown:      {Type: "gauge", Help: "Records of the last 24 hours whose fate is not known."},
	seriesState:        {Type: "gauge", Help: "1 for the present state of the pipeline."},
}

// batch builds a MetricBatch of one sample per series.
type batch struct {
	b   store.MetricBatch
	ref map[string]uint32
	at  int64
}

func (b *batch) symbol(s string) uint32 {
	r, ok := b.ref[s]
	if !ok {
		r = uint32(len(b.b.Symbols))
		b.b.Symbols = append(b.b.Symbols, s)
		b.ref[s] = r
	}
	return r
}

// add appends a sample; labels are name, value pairs sorted by name, empty values left out.
func (b *batch) add(name string, v *float64, ls ...string) {
	if v == nil || math.IsNaN(*v) || math.IsInf(*v, -1) { // +Inf is never
		return
	}
	refs := []uint32{b.symbol(model.MetricNameLabel), b.symbol(name)}
	for pair := range slices.Chunk(ls, 2) {
		if len(pair) == 2 && pair[1] != "" {
			refs = append(refs, b.symbol(pair[0]), b.symbol(pair[1]))
		}
	}
	b.b.Series = append(b.b.Series, store.BatchSeries{LabelRefs: refs, Samples: []store.Sample{{T: b.at, V: *v}}, Meta: help[name]})
}

// appendSeries writes the derived series of the newest view.
func (t *tenant) appendSeries(ctx context.Context, now int64) error {
	v := t.view.Load()
	b := &batch{ref: map[string]uint32{}, at: now}
	one := 1.0
	for _, p := range v.pages {
		b.add(seriesFreshness, p.Freshness, "pipeline", p.ID)
		b.add(seriesIn, p.In, "pipeline", p.ID)
		b.add(seriesOut, p.Out, "pipeline", p.ID)
		bound := float64(p.LostBound)
		b.add(seriesUnknown, &bound, "pipeline", p.ID)
		b.add(seriesState, &one, "pipeline", p.ID, "state", string(p.State))
		for _, s := range p.Stages {
			b.add(seriesIn, s.RateIn, "pipeline", p.ID, "stage", s.Stage)
			b.add(seriesOut, s.RateOut, "pipeline", p.ID, "stage", s.Stage)
			b.add(seriesWatermark, s.Watermark, "pipeline", p.ID, "stage", s.Stage)
		}
		for i := range p.Forecasts {
			f := &p.Forecasts[i]
			ls := []string{"destination", f.Destination, "group", f.Group, "pipeline", p.ID, "stage", f.Stage}
			if f.Drain != nil {
				drain := latest(f.Drain)
				b.add(seriesDrain, &drain, ls...)
			}
			if f.LossIn != nil {
				b.add(seriesLossIn, f.LossIn.Value, ls...)
			}
		}
		for i := range p.Edges {
			e := &p.Edges[i]
			if e.Lag == nil {
				continue
			}
			ls := []string{"destination", strings.TrimPrefix(e.From, "queue:"), "group", e.Group, "pipeline", p.ID, "stage", strings.TrimPrefix(e.To, "stage:")}
			b.add(seriesLag, e.Lag.Seconds, ls...)
			b.add(seriesBound, e.Lag.Bound, ls...)
			b.add(seriesMessages, e.Lag.Messages, ls...)
		}
	}
	t.appendLedger(b, now)
	t.appendLatency(b)
	if len(b.b.Series) == 0 {
		return nil
	}
	if _, err := t.s.engine.Metrics().Append(ctx, t.id, &b.b); err != nil {
		return fmt.Errorf("cannot store the series of pipelines: %w", err)
	}
	return nil
}

// loadHistory fills the lags of the last hour from the series an earlier process wrote.
func (t *tenant) loadHistory(ctx context.Context, now int64) error {
	q, err := t.s.engine.Metrics().Querier(t.id, now-3_600_000, now)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", seriesLag, err)
	}
	defer func() { _ = q.Close() }()
	var s *spark
	err = series.Each(ctx, q, seriesLag, func(ls labels.Labels) bool {
		s = nil
		if p := t.pipe(ls.Get("pipeline")); p != nil {
			s = p.spark(flow.Input{Destination: ls.Get("destination"), Group: ls.Get("group")})
			p.heard = max(p.heard, now-3_600_000)
		}
		return s != nil
	}, func(at int64, v float64) { s.add(at, flow.TimeLag{Seconds: v, Known: true}) })
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", seriesLag, err)
	}
	return nil
}

// PipelineHistory answers the charts of one pipeline from the derived series: the newest sample of each step.
func (s *Service) PipelineHistory(ctx context.Context, id store.Tenant, name string, from, to time.Time, step time.Duration) (answer.PipelineHistory, error) {
	v, err := s.viewOf(ctx, id)
	if err != nil {
		return answer.PipelineHistory{}, err
	}
	if v.pages[name] == nil {
		return answer.PipelineHistory{}, fmt.Errorf("cannot find pipeline %q: %w", name, store.ErrNotFound)
	}
	h := answer.PipelineHistory{From: from.UnixMilli(), To: to.UnixMilli(), Step: step.Milliseconds(), Series: []answer.Series{}}
	if h.Step <= 0 || h.To < h.From || (h.To-h.From)/h.Step > 50_000 {
		return h, fmt.Errorf("cannot draw %s to %s in steps of %s: choose a step above 0 that makes at most 50,000 points: %w", from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339), step, store.ErrInvalid)
	}
	q, err := s.engine.Metrics().Querier(id, h.From-max(h.Step, 15_000), h.To)
	if err != nil {
		return h, fmt.Errorf("cannot read the history of %q: %w", name, err)
	}
	defer func() { _ = q.Close() }()
	only := labels.MustNewMatcher(labels.MatchEqual, "pipeline", name)
	whole := labels.MustNewMatcher(labels.MatchEqual, "stage", "")
	for _, c := range []struct {
		series, label, unit string
		match               []*labels.Matcher
	}{
		{seriesLag, "lag", "seconds", []*labels.Matcher{only}},
		{seriesBound, "bound", "seconds", []*labels.Matcher{only}},
		{seriesMessages, "backlog", "records", []*labels.Matcher{only}},
		{seriesIn, "in", "records/s", []*labels.Matcher{only, whole}},
		{seriesOut, "out", "records/s", []*labels.Matcher{only, whole}},
		{seriesFreshness, "freshness", "seconds", []*labels.Matcher{only}},
	} {
		err := series.Each(ctx, q, c.series, func(ls labels.Labels) bool {
			n := c.label
			if st := ls.Get("stage"); st != "" {
				n += " " + st
			}
			h.Series = append(h.Series, answer.Series{Name: n, Unit: c.unit, Points: emptyPoints(&h)})
			return true
		}, func(at int64, v float64) { put(&h, &h.Series[len(h.Series)-1], at, v) }, c.match...)
		if err != nil {
			return h, fmt.Errorf("cannot read the history of %q: %w", name, err)
		}
	}
	slices.SortStableFunc(h.Series, func(a, b answer.Series) int { return strings.Compare(a.Name, b.Name) })
	return h, nil
}

func emptyPoints(h *answer.PipelineHistory) []answer.Point {
	out := make([]answer.Point, (h.To-h.From)/h.Step+1)
	for i := range out {
		out[i].T = h.From + int64(i)*h.Step
	}
	return out
}

// put shows a sample at the steps for which it is the newest and not older than a step or 15 s.
func put(h *answer.PipelineHistory, s *answer.Series, at int64, v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	valid := max(h.Step, 15_000)
	i := max(0, (at-h.From+h.Step-1)/h.Step)
	for ; i < int64(len(s.Points)) && s.Points[i].T < at+valid; i++ {
		if s.Points[i].T >= at {
			s.Points[i].V = &v
		}
	}
}
