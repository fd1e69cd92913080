//go:build systems

package broker

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// startKafka runs a real broker, its own controller, on free ports. WEIR_TEST_KAFKA names the folder of its jars.
func startKafka(t *testing.T) string {
	t.Helper()
	return startKafkaWith(t, "", "")
}

// startKafkaWith adds listeners, each after a comma, and lines of configuration, and formats the log with more arguments.
func startKafkaWith(t *testing.T, listeners, more string, format ...string) string {
	t.Helper()
	lib := os.Getenv("WEIR_TEST_KAFKA")
	java, err := exec.LookPath("java")
	if lib == "" || err != nil {
		t.Skip("NOT TESTED: Kafka: WEIR_TEST_KAFKA names no folder of jars, or there is no java")
	}
	dir := t.TempDir()
	broker, controller := freePort(t), freePort(t)
	file := filepath.Join(dir, "server.properties")
	conf := fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:%d
listeners=PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d%s
controller.listener.names=CONTROLLER
log.dirs=%s
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.coordinator.rebalance.protocols=classic,consumer,share
group.initial.rebalance.delay.ms=0
%s`, controller, broker, controller, listeners, filepath.Join(dir, "data"), more)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cp := filepath.Join(lib, "*")
	tool := exec.Command(java, append([]string{"-cp", cp, "kafka.tools.StorageTool", "format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c", file}, format...)...)
	if out, err := tool.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	start(t, nil, java, "-Xmx512m", "-cp", cp, "kafka.Kafka", file)
	return fmt.Sprintf("127.0.0.1:%d", broker)
}

// What the poller says of a real Kafka: offsets, transactions, a group of the newer protocol, deleted records, no commit.
func TestSystemKafka(t *testing.T) {
	addr := startKafka(t)
	ctx := t.Context()
	client := func(opts ...kgo.Opt) *kgo.Client {
		t.Helper()
		c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(addr))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	c := client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	adm := kadm.NewClient(c)
	eventually(t, 60*time.Second, func() error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := adm.ListBrokers(ctx)
		return err
	})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, topic := range []string{"orders", "payments"} {
		_, err := adm.CreateTopic(ctx, 2, 1, map[string]*string{"retention.ms": new("3600000")}, topic)
		must(err)
	}
	for i := range 200 {
		must(c.ProduceSync(ctx, &kgo.Record{Topic: "orders", Partition: int32(i % 2), Value: []byte("x")}).FirstErr())
	}
	// Three transactions of ten records: 30 records, and one marker for each transaction in each partition it wrote.
	tx := client(kgo.TransactionalID("t"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for range 3 {
		must(tx.BeginTransaction())
		for range 10 {
			tx.Produce(ctx, &kgo.Record{Topic: "payments", Partition: 0, Value: []byte("x")}, nil)
		}
		must(tx.Flush(ctx))
		must(tx.EndTransaction(ctx, kgo.TryCommit))
	}
	read := func(group, topic string, n int, opts ...kgo.Opt) {
		t.Helper()
		r := client(append(opts, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
		got := 0
		deadline, cancel := context.WithTimeout(ctx, 60*time.Second)
		defer cancel()
		for got < n {
			f := r.PollRecords(deadline, n-got)
			if err := deadline.Err(); err != nil {
				t.Fatalf("group %s read %d of %d: %v", group, got, n, err)
			}
			got += f.NumRecords()
		}
		must(r.CommitUncommittedOffsets(ctx))
	}
	read("payers", "payments", 30)
	read("enrich", "orders", 200)
	for range 20 {
		must(c.ProduceSync(ctx, &kgo.Record{Topic: "orders", Partition: 0, Value: []byte("x")}).FirstErr())
	}
	offsets := kadm.Offsets{}
	offsets.AddOffset("orders", 1, 40, -1)
	must(adm.CommitAllOffsets(ctx, "slow", offsets))
	deleted := kadm.Offsets{}
	deleted.AddOffset("orders", 1, 60, -1)
	_, err := adm.DeleteRecords(ctx, deleted)
	must(err)

	cfg := KafkaConfig{Brokers: []string{addr}, Cluster: "k"}.withDefaults()
	must(cfg.Validate())
	k := newKafka(cfg, metrics.NewSet(), slog.New(slog.DiscardHandler))
	must(k.open())
	defer k.close()
	eventually(t, 30*time.Second, func() error {
		s, err := k.poll(ctx)
		if err != nil {
			return err
		}
		got := map[string]string{}
		for i := range s.partitions {
			p := &s.partitions[i]
			if p.tells&toldBytes == 0 || p.end > 0 && p.bytes == 0 {
				return fmt.Errorf("%s/%s: no bytes: %+v", p.destination, p.partition, *p)
			}
			got[p.destination+"/"+p.partition] = fmt.Sprintf("%d-%d stable %d retention %s", p.start, p.end, p.stable, p.maxAge)
		}
		note := func(g *groupState) {
			got[g.group+" "+g.destination+"/"+g.partition] = fmt.Sprintf("%d stamped %v", g.committed, !g.committedAt.IsZero())
		}
		for i := range s.groups {
			note(&s.groups[i])
		}
		if s.many != nil {
			for g := range s.many {
				note(g)
			}
		}
		for name, want := range map[string]string{
			"orders/0": "0-120 stable 120 retention 1h0m0s", "orders/1": "60-100 stable 100 retention 1h0m0s", "payments/0": "0-33 stable 33 retention 1h0m0s",
			"enrich orders/0": "100 stamped true", "enrich orders/1": "100 stamped false", "slow orders/1": "40 stamped true",
		} {
			if got[name] != want {
				return fmt.Errorf("%s: %q, want %q; all: %v", name, got[name], want, got)
			}
		}
		if !strings.HasPrefix(got["payers payments/0"], "32 ") && !strings.HasPrefix(got["payers payments/0"], "33 ") {
			return fmt.Errorf("payers: %q", got["payers payments/0"])
		}
		return nil
	})
}
