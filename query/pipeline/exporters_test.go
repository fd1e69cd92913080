package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow/rules"
	"github.com/weirhq/weir/store"
)

// An exporter that names another cluster is listened to though a polled cluster has a topic of that name; one that names the polled
// cluster, or none, is not, and that is counted.
func TestExportersOfOtherClusters(t *testing.T) {
	m := newMeters(t)
	set := metrics.NewSet()
	m.s = New(demoConfig(), m.e, slog.New(slog.DiscardHandler), set, Extras{})
	n := 0.0
	exporter := func(lag float64, group string, ls ...string) {
		ls = append([]string{"topic", "orders", "partition", "0"}, ls...)
		m.put(n, "kafka_topic_partition_current_offset", ls...)
		m.put(n-lag, "kafka_consumergroup_current_offset", append([]string{"consumergroup", group}, ls...)...)
	}
	m.run(300, func() {
		n += 100
		ls := []string{"system", "kafka", "cluster", "prod-eu", "destination", "orders", "partition", "0", "node", "n1"}
		m.put(0, "weir_broker_start_offset", ls...)
		m.put(n, "weir_broker_end_offset", ls...)
		m.put(n-7, "weir_broker_committed_offset", append([]string{"group", "enrich"}, ls...)...)
		m.put(1, "weir_broker_up", "system", "kafka", "cluster", "prod-eu", "node", "n1")
	}, func() {
		exporter(500, "enrich", "cluster", "prod-us", "job", "kafka")
		exporter(500, "archive", "cluster", "prod-us", "job", "kafka")
		exporter(300, "enrich", "cluster", "prod-eu", "job", "kafka")
		exporter(300, "enrich", "job", "kafka-exporter")
		exporter(300, "enrich", "instance", "k1:9308")
	})
	g, err := m.s.Groups(context.Background(), store.DefaultTenant, answer.GroupQuery{Limit: 10, Sort: "name"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range g.Groups {
		got = append(got, fmt.Sprintf("%s %s %s %v", r.Cluster, r.Destination, r.Group, figureOf(r.Lag.Messages)))
	}
	if s := strings.Join(got, "; "); s != "prod-us orders archive 500; prod-eu orders enrich 7; prod-us orders enrich 500" {
		t.Errorf("%s", s)
	}
	if r := m.page("orders"); r.Lag.Messages == nil || len(r.Partitions) != 2 || *r.Partitions[1].Lag.Messages+*r.Partitions[0].Lag.Messages != 507 {
		t.Errorf("%+v", r.Partitions)
	}
	var b strings.Builder
	set.WritePrometheus(&b)
	if !strings.Contains(b.String(), "weir_pipeline_silenced_destinations 3\n") {
		t.Errorf("%s", b.String())
	}
	m.run(700, nil, nil) // none is scraped any more
	b.Reset()
	if set.WritePrometheus(&b); !strings.Contains(b.String(), "weir_pipeline_silenced_destinations 0\n") {
		t.Errorf("%s", b.String())
	}
}

// What does not fit into one reading is counted.
func TestExportedIsBounded(t *testing.T) {
	var over tally
	e := newExportBook(&over)
	m := &rules.Match{Broker: "kafka", Destination: "orders", Partition: "0"}
	for i := range maxExportedEach + 5 {
		e.take(m, rules.End, int64(i), 1)
	}
	if over != 5 {
		t.Errorf("%d samples of a series counted", over)
	}
	for i := range maxExported + 1 {
		e.take(&rules.Match{Broker: "kafka", Destination: "orders", Partition: fmt.Sprint(i)}, rules.End, 1, 1)
	}
	if over != 5+1+1 || len(e.pending) != maxExported { // partition 0 is full, one more is too many
		t.Errorf("%d counted, %d series", over, len(e.pending))
	}
}
