package brokers

import (
	"fmt"
	"math"
	"slices"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/forecast"
)

// Reading is one consumer group on one queue, all partitions together, as of its newest poll.
type Reading struct {
	Queue *Queue
	Group string // its name
	Info  *Group
	Lag   Lag
	// Forecast and Rows (by partition, without State by an objective) are never changed, only replaced: they may be shown without
	// the book's lock.
	Forecast *forecast.Forecast
	Rows     []answer.PartitionRow
	// Pipeline and Stage show it, as the owner of the book last found out; the book does not look at them.
	Pipeline, Stage string

	seats     []seat // in the order of the partitions
	ephemeral bool
	gone      bool  // the broker still tells of the destination, not of the group
	stale     bool  // a partition was polled since the last compute
	waited    int64 // poll at which something last waited of which no position is told
}

// seat is a partition with the group's place on it.
type seat struct {
	p   *Partition
	pos *Position
}

// Partitions is how many of them the broker tells of.
func (r *Reading) Partitions() int { return len(r.seats) }

func (r *Reading) join(p *Partition, pos *Position) {
	r.seats = append(r.seats, seat{p, pos})
	slices.SortFunc(r.seats, func(a, b seat) int { return flow.ComparePartitions(a.p.Name, b.p.Name) })
}

func (r *Reading) leave(pos *Position) {
	r.seats = slices.DeleteFunc(r.seats, func(s seat) bool { return s.pos == pos })
}

// Lag adds up the partitions of a queue as one group reads them. Rates are records per second.
type Lag struct {
	Known      bool         // what waits is known, of some partition
	At         int64        // newest poll, Unix milliseconds
	Time       flow.TimeLag // of the worst partition
	Records    float64      // that wait
	Drain      float64      // seconds until they are read; +Inf = never
	In, Out    float64
	RatesKnown bool
	Slope      flow.Slope // of Records
	Trend      string     // flow.Steady and the like
	Stalled    float64    // seconds for which nothing was taken
	Poison     bool       // one record is delivered again and again
	Repeats    float64    // redeliveries since the commit last moved
	Partitions []flow.HopPartition

	Never     int     // partitions never committed though they hold records
	Potential float64 // records that may wait there
	Held      float64 // records behind an open transaction
	Filtered  float64 // backlog of a group that reads only some records; then Known is false
	upper     bool    // the backlog is an upper bound
	beyond    int     // partitions whose commit lies beyond the end
}

func (r *Reading) compute() {
	r.stale = false
	g := Lag{Trend: flow.TrendUnknown, Stalled: math.Inf(1), RatesKnown: true, Partitions: make([]flow.HopPartition, 0, len(r.seats))}
	var total [flow.SlopePoints]flow.XY
	points := -1
	worst := flow.TimeLag{Known: true}
	for _, s := range r.seats {
		pos := s.pos
		if pos.at == 0 {
			continue
		}
		g.At = max(g.At, pos.at)
		g.upper = g.upper || pos.upper
		switch {
		case pos.filtered:
			g.Filtered += pos.records
			continue
		case pos.noCommit:
			if pos.potential > 0 {
				g.Never++
				g.Potential += pos.potential
				continue
			}
		case pos.beyond:
			g.beyond++
		}
		g.Known = true
		g.Records += pos.records
		g.Held += pos.held
		g.Drain = math.Max(g.Drain, pos.drain)
		g.In += math.Max(pos.in.Rate, 0)
		g.Out += math.Max(pos.out.Rate, 0)
		g.Repeats = math.Max(g.Repeats, pos.repeats)
		if pos.records > 0 {
			g.Stalled = math.Min(g.Stalled, pos.stalled)
			g.Poison = g.Poison || pos.poison
		}
		worst = worseOf(worst, pos.lag)
		g.Partitions = append(g.Partitions, flow.HopPartition{Name: s.p.Name, Backlog: pos.records, In: pos.in.Rate, Out: pos.out.Rate, Stalled: pos.stalled})
		if pos.noCommit {
			continue
		}
		g.RatesKnown = g.RatesKnown && pos.in.Known() && pos.out.Known()
		commits := pos.taken(pos.at, s.p.span, flow.SlopePoints)
		b := flow.Minus(s.p.ends, commits)
		if points < 0 {
			points = copy(total[:], b)
			continue
		}
		for i, j := points-1, len(b)-1; i >= 0 && j >= 0; i, j = i-1, j-1 {
			total[i].Y += b[j].Y
		}
	}
	if math.IsInf(g.Stalled, 0) {
		g.Stalled = 0
	}
	if g.Known {
		g.Time = worst
		g.Slope = flow.TheilSen(total[:max(points, 0)])
		g.Trend = flow.Trend(g.Slope, g.In)
	}
	g.RatesKnown = g.RatesKnown && g.Known
	r.Lag, r.Forecast = g, r.look(g.Known, g.At)
	if drain, behind := r.Forecast.Drain(); behind {
		r.Lag.Drain = drain
	}
	r.Rows = r.partitionRows()
}

// worseOf is flow.Worst of two.
func worseOf(a, b flow.TimeLag) flow.TimeLag {
	switch {
	case !a.Known || !b.Known:
		return flow.TimeLag{}
	case b.Seconds > a.Seconds || b.Seconds == a.Seconds && b.Bound > a.Bound:
		return b
	}
	return a
}

// look forecasts from the courses of the partitions.
func (r *Reading) look(known bool, at int64) *forecast.Forecast {
	g := forecast.Group{Known: known, Members: r.Info.Members(at), Shared: r.shared(), Partitions: len(r.seats)}
	return forecast.Of(g, func(yield func(forecast.Partition) bool) {
		for _, s := range r.seats {
			p, pos := s.p, s.pos
			if pos.at == 0 || pos.filtered || pos.noCommit || pos.beyond {
				continue
			}
			f := forecast.Partition{
				Name: p.Name, In: pos.in.Rate, Out: pos.out.Rate, Kept: p.kept(), Behind: pos.behind, Upper: pos.upper, Synthetic: p.present(p.synthetic),
				Reader: flow.Reader{Lag: pos.lag, Speed: pos.speed, Course: pos.course},
			}
			if pos.behind {
				f.Reader.Unread = pos.readable
			}
			if !yield(f) {
				return
			}
		}
	})
}

// shared says whether several consumers take from one partition, so that more of them help beyond the number of partitions.
func (r *Reading) shared() bool {
	switch r.Queue.System {
	case "nats", "rabbitmq", "redis", "sqs", "gcp_pubsub", "servicebus":
		return true
	}
	return r.Info.kind == "share"
}

// Note says in a few words why the figures of a group are not what they seem.
func (r *Reading) Note() string {
	g := &r.Lag
	switch {
	case r.gone:
		return "the broker no longer tells of it"
	case g.At > 0 && !g.Known && g.Never > 0:
		return fmt.Sprintf("never committed; up to %s records may wait", flow.Count(int64(g.Potential)))
	case g.Never > 0:
		return fmt.Sprintf("never committed on %d partitions, where up to %s records may wait", g.Never, flow.Count(int64(g.Potential)))
	case g.beyond > 0:
		return fmt.Sprintf("committed beyond the end on %d partitions", g.beyond)
	case g.At > 0 && !g.Known:
		return "reads only some records"
	case r.Uncounted():
		return "the broker does not count what comes in: neither ages nor rates are known"
	case g.upper:
		return "compacted: the backlog is an upper bound"
	case g.Held > 0:
		return fmt.Sprintf("an open transaction holds back %s records", flow.Count(int64(g.Held)))
	}
	return ""
}

// partitionRows makes the rows of the Partitions tab. Their figures share one slab.
func (r *Reading) partitionRows() []answer.PartitionRow {
	out := make([]answer.PartitionRow, 0, len(r.seats))
	slab := make([]float64, 0, 9*len(r.seats))
	put := func(v float64) *float64 {
		slab = append(slab, v)
		return &slab[len(slab)-1]
	}
	known := func(s sample) *float64 {
		if s.at == 0 {
			return nil
		}
		return put(s.v)
	}
	for _, s := range r.seats {
		p, pos := s.p, s.pos
		row := answer.PartitionRow{
			ID: r.Queue.Destination + "~" + p.Name + "~" + r.Group, System: r.Queue.System, Destination: r.Queue.Destination, Partition: p.Name, Group: r.Group,
			Start: known(p.start), End: known(p.end), Pending: known(pos.unacked), Redelivered: known(pos.redelivered), State: answer.OK,
			Lag: answer.Lag{Trend: flow.TrendUnknown, History: noHistory},
		}
		if !pos.noCommit {
			row.Committed = known(pos.committed)
		}
		l := &row.Lag
		if pos.at > 0 && !pos.noCommit && !pos.beyond {
			l.Messages = put(pos.records)
			if pos.trend != "" {
				l.Trend = pos.trend
			}
		}
		if pos.lag.Known {
			l.Seconds = put(pos.lag.Seconds)
			if !math.IsInf(pos.lag.Bound, 0) {
				l.Bound = put(pos.lag.Bound)
			}
		}
		switch {
		case !pos.behind || pos.upper || !pos.in.Known() || !pos.out.Known() || pos.trend == flow.Steady && pos.stalled == 0:
		case math.IsInf(pos.drain, 1):
			l.DrainNever = true
		default:
			l.Drain = put(pos.drain)
		}
		if pos.at == 0 || !pos.lag.Known {
			row.State = answer.Unknown
		}
		out = append(out, row)
	}
	return out
}

// noHistory is an empty list that JSON does not show as null.
var noHistory = []float64{}
