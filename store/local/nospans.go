package local

import (
	"context"
	"fmt"
	"time"

	"github.com/weirhq/weir/store"
)

// noSpans stands in while the span store is not wired.
type noSpans struct{}

var errNoSpans = fmt.Errorf("cannot use spans: not stored yet: %w", store.ErrUnavailable)

func (noSpans) Append(context.Context, store.Tenant, []store.Span) error { return errNoSpans }

func (noSpans) Trace(context.Context, store.Tenant, store.TraceID) ([]store.Span, error) {
	return nil, errNoSpans
}

func (noSpans) Search(context.Context, store.Tenant, store.SpanQuery) ([]store.TraceSummary, error) {
	return nil, errNoSpans
}

func (noSpans) TagNames(context.Context, store.Tenant, time.Time, time.Time, int) ([]string, error) {
	return nil, errNoSpans
}

func (noSpans) TagValues(context.Context, store.Tenant, string, time.Time, time.Time, int) ([]string, error) {
	return nil, errNoSpans
}

func (noSpans) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
