package pipeline

import (
	"testing"

	"github.com/weirhq/weir/query/answer"
)

// A queue that does not count what comes in shows what waits, on both pages, and no age: neither after a busy day nor while it is
// empty at every other poll.
func TestUncountedQueue(t *testing.T) {
	w := newWorld(t)
	w.system = "rabbitmq"
	queue := func(ready, unacked float64, more ...func(at []string)) {
		part := []string{"destination", "jobs", "partition", "0"}
		group := append([]string{"group", "jobs"}, part...)
		w.put("messages", ready+unacked, part...)
		w.put("pending_messages", ready, group...)
		w.put("unacked_messages", unacked, group...)
		w.put("group_members", 2, "group", "jobs")
		for _, f := range more {
			f(group)
		}
	}
	w.run(10, func(int) { queue(0, 0) })
	if p, g := w.page("jobs"), w.group(); p.State != answer.OK || *p.Lag.Messages != 0 || g.State != answer.Idle || g.Note != "" {
		t.Errorf("empty: %s %q %+v", p.State, p.Sentence, g)
	}
	w.run(60, func(int) { queue(1000, 0) })
	w.run(3600, func(i int) {
		if i%10 == 0 {
			queue(0, 0)
		}
	})
	if p, g := w.page("jobs"), w.group(); p.State != answer.OK || g.State != answer.Idle {
		t.Errorf("long empty: %s %q %+v", p.State, p.Sentence, g)
	}
	w.run(60, func(int) { queue(490, 10) })
	p, g := w.page("jobs"), w.group()
	if p.State != answer.Unknown || p.Lag.Messages == nil || *p.Lag.Messages != 500 || p.Lag.Seconds != nil ||
		p.Sentence != "How long records wait in jobs is not known: the broker tells how many wait there, and not how many come in." {
		t.Errorf("%s %q %+v", p.State, p.Sentence, p.Lag)
	}
	if g.State != answer.Unknown || g.Lag.Messages == nil || *g.Lag.Messages != 500 || g.Lag.Seconds != nil || g.Lag.Drain != nil || g.Lag.DrainNever || *g.Members != 2 ||
		g.Note != "the broker does not count what comes in: neither ages nor rates are known" {
		t.Errorf("%+v", g)
	}
	if r := p.Partitions; len(r) != 1 || r[0].End != nil || r[0].Committed != nil || *r[0].Lag.Messages != 500 || *r[0].Pending != 10 {
		t.Errorf("%+v", r)
	}
	// Empty at every other poll: one state.
	before := len(p.Changes)
	w.run(120, func(i int) { queue(float64(i%2), 0) })
	if p := w.page("jobs"); p.State != answer.Unknown || len(p.Changes) != before {
		t.Errorf("%s, %d changes: %+v", p.State, len(p.Changes)-before, p.Changes)
	}
	// The time of the oldest message is its age.
	w.run(60, func(int) {
		queue(500, 0, func(at []string) { w.put("committed_timestamp_seconds", float64(w.now)-300, at...) })
	})
	if p, g := w.page("jobs"), w.group(); p.State != answer.Late || p.Lag.Seconds == nil || *p.Lag.Seconds != 300 || *p.Lag.Messages != 500 || g.State != answer.Late || g.Note != "" {
		t.Errorf("%s %q %+v, %+v", p.State, p.Sentence, p.Lag, g)
	}
	w.noLoss()
}

// A broker that begins to count, and one that stops: positions while it counts, what waits while it does not.
func TestQueueBeginsToCount(t *testing.T) {
	w := newWorld(t)
	w.system = "rabbitmq"
	queue := func(end, waits float64) {
		part := []string{"destination", "jobs", "partition", "0"}
		group := append([]string{"group", "jobs"}, part...)
		w.put("messages", waits, part...)
		w.put("pending_messages", waits, group...)
		if end >= 0 {
			w.put("start_offset", end-waits, part...)
			w.put("end_offset", end, part...)
			w.put("synthetic", 1, part...)
			w.put("committed_offset", end-waits, group...)
		}
	}
	w.run(60, func(i int) { queue(10*float64(i), 20) })
	if p := w.page("jobs"); p.State != answer.OK || *p.Lag.Messages != 20 || p.Lag.Seconds == nil || *p.Lag.Seconds > 4 || p.In == nil || *p.In != 10 {
		t.Errorf("%s %q %+v", p.State, p.Sentence, p.Lag)
	}
	w.run(120, func(int) { queue(-1, 30) })
	if p, g := w.page("jobs"), w.group(); p.State != answer.Unknown || *p.Lag.Messages != 30 || p.Lag.Seconds != nil || p.In != nil || g.Lag.Messages == nil || g.Lag.Seconds != nil {
		t.Errorf("%s %q %+v in %v %+v", p.State, p.Sentence, p.Lag, p.In, g)
	}
	w.run(60, func(i int) { queue(600+10*float64(i), 20) })
	if p, g := w.page("jobs"), w.group(); p.State != answer.OK || *p.Lag.Messages != 20 || p.Lag.Seconds == nil || *p.Lag.Seconds > 4 || *p.In != 10 || g.Note != "" {
		t.Errorf("%s %q %+v %+v", p.State, p.Sentence, p.Lag, g)
	}
	w.noLoss()
}
