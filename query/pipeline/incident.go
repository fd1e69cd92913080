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
	"github.com/weirhq/weir/store"
)

// Bounds of one incident's page.
const (
	maxBalances  = 2000
	maxExamples  = 50
	maxReasons   = 20
	maxTraces    = 20
	maxPageReads = 60_000 // verdicts of the pipeline
)

// Incident answers everything about one incident; store.ErrNotFound when there is none of that id, or none any more
// because late records were found.
func (s *Service) Incident(ctx context.Context, id store.Tenant, incident string) (answer.IncidentDetail, error) {
	k, kind, first, ok := incidentKey(incident)
	if !ok {
		return answer.IncidentDetail{}, fmt.Errorf("cannot read the id %q: take it from an entry of /api/v1/incidents: %w", incident, store.ErrInvalid)
	}
	v, err := s.viewOf(ctx, id)
	if err != nil {
		return answer.IncidentDetail{}, err
	}
	t := s.tenant(id)
	run, err := s.runOf(ctx, t, k, kind, first, v.at)
	if err != nil {
		return answer.IncidentDetail{}, err
	}
	if run == nil {
		return answer.IncidentDetail{}, fmt.Errorf("cannot find the incident %q: its windows are not bad any more, because late records were counted, or are older than the ledger keeps: %w", incident, store.ErrNotFound)
	}
	t.mu.Lock()
	d := answer.IncidentDetail{Incident: t.incident(k, run, v.at)}
	d.Now = v.completeness
	p := t.pipes[k.Pipeline]
	begin := run.First * 1000
	d.Changes = t.changesAround(p, begin-15*60_000, begin+max(run.Width*1000, 60_000)+5*60_000)
	services := t.servicesOf(k.Pipeline, d.Stage)
	if k.Kind == store.EdgeTransport && d.Stage != k.To {
		services = append(services, t.servicesOf(k.Pipeline, k.To)...)
	}
	t.mu.Unlock()
	if err := s.proof(ctx, t, k, run, &d); err != nil {
		return d, err
	}
	d.Query = fmt.Sprintf(`sum by (pipeline, edge) (increase(weir_pipeline_lost_total{pipeline=%q,edge=%q}[5m]))`, k.Pipeline, where(k))
	if run.Kind == flow.RunUnknown {
		d.Query = fmt.Sprintf(`sum by (pipeline, state) (increase(weir_pipeline_verdicts_total{pipeline=%q,state="UNKNOWN"}[5m]))`, k.Pipeline)
	}
	d.Traces = s.tracesOf(ctx, id, services, run, d.Examples)
	return d, nil
}

// runOf finds the run a window belongs to: that which begins with it, or, when verdicts were revised since, that which
// holds it or begins where it would have gone on.
func (s *Service) runOf(ctx context.Context, t *tenant, k store.VerdictKey, kind flow.RunKind, first, now int64) (*flow.Run, error) {
	var vs []store.Verdict
	for lo, hi := time.Unix(first, 0).Add(-time.Hour), time.Unix(first, 0).Add(24*time.Hour); ; lo, hi = hi, hi.Add(24*time.Hour) {
		list, err := s.engine.Ledger().Verdicts(ctx, t.id, store.VerdictQuery{Pipeline: k.Pipeline, From: lo, To: hi, OnlyNotOK: true})
		if err != nil {
			return nil, fmt.Errorf("cannot read verdicts: %w", err)
		}
		for _, v := range list {
			if bare(v.VerdictKey) == k {
				vs = append(vs, v)
			}
		}
		if hi.UnixMilli() > now || len(vs) > maxIncidentVerdicts {
			break
		}
		if n := len(vs); n == 0 || vs[n-1].Window+(flow.RunGap+1)*max(vs[n-1].Width, 1) < hi.Unix() {
			break // it ended before
		}
	}
	var near *flow.Run
	runs := flow.Runs(vs)
	for i := range runs {
		r := &runs[i]
		if r.Kind != kind {
			continue
		}
		if r.First <= first && first < r.End() {
			return r, nil
		}
		if near == nil && r.First > first && r.First <= first+(flow.RunGap+1)*max(r.Width, 1) {
			near = r
		}
	}
	return near, nil
}

// proof adds the balances of the windows, what they say, and what the rest of the pipeline did meanwhile.
func (s *Service) proof(ctx context.Context, t *tenant, k store.VerdictKey, run *flow.Run, d *answer.IncidentDetail) error {
	w := max(run.Width, 1)
	from, to := run.First-2*w, run.End()+2*w
	t.mu.Lock()
	edges := int64(max(len(t.ledger.byPipe[k.Pipeline]), 1))
	t.mu.Unlock()
	if most := maxPageReads / edges * w; to-from > most {
		from = to - most // the newest part
	}
	vs, err := s.verdicts(ctx, t, time.Unix(from, 0), time.Unix(to, 0), k.Pipeline)
	if err != nil {
		return err
	}
	d.Balances, d.Reasons, d.Examples, d.Around = []answer.LossWindow{}, []string{}, []string{}, []answer.LossRow{}
	list := vs[k]
	for i := range list {
		v := &list[len(list)-1-i]
		if len(d.Balances) < maxBalances {
			d.Balances = append(d.Balances, lossWindow(v))
		}
		if _, bad := flow.BadWindow(v); !bad {
			continue
		}
		for _, r := range v.Reasons {
			if len(d.Reasons) < maxReasons && !slices.Contains(d.Reasons, r) {
				d.Reasons = append(d.Reasons, r)
			}
		}
		for _, e := range v.Examples {
			if len(d.Examples) < maxExamples && !slices.Contains(d.Examples, e) {
				d.Examples = append(d.Examples, e)
			}
		}
	}
	for o, list := range vs {
		if o != k && len(list) > 0 {
			d.Around = append(d.Around, lossRow(o, list, from, to))
		}
	}
	sortLosses(d.Around)
	return nil
}

func lossWindow(v *store.Verdict) answer.LossWindow {
	return answer.LossWindow{
		Window: v.Window, Width: v.Width, Verdict: v.State, Settled: v.Settled, SettledAt: v.SettledAt, Up: v.Up, Down: v.Down,
		Filtered: v.Filtered, DLQ: v.DLQ, Dropped: v.Dropped, InFlight: v.InFlight, Lost: v.Lost, Surplus: v.Surplus,
		Epsilon: v.Epsilon, Revision: v.Revision, Confidence: v.Confidence,
	}
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
