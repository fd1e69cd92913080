package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/store"
)

var errPending = fmt.Errorf("not built yet: %w", store.ErrUnavailable)

// Stage is to be built.
func (s *Service) Stage(context.Context, store.Tenant, string, string) (answer.StagePage, error) {
	return answer.StagePage{}, errPending
}

// WhatIf is to be built.
func (s *Service) WhatIf(context.Context, store.Tenant, string, answer.WhatIfQuery) (answer.WhatIf, error) {
	return answer.WhatIf{}, errPending
}

// Heat is to be built.
func (s *Service) Heat(context.Context, store.Tenant, string, string, string, time.Time, time.Time, time.Duration) (answer.PartitionHeat, error) {
	return answer.PartitionHeat{}, errPending
}

// Groups is to be built.
func (s *Service) Groups(context.Context, store.Tenant, answer.GroupQuery) (answer.Groups, error) {
	return answer.Groups{}, errPending
}

// Incidents is to be built.
func (s *Service) Incidents(context.Context, store.Tenant, time.Time, time.Time, string, int) (answer.Incidents, error) {
	return answer.Incidents{}, errPending
}

// Incident is to be built.
func (s *Service) Incident(context.Context, store.Tenant, string) (answer.IncidentDetail, error) {
	return answer.IncidentDetail{}, errPending
}

// Annotations is to be built.
func (s *Service) Annotations(context.Context, store.Tenant, time.Time, time.Time, string) (answer.Annotations, error) {
	return answer.Annotations{}, errPending
}

// Annotate is to be built.
func (s *Service) Annotate(context.Context, store.Tenant, string, answer.Annotation) (answer.Annotation, error) {
	return answer.Annotation{}, errPending
}

// DeleteAnnotation is to be built.
func (s *Service) DeleteAnnotation(context.Context, store.Tenant, string) error { return errPending }

