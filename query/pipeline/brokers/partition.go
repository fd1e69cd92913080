package brokers

import "github.com/weirhq/weir/query/flow"

// Partition is one partition of a queue with its offsets as of the newest poll.
type Partition struct {
	*flow.QueuePartition
	start, end, stable, compacted, synthetic sample
	messages, bytes                          sample
	keptFor, keptRecords, keptBytes          sample  // limits
	leapt                                    float64 // an end that was not believed yet
	groups                                   map[string]*Position
	filledAt                                 int64

	// computed once per poll for all groups
	at, span, longAt int64
	ends, longEnds   []flow.XY
	in, inLong       flow.Slope
}

// EndOffset is the offset of the next record to be written, and when the broker told it, Unix milliseconds.
func (p *Partition) EndOffset() (offset float64, at int64) { return p.end.v, p.end.at }

// present says whether a figure that is absent when it does not apply was told at the newest poll.
func (p *Partition) present(s sample) bool { return s.at > 0 && s.at >= p.end.at }

// kept are the limits of the partition, with the mean size of its records.
func (p *Partition) kept() flow.Kept {
	var k flow.Kept
	if p.present(p.keptFor) {
		k.Seconds = p.keptFor.v
	}
	if p.present(p.keptRecords) {
		k.Records = p.keptRecords.v
	}
	messages := p.messages.v
	if p.messages.at == 0 { // Kafka tells offsets
		messages = p.end.v - p.start.v
	}
	if p.present(p.keptBytes) && messages > 0 && p.bytes.v > 0 {
		k.Bytes, k.Size = p.keptBytes.v, p.bytes.v/messages
	}
	return k
}

// forget makes the partition new at a time: its offsets are those of another destination.
func (p *Partition) forget(at int64) {
	p.start, p.end, p.stable = sample{}, sample{}, sample{}
	p.Start = flow.Table{Brief: true}
	p.End.Renew(at)
	p.at, p.longAt, p.leapt, p.filledAt = 0, 0, 0, 0
	for _, pos := range p.groups {
		*pos.table = flow.Table{Brief: true}
		pos.watch = flow.Watch{}
		pos.at, pos.movedAt, pos.handed, pos.again, pos.holes = 0, 0, 0, nil, nil
		pos.committed, pos.recordTS, pos.delivered, pos.deliveredTotal = sample{}, sample{}, sample{}, sample{}
	}
}

// takeEnd takes an end offset, unless it leaps further than anything can flow; if the next poll says
// the same, everything before is of another life.
func (p *Partition) takeEnd(at int64, v float64) {
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

// sampled makes the samples and slope of the partition's end for a poll once for all groups.
func (p *Partition) sampled(now, span int64) {
	if p.at == now && p.span == span {
		return
	}
	p.at, p.span = now, span
	p.ends = p.End.Recent(now, span, flow.SlopePoints)
	p.in = flow.TheilSen(p.ends)
}

func (p *Partition) sampledLong(now int64) {
	if p.longAt == now {
		return
	}
	p.longAt = now
	p.longEnds = p.End.Recent(now, longSpan, flow.SlopePoints)
	p.inLong = flow.TheilSen(p.longEnds)
}
