// Package trace turns stored spans into the waterfall and the search list of the UI, and answers
// Tempo's HTTP API, so that Grafana's Tempo data source works against weir unchanged.
//
// Spans come from store.Spans; answers go to query/api (Service) and over HTTP (Routes).
package trace

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/store"
)

// Bounds of one question.
const (
	maxSpans    = 200_000          // of a trace in an answer; the earliest are kept
	maxHops     = 20               // traces followed over links
	maxTraces   = 1000             // of a search
	maxTags     = 5000             // names or values of a list
	maxTime     = 30 * time.Second // of one question
	defaultFind = 20
)

// Service answers what query/api.Source asks about traces.
type Service struct{ spans store.Spans }

// New makes a Service over a store.
func New(spans store.Spans) *Service { return &Service{spans: spans} }

// Traces searches traces. It returns store.ErrInvalid for a question that contradicts itself.
func (s *Service) Traces(ctx context.Context, t store.Tenant, q store.SpanQuery) (answer.Traces, error) {
	sums, err := s.search(ctx, t, q)
	if err != nil {
		return answer.Traces{}, err
	}
	return Rows(sums), nil
}

func (s *Service) search(ctx context.Context, t store.Tenant, q store.SpanQuery) ([]store.TraceSummary, error) {
	switch {
	case !q.From.IsZero() && !q.To.IsZero() && q.To.Before(q.From):
		return nil, fmt.Errorf("%w: cannot search from %s to %s: the end is before the start", store.ErrInvalid, q.From, q.To)
	case q.MinDuration < 0 || q.MaxDuration < 0:
		return nil, fmt.Errorf("%w: cannot search durations from %s to %s: use positive ones", store.ErrInvalid, q.MinDuration, q.MaxDuration)
	case q.MaxDuration > 0 && q.MaxDuration < q.MinDuration:
		return nil, fmt.Errorf("%w: cannot search durations from %s to %s: the longest is below the shortest", store.ErrInvalid, q.MinDuration, q.MaxDuration)
	}
	if q.Limit <= 0 {
		q.Limit = defaultFind
	}
	q.Limit = min(q.Limit, maxTraces)
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	sums, err := s.spans.Search(ctx, t, q)
	return sums, slow(err)
}

// slow names the way out when a question took too long.
func slow(err error) error {
	if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, store.ErrLimit) {
		return fmt.Errorf("%w: the question took more than %s, ask for a shorter time range: %w", store.ErrLimit, maxTime, err)
	}
	return err
}

// Trace returns the waterfall of a trace, together with the spans its consumers link to in other
// traces. It returns store.ErrInvalid for what is not an id and store.ErrNotFound.
func (s *Service) Trace(ctx context.Context, t store.Tenant, id string) (answer.Trace, error) {
	tid, err := ParseID(id)
	if err != nil {
		return answer.Trace{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	spans, cut, err := s.fetch(ctx, t, tid)
	if err != nil {
		return answer.Trace{}, slow(err)
	}
	linked, err := s.linked(ctx, t, tid, spans)
	if err != nil {
		return answer.Trace{}, slow(err)
	}
	out := Assemble(tid, spans, linked)
	out.Truncated = cut
	return out, nil
}

// fetch returns the earliest maxSpans spans of a trace and how many it left out.
func (s *Service) fetch(ctx context.Context, t store.Tenant, id store.TraceID) (spans []store.Span, cut int, err error) {
	spans, err = s.spans.Trace(ctx, t, id)
	if err != nil {
		return nil, 0, fmt.Errorf("trace %s: %w", hex.EncodeToString(id[:]), err)
	}
	if len(spans) > maxSpans {
		cut = len(spans) - maxSpans
		spans = spans[:maxSpans]
	}
	return spans, cut, nil
}

// linked follows the links of consumer spans one hop, over at most maxHops traces, and returns the
// spans they point to. A trace that is not there any more is left out.
func (s *Service) linked(ctx context.Context, t store.Tenant, id store.TraceID, spans []store.Span) ([]store.Span, error) {
	want := map[store.TraceID]map[store.SpanID]struct{}{}
	for i := range spans {
		if spans[i].Kind != store.KindConsumer {
			continue
		}
		for _, l := range spans[i].Links {
			if l.Trace == id {
				continue
			}
			ids, ok := want[l.Trace]
			if !ok {
				if len(want) == maxHops {
					continue
				}
				ids = map[store.SpanID]struct{}{}
				want[l.Trace] = ids
			}
			ids[l.Span] = struct{}{}
		}
	}
	var out []store.Span
	for other, ids := range want {
		found, err := s.spans.Trace(ctx, t, other)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("linked trace %s: %w", hex.EncodeToString(other[:]), err)
		}
		for i := range found {
			if _, ok := ids[found[i].ID]; ok && len(out) < maxSpans {
				out = append(out, found[i])
			}
		}
	}
	return out, nil
}

// ParseID reads a trace id of up to 32 hexadecimal digits; short ones are filled with zeros on the left.
func ParseID(s string) (store.TraceID, error) {
	var id store.TraceID
	if s == "" || len(s) > 32 {
		return id, fmt.Errorf("%w: cannot use trace id %q: it has 1 to 32 hexadecimal digits", store.ErrInvalid, s)
	}
	if _, err := hex.Decode(id[:], []byte(strings.Repeat("0", 32-len(s))+s)); err != nil {
		return id, fmt.Errorf("%w: cannot use trace id %q: it has 1 to 32 hexadecimal digits", store.ErrInvalid, s)
	}
	return id, nil
}

// Rows makes the list of the search page.
func Rows(sums []store.TraceSummary) answer.Traces {
	out := answer.Traces{Traces: make([]answer.TraceRow, 0, len(sums))}
	for i := range sums {
		s := &sums[i]
		services := s.Services
		if services == nil {
			services = []string{}
		}
		out.Traces = append(out.Traces, answer.TraceRow{
			ID: hex.EncodeToString(s.Trace[:]), Service: s.RootService, Name: s.RootName,
			Start: s.Start / 1e6, Duration: float64(s.Duration) / 1e9, Spans: s.Spans, Errors: s.Errors, Services: services,
		})
	}
	return out
}
