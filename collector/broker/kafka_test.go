package broker

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// kbench is a fake cluster that speaks the real protocol, and a loop that is driven by hand.
type kbench struct {
	t    *testing.T
	c    *kfake.Cluster
	cl   *kgo.Client
	adm  *kadm.Client
	loop *loop
	out  *sink
	set  *metrics.Set
	log  *strings.Builder
}

func newKafkaBench(t *testing.T, change func(*KafkaConfig), opts ...kfake.Opt) *kbench {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(3),
		kfake.BrokerConfigs(map[string]string{"group.consumer.heartbeat.interval.ms": "100"}),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cfg := KafkaConfig{Brokers: c.ListenAddrs(), Cluster: "c1", Timeout: 20 * time.Second}
	if change != nil {
		change(&cfg)
	}
	b := &kbench{t: t, c: c, out: newSink(t), set: metrics.NewSet(), log: &strings.Builder{}}
	log := slog.New(slog.NewTextHandler(&locked{w: b.log}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	p, err := New(Config{Kafka: []KafkaConfig{cfg}}, "n1", b.out, nil, b.set, log)
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

type locked struct {
	mu sync.Mutex
	w  *strings.Builder
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// client makes a client of the cluster that is not the poller.
func (b *kbench) client(opts ...kgo.Opt) *kgo.Client {
	b.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(b.c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.FetchMaxWait(100 * time.Millisecond), kgo.MetadataMinAge(50 * time.Millisecond), kgo.DisableClientMetrics(),
	}, opts...)...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(cl.Close)
	return cl
}

func (b *kbench) admin() *kadm.Client {
	if b.adm == nil {
		b.t.Helper()
		b.cl = b.client()
		b.adm = kadm.NewClient(b.cl)
	}
	return b.adm
}

func (b *kbench) topic(name string, partitions int32, configs map[string]string) {
	b.t.Helper()
	if err := b.c.CreateTopic(name, partitions, configs); err != nil {
		b.t.Fatal(err)
	}
}

// stampOf is the time of record i in tests: half a minute apart, so that no two are taken for one another.
func stampOf(i int) time.Time { return time.Unix(1_790_000_000+30*int64(i), 0) }

// produce puts n records into a partition, one batch each; from is the number of the first one.
func (b *kbench) produce(topic string, partition int32, from, n int) {
	b.t.Helper()
	b.admin()
	for i := range n {
		r := &kgo.Record{Topic: topic, Partition: partition, Value: []byte("record"), Timestamp: stampOf(from + i)}
		if err := b.cl.ProduceSync(b.t.Context(), r).FirstErr(); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *kbench) commit(group, topic string, offsets ...int64) {
	b.t.Helper()
	os := kadm.Offsets{}
	for p, at := range offsets {
		if at >= 0 {
			os.AddOffset(topic, int32(p), at, -1)
		}
	}
	if err := b.admin().CommitAllOffsets(b.t.Context(), group, os); err != nil {
		b.t.Fatal(err)
	}
}

func (b *kbench) poll() []sample {
	b.t.Helper()
	b.loop.once(b.t.Context(), time.Now())
	return b.out.last()
}

func (b *kbench) counter(what, labels string) int {
	return int(b.set.GetOrCreateCounter(fmt.Sprintf(`weir_broker_%s{system="kafka",cluster="c1"%s}`, what, labels)).Get())
}

func (b *kbench) skipped(reason string) int {
	return b.counter("skipped_total", fmt.Sprintf(",reason=%q", reason))
}

// on are the figures of one partition, of a group or without one; but for its size on disk (TestKafkaSizes).
func on(poll []sample, topic, partition, group string) map[string]float64 {
	var of []sample
	for _, s := range poll {
		if s.labels["partition"] == partition && s.name != "weir_broker_bytes" {
			of = append(of, s)
		}
	}
	return figures(of, topic, group)
}

func single(poll []sample, name string) (float64, bool) {
	for _, s := range poll {
		if s.name == "weir_broker_"+name && !s.stale() {
			return s.v, true
		}
	}
	return 0, false
}

func TestKafkaScripted(t *testing.T) {
	b := newKafkaBench(t, nil)
	b.topic("orders", 3, map[string]string{"retention.ms": "600000", "retention.bytes": "1073741824"})
	b.topic("__internal", 1, nil)
	b.produce("orders", 0, 0, 100)
	b.produce("orders", 1, 100, 10)
	b.commit("enrich", "orders", 40, 10, -1)

	poll := b.poll()
	settings := map[string]float64{"retention_seconds": 600, "retention_bytes": 1 << 30}
	with := func(m map[string]float64) map[string]float64 {
		maps.Copy(m, settings)
		return m
	}
	want(t, "partition 0", on(poll, "orders", "0", ""), with(map[string]float64{
		"start_offset": 0, "end_offset": 100, "stable_offset": 100, "start_timestamp_seconds": float64(stampOf(0).Unix()),
	}))
	want(t, "partition 2, empty", on(poll, "orders", "2", ""), with(map[string]float64{"start_offset": 0, "end_offset": 0, "stable_offset": 0}))
	want(t, "60 wait", on(poll, "orders", "0", "enrich"), map[string]float64{
		"committed_offset": 40, "committed_timestamp_seconds": float64(stampOf(40).Unix()),
	})
	want(t, "all read", on(poll, "orders", "1", "enrich"), map[string]float64{"committed_offset": 10})
	want(t, "never committed, not assigned", on(poll, "orders", "2", "enrich"), map[string]float64{})
	info := map[string]string{}
	for _, s := range poll {
		switch {
		case s.t != poll[0].t || s.labels["node"] != "n1" || s.labels["system"] != "kafka" || s.labels["cluster"] != "c1":
			t.Errorf("%s: time %d (want %d), labels %v", s.name, s.t, poll[0].t, s.labels)
		case s.name == "weir_broker_destination_info":
			info[s.labels["destination"]] = s.labels["id"]
		case s.name == "weir_broker_group_info":
			info[s.labels["group"]] = s.labels["type"] + " " + s.labels["state"]
		}
	}
	if len(info) != 2 || len(info["orders"]) != 22 || info["enrich"] != "classic Empty" {
		t.Errorf("info = %v, want the id of orders and a classic, empty group enrich", info)
	}
	if n, ok := single(poll, "group_members"); !ok || n != 0 {
		t.Errorf("group_members = %v, %v; want 0", n, ok)
	}

	// At rest: the time of the youngest record is asked for; what a group waits for is not read again.
	reads := b.counter("record_reads_total", "")
	poll = b.poll()
	if got := on(poll, "orders", "1", "")["end_timestamp_seconds"]; got != float64(stampOf(109).Unix()) {
		t.Errorf("end_timestamp_seconds = %v, want that of record 109", got)
	}
	if n := b.counter("record_reads_total", ""); n != reads {
		t.Errorf("%d records were read again for a group that stands still", n-reads)
	}
	if got := on(poll, "orders", "0", "enrich")["committed_timestamp_seconds"]; got != float64(stampOf(40).Unix()) {
		t.Errorf("committed_timestamp_seconds = %v in the second poll", got)
	}
	b.commit("enrich", "orders", 100)
	poll = b.poll()
	want(t, "caught up", on(poll, "orders", "0", "enrich"), map[string]float64{"committed_offset": 100})
	for _, s := range poll {
		if s.stale() && s.name != "weir_broker_committed_timestamp_seconds" {
			t.Errorf("%s %v is marked stale", s.name, s.labels)
		}
	}
	if v, _ := single(poll, "up"); v != 1 {
		t.Error("up is not 1")
	}
}

// pipeline-model.md 3.5: retention takes records that nobody read; a group far behind stands before the start.
func TestKafkaDeleteRecords(t *testing.T) {
	b := newKafkaBench(t, nil)
	b.topic("t", 1, nil)
	b.produce("t", 0, 0, 50)
	b.commit("g", "t", 10)
	b.poll()
	if err := b.c.DeleteRecords("t", 0, 40); err != nil {
		t.Fatal(err)
	}
	poll := b.poll()
	if got := on(poll, "t", "0", ""); got["start_offset"] != 40 || got["end_offset"] != 50 || got["start_timestamp_seconds"] != float64(stampOf(40).Unix()) {
		t.Errorf("partition = %v, want start 40 with its time", got)
	}
	// The first record the group can still get, read from nowhere: it is the oldest one.
	want(t, "group", on(poll, "t", "0", "g"), map[string]float64{"committed_offset": 10, "committed_timestamp_seconds": float64(stampOf(40).Unix())})
	if err := b.c.DeleteRecords("t", 0, 50); err != nil {
		t.Fatal(err)
	}
	poll = b.poll()
	want(t, "nothing is left", on(poll, "t", "0", "g"), map[string]float64{"committed_offset": 10})
	if _, ok := on(poll, "t", "0", "")["start_timestamp_seconds"]; ok {
		t.Error("an empty partition has an oldest record")
	}
}

// pipeline-model.md 3.5: 30 records in 3 transactions: end 33, commit 32, lag 1 for ever.
func TestKafkaTransactions(t *testing.T) {
	b := newKafkaBench(t, nil)
	b.topic("t", 1, nil)
	cl := b.client(kgo.TransactionalID("tx"))
	txn := func(n int, finish bool) {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for range n {
			if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: []byte("r"), Timestamp: stampOf(7)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if finish {
			if err := cl.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 3 {
		txn(10, true)
	}
	b.commit("g", "t", 32)
	poll := b.poll()
	if got := on(poll, "t", "0", ""); got["end_offset"] != 33 || got["stable_offset"] != 33 {
		t.Errorf("partition = %v, want end and stable 33", got)
	}
	// Only a marker follows: no time, and the certainty that nothing waits.
	want(t, "read", on(poll, "t", "0", "g"), map[string]float64{"committed_offset": 32, "pending_messages": 0})
	reads := b.counter("record_reads_total", "")
	b.poll()
	if n := b.counter("record_reads_total", ""); n != reads {
		t.Errorf("the marker was read %d times more", n-reads)
	}

	txn(5, false) // open
	poll = b.poll()
	if got := on(poll, "t", "0", ""); got["end_offset"] != 38 || got["stable_offset"] != 33 {
		t.Errorf("partition = %v, want end 38 and stable 33 while a transaction is open", got)
	}
	// What an open transaction holds back waits for nobody yet.
	want(t, "an open transaction", on(poll, "t", "0", "g"), map[string]float64{"committed_offset": 32, "pending_messages": 0})
	if err := cl.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	// The look-up steps over the marker to the first record.
	want(t, "records wait", on(b.poll(), "t", "0", "g"), map[string]float64{"committed_offset": 32, "committed_timestamp_seconds": float64(stampOf(7).Unix())})
	txn(5, false)
	if err := cl.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	if got := on(b.poll(), "t", "0", ""); got["stable_offset"] != got["end_offset"] || got["end_offset"] != 45 {
		t.Errorf("partition = %v, want end and stable 45 after the transaction was aborted", got)
	}
}

func TestKafkaCompressedBatches(t *testing.T) {
	b := newKafkaBench(t, nil)
	b.topic("t", 2, nil)
	for p, span := range []time.Duration{10 * time.Second, time.Millisecond} {
		cl := b.client(kgo.ProducerBatchCompression(kgo.Lz4Compression()), kgo.ProducerLinger(50*time.Millisecond))
		var rs []*kgo.Record
		for i := range 20 {
			rs = append(rs, &kgo.Record{Topic: "t", Partition: int32(p), Value: []byte(strings.Repeat("x", 100)), Timestamp: stampOf(0).Add(time.Duration(i) * span)})
		}
		if err := cl.ProduceSync(t.Context(), rs...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	b.commit("g", "t", 7, 7)
	poll := b.poll()
	// Unpacked where the times in a batch are far apart.
	if got := on(poll, "t", "0", "g")["committed_timestamp_seconds"]; got != float64(stampOf(0).Unix()+70) {
		t.Errorf("time = %v, want that of record 7, %v", got, stampOf(0).Unix()+70)
	}
	if got := on(poll, "t", "1", "g")["committed_timestamp_seconds"]; got < float64(stampOf(0).Unix()) || got > float64(stampOf(0).Unix())+0.007 {
		t.Errorf("time = %v, want that of record 7 or a little before", got)
	}
}

func TestKafkaCompactedAndExcluded(t *testing.T) {
	b := newKafkaBench(t, func(c *KafkaConfig) { c.ExcludeTopics, c.Groups = []string{"no*"}, []string{"g[12]"} })
	b.topic("keys", 1, map[string]string{"cleanup.policy": "compact"})
	b.topic("both", 1, map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "1000"})
	b.topic("nobody", 1, nil)
	b.produce("keys", 0, 0, 1)
	for _, g := range []string{"g1", "g2", "g3"} {
		b.commit(g, "keys", 1)
		b.commit(g, "nobody", 0)
	}
	poll := b.poll()
	want(t, "compacted", without(on(poll, "keys", "0", ""), "start_timestamp_seconds"),
		map[string]float64{"start_offset": 0, "end_offset": 1, "stable_offset": 1, "compacted": 1})
	want(t, "compacted and deleted", on(poll, "both", "0", ""),
		map[string]float64{"start_offset": 0, "end_offset": 0, "stable_offset": 0, "compacted": 1, "retention_seconds": 1})
	for _, s := range poll {
		if s.labels["destination"] == "nobody" || s.labels["group"] == "g3" {
			t.Errorf("%s %v was not to be read", s.name, s.labels)
		}
	}
}

func TestKafkaBounds(t *testing.T) {
	b := newKafkaBench(t, func(c *KafkaConfig) { c.MaxPartitions, c.MaxGroups, c.MaxCommits, c.RecordReads = 5, 2, 3, 1 })
	b.topic("a", 3, nil)
	b.topic("b", 3, nil)
	b.topic("c", 2, nil)
	for _, g := range []string{"g1", "g2", "g3"} {
		b.produce("a", 0, 0, 2)
		b.produce("a", 1, 0, 2)
		b.commit(g, "a", 0, 1, 0)
	}
	poll := b.poll()
	if n := b.skipped("max_partitions"); n != 3 {
		t.Errorf("skipped partitions = %d, want the 3 of b", n)
	}
	if len(on(poll, "c", "1", "")) == 0 {
		t.Error("c was left out although it fits")
	}
	if n := b.skipped("max_groups"); n != 1 {
		t.Errorf("skipped groups = %d, want 1", n)
	}
	if n := b.skipped("max_commits"); n != 3 {
		t.Errorf("skipped commits = %d, want 3", n)
	}
	// One record read in a poll, in turn: after some all are known.
	for range 3 {
		poll = b.poll()
	}
	if n := b.counter("record_reads_total", ""); n != 1 {
		t.Errorf("%d records read, want 1: record 0 is the oldest, record 1 of partition 1 the only one to look up", n)
	}
	if got := on(poll, "a", "1", "g1")["committed_timestamp_seconds"] + on(poll, "a", "1", "g2")["committed_timestamp_seconds"]; got != float64(stampOf(1).Unix()) {
		t.Errorf("time = %v, want that of record 1", got)
	}
}

func TestKafkaRecordReadsGoRound(t *testing.T) {
	b := newKafkaBench(t, func(c *KafkaConfig) { c.RecordReads = 3 })
	b.topic("a", 8, nil)
	var at []int64
	for p := range int32(8) {
		b.produce("a", p, int(p)*10, 5)
		at = append(at, 2)
	}
	b.commit("g", "a", at...)
	b.commit("h", "a", at...) // the same records: no further reads
	for i, min := range []int{3, 6, 8, 8} {
		poll := b.poll()
		known := 0
		for p := range 8 {
			for _, g := range []string{"g", "h"} {
				if v, ok := on(poll, "a", fmt.Sprint(p), g)["committed_timestamp_seconds"]; ok {
					known++
					if v != float64(stampOf(p*10+2).Unix()) {
						t.Errorf("partition %d: time %v is not that of its record 2", p, v)
					}
				}
			}
		}
		if known != 2*min {
			t.Errorf("poll %d: %d times are known, want %d", i, known, 2*min)
		}
	}
	if n := b.counter("record_reads_total", ""); n != 8 {
		t.Errorf("%d records read, want 8", n)
	}
}

func TestKafkaTopicCreatedAgain(t *testing.T) {
	b := newKafkaBench(t, nil)
	b.topic("t", 2, nil)
	b.produce("t", 0, 0, 20)
	b.commit("g", "t", 5, 0)
	first := idOf(b.poll(), "t")
	if err := b.c.DeleteTopic("t"); err != nil {
		t.Fatal(err)
	}
	poll := b.poll()
	for _, s := range poll {
		if s.labels["destination"] == "t" && !s.stale() {
			t.Errorf("%s %v is told of a topic that is gone", s.name, s.labels)
		}
	}
	if v, _ := single(poll, "up"); v != 1 {
		t.Error("a deleted topic made the broker look away")
	}
	b.topic("t", 1, nil)
	b.adm = nil // a client that does not know the old topic
	b.produce("t", 0, 1000, 3)
	b.commit("g", "t", 1)
	poll = b.poll()
	if id := idOf(poll, "t"); id == first || id == "" {
		t.Errorf("id = %q, before %q; want another", id, first)
	}
	want(t, "the new topic", on(poll, "t", "0", "g"), map[string]float64{"committed_offset": 1, "committed_timestamp_seconds": float64(stampOf(1001).Unix())})
	// Between two polls: the times of the old records must not pass for those of the new ones.
	if err := b.c.DeleteTopic("t"); err != nil {
		t.Fatal(err)
	}
	b.topic("t", 1, nil)
	b.adm = nil
	b.produce("t", 0, 2000, 3)
	b.commit("g", "t", 1)
	want(t, "the third", on(b.poll(), "t", "0", "g"), map[string]float64{"committed_offset": 1, "committed_timestamp_seconds": float64(stampOf(2001).Unix())})
}

func idOf(poll []sample, topic string) string {
	for _, s := range poll {
		if s.name == "weir_broker_destination_info" && s.labels["destination"] == topic && !s.stale() {
			return s.labels["id"]
		}
	}
	return ""
}

// TestKafkaMembers looks at each kind of group while a member reads.
func TestKafkaMembers(t *testing.T) {
	for _, c := range []struct {
		kind string
		opts []kgo.Opt
	}{
		{"classic", nil},
		{"consumer", []kgo.Opt{kgo.ServerSideBalancer()}},
	} {
		t.Run(c.kind, func(t *testing.T) {
			b := newKafkaBench(t, nil)
			b.topic("t", 3, nil)
			b.produce("t", 0, 0, 10)
			cl := b.client(append([]kgo.Opt{
				kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			}, c.opts...)...)
			fs := cl.PollFetches(t.Context())
			if err := fs.Err(); err != nil {
				t.Fatal(err)
			}
			if _, err := b.c.WaitGroupStable(t.Context(), "g", 1); err != nil {
				t.Fatal(err)
			}
			poll := b.poll()
			if n, _ := single(poll, "group_members"); n != 1 {
				t.Errorf("group_members = %v, want 1", n)
			}
			if e, ok := single(poll, "group_epoch"); ok != (c.kind == "consumer") || ok && e < 1 {
				t.Errorf("group_epoch = %v, %v; only new groups have one", e, ok)
			}
			// pipeline-model.md scenario 23: assigned, never committed: neither 0 nor the end.
			for p := range 3 {
				want(t, "not committed", on(poll, "t", fmt.Sprint(p), "g"), map[string]float64{"uncommitted": 1})
			}
			cl.CommitOffsetsSync(t.Context(), map[string]map[int32]kgo.EpochOffset{"t": {0: {Epoch: -1, Offset: 4}}}, nil)
			poll = b.poll()
			want(t, "committed", on(poll, "t", "0", "g"), map[string]float64{"committed_offset": 4, "committed_timestamp_seconds": float64(stampOf(4).Unix())})
			want(t, "still not", on(poll, "t", "1", "g"), map[string]float64{"uncommitted": 1})
			if kind, state := kindOf(poll, "g"); kind != c.kind || state != "Stable" {
				t.Errorf("type %q, state %q; want %s, Stable", kind, state, c.kind)
			}

			cl.Close()
			if _, err := b.c.WaitGroupInfo(t.Context(), "g", func(g *kfake.GroupInfo) bool { return g == nil || len(g.Members) == 0 }); err != nil {
				t.Fatal(err)
			}
			poll = b.poll()
			if _, state := kindOf(poll, "g"); state != "Empty" {
				t.Errorf("state %q after the last member left, want Empty", state)
			}
			want(t, "nobody is assigned", on(poll, "t", "1", "g"), map[string]float64{})
			want(t, "the commit stays", without(on(poll, "t", "0", "g"), "committed_timestamp_seconds"), map[string]float64{"committed_offset": 4})

			if _, err := b.admin().DeleteGroups(t.Context(), "g"); err != nil {
				t.Fatal(err)
			}
			for _, s := range b.poll() {
				if s.labels["group"] != "" && !s.stale() {
					t.Errorf("%s %v is told of a group that is gone", s.name, s.labels)
				}
			}
		})
	}
}

func kindOf(poll []sample, group string) (kind, state string) {
	for _, s := range poll {
		if s.name == "weir_broker_group_info" && s.labels["group"] == group && !s.stale() {
			return s.labels["type"], s.labels["state"]
		}
	}
	return "", ""
}

func TestKafkaShareGroup(t *testing.T) {
	b := newKafkaBench(t, nil)
	b.topic("t", 1, nil)
	b.c.SetGroupConfigs("sg", map[string]string{"share.auto.offset.reset": "earliest"})
	b.produce("t", 0, 0, 10)
	cl := b.client(kgo.ConsumeTopics("t"), kgo.ShareGroup("sg"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for n := 0; n < 10; {
		fs := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatal("the share group gets no records")
		}
		n += fs.NumRecords()
		fs.EachRecord(func(r *kgo.Record) { r.Ack(kgo.AckAccept) })
	}
	if err := cl.FlushAcks(ctx); err != nil {
		t.Fatal(err)
	}
	poll := b.poll()
	if kind, state := kindOf(poll, "sg"); kind != "share" || state != "Stable" {
		t.Errorf("type %q, state %q; want share, Stable", kind, state)
	}
	want(t, "all acknowledged", on(poll, "t", "0", "sg"), map[string]float64{"committed_offset": 10, "pending_messages": 0})
	cl.Close()
	b.produce("t", 0, 10, 3)
	want(t, "three wait", on(b.poll(), "t", "0", "sg"),
		map[string]float64{"committed_offset": 10, "pending_messages": 3, "committed_timestamp_seconds": float64(stampOf(10).Unix())})
}

func TestKafkaPartitionErrors(t *testing.T) {
	for _, c := range []struct {
		err   *kerr.Error
		count int
		gone  bool // the figures of the partition
	}{
		{kerr.NotLeaderForPartition, 1, false}, // asked again where it is now
		{kerr.NotLeaderForPartition, -1, true},
		{kerr.UnknownTopicOrPartition, -1, true},
		{kerr.KafkaStorageError, -1, true},
		{kerr.OffsetNotAvailable, -1, true},
	} {
		t.Run(fmt.Sprintf("%s %d", c.err.Message, c.count), func(t *testing.T) {
			b := newKafkaBench(t, nil)
			b.topic("t", 2, nil)
			b.produce("t", 0, 0, 3)
			b.produce("t", 1, 0, 3)
			b.commit("g", "t", 1, 1)
			b.c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: "t", Partitions: []int32{1}, Err: c.err, Count: c.count})
			poll := b.poll()
			if on(poll, "t", "0", "")["end_offset"] != 3 || on(poll, "t", "0", "g")["committed_offset"] != 1 {
				t.Errorf("partition 0 = %v, %v; want it whole", on(poll, "t", "0", ""), on(poll, "t", "0", "g"))
			}
			if got := len(on(poll, "t", "1", "")) + len(on(poll, "t", "1", "g")); (got == 0) != c.gone {
				t.Errorf("partition 1 has %d figures", got)
			}
			if v, _ := single(poll, "up"); v != 1 {
				t.Error("one partition made the broker look away")
			}
			if _, part := single(poll, "partial"); part != c.gone {
				t.Errorf("partial = %v, want %v", part, c.gone)
			}
			if c.gone && !strings.Contains(b.log.String(), c.err.Message) {
				t.Errorf("the log does not name %s: %s", c.err.Message, b.log)
			}
		})
	}
}

func TestKafkaGroupErrors(t *testing.T) {
	b := newKafkaBench(t, nil)
	b.topic("t", 1, nil)
	b.produce("t", 0, 0, 3)
	b.commit("good", "t", 1)
	b.commit("bad", "t", 1)
	f := b.c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Group: "bad", Err: kerr.CoordinatorLoadInProgress, Count: -1})
	poll := b.poll()
	if on(poll, "t", "0", "good")["committed_offset"] != 1 || len(on(poll, "t", "0", "bad")) != 0 {
		t.Errorf("good = %v, bad = %v; want only the first", on(poll, "t", "0", "good"), on(poll, "t", "0", "bad"))
	}
	if _, part := single(poll, "partial"); !part {
		t.Error("what is missing is not told")
	}
	f.Remove()
	if got := on(b.poll(), "t", "0", "bad")["committed_offset"]; got != 1 {
		t.Errorf("committed_offset = %v after the coordinator has loaded, want 1", got)
	}
}

// answer makes the answers to one kind of request.
func (b *kbench) answer(key kmsg.Key, change func(kmsg.Response)) {
	b.t.Helper()
	b.c.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.c.KeepControl()
		resp := req.ResponseKind()
		change(resp)
		return resp, nil, true
	})
}

func TestKafkaAbsurdAnswers(t *testing.T) {
	listed := func(part int32, offset int64) func(kmsg.Response) {
		return func(r kmsg.Response) {
			resp := r.(*kmsg.ListOffsetsResponse)
			rt := kmsg.NewListOffsetsResponseTopic()
			rt.Topic = "t"
			rp := kmsg.NewListOffsetsResponseTopicPartition()
			rp.Partition, rp.Offset, rp.Timestamp = part, offset, 1<<62
			rt.Partitions = append(rt.Partitions, rp)
			resp.Topics = append(resp.Topics, rt)
		}
	}
	for name, c := range map[string]struct {
		key    kmsg.Key
		change func(kmsg.Response)
	}{
		"nothing is answered":        {kmsg.ListOffsets, func(kmsg.Response) {}},
		"another partition":          {kmsg.ListOffsets, listed(17, 5)},
		"a negative partition":       {kmsg.ListOffsets, listed(-1, 5)},
		"no offset":                  {kmsg.ListOffsets, listed(0, -1)},
		"a very negative offset":     {kmsg.ListOffsets, listed(0, -1<<63)},
		"an offset beyond all logs":  {kmsg.ListOffsets, listed(0, 1<<63-1)},
		"a commit beyond all logs":   {kmsg.OffsetFetch, committed("g", 0, 1<<63-1)},
		"a very negative commit":     {kmsg.OffsetFetch, committed("g", 0, -1<<63)},
		"a commit on no partition":   {kmsg.OffsetFetch, committed("g", -5, 1)},
		"a commit on partition 2^31": {kmsg.OffsetFetch, committed("g", 1<<31-1, 1)},
		"a commit of nobody":         {kmsg.OffsetFetch, committed("x", 0, 1)},
		"no commit":                  {kmsg.OffsetFetch, committed("g", 0, -1)},
	} {
		t.Run(name, func(t *testing.T) {
			b := newKafkaBench(t, nil, kfake.NumBrokers(1))
			b.topic("t", 1, nil)
			b.produce("t", 0, 0, 3)
			b.commit("g", "t", 1)
			b.answer(c.key, c.change)
			poll := b.poll()
			if got := on(poll, "t", "0", "g"); len(got) != 0 {
				t.Errorf("group = %v, want nothing: no value is better than a wrong one", got)
			}
			if c.key == kmsg.ListOffsets {
				if got := on(poll, "t", "0", ""); len(got) != 0 {
					t.Errorf("partition = %v, want nothing", got)
				}
			}
		})
	}
}

func committed(group string, part int32, offset int64) func(kmsg.Response) {
	return func(r kmsg.Response) {
		resp := r.(*kmsg.OffsetFetchResponse)
		resp.Version = 9
		g := kmsg.NewOffsetFetchResponseGroup()
		g.Group = group
		rt := kmsg.NewOffsetFetchResponseGroupTopic()
		rt.Topic = "t"
		rp := kmsg.NewOffsetFetchResponseGroupTopicPartition()
		rp.Partition, rp.Offset = part, offset
		rt.Partitions = append(rt.Partitions, rp)
		g.Topics = append(g.Topics, rt)
		resp.Groups = append(resp.Groups, g)
	}
}

// gates are listeners of brokers that can be made to look dead.
type gates struct {
	mu   sync.Mutex
	all  []*gate
	shut map[int]bool
}

type gate struct {
	net.Listener
	of *gates
	n  int

	conns []net.Conn
}

func (g *gates) listen(network, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all = append(g.all, &gate{Listener: l, of: g, n: len(g.all)})
	return g.all[len(g.all)-1], nil
}

func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g.of.mu.Lock()
		shut := g.of.shut[g.n]
		g.conns = append(g.conns, c)
		g.of.mu.Unlock()
		if !shut {
			return c, nil
		}
		_ = c.Close()
	}
}

func (g *gates) set(n int, shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut[n] = shut
	if shut {
		for _, c := range g.all[n].conns {
			_ = c.Close()
		}
	}
}

func TestKafkaBrokerAwayAndBack(t *testing.T) {
	g := &gates{shut: map[int]bool{}}
	b := newKafkaBench(t, func(c *KafkaConfig) { c.Timeout = 4 * time.Second }, kfake.ListenFn(g.listen))
	b.topic("t", 6, nil)
	var all []int64
	for p := range int32(6) {
		b.produce("t", p, 0, 2)
		all = append(all, 1)
	}
	groups := []string{"g1", "g2", "g3", "g4", "g5", "g6"}
	for _, name := range groups {
		b.commit(name, "t", all...)
	}
	b.poll()
	// One of three. Its partitions are led, and its groups coordinated, by nobody else.
	node := b.c.LeaderFor("t", 0)
	g.set(int(node), true)
	poll := b.poll()
	away := 0
	for p := range 6 {
		gone := b.c.LeaderFor("t", int32(p)) == node
		if got := on(poll, "t", fmt.Sprint(p), ""); gone != (len(got) == 0) {
			t.Errorf("partition %d: %v; led by the broker that is away: %v", p, got, gone)
		}
		for _, name := range groups {
			if got := on(poll, "t", fmt.Sprint(p), name); (gone || b.c.CoordinatorFor(name) == node) != (len(got) == 0) {
				t.Errorf("partition %d, group %s: %v", p, name, got)
			}
		}
		if gone {
			away++
		}
	}
	if v, _ := single(poll, "up"); v != 1 || away == 0 {
		t.Errorf("up = %v with %d of 6 partitions away, want 1", v, away)
	}
	if v, _ := single(poll, "partial"); v != 1 {
		t.Error("partial is not told")
	}
	for _, say := range []string{"cannot read everything from broker", fmt.Sprintf("cannot read offsets from broker %d", node), fmt.Sprintf("cannot list groups of broker %d", node)} {
		if !strings.Contains(b.log.String(), say) {
			t.Errorf("the log does not say %q:\n%s", say, b.log)
		}
	}
	g.set(int(node), false)
	poll = b.poll()
	if _, part := single(poll, "partial"); part {
		t.Errorf("partial although the broker is back:\n%s", b.log)
	}
	for p := range 6 {
		for _, name := range groups {
			if on(poll, "t", fmt.Sprint(p), name)["committed_offset"] != 1 {
				t.Errorf("partition %d of %s is not back", p, name)
			}
		}
	}
}

func TestKafkaClusterAwayAndBack(t *testing.T) {
	dir := t.TempDir()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(dir), kfake.SeedTopics(2, "t"))
	if err != nil {
		t.Fatal(err)
	}
	addr := c.ListenAddrs()[0]
	var port int
	if _, err := fmt.Sscanf(addr[strings.LastIndexByte(addr, ':')+1:], "%d", &port); err != nil {
		t.Fatal(err)
	}
	out := newSink(t)
	p, err := New(Config{Kafka: []KafkaConfig{{Brokers: []string{addr}, Cluster: "c1", Timeout: 2 * time.Second}}}, "n1", out, nil, metrics.NewSet(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p.loops[0].interval = 50 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	whole := func(poll []sample) bool { return up(poll) == 1 && len(on(poll, "t", "1", "")) > 0 }
	until(t, out, "topic seen", whole)
	c.Close()
	until(t, out, "cluster away", func(poll []sample) bool { return up(poll) == 0 })
	if c, err = kfake.NewCluster(kfake.Ports(port), kfake.DataDir(dir)); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	until(t, out, "cluster back", whole)
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Run does not return")
	}
}

// A broker of 2019: no batches of groups, no topic ids, no kinds, no youngest record.
func TestKafkaOldBroker(t *testing.T) {
	b := newKafkaBench(t, nil, kfake.MaxVersions(kversion.V2_4_0()))
	b.topic("t", 2, map[string]string{"retention.ms": "60000"})
	b.produce("t", 0, 0, 5)
	b.commit("g1", "t", 3)
	b.commit("g2", "t", 5)
	for range 2 {
		poll := b.poll()
		if _, part := single(poll, "partial"); part || up(poll) != 1 {
			t.Fatalf("up = %v, partial = %v:\n%s", up(poll), part, b.log)
		}
		want(t, "partition", on(poll, "t", "0", ""), map[string]float64{
			"start_offset": 0, "end_offset": 5, "stable_offset": 5, "retention_seconds": 60, "start_timestamp_seconds": float64(stampOf(0).Unix()),
		})
		want(t, "g1", on(poll, "t", "0", "g1"), map[string]float64{"committed_offset": 3, "committed_timestamp_seconds": float64(stampOf(3).Unix())})
		want(t, "g2", on(poll, "t", "0", "g2"), map[string]float64{"committed_offset": 5})
		if kind, state := kindOf(poll, "g1"); kind != "classic" || state != "Empty" {
			t.Errorf("type %q, state %q", kind, state)
		}
	}
}

// The times that senders write may be anything.
func TestKafkaAbsurdTimes(t *testing.T) {
	b := newKafkaBench(t, nil)
	b.topic("t", 1, nil)
	b.admin()
	for _, at := range []time.Time{time.Now().Add(200 * 365 * 24 * time.Hour), time.Now().Add(-time.Hour)} {
		if err := b.cl.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Timestamp: at}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	b.commit("g", "t", 0)
	for range 2 {
		want(t, "no time is better than a wrong one", on(b.poll(), "t", "0", "g"), map[string]float64{"committed_offset": 0})
	}
	b.commit("g", "t", 1)
	if _, ok := on(b.poll(), "t", "0", "g")["committed_timestamp_seconds"]; !ok {
		t.Error("the second record has a time")
	}
	if b.skipped("bad_timestamp") == 0 {
		t.Error("nothing is counted")
	}
}
