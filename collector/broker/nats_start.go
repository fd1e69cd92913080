package broker

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// natsFirst is the first sequence a stream still had at a poll. A stream made anew under its name begins anew.
type natsFirst struct {
	seq     uint64
	created time.Time
}

// first is the first sequence before the consumers were asked; of a stream made anew since then, the one after.
func (p *streamPoll) first() natsFirst {
	i := p.info
	if p.before.Created.Equal(p.info.Created) {
		i = &p.before
	}
	return natsFirst{max(i.State.FirstSeq, 1), i.Created} // a stream nobody wrote to says first 0, last 0
}

// natsStart is the start to be told: records before it are gone without having been acknowledged, or were acknowledged by
// all. Where an acknowledgement deletes, the first sequence follows the ack floors, and of a replicated stream it may be ahead
// of them for a moment. There it counts beyond the lowest floor only as far as it was there at the poll before, when the
// floors had a whole interval to follow, and only if a limit can delete what nobody acknowledged.
func natsStart(p *streamPoll, now, before natsFirst) uint64 {
	if p.info.Config.Retention == jetstream.LimitsPolicy {
		return now.seq
	}
	lowest := now.seq
	for _, c := range p.consumers {
		if !natsFilters(c) && !c.Created.Before(p.info.Created) {
			lowest = min(lowest, c.AckFloor.Stream+1)
		}
	}
	if natsDeletesUnread(&p.info.Config) && before.created.Equal(now.created) {
		lowest = max(lowest, before.seq)
	}
	return min(now.seq, lowest)
}

// natsDeletesUnread says whether a limit of the stream deletes old records whether they were acknowledged or not.
func natsDeletesUnread(c *jetstream.StreamConfig) bool {
	return c.MaxAge > 0 || c.AllowMsgTTL || natsReplaces(c) || c.Discard == jetstream.DiscardOld && (c.MaxMsgs > 0 || c.MaxBytes > 0)
}

// natsReplaces says whether new records of a subject delete older ones of it: gaps come up anywhere, so offsets do not count records.
func natsReplaces(c *jetstream.StreamConfig) bool {
	return c.MaxMsgsPerSubject > 0 && !c.DiscardNewPerSubject
}

func natsFilters(c *jetstream.ConsumerInfo) bool {
	return c.Config.FilterSubject != "" || len(c.Config.FilterSubjects) > 0
}

func natsPartitionState(i *jetstream.StreamInfo, start uint64) partitionState {
	return partitionState{
		destination: i.Config.Name, partition: natsPartition, start: start, end: i.State.LastSeq + 1,
		tells: toldMessages | toldBytes, messages: i.State.Msgs, bytes: i.State.Bytes,
		maxAge: i.Config.MaxAge, maxMessages: i.Config.MaxMsgs, maxBytes: i.Config.MaxBytes, compacted: natsReplaces(&i.Config),
	}
}
