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
