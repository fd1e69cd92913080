package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/store"
)

var errPending = fmt.Errorf("not built yet: %w", store.ErrUnavailable)

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

// PipelineConfig is to be built.
func (s *Service) PipelineConfig(context.Context, store.Tenant, string) (answer.PipelineConfig, error) {
	return answer.PipelineConfig{}, errPending
}

// CheckPipelineConfig is to be built.
func (s *Service) CheckPipelineConfig(context.Context, store.Tenant, string, string) (answer.ConfigCheck, error) {
	return answer.ConfigCheck{}, errPending
}

// PutPipelineConfig is to be built.
func (s *Service) PutPipelineConfig(context.Context, store.Tenant, string, string, string, int64) (answer.PipelineConfig, error) {
	return answer.PipelineConfig{}, errPending
}

// DeletePipelineConfig is to be built.
func (s *Service) DeletePipelineConfig(context.Context, store.Tenant, string) error {
	return errPending
}
