package brokers

import (
	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/query/flow"
)

// sample is a figure as a poll told it.
type sample struct {
	at int64 // Unix milliseconds
	v  float64
}

// target is where the samples of a series go.
type target struct {
	figure int
	node   string
	q      *Queue
	p      *Partition
	pos    *Position
	g      *Group
	d      *discards
	ck     ClusterKey
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
func (b *Book) target(fig int, ls labels.Labels) *target {
	h := ls.Hash()
	if tg, ok := b.series[h]; ok {
		return tg
	}
	if b.options.Silenced(ls) {
		return nil
	}
	if len(b.series) >= maxSeries {
		b.options.Overflow.Inc()
		return nil
	}
	ck := ClusterKey{ls.Get("system"), ls.Get("cluster")}
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
	tg.q = b.queue(QueueKey{ck, ls.Get("destination")})
	switch fig {
	case figInfo:
		tg.text[0] = ls.Get("id")
		return tg
	case figDiscarded:
		tg.d = tg.q.discard(discardKey{Discard{ls.Get("reason"), ls.Get("dead_lettered") == "true"}, tg.node})
		return tg
	}
	tg.p = tg.q.partitionFor(ls.Get("partition"))
	if fig >= figCommitted {
		tg.pos = tg.q.positionFor(tg.p, ls.Get("group"), b.group(groupKey{ck, ls.Get("group")}))
		tg.pos.r.ephemeral = tg.pos.r.ephemeral || ls.Get("ephemeral") == "true"
	}
	return tg
}

func (b *Book) group(k groupKey) *Group {
	g := b.groups[k]
	if g == nil {
		g = &Group{}
		b.groups[k] = g
	}
	return g
}

func (b *Book) queue(k QueueKey) *Queue {
	q := b.queues[k]
	if q == nil {
		q = &Queue{
			QueueKey: k, parts: map[string]*Partition{}, readings: map[string]*Reading{}, discards: map[discardKey]*discards{},
			flow: flow.Queue{System: k.System, Cluster: k.Cluster, Destination: k.Destination},
		}
		b.queues[k] = q
		b.byName[k.Destination] = append(b.byName[k.Destination], q)
	}
	return q
}

func (tg *target) take(b *Book, at int64, v float64) {
	s := sample{at, v}
	switch tg.figure {
	case figUp:
		b.polled = max(b.polled, at)
		old := b.polls[tg.ck]
		if v != 0 || tg.node == old.node || at-old.At > takeover { // where two poll, it is enough that one can
			b.polls[tg.ck] = Poll{At: at, Up: v != 0, node: tg.node}
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
		tg.pos.take(tg.p, tg.figure, s)
	}
}

func newer(a, b sample) sample {
	if b.at >= a.at {
		return b
	}
	return a
}
