package api

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/store"
)

// Stages answers questions about one stage, its groups and what would help.
type Stages interface {
	Stage(ctx context.Context, t store.Tenant, pipeline, stage string) (answer.StagePage, error)
	WhatIf(ctx context.Context, t store.Tenant, pipeline string, q answer.WhatIfQuery) (answer.WhatIf, error)
	Heat(ctx context.Context, t store.Tenant, pipeline, destination, group string, from, to time.Time, step time.Duration) (answer.PartitionHeat, error)
	Groups(ctx context.Context, t store.Tenant, q answer.GroupQuery) (answer.Groups, error)
	Find(ctx context.Context, t store.Tenant, text string, limit int) (answer.Hits, error)
}

func registerStages(a huma.API, s Source, tenant TenantOf) {
	get(a, "stage", "/api/v1/pipelines/{id}/stages/{stage}", "One stage: inputs, containers, versions, cause", func(ctx context.Context, in *struct {
		ID    string `path:"id" maxLength:"200"`
		Stage string `path:"stage" maxLength:"200"`
	},
	) (answer.StagePage, error) {
		return s.Stage(ctx, tenant(ctx), in.ID, in.Stage)
	})
	get(a, "whatif", "/api/v1/pipelines/{id}/whatif", "The forecast with other consumers, rate, retention or partitions", func(ctx context.Context, in *struct {
		ID          string  `path:"id" maxLength:"200"`
		Destination string  `query:"destination" maxLength:"500"`
		Group       string  `query:"group" maxLength:"500"`
		Consumers   int     `query:"consumers" minimum:"0" maximum:"100000" doc:"members of the group; 0 = as it is"`
		Rate        float64 `query:"rate" minimum:"0" maximum:"1000" doc:"factor on the inflow; 0 = as it is"`
		PerConsumer float64 `query:"per_consumer" minimum:"0" maximum:"1000" doc:"factor on what one consumer takes; 0 = as it is"`
		Retention   float64 `query:"retention" minimum:"0" doc:"seconds; 0 = as it is"`
		Partitions  int     `query:"partitions" minimum:"0" maximum:"100000" doc:"0 = as it is"`
	},
	) (answer.WhatIf, error) {
		return s.WhatIf(ctx, tenant(ctx), in.ID, answer.WhatIfQuery{
			Destination: in.Destination, Group: in.Group, Consumers: in.Consumers, Rate: in.Rate, PerConsumer: in.PerConsumer,
			Retention: time.Duration(min(in.Retention, 1e9) * float64(time.Second)), Partitions: in.Partitions,
		})
	})
	get(a, "heat", "/api/v1/pipelines/{id}/heat", "Backlog of each partition over time", func(ctx context.Context, in *struct {
		ID          string `path:"id" maxLength:"200"`
		Destination string `query:"destination" required:"true" maxLength:"500"`
		Group       string `query:"group" required:"true" maxLength:"500"`
		RangeParams
		Step int64 `query:"step" doc:"ms; default range / 120" minimum:"0"`
	},
	) (answer.PartitionHeat, error) {
		from, to := in.times(time.Hour)
		step := time.Duration(in.Step) * time.Millisecond
		if step <= 0 {
			step = max(time.Second, to.Sub(from)/120)
		}
		if to.Before(from) || to.Sub(from)/step > 2000 {
			return answer.PartitionHeat{}, huma.Error400BadRequest("more than 2,000 columns: choose a longer step")
		}
		return s.Heat(ctx, tenant(ctx), in.ID, in.Destination, in.Group, from, to, step)
	})
	get(a, "groups", "/api/v1/groups", "Consumer groups of all brokers, searched and sorted on the server", func(ctx context.Context, in *struct {
		Text   string `query:"q" maxLength:"200" doc:"part of a name"`
		State  string `query:"state" maxLength:"20"`
		System string `query:"system" maxLength:"50"`
		Sort   string `query:"sort" enum:"lag,messages,name" default:"lag"`
		Limit  int    `query:"limit" default:"100" minimum:"1" maximum:"20000"`
		Offset int    `query:"offset" minimum:"0" default:"0"`
	},
	) (answer.Groups, error) {
		return s.Groups(ctx, tenant(ctx), answer.GroupQuery(*in))
	})
	get(a, "find", "/api/v1/find", "Pipelines, stages and groups by name, best first", func(ctx context.Context, in *struct {
		Text  string `query:"q" maxLength:"200" doc:"words that must all be part of a name or of what it belongs to; empty: the worst pipelines"`
		Limit int    `query:"limit" default:"12" minimum:"1" maximum:"100"`
	},
	) (answer.Hits, error) {
		return s.Find(ctx, tenant(ctx), in.Text, in.Limit)
	})
}
