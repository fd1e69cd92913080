package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/brokers"
	"github.com/weirhq/weir/store"
)

// WhatIf answers the forecast of one input of a pipeline as it is and as it would be.
func (s *Service) WhatIf(ctx context.Context, id store.Tenant, pipeline string, q answer.WhatIfQuery) (answer.WhatIf, error) {
	v, err := s.viewOf(ctx, id)
	if err != nil {
		return answer.WhatIf{}, err
	}
	from := v.parts[pipeline]
	if from == nil {
		return answer.WhatIf{}, fmt.Errorf("cannot find pipeline %q: %w", pipeline, store.ErrNotFound)
	}
	var in *inputPart // the one with the largest backlog where nothing is said
	most := 0.0
	for i := range from.inputs {
		x := &from.inputs[i]
		if (q.Destination == "" || x.Destination == q.Destination) && (q.Group == "" || x.Group == q.Group) {
			if backlog, known := x.forecast.Backlog(); known && (in == nil || backlog > most) {
				in, most = x, backlog
			}
		}
	}
	if in == nil {
		return answer.WhatIf{}, fmt.Errorf("cannot forecast %q as %q reads it in pipeline %q: no broker tells how far it has come: %w", q.Destination, q.Group, pipeline, store.ErrNotFound)
	}
	return in.forecast.WhatIf(in.Forecast, in.instances, q), nil
}

// forecastOf answers the forecast of a group; stage is its name in the pipeline, instances how many processes count as it.
func forecastOf(r *brokers.Reading, stage string, instances int) answer.Forecast {
	out := r.Forecast.Answer(instances)
	out.Destination, out.Group, out.Stage, out.Partitions = r.Queue.Destination, r.Group, stage, r.Partitions()
	return out
}

// forecastsOf lists the forecasts of all inputs, worst first, and the soonest loss.
func forecastsOf(looks []stageLook) (out []answer.Forecast, loss *float64) {
	out = []answer.Forecast{}
	for i := range looks {
		for _, r := range looks[i].readings {
			f := forecastOf(r, looks[i].Name, len(looks[i].Instances))
			if f.LossIn != nil && f.LossIn.Value != nil && (loss == nil || *f.LossIn.Value < *loss) {
				loss = f.LossIn.Value
			}
			out = append(out, f)
		}
	}
	slices.SortStableFunc(out, func(a, b answer.Forecast) int {
		return cmp.Or(cmp.Compare(soonest(a.LossIn), soonest(b.LossIn)), -cmp.Compare(latest(a.Drain), latest(b.Drain)))
	})
	return out, loss
}

func soonest(s *answer.Span) float64 {
	if s == nil || s.Value == nil {
		return math.Inf(1)
	}
	return *s.Value
}

// latest is when a drain ends: nothing to drain is sooner than any.
func latest(s *answer.Span) float64 {
	switch {
	case s == nil:
		return -1
	case s.Value == nil:
		return math.Inf(1)
	}
	return *s.Value
}

// nearLoss is how soon a loss must be to be told with the state, seconds.
const nearLoss = 86_400

// withLoss adds that retention will delete records before they are read.
func withLoss(sentence string, looks []stageLook) string {
	var first *brokers.Reading
	in := float64(nearLoss)
	for i := range looks {
		for _, r := range looks[i].readings {
			if loss, before := r.Forecast.Loss(); before && loss < in {
				first, in = r, loss
			}
		}
	}
	if first == nil {
		return sentence
	}
	s := "Retention begins to delete unread records of " + first.Queue.Destination + " in " + flow.Age(in) + "."
	if in <= 0 {
		s = "Retention deletes unread records of " + first.Queue.Destination + " now."
	}
	if sentence == "" {
		return s
	}
	return sentence + " " + s
}

// furthest is the watermark that is furthest behind, seconds.
func furthest(looks []stageLook) *float64 {
	var out *float64
	for i := range looks {
		if w := looks[i].facts.watermark; w != nil && (out == nil || *w > *out) {
			out = w
		}
	}
	return out
}
