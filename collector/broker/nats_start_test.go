package broker

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Where an acknowledgement deletes the record, what is acknowledged during a poll is not told as deleted unread.
func TestNATSWorkQueueReadWhilePolled(t *testing.T) {
	for name, policy := range map[string]jetstream.RetentionPolicy{"work queue": jetstream.WorkQueuePolicy, "interest": jetstream.InterestPolicy} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.stream(jetstream.StreamConfig{Name: "s", Subjects: []string{"s"}, Retention: policy, MaxMsgs: 1_000_000, Storage: jetstream.MemoryStorage})
			c := b.consumer("s", jetstream.ConsumerConfig{Durable: "g", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 50_000})
			const records = 30_000
			b.publish("s", records)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for got := 0; got < records; {
					batch, err := c.Fetch(500, jetstream.FetchMaxWait(5*time.Second))
					if err != nil {
						t.Error(err)
						return
					}
					for m := range batch.Messages() {
						if err := m.Ack(); err != nil {
							t.Error(err)
						}
						got++
					}
				}
			}()
			read := 0.0
			for polls := 1; ; polls++ {
				poll := b.poll()
				start, group := figures(poll, "s", "")["start_offset"], figures(poll, "s", "g")
				if start > group["committed_offset"] && !t.Failed() {
					t.Errorf("poll %d: start %v beyond what was acknowledged, %v", polls, start, group["committed_offset"])
				}
				read = max(read, group["committed_offset"])
				select {
				case <-done:
				default:
					continue
				}
				break
			}
			if read < records/10 {
				t.Errorf("only %v records were read while polls went on", read)
			}
		})
	}
}

// Limits delete what nobody read on work queues too: it is told one poll later, on a stream with limits only at once.
func TestNATSOverrunIsToldAsLoss(t *testing.T) {
	for name, c := range map[string]struct {
		policy jetstream.RetentionPolicy
		first  float64 // start at the poll after the overrun
	}{"limits": {jetstream.LimitsPolicy, 901}, "work queue": {jetstream.WorkQueuePolicy, 101}, "interest": {jetstream.InterestPolicy, 101}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.stream(jetstream.StreamConfig{Name: "s", Subjects: []string{"s"}, Retention: c.policy, MaxMsgs: 200})
			g := b.consumer("s", jetstream.ConsumerConfig{Durable: "g", AckPolicy: jetstream.AckExplicitPolicy})
			b.publish("s", 200)
			b.fetch(g, 100, b.ack)
			b.poll()
			b.publish("s", 900)
			for i, start := range []float64{c.first, 901} {
				poll := b.poll()
				if got, at := figures(poll, "s", "")["start_offset"], figures(poll, "s", "g")["committed_offset"]; got != start || at != 101 {
					t.Errorf("poll %d: start %v, want %v; committed %v, want 101", i, got, start, at)
				}
			}
		})
	}
}

func TestNATSStart(t *testing.T) {
	made := time.Unix(1_732_334_400, 0)
	type floors []uint64
	limits := jetstream.StreamConfig{Retention: jetstream.WorkQueuePolicy, MaxMsgs: 100}
	for name, c := range map[string]struct {
		cfg     jetstream.StreamConfig
		floors  floors
		before  natsFirst
		filters string
		want    uint64
	}{
		"limits only":                        {jetstream.StreamConfig{}, floors{10}, natsFirst{}, "", 50},
		"floors follow":                      {limits, floors{60}, natsFirst{20, made}, "", 50},
		"nobody reads":                       {limits, nil, natsFirst{20, made}, "", 50},
		"floor behind for a moment":          {limits, floors{60, 40}, natsFirst{20, made}, "", 41},
		"floor behind since the poll before": {limits, floors{10}, natsFirst{30, made}, "", 30},
		"another stream the poll before":     {limits, floors{10}, natsFirst{30, made.Add(-1)}, "", 11},
		"no limit":                           {jetstream.StreamConfig{Retention: jetstream.WorkQueuePolicy}, floors{10}, natsFirst{30, made}, "", 11},
		"a limit that refuses the new":       {jetstream.StreamConfig{Retention: jetstream.InterestPolicy, MaxMsgs: 100, Discard: jetstream.DiscardNew}, floors{10}, natsFirst{30, made}, "", 11},
		"age beside a limit that refuses":    {jetstream.StreamConfig{Retention: jetstream.InterestPolicy, MaxAge: time.Hour, Discard: jetstream.DiscardNew}, floors{10}, natsFirst{30, made}, "", 30},
		"a group with a filter has no place": {limits, floors{10}, natsFirst{20, made}, "x", 50},
	} {
		p := &streamPoll{info: &jetstream.StreamInfo{Config: c.cfg, Created: made}}
		for _, f := range c.floors {
			p.consumers = append(p.consumers, &jetstream.ConsumerInfo{
				Created: made, AckFloor: jetstream.SequenceInfo{Stream: f}, Config: jetstream.ConsumerConfig{FilterSubject: c.filters},
			})
		}
		if got := natsStart(p, natsFirst{50, made}, c.before); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// A limit for each subject replaces records, as compaction does: offsets count nothing there.
func TestNATSLimitOfASubject(t *testing.T) {
	b := newBench(t, nil)
	b.stream(jetstream.StreamConfig{Name: "s", Subjects: []string{"s.*"}, MaxMsgsPerSubject: 1})
	b.stream(jetstream.StreamConfig{Name: "u", Subjects: []string{"u.*"}, MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true})
	poll := b.poll()
	if s, u := figures(poll, "s", "")["compacted"], figures(poll, "u", "")["compacted"]; s != 1 || u != 0 {
		t.Errorf("compacted %v and %v, want 1 and 0", s, u)
	}
}
