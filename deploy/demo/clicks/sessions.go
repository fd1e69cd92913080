package clicks

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirhq/weir/collector/client"
	"github.com/weirhq/weir/deploy/demo/stage"
)

// tick is how often sessions takes from each partition, at most its share of records.
const tick = 50 * time.Millisecond

// Times of the faults of the position. The broker is asked every second: it has to see the group standing still first, then
// where it went. Before a skip the group stands still so long that no catching up could be as fast.
const (
	beforeRetention = 3 * time.Second
	beforeSkip      = 32 * time.Second
	reads           = 2 * time.Second
	isSeen          = 3 * time.Second
)

// Lasts is how long a fault of the position takes: retention, rewind or skip.
func Lasts(kind string) time.Duration {
	switch kind {
	case "skip":
		return beforeSkip + reads
	case "retention":
		return beforeRetention + reads + isSeen
	}
	return 2 * isSeen
}

// reader holds what was fetched and not dealt with yet, and the next offset of each partition.
type reader struct {
	*process
	waiting [Partitions][]*kgo.Record
	next    [Partitions]int64
	moved   bool // next is not committed yet
}

// sessions reads the topic, counts each record and commits.
func (p *process) sessions(ctx context.Context) error {
	r := &reader{process: p}
	counted := p.set.NewCounter("demo_clicks_counted_total")
	for ctx.Err() == nil {
		select {
		case o := <-p.order:
			if err := r.obey(ctx, o); err != nil && ctx.Err() == nil {
				return fmt.Errorf("cannot play %s: %w", o.kind, err)
			}
		default:
		}
		began := time.Now()
		if err := r.fetch(ctx); err != nil {
			return err
		}
		for part := range r.waiting {
			n := len(r.waiting[part])
			if most := p.most.Load(); most > 0 {
				n = min(n, max(1, int(most*tick.Milliseconds()/1000)))
			}
			for _, m := range r.take(part, n) {
				rec := read(m)
				p.audit.In(Topic, Group, rec)
				p.audit.Out(table, rec)
				counted.Inc()
			}
		}
		if err := r.commit(ctx); err != nil && ctx.Err() == nil {
			p.logger.Warn("cannot commit, trying again", "error", err)
		}
		wait(ctx, tick-time.Since(began))
	}
	return nil
}

// fetch adds what there is to what waits. A partition of which much waits is left alone.
func (r *reader) fetch(ctx context.Context) error {
	var full, free []int32
	for part := range r.waiting {
		if len(r.waiting[part]) > 2000 {
			full = append(full, int32(part))
		} else {
			free = append(free, int32(part))
		}
	}
	r.kafka.PauseFetchPartitions(map[string][]int32{Topic: full})
	r.kafka.ResumeFetchPartitions(map[string][]int32{Topic: free})
	short, cancel := context.WithTimeout(ctx, tick/2)
	defer cancel()
	fs := r.kafka.PollRecords(short, 5000)
	for _, e := range fs.Errors() {
		if ctx.Err() == nil && !errors.Is(e.Err, context.DeadlineExceeded) {
			r.logger.Warn("cannot fetch, trying again", "partition", e.Partition, "error", e.Err)
		}
	}
	for _, m := range fs.Records() {
		if m.Offset >= r.end(m.Partition) {
			r.waiting[m.Partition] = append(r.waiting[m.Partition], m)
		}
	}
	return nil
}

// end is the offset after the last record that waits.
func (r *reader) end(part int32) int64 {
	if w := r.waiting[part]; len(w) > 0 {
		return w[len(w)-1].Offset + 1
	}
	return r.next[part]
}

// take removes the first n records of a partition from what waits; they will be committed.
func (r *reader) take(part, n int) []*kgo.Record {
	out := r.waiting[part][:n]
	r.waiting[part] = r.waiting[part][n:]
	if n > 0 {
		r.next[part], r.moved = out[n-1].Offset+1, true
	}
	return out
}

func (r *reader) commit(ctx context.Context) error {
	if !r.moved {
		return nil
	}
	at := map[int32]kgo.EpochOffset{}
	for part, next := range r.next {
		if next > 0 {
			at[int32(part)] = kgo.EpochOffset{Epoch: -1, Offset: next}
		}
	}
	var failed error
	r.kafka.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{Topic: at}, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		failed = errors.Join(failed, err, refused(resp))
	})
	r.moved = failed != nil
	return failed
}

// refused says what the broker did not commit.
func refused(resp *kmsg.OffsetCommitResponse) error {
	if resp == nil {
		return nil
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				return fmt.Errorf("the broker refused to commit partition %d: code %d", p.Partition, p.ErrorCode)
			}
		}
	}
	return nil
}

// obey does what an order says to the position of the group. The reader stands still before, so that nothing is under way.
func (r *reader) obey(ctx context.Context, o order) error {
	if o.kind == "rewind" {
		return r.rewind(ctx, o.n)
	}
	kind, most, still := "expired", int(o.n), beforeRetention
	if o.kind == "skip" {
		kind, most, still = "skipped", 1<<30, beforeSkip
	}
	for began, turn := time.Now(), r.turns.Load(); time.Since(began) < still && ctx.Err() == nil; wait(ctx, tick) {
		if r.turns.Load() != turn {
			return nil // called off
		}
	}
	gone := [Partitions]int{}
	for deadline := time.Now().Add(reads); time.Now().Before(deadline); {
		if err := r.fetch(ctx); err != nil {
			return err
		}
		for part := range r.waiting {
			n := min(len(r.waiting[part]), most-gone[part])
			gone[part] += n
			for _, m := range r.take(part, n) {
				if err := r.note(kind, read(m)); err != nil {
					return err
				}
			}
		}
	}
	if o.kind == "retention" {
		// As retention would: the broker deletes what the group has not read yet. The group notices when it goes on.
		del := kadm.Offsets{}
		for part, next := range r.next {
			del.AddOffset(Topic, int32(part), next, -1)
		}
		if _, err := kadm.NewClient(r.kafka).DeleteRecords(ctx, del); err != nil {
			return fmt.Errorf("cannot delete records: %w", err)
		}
		wait(ctx, isSeen)
	}
	return r.commit(ctx)
}

// rewind sets the group back by n records in each partition.
func (r *reader) rewind(ctx context.Context, n int64) error {
	if err := r.commit(ctx); err != nil {
		return err
	}
	wait(ctx, isSeen)
	set := map[int32]kgo.EpochOffset{}
	w := int64(r.cfg.Window / time.Second)
	for part := range r.next {
		back := min(n, r.next[part])
		r.next[part] -= back
		r.waiting[part] = nil
		set[int32(part)] = kgo.EpochOffset{Epoch: -1, Offset: r.next[part]}
		if err := r.ledger.Add(stage.Entry{Kind: "rewound", Stage: r.cfg.Service, Window: time.Now().Unix() / w * w, N: back}); err != nil {
			return err
		}
	}
	r.kafka.SetOffsets(map[string]map[int32]kgo.EpochOffset{Topic: set})
	r.moved = true
	if err := r.commit(ctx); err != nil {
		return err
	}
	wait(ctx, isSeen)
	return nil
}

// read takes the audit's view of a record from its headers.
func read(m *kgo.Record) client.Record {
	r := client.Record{Bytes: len(m.Value)}
	for _, h := range m.Headers {
		switch h.Key {
		case headerID:
			r.ID = string(h.Value)
		case headerTime:
			if ms, err := strconv.ParseInt(string(h.Value), 10, 64); err == nil {
				r.Time = time.UnixMilli(ms)
			}
		}
	}
	return r
}
