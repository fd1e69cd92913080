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
	from = t.exportsSince(from)
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
	if t.isSilenced(ls) {
		return nil
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
