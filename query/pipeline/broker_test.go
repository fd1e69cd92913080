package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// world is a broker that is polled every second: figures by name, given anew at each poll.
type world struct {
	t    *testing.T
	e    *fakeEngine
	s    *Service
	now  int64 // Unix seconds
	node string
	// system of the broker.
	system string
	hook   func(*tenant)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, e: newFake(), now: demoStart, node: "n1", system: "kafka"}
	w.restart()
	return w
}

func (w *world) restart() {
	w.s = New(demoConfig(), w.e, slog.New(slog.DiscardHandler), metrics.NewSet(), Extras{})
	if w.hook != nil {
		w.hook(w.s.tenant(store.DefaultTenant))
	}
}

// put a figure of topic t in cluster c of Kafka.
func (w *world) put(name string, v float64, ls ...string) {
	all := append([]string{model.MetricNameLabel, "weir_broker_" + name, "system", w.system, "cluster", "c", "node", w.node}, ls...)
	w.e.sample(w.now*1000, v, labels.FromStrings(all...))
}

// lane puts one partition of a topic as group g reads it; committed < 0 = never.
func (w *world) lane(topic string, p int, start, end, committed float64) {
	at := []string{"destination", topic, "partition", fmt.Sprint(p)}
	w.put("start_offset", start, at...)
	w.put("end_offset", end, at...)
	if committed < 0 {
		w.put("uncommitted", 1, append(at, "group", "g")...)
	} else {
		w.put("committed_offset", committed, append(at, "group", "g")...)
	}
}

// run plays n polls; f is given the number of the second.
func (w *world) run(n int, f func(i int)) {
	for i := range n {
		w.now++
		w.put("up", 1)
		f(i)
		w.s.Evaluate(context.Background(), time.Unix(w.now, 0))
	}
}

func (w *world) page(id string) answer.Pipeline {
	w.t.Helper()
	p, err := w.s.Pipeline(context.Background(), store.DefaultTenant, id)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := json.Marshal(p); err != nil {
		w.t.Error(err)
	}
	return p
}

func (w *world) group() answer.GroupRow {
	w.t.Helper()
	g, err := w.s.Groups(context.Background(), store.DefaultTenant, answer.GroupQuery{Limit: 10})
	if err != nil || len(g.Groups) != 1 {
		w.t.Fatalf("%+v, %v", g, err)
	}
	return g.Groups[0]
}

func (w *world) noLoss() {
	w.t.Helper()
	for k, v := range w.e.verdicts {
		if v.Lost > 0 {
			w.t.Errorf("%v: lost %d, %s", k, v.Lost, v.Class)
		}
	}
}

// Scenario 23: neither 0 nor all there is.
func TestNeverCommitted(t *testing.T) {
	w := newWorld(t)
	w.run(20, func(i int) { w.lane("logs", 0, 0, 1_234_234, -1) })
	p, g := w.page("logs"), w.group()
	if p.State != answer.Unknown || p.Sentence != "g never committed on logs: up to 1,234,234 records may wait, how many is not known." || p.Lag.Messages != nil || p.Lag.Seconds != nil {
		t.Errorf("%s %q %+v", p.State, p.Sentence, p.Lag)
	}
	if g.State != answer.Unknown || g.Note != "never committed; up to 1,234,234 records may wait" || g.Lag.Messages != nil && *g.Lag.Messages != 0 || g.Lag.Seconds != nil {
		t.Errorf("%+v", g)
	}
	if r := p.Partitions[0]; r.Committed != nil || r.Lag.Messages != nil || r.State != answer.Unknown {
		t.Errorf("%+v", r)
	}
	// One of two partitions commits: its lag is known, and the other is named.
	w.run(20, func(i int) {
		w.lane("logs", 0, 0, 1_234_234, -1)
		w.lane("logs", 1, 0, 100, 100)
	})
	if p, g := w.page("logs"), w.group(); p.State != answer.Idle && p.State != answer.OK || *g.Lag.Messages != 0 || !strings.HasPrefix(g.Note, "never committed on 1 partitions") {
		t.Errorf("%s %+v", p.State, g)
	}
}

// Scenario 19: the marker of the last transaction is nobody's lag; a record that is there is.
func TestTransactionalLag(t *testing.T) {
	w := newWorld(t)
	at := []string{"destination", "tx", "partition", "0"}
	w.run(60, func(i int) {
		w.lane("tx", 0, 0, 33, 32)
		w.put("stable_offset", 33, at...)
	})
	if p := w.page("tx"); *p.Lag.Messages != 0 || *p.Lag.Seconds != 0 || p.State == answer.Late {
		t.Errorf("%s %+v", p.State, p.Lag)
	}
	w.run(60, func(i int) {
		w.lane("tx", 0, 0, 33, 32)
		w.put("stable_offset", 33, at...)
		w.put("committed_timestamp_seconds", float64(demoStart+1), append(at, "group", "g")...)
	})
	if p := w.page("tx"); *p.Lag.Messages != 1 || p.State != answer.Late {
		t.Errorf("a record waits: %s %+v", p.State, p.Lag)
	}
	// An open transaction: what lies beyond cannot be read yet.
	w.run(30, func(i int) {
		w.lane("tx", 0, 0, float64(1033+i), 33)
		w.put("stable_offset", 33, at...)
	})
	if p, g := w.page("tx"), w.group(); *p.Lag.Messages != 0 || !strings.HasPrefix(g.Note, "an open transaction holds back 1,0") {
		t.Errorf("%+v %q", p.Lag, g.Note)
	}
}

// Where offsets are no count of records, or made up, no rule about them applies.
func TestOffsetsThatAreNoCount(t *testing.T) {
	for _, flag := range []string{"compacted", "synthetic"} {
		w := newWorld(t)
		w.run(120, func(i int) {
			end := 1000 + 100*float64(i)
			if i > 60 && flag == "synthetic" {
				end -= 5000 // counters fell with the broker
			}
			w.lane("q", 0, math.Max(0, end-3000), end, 500)
			w.put(flag, 1, "destination", "q", "partition", "0")
		})
		w.noLoss()
		if g := w.group(); flag == "compacted" && g.Note != "compacted: the backlog is an upper bound" {
			t.Errorf("%q", g.Note)
		}
	}
}

// Kafka tells offsets and bytes: the mean record and the limit in bytes say when unread records are deleted.
func TestRetentionBySize(t *testing.T) {
	w := newWorld(t)
	at := []string{"destination", "orders", "partition", "0"}
	w.run(130, func(i int) {
		end := 100 * float64(i)
		start := math.Max(0, end-10_000)
		w.lane("orders", 0, start, end, end/2)
		w.put("bytes", (end-start)*100, at...)
		w.put("retention_bytes", 1e6, at...)
	})
	// 10,000 records are kept; 6,450 are unread, and 50 more each second.
	p := w.page("orders")
	if p.LossIn == nil || math.Abs(*p.LossIn-71) > 3 {
		t.Errorf("loss in %v", p.LossIn)
	}
}

// Another id of the topic: deleted and created again, no truncation.
func TestTopicMadeAnew(t *testing.T) {
	w := newWorld(t)
	w.run(60, func(i int) {
		w.lane("orders", 0, 0, 10_000+100*float64(i), 9900+100*float64(i))
		w.put("destination_info", 1, "destination", "orders", "id", "a")
	})
	w.run(60, func(i int) {
		w.lane("orders", 0, 0, 10*float64(i), 10*float64(i))
		w.put("destination_info", 1, "destination", "orders", "id", "b")
	})
	w.noLoss()
	p := w.page("orders")
	if p.State != answer.OK || *p.Lag.Messages != 0 {
		t.Errorf("%s %+v", p.State, p.Lag)
	}
	told := 0
	for _, c := range p.Changes {
		if c.Text == "orders was deleted and created again." {
			told++
		}
	}
	if told != 1 {
		t.Errorf("%+v", p.Changes)
	}
	w.restart()
	w.run(3, func(i int) { w.lane("orders", 0, 0, 700, 650) })
	w.noLoss()
	if p := w.page("orders"); p.Lag.Seconds == nil || *p.Lag.Seconds > 30 {
		t.Errorf("the first life's offsets are not this one's: %+v", p.Lag)
	}
}

// Scenario 16 with nothing but offsets: they expired, and the group began anew at the end.
func TestExpiredOffsets(t *testing.T) {
	w := newWorld(t)
	w.run(40, func(i int) { w.lane("orders", 0, 0, 600_000+10*float64(i), 599_700+7.5*float64(i)) })
	w.run(20, func(i int) { w.lane("orders", 0, 0, 900_000, -1) })
	w.run(10, func(i int) { w.lane("orders", 0, 0, 900_000, 900_000) })
	p := w.page("orders")
	if p.State != answer.Losing || p.Lost24h < 299_900 || p.Lost24h > 300_100 {
		t.Errorf("%s lost %d: %s", p.State, p.Lost24h, p.Sentence)
	}
	for _, v := range w.e.verdicts {
		if v.State != flow.Skipped {
			t.Errorf("%+v", v)
		}
	}
}

func TestStoppedAndRebalancing(t *testing.T) {
	w := newWorld(t)
	w.run(120, func(i int) {
		w.lane("orders", 0, 0, 1000*float64(i), 1000*float64(min(i, 60)))
		state, members := "Stable", 3.0
		if i > 60 {
			state, members = "Empty", 0
		}
		w.put("group_info", 1, "group", "g", "type", "classic", "state", state)
		w.put("group_members", members, "group", "g")
	})
	p := w.page("orders")
	if p.State != answer.Late || p.Cause == nil || p.Cause.Class != "stopped" || !strings.Contains(p.Sentence, "No consumer runs: the broker calls its group Empty. It began at 04:01:0") {
		t.Errorf("%s %q %+v", p.State, p.Sentence, p.Cause)
	}
	if g := w.group(); g.GroupState != "Empty" || *g.Members != 0 || g.State != answer.Late {
		t.Errorf("%+v", g)
	}
	w = newWorld(t)
	w.run(200, func(i int) {
		w.lane("orders", 0, 0, 1000*float64(i), 1000*float64(min(i, 60)))
		w.put("group_info", 1, "group", "g", "type", "classic", "state", "Stable")
		w.put("group_epoch", 10+float64(max(0, i-60)/20), "group", "g")
	})
	p = w.page("orders")
	if p.Cause == nil || p.Cause.Class != "rebalancing" || !strings.Contains(p.Sentence, "rebalanced 6 times in ten minutes") {
		t.Errorf("%q %+v", p.Sentence, p.Cause)
	}
	st, err := w.s.Stage(context.Background(), store.DefaultTenant, "orders", "g")
	if err != nil || len(st.Inputs) != 1 || st.Inputs[0].Rebalances == nil || *st.Inputs[0].Rebalances != 6 || st.Cause == nil || len(st.Partitions) != 1 {
		t.Errorf("%+v %v", st.Inputs, err)
	}
}

// Scenario 17 without a dead-letter queue: one record is delivered again and again, the commit stays where it is.
func TestPoison(t *testing.T) {
	for name, others := range map[string]bool{"alone": false, "others go on": true} {
		w := newWorld(t)
		w.run(120, func(i int) {
			done := float64(min(i, 60)) * 100
			delivered := done + 1
			if others && i > 60 {
				delivered += float64(i-60) * 50
			}
			at := []string{"destination", "q", "partition", "0", "group", "g"}
			w.lane("q", 0, 0, 100*float64(i)+50, done)
			w.put("delivered_offset", delivered, at...)
			w.put("delivered_total", delivered+float64(max(i-60, 0)/5), at...)
			w.put("redelivered_messages", float64(min(max(i-60, 0)/5, 1)), at...)
		})
		p := w.page("q")
		if p.Cause == nil || p.Cause.Class != "poison" || !strings.Contains(p.Sentence, "The same record was delivered 1") || p.Cause.Since < (demoStart+59)*1000 || p.Cause.Since > (demoStart+65)*1000 {
			t.Errorf("%s: %q %+v", name, p.Sentence, p.Cause)
		}
		w.noLoss()
	}
}

// A group that is deleted at the broker is noted, then forgotten, and makes no loss.
func TestVanishedGroup(t *testing.T) {
	w := newWorld(t)
	w.run(60, func(i int) { w.lane("orders", 0, 0, 100*float64(i), 100*float64(i)) })
	w.run(700, func(i int) {
		w.put("start_offset", 0, "destination", "orders", "partition", "0")
		w.put("end_offset", 6000+100*float64(i), "destination", "orders", "partition", "0")
		if i == 200 {
			found := false
			for _, c := range w.page("orders").Changes {
				found = found || c.Text == "kafka no longer tells of the group g on orders."
			}
			if g := w.group(); !found || g.Note != "the broker no longer tells of it" || g.State != answer.Unknown {
				t.Errorf("%+v %v", g, found)
			}
		}
	})
	g, err := w.s.Groups(context.Background(), store.DefaultTenant, answer.GroupQuery{})
	if err != nil || g.Total != 0 {
		t.Errorf("%+v %v", g, err)
	}
	w.noLoss()
}

// Offsets that cannot be are left out: no panic, no verdict, and the truth again afterwards.
func TestAbsurdOffsets(t *testing.T) {
	bad := map[string]func(w *world, i int){
		"negative end":     func(w *world, i int) { w.lane("q", 0, 0, -5, 100) },
		"leap of the end":  func(w *world, i int) { w.lane("q", 0, 0, 1<<50, 100) },
		"leap of a commit": func(w *world, i int) { w.lane("q", 0, 0, 1000+100*float64(i), 1<<50) },
		"end before start": func(w *world, i int) { w.lane("q", 0, 5000, 100, 100) },
		"infinite": func(w *world, i int) {
			w.lane("q", 0, 0, math.Inf(1), math.Inf(1))
		},
		"huge": func(w *world, i int) { w.lane("q", 0, 1e300, 1e301, 1e300) },
		"future record": func(w *world, i int) {
			w.lane("q", 0, 0, 1000+100*float64(i), 900+100*float64(i))
			w.put("committed_timestamp_seconds", 4e9, "destination", "q", "partition", "0", "group", "g")
		},
		"ancient record": func(w *world, i int) {
			w.lane("q", 0, 0, 1000+100*float64(i), 900+100*float64(i))
			w.put("committed_timestamp_seconds", 1, "destination", "q", "partition", "0", "group", "g")
		},
	}
	for name, f := range bad {
		w := newWorld(t)
		w.run(100, func(i int) {
			if i == 50 || i == 70 {
				f(w, i)
				return
			}
			w.lane("q", 0, 0, 1000+100*float64(i), 900+100*float64(i))
		})
		w.noLoss()
		if p := w.page("q"); p.State != answer.OK || p.Lag.Messages == nil || *p.Lag.Messages != 100 || p.Lag.Seconds == nil || *p.Lag.Seconds > 2.5 {
			t.Errorf("%s: %s %q %+v", name, p.State, p.Sentence, p.Lag)
		}
	}
	// A commit beyond the end for good: nobody knows what waits.
	w := newWorld(t)
	w.run(60, func(i int) { w.lane("q", 0, 0, 1000+100*float64(i), 1<<50) })
	if g := w.group(); g.State != answer.Unknown || g.Note != "committed beyond the end on 1 partitions" || g.Lag.Seconds != nil {
		t.Errorf("%+v", g)
	}
}

// What the broker gives up is lost unless it went to a dead-letter destination; a restart says the same.
func TestDiscards(t *testing.T) {
	w := newWorld(t)
	count := func(i int) {
		w.lane("q", 0, 0, 1000*float64(i), 1000*float64(i))
		w.put("discarded_total", 500+10*float64(i), "destination", "q", "reason", "expired")
		w.put("discarded_total", 7*float64(i), "destination", "q", "reason", "delivery_limit", "dead_lettered", "true")
		w.put("discarded_total", 9*float64(i), "destination", "q", "reason", "trimmed")
	}
	w.run(150, count)
	sum := func() (lost, dead int64) {
		for _, v := range w.e.verdicts {
			lost, dead = lost+v.Lost, dead+v.DLQ
			if v.Lost > 0 && (v.State != flow.Loss || v.Class != "expired" || v.Level != flow.L0 || v.Confidence != 0.95) {
				t.Errorf("%+v", v)
			}
		}
		return lost, dead
	}
	lost, dead := sum()
	if lost < 1470 || lost > 1490 || dead < 7*147 || dead > 7*149 {
		t.Errorf("lost %d, dead letters %d", lost, dead)
	}
	if p := w.page("q"); p.State != answer.Losing || p.Lost24h != lost {
		t.Errorf("%s lost %d", p.State, p.Lost24h)
	}
	w.restart()
	w.run(1, func(int) { count(150) })
	if l, d := sum(); l > lost+30 || d > dead+21 || l < lost {
		t.Errorf("after a restart %d and %d, before %d and %d", l, d, lost, dead)
	}
}

// Two collectors poll the same broker, one some seconds behind the other: their offsets are not mixed.
func TestTwoCollectors(t *testing.T) {
	w := newWorld(t)
	end := func(i int) float64 { return 1000 * float64(i) }
	poll := func(i int) {
		if i < 100 {
			w.node = "n1"
			w.lane("q", 0, 0, end(i), end(i)-500)
		}
		w.node = "n2"
		w.lane("q", 0, 0, end(i-5), end(i-5)-500) // a slow poll: older offsets under the same time
		w.put("up", 1)
		w.node = "n1"
		if i >= 100 {
			w.put("up", 0)
		}
	}
	w.run(100, poll)
	w.noLoss()
	p := w.page("q")
	if p.State != answer.OK || *p.Lag.Messages != 500 || p.Partitions[0].End == nil || *p.Partitions[0].End != end(99) {
		t.Errorf("%s %+v", p.State, p.Partitions[0])
	}
	w.run(60, func(i int) { poll(100 + i) })
	w.noLoss()
	if p := w.page("q"); p.State != answer.OK || *p.Partitions[0].End != end(154) {
		t.Errorf("the other takes over: %s %+v %v", p.State, p.Sentence, *p.Partitions[0].End)
	}
	looked := 0
	for q := range w.s.tenant(store.DefaultTenant).broker.Queues() {
		for _, pos := range q.Positions("g") {
			looked++
			for _, e := range pos.Events() {
				t.Errorf("%v %+v", q.QueueKey, e)
			}
		}
	}
	if looked != 1 {
		t.Errorf("looked at %d positions", looked)
	}
}

// Scenario 20 from the broker's series to the answer: never, skew 2.40, six consumers change nothing.
func TestHotPartitionWhatIf(t *testing.T) {
	w := newWorld(t)
	const n = 300
	w.run(n, func(i int) {
		left := float64(n - 1 - i)
		for p, x := range []struct{ in, lag, out float64 }{{800, 90_000, 500}, {100, 1000, 500}, {100, 1000, 500}} {
			end := 1_000_000 + x.in*float64(i)
			lag := x.lag - (x.in-x.out)*left // so that it is just that much at the end
			w.lane("orders", p, 0, end, end-lag)
		}
		w.put("group_members", 3, "group", "g")
		w.put("group_info", 1, "group", "g", "type", "classic", "state", "Stable")
	})
	p := w.page("orders")
	f := p.Forecasts[0]
	if f.Drain == nil || f.Drain.Value != nil || f.Partition != "0" || f.Skew == nil || math.Abs(*f.Skew-2.40) > 1e-9 || *f.Consumers != 3 || *f.PerConsumer != 500 {
		t.Fatalf("%+v", f)
	}
	if p.Cause == nil || p.Cause.Class != "skew" || !strings.Contains(p.Sentence, "Partition 0 gets 2.40 times the mean inflow") {
		t.Errorf("%q %+v", p.Sentence, p.Cause)
	}
	ask := func(q answer.WhatIfQuery) answer.WhatIf {
		t.Helper()
		a, err := w.s.WhatIf(context.Background(), store.DefaultTenant, "orders", q)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := json.Marshal(a); err != nil || len(b) == 0 {
			t.Fatal(err)
		}
		return a
	}
	same := ask(answer.WhatIfQuery{})
	if same.Changed.Drain == nil || same.Changed.Drain.Value != nil || len(same.Each) != 3 || same.Each[0].Partition != "0" || same.Each[0].Changed != nil || *same.Each[1].Changed != 2.5 || same.Each[0].Lag != 90_000 {
		t.Errorf("%+v %+v", same.Changed, same.Each)
	}
	six := ask(answer.WhatIfQuery{Consumers: 6})
	if six.Changed.Drain == nil || six.Changed.Drain.Value != nil || math.Abs(*six.Changed.Skew-2.40) > 1e-9 ||
		!strings.Contains(six.Sentence, "Nothing changes: the backlog would never be gone. Only 3 of 6 consumers would read") {
		t.Errorf("%+v %q", six.Changed, six.Sentence)
	}
	for _, o := range six.Consumers {
		if o.Drain != nil {
			t.Errorf("%d consumers: %g s", o.Consumers, *o.Drain)
		}
	}
	// Consumers twice as fast: 90,000 / (1,000 − 800) = 450 s. A third of the flow: 90,000 / (500 − 266.7) = 386 s.
	if d := ask(answer.WhatIfQuery{PerConsumer: 2}).Changed.Drain; d == nil || d.Value == nil || math.Abs(*d.Value-450) > 0.5 {
		t.Errorf("%+v", d)
	}
	a := ask(answer.WhatIfQuery{Rate: 1.0 / 3})
	if d := a.Changed.Drain; d == nil || d.Value == nil || math.Abs(*d.Value-385.7) > 0.5 || !strings.Contains(a.Sentence, "gone in 6 m 26 s instead of never") {
		t.Errorf("%+v %q", d, a.Sentence)
	}
	if last := a.Curve[len(a.Curve)-1]; a.Curve[0].Base != 92_000 || last.Changed != 0 || last.Base <= 92_000 {
		t.Errorf("%+v", a.Curve)
	}
	// Twelve partitions: the hot keys stay together.
	a = ask(answer.WhatIfQuery{Partitions: 12})
	if len(a.Each) != 12 || !strings.Contains(a.Sentence, "the excess of the hot ones (700 /s) belongs to keys that stay together") || a.Changed.Drain == nil || a.Changed.Drain.Value != nil {
		t.Errorf("%q %+v", a.Sentence, a.Changed.Drain)
	}
}

// Consumers of a queue share it: with more of them it drains sooner, whatever the number of partitions.
func TestSharedQueueWhatIf(t *testing.T) {
	w := newWorld(t)
	w.system = "nats"
	w.run(300, func(i int) {
		w.lane("q", 0, 0, 1000*float64(i), 900*float64(i))
		w.put("group_members", 3, "group", "g")
	})
	f := w.page("q").Forecasts[0]
	if f.PerConsumer == nil || math.Abs(*f.PerConsumer-300) > 1 || f.Drain.Value != nil {
		t.Errorf("%+v", f)
	}
	a, err := w.s.WhatIf(context.Background(), store.DefaultTenant, "q", answer.WhatIfQuery{Consumers: 6})
	if err != nil || a.Changed.Drain == nil || a.Changed.Drain.Value == nil || math.Abs(*a.Changed.Drain.Value-29_900.0/800) > 1 || a.Sentence != "The backlog would be gone in 37 s instead of never." {
		t.Errorf("%+v %q %v", a.Changed.Drain, a.Sentence, err)
	}
	// Nothing waits: what it takes is taken for the most, and no more comes of it than that.
	w.run(300, func(i int) { w.lane("q", 0, 0, 1000*float64(300+i), 1000*float64(300+i)) })
	a, err = w.s.WhatIf(context.Background(), store.DefaultTenant, "q", answer.WhatIfQuery{Rate: 2})
	if err != nil || a.Changed.Drain == nil || a.Changed.Drain.Value != nil || !strings.Contains(a.Sentence, "What one consumer can take is not known") {
		t.Errorf("%+v %q %v", a.Changed.Drain, a.Sentence, err)
	}
	if a, err = w.s.WhatIf(context.Background(), store.DefaultTenant, "q", answer.WhatIfQuery{}); err != nil || a.Sentence != "Nothing waits, and nothing would." {
		t.Errorf("%q %v", a.Sentence, err)
	}
}

// Scenario 26 from series: the age of what is read and the limit give the time until records are deleted.
func TestLossRace(t *testing.T) {
	w := newWorld(t)
	at := []string{"destination", "logs", "partition", "0"}
	early := func(i int) {
		if p := w.page("logs"); p.LossIn == nil || math.Abs(*p.LossIn-(1000-float64(i-101))) > 3 || !p.Lag.DrainNever {
			t.Errorf("%d s after it stopped: loss in %v, drain %v", i-101, p.LossIn, p.Lag.Drain)
		}
	}
	w.run(400, func(i int) { // 1,000 records a second, the reader stands still from 100 s on; kept 1,000 s
		end := 1000 * float64(i)
		w.lane("logs", 0, 0, end, math.Min(end, 100_000))
		w.put("retention_seconds", 1000, at...)
		if i > 120 && i < 130 {
			early(i)
		}
	})
	p := w.page("logs")
	f := p.Forecasts[0]
	if p.LossIn == nil || math.Abs(*p.LossIn-700) > 3 || f.LossBy != "age" || *f.Retention != 1000 || f.LossIn.Low == nil || *f.LossIn.Low > 700 || f.LossIn.High == nil || *f.LossIn.High < 699 {
		t.Errorf("loss in %v %+v %+v", *p.LossIn, f, f.LossIn)
	}
	if !strings.Contains(p.Sentence, "Retention begins to delete unread records of logs in 11 m ") {
		t.Errorf("%q", p.Sentence)
	}
	a, err := w.s.WhatIf(context.Background(), store.DefaultTenant, "logs", answer.WhatIfQuery{Retention: 2000 * time.Second})
	if err != nil || a.Changed.LossIn == nil || math.Abs(*a.Changed.LossIn.Value-1700) > 3 || *a.Changed.Retention != 2000 {
		t.Errorf("%+v %v", a.Changed.LossIn, err)
	}
	w.run(1, func(int) {
		w.lane("logs", 0, 0, 400_000, 100_000)
		w.put("retention_messages", 310_000, at...)
	})
	w.run(5, func(i int) {
		w.lane("logs", 0, 0, 400_000+1000*float64(i), 100_000)
		w.put("retention_messages", 310_000, at...)
	})
	if f := w.page("logs").Forecasts[0]; f.LossBy != "count" || f.LossIn == nil || *f.LossIn.Value > 8 {
		t.Errorf("%+v %+v", f, f.LossIn)
	}
}

func TestHeat(t *testing.T) {
	w := newWorld(t)
	w.run(120, func(i int) {
		for p := range 3 {
			w.lane("q", p, 0, 100*float64(i), 100*float64(i)*float64(p)/4)
		}
	})
	h, err := w.s.Heat(context.Background(), store.DefaultTenant, "q", "q", "g", time.Unix(demoStart-60, 0), time.Unix(w.now, 0), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	last := len(h.Backlog[0]) - 1
	if fmt.Sprint(h.Partitions) != "[0 1 2]" || h.Backlog[0][0] != -1 || h.Backlog[0][last] != 11_900 || h.Backlog[2][last] != 5950 || h.Max != 11_900 || h.Left != 0 {
		t.Errorf("%+v", h)
	}
}
