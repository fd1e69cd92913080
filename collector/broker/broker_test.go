package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/prometheus/model/value"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/weirhq/weir/collector/signal"
)

// sample is one decoded sample.
type sample struct {
	name   string
	labels map[string]string
	t      int64
	v      float64
}

func (s sample) stale() bool { return value.IsStaleNaN(s.v) }

// sink decodes what is appended.
type sink struct {
	mu    sync.Mutex
	t     *testing.T
	polls [][]sample
	fail  error
	seen  chan struct{}
}

func newSink(t *testing.T) *sink {
	t.Helper()
	return &sink{t: t, seen: make(chan struct{}, 1000)}
}

func (s *sink) Append(_ context.Context, k signal.Kind, items int, body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	var req writev2.Request
	if err := req.Unmarshal(body); err != nil || k != signal.Samples {
		s.t.Errorf("cannot decode appended body of kind %v: %v", k, err)
		return nil
	}
	var poll []sample
	for _, ts := range req.Timeseries {
		ls := map[string]string{}
		for i := 0; i+1 < len(ts.LabelsRefs); i += 2 {
			ls[req.Symbols[ts.LabelsRefs[i]]] = req.Symbols[ts.LabelsRefs[i+1]]
		}
		name := ls["__name__"]
		delete(ls, "__name__")
		for _, p := range ts.Samples {
			poll = append(poll, sample{name, ls, p.Timestamp, p.Value})
		}
	}
	if len(poll) != items {
		s.t.Errorf("items = %d, body holds %d", items, len(poll))
	}
	s.polls = append(s.polls, poll)
	s.seen <- struct{}{}
	return nil
}

func (s *sink) last() []sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.polls[len(s.polls)-1]
}

// figures are the values of one destination (and group) without the prefix weir_broker_.
func figures(poll []sample, destination, group string) map[string]float64 {
	m := map[string]float64{}
	for _, s := range poll {
		if s.labels["destination"] == destination && s.labels["group"] == group && s.name != "weir_broker_destination_info" && !s.stale() {
			m[strings.TrimPrefix(s.name, "weir_broker_")] = s.v
		}
	}
	return m
}

// embedded is a real JetStream server on a free port.
func embedded(t *testing.T, dir string, port int) *server.Server {
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	go srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("server is not ready")
	}
	return srv
}

type bench struct {
	t    *testing.T
	srv  *server.Server
	js   jetstream.JetStream
	cfg  NATSConfig
	loop *loop
	out  *sink
	set  *metrics.Set
}

// newBench starts a server and a loop that is driven by hand.
func newBench(t *testing.T, change func(*NATSConfig)) *bench {
	t.Helper()
	srv := embedded(t, t.TempDir(), -1)
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	nc, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	cfg := NATSConfig{URL: srv.ClientURL(), Cluster: "c1"}
	if change != nil {
		change(&cfg)
	}
	b := &bench{t: t, srv: srv, js: js, cfg: cfg, out: newSink(t), set: metrics.NewSet()}
	p, err := New(Config{NATS: []NATSConfig{cfg}}, "n1", b.out, nil, b.set, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	b.loop = p.loops[0]
	if err := b.loop.sys.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.loop.sys.close)
	return b
}

func (b *bench) poll() []sample {
	b.t.Helper()
	b.loop.once(b.t.Context(), time.Now())
	return b.out.last()
}

func (b *bench) stream(cfg jetstream.StreamConfig) {
	b.t.Helper()
	if _, err := b.js.CreateOrUpdateStream(b.t.Context(), cfg); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) consumer(stream string, cfg jetstream.ConsumerConfig) jetstream.Consumer {
	b.t.Helper()
	c, err := b.js.CreateOrUpdateConsumer(b.t.Context(), stream, cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func (b *bench) publish(subject string, n int) {
	b.t.Helper()
	for i := range n {
		if _, err := b.js.PublishAsync(subject, []byte("record")); err != nil {
			b.t.Fatal(err)
		}
		if i%500 == 499 || i == n-1 { // more in flight would stall
			<-b.js.PublishAsyncComplete()
		}
	}
}

// settle waits until the server has counted what a consumer is to get: it does so after the publisher was answered.
func (b *bench) settle(stream, consumer string, pending uint64) {
	b.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	var got uint64
	for range 5000 {
		c, err := b.js.Consumer(b.t.Context(), stream, consumer)
		if err != nil {
			b.t.Fatal(err)
		}
		if got = c.CachedInfo().NumPending; got == pending {
			return
		}
		<-tick.C
	}
	b.t.Fatalf("%d pending, want %d", got, pending)
}

// fetch takes n messages and gives each to f.
func (b *bench) fetch(c jetstream.Consumer, n int, f func(i int, m jetstream.Msg)) {
	b.t.Helper()
	got := 0
	for got < n {
		batch, err := c.Fetch(min(n-got, 500), jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			b.t.Fatal(err)
		}
		before := got
		for m := range batch.Messages() {
			f(got, m)
			got++
		}
		if got == before {
			b.t.Fatalf("fetched %d of %d", got, n)
		}
	}
}

func (b *bench) ack(_ int, m jetstream.Msg) {
	if err := m.DoubleAck(b.t.Context()); err != nil {
		b.t.Error(err)
	}
}

func want(t *testing.T, what string, got, want map[string]float64) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func without(m map[string]float64, names ...string) map[string]float64 {
	for _, n := range names {
		delete(m, n)
	}
	return m
}

func (b *bench) counter(name string) int { return int(b.set.GetOrCreateCounter(name).Get()) }

func TestScriptedPublishAndAck(t *testing.T) {
	b := newBench(t, nil)
	b.stream(jetstream.StreamConfig{Name: "orders", Subjects: []string{"orders.>"}})
	want(t, "fresh stream", figures(b.poll(), "orders", ""), map[string]float64{
		"start_offset": 1, "end_offset": 1, "messages": 0, "bytes": 0,
	})

	c := b.consumer("orders", jetstream.ConsumerConfig{Durable: "enrich", AckPolicy: jetstream.AckExplicitPolicy})
	b.publish("orders.a", 100)
	b.settle("orders", "enrich", 100)
	poll := b.poll()
	want(t, "nothing read", without(figures(poll, "orders", "enrich"), "committed_timestamp_seconds"), map[string]float64{
		"committed_offset": 1, "delivered_offset": 1, "delivered_total": 0, "pending_messages": 100, "unacked_messages": 0, "redelivered_messages": 0,
	})
	want(t, "ends", without(figures(poll, "orders", ""), "bytes"), map[string]float64{"start_offset": 1, "end_offset": 101, "messages": 100})
	for _, s := range poll {
		if s.t != poll[0].t || s.labels["node"] != "n1" || s.labels["system"] != "nats" || s.labels["cluster"] != "c1" {
			t.Errorf("%s: time %d (want %d), labels %v", s.name, s.t, poll[0].t, s.labels)
		}
		if s.name != "weir_broker_up" && s.name != "weir_broker_destination_info" && s.labels["partition"] != "0" {
			t.Errorf("%s: partition %q", s.name, s.labels["partition"])
		}
	}

	// 40 delivered; 1..30 acknowledged but for 11: the floor stands at 10.
	var held jetstream.Msg
	b.fetch(c, 40, func(i int, m jetstream.Msg) {
		switch {
		case i == 10:
			held = m
		case i < 30:
			b.ack(i, m)
		}
	})
	got := figures(b.poll(), "orders", "enrich")
	stamp := got["committed_timestamp_seconds"]
	want(t, "40 delivered, 29 acknowledged", without(got, "committed_timestamp_seconds"), map[string]float64{
		"committed_offset": 11, "delivered_offset": 41, "delivered_total": 40, "pending_messages": 60, "unacked_messages": 11, "redelivered_messages": 0,
	})
	s, err := b.js.Stream(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.GetMsg(t.Context(), 11)
	if err != nil {
		t.Fatal(err)
	}
	if d := math.Abs(stamp - float64(m.Time.UnixNano())/1e9); d > 1e-5 {
		t.Errorf("committed_timestamp_seconds %f is not the time of record 11 (%v)", stamp, m.Time)
	}

	b.ack(0, held)
	if got := figures(b.poll(), "orders", "enrich")["committed_offset"]; got != 31 {
		t.Errorf("committed_offset = %v after the gap was closed, want 31", got)
	}
	b.fetch(c, 60, b.ack)
	s31 := figures(b.poll(), "orders", "enrich")
	if s31["unacked_messages"] != 10 || s31["committed_offset"] != 31 {
		t.Errorf("figures = %v, want 10 unacked above 31", s31)
	}
}

func TestAllReadHasNoCommittedTimeAndMarksItStale(t *testing.T) {
	b := newBench(t, nil)
	b.stream(jetstream.StreamConfig{Name: "s", Subjects: []string{"s"}})
	c := b.consumer("s", jetstream.ConsumerConfig{Durable: "g", AckPolicy: jetstream.AckExplicitPolicy})
	b.publish("s", 5)
	b.settle("s", "g", 5)
	if _, ok := figures(b.poll(), "s", "g")["committed_timestamp_seconds"]; !ok {
		t.Fatal("no time while records wait")
	}
	b.fetch(c, 5, b.ack)
	poll := b.poll()
	want(t, "all read", figures(poll, "s", "g"), map[string]float64{
		"committed_offset": 6, "delivered_offset": 6, "delivered_total": 5, "pending_messages": 0, "unacked_messages": 0, "redelivered_messages": 0,
	})
	stale := 0
	for _, s := range poll {
		if s.stale() {
			stale++
			if s.name != "weir_broker_committed_timestamp_seconds" {
				t.Errorf("%s is marked stale", s.name)
			}
		}
	}
	if stale != 1 {
		t.Errorf("%d staleness markers, want 1", stale)
	}
}

func TestRedeliveries(t *testing.T) {
	b := newBench(t, nil)
	b.stream(jetstream.StreamConfig{Name: "s", Subjects: []string{"s"}})
	// At most ten in flight: while ten wait, only they can come.
	c := b.consumer("s", jetstream.ConsumerConfig{Durable: "g", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 10})
	b.publish("s", 50)
	b.settle("s", "g", 50)
	b.fetch(c, 10, b.ack)
	b.fetch(c, 10, func(_ int, m jetstream.Msg) {
		if err := m.Nak(); err != nil {
			t.Error(err)
		}
	})
	b.fetch(c, 10, func(int, jetstream.Msg) {})
	got := figures(b.poll(), "s", "g")
	// The server's gauge is what it is: it forgets some of them, depending on timing.
	if r := got["redelivered_messages"]; r < 1 || r > 10 {
		t.Errorf("redelivered_messages = %v, want 1 to 10", r)
	}
	want(t, "10 redelivered", without(got, "committed_timestamp_seconds", "redelivered_messages"), map[string]float64{
		"committed_offset": 11, "delivered_offset": 21, "delivered_total": 30, "pending_messages": 30, "unacked_messages": 10,
	})
}

// pipeline-model.md 3.5 and scenario 11: MaxMsgs 6,000, 1,000 consumed, 9,000 more sent: 3,000 are gone.
func TestRetentionLossRawFigures(t *testing.T) {
	for _, redelivered := range []int{0, 30} {
		t.Run(fmt.Sprintf("%d redelivered", redelivered), func(t *testing.T) {
			b := newBench(t, nil)
			b.stream(jetstream.StreamConfig{Name: "s", Subjects: []string{"s"}, MaxMsgs: 6000, MaxAge: time.Hour, MaxBytes: 1 << 30})
			c := b.consumer("s", jetstream.ConsumerConfig{Durable: "g", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 20000})
			b.publish("s", 1000)
			b.fetch(c, 1000, b.ack)
			b.publish("s", 9000)
			b.settle("s", "g", 6000)

			poll := b.poll()
			want(t, "ends", without(figures(poll, "s", ""), "bytes"), map[string]float64{
				"start_offset": 4001, "end_offset": 10001, "messages": 6000,
				"retention_messages": 6000, "retention_seconds": 3600, "retention_bytes": 1 << 30,
			})
			got := figures(poll, "s", "g")
			// start - committed = lost; pending counts only what is still there.
			if lost := figures(poll, "s", "")["start_offset"] - got["committed_offset"]; lost != 3000 {
				t.Errorf("start - committed = %v, want 3000", lost)
			}
			want(t, "group", without(got, "committed_timestamp_seconds"), map[string]float64{
				"committed_offset": 1001, "delivered_offset": 1001, "delivered_total": 1000, "pending_messages": 6000, "unacked_messages": 0, "redelivered_messages": 0,
			})

			// The next 10 deliveries jump over the hole: 1000 -> 4010 in the stream, 1000 -> 1010 for the consumer.
			// With redeliveries the consumer's counter grows further while the stream's does not.
			// At most ten in flight: while ten wait, only they can come.
			c = b.consumer("s", jetstream.ConsumerConfig{Durable: "g", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 10})
			b.fetch(c, 10, func(_ int, m jetstream.Msg) {
				if redelivered > 0 {
					if err := m.Nak(); err != nil {
						t.Error(err)
					}
				}
			})
			for round := range redelivered / 10 {
				b.fetch(c, 10, func(_ int, m jetstream.Msg) {
					if round < redelivered/10-1 {
						if err := m.Nak(); err != nil {
							t.Error(err)
						}
					}
				})
			}
			got = figures(b.poll(), "s", "g")
			if got["delivered_offset"] != 4011 || got["delivered_total"] != float64(1010+redelivered) {
				t.Errorf("delivered = %v and %v, want 4011 and %d", got["delivered_offset"], got["delivered_total"], 1010+redelivered)
			}
			raw := (got["delivered_offset"] - 1001) - (got["delivered_total"] - 1000)
			if raw != float64(3000-redelivered) {
				t.Errorf("raw skip = %v, want %d", raw, 3000-redelivered)
			}
			if got["committed_timestamp_seconds"] == 0 {
				t.Error("no time of the first record that is left")
			}
		})
	}
}

func TestFilteredGroup(t *testing.T) {
	b := newBench(t, nil)
	b.stream(jetstream.StreamConfig{Name: "s", Subjects: []string{"s.*"}, AllowDirect: true})
	c := b.consumer("s", jetstream.ConsumerConfig{Durable: "only-b", FilterSubject: "s.b", AckPolicy: jetstream.AckExplicitPolicy})
	b.publish("s.a", 10)
	b.publish("s.b", 3)
	b.publish("s.a", 10)
	b.settle("s", "only-b", 3)
	got := figures(b.poll(), "s", "only-b")
	if got["pending_messages"] != 3 || got["filtered"] != 1 {
		t.Errorf("figures = %v, want 3 pending, filtered 1", got)
	}
	s, _ := b.js.Stream(t.Context(), "s")
	m, err := s.GetMsg(t.Context(), 11)
	if err != nil {
		t.Fatal(err)
	}
	if d := math.Abs(got["committed_timestamp_seconds"] - float64(m.Time.UnixNano())/1e9); d > 1e-5 {
		t.Errorf("the time is not that of the first record the group will get")
	}
	b.fetch(c, 3, b.ack)
	got = figures(b.poll(), "s", "only-b")
	if _, ok := got["committed_timestamp_seconds"]; ok || got["pending_messages"] != 0 {
		t.Errorf("figures = %v, want nothing pending and no time although other subjects follow", got)
	}
}

func TestEphemeralPatternsAndBounds(t *testing.T) {
	b := newBench(t, func(c *NATSConfig) {
		c.Ephemeral, c.Include, c.MaxGroups = EphemeralMark, []string{"in-*"}, 2
	})
	b.stream(jetstream.StreamConfig{Name: "in-1", Subjects: []string{"in1"}})
	b.stream(jetstream.StreamConfig{Name: "out-1", Subjects: []string{"out1"}})
	b.stream(jetstream.StreamConfig{Name: "KV_x", Subjects: []string{"kv"}})
	b.consumer("in-1", jetstream.ConsumerConfig{Name: "tmp", InactiveThreshold: time.Minute})
	poll := b.poll()
	marked := 0
	for _, s := range poll {
		if d := s.labels["destination"]; d != "" && d != "in-1" {
			t.Errorf("destination %q was asked about", d)
		}
		if s.labels["group"] == "tmp" && s.labels["ephemeral"] == "true" {
			marked++
		}
	}
	if marked == 0 {
		t.Error("ephemeral consumer is not marked")
	}
	for i := range 3 {
		b.consumer("in-1", jetstream.ConsumerConfig{Durable: fmt.Sprint("g", i)})
	}
	b.poll()
	if got := b.counter(`weir_broker_skipped_total{system="nats",cluster="c1",reason="max_groups"}`); got != 2 {
		t.Errorf("skipped groups = %d, want 2", got)
	}
}

func TestDeletedStreamGoesStale(t *testing.T) {
	b := newBench(t, nil)
	b.stream(jetstream.StreamConfig{Name: "s", Subjects: []string{"s"}})
	b.stream(jetstream.StreamConfig{Name: "stays", Subjects: []string{"stays"}})
	b.consumer("s", jetstream.ConsumerConfig{Durable: "g", AckPolicy: jetstream.AckExplicitPolicy})
	b.publish("s", 1)
	before := 0
	for _, s := range b.poll() {
		if s.labels["destination"] == "s" {
			before++
		}
	}
	if err := b.js.DeleteStream(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	stale := 0
	for _, s := range b.poll() {
		switch {
		case s.name == "weir_broker_up" && s.v != 1:
			t.Error("a deleted stream made the broker look away")
		case s.stale() && s.labels["destination"] == "s":
			stale++
		case s.stale():
			t.Errorf("%s %v is marked stale", s.name, s.labels)
		}
	}
	if stale != before {
		t.Errorf("%d staleness markers for %d series", stale, before)
	}
}

func TestBrokerAwayAndBack(t *testing.T) {
	dir := t.TempDir()
	srv := embedded(t, filepath.Join(dir, "js"), -1)
	port := srv.Addr().(interface{ String() string }).String()
	var portN int
	if _, err := fmt.Sscanf(port[strings.LastIndexByte(port, ':')+1:], "%d", &portN); err != nil {
		t.Fatal(err)
	}
	out := newSink(t)
	set := metrics.NewSet()
	cfg := NATSConfig{URL: srv.ClientURL(), Cluster: "c1"}
	p, err := New(Config{NATS: []NATSConfig{cfg}}, "n1", out, nil, set, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p.loops[0].interval = 50 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()

	nc, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	js, _ := jetstream.New(nc)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "s", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	nc.Close()
	until(t, out, "stream seen", func(poll []sample) bool { return up(poll) == 1 && len(figures(poll, "s", "")) > 0 })

	srv.Shutdown()
	srv.WaitForShutdown()
	until(t, out, "broker away", func(poll []sample) bool { return up(poll) == 0 })
	srv = embedded(t, filepath.Join(dir, "js"), portN)
	defer func() { srv.Shutdown(); srv.WaitForShutdown() }()
	until(t, out, "broker back", func(poll []sample) bool { return up(poll) == 1 && len(figures(poll, "s", "")) > 0 })

	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Run does not return")
	}
	if r, a := set.GetOrCreateCounter(`weir_collector_received_total{door="broker"}`).Get(), set.GetOrCreateCounter(`weir_collector_accepted_total{door="broker"}`).Get(); r == 0 {
		t.Error("nothing received")
	} else if d := set.GetOrCreateCounter(`weir_collector_dropped_total{door="broker",reason="spool"}`).Get(); r != a+d {
		t.Errorf("received %d != accepted %d + dropped %d", r, a, d)
	}
}

func up(poll []sample) float64 {
	for _, s := range poll {
		if s.name == "weir_broker_up" {
			return s.v
		}
	}
	return -1
}

func until(t *testing.T, out *sink, what string, ok func([]sample) bool) {
	t.Helper()
	limit := time.After(15 * time.Second)
	for {
		select {
		case <-out.seen:
			if ok(out.last()) {
				return
			}
		case <-limit:
			t.Fatalf("%s: not within 15 s; last poll %v", what, out.last())
		}
	}
}

func TestSpoolRefuses(t *testing.T) {
	b := newBench(t, nil)
	b.stream(jetstream.StreamConfig{Name: "s", Subjects: []string{"s"}})
	b.out.fail = errors.New("disk full")
	b.loop.once(t.Context(), time.Now())
	r, d := b.counter(`weir_collector_received_total{door="broker"}`), b.counter(`weir_collector_dropped_total{door="broker",reason="spool"}`)
	if r == 0 || r != d {
		t.Errorf("received %d, dropped %d; want all dropped and counted", r, d)
	}
}

func TestValidate(t *testing.T) {
	ok := DefaultNATSConfig()
	if err := ok.Validate(); err != nil {
		t.Errorf("default: %v", err)
	}
	for _, c := range []struct {
		change func(*NATSConfig)
		want   string
	}{
		{func(c *NATSConfig) { c.URL = "" }, "url is empty"},
		{func(c *NATSConfig) { c.URL = "nats://u:hunter2@h:4222" }, "carries a secret"},
		{func(c *NATSConfig) { c.Cluster = "" }, "cluster is empty"},
		{func(c *NATSConfig) { c.Interval = time.Millisecond }, "interval 1ms is too short"},
		{func(c *NATSConfig) { c.Ephemeral = "keep" }, `ephemeral "keep" is unknown`},
		{func(c *NATSConfig) { c.Include = []string{"["} }, `pattern "["`},
		{func(c *NATSConfig) { c.TokenFile, c.TokenEnv = "a", "B" }, "both set"},
		{func(c *NATSConfig) { c.CertFile = "c" }, "belong together"},
		{func(c *NATSConfig) { c.MaxStreams = -1 }, "must be positive"},
	} {
		cfg := DefaultNATSConfig()
		c.change(&cfg)
		err := cfg.Validate()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error = %v, want %q", err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Error("the error shows the password")
		}
	}
	twice := Config{NATS: []NATSConfig{ok, ok}}
	if err := twice.Validate(); err == nil || !strings.Contains(err.Error(), "already used") {
		t.Errorf("two clusters of one name: %v", err)
	}
}
