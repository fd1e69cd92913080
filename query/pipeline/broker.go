package pipeline

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/query/flow"
)

// clusterKey names a broker, queueKey a destination of it.
type (
	clusterKey struct{ system, cluster string }
	queueKey   struct {
		clusterKey
		destination string
	}
)

// brokerBook holds what the brokers told, by destination.
type brokerBook struct {
	queues map[queueKey]*queue
	byName map[string][]*queue
	series map[uint64]*target // by hash of the labels
	up     map[clusterKey]sample
	until  int64 // polls up to here are read
	wide   int64 // when the last read with a long overlap was
}

type sample struct {
	at int64
	v  float64
}

// queue is a destination with its partitions.
type queue struct {
	queueKey
	parts map[string]*partition
	flow  flow.Queue
}

type partition struct {
	*flow.QueuePartition
	start, end sample
	retention  float64 // seconds; 0 = none
	groups     map[string]*member
}

// member is one group on one partition.
type member struct {
	group string
	table *flow.Table // committed offsets

	committed, recordTS, delivered, deliveredTotal, unacked, redelivered sample
	filtered                                                             bool
	watch                                                                flow.Watch
	events                                                               []flow.Event
	told                                                                 int          // events already made into verdicts
	again                                                                []flow.Point // deliveries beyond positions, over time

	// computed at the last poll
	at       int64
	handed   int64 // deliveries at the poll before
	movedAt  int64 // poll at which the commit last went forward
	moved    float64
	reach    float64 // delivered position then
	gap      float64 // usual time between commits, seconds, at the upper end; 0 = not known
	poison   bool
	lag      flow.TimeLag
	in, out  flow.Slope
	records  float64
	drain    float64
	stalled  float64 // seconds
	backlogs []flow.XY
}

// target is where the samples of a series go.
type target struct {
	figure int
	q      *queue
	p      *partition
	m      *member
	ck     clusterKey
	last   int64
}

const (
	figStart = iota
	figEnd
	figRetention
	figCommitted
	figRecordTS
	figDelivered
	figDeliveredTotal
	figUnacked
	figRedelivered
	figFiltered
	figUp
)

// figures are the broker series that are read.
var figures = [...]string{
	figStart: "weir_broker_start_offset", figEnd: "weir_broker_end_offset", figRetention: "weir_broker_retention_seconds",
	figCommitted: "weir_broker_committed_offset", figRecordTS: "weir_broker_committed_timestamp_seconds",
	figDelivered: "weir_broker_delivered_offset", figDeliveredTotal: "weir_broker_delivered_total",
	figUnacked: "weir_broker_unacked_messages", figRedelivered: "weir_broker_redelivered_messages",
	figFiltered: "weir_broker_filtered", figUp: "weir_broker_up",
}

// maxBrokerSeries bounds how many series are followed per tenant.
const maxBrokerSeries = 500_000

func newBrokerBook() brokerBook {
	return brokerBook{queues: map[queueKey]*queue{}, byName: map[string][]*queue{}, series: map[uint64]*target{}, up: map[clusterKey]sample{}}
}

// readBroker takes in new polls. Samples may come a little late; every half minute a longer stretch is looked at again.
func (t *tenant) readBroker(ctx context.Context, now int64) error {
	b := &t.broker
	from := max(b.until-10_000, now-3_600_000)
	if now-b.wide > 30_000 {
		from = max(min(from, b.until-300_000), now-3_600_000)
		b.wide = now
		b.prune(now, t.s.cfg.Forget.Milliseconds())
	}
	q, err := t.s.engine.Metrics().Querier(t.id, from, now)
	if err != nil {
		return fmt.Errorf("cannot read broker series: %w", err)
	}
	defer func() { _ = q.Close() }()
	touched := map[*partition]bool{}
	for fig, name := range figures {
		var tg *target
		err := each(ctx, q, name, func(ls labels.Labels) bool {
			tg = t.target(fig, ls)
			return tg != nil
		}, func(at int64, v float64) {
			if at <= tg.last || math.IsInf(v, 0) {
				return
			}
			tg.last = at
			tg.take(b, at, v)
			if tg.p != nil {
				touched[tg.p] = true
			}
		})
		if err != nil {
			return fmt.Errorf("cannot read %s: %w", name, err)
		}
	}
	for p := range touched {
		for _, m := range p.groups {
			m.compute(p)
		}
	}
	b.until = now
	return nil
}

func (t *tenant) target(fig int, ls labels.Labels) *target {
	b := &t.broker
	h := ls.Hash()
	if tg, ok := b.series[h]; ok {
		return tg
	}
	if len(b.series) >= maxBrokerSeries {
		t.s.overflow.Inc()
		return nil
	}
	ck := clusterKey{ls.Get("system"), ls.Get("cluster")}
	tg := &target{figure: fig, ck: ck}
	b.series[h] = tg
	if fig == figUp {
		return tg
	}
	qk := queueKey{ck, ls.Get("destination")}
	tg.q = b.queues[qk]
	if tg.q == nil {
		tg.q = &queue{queueKey: qk, parts: map[string]*partition{}, flow: flow.Queue{System: ck.system, Cluster: ck.cluster, Destination: qk.destination}}
		b.queues[qk] = tg.q
		b.byName[qk.destination] = append(b.byName[qk.destination], tg.q)
	}
	name := ls.Get("partition")
	tg.p = tg.q.parts[name]
	if tg.p == nil {
		tg.p = &partition{QueuePartition: &flow.QueuePartition{Name: name, Groups: map[string]*flow.Table{}}, groups: map[string]*member{}}
		tg.q.parts[name] = tg.p
		tg.q.flow.Partitions = append(tg.q.flow.Partitions, tg.p.QueuePartition)
		slices.SortFunc(tg.q.flow.Partitions, func(a, b *flow.QueuePartition) int { return comparePartition(a.Name, b.Name) })
	}
	if fig >= figCommitted && fig <= figFiltered {
		g := ls.Get("group")
		tg.m = tg.p.groups[g]
		if tg.m == nil {
			tg.m = &member{group: g, table: &flow.Table{}}
			tg.p.groups[g] = tg.m
			tg.p.Groups[g] = tg.m.table
		}
	}
	return tg
}

// comparePartition orders numbers by value and other names by text.
func comparePartition(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

func (tg *target) take(b *brokerBook, at int64, v float64) {
	s := sample{at, v}
	switch tg.figure {
	case figStart:
		tg.p.start = s
		tg.p.Start.Add(at, int64(v))
	case figEnd:
		tg.p.end = s
		tg.p.End.Add(at, int64(v))
	case figRetention:
		tg.p.retention = v
	case figCommitted:
		tg.m.committed = s
		tg.m.table.Add(at, int64(v))
	case figRecordTS:
		tg.m.recordTS = s
	case figDelivered:
		tg.m.delivered = s
	case figDeliveredTotal:
		tg.m.deliveredTotal = s
		if tg.m.delivered.at == at {
			tg.m.repeated(at, int64(v-tg.m.delivered.v))
		}
	case figUnacked:
		tg.m.unacked = s
	case figRedelivered:
		tg.m.redelivered = s
	case figFiltered:
		// A group that reads only some records: offsets say nothing about its backlog.
		if tg.m.filtered = v != 0; tg.m.filtered {
			delete(tg.p.Groups, tg.m.group)
		}
	case figUp:
		b.up[tg.ck] = s
	}
}

// repeated notes how far deliveries are ahead of positions: what it grows by is delivered again.
func (m *member) repeated(at, v int64) {
	if n := len(m.again); n > 0 && m.again[n-1].V == v {
		return
	}
	m.again = append(m.again, flow.Point{T: at, V: v})
	if len(m.again) > 2000 {
		m.again = slices.Delete(m.again, 0, 1000)
	}
}

// redeliveries since a time: positions that went back, and deliveries that were repeated.
func (m *member) redeliveries(since int64) int64 {
	var n int64
	for _, e := range m.events {
		if e.Kind == flow.EventRewind && e.T >= since {
			n += e.N
		}
	}
	for i := 1; i < len(m.again); i++ {
		if d := m.again[i].V - m.again[i-1].V; d > 0 && m.again[i].T >= since {
			n += d
		}
	}
	return n
}

// Spans over which slopes are taken, milliseconds: the short one, twelve polls, sees changes soon; the long one is steadier.
const (
	minShort = 30_000
	maxShort = 120_000
	longSpan = 300_000
	slopeN   = 13
)

// compute brings lag, rates and findings of a group on a partition up to its newest poll.
func (m *member) compute(p *partition) {
	now := m.committed.at
	if now == 0 || now == m.at || p.end.at < now-60_000 {
		return
	}
	prevAt, table := m.at, m.table
	m.at = now
	end, committed := int64(p.end.v), int64(m.committed.v)
	o := flow.Offsets{T: now, Start: int64(p.start.v), End: end, Committed: committed}
	delivered := int64(-1)
	if m.deliveredTotal.at == now {
		if m.handed > 0 {
			delivered = max(0, int64(m.deliveredTotal.v)-m.handed)
		}
		m.handed = int64(m.deliveredTotal.v)
	}
	for _, e := range m.watch.Step(o, delivered) {
		if prevAt > 0 {
			m.events = append(m.events, e)
		}
	}
	if len(m.events) > 1000 {
		m.events = slices.Delete(m.events, 0, 500)
		m.told = max(0, m.told-500)
	}
	record := int64(0)
	if m.recordTS.at == now {
		record = int64(m.recordTS.v * 1000)
	}
	m.lag = flow.LagOf(now, end, max(committed, 0), record, &p.End)
	_, nominal := flow.Messages(o.Start, end, committed)
	m.records = float64(nominal)
	short := int64(minShort)
	if prevAt > 0 {
		short = min(max(12*(now-prevAt), minShort), maxShort)
	}
	ends, commits := p.End.Recent(now, short, slopeN), table.Recent(now, short, slopeN)
	m.in, m.out = flow.TheilSen(ends), flow.TheilSen(commits)
	m.backlogs = m.backlogs[:0]
	for i, j := len(ends)-1, len(commits)-1; i >= 0 && j >= 0; i, j = i-1, j-1 {
		m.backlogs = append(m.backlogs, flow.XY{X: commits[j].X, Y: ends[i].Y - commits[j].Y})
	}
	slices.Reverse(m.backlogs)
	in, out := m.in.Rate, m.out.Rate
	if m.records > 0 { // the longer span, unless the short one says that something changed
		if l := flow.TheilSen(p.End.Recent(now, longSpan, slopeN)); l.Known() && l.Rate >= m.in.Low && l.Rate <= m.in.High {
			in = l.Rate
		}
		if l := flow.TheilSen(table.Recent(now, longSpan, slopeN)); l.Known() && l.Rate >= m.out.Low && l.Rate <= m.out.High {
			out = l.Rate
		}
	}
	m.drain = flow.Drain(m.records, in, out)
	if m.committed.v != m.moved {
		if m.movedAt > 0 {
			m.gap = math.Max(float64(now-m.movedAt)/1000, m.gap*0.9)
		}
		m.movedAt, m.moved, m.reach = now, m.committed.v, m.delivered.v
	}
	patience := float64(stallAfter) // commits come in steps: wait longer than they usually take
	if m.gap > 0 {
		patience = math.Max(minStall, 3*m.gap)
	}
	m.stalled = 0
	if since, ok := table.Reached(committed); ok && m.records > 0 {
		if there, ok := p.End.Reached(committed + 1); ok {
			if m.stalled = float64(now-max(since, there)) / 1000; m.stalled < patience {
				m.stalled = 0
			}
		}
	}
	m.poison = m.stalled > 0 && m.delivered.at == now && m.delivered.v > m.reach && m.redelivered.v > 0
}

// lagOf adds up the partitions of a destination as one group reads them.
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
	parts          []flow.HopPartition
}

func (q *queue) lagOf(group string) groupLag {
	g := groupLag{trend: flow.TrendUnknown}
	var lags []flow.TimeLag
	var total []flow.XY
	g.stalled = math.Inf(1)
	g.ratesKnown = true
	for _, fp := range q.flow.Partitions {
		p := q.parts[fp.Name]
		m := p.groups[group]
		if m == nil || m.at == 0 || m.filtered {
			continue
		}
		g.known = true
		g.at = max(g.at, m.at)
		lags = append(lags, m.lag)
		g.records += m.records
		g.drain = math.Max(g.drain, m.drain)
		g.ratesKnown = g.ratesKnown && m.in.Known() && m.out.Known()
		g.in += math.Max(m.in.Rate, 0)
		g.out += math.Max(m.out.Rate, 0)
		if m.records > 0 {
			g.stalled = math.Min(g.stalled, m.stalled)
			g.poison = g.poison || m.poison
		}
		g.parts = append(g.parts, flow.HopPartition{Name: fp.Name, Backlog: m.records, In: m.in.Rate})
		if total == nil {
			total = slices.Clone(m.backlogs)
			continue
		}
		for i, j := len(total)-1, len(m.backlogs)-1; i >= 0 && j >= 0; i, j = i-1, j-1 {
			total[i].Y += m.backlogs[j].Y
		}
	}
	if math.IsInf(g.stalled, 0) {
		g.stalled = 0
	}
	g.lag = flow.Worst(lags)
	g.slope = flow.TheilSen(total)
	g.trend = flow.Trend(g.slope, g.in)
	g.ratesKnown = g.ratesKnown && g.known
	return g
}

// How long a group must have taken nothing to be called stalled, seconds: while its usual commit interval
// is not known, and at least.
const (
	stallAfter = 15
	minStall   = 5
)

// prune forgets partitions and groups that the broker no longer tells about.
func (b *brokerBook) prune(now, forget int64) {
	for k, q := range b.queues {
		newest := int64(0)
		for _, p := range q.parts {
			newest = max(newest, p.end.at)
		}
		for name, p := range q.parts {
			gone := now-p.end.at > forget || newest-p.end.at > 600_000
			for g, m := range p.groups {
				if gone || now-m.committed.at > forget || p.end.at-m.committed.at > 3_600_000 {
					delete(p.groups, g)
					delete(p.Groups, g)
				}
			}
			if gone {
				delete(q.parts, name)
				q.flow.Partitions = slices.DeleteFunc(q.flow.Partitions, func(o *flow.QueuePartition) bool { return o == p.QueuePartition })
			}
		}
		if len(q.parts) == 0 {
			delete(b.queues, k)
			b.byName[k.destination] = slices.DeleteFunc(b.byName[k.destination], func(o *queue) bool { return o == q })
		}
	}
	for h, tg := range b.series {
		if tg.p != nil && (tg.q.parts[tg.p.Name] != tg.p || tg.m != nil && tg.p.groups[tg.m.group] != tg.m) {
			delete(b.series, h)
		}
	}
}

// queueFor finds the destination that a group reads; of several of the same name the one whose broker knows the group.
func (b *brokerBook) queueFor(destination, group string) *queue {
	var any *queue
	for _, q := range b.byName[destination] {
		if any == nil {
			any = q
		}
		for _, p := range q.parts {
			if p.groups[group] != nil {
				return q
			}
		}
	}
	return any
}
