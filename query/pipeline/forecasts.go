package pipeline

import (
	"cmp"
	"math"
	"slices"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
)

// finite is nil for what never comes.
func finite(v float64) *float64 {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return nil
	}
	return &v
}

func spanOf(s flow.Span) *answer.Span {
	if !s.Known {
		return nil
	}
	return &answer.Span{Value: finite(s.Value), Low: finite(s.Low), High: finite(s.High)}
}

// consumers are those that read: members as the broker says, else instances that count. Where a partition has one reader, no more than
// partitions, and one for each when nobody tells.
func (f *forecast) consumers(instances int) int {
	n := instances
	if f.members != nil && *f.members > 0 {
		n = *f.members
	}
	if !f.shared && (n == 0 || n > len(f.rates)) {
		n = len(f.rates)
	}
	return max(n, 1)
}

// each is what one of n consumers takes per second when it has work; 0 = not known.
func (f *forecast) each(n int) float64 {
	if !f.shared || f.perConsumer == 0 {
		return f.perConsumer
	}
	total := 0.0
	for i := range f.rates {
		total += f.rates[i].Out
	}
	return total / float64(n)
}

// answer of a forecast; stage is the reader's name, instances how many processes count as it.
func (r *reading) answer(stage string, instances int) answer.Forecast {
	f := r.forecast
	out := answer.Forecast{
		Destination: r.q.destination, Group: r.group, Stage: stage, Drain: spanOf(f.drain), LossIn: spanOf(f.loss), LossBy: f.lossBy,
		Partition: f.partition, Partitions: len(r.seats), Consumers: f.members,
	}
	if f.retention > 0 {
		out.Retention = &f.retention
	}
	if f.speed.Known() {
		out.Speed = &f.speed.Rate
	}
	if f.skew > 0 {
		out.Skew = &f.skew
	}
	if each := f.each(f.consumers(instances)); each > 0 {
		out.PerConsumer = &each
	}
	return out
}

// forecastsOf lists the forecasts of all inputs, worst first, and the soonest loss.
func forecastsOf(looks []stageLook) (out []answer.Forecast, loss *float64) {
	out = []answer.Forecast{}
	for i := range looks {
		for _, r := range looks[i].readings {
			f := r.answer(looks[i].Name, len(looks[i].Instances))
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
	var first *reading
	for i := range looks {
		for _, r := range looks[i].readings {
			if r.forecast.lossFirst() && r.forecast.loss.Value < nearLoss && (first == nil || r.forecast.loss.Value < first.forecast.loss.Value) {
				first = r
			}
		}
	}
	if first == nil {
		return sentence
	}
	s := "Retention begins to delete unread records of " + first.q.destination + " in " + flow.Age(first.forecast.loss.Value) + "."
	if first.forecast.loss.Value <= 0 {
		s = "Retention deletes unread records of " + first.q.destination + " now."
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
