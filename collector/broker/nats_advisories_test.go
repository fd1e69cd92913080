package broker

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A record that is never acknowledged is given up after MaxDeliver; JetStream says so once, and the poller counts it (scenario 17).
func TestNATSAdvisories(t *testing.T) {
	b := newBench(t, func(c *NATSConfig) { c.Advisories = true })
	ctx := t.Context()
	if _, err := b.js.CreateStream(ctx, jetstream.StreamConfig{Name: "orders", Subjects: []string{"orders"}}); err != nil {
		t.Fatal(err)
	}
	cons, err := b.js.CreateConsumer(ctx, "orders", jetstream.ConsumerConfig{Durable: "enrich", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute, MaxDeliver: 3})
	if err != nil {
		t.Fatal(err)
	}
	b.poll()
	const poisoned = 10
	for range poisoned + 1 {
		if _, err := b.js.Publish(ctx, "orders", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 3 {
		got, err := cons.Fetch(poisoned+1, jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		for m := range got.Messages() {
			meta, err := m.Metadata()
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case meta.Sequence.Stream == 1 && round == 0:
				err = m.Term()
			default:
				err = m.Nak()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	// The advisory comes when the message would be delivered once more.
	if got, err := cons.Fetch(1, jetstream.FetchMaxWait(500*time.Millisecond)); err == nil {
		for range got.Messages() {
			t.Error("delivered a fourth time")
		}
	}
	want := map[string]float64{"max_deliveries": poisoned, "terminated": 1}
	deadline := time.Now().Add(10 * time.Second)
	for {
		b.poll()
		got := map[string]float64{}
		id := ""
		for _, s := range b.out.last() {
			switch s.name {
			case "weir_broker_discarded_total":
				got[s.labels["reason"]] = s.v
			case "weir_broker_destination_info":
				id = s.labels["id"]
			}
		}
		if got["max_deliveries"] == want["max_deliveries"] && got["terminated"] == want["terminated"] && len(got) == 2 {
			if id == "" {
				t.Error("the stream has no identity")
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}

func TestNATSAdvisoriesThatCannotBeRead(t *testing.T) {
	b := newBench(t, func(c *NATSConfig) { c.MaxStreams = 1 })
	a := b.loop.sys.(*natsSystem).given
	for _, m := range []nats.Msg{
		{Subject: natsAdvisoryPrefix + "MAX_DELIVERIES.s.c", Data: []byte(`{"stream":`)},
		{Subject: natsAdvisoryPrefix + "MAX_DELIVERIES.s.c", Data: []byte(`{}`)},
		{Subject: natsAdvisoryPrefix + "MSG_NAKED.s.c", Data: []byte(`{"stream":"s"}`)},
		{Subject: natsAdvisoryPrefix + "MAX_DELIVERIES.s.c", Data: []byte(`{"stream":"s"}`)},
		{Subject: natsAdvisoryPrefix + "MAX_DELIVERIES.u.c", Data: []byte(`{"stream":"u"}`)},
	} {
		a.take(&m)
	}
	if a.unreadable.Get() != 3 || a.overflow.Get() != 1 || a.counts["s"]["max_deliveries"] != 1 {
		t.Errorf("unreadable %d, overflow %d, counts %v", a.unreadable.Get(), a.overflow.Get(), a.counts)
	}
}

// Whoever reads a count takes its first figure as the beginning: a stream's first advisories must find a 0 before them.
func TestNATSAdvisoriesBeginWithNone(t *testing.T) {
	for _, on := range []bool{true, false} {
		b := newBench(t, func(c *NATSConfig) { c.Advisories = on })
		b.stream(jetstream.StreamConfig{Name: "orders", Subjects: []string{"orders"}})
		given := b.loop.sys.(*natsSystem).given
		for _, want := range []float64{0, 1} {
			got := map[string]float64{}
			for _, s := range b.poll() {
				if s.name == "weir_broker_discarded_total" {
					got[s.labels["reason"]] = s.v
				}
			}
			if on && (len(got) != 2 || got["terminated"] != want || got["max_deliveries"] != 0) || !on && len(got) != 0 {
				t.Errorf("advisories %v, %v told: %v", on, want, got)
			}
			given.take(&nats.Msg{Subject: natsAdvisoryPrefix + "MSG_TERMINATED.orders.g", Data: []byte(`{"stream":"orders"}`)})
		}
	}
}
