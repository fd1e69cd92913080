package pipeline

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/losses"
	"github.com/weirhq/weir/store"
)

// Bounds of one incident's page.
const (
	maxTraces    = 20
	maxPageReads = 60_000 // verdicts of the pipeline
)

// Incidents answers what was lost in [from, to] as runs of windows, newest first.
func (s *Service) Incidents(ctx context.Context, id store.Tenant, from, to time.Time, pipeline string, limit int) (answer.Incidents, error) {
	return s.FindIncidents(ctx, id, answer.LossQuery{From: from, To: to, Pipeline: pipeline, Limit: limit})
}

// FindIncidents answers the incidents that are looked for, newest first.
func (s *Service) FindIncidents(ctx context.Context, id store.Tenant, q answer.LossQuery) (answer.Incidents, error) {
	v, err := s.viewOf(ctx, id)
	if err != nil {
		return answer.Incidents{}, err
	}
	t := s.tenant(id)
	out := answer.Incidents{At: v.at, From: q.From.UnixMilli(), To: q.To.UnixMilli(), Incidents: []answer.Incident{}}
	var list []answer.Incident
	if q.From.UnixMilli() >= v.at-86400_000-60_000 {
		list = t.ledger.IncidentsOfDay(v.at)
	} else if list, err = s.storedIncidents(ctx, t, q, v.at); err != nil {
		return out, err
	}
	out.Incidents, out.Left = losses.ChooseIncidents(list, q)
	for i := range out.Incidents {
		out.Incidents[i].Now = v.completeness
	}
	return out, nil
}

// storedIncidents reads the incidents of a range that memory does not reach.
func (s *Service) storedIncidents(ctx context.Context, t *tenant, q answer.LossQuery, now int64) ([]answer.Incident, error) {
	bad, err := t.ledger.ReadBad(ctx, q.From, q.To, q.Pipeline, now)
	if err != nil {
		return nil, err
	}
	return t.ledger.IncidentsOf(bad, q.From, q.To, now), nil
}

// Incident answers everything about one incident; store.ErrNotFound when there is none of that id, or none any more
// because late records were found.
func (s *Service) Incident(ctx context.Context, id store.Tenant, incident string) (answer.IncidentDetail, error) {
	k, kind, first, ok := losses.IncidentKey(incident)
	if !ok {
		return answer.IncidentDetail{}, fmt.Errorf("cannot read the id %q: take it from an entry of /api/v1/incidents: %w", incident, store.ErrInvalid)
	}
	v, err := s.viewOf(ctx, id)
	if err != nil {
		return answer.IncidentDetail{}, err
	}
	t := s.tenant(id)
	run, err := t.ledger.ReadRun(ctx, k, kind, first, v.at)
	if err != nil {
		return answer.IncidentDetail{}, err
	}
	if run == nil {
		return answer.IncidentDetail{}, fmt.Errorf("cannot find the incident %q: its windows are not bad any more, because late records were counted, or are older than the ledger keeps: %w", incident, store.ErrNotFound)
	}
	d := answer.IncidentDetail{Incident: t.ledger.Incident(k, run, v.at)}
	d.Now = v.completeness
	begin := run.First * 1000
	d.Changes = v.changesAround(t.annotations, k.Pipeline, begin-15*60_000, begin+max(run.Width*1000, 60_000)+5*60_000)
	services := v.servicesOf(k.Pipeline, d.Stage)
	if k.Kind == store.EdgeTransport && d.Stage != k.To {
		services = append(services, v.servicesOf(k.Pipeline, k.To)...)
	}
	if err := s.proof(ctx, t, k, run, &d); err != nil {
		return d, err
	}
	d.Query = fmt.Sprintf(`sum by (pipeline, edge) (increase(weir_pipeline_lost_total{pipeline=%q,edge=%q}[5m]))`, k.Pipeline, losses.Where(k))
	if run.Kind == flow.RunUnknown {
		d.Query = fmt.Sprintf(`sum by (pipeline, state) (increase(weir_pipeline_verdicts_total{pipeline=%q,state="UNKNOWN"}[5m]))`, k.Pipeline)
	}
	d.Traces = s.tracesOf(ctx, id, services, run, d.Examples)
	return d, nil
}

// proof adds the balances of the windows, what they say, and what the rest of the pipeline did meanwhile.
func (s *Service) proof(ctx context.Context, t *tenant, k store.VerdictKey, run *flow.Run, d *answer.IncidentDetail) error {
	w := max(run.Width, 1)
	from, to := run.First-2*w, run.End()+2*w
	edges := int64(max(t.ledger.Edges(k.Pipeline), 1))
	if most := maxPageReads / edges * w; to-from > most {
		from = to - most // the newest part
	}
	vs, err := s.verdicts(ctx, t, time.Unix(from, 0), time.Unix(to, 0), k.Pipeline)
	if err != nil {
		return err
	}
	vs.Prove(d, k, from, to)
	return nil
}

// tracesOf finds traces of lost messages, then traces of the services in that time, failed ones first. Without them the
// page is as good as without spans, so errors only leave them out.
func (s *Service) tracesOf(ctx context.Context, id store.Tenant, services []string, run *flow.Run, examples []string) []answer.TraceRow {
	out := []answer.TraceRow{}
	spans := s.engine.Spans()
	if spans == nil {
		return out
	}
	seen := map[string]bool{}
	add := func(r answer.TraceRow) {
		if !seen[r.ID] && len(out) < maxTraces {
			seen[r.ID] = true
			out = append(out, r)
		}
	}
	tried := 0
	for _, e := range examples {
		raw, err := hex.DecodeString(strings.ReplaceAll(e, "-", ""))
		if err != nil || len(raw) != 16 || tried >= maxTraces {
			continue
		}
		tried++
		list, err := spans.Trace(ctx, id, store.TraceID(raw))
		if errors.Is(err, store.ErrNotFound) || len(list) == 0 {
			continue
		}
		if err != nil {
			return out
		}
		add(summary(list))
	}
	from, to := time.Unix(run.First, 0).Add(-time.Minute), time.Unix(run.End(), 0).Add(time.Minute)
	if to.Sub(from) > time.Hour {
		to = from.Add(time.Hour)
	}
	slices.Sort(services)
	for _, status := range []store.SpanStatus{store.StatusError, store.StatusUnset} {
		for _, svc := range slices.Compact(slices.Clone(services)) {
			if len(out) >= maxTraces {
				return out
			}
			list, err := spans.Search(ctx, id, store.SpanQuery{From: from, To: to, Service: svc, Status: status, Limit: maxTraces})
			if err != nil {
				return out
			}
			for i := range list {
				x := &list[i]
				add(answer.TraceRow{
					ID: hex.EncodeToString(x.Trace[:]), Service: x.RootService, Name: x.RootName, Start: x.Start / 1e6,
					Duration: float64(x.Duration) / 1e9, Spans: x.Spans, Errors: x.Errors, Services: append([]string{}, x.Services...),
				})
			}
		}
	}
	return out
}

// summary is the line of one trace, from its spans by start time.
func summary(spans []store.Span) answer.TraceRow {
	root := &spans[0]
	r := answer.TraceRow{ID: hex.EncodeToString(root.Trace[:]), Service: root.Service, Name: root.Name, Start: root.Start / 1e6, Spans: len(spans), Services: []string{}}
	var end int64
	for i := range spans {
		x := &spans[i]
		end = max(end, x.Start+x.Duration)
		if x.Status == store.StatusError {
			r.Errors++
		}
		if !slices.Contains(r.Services, x.Service) {
			r.Services = append(r.Services, x.Service)
		}
	}
	slices.SortFunc(r.Services, cmp.Compare[string])
	r.Duration = float64(end-root.Start) / 1e9
	return r
}
