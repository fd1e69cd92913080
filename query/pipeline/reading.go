package pipeline

import (
	"fmt"
	"math"
	"slices"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
)

// reading is one group on one destination, all partitions together, as of its newest poll.
type reading struct {
	q         *queue
	group     string
	info      *groupInfo
	seats     []seat // in the order of the partitions
	ephemeral bool
	gone      bool // the broker still tells of the destination, not of the group
	stale     bool // a partition was polled since the last compute

	lag      groupLag
	forecast *forecast             // like rows, only replaced
	rows     []answer.PartitionRow // without State; never changed, only replaced

	// who shows it, from the last discovery
	pipeline, stage string
}

// seat is a partition with the group's place on it.
type seat struct {
	p *partition
	m *member
}

func (r *reading) join(p *partition, m *member) {
	r.seats = append(r.seats, seat{p, m})
	slices.SortFunc(r.seats, func(a, b seat) int { return comparePartition(a.p.Name, b.p.Name) })
}

func (r *reading) leave(m *member) {
	r.seats = slices.DeleteFunc(r.seats, func(s seat) bool { return s.m == m })
}

// groupLag adds up the partitions of a destination as one group reads them.
type groupLag struct {
	known          bool
	at             int64 // newest poll
	lag            flow.TimeLag
	records, drain float64
	in, out        float64
	ratesKnown     bool
	slope          flow.Slope
	trend          string
	stalled        float64
	poison         bool
	repeats        float64
	parts          []flow.HopPartition

	never     int     // partitions never committed though they hold records
	potential float64 // records that may wait there
	held      float64 // records behind an open transaction
	upper     bool    // the backlog is an upper bound
	beyond    int     // partitions whose commit lies beyond the end
	filtered  float64 // backlog of a group that reads only some records; then known is false
}

// forecast is what happens next, for the worst partition.
type forecast struct {
	known       bool
	drain, loss flow.Span
	lossBy      string
	partition   string
	retention   float64
	speed       flow.Slope
	skew        float64
	members     *int
	perConsumer float64
	shared      bool // consumers share partitions: any number of them helps
	rates       []flow.PartitionRate
	kept        []flow.Kept   // by partition, like rates
	readers     []flow.Reader // by partition
}

func (r *reading) compute() {
	r.stale = false
	g := groupLag{trend: flow.TrendUnknown, stalled: math.Inf(1), ratesKnown: true, parts: make([]flow.HopPartition, 0, len(r.seats))}
	var total [flow.SlopePoints]flow.XY
	points := -1
	worst := flow.TimeLag{Known: true}
	for _, s := range r.seats {
		m := s.m
		if m.at == 0 {
			continue
		}
		g.at = max(g.at, m.at)
		g.upper = g.upper || m.upper
		switch {
		case m.filtered:
			g.filtered += m.records
			continue
		case m.noCommit:
			if m.potential > 0 {
				g.never++
				g.potential += m.potential
				continue
			}
		case m.beyond:
			g.beyond++
		}
		g.known = true
		g.records += m.records
		g.held += m.held
		g.drain = math.Max(g.drain, m.drain)
		g.in += math.Max(m.in.Rate, 0)
		g.out += math.Max(m.out.Rate, 0)
		g.repeats = math.Max(g.repeats, m.repeats)
		if m.records > 0 {
			g.stalled = math.Min(g.stalled, m.stalled)
			g.poison = g.poison || m.poison
		}
		worst = worseOf(worst, m.lag)
		g.parts = append(g.parts, flow.HopPartition{Name: s.p.Name, Backlog: m.records, In: m.in.Rate, Out: m.out.Rate, Stalled: m.stalled})
		if m.noCommit {
			continue
		}
		g.ratesKnown = g.ratesKnown && m.in.Known() && m.out.Known()
		commits := m.table.Recent(m.at, s.p.span, flow.SlopePoints)
		b := flow.Minus(s.p.ends, commits)
		if points < 0 {
			points = copy(total[:], b)
			continue
		}
		for i, j := points-1, len(b)-1; i >= 0 && j >= 0; i, j = i-1, j-1 {
			total[i].Y += b[j].Y
		}
	}
	if math.IsInf(g.stalled, 0) {
		g.stalled = 0
	}
	if g.known {
		g.lag = worst
		g.slope = flow.TheilSen(total[:max(points, 0)])
		g.trend = flow.Trend(g.slope, g.in)
	}
	g.ratesKnown = g.ratesKnown && g.known
	r.lag = g
	r.look()
	r.rows = r.partitionRows()
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

// look forecasts from the members' courses.
func (r *reading) look() {
	f := &forecast{known: r.lag.known, members: r.info.memberCount(r.lag.at)}
	n := len(r.seats)
	f.rates, f.kept, f.readers = make([]flow.PartitionRate, 0, n), make([]flow.Kept, 0, n), make([]flow.Reader, 0, n)
	var lags []float64
	var courses []flow.Course
	var names []string
	lossAt := ""
	for _, s := range r.seats {
		m := s.m
		if m.at == 0 || m.filtered || m.noCommit || m.beyond {
			continue
		}
		lag := 0.0
		if m.behind {
			lag = m.readable
		}
		k := s.p.kept()
		reader := flow.Reader{Lag: m.lag, Speed: m.speed, Unread: lag, Course: m.course}
		f.rates = append(f.rates, flow.PartitionRate{Name: s.p.Name, Lag: lag, In: math.Max(m.in.Rate, 0), Out: math.Max(m.out.Rate, 0)})
		f.kept, f.readers = append(f.kept, k), append(f.readers, reader)
		if f.retention == 0 || k.Seconds > 0 && k.Seconds < f.retention {
			f.retention = k.Seconds
		}
		if !m.behind {
			continue
		}
		if m.upper { // how many records wait is not known: neither is when they are gone
			continue
		}
		lags, courses, names = append(lags, m.readable), append(courses, m.course), append(names, s.p.Name)
		if loss, by := flow.LossSpan(k, reader); loss.Known && (!f.loss.Known || loss.Value < f.loss.Value) && !s.p.present(s.p.synthetic) {
			f.loss, f.lossBy, lossAt = loss, by, s.p.Name
		}
	}
	f.shared = r.shared()
	f.skew, f.perConsumer = flow.PartitionSkew(f.rates), flow.PerConsumer(f.rates, orNone(f.members))
	if len(lags) > 0 {
		var each []flow.Span
		f.drain, each = flow.DrainGroup(lags, courses)
		worst := 0
		for i := range each {
			if each[i].Value > each[worst].Value || each[i].Value == each[worst].Value && lags[i] > lags[worst] {
				worst = i
			}
		}
		f.partition = names[worst]
		r.lag.drain = f.drain.Value
	}
	if lossAt != "" && f.lossFirst() {
		f.partition = lossAt
	}
	for _, s := range r.seats {
		if s.p.Name == f.partition {
			f.speed = s.m.speed
		}
	}
	r.forecast = f
}

// shared says whether several consumers take from one partition, so that more of them help beyond the number of partitions.
func (r *reading) shared() bool {
	switch r.q.system {
	case "nats", "rabbitmq", "redis", "sqs", "gcp_pubsub", "servicebus":
		return true
	}
	return r.info.kind == "share"
}

// lossFirst says that records are deleted before the backlog is gone.
func (f *forecast) lossFirst() bool {
	return f.loss.Known && !math.IsInf(f.loss.Value, 0) && (!f.drain.Known || f.loss.Value < f.drain.Value)
}

func orNone(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}

// note says in a few words why the figures of a group are not what they seem.
func (r *reading) note() string {
	g := &r.lag
	switch {
	case r.gone:
		return "the broker no longer tells of it"
	case g.at > 0 && !g.known && g.never > 0:
		return fmt.Sprintf("never committed; up to %s records may wait", flow.Count(int64(g.potential)))
	case g.never > 0:
		return fmt.Sprintf("never committed on %d partitions, where up to %s records may wait", g.never, flow.Count(int64(g.potential)))
	case g.beyond > 0:
		return fmt.Sprintf("committed beyond the end on %d partitions", g.beyond)
	case g.at > 0 && !g.known:
		return "reads only some records"
	case g.upper:
		return "compacted: the backlog is an upper bound"
	case g.held > 0:
		return fmt.Sprintf("an open transaction holds back %s records", flow.Count(int64(g.held)))
	}
	return ""
}

// partitionRows makes the rows of the Partitions tab. Their figures share one slab.
func (r *reading) partitionRows() []answer.PartitionRow {
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
		p, m := s.p, s.m
		row := answer.PartitionRow{
			ID: r.q.destination + "~" + p.Name + "~" + r.group, System: r.q.system, Destination: r.q.destination, Partition: p.Name, Group: r.group,
			Start: known(p.start), End: known(p.end), Pending: known(m.unacked), Redelivered: known(m.redelivered), State: answer.OK,
			Lag: answer.Lag{Trend: flow.TrendUnknown, History: noHistory},
		}
		if !m.noCommit {
			row.Committed = known(m.committed)
		}
		l := &row.Lag
		if m.at > 0 && !m.noCommit && !m.beyond {
			l.Messages = put(m.records)
			if m.trend != "" {
				l.Trend = m.trend
			}
		}
		if m.lag.Known {
			l.Seconds = put(m.lag.Seconds)
			if !math.IsInf(m.lag.Bound, 0) {
				l.Bound = put(m.lag.Bound)
			}
		}
		switch {
		case !m.behind || m.upper || !m.in.Known() || !m.out.Known() || m.trend == flow.Steady && m.stalled == 0:
		case math.IsInf(m.drain, 1):
			l.DrainNever = true
		default:
			l.Drain = put(m.drain)
		}
		if m.at == 0 || !m.lag.Known {
			row.State = answer.Unknown
		}
		out = append(out, row)
	}
	return out
}

// noHistory is an empty list that JSON does not show as null.
var noHistory = []float64{}
