package broker

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A stream that is deleted after it was listed answers "not found" to the questions that follow.
func TestStreamDeletedBetweenTwoQuestions(t *testing.T) {
	b := newBench(t, nil)
	b.stream(jetstream.StreamConfig{Name: "s", Subjects: []string{"s"}})
	b.poll()
	n := b.loop.sys.(*natsSystem)
	polls, err := n.names(t.Context())
	if err != nil || len(polls) != 1 {
		t.Fatalf("names = %v, %v", polls, err)
	}
	if err := b.js.DeleteStream(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	n.askStart(t.Context(), &polls[0])
	n.askConsumers(t.Context(), &polls[0])
	n.askStream(t.Context(), &polls[0])
	if snap, err := n.gather(t.Context(), polls); err != nil || len(snap.partitions) != 0 {
		t.Errorf("gather = %+v, %v; want nothing and no error", snap, err)
	}
	if got := b.counter(`weir_broker_skipped_total{system="nats",cluster="c1",reason="gone"}`); got != 1 {
		t.Errorf("skipped = %d, want 1", got)
	}
}

// A stream made anew between the questions begins at 1: consumers of the old one would be ahead of it.
func TestStreamMadeAnewBetweenTwoQuestions(t *testing.T) {
	b := newBench(t, nil)
	b.stream(jetstream.StreamConfig{Name: "s", Subjects: []string{"s"}})
	c := b.consumer("s", jetstream.ConsumerConfig{Durable: "g", AckPolicy: jetstream.AckExplicitPolicy})
	b.publish("s", 10)
	b.fetch(c, 10, b.ack)
	n := b.loop.sys.(*natsSystem)
	polls, err := n.names(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n.askStart(t.Context(), &polls[0])
	n.askConsumers(t.Context(), &polls[0])
	if err := b.js.DeleteStream(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	b.stream(jetstream.StreamConfig{Name: "s", Subjects: []string{"s"}})
	n.askStream(t.Context(), &polls[0])
	snap, err := n.gather(t.Context(), polls)
	if err != nil || len(snap.partitions) != 1 || snap.partitions[0].start != 1 || len(snap.groups) != 0 {
		t.Errorf("gather = %+v, %v; want the new stream without the old group", snap, err)
	}
}

func TestBackoffIsBounded(t *testing.T) {
	for n := range 100 {
		if d := backoff(5*time.Second, n); d <= 0 || d > maxBackoff {
			t.Fatalf("backoff(%d) = %s", n, d)
		}
	}
	if d := backoff(5*time.Second, 0); d > 5*time.Second {
		t.Errorf("first pause %s skips a poll", d)
	}
}
