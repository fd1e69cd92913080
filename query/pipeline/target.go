package pipeline

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/weirhq/weir/query/flow"
)

type storageQuerier = storage.Querier

// target is where the samples of a series go.
type target struct {
	figure int
	node   string
	q      *queue
	p      *partition
	m      *member
	g      *groupInfo
	d      *discards
	ck     clusterKey
	text   [2]string // of information series: id; type and state
	last   int64
}

// Figures in the order in which they are read: what other figures are judged by comes first.
const (
	figUp = iota
	figInfo
	figGroupInfo
	figGroupMembers
	figGroupEpoch
	figEnd
	figStart
	figStable
	figCompacted
	figSynthetic
	figMessages
	figBytes
	figKeptFor
	figKeptRecords
	figKeptBytes
	figCommitted
	figUncommitted
	figRecordTS
	figDelivered
	figDeliveredTotal
	figPending
	figUnacked
	figRedelivered
	figFiltered
	figDiscarded
)

// figures are the broker series that are read (docs/wire.md).
var figures = [...]string{
	figUp: "weir_broker_up", figInfo: "weir_broker_destination_info",
	figGroupInfo: "weir_broker_group_info", figGroupMembers: "weir_broker_group_members", figGroupEpoch: "weir_broker_group_epoch",
	figEnd: "weir_broker_end_offset", figStart: "weir_broker_start_offset", figStable: "weir_broker_stable_offset",
	figCompacted: "weir_broker_compacted", figSynthetic: "weir_broker_synthetic",
	figMessages: "weir_broker_messages", figBytes: "weir_broker_bytes",
	figKeptFor: "weir_broker_retention_seconds", figKeptRecords: "weir_broker_retention_messages", figKeptBytes: "weir_broker_retention_bytes",
	figCommitted: "weir_broker_committed_offset", figUncommitted: "weir_broker_uncommitted", figRecordTS: "weir_broker_committed_timestamp_seconds",
	figDelivered: "weir_broker_delivered_offset", figDeliveredTotal: "weir_broker_delivered_total",
	figPending: "weir_broker_pending_messages", figUnacked: "weir_broker_unacked_messages", figRedelivered: "weir_broker_redelivered_messages",
	figFiltered: "weir_broker_filtered", figDiscarded: "weir_broker_discarded_total",
}

// target finds or makes the place of a series; nil when the book is full.
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
	tg := &target{figure: fig, ck: ck, node: ls.Get("node")}
	b.series[h] = tg
	switch fig {
	case figUp:
		return tg
	case figGroupInfo, figGroupMembers, figGroupEpoch:
		tg.g = b.group(groupKey{ck, ls.Get("group")})
		tg.text = [2]string{ls.Get("type"), ls.Get("state")}
		return tg
	}
	tg.q = b.queue(queueKey{ck, ls.Get("destination")})
	switch fig {
	case figInfo:
		tg.text[0] = ls.Get("id")
		return tg
	case figDiscarded:
		tg.d = tg.q.discard(discardKey{ls.Get("reason"), ls.Get("dead_lettered") == "true", tg.node})
		return tg
	}
	tg.p = tg.q.partition(ls.Get("partition"))
	if fig >= figCommitted {
		tg.m = tg.q.member(tg.p, ls.Get("group"), b.group(groupKey{ck, ls.Get("group")}))
		tg.m.r.ephemeral = tg.m.r.ephemeral || ls.Get("ephemeral") == "true"
	}
	return tg
}

func (b *brokerBook) group(k groupKey) *groupInfo {
	g := b.groups[k]
	if g == nil {
		g = &groupInfo{}
		b.groups[k] = g
	}
	return g
}

func (b *brokerBook) queue(k queueKey) *queue {
	q := b.queues[k]
	if q == nil {
		q = &queue{
			queueKey: k, parts: map[string]*partition{}, readings: map[string]*reading{}, discards: map[discardKey]*discards{},
			flow: flow.Queue{System: k.system, Cluster: k.cluster, Destination: k.destination},
		}
		b.queues[k] = q
		b.byName[k.destination] = append(b.byName[k.destination], q)
	}
	return q
}

func (q *queue) partition(name string) *partition {
	p := q.parts[name]
	if p == nil {
		p = &partition{QueuePartition: &flow.QueuePartition{Name: name, Start: flow.Table{Brief: true}, Groups: map[string]*flow.Table{}}, groups: map[string]*member{}}
		q.parts[name] = p
		q.flow.Partitions = append(q.flow.Partitions, p.QueuePartition)
		slices.SortFunc(q.flow.Partitions, func(a, b *flow.QueuePartition) int { return comparePartition(a.Name, b.Name) })
	}
	return p
}

func (q *queue) member(p *partition, group string, info *groupInfo) *member {
	m := p.groups[group]
	if m == nil {
		r := q.readings[group]
		if r == nil {
			r = &reading{q: q, group: group, info: info, forecast: &forecast{}}
			q.readings[group] = r
		}
		m = &member{group: group, table: &flow.Table{Brief: true}, r: r}
		p.groups[group] = m
		p.Groups[group] = m.table
		r.join(p, m)
	}
	return m
}

func (tg *target) take(b *brokerBook, at int64, v float64) {
	s := sample{at, v}
	switch tg.figure {
	case figUp:
		b.polled = max(b.polled, at)
		old, node := b.up[tg.ck], b.upNode[tg.ck]
		if v != 0 || tg.node == node || at-old.at > takeover { // where two poll, it is enough that one can
			b.up[tg.ck], b.upNode[tg.ck] = s, tg.node
		}
	case figInfo:
		tg.q.named(b, tg.text[0], at)
	case figGroupInfo:
		if at >= tg.g.stateAt {
			tg.g.kind, tg.g.state, tg.g.stateAt = tg.text[0], tg.text[1], at
		}
	case figGroupMembers:
		tg.g.members = newer(tg.g.members, s)
	case figGroupEpoch:
		tg.g.epochAt(at, v)
	case figEnd:
		tg.p.takeEnd(at, v)
	case figStart:
		tg.p.start = s
		tg.p.Start.Add(at, int64(v))
	case figStable:
		tg.p.stable = s
	case figCompacted:
		tg.p.compacted = s
	case figSynthetic:
		tg.p.synthetic = s
	case figMessages:
		tg.p.messages = s
	case figBytes:
		tg.p.bytes = s
	case figKeptFor:
		tg.p.keptFor = s
	case figKeptRecords:
		tg.p.keptRecords = s
	case figKeptBytes:
		tg.p.keptBytes = s
	case figDiscarded:
		tg.d.take(at, v)
	default:
		tg.m.take(tg.p, tg.figure, s)
	}
}

func newer(a, b sample) sample {
	if b.at >= a.at {
		return b
	}
	return a
}

// takeEnd takes an end offset, unless it leaps further than anything can flow; if the next poll says
// the same, everything before is of another life.
func (p *partition) takeEnd(at int64, v float64) {
	if p.end.at > 0 && v-p.end.v > float64(flow.Leap(at-p.end.at)) {
		if p.leapt == 0 || v < p.leapt || v-p.leapt > float64(flow.Leap(at-p.end.at)) {
			p.leapt = v
			return
		}
		p.forget(at)
	}
	p.leapt = 0
	p.end = sample{at, v}
	p.End.Add(at, int64(v))
}

// named takes the broker's own id of a destination: another one means that it was deleted and created again,
// and nothing that was known of its offsets holds.
func (q *queue) named(b *brokerBook, id string, at int64) {
	switch {
	case id == q.id:
		q.idAt = max(q.idAt, at)
	case q.id == "":
		q.id, q.idAt = id, at
	case at > q.idAt:
		q.id, q.idAt, q.since = id, at, at
		for _, p := range q.parts {
			p.forget(at)
		}
		b.notes = append(b.notes, q.destination+" was deleted and created again.")
	default: // an earlier life, read after the present one
		q.since = max(q.since, at+1)
	}
}
