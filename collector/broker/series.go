package broker

import (
	"math"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"

	"github.com/weirhq/weir/collector/remotewrite"
)

// figure is one kind of series; its index in a seriesSet is its place in the list.
type figure struct {
	name string
	kind model.MetricType
	help string
	unit string
}

// Places in partitionFigures.
const (
	figStart = iota
	figEnd
	figMessages
	figBytes
	figRetentionSeconds
	figRetentionMessages
	figRetentionBytes
	figStable
	figCompacted
	figStartTime
	figSynthetic
)

var partitionFigures = [...]figure{
	figStart:             {"weir_broker_start_offset", model.MetricTypeGauge, "Oldest offset that can still be read.", ""},
	figEnd:               {"weir_broker_end_offset", model.MetricTypeGauge, "Offset the next record will get.", ""},
	figMessages:          {"weir_broker_messages", model.MetricTypeGauge, "Records kept.", ""},
	figBytes:             {"weir_broker_bytes", model.MetricTypeGauge, "Bytes kept.", "bytes"},
	figRetentionSeconds:  {"weir_broker_retention_seconds", model.MetricTypeGauge, "Age at which records are deleted.", "seconds"},
	figRetentionMessages: {"weir_broker_retention_messages", model.MetricTypeGauge, "Number of records kept at most.", ""},
	figRetentionBytes:    {"weir_broker_retention_bytes", model.MetricTypeGauge, "Bytes kept at most.", "bytes"},
	figStable:            {"weir_broker_stable_offset", model.MetricTypeGauge, "Last stable offset: what readers of committed transactions can see.", ""},
	figCompacted:         {"weir_broker_compacted", model.MetricTypeGauge, "1 when records are replaced by newer ones of their key, so offsets do not count records.", ""},
	figStartTime:         {"weir_broker_start_timestamp_seconds", model.MetricTypeGauge, "Time of the oldest record.", "seconds"},
	figSynthetic:         {"weir_broker_synthetic", model.MetricTypeGauge, "1 when positions were made out of counters, so no rule about offsets applies.", ""},
}

// Places in groupFigures.
const (
	figCommitted = iota
	figDelivered
	figDeliveredTotal
	figPending
	figUnacked
	figRedelivered
	figCommittedTime
	figFiltered
	figUncommitted
)

var groupFigures = [...]figure{
	figCommitted:      {"weir_broker_committed_offset", model.MetricTypeGauge, "Next offset the group has not acknowledged.", ""},
	figDelivered:      {"weir_broker_delivered_offset", model.MetricTypeGauge, "Next offset not yet handed out.", ""},
	figDeliveredTotal: {"weir_broker_delivered_total", model.MetricTypeCounter, "Deliveries with repetitions.", ""},
	figPending:        {"weir_broker_pending_messages", model.MetricTypeGauge, "Records not yet delivered.", ""},
	figUnacked:        {"weir_broker_unacked_messages", model.MetricTypeGauge, "Records delivered, not yet acknowledged.", ""},
	figRedelivered:    {"weir_broker_redelivered_messages", model.MetricTypeGauge, "Records delivered again, as the broker says.", ""},
	figCommittedTime:  {"weir_broker_committed_timestamp_seconds", model.MetricTypeGauge, "Time of the record at the committed offset.", "seconds"},
	figFiltered:       {"weir_broker_filtered", model.MetricTypeGauge, "1 when the group reads only some records of the destination, so offsets are not backlog.", ""},
	figUncommitted:    {"weir_broker_uncommitted", model.MetricTypeGauge, "1 when the group never committed here.", ""},
}

// Places in destinationFigures; the discarded ones have a series for each reason.
const (
	figInfo = iota
	figPublished
	figConsumed
	figRepeated
)

var destinationFigures = [...]figure{
	figInfo:      {"weir_broker_destination_info", model.MetricTypeGauge, "1; id is the broker's own id of the destination.", ""},
	figPublished: {"weir_broker_published_total", model.MetricTypeCounter, "Records taken in since the broker counts.", ""},
	figConsumed:  {"weir_broker_consumed_total", model.MetricTypeCounter, "Records acknowledged since the broker counts.", ""},
	figRepeated:  {"weir_broker_redelivered_total", model.MetricTypeCounter, "Records delivered again since the broker counts.", ""},
}

var figDiscarded = figure{"weir_broker_discarded_total", model.MetricTypeCounter, "Records the broker gave up, by reason.", ""}

// Places in memberFigures.
const (
	figGroupInfo = iota
	figMembers
	figEpoch
)

var memberFigures = [...]figure{
	figGroupInfo: {"weir_broker_group_info", model.MetricTypeGauge, "1; type and state as the broker writes them.", ""},
	figMembers:   {"weir_broker_group_members", model.MetricTypeGauge, "Members of the group.", ""},
	figEpoch:     {"weir_broker_group_epoch", model.MetricTypeGauge, "Generation of the group; each rebalance makes it grow.", ""},
}

// seriesSet holds the prepared series of one partition or one group.
type seriesSet struct {
	labels []string // pairs that follow the name, node and system
	made   []*remotewrite.Series
	live   []bool // had a value in the poll before
	round  uint64 // last poll that saw it
}

type partitionKey struct{ destination, partition string }

type groupKey struct {
	destination, partition, group string
	ephemeral                     bool
}

// destinationKey and memberKey hold what makes a series of its own: another id or state is another series.
type destinationKey struct {
	destination, id, reason string
	dead                    bool
}

type memberKey struct{ group, kind, state string }

// seriesCache prepares every series once and marks the ones that vanish as stale. One goroutine.
type seriesCache struct {
	base  []string
	up    *remotewrite.Series
	round uint64
	parts map[partitionKey]*seriesSet
	group map[groupKey]*seriesSet
	dests map[destinationKey]*seriesSet
	membs map[memberKey]*seriesSet
}

func newSeriesCache(node, system, cluster string) *seriesCache {
	c := &seriesCache{
		base:  []string{"node", node, "system", system, "cluster", cluster},
		parts: map[partitionKey]*seriesSet{},
		group: map[groupKey]*seriesSet{},
		dests: map[destinationKey]*seriesSet{},
		membs: map[memberKey]*seriesSet{},
	}
	c.up = c.series(figure{"weir_broker_up", model.MetricTypeGauge, "1 when the last poll worked.", ""}, nil)
	return c
}

func (c *seriesCache) series(f figure, more []string) *remotewrite.Series {
	b := labels.NewScratchBuilder(8)
	b.Add(model.MetricNameLabel, f.name)
	for _, pairs := range [][]string{c.base, more} {
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i+1] != "" { // an empty label is no label
				b.Add(pairs[i], pairs[i+1])
			}
		}
	}
	b.Sort()
	return remotewrite.NewSeries(b.Labels(), metadata.Metadata{Type: f.kind, Help: f.help, Unit: f.unit})
}

// add puts one poll into b. What had a value before and has none now gets a staleness marker,
// also when the broker is away: an old offset must not pass for a present one.
func (c *seriesCache) add(b *remotewrite.Batch, at time.Time, snap snapshot, up bool) {
	c.round++
	t := at.UnixMilli()
	b.Add(c.up, t, 0, bool01(up))
	for i := range snap.partitions {
		c.addPartition(b, t, &snap.partitions[i])
	}
	for i := range snap.groups {
		c.addGroup(b, t, &snap.groups[i])
	}
	for i := range snap.destinations {
		c.addDestination(b, t, &snap.destinations[i])
	}
	for i := range snap.members {
		c.addMembers(b, t, &snap.members[i])
	}
	sweep(c.parts, b, t, c.round)
	sweep(c.group, b, t, c.round)
	sweep(c.dests, b, t, c.round)
	sweep(c.membs, b, t, c.round)
}

func (c *seriesCache) addDestination(b *remotewrite.Batch, t int64, d *destinationState) {
	set := func(k destinationKey, n int, ls ...string) *seriesSet {
		s := c.dests[k]
		if s == nil {
			s = newSet(append([]string{"destination", d.destination}, ls...), n)
			c.dests[k] = s
		}
		s.round = c.round
		return s
	}
	if d.id != "" {
		c.put(b, t, set(destinationKey{destination: d.destination, id: d.id}, 1, "id", d.id), 0, destinationFigures[figInfo], 1, true)
	}
	counts := set(destinationKey{destination: d.destination}, len(destinationFigures))
	for i, v := range [...]float64{figPublished: d.published, figConsumed: d.consumed, figRepeated: d.redelivered} {
		if i != figInfo {
			c.put(b, t, counts, i, destinationFigures[i], v, v >= 0)
		}
	}
	for _, x := range d.discarded {
		ls := []string{"reason", x.reason}
		if x.deadLettered {
			ls = append(ls, "dead_lettered", "true")
		}
		c.put(b, t, set(destinationKey{d.destination, "", x.reason, x.deadLettered}, 1, ls...), 0, figDiscarded, x.n, x.n >= 0)
	}
}

func (c *seriesCache) addMembers(b *remotewrite.Batch, t int64, m *memberState) {
	info := memberKey{m.group, m.kind, m.state}
	s := c.membs[info]
	if s == nil {
		s = newSet([]string{"group", m.group, "type", m.kind, "state", m.state}, 1)
		c.membs[info] = s
	}
	s.round = c.round
	c.put(b, t, s, figGroupInfo, memberFigures[figGroupInfo], 1, true)
	whole := memberKey{group: m.group, kind: "\x00"} // no broker writes this
	if s = c.membs[whole]; s == nil {
		s = newSet([]string{"group", m.group}, len(memberFigures))
		c.membs[whole] = s
	}
	s.round = c.round
	c.put(b, t, s, figMembers, memberFigures[figMembers], float64(m.members), m.members >= 0)
	c.put(b, t, s, figEpoch, memberFigures[figEpoch], float64(m.epoch), m.epoch >= 0)
}

func (c *seriesCache) addPartition(b *remotewrite.Batch, t int64, p *partitionState) {
	k := partitionKey{p.destination, p.partition}
	s := c.parts[k]
	if s == nil {
		s = newSet([]string{"destination", p.destination, "partition", p.partition}, len(partitionFigures))
		c.parts[k] = s
	}
	s.round = c.round
	for i, f := range &partitionFigures {
		v, ok := p.value(i)
		c.put(b, t, s, i, f, v, ok)
	}
}

func (c *seriesCache) addGroup(b *remotewrite.Batch, t int64, g *groupState) {
	k := groupKey{g.destination, g.partition, g.group, g.ephemeral}
	s := c.group[k]
	if s == nil {
		ls := []string{"destination", g.destination, "partition", g.partition, "group", g.group}
		if g.ephemeral {
			ls = append(ls, "ephemeral", "true")
		}
		s = newSet(ls, len(groupFigures))
		c.group[k] = s
	}
	s.round = c.round
	for i, f := range &groupFigures {
		v, ok := g.value(i)
		c.put(b, t, s, i, f, v, ok)
	}
}

func newSet(ls []string, n int) *seriesSet {
	return &seriesSet{labels: ls, made: make([]*remotewrite.Series, n), live: make([]bool, n)}
}

func (c *seriesCache) put(b *remotewrite.Batch, t int64, s *seriesSet, i int, f figure, v float64, ok bool) {
	if !ok {
		if s.live[i] {
			b.Add(s.made[i], t, 0, staleNaN())
			s.live[i] = false
		}
		return
	}
	if s.made[i] == nil {
		s.made[i] = c.series(f, s.labels)
	}
	s.live[i] = true
	b.Add(s.made[i], t, 0, v)
}

// sweep marks and forgets what this round did not see.
func sweep[K comparable](m map[K]*seriesSet, b *remotewrite.Batch, t int64, round uint64) {
	for k, s := range m {
		if s.round == round {
			continue
		}
		for i, live := range s.live {
			if live {
				b.Add(s.made[i], t, 0, staleNaN())
			}
		}
		delete(m, k)
	}
}

func (p *partitionState) value(i int) (float64, bool) {
	switch i {
	case figStart:
		return float64(p.start), true
	case figEnd:
		return float64(p.end), true
	case figMessages:
		return float64(p.messages), true
	case figBytes:
		return float64(p.bytes), true
	case figRetentionSeconds:
		return p.maxAge.Seconds(), p.maxAge > 0
	case figRetentionMessages:
		return float64(p.maxMessages), p.maxMessages > 0
	case figRetentionBytes:
		return float64(p.maxBytes), p.maxBytes > 0
	case figStable:
		return float64(p.stable), p.stableSet
	case figCompacted:
		return 1, p.compacted
	case figStartTime:
		return float64(p.oldestAt.UnixMicro()) / 1e6, !p.oldestAt.IsZero()
	default:
		return 1, p.synthetic
	}
}

func (g *groupState) value(i int) (float64, bool) {
	switch i {
	case figCommitted:
		return float64(g.committed), !g.uncommitted
	case figDelivered:
		return float64(g.delivered), true
	case figDeliveredTotal:
		return float64(g.deliveredTotal), true
	case figPending:
		return float64(g.pending), true
	case figUnacked:
		return float64(g.unacked), true
	case figRedelivered:
		return float64(g.redelivered), true
	case figCommittedTime:
		return float64(g.committedAt.UnixMicro()) / 1e6, !g.committedAt.IsZero()
	case figUncommitted:
		return 1, g.uncommitted
	default:
		return 1, g.filtered
	}
}

func bool01(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func staleNaN() float64 { return math.Float64frombits(value.StaleNaN) }
