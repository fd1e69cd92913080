package forecast

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
)

// curvePoints is how many points the backlog's curve has, and the span it covers at least and at most, seconds; maxEach how many
// partitions are shown.
const (
	maxEach     = 500
	curvePoints = 61
	minCurve    = 600
	maxCurve    = 24 * 3600
)

// changed is a plan with what was assumed to make it.
type changed struct {
	flow.Plan
	consumers, partitions int
	perConsumer           float64
	excess                float64
	retention             float64 // seconds; 0 = as it is
}

// asItIs is who reads what now.
func (f *Forecast) asItIs(n int) flow.Plan {
	if f.Shared {
		total := 0.0
		for i := range f.rates {
			total += f.rates[i].Out
		}
		return pool(f.rates, total)
	}
	return flow.AsItIs(f.rates, n, f.perConsumer)
}

// pool is a plan in which all consumers take from all partitions.
func pool(ps []flow.PartitionRate, capacity float64) flow.Plan {
	return flow.Plan{Partitions: ps, Consumer: make([]int, len(ps)), Capacity: []float64{capacity}}
}

func (f *Forecast) change(now int, q answer.WhatIfQuery) changed {
	c := changed{consumers: now, partitions: len(f.rates), perConsumer: f.each(now), retention: q.Retention.Seconds()}
	rates := slices.Clone(f.rates)
	if c.perConsumer == 0 { // nothing waits: it can take no less than it does
		total := 0.0
		for i := range rates {
			total += rates[i].Out
		}
		c.perConsumer = total / float64(now)
	}
	rate, per := cmp.Or(q.Rate, 1), cmp.Or(q.PerConsumer, 1)
	for i := range rates {
		rates[i].In *= rate
		if per != 1 && rates[i].Lag > 0 {
			rates[i].Capacity = rates[i].Out * per
		}
	}
	c.perConsumer *= per
	if q.Partitions > len(rates) {
		c.partitions = q.Partitions
		rates, c.excess = flow.Spread(rates, q.Partitions)
		for i := range rates {
			if rates[i].Name == "" {
				rates[i].Name = fmt.Sprintf("new %d", i)
			}
		}
	}
	switch {
	case f.Shared:
		if q.Consumers > 0 {
			c.consumers = q.Consumers
		}
		c.Plan = pool(rates, float64(c.consumers)*c.perConsumer)
	case q.Consumers > 0 && q.Consumers != c.consumers || c.partitions != len(f.rates):
		if q.Consumers > 0 {
			c.consumers = q.Consumers
		}
		c.Plan = flow.Assign(rates, c.consumers, c.perConsumer)
	default:
		c.Plan = flow.AsItIs(rates, c.consumers, c.perConsumer)
	}
	return c
}

// WhatIf answers a question about a forecast whose Backlog is known: present is the forecast as it is shown, instances how many processes
// count as the reader.
func (f *Forecast) WhatIf(present answer.Forecast, instances int, q answer.WhatIfQuery) answer.WhatIf {
	now := f.consumers(instances)
	out := answer.WhatIf{Base: present, Changed: present, Curve: []answer.WhatIfPoint{}, Each: []answer.WhatIfPartials{}, Consumers: []answer.WhatIfOption{}}
	base := f.asItIs(now)
	c := f.change(now, q)
	unknown := f.perConsumer == 0 && q != (answer.WhatIfQuery{Destination: q.Destination, Group: q.Group})
	before, after := base.Drain(), c.Drain()
	f.changedForecast(&out.Changed, &c, after, q)
	for i := range c.Partitions {
		p := &c.Partitions[i]
		row := answer.WhatIfPartials{Partition: p.Name, Lag: p.Lag, In: p.In, Changed: finite(after[i])}
		if i < len(before) {
			row.Base = finite(before[i])
		} else {
			row.Base = finite(0)
		}
		out.Each = append(out.Each, row)
	}
	slices.SortStableFunc(out.Each, func(a, b answer.WhatIfPartials) int {
		return cmp.Or(-cmp.Compare(orNever(a.Changed), orNever(b.Changed)), -cmp.Compare(a.Lag, b.Lag), flow.ComparePartitions(a.Partition, b.Partition))
	})
	out.Each = out.Each[:min(len(out.Each), maxEach)]
	span := curveSpan(slices.Max(before), slices.Max(after))
	for i := range curvePoints {
		in := span * float64(i) / (curvePoints - 1)
		out.Curve = append(out.Curve, answer.WhatIfPoint{In: in, Base: base.Backlog(in), Changed: c.Backlog(in)})
	}
	for _, n := range f.choices(now, c.partitions, q.Consumers) {
		o := q
		o.Consumers = n
		out.Consumers = append(out.Consumers, answer.WhatIfOption{Consumers: n, Drain: finite(slices.Max(f.change(now, o).Drain()))})
	}
	out.Sentence = f.sentence(&c, slices.Max(before), slices.Max(after), now, q, unknown)
	return out
}

func (f *Forecast) changedForecast(out *answer.Forecast, c *changed, after []float64, q answer.WhatIfQuery) {
	worst := 0
	for i := range after {
		if after[i] > after[worst] || after[i] == after[worst] && c.Partitions[i].Lag > c.Partitions[worst].Lag {
			worst = i
		}
	}
	same := q == (answer.WhatIfQuery{Destination: q.Destination, Group: q.Group})
	if !same {
		out.Drain = nil
		if after[worst] > 0 { // the spread of what was measured says little about what would be: no interval
			v := finite(after[worst])
			out.Drain = &answer.Span{Value: v, Low: v, High: v}
			out.Partition = c.Partitions[worst].Name
		}
		skew := flow.PartitionSkew(c.Partitions)
		out.Skew, out.PerConsumer, out.Partitions, out.Consumers = &skew, &c.perConsumer, c.partitions, &c.consumers
		out.Speed = nil
	}
	out.LossIn, out.LossBy = nil, ""
	if c.retention > 0 {
		out.Retention = &c.retention
	}
	var soon flow.Span
	load := make([]float64, len(c.Capacity))
	for i, j := range c.Consumer {
		load[j] += c.Partitions[i].In
	}
	for i := range f.readers {
		k, rd := f.kept[i], f.readers[i]
		if c.retention > 0 {
			k.Seconds = c.retention
		}
		if !same {
			in, j := c.Partitions[i].In, c.Consumer[i]
			taken := c.Capacity[j]
			if load[j] > 0 {
				taken *= in / load[j]
			}
			rd.Course = flow.Course{Rate: taken - in}
			if was := f.rates[i].In; was > 0 { // what waits flowed in at the old rate
				v := taken / was
				rd.Speed = flow.Slope{Rate: v, Low: v, High: v, N: 3}
			}
		}
		if loss, by := flow.LossSpan(k, rd); loss.Known && (!soon.Known || loss.Value < soon.Value) {
			soon, out.LossBy = loss, by
		}
	}
	out.LossIn = spanOf(soon)
}

func orNever(f *float64) float64 {
	if f == nil {
		return math.Inf(1)
	}
	return *f
}

// curveSpan is how far the curve looks: a little beyond the later of two drains that come.
func curveSpan(a, b float64) float64 {
	span := 0.0
	for _, d := range []float64{a, b} {
		if !math.IsInf(d, 0) {
			span = math.Max(span, 1.2*d)
		}
	}
	if span == 0 {
		span = 3600
	}
	return math.Min(math.Max(span, minCurve), maxCurve)
}

// choices are the numbers of consumers worth looking at.
func (f *Forecast) choices(now, partitions, asked int) []int {
	out := []int{now}
	most := 4 * now
	if !f.Shared {
		out = append(out, partitions)
		most = max(2*partitions, now)
	}
	if asked > 0 {
		out = append(out, asked)
	}
	for _, n := range []int{1, now - 1, now + 1, now + 2, now * 3 / 2, now * 2, now * 3, now * 4, partitions / 2, partitions + 1} {
		if n > 0 && n <= most {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return out[:min(len(out), 16)]
}

// sentence says what the change brings and what was assumed.
func (f *Forecast) sentence(c *changed, before, after float64, now int, q answer.WhatIfQuery, unknown bool) string {
	say := func(d float64) string {
		switch {
		case math.IsInf(d, 0):
			return "never"
		case d <= 0:
			return "now"
		}
		return "in " + flow.Age(d)
	}
	var out string
	switch {
	case before <= 0 && after <= 0:
		out = "Nothing waits, and nothing would."
	case math.IsInf(before, 0) && math.IsInf(after, 0):
		out = "Nothing changes: the backlog would never be gone."
	case math.Abs(before-after) < 0.01*before:
		out = fmt.Sprintf("Nothing changes: the backlog is gone %s.", say(after))
	default:
		out = fmt.Sprintf("The backlog would be gone %s instead of %s.", say(after), say(before))
	}
	if unknown {
		out += " What one consumer can take is not known, because nothing waits: what it takes now is taken for the most."
	}
	if q.Consumers > c.partitions && !f.Shared {
		out += fmt.Sprintf(" Only %d of %d consumers would read: a partition has one reader.", c.partitions, q.Consumers)
	}
	if hot, skew := hottest(c.Partitions); math.IsInf(after, 0) && skew >= 1.5 && len(c.Partitions) > 1 {
		out += fmt.Sprintf(" Partition %s gets %s, %.2f times the mean, and one consumer takes %s.", hot.Name, flow.Rate(hot.In), skew, flow.Rate(c.perConsumer))
	}
	if q.Partitions > 0 && q.Partitions <= len(f.rates) {
		out += " Partitions cannot become fewer."
	}
	if c.partitions > len(f.rates) {
		out += " Assumed: what waits stays where it is, new records spread evenly over all partitions"
		if c.excess > 0 {
			out += fmt.Sprintf(", but the excess of the hot ones (%s) belongs to keys that stay together", flow.Rate(c.excess))
		}
		out += "."
	}
	switch {
	case f.Members != nil || q.Consumers == 0:
	case f.Shared:
		out += fmt.Sprintf(" The broker does not tell how many consumers read now; %d is assumed.", now)
	default:
		out += fmt.Sprintf(" The broker does not tell how many consumers read now; one for each of the %d partitions is assumed.", len(f.rates))
	}
	return out
}

func hottest(ps []flow.PartitionRate) (hot flow.PartitionRate, skew float64) {
	for _, p := range ps {
		if p.In > hot.In {
			hot = p
		}
	}
	return hot, flow.PartitionSkew(ps)
}
