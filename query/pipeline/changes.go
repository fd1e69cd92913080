package pipeline

import (
	"context"
	"slices"
	"time"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/pipeline/changes"
	"github.com/weirhq/weir/store"
)

// Kinds of changes that weir finds itself; those of annotations are as they were told.
const (
	changeState     = "state"
	changeCollector = "collector"
	changeInstance  = "instance"
	changeRewind    = "rewind"
	changeBroker    = "broker"
)

// maxVersioned bounds how many services' versions are followed.
const maxVersioned = 2000

// Annotate stores what somebody tells.
func (s *Service) Annotate(ctx context.Context, id store.Tenant, by string, a answer.Annotation) (answer.Annotation, error) {
	if err := changes.Check(&a, time.Now().UnixMilli()); err != nil {
		return answer.Annotation{}, err
	}
	if _, err := s.viewOf(ctx, id); err != nil {
		return answer.Annotation{}, err
	}
	return s.tenant(id).annotations.Tell(ctx, by, a, time.Now().UnixMilli())
}

// DeleteAnnotation takes one back; store.ErrNotFound when there is none.
func (s *Service) DeleteAnnotation(ctx context.Context, id store.Tenant, name string) error {
	return s.tenant(id).annotations.TakeBack(ctx, name)
}

// Annotations answers what happened in [from, to], newest first; of a pipeline also what concerns all of them.
func (s *Service) Annotations(ctx context.Context, id store.Tenant, from, to time.Time, pipeline string) (answer.Annotations, error) {
	v, err := s.viewOf(ctx, id)
	if err != nil {
		return answer.Annotations{}, err
	}
	var about *changes.Subject
	if pipeline != "" {
		about = v.subject(pipeline)
	}
	return answer.Annotations{Annotations: s.tenant(id).annotations.Told(about, from.UnixMilli(), to.UnixMilli())}, nil
}

// subject is a pipeline as those who look for its changes see it.
func (v *view) subject(pipeline string) *changes.Subject {
	about := &changes.Subject{Pipeline: pipeline}
	if p := v.parts[pipeline]; p != nil {
		about.Services = p.services
	}
	return about
}

// changesAround lists what happened in [from, to], Unix milliseconds, that may concern a pipeline, newest first, as far as this view
// knows. Of one that is gone only what people told is left.
func (v *view) changesAround(told *changes.Annotations, pipeline string, from, to int64) []answer.Change {
	logs := []changes.Log{v.log}
	if p := v.parts[pipeline]; p != nil {
		logs = append(logs, p.log)
	}
	return told.Around(v.subject(pipeline), from, to, logs)
}

// servicesOf are the names under which the processes of a stage send spans and usage.
func (v *view) servicesOf(pipeline, stage string) []string {
	if p := v.parts[pipeline]; p != nil {
		if s, ok := p.stages[stage]; ok {
			return slices.Clone(s.services)
		}
	}
	return []string{stage}
}

// changesAround lists what happened in [from, to], Unix milliseconds, that may concern a pipeline, newest first: what
// people and deploy scripts told, new versions, restarts of collectors, new instances, changes of state. A nil pipeline
// means all.
func (t *tenant) changesAround(p *pipe, from, to int64) []answer.Change {
	logs := []changes.Log{t.log}
	if p != nil {
		return t.annotations.Around(&changes.Subject{Pipeline: p.id, Services: p.services}, from, to, append(logs, p.log))
	}
	for _, p := range t.pipes {
		logs = append(logs, p.log)
	}
	return t.annotations.Around(nil, from, to, logs)
}

// recentChanges are the newest ones of the last day, for the pages.
func (t *tenant) recentChanges(p *pipe, now int64) []answer.Change {
	out := t.changesAround(p, now-86400_000, now+86400_000)
	return out[:min(len(out), 20)]
}

// note adds to the changes shown beside every pipeline of the tenant.
func (t *tenant) note(at int64, kind, text string) { t.log.Note(200, at, kind, text) }

func (p *pipe) note(at int64, kind, text string) { p.log.Note(100, at, kind, text) }

// served are the services of all stages, whose versions are followed; those of each pipeline are noted.
func (t *tenant) served() map[string]bool {
	services := map[string]bool{}
	for id, p := range t.pipes {
		stages, _ := t.stagesOf(p)
		p.services = map[string]bool{}
		for i := range stages {
			p.services[stages[i].Name] = true
			for _, s := range t.servicesOf(id, stages[i].Name) {
				p.services[s] = true
				if len(services) < maxVersioned {
					services[s] = true
				}
			}
		}
	}
	return services
}
