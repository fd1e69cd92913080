// Package api declares weir's own HTTP API with huma: routes, parameters, answers, and from them
// the OpenAPI document the UI's types are generated from.
//
// Requests come from the UI and from scripts; the work is done by a Source (query/pipeline and
// query/trace behind one value, assembled in cmd/weir).
package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/store"
)

// Source answers the questions of the pages. All methods are safe for concurrent use.
type Source interface {
	Now(ctx context.Context, t store.Tenant) (answer.Now, error)
	Pipelines(ctx context.Context, t store.Tenant) (answer.Pipelines, error)
	Pipeline(ctx context.Context, t store.Tenant, id string) (answer.Pipeline, error)
	PipelineHistory(ctx context.Context, t store.Tenant, id string, from, to time.Time, step time.Duration) (answer.PipelineHistory, error)
	Losses(ctx context.Context, t store.Tenant, q answer.LossQuery) (answer.Loss, error)
	LossDetail(ctx context.Context, t store.Tenant, id string, from, to time.Time) (answer.LossDetail, error)
	Self(ctx context.Context, t store.Tenant) (answer.Self, error)
	Traces(ctx context.Context, t store.Tenant, q store.SpanQuery) (answer.Traces, error)
	Trace(ctx context.Context, t store.Tenant, id string) (answer.Trace, error)
	Alerts(ctx context.Context, t store.Tenant) (answer.Alerts, error)
	Stages
	Incidents
	Declarations
	Annotations
}

// TenantOf finds the tenant of a request; cmd/weir passes one that reads access.From.
type TenantOf func(context.Context) store.Tenant

// NameOf finds who sent a request, to be kept beside what they change.
type NameOf func(context.Context) string

type body[T any] struct{ Body T }

// RangeParams are the time range of a request.
type RangeParams struct {
	From int64 `query:"from" doc:"start, Unix ms; default one hour (loss: 24 hours) before to"`
	To   int64 `query:"to" doc:"end, Unix ms; default now"`
}

func (r RangeParams) times(def time.Duration) (from, to time.Time) {
	to = time.Now()
	if r.To > 0 {
		to = time.UnixMilli(r.To)
	}
	from = to.Add(-def)
	if r.From > 0 {
		from = time.UnixMilli(r.From)
	}
	return from, to
}

// LossParams choose rows of the ledger or incidents.
type LossParams struct {
	Pipeline string `query:"pipeline" maxLength:"200"`
	Text     string `query:"q" maxLength:"200" doc:"words that must all be found in pipeline, stage, edge, class, evidence or reasons"`
	Verdict  string `query:"verdict" enum:"loss,unknown" doc:"only rows whose worst verdict is that; left out = all"`
}

func (p LossParams) query(from, to time.Time) answer.LossQuery {
	return answer.LossQuery{From: from, To: to, Pipeline: p.Pipeline, Text: p.Text, Verdict: p.Verdict}
}

// Config is huma's configuration for weir.
func Config(version string) huma.Config {
	c := huma.DefaultConfig("weir", version)
	c.OpenAPIPath = "/api/openapi"
	c.DocsPath = "" // the browser page would load scripts from elsewhere
	c.SchemasPath = "/api/schemas"
	c.CreateHooks = nil // no $schema links in answers
	return c
}

// Register adds all operations to a.
func Register(a huma.API, s Source, tenant TenantOf, name NameOf) {
	get(a, "now", "/api/v1/now", "What is wrong now", func(ctx context.Context, _ *struct{}) (answer.Now, error) {
		return s.Now(ctx, tenant(ctx))
	})
	get(a, "pipelines", "/api/v1/pipelines", "All pipelines, worst first", func(ctx context.Context, _ *struct{}) (answer.Pipelines, error) {
		return s.Pipelines(ctx, tenant(ctx))
	})
	get(a, "pipeline", "/api/v1/pipelines/{id}", "One pipeline: map, stages, partitions", func(ctx context.Context, in *struct {
		ID string `path:"id" maxLength:"200"`
	},
	) (answer.Pipeline, error) {
		return s.Pipeline(ctx, tenant(ctx), in.ID)
	})
	get(a, "pipeline-history", "/api/v1/pipelines/{id}/history", "Lag, rates and freshness over time", func(ctx context.Context, in *struct {
		ID string `path:"id" maxLength:"200"`
		RangeParams
		Step int64 `query:"step" doc:"ms; default range / 240" minimum:"0"`
	},
	) (answer.PipelineHistory, error) {
		from, to := in.times(time.Hour)
		step := time.Duration(in.Step) * time.Millisecond
		if step <= 0 {
			step = max(time.Second, to.Sub(from)/240)
		}
		if to.Sub(from)/step > 11_000 {
			return answer.PipelineHistory{}, huma.Error400BadRequest("more than 11,000 points: choose a longer step")
		}
		return s.PipelineHistory(ctx, tenant(ctx), in.ID, from, to, step)
	})
	get(a, "loss", "/api/v1/loss", "Loss ledger", func(ctx context.Context, in *struct {
		RangeParams
		LossParams
	},
	) (answer.Loss, error) {
		from, to := in.times(24 * time.Hour)
		return s.Losses(ctx, tenant(ctx), in.query(from, to))
	})
	get(a, "loss-detail", "/api/v1/loss/{id}", "One row of the ledger with its windows and reasons", func(ctx context.Context, in *struct {
		ID string `path:"id" maxLength:"16000"`
		RangeParams
	},
	) (answer.LossDetail, error) {
		from, to := in.times(24 * time.Hour)
		return s.LossDetail(ctx, tenant(ctx), in.ID, from, to)
	})
	get(a, "self", "/api/v1/self", "weir's own ledger", func(ctx context.Context, _ *struct{}) (answer.Self, error) {
		return s.Self(ctx, tenant(ctx))
	})
	get(a, "traces", "/api/v1/traces", "Search traces", func(ctx context.Context, in *struct {
		RangeParams
		Service     string  `query:"service" maxLength:"200"`
		Name        string  `query:"name" maxLength:"500"`
		Error       bool    `query:"error" doc:"only traces with a failed span"`
		MinDuration float64 `query:"min" doc:"seconds"`
		MaxDuration float64 `query:"max" doc:"seconds"`
		Attr        string  `query:"attr" maxLength:"1000" doc:"key=value"`
		Limit       int     `query:"limit" default:"50" minimum:"1" maximum:"1000"`
	},
	) (answer.Traces, error) {
		from, to := in.times(time.Hour)
		q := store.SpanQuery{
			From: from, To: to, Service: in.Service, Name: in.Name, Limit: in.Limit,
			MinDuration: time.Duration(in.MinDuration * float64(time.Second)),
			MaxDuration: time.Duration(in.MaxDuration * float64(time.Second)),
		}
		if in.Error {
			q.Status = store.StatusError
		}
		if in.Attr != "" {
			k, v, ok := cutAttr(in.Attr)
			if !ok {
				return answer.Traces{}, huma.Error400BadRequest("attr must be key=value, got " + in.Attr)
			}
			q.Attrs = map[string]string{k: v}
		}
		return s.Traces(ctx, tenant(ctx), q)
	})
	get(a, "trace", "/api/v1/traces/{id}", "One trace as a waterfall", func(ctx context.Context, in *struct {
		ID string `path:"id" maxLength:"32"`
	},
	) (answer.Trace, error) {
		return s.Trace(ctx, tenant(ctx), in.ID)
	})
	get(a, "alerts", "/api/v1/alerts-list", "Alerts, firing first", func(ctx context.Context, _ *struct{}) (answer.Alerts, error) {
		return s.Alerts(ctx, tenant(ctx))
	})
	registerStages(a, s, tenant)
	registerIncidents(a, s, tenant)
	registerDeclarations(a, s, tenant, name)
	registerAnnotations(a, s, tenant, name)
}

func get[I, O any](a huma.API, id, path, summary string, f func(context.Context, *I) (O, error)) {
	operation(a, http.MethodGet, id, path, summary, f)
}

// operation adds one route. What a caller needs for it stands in cmd/weir's route table, by method.
func operation[I, O any](a huma.API, method, id, path, summary string, f func(context.Context, *I) (O, error)) {
	huma.Register(a, huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary,
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusServiceUnavailable},
	}, func(ctx context.Context, in *I) (*body[O], error) {
		out, err := f(ctx, in)
		if err != nil {
			return nil, statusOf(err)
		}
		return &body[O]{Body: out}, nil
	})
}

// statusOf is the one place where kinds of errors become HTTP codes for this API.
func statusOf(err error) error {
	var se huma.StatusError
	switch {
	case errors.As(err, &se):
		return se
	case errors.Is(err, store.ErrNotFound):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, store.ErrInvalid):
		return huma.Error400BadRequest(err.Error())
	case errors.Is(err, store.ErrConflict):
		return huma.Error409Conflict(err.Error())
	case errors.Is(err, store.ErrLimit):
		return huma.Error422UnprocessableEntity(err.Error())
	case errors.Is(err, store.ErrUnavailable):
		return huma.Error503ServiceUnavailable(err.Error())
	default:
		return huma.Error500InternalServerError(err.Error())
	}
}

func cutAttr(s string) (k, v string, ok bool) {
	for i := range len(s) {
		if s[i] == '=' {
			return s[:i], s[i+1:], i > 0
		}
	}
	return "", "", false
}
