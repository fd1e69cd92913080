// Package forecast says when a backlog is gone, when records are deleted before they are read, and what another number of consumers,
// rate or limit would make of it.
//
// What it knows of a group's partitions comes from query/pipeline/brokers, once per poll; answers go to the pages through
// query/pipeline. It computes with query/flow and keeps nothing else.
package forecast

import (
	"iter"
	"math"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
)

// Group is what is known of the consumers of a queue.
type Group struct {
	Known      bool // its backlog is
	Members    *int // consumers, as the broker says; nil when it does not
	Shared     bool // consumers share partitions: any number of them helps
	Partitions int  // about how many will be given
}

// Partition is one partition as a group reads it.
type Partition struct {
	Name      string
	In, Out   float64 // records per second
	Kept      flow.Kept
	Reader    flow.Reader
	Behind    bool // so far that its course was measured
	Upper     bool // how many records wait is not known
	Synthetic bool // its offsets are made up: limits say nothing about them
}

// Forecast is what happens next, for the worst partition. It is made by Of and never changed.
type Forecast struct {
	Group
	waits       bool // some partition is behind
	drain, loss flow.Span
	lossBy      string
	partition   string
	retention   float64
	speed       flow.Slope
	skew        float64
	perConsumer float64
	rates       []flow.PartitionRate
	kept        []flow.Kept   // by partition, like rates
	readers     []flow.Reader // by partition
}

// Of forecasts from the courses of partitions whose lag is known.
func Of(g Group, parts iter.Seq[Partition]) *Forecast {
	n := g.Partitions
	f := &Forecast{Group: g, rates: make([]flow.PartitionRate, 0, n), kept: make([]flow.Kept, 0, n), readers: make([]flow.Reader, 0, n)}
	var lags []float64
	var courses []flow.Course
	var names []string
	lossAt := ""
	for p := range parts {
		f.rates = append(f.rates, flow.PartitionRate{Name: p.Name, Lag: p.Reader.Unread, In: math.Max(p.In, 0), Out: math.Max(p.Out, 0)})
		f.kept, f.readers = append(f.kept, p.Kept), append(f.readers, p.Reader)
		if f.retention == 0 || p.Kept.Seconds > 0 && p.Kept.Seconds < f.retention {
			f.retention = p.Kept.Seconds
		}
		if !p.Behind || p.Upper { // when they are gone is of no interest, or not known
			continue
		}
		lags, courses, names = append(lags, p.Reader.Unread), append(courses, p.Reader.Course), append(names, p.Name)
		if loss, by := flow.LossSpan(p.Kept, p.Reader); loss.Known && (!f.loss.Known || loss.Value < f.loss.Value) && !p.Synthetic {
			f.loss, f.lossBy, lossAt = loss, by, p.Name
		}
	}
	members := 0
	if g.Members != nil {
		members = *g.Members
	}
	f.skew, f.perConsumer = flow.PartitionSkew(f.rates), flow.PerConsumer(f.rates, members)
	if len(lags) > 0 {
		var each []flow.Span
		f.waits = true
		f.drain, each = flow.DrainGroup(lags, courses)
		worst := 0
		for i := range each {
			if each[i].Value > each[worst].Value || each[i].Value == each[worst].Value && lags[i] > lags[worst] {
				worst = i
			}
		}
		f.partition = names[worst]
	}
	if _, first := f.Loss(); first && lossAt != "" {
		f.partition = lossAt
	}
	for i := range f.rates {
		if f.rates[i].Name == f.partition {
			f.speed = f.readers[i].Speed
		}
	}
	return f
}

// Drain is in how many seconds the backlog is gone, +Inf for never; false when no partition is behind.
func (f *Forecast) Drain() (seconds float64, behind bool) { return f.drain.Value, f.waits }

// Loss is in how many seconds the first unread records are deleted, and whether that is before the backlog is gone.
func (f *Forecast) Loss() (seconds float64, first bool) {
	return f.loss.Value, f.loss.Known && !math.IsInf(f.loss.Value, 0) && (!f.drain.Known || f.loss.Value < f.drain.Value)
}

// Backlog of all partitions, records; false when there is nothing to forecast from.
func (f *Forecast) Backlog() (records float64, known bool) {
	for i := range f.rates {
		records += f.rates[i].Lag
	}
	return records, f.Known && len(f.rates) > 0
}

// consumers are those that read: members as the broker says, else instances that count. Where a partition has one reader, no more than
// partitions, and one for each when nobody tells.
func (f *Forecast) consumers(instances int) int {
	n := instances
	if f.Members != nil && *f.Members > 0 {
		n = *f.Members
	}
	if !f.Shared && (n == 0 || n > len(f.rates)) {
		n = len(f.rates)
	}
	return max(n, 1)
}

// each is what one of n consumers takes per second when it has work; 0 = not known.
func (f *Forecast) each(n int) float64 {
	if !f.Shared || f.perConsumer == 0 {
		return f.perConsumer
	}
	total := 0.0
	for i := range f.rates {
		total += f.rates[i].Out
	}
	return total / float64(n)
}

// Answer shows the forecast, without names; instances is how many processes count as the reader.
func (f *Forecast) Answer(instances int) answer.Forecast {
	out := answer.Forecast{Drain: spanOf(f.drain), LossIn: spanOf(f.loss), LossBy: f.lossBy, Partition: f.partition, Consumers: f.Members}
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
