package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// Stage answers the page of one stage; store.ErrNotFound when there is none of that name.
func (s *Service) Stage(ctx context.Context, id store.Tenant, pipeline, stage string) (answer.StagePage, error) {
	page, err := s.Pipeline(ctx, id, pipeline)
	if err != nil {
		return answer.StagePage{}, err
	}
	out := answer.StagePage{At: page.At, Pipeline: pipeline, Completeness: page.Completeness, Changes: orEmpty(page.Changes)}
	i := slices.IndexFunc(page.Stages, func(r answer.StageRow) bool { return r.Stage == stage })
	if i < 0 {
		return answer.StagePage{}, fmt.Errorf("cannot find stage %q of pipeline %q: %w", stage, pipeline, store.ErrNotFound)
	}
	out.Row = page.Stages[i]
	for _, n := range page.Nodes {
		if n.ID == stageID(stage) {
			out.Node = n
		}
	}
	if page.Cause != nil && page.Cause.Stage == stage {
		out.Cause = page.Cause
	}
	out.Busy, out.Pressure, out.Watermark = out.Row.Busy, out.Row.Pressure, out.Row.Watermark
	t := s.tenant(id)
	t.mu.Lock()
	t.stageParts(&out, &page, pipeline, stage)
	t.mu.Unlock()
	to := time.UnixMilli(page.At)
	loss, err := s.Loss(ctx, id, to.Add(-24*time.Hour), to, pipeline)
	if err != nil {
		return answer.StagePage{}, err
	}
	out.Losses = []answer.LossRow{}
	for _, r := range loss.Rows {
		if k, ok := idKey(r.ID); ok && k.To == stage {
			out.Losses = append(out.Losses, r)
		}
	}
	if len(out.Versions) == 0 {
		if out.Versions, err = s.versionsSeen(ctx, id, out.Row.Services, stage, to); err != nil {
			return answer.StagePage{}, err
		}
	}
	return out, nil
}

// stageParts fills in what stands in memory.
func (t *tenant) stageParts(out *answer.StagePage, page *answer.Pipeline, pipeline, stage string) {
	out.Inputs, out.Outputs, out.Partitions = []answer.StageInput{}, []string{}, []answer.PartitionRow{}
	out.Containers, out.Versions, out.Latency, out.Slow = []answer.ContainerRow{}, []answer.VersionRow{}, []answer.PathLatency{}, []answer.Dependency{}
	p := t.pipes[pipeline]
	if p == nil { // forgotten between the two looks
		return
	}
	var inputs []flow.Input
	for i := range page.Edges {
		switch e := &page.Edges[i]; {
		case e.To == stageID(stage) && len(e.From) > len(queueID("")):
			inputs = append(inputs, flow.Input{Destination: e.From[len(queueID("")):], Group: e.Group})
			in := answer.StageInput{Destination: inputs[len(inputs)-1].Destination, Group: e.Group, Lag: e.Lag}
			in.Forecast = answer.Forecast{Destination: in.Destination, Group: in.Group, Stage: stage}
			t.input(&in, stage, page.At)
			out.Inputs = append(out.Inputs, in)
		case e.From == stageID(stage) && len(e.To) > len(queueID("")):
			out.Outputs = append(out.Outputs, e.To[len(queueID("")):])
		}
	}
	for i := range page.Partitions {
		r := &page.Partitions[i]
		if slices.Contains(inputs, flow.Input{Destination: r.Destination, Group: r.Group}) {
			out.Partitions = append(out.Partitions, *r)
		}
	}
	services := t.servedBy(p, stage)
	for _, s := range services {
		out.Containers = append(out.Containers, t.usage.by[s].boxes...)
	}
	if t.hooks.versions != nil {
		out.Versions = orEmpty(t.hooks.versions(stage))
	}
	out.Latency, out.Slow = t.latencyOf(p, stage), t.slowOf(p, stage, page.At)
}

// input fills in what the broker tells of one input of a stage.
func (t *tenant) input(in *answer.StageInput, stage string, now int64) {
	r := t.broker.readingOf(in.Destination, in.Group)
	if r == nil {
		return
	}
	in.System, in.GroupState = r.q.system, r.info.stateNow(now)
	in.Members, in.Rebalances = r.info.memberCount(now), r.info.rebalances(now-3_600_000)
	in.Forecast = r.answer(stage)
	if r.lag.ratesKnown {
		arrive, taken := r.lag.in, r.lag.out
		in.Rate, in.Taken = &arrive, &taken
	}
}

// How many traces are looked at for the versions of a stage.
const versionTraces = 8

// versionsSeen finds the versions that the spans of a stage name, newest first: in the last minutes and in the last day.
func (s *Service) versionsSeen(ctx context.Context, id store.Tenant, services []string, stage string, now time.Time) ([]answer.VersionRow, error) {
	out := []answer.VersionRow{}
	spans := s.engine.Spans()
	if spans == nil {
		return out, nil
	}
	if len(services) == 0 {
		services = []string{stage}
	}
	found := map[string]*answer.VersionRow{}
	boxes := map[string]map[string]bool{}
	for _, service := range services[:min(len(services), 4)] {
		for _, from := range []time.Duration{10 * time.Minute, 24 * time.Hour} {
			list, err := spans.Search(ctx, id, store.SpanQuery{From: now.Add(-from), To: now, Service: service, Limit: versionTraces})
			if err != nil {
				return nil, fmt.Errorf("cannot search spans of %q: %w", service, err)
			}
			for _, tr := range list {
				all, err := spans.Trace(ctx, id, tr.Trace)
				if err != nil {
					continue // deleted meanwhile
				}
				for i := range all {
					if all[i].Service == service {
						seen(found, boxes, &all[i])
					}
				}
			}
		}
	}
	for v, r := range found {
		r.Instances = len(boxes[v])
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b answer.VersionRow) int {
		return cmp.Or(-cmp.Compare(a.Last, b.Last), cmp.Compare(a.Version, b.Version))
	})
	return out, nil
}

func seen(found map[string]*answer.VersionRow, boxes map[string]map[string]bool, sp *store.Span) {
	var version, image, tag string
	for _, a := range sp.Resource {
		switch a.Key {
		case "service.version":
			version = a.Str
		case "container.image.name":
			image = a.Str
		case "container.image.tag", "container.image.tags":
			tag = a.Str
		}
	}
	if version == "" && image == "" {
		return
	}
	if image != "" && tag != "" {
		image += ":" + tag
	}
	key := version + "\x00" + image
	at := sp.Start / 1_000_000
	r := found[key]
	if r == nil {
		r = &answer.VersionRow{Version: version, Image: image, First: at, Last: at}
		found[key], boxes[key] = r, map[string]bool{}
	}
	r.First, r.Last = min(r.First, at), max(r.Last, at)
	boxes[key][sp.Node+"\x00"+sp.Container] = true
}
