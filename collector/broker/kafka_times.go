package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// timesTimeout bounds the look-up of record times in one poll: offsets matter more.
	timesTimeout = 2 * time.Second
	// timesParallel bounds the record reads in flight.
	timesParallel = 8
	// timesAsked bounds the partitions whose oldest and youngest record are asked for in one poll.
	timesAsked = 2000
	// maxHops is how often one look-up goes on behind what nobody reads; the next poll's goes on from there.
	maxHops = 4
	// timesBytes is how much of the log one read asks for: room for fifty transaction markers. The first batch comes whole in any case.
	timesBytes = 4096
	// nearEnough is how far apart the times of a compressed batch may be without unpacking it for the one that counts.
	nearEnough = time.Second
)

// readTimes finds out how old the oldest record of partitions is, how old the youngest one of those that are at rest, and how
// old the first one is that a group has not read. A time that cannot be read stays unknown; it does not spoil the poll.
func (k *kafkaSystem) readTimes(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, timesTimeout)
	defer cancel()
	// ListOffsets finds the first record from a time on: of all times, that is the oldest one.
	k.listOffsets(ctx, offsetsAsk{
		time: 0, limit: timesAsked, quiet: true,
		want: func(q *kafkaPart) bool { return q.start >= 0 && q.start < q.end && q.oldestFor != q.start },
		take: func(q *kafkaPart, _, at int64) { q.oldestFor, q.oldest = q.start, k.stamp(at) },
	})
	if !k.noNewest {
		k.listOffsets(ctx, offsetsAsk{
			time: kafkaYoungest, limit: timesAsked, quiet: true,
			want: func(q *kafkaPart) bool {
				return q.end > q.start && q.start >= 0 && q.end == q.lastEnd && q.newestFor != q.end
			},
			take: func(q *kafkaPart, _, at int64) { q.newestFor, q.newest = q.end, k.stamp(at) },
		})
	}
	if k.cfg.RecordReads == 0 || k.cur.throttled {
		return
	}
	reads := k.pick()
	var wg sync.WaitGroup
	slots := make(chan struct{}, timesParallel)
	for id, r := range reads {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			r.at, r.markers, r.err = k.recordTime(ctx, id)
		})
	}
	wg.Wait()
	for id, r := range reads {
		switch {
		case errors.Is(r.err, errMayNotRead):
			id.topic.unread = k.cur.now.Add(kafkaSettingsAge)
			k.denied("records of topic", id.topic.name, 1)
		case r.err != nil:
			k.readFailures.Inc()
			k.log.Debug("cannot read record time", "topic", id.topic.name, "partition", id.part, "offset", id.offset, "error", r.err)
		}
	}
	k.eachUnread(func(id recordID, c *kafkaSlot) bool {
		if r := reads[id]; r != nil && r.err == nil && (r.at != 0 || r.markers > 0) {
			c.timeFor, c.time, c.onlyMarkers = id.offset, r.at, r.markers
		}
		return true
	})
}

// stamp returns a record's time, or 0 for one that cannot be.
func (k *kafkaSystem) stamp(ms int64) int64 {
	switch {
	case ms <= 0:
		return 0
	case ms > k.cur.now.Add(24*time.Hour).UnixMilli():
		k.skipped["bad_timestamp"].Inc()
		return 0
	default:
		return ms
	}
}

// recordID is one record; groups that stand at the same one share the answer.
type recordID struct {
	topic  *kafkaTopic
	part   int
	offset int64
	from   int64 // where to look: up to here it is known that nobody reads what follows the offset
}

type recordRead struct {
	at      int64 // Unix ms; -1 = the record has none that can be
	markers int64 // only what nobody reads stands from the offset up to here
	err     error
}

// eachUnread calls f for commits that wait for a record whose time is not known, until it returns false.
func (k *kafkaSystem) eachUnread(f func(id recordID, c *kafkaSlot) bool) {
	for _, g := range k.listed {
		if g.read != k.cur.round {
			continue
		}
		for _, t := range k.order { // in the same order in every poll
			r := g.topics[t.name]
			if r == nil || r.topic != t || k.cur.now.Before(t.unread) {
				continue
			}
			for i := range r.slots[:min(len(r.slots), len(t.parts))] {
				c, q := &r.slots[i], &t.parts[i]
				if c.round != k.cur.round || q.end < 0 || c.committed >= q.end || q.leader < 0 {
					continue
				}
				offset := max(c.committed, q.start)
				if offset >= q.end || c.timeFor == offset && (c.time != 0 || c.onlyMarkers == q.visible(offset)) {
					continue
				}
				if offset == q.oldestFor && q.oldest > 0 {
					c.timeFor, c.time = offset, q.oldest // it is the oldest one
					continue
				}
				from := offset
				if c.timeFor == offset && c.onlyMarkers > offset && c.onlyMarkers < q.visible(offset) {
					from = c.onlyMarkers
				}
				if !f(recordID{t, i, offset, from}, c) {
					return
				}
			}
		}
	}
}

// pick chooses as many records as one poll may read, going on where the poll before stopped.
func (k *kafkaSystem) pick() map[recordID]*recordRead {
	reads := map[recordID]*recordRead{}
	choose := func(from, to int) (next int) {
		n := 0
		k.eachUnread(func(id recordID, _ *kafkaSlot) bool {
			if n >= to || len(reads) >= k.cfg.RecordReads {
				return false
			}
			if n >= from && reads[id] == nil {
				reads[id] = &recordRead{}
			}
			n++
			return true
		})
		return n
	}
	last := choose(k.turn, 1<<62)
	if len(reads) < k.cfg.RecordReads && k.turn > 0 {
		last = choose(0, k.turn)
	}
	if len(reads) < k.cfg.RecordReads {
		last = 0
	}
	k.turn = last
	return reads
}

// visible is up to where a group at an offset may read: records of an open transaction, unless it reads those already, are not
// there for it.
func (q *kafkaPart) visible(offset int64) int64 {
	if q.stable > offset && q.stable < q.end {
		return q.stable
	}
	return q.end
}

var errMayNotRead = errors.New("not allowed to read records")

// recordTime looks for the first record that a group gets.
func (k *kafkaSystem) recordTime(ctx context.Context, id recordID) (at, markers int64, err error) {
	q := &id.topic.parts[id.part]
	offset, visible := id.from, q.visible(id.offset)
	for range maxHops {
		k.reads.Inc()
		next, at, err := k.readBatch(ctx, id.topic, id.part, offset, q.stable > id.offset)
		switch {
		case err != nil:
			return 0, 0, err
		case at > 0:
			if at = k.stamp(at); at == 0 {
				at = -1
			}
			return at, 0, nil
		case next >= visible:
			return 0, visible, nil
		case next <= offset:
			return 0, 0, fmt.Errorf("the broker gives nothing at offset %d", offset)
		}
		offset = next
	}
	return 0, offset, nil
}

// readBatch returns the time of the first record from an offset on, or where to go on when there is none in what was read. Readers of
// committed transactions do not get those of aborted ones.
func (k *kafkaSystem) readBatch(ctx context.Context, t *kafkaTopic, part int, offset int64, committed bool) (next, at int64, err error) {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = -1, 0, 1, 2*timesBytes, -1
	if committed {
		req.IsolationLevel = 1
	}
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = t.name, t.id
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = int32(part), offset, timesBytes
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	r, err := k.ask(ctx, t.parts[part].leader, req)
	if err != nil {
		return 0, 0, err
	}
	resp, ok := r.(*kmsg.FetchResponse)
	switch {
	case !ok:
		return 0, 0, errors.New("the answer is of another kind")
	case resp.ThrottleMillis > 0:
		return 0, 0, fmt.Errorf("throttled for %d ms", resp.ThrottleMillis)
	case resp.ErrorCode != 0:
		return 0, 0, kafkaError(resp.ErrorCode)
	case len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1:
		return 0, 0, errors.New("the answer is of another partition")
	}
	p := &resp.Topics[0].Partitions[0]
	switch p.ErrorCode {
	case 0:
		return batchTime(p, offset)
	case codeDenied:
		return 0, 0, errMayNotRead
	default:
		return 0, 0, kafkaError(p.ErrorCode)
	}
}
