package broker

import "github.com/prometheus/common/model"

// figure is one kind of series; its index in a seriesSet is its place in the list.
type figure struct {
	name string
	kind model.MetricType
	help string
	unit string
}

func gauge(name, help, unit string) figure {
	return figure{name, model.MetricTypeGauge, help, unit}
}

func counter(name, help string) figure {
	return figure{name, model.MetricTypeCounter, help, ""}
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
	figEndTime
	figSynthetic
)

var partitionFigures = [...]figure{
	figStart:             gauge("weir_broker_start_offset", "Oldest offset that can still be read.", ""),
	figEnd:               gauge("weir_broker_end_offset", "Offset the next record will get.", ""),
	figMessages:          gauge("weir_broker_messages", "Records kept.", ""),
	figBytes:             gauge("weir_broker_bytes", "Bytes kept.", "bytes"),
	figRetentionSeconds:  gauge("weir_broker_retention_seconds", "Age at which records are deleted.", "seconds"),
	figRetentionMessages: gauge("weir_broker_retention_messages", "Number of records kept at most.", ""),
	figRetentionBytes:    gauge("weir_broker_retention_bytes", "Bytes kept at most.", "bytes"),
	figStable:            gauge("weir_broker_stable_offset", "Last stable offset: what readers of committed transactions can see.", ""),
	figCompacted:         gauge("weir_broker_compacted", "1 when records are replaced by newer ones of their key, so offsets do not count records.", ""),
	figStartTime:         gauge("weir_broker_start_timestamp_seconds", "Time of the oldest record.", "seconds"),
	figEndTime:           gauge("weir_broker_end_timestamp_seconds", "Time of the youngest record, once no record came between two polls.", "seconds"),
	figSynthetic:         gauge("weir_broker_synthetic", "1 when positions were made out of counters, so no rule about offsets applies.", ""),
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
	figCommitted:      gauge("weir_broker_committed_offset", "Next offset the group has not acknowledged.", ""),
	figDelivered:      gauge("weir_broker_delivered_offset", "Next offset not yet handed out.", ""),
	figDeliveredTotal: counter("weir_broker_delivered_total", "Deliveries with repetitions."),
	figPending:        gauge("weir_broker_pending_messages", "Records not yet delivered.", ""),
	figUnacked:        gauge("weir_broker_unacked_messages", "Records delivered, not yet acknowledged.", ""),
	figRedelivered:    gauge("weir_broker_redelivered_messages", "Records delivered again, as the broker says.", ""),
	figCommittedTime:  gauge("weir_broker_committed_timestamp_seconds", "Time of the record at the committed offset.", "seconds"),
	figFiltered:       gauge("weir_broker_filtered", "1 when the group reads only some records of the destination, so offsets are not backlog.", ""),
	figUncommitted:    gauge("weir_broker_uncommitted", "1 when the group never committed here.", ""),
}

// Places in destinationFigures; the discarded ones have a series for each reason.
const (
	figInfo = iota
	figPublished
	figConsumed
	figRepeated
)

var destinationFigures = [...]figure{
	figInfo:      gauge("weir_broker_destination_info", "1; id is the broker's own id of the destination.", ""),
	figPublished: counter("weir_broker_published_total", "Records taken in since the broker counts."),
	figConsumed:  counter("weir_broker_consumed_total", "Records acknowledged since the broker counts."),
	figRepeated:  counter("weir_broker_redelivered_total", "Records delivered again since the broker counts."),
}

var figDiscarded = counter("weir_broker_discarded_total", "Records the broker gave up, by reason.")

// Places in memberFigures.
const (
	figGroupInfo = iota
	figMembers
	figEpoch
)

var memberFigures = [...]figure{
	figGroupInfo: gauge("weir_broker_group_info", "1; type and state as the broker writes them.", ""),
	figMembers:   gauge("weir_broker_group_members", "Members of the group.", ""),
	figEpoch:     gauge("weir_broker_group_epoch", "Generation of the group; each rebalance makes it grow.", ""),
}

// What is said about a broker as a whole.
var (
	figUp      = gauge("weir_broker_up", "1 when the last poll worked, at least in part.", "")
	figPartial = gauge("weir_broker_partial", "1 when the last poll could not read everything.", "")
	figOwner   = gauge("weir_broker_owner", "1 when this collector polls the broker, 0 when another one does.", "")
)

func (p *partitionState) value(i int) (float64, bool) {
	switch i {
	case figStart:
		return float64(p.start), !p.unplaced
	case figEnd:
		return float64(p.end), !p.unplaced
	case figMessages:
		return float64(p.messages), p.tells&toldMessages != 0
	case figBytes:
		return float64(p.bytes), p.tells&toldBytes != 0
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
	case figEndTime:
		return float64(p.newestAt.UnixMicro()) / 1e6, !p.newestAt.IsZero()
	default:
		return 1, p.synthetic
	}
}

func (g *groupState) value(i int) (float64, bool) {
	switch i {
	case figCommitted:
		return float64(g.committed), !g.uncommitted && !g.unplaced
	case figDelivered:
		return float64(g.delivered), g.tells&toldDelivered != 0
	case figDeliveredTotal:
		return float64(g.deliveredTotal), g.tells&toldDeliveredTotal != 0
	case figPending:
		return float64(g.pending), g.tells&toldPending != 0
	case figUnacked:
		return float64(g.unacked), g.tells&toldUnacked != 0
	case figRedelivered:
		return float64(g.redelivered), g.tells&toldRedelivered != 0
	case figCommittedTime:
		return float64(g.committedAt.UnixMicro()) / 1e6, !g.committedAt.IsZero()
	case figUncommitted:
		return 1, g.uncommitted
	default:
		return 1, g.filtered
	}
}
