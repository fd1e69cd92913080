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
)

var partitionFigures = [...]figure{
	figStart:             {"weir_broker_start_offset", model.MetricTypeGauge, "Oldest offset that can still be read.", ""},
	figEnd:               {"weir_broker_end_offset", model.MetricTypeGauge, "Offset the next record will get.", ""},
	figMessages:          {"weir_broker_messages", model.MetricTypeGauge, "Records kept.", ""},
	figBytes:             {"weir_broker_bytes", model.MetricTypeGauge, "Bytes kept.", "bytes"},
	figRetentionSeconds:  {"weir_broker_retention_seconds", model.MetricTypeGauge, "Age at which records are deleted.", "seconds"},
	figRetentionMessages: {"weir_broker_retention_messages", model.MetricTypeGauge, "Number of records kept at most.", ""},
	figRetentionBytes:    {"weir_broker_retention_bytes", model.MetricTypeGauge, "Bytes kept at most.", "bytes"},
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

// seriesCache prepares every series once and marks the ones that vanish as stale. One goroutine.
type seriesCache struct {
	base  []string
	up    *remotewrite.Series
	round uint64
	parts map[partitionKey]*seriesSet
	group map[groupKey]*seriesSet
}

func newSeriesCache(node, system, cluster string) *seriesCache {
	c := &seriesCache{
		base:  []string{"node", node, "system", system, "cluster", cluster},
		parts: map[partitionKey]*seriesSet{},
		group: map[groupKey]*seriesSet{},
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
	sweep(c.parts, b, t, c.round)
	sweep(c.group, b, t, c.round)
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
	default:
		return float64(p.maxBytes), p.maxBytes > 0
	}
}

func (g *groupState) value(i int) (float64, bool) {
	switch i {
	case figCommitted:
		return float64(g.committed), true
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
