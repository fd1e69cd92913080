package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/store"
)

// Incidents answers questions about losses as runs of windows.
type Incidents interface {
	FindIncidents(ctx context.Context, t store.Tenant, q answer.LossQuery) (answer.Incidents, error)
	Incident(ctx context.Context, t store.Tenant, id string) (answer.IncidentDetail, error)
}

// Annotations keeps what happened beside what is measured.
type Annotations interface {
	Annotations(ctx context.Context, t store.Tenant, from, to time.Time, pipeline string) (answer.Annotations, error)
	// Annotate stores one; ID, By and Seen of a are ignored and set.
	Annotate(ctx context.Context, t store.Tenant, by string, a answer.Annotation) (answer.Annotation, error)
	DeleteAnnotation(ctx context.Context, t store.Tenant, id string) error
}

func registerIncidents(a huma.API, s Source, tenant TenantOf) {
	get(a, "incidents", "/api/v1/incidents", "Runs of windows with loss, newest first", func(ctx context.Context, in *struct {
		RangeParams
		LossParams
		Limit int `query:"limit" default:"100" minimum:"1" maximum:"2000"`
	},
	) (answer.Incidents, error) {
		from, to := in.times(24 * time.Hour)
		q := in.query(from, to)
		q.Limit = in.Limit
		return s.FindIncidents(ctx, tenant(ctx), q)
	})
	get(a, "incident", "/api/v1/incidents/{id}", "One incident: proof, examples, changes around it", func(ctx context.Context, in *struct {
		ID string `path:"id" maxLength:"16000"`
	},
	) (answer.IncidentDetail, error) {
		return s.Incident(ctx, tenant(ctx), in.ID)
	})
}

// annotationBody is what somebody tells.
type annotationBody struct {
	At       int64             `json:"at,omitempty" doc:"Unix ms; 0 or left out = now"`
	Until    int64             `json:"until,omitempty" doc:"Unix ms; 0 or left out = a moment"`
	Kind     string            `json:"kind,omitempty" maxLength:"50" doc:"deploy, config, incident, note …; left out = note"`
	Text     string            `json:"text" minLength:"1" maxLength:"2000"`
	Pipeline string            `json:"pipeline,omitempty" maxLength:"200" doc:"left out = all"`
	Service  string            `json:"service,omitempty" maxLength:"200" doc:"left out = all"`
	Tags     map[string]string `json:"tags,omitempty"`
}

func registerAnnotations(a huma.API, s Source, tenant TenantOf, name NameOf) {
	get(a, "annotations", "/api/v1/annotations", "What happened: deploys, changes, notes", func(ctx context.Context, in *struct {
		RangeParams
		Pipeline string `query:"pipeline" maxLength:"200"`
	},
	) (answer.Annotations, error) {
		from, to := in.times(24 * time.Hour)
		return s.Annotations(ctx, tenant(ctx), from, to, in.Pipeline)
	})
	operation(a, http.MethodPost, "annotate", "/api/v1/annotations", "Tell what happened", func(ctx context.Context, in *struct {
		Body annotationBody
	},
	) (answer.Annotation, error) {
		b := in.Body
		return s.Annotate(ctx, tenant(ctx), name(ctx), answer.Annotation{
			At: b.At, Until: b.Until, Kind: b.Kind, Text: b.Text, Pipeline: b.Pipeline, Service: b.Service, Tags: b.Tags,
		})
	})
	operation(a, http.MethodDelete, "annotation-delete", "/api/v1/annotations/{id}", "Take back an annotation", func(ctx context.Context, in *struct {
		ID string `path:"id" maxLength:"100"`
	},
	) (struct{}, error) {
		return struct{}{}, s.DeleteAnnotation(ctx, tenant(ctx), in.ID)
	})
}
