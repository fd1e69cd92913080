package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
	"github.com/weirhq/weir/store/local"
)

// meters drives a service with series of known systems only.
type meters struct {
	t   *testing.T
	e   *fakeEngine
	s   *Service
	now int64 // Unix seconds
}

func newMeters(t *testing.T) *meters {
	t.Helper()
	e := newFake()
	return &meters{t, e, New(demoConfig(), e, slog.New(slog.DiscardHandler), metrics.NewSet(), Extras{}), demoStart}
}

func (m *meters) put(v float64, name string, ls ...string) {
	m.e.sample(m.now*1000, v, labels.FromStrings(append([]string{model.MetricNameLabel, name}, ls...)...))
}

// run evaluates every second and scrapes every 15.
func (m *meters) run(seconds int, step, scrape func()) {
	for range seconds {
		m.now++
		if step != nil {
			step()
		}
		if m.now%15 == 0 && scrape != nil {
			scrape()
		}
		m.s.Evaluate(context.Background(), time.Unix(m.now, 0))
	}
}

func (m *meters) page(id string) answer.Pipeline {
	m.t.Helper()
	p, err := m.s.Pipeline(context.Background(), store.DefaultTenant, id)
	if err != nil {
		m.t.Fatal(err)
	}
	return p
}

func (m *meters) fluentBit(in, out float64) {
	ls := func(n string) []string { return []string{"name", n, "instance", "n1:2020", "job", "fluent-bit"} }
	m.put(in, "fluentbit_input_records_total", ls("tail.0")...)
	m.put(out, "fluentbit_output_proc_records_total", ls("http.0")...)
	m.put(0, "fluentbit_output_dropped_records_total", ls("http.0")...)
	m.put(0, "fluentbit_input_storage_chunks", ls("tail.0")...)
}

// Scenario 24 through the whole evaluation: in 200,000, delivered 149,391, no drop told.
func TestLossByCounters(t *testing.T) {
	m := newMeters(t)
	var in, out float64
	scrape := func() { m.fluentBit(in, out) }
	m.run(120, nil, scrape)
	m.run(100, func() { in, out = in+1000, out+1000 }, scrape)
	p := m.page("fluent-bit")
	if p.State != answer.OK || p.Level != flow.L1 || p.In == nil || math.Abs(*p.In-1000) > 1 || p.Out == nil || math.Abs(*p.Out-1000) > 1 {
		t.Errorf("%s %s in %v out %v: %s", p.State, p.Level, p.In, p.Out, p.Sentence)
	}
	if len(p.Nodes) != 2 || len(p.Edges) != 1 || p.Edges[0].From != "stage:tail.0" || p.Edges[0].To != "stage:http.0" || p.Evidence != "counts of 2 instances, standard counters of 2 stages" {
		t.Errorf("%+v %+v %q", p.Nodes, p.Edges, p.Evidence)
	}
	m.run(100, func() { in, out = in+1000, out+493 }, scrape)
	out = 149_391
	losing := false
	for range 30 {
		m.run(10, nil, scrape)
		losing = losing || m.page("fluent-bit").State == answer.Losing
	}
	p = m.page("fluent-bit")
	if !losing || p.Lost24h != 50_609 || p.Edges[0].Lost != 50_609 {
		t.Errorf("losing %v, lost %d, on the edge %d", losing, p.Lost24h, p.Edges[0].Lost)
	}
	l, err := m.s.Loss(context.Background(), store.DefaultTenant, time.Unix(demoStart, 0), time.Unix(m.now, 0), "")
	if err != nil || len(l.Rows) != 1 {
		t.Fatalf("%d rows, %v", len(l.Rows), err)
	}
	r := l.Rows[0]
	if r.Verdict != flow.ProbableLoss || r.Lost != 50_609 || r.Up != 200_000 || r.Down != 149_391 || r.Level != flow.L1 || r.Confidence > 0.9 || r.Where != "tail.0 → http.0" {
		t.Errorf("%+v", r)
	}
	if share := float64(r.Lost) / float64(r.Up); math.Abs(share-0.2530) > 0.0001 {
		t.Errorf("share %g", share)
	}
	m.run(200, nil, scrape)
	if p := m.page("fluent-bit"); p.State != answer.Idle {
		t.Errorf("%s: %s", p.State, p.Sentence)
	}
	m.run(300, nil, nil)
	if p := m.page("fluent-bit"); p.State != answer.Unknown {
		t.Errorf("nothing is scraped: %s: %s", p.State, p.Sentence)
	}
}

// At a start names are looked for at every reading, so that a system which is scraped a little later shows within seconds.
func TestCountersAppearSoon(t *testing.T) {
	m := newMeters(t)
	m.run(14, nil, nil)
	in := 0.0
	m.run(32, func() { in += 1000 }, func() { m.fluentBit(in, in) })
	if p := m.page("fluent-bit"); len(p.Nodes) != 2 {
		t.Errorf("%s %+v", p.State, p.Nodes)
	}
}

// Restarts, gaps and the first sight of old counters page nobody.
func TestCountersAreQuiet(t *testing.T) {
	m := newMeters(t)
	in, out := 7e9, 5e9
	scrape := func() { m.fluentBit(in, out) }
	flows := func() { in, out = in+1000, out+1000 }
	states := map[answer.State]int{}
	look := func(n int, scrape func()) {
		for range n {
			m.run(10, flows, scrape)
			states[m.page("fluent-bit").State]++
		}
	}
	m.run(90, flows, scrape) // names are looked for once a minute
	look(20, scrape)
	in, out = 0, 0
	look(20, scrape)
	look(4, nil)
	look(10, scrape)
	m.s = New(demoConfig(), m.e, slog.New(slog.DiscardHandler), metrics.NewSet(), Extras{})
	m.run(40, flows, scrape)
	look(20, scrape)
	if states[answer.Losing]+states[answer.Late] > 0 || states[answer.OK] < 60 {
		t.Errorf("%v", states)
	}
	for k, v := range m.e.verdicts {
		if v.Lost > 0 || v.Surplus > 0 || v.Level != flow.L1 {
			t.Errorf("%+v %+v", k, v)
		}
	}
}

// What kafka_exporter tells of a topic is a pipeline with lag, as from weir's own poller; and the poller wins.
func TestExporterIsABroker(t *testing.T) {
	m := newMeters(t)
	var end, committed float64
	scrape := func() {
		for p := range 2 {
			ls := []string{"topic", "orders", "partition", fmt.Sprint(p), "job", "kafka"}
			m.put(end, "kafka_topic_partition_current_offset", ls...)
			m.put(0, "kafka_topic_partition_oldest_offset", ls...)
			m.put(committed, "kafka_consumergroup_current_offset", append([]string{"consumergroup", "enrich"}, ls...)...)
			m.put(-1, "kafka_consumergroup_current_offset", append([]string{"consumergroup", "never"}, ls...)...)
		}
	}
	m.run(300, func() { end, committed = end+100, committed+100 }, scrape)
	m.run(120, func() { end, committed = end+100, committed+50 }, scrape)
	p := m.page("orders")
	if p.State != answer.Late || p.Slowest != "enrich" || len(p.Partitions) != 2 || p.Lag.Messages == nil || math.Abs(*p.Lag.Messages-12_000) > 2000 || p.Lag.Seconds == nil || math.Abs(*p.Lag.Seconds-60) > 20 {
		t.Errorf("%s %s, %d partitions, lag %v %v", p.State, p.Sentence, len(p.Partitions), p.Lag.Messages, p.Lag.Seconds)
	}
	m.run(120, func() {
		end, committed = end+100, committed+50
		for p := range 2 {
			ls := []string{"system", "kafka", "cluster", "prod", "destination", "orders", "partition", fmt.Sprint(p), "node", "n1"}
			m.put(0, "weir_broker_start_offset", ls...)
			m.put(end, "weir_broker_end_offset", ls...)
			m.put(committed, "weir_broker_committed_offset", append([]string{"group", "enrich"}, ls...)...)
		}
		m.put(1, "weir_broker_up", "system", "kafka", "cluster", "prod", "node", "n1")
	}, scrape)
	p = m.page("orders")
	if len(p.Partitions) != 2 || p.Lag.Messages == nil || *p.Lag.Messages != 2*(end-committed) {
		t.Errorf("%d partitions, lag %v of %g", len(p.Partitions), *p.Lag.Messages, 2*(end-committed))
	}
	for q := range m.s.tenant(store.DefaultTenant).broker.Queues() {
		if q.Cluster != "prod" {
			t.Errorf("%v is still there", q.QueueKey)
		}
	}
	if lost := p.Lost24h; lost != 0 {
		t.Errorf("lost %d", lost)
	}
}

// A queue without offsets: backlog and the age of its head. Figures are minutes old, as CloudWatch's are.
func TestQueueWithoutOffsets(t *testing.T) {
	m := newMeters(t)
	backlog, age := 100.0, 1.0
	type old struct{ backlog, age float64 }
	var past []old
	put := func(o old, at int64) {
		ls := func(name string) labels.Labels {
			return labels.FromStrings(model.MetricNameLabel, name, "dimension_QueueName", "jobs", "account_id", "1234")
		}
		m.e.sample(at*1000, o.backlog, ls("aws_sqs_approximate_number_of_messages_visible_average"))
		m.e.sample(at*1000, o.age, ls("aws_sqs_approximate_age_of_oldest_message_maximum"))
	}
	minute := func(step func()) {
		for range 60 {
			m.now++
			if m.now%60 == 0 {
				step()
				past = append(past, old{backlog, age})
				if n := len(past); n > 3 {
					put(past[n-3], m.now-120)
				}
			}
			m.s.Evaluate(context.Background(), time.Unix(m.now, 0))
		}
	}
	states := map[answer.State]int{}
	for range 15 {
		minute(func() {})
	}
	for range 20 {
		minute(func() {})
		states[m.page("jobs").State]++
	}
	if states[answer.OK] != 20 {
		t.Errorf("a queue that is read steadily: %v, %s", states, m.page("jobs").Sentence)
	}
	for range 10 {
		minute(func() { backlog, age = backlog+600, age+60 })
	}
	p := m.page("jobs")
	if p.State != answer.Late || p.Lag.Messages == nil || math.Abs(*p.Lag.Messages-4900) > 1300 || p.Lag.Seconds == nil || math.Abs(*p.Lag.Seconds-481) > 130 {
		t.Errorf("%s %s lag %v %v", p.State, p.Sentence, figureOf(p.Lag.Messages), figureOf(p.Lag.Seconds))
	}
	for range 6 {
		minute(func() { backlog, age = 0, 0 })
	}
	if p := m.page("jobs"); p.State == answer.Late || p.Lost24h != 0 {
		t.Errorf("%s %s lost %d", p.State, p.Sentence, p.Lost24h)
	}
}

// Counters of a stage that applications count for add facts, and no verdict: cells win.
func TestCellsWin(t *testing.T) {
	d := newDemo(t, demoConfig())
	var in float64
	for i := range 200 {
		d.run(1)
		in += 1000
		if i%15 == 0 {
			put := func(v float64, name string, more ...string) {
				d.e.sample(d.now*1000, v, labels.FromStrings(append([]string{model.MetricNameLabel, name, "component_id", "enrich", "component_kind", "transform", "component_type", "remap", "job", "orders"}, more...)...))
			}
			put(in, "vector_component_received_events_total")
			put(in/2, "vector_component_sent_events_total")
			put(in/2, "vector_component_discarded_events_total", "intentional", "false")
			put(0.75, "vector_utilization")
		}
	}
	p := d.want(answer.OK, "")
	if p.Level != flow.L2 || p.Lost24h != 0 || len(p.Stages) != 3 {
		t.Errorf("level %s lost %d stages %d", p.Level, p.Lost24h, len(p.Stages))
	}
	for _, s := range p.Stages {
		if (s.Stage == "enrich") != (s.Busy != nil) || s.Busy != nil && *s.Busy != 0.75 {
			t.Errorf("%s is busy %v", s.Stage, s.Busy)
		}
	}
	for _, v := range d.e.verdicts {
		if v.Level == flow.L1 {
			t.Errorf("%+v", v)
		}
	}
}

// Facts of a job known from counters alone.
func TestFlinkJob(t *testing.T) {
	m := newMeters(t)
	n := 0.0
	m.run(150, func() { n += 500 }, func() {
		for _, task := range []string{"Source:_orders", "Map", "Sink:_Writer"} {
			ls := []string{"job_name", "enrich", "task_name", task, "subtask_index", "0", "tm_id", "tm"}
			m.put(n, "flink_taskmanager_job_task_numRecordsIn", ls...)
			m.put(n, "flink_taskmanager_job_task_numRecordsOut", ls...)
			m.put(700, "flink_taskmanager_job_task_busyTimeMsPerSecond", ls...)
			m.put(200, "flink_taskmanager_job_task_backPressuredTimeMsPerSecond", ls...)
			m.put(float64(m.now*1000-9000), "flink_taskmanager_job_task_currentInputWatermark", ls...)
		}
	})
	p := m.page("enrich")
	if p.State != answer.OK || len(p.Nodes) != 3 || len(p.Edges) != 2 || p.Watermark == nil || *p.Watermark < 9 || *p.Watermark > 25 {
		t.Errorf("%s, %d nodes, %d edges, watermark %v", p.State, len(p.Nodes), len(p.Edges), p.Watermark)
	}
	if s := p.Stages[1]; s.Stage != "Map" || math.Abs(*s.Busy-0.7) > 1e-9 || *s.Pressure != 0.2 || s.RateIn == nil || math.Abs(*s.RateIn-500) > 5 {
		t.Errorf("%s busy %g pressure %g in %g", s.Stage, *s.Busy, *s.Pressure, *s.RateIn)
	}
	if p.Nodes[0].Kind != "source" || p.Nodes[2].Kind != "sink" || p.Lost24h != 0 {
		t.Errorf("%+v", p.Nodes)
	}
}

// The same on the real store, as a remote writer fills it: scenario 24, in compressed time just behind the clock.
func TestCountersOnTheRealStore(t *testing.T) {
	lc := local.DefaultConfig()
	lc.Dir = t.TempDir()
	e, err := local.Open(t.Context(), lc, slog.New(slog.DiscardHandler), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	s := New(demoConfig(), e, slog.New(slog.DiscardHandler), metrics.NewSet(), Extras{})
	now := time.Now().Unix() - 900
	in, out := 0.0, 0.0
	for i := range 600 {
		now++
		if i >= 120 && i < 320 {
			in, out = in+1000, out+746.955
		}
		if i == 320 {
			out = 149_391
		}
		if now%15 == 0 {
			b := &batch{ref: map[string]uint32{}, at: now * 1000}
			o := math.Floor(out)
			b.add("fluentbit_input_records_total", &in, "instance", "n1:2020", "job", "fluent-bit", "name", "tail.0")
			b.add("fluentbit_output_proc_records_total", &o, "instance", "n1:2020", "job", "fluent-bit", "name", "http.0")
			if _, err := e.Metrics().Append(ctx, store.DefaultTenant, &b.b); err != nil {
				t.Fatal(err)
			}
		}
		if now%10 == 0 {
			s.Evaluate(ctx, time.Unix(now, 0))
		}
	}
	l, err := s.Loss(ctx, store.DefaultTenant, time.Unix(now-3600, 0), time.Unix(now, 0), "fluent-bit")
	if err != nil || len(l.Rows) != 1 || l.Rows[0].Lost != 50_609 || l.Rows[0].Verdict != flow.ProbableLoss {
		t.Errorf("%+v, %v", l.Rows, err)
	}
}

func figureOf(f *float64) any {
	if f == nil {
		return "not known"
	}
	return *f
}
