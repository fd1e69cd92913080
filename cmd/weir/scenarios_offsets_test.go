package main

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirhq/weir/collector/client"
	"github.com/weirhq/weir/query/answer"
)

// Scenario 19: a group that has read all of its transactions is behind by nothing, although a marker follows; what an open
// transaction holds back is nobody's lag.
func (a *apps) transactions() {
	t := a.t
	a.begin("s19", "s19")
	cl := a.client(kgo.TransactionalID("s19"))
	write := func(n int) {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for range n {
			if err := cl.ProduceSync(a.ctx, &kgo.Record{Topic: "s19", Value: []byte("r")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	commit := func() {
		if err := cl.EndTransaction(a.ctx, kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		write(10)
		commit()
	}
	a.reads("s19", readers("s19"), func(*kgo.Record) error { return nil }, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	nothing := func(note string) func() (string, bool) {
		return func() (string, bool) {
			g, _ := a.group("s19", readers("s19"))
			said := fmt.Sprintf("%s %q, lag %s records, %s s", g.State, g.Note, orNothing(g.Lag.Messages), orNothing(g.Lag.Seconds))
			return said, g.Lag.Messages != nil && *g.Lag.Messages == 0 && g.Lag.Seconds != nil && *g.Lag.Seconds == 0 && g.State != answer.Late && strings.HasPrefix(g.Note, note)
		}
	}
	a.within(20*time.Second, "all is read", nothing(""))
	write(7)
	a.within(20*time.Second, "an open transaction", nothing("an open transaction holds back 7 records"))
	for range 5 { // it stays so
		<-time.After(time.Second)
		if said, ok := nothing("")(); !ok {
			t.Error(said)
		}
	}
	commit()
	a.within(20*time.Second, "it is read as well", func() (string, bool) {
		said, ok := nothing("")()
		g, _ := a.group("s19", readers("s19"))
		return said, ok && g.Note == ""
	})
}

// Scenario 21: a source that has nothing to send makes nobody late.
func (a *apps) sourceSilent() {
	t := a.t
	a.begin("s21", "s21")
	c, cl := a.auditor("source"), a.client()
	var last time.Time
	for i := range 80 {
		r := client.Record{ID: fmt.Sprintf("s21-%d", i), Time: time.UnixMilli(time.Now().UnixMilli())}
		if err := cl.ProduceSync(a.ctx, &kgo.Record{Topic: "s21", Key: []byte(r.ID), Timestamp: r.Time}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		c.Out("s21", r)
		if last = r.Time; i == 0 {
			a.sink("s21", nil)
		}
		<-time.After(100 * time.Millisecond)
	}
	idle := func() (string, bool) {
		p := a.page("s21")
		said := fmt.Sprintf("%s, freshness %s, lag %s: %s", p.State, orNothing(p.Freshness), orNothing(p.Lag.Seconds), p.Sentence)
		age := time.Since(last).Seconds()
		return said, p.State == answer.Idle && p.Freshness != nil && math.Abs(*p.Freshness-age) < 2.5 && p.Lag.Seconds != nil && *p.Lag.Seconds == 0
	}
	a.within(60*time.Second, "it is idle, its data old and its lag nothing", idle)
	for range 20 {
		<-time.After(time.Second)
		if said, ok := idle(); !ok {
			t.Error(said)
		}
	}
	a.calm()
}

// Scenario 22: the broker comes back from an older copy of its data, 600 records shorter; nobody had read those.
func (a *apps) truncation() {
	t := a.t
	a.begin("s22")
	nc, err := nats.Connect(a.nats.url(), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(a.ctx, jetstream.StreamConfig{Name: "s22", Subjects: []string{"s22"}}); err != nil {
		t.Fatal(err)
	}
	group, err := js.CreateConsumer(a.ctx, "s22", jetstream.ConsumerConfig{Durable: "sink", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	source, sink := a.auditor("source"), a.auditor("sink")
	made := 0
	write := func(n int) {
		for range n {
			made++
			r := client.Record{ID: fmt.Sprintf("s22-%d", made), Time: time.UnixMilli(time.Now().UnixMilli())}
			m := nats.NewMsg("s22")
			for name, v := range r.Headers() {
				m.Header.Set(name, v)
			}
			if _, err := js.PublishMsg(a.ctx, m); err != nil {
				t.Fatal(err)
			}
			source.Out("s22", r)
			<-time.After(3 * time.Millisecond)
		}
	}
	read := func(n int) {
		for n > 0 {
			batch, err := group.Fetch(min(n, 100), jetstream.FetchMaxWait(time.Second))
			if err != nil {
				t.Fatal(err)
			}
			for m := range batch.Messages() {
				sink.In("s22", "sink", client.FromHeaders(m.Headers().Get))
				if err := m.DoubleAck(a.ctx); err != nil {
					t.Fatal(err)
				}
				n--
			}
		}
	}
	restart := func(between func()) {
		a.nats.stop()
		between()
		a.nats.start()
		a.within(10*time.Second, "connected again", func() (string, bool) {
			_, err := js.Stream(a.ctx, "s22")
			return fmt.Sprint(nc.Status(), err), nc.Status() == nats.CONNECTED && err == nil
		})
	}
	polled := func() { // the broker was looked at twice since
		<-time.After(2500 * time.Millisecond)
	}
	write(900)
	read(900)
	polled()
	restart(a.nats.keep)
	from := time.Now().Unix() / a.width * a.width
	write(600)
	polled()
	restart(a.nats.restore)
	polled()
	write(900)
	read(900)
	windows := int(time.Now().Unix()/a.width - from/a.width)
	var lost, surplus int64
	truncated := 0
	told := map[string]int{}
	a.within(60*time.Second, "600 lost", func() (string, bool) {
		lost, surplus, truncated, told = 0, 0, 0, map[string]int{}
		for _, g := range a.windows(from, windows) {
			lost, surplus = lost+g.w.Lost, surplus+g.w.Surplus
			told[g.w.Verdict]++
			if g.w.Why != nil && g.w.Why.Class == "truncation" {
				truncated++
			}
		}
		return fmt.Sprintf("%v, lost %d, surplus %d, %d called truncated", told, lost, surplus, truncated), lost == 600
	})
	if surplus != 0 || truncated == 0 {
		t.Errorf("%v, lost %d, surplus %d, %d called truncated", told, lost, surplus, truncated)
	}
}

// Scenario 23: a group that reads and never commits.
func (a *apps) neverCommitted() {
	t := a.t
	a.begin("s23", "s23")
	cl := a.client()
	for range 500 {
		if err := cl.ProduceSync(a.ctx, &kgo.Record{Topic: "s23", Value: []byte("r")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	reader := a.client(kgo.ConsumerGroup(readers("s23")), kgo.ConsumeTopics("s23"), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	a.goes("reader", func(ctx context.Context) error {
		for ctx.Err() == nil {
			reader.PollFetches(ctx)
		}
		return nil
	})
	a.within(30*time.Second, "it is said", func() (string, bool) {
		p := a.page("s23")
		g, _ := a.group("s23", readers("s23"))
		said := fmt.Sprintf("%s: %q, lag %s; group %s %q", p.State, p.Sentence, orNothing(p.Lag.Messages), g.State, g.Note)
		return said, p.State == answer.Unknown && p.Sentence == "s23-readers never committed on s23: up to 500 records may wait, how many is not known." &&
			p.Lag.Seconds == nil && g.Note == "never committed; up to 500 records may wait"
	})
}

// Scenario 26: a reader stands still, and records are kept for ten minutes: it is told when the first unread one will be deleted.
func (a *apps) retentionRace() {
	t := a.t
	a.begin("s26")
	kept := "600000"
	cl := a.client()
	if _, err := kadm.NewClient(cl).CreateTopic(a.ctx, 1, 1, map[string]*string{"retention.ms": &kept}, "s26"); err != nil {
		t.Fatal(err)
	}
	a.at("source", 100, func(ctx context.Context, _ int) error {
		return cl.ProduceSync(ctx, &kgo.Record{Topic: "s26", Value: []byte("r")}).FirstErr()
	})
	reader := a.client(kgo.ConsumerGroup(readers("s26")), kgo.ConsumeTopics("s26"), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var oldest time.Time // the newest record that was read: the next one is a hundredth of a second younger
	for end := time.Now().Add(6 * time.Second); time.Now().Before(end); {
		for _, k := range reader.PollFetches(a.ctx).Records() {
			oldest = k.Timestamp
		}
		if err := reader.CommitUncommittedOffsets(a.ctx); err != nil {
			t.Fatal(err)
		}
	}
	race := func() (string, bool) {
		p := a.page("s26")
		left := 600 - time.Since(oldest).Seconds()
		said := fmt.Sprintf("%s, loss in %s, want %.1f, drained never: %v", p.State, orNothing(p.LossIn), left, p.Lag.DrainNever)
		return said, p.LossIn != nil && math.Abs(*p.LossIn-left) < 3 && p.Lag.DrainNever
	}
	a.within(40*time.Second, "the time to the loss is told", race)
	for range 10 {
		<-time.After(time.Second)
		if said, ok := race(); !ok {
			t.Error(said)
		}
	}
	var w answer.WhatIf
	a.asks("/api/v1/pipelines/s26/whatif?retention=1200", &w)
	if c := w.Changed.LossIn; c == nil || c.Value == nil || math.Abs(*c.Value-(1200-time.Since(oldest).Seconds())) > 3 {
		t.Errorf("kept for twenty minutes: %+v", w.Changed)
	}
}

// Scenario 27: records come in bursts, ten seconds apart, and are read evenly. The lag that is told is never further off than its bound.
func (a *apps) bursts() {
	t := a.t
	const burst, every = 400, 10 * time.Second
	a.begin("s27", "s27")
	var mu sync.Mutex
	var stamps []time.Time // of records, by offset
	type position struct {
		at   time.Time
		next int64
	}
	var read []position
	cl := a.client()
	a.goes("source", func(ctx context.Context) error {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			for range burst / 50 {
				var rs []*kgo.Record
				for range 50 {
					rs = append(rs, &kgo.Record{Topic: "s27", Value: []byte("r"), Timestamp: time.UnixMilli(time.Now().UnixMilli())})
				}
				mu.Lock()
				for _, r := range rs {
					stamps = append(stamps, r.Timestamp)
				}
				mu.Unlock()
				if err := cl.ProduceSync(ctx, rs...).FirstErr(); err != nil {
					return err
				}
			}
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
	})
	reader := a.client(kgo.ConsumerGroup(readers("s27")), kgo.ConsumeTopics("s27"), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	a.goes("reader", func(ctx context.Context) error {
		for next := int64(0); ctx.Err() == nil; <-time.After(200 * time.Millisecond) {
			rs := reader.PollRecords(ctx, 9).Records() // 45 a second: it has a rest before the next burst
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := reader.CommitUncommittedOffsets(ctx); err != nil {
				return err
			}
			if next += int64(len(rs)); len(rs) > 0 {
				mu.Lock()
				read = append(read, position{time.Now(), next})
				mu.Unlock()
			}
		}
		return nil
	})
	// lag is the age of the oldest unread record at a time; nothing is unread before the first burst.
	lag := func(at time.Time) float64 {
		mu.Lock()
		defer mu.Unlock()
		next := int64(0)
		for _, p := range read {
			if !p.at.After(at) {
				next = p.next
			}
		}
		if next >= int64(len(stamps)) || stamps[next].After(at) {
			return 0
		}
		return at.Sub(stamps[next]).Seconds()
	}
	a.within(30*time.Second, "a lag is told", func() (string, bool) {
		g, _ := a.group("s27", readers("s27"))
		return fmt.Sprintf("%+v", g.Lag), g.Lag.Seconds != nil && *g.Lag.Seconds > 2
	})
	asked, worst := 0, 0.0
	for end := time.Now().Add(4 * every); time.Now().Before(end); <-time.After(330 * time.Millisecond) {
		g, at := a.group("s27", readers("s27"))
		if g.Lag.Seconds == nil || g.Lag.Bound == nil {
			t.Errorf("%+v", g.Lag)
			continue
		}
		// What is told is of the last poll, at most two seconds ago.
		off := math.Inf(1)
		for back := time.Duration(0); back <= 2500*time.Millisecond; back += 50 * time.Millisecond {
			off = min(off, math.Abs(lag(time.UnixMilli(at).Add(-back))-*g.Lag.Seconds))
		}
		if off > *g.Lag.Bound+0.06 { // the truth is looked at every 50 ms
			t.Errorf("lag %g ± %g, and it was %g", *g.Lag.Seconds, *g.Lag.Bound, lag(time.UnixMilli(at)))
		}
		asked, worst = asked+1, max(worst, off)
	}
	if worst > 10 || asked < 80 {
		t.Errorf("largest error %g s of %d", worst, asked)
	}
	t.Logf("%d lags asked, the largest error %.2f s", asked, worst)
}
