package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/pipeline/changes"
	"github.com/weirhq/weir/query/pipeline/forecast"
	"github.com/weirhq/weir/query/pipeline/losses"
	"github.com/weirhq/weir/store"
)

// Stage answers the page of one stage; store.ErrNotFound when there is none of that name.
func (s *Service) Stage(ctx context.Context, id store.Tenant, pipeline, stage string) (answer.StagePage, error) {
	v, err := s.viewOf(ctx, id)
	if err != nil {
		return answer.StagePage{}, err
	}
	page := v.pages[pipeline]
	if page == nil {
		return answer.StagePage{}, fmt.Errorf("cannot find pipeline %q: nothing was heard of it in the last %s: %w", pipeline, s.cfg.Forget, store.ErrNotFound)
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
	stageFrom(&out, page, v.parts[pipeline], v.usage)
	to := time.UnixMilli(page.At)
	loss, err := s.Loss(ctx, id, to.Add(-24*time.Hour), to, pipeline)
	if err != nil {
		return answer.StagePage{}, err
	}
	out.Losses = []answer.LossRow{}
	for _, r := range loss.Rows {
		if k, ok := losses.KeyOf(r.ID); ok && k.To == stage {
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

// parts are what a page of a pipeline does not show but those of its stages do; made with the page, never changed after.
type parts struct {
	inputs   []inputPart
	stages   map[string]stagePart
	services map[string]bool // of all stages, and their names
	log      changes.Log
}

type inputPart struct {
	answer.StageInput
	stage, cluster string
	forecast       *forecast.Forecast
	instances      int
}

type stagePart struct {
	services []string
	versions []answer.VersionRow
	latency  []answer.PathLatency
	slow     []answer.Dependency
}

// partsOf gathers them.
func (t *tenant) partsOf(p *pipe, looks []stageLook, now int64) *parts {
	out := &parts{stages: make(map[string]stagePart, len(looks)), services: p.services, log: p.log}
	for i := range looks {
		l := &looks[i]
		s := stagePart{services: t.servedBy(p, l.Name), latency: orEmpty(t.pathLatency(p, l.Name)), slow: t.slowOf(p, l.Name, now), versions: t.versions.Of(t.servedBy(p, l.Name))}
		out.stages[l.Name] = s
		for _, in := range l.In {
			r := t.broker.ReadingOf(in.Destination, in.Group)
			if r == nil {
				continue
			}
			x := inputPart{stage: l.Name, cluster: r.Queue.Cluster, forecast: r.Forecast, instances: len(l.Instances), StageInput: answer.StageInput{
				Destination: in.Destination, Group: in.Group, System: r.Queue.System, Forecast: forecastOf(r, l.Name, len(l.Instances)),
				GroupState: r.Info.State(now), Members: r.Info.Members(now), Rebalances: r.Info.Rebalances(now - 3_600_000),
			}}
			if r.Lag.RatesKnown {
				arrive, taken := r.Lag.In, r.Lag.Out
				x.Rate, x.Taken = &arrive, &taken
			}
			out.inputs = append(out.inputs, x)
		}
	}
	return out
}

// pageReuse is how long the page of a pipeline that is known from offsets alone, and well, is shown again while none of its queues was
// polled, milliseconds.
const pageReuse = 5000

// pageOnce makes a page, or shows the last one again when nothing that it shows has changed.
func (t *tenant) pageOnce(p *pipe, now int64) *answer.Pipeline {
	seen := uint64(len(p.offsets))
	for _, in := range p.offsets {
		if q := t.broker.QueueFor(in.Destination, in.Group); q != nil {
			seen = max(seen, q.Version())
		}
	}
	well := p.state == answer.OK || p.state == answer.Idle
	if !p.cells && !p.metered && well && p.page != nil && p.pageOf == seen && now-p.page.At < pageReuse && now >= p.page.At {
		again := *p.page
		again.At = now
		return &again
	}
	page := t.page(p, now)
	p.page, p.pageOf = page, seen
	return page
}

// stageFrom fills in what stands in memory.
func stageFrom(out *answer.StagePage, page *answer.Pipeline, from *parts, use map[string]usage) {
	stage := out.Row.Stage
	out.Inputs, out.Outputs, out.Partitions, out.Containers = []answer.StageInput{}, []string{}, []answer.PartitionRow{}, []answer.ContainerRow{}
	s := from.stages[stage]
	out.Versions, out.Latency, out.Slow = orEmpty(s.versions), orEmpty(s.latency), orEmpty(s.slow)
	for i := range page.Edges {
		e := &page.Edges[i]
		if e.From == stageID(stage) {
			out.Outputs = append(out.Outputs, strings.TrimPrefix(e.To, queueID("")))
		}
		if e.To != stageID(stage) {
			continue
		}
		in := answer.StageInput{Destination: strings.TrimPrefix(e.From, queueID("")), Group: e.Group}
		in.Forecast = answer.Forecast{Destination: in.Destination, Group: in.Group, Stage: stage}
		for j := range from.inputs {
			if x := &from.inputs[j]; x.stage == stage && x.Destination == in.Destination && x.Group == in.Group {
				in = x.StageInput
			}
		}
		in.Lag = e.Lag
		out.Inputs = append(out.Inputs, in)
		for j := range page.Partitions {
			if r := &page.Partitions[j]; r.Destination == in.Destination && r.Group == in.Group {
				out.Partitions = append(out.Partitions, *r)
			}
		}
	}
	for _, name := range s.services {
		out.Containers = append(out.Containers, use[name].boxes...)
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
