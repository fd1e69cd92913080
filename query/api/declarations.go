package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/store"
)

// Declarations keeps what people say a pipeline is.
type Declarations interface {
	PipelineConfig(ctx context.Context, t store.Tenant, id string) (answer.PipelineConfig, error)
	// CheckPipelineConfig says what is wrong with a declaration and how it differs from what is seen; it stores nothing.
	CheckPipelineConfig(ctx context.Context, t store.Tenant, id, yaml string) (answer.ConfigCheck, error)
	// PutPipelineConfig stores a declaration. version is the one the writer read, 0 for a new one; store.ErrConflict when it
	// is not the newest, store.ErrInvalid with all complaints when it cannot be used.
	PutPipelineConfig(ctx context.Context, t store.Tenant, by, id, yaml string, version int64) (answer.PipelineConfig, error)
	DeletePipelineConfig(ctx context.Context, t store.Tenant, id string) error
}

type declaration struct {
	YAML    string `json:"yaml" maxLength:"200000"`
	Version int64  `json:"version,omitempty" doc:"the version that was read; 0 or left out = new"`
}

func registerDeclarations(a huma.API, s Source, tenant TenantOf, name NameOf) {
	type byID struct {
		ID string `path:"id" maxLength:"200"`
	}
	type withBody struct {
		ID   string `path:"id" maxLength:"200"`
		Body declaration
	}
	get(a, "pipeline-config", "/api/v1/pipelines/{id}/config", "What was declared, and what weir proposes", func(ctx context.Context, in *byID) (answer.PipelineConfig, error) {
		return s.PipelineConfig(ctx, tenant(ctx), in.ID)
	})
	operation(a, http.MethodPost, "pipeline-config-check", "/api/v1/pipelines/{id}/config/check", "Check a declaration without storing it", func(ctx context.Context, in *withBody) (answer.ConfigCheck, error) {
		return s.CheckPipelineConfig(ctx, tenant(ctx), in.ID, in.Body.YAML)
	})
	operation(a, http.MethodPut, "pipeline-config-put", "/api/v1/pipelines/{id}/config", "Declare a pipeline", func(ctx context.Context, in *withBody) (answer.PipelineConfig, error) {
		return s.PutPipelineConfig(ctx, tenant(ctx), name(ctx), in.ID, in.Body.YAML, in.Body.Version)
	})
	operation(a, http.MethodDelete, "pipeline-config-delete", "/api/v1/pipelines/{id}/config", "Take back a declaration", func(ctx context.Context, in *byID) (struct{}, error) {
		return struct{}{}, s.DeletePipelineConfig(ctx, tenant(ctx), in.ID)
	})
}
