package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirhq/weir/collector/client"
	"github.com/weirhq/weir/query/answer"
)

// Scenarios of docs/pipeline-model.md that the demo does not play, with a weir process, real brokers in memory and real senders.
// Each is a pipeline of its own; all run side by side in the same weir.
func TestScenariosWithProcesses(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	var all sync.WaitGroup
	for name, play := range map[string]func(*apps){
		"4 as many lost as doubled":     (*apps).equalNumbers,
		"10 clock behind":               (*apps).clockBehind,
		"14 batches":                    (*apps).batches,
		"15 uninstrumented producer":    (*apps).stranger,
		"18 span exporters lose":        (*apps).spansLost,
		"19 transactions":               (*apps).transactions,
		"21 source silent":              (*apps).sourceSilent,
		"22 truncation":                 (*apps).truncation,
		"23 never committed":            (*apps).neverCommitted,
		"24 counters":                   (*apps).fluentBit,
		"25 audit datagrams dropped":    (*apps).datagramsDropped,
		"26 retention race":             (*apps).retentionRace,
		"27 bursts between two polls":   (*apps).bursts,
		"1 nothing, beside all of them": (*apps).healthy,
		"instrumented one by one":       (*apps).oneByOne,
	} {
		all.Go(func() { t.Run(name, func(t *testing.T) { play(s.apps(t)) }) }) // all at once, however few processors there are: they wait most of the time
	}
	all.Wait()
}

const scenarioWidth = 5 // seconds of an event window

// stand is what all scenarios share.
type stand struct {
	url, statsd, otlp string // doors of weir
	kafka             string // host:port
	fluent            *fluentBit
	nats              *restartable
	began             time.Time
}

func newStand(t *testing.T) *stand {
	t.Helper()
	kafka, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	s := &stand{kafka: kafka.ListenAddrs()[0], statsd: freePort(t), otlp: freePort(t), fluent: newFluentBit(t), nats: newRestartable(t)}
	dir := t.TempDir()
	more := fmt.Sprintf(`  host: {node: false, containers: false}
  audit: {width: %[1]ds, flush: 1s}
  self_interval: 1s
  broker:
    kafka:
    - {brokers: [%[2]q], cluster: c1, interval: 1s}
    nats:
    - {url: %[3]q, cluster: c2, interval: 1s}
  scrape:
    targets:
    - {job: fluent-bit, addresses: [%[4]q], interval: 1s}
ingest: {pairs: {window: %[1]ds, max_pending: 300000}}
pipelines: {grace: 5s, interval: 1s, settle: 1s, idle_after: 15s, max_latency: 10s}
`, scenarioWidth, s.kafka, s.nats.url(), s.fluent.addr)
	s.url = starts(t, dir, "-c", writeConfig(t, dir, "127.0.0.1:0", s.statsd, "", s.otlp, more)).url
	s.began = time.Now()
	return s
}

// tally is what really happened in each event window.
type tally struct {
	mu sync.Mutex
	by map[int64]*truth
}

type truth struct {
	made, lost, doubled, foreign int
	batches, seq                 int // of a window so far, for those that choose by it
}

func (l *tally) in(at time.Time, f func(*truth)) {
	w := at.Unix() / scenarioWidth * scenarioWidth
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil {
		l.by = map[int64]*truth{}
	}
	if l.by[w] == nil {
		l.by[w] = &truth{}
	}
	f(l.by[w])
}

func (l *tally) of(w int64) truth {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.by[w]; t != nil {
		return *t
	}
	return truth{}
}

// apps are the applications of one scenario; they end with its test.
type apps struct {
	*stand
	t     *testing.T
	ctx   context.Context
	name  string // of pipeline and first topic
	width int64
	tally tally
}

// apps are those of a new scenario.
func (s *stand) apps(t *testing.T) *apps {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel) // after applications were waited for
	return &apps{stand: s, t: t, ctx: ctx, width: scenarioWidth}
}

// begin names the scenario and makes its topics, of one partition each.
func (a *apps) begin(name string, topics ...string) {
	a.t.Helper()
	a.name = name
	for _, topic := range topics {
		if _, err := kadm.NewClient(a.client()).CreateTopic(a.ctx, 1, 1, nil, topic); err != nil {
			a.t.Fatal(err)
		}
	}
}

func (a *apps) client(opts ...kgo.Opt) *kgo.Client {
	a.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(a.kafka)}, opts...)...)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(cl.Close)
	return cl
}

// auditor counts for a stage; it tells its last counts when the test ends.
func (a *apps) auditor(stage string) *client.Client {
	a.t.Helper()
	c, err := client.New(client.Config{Addr: "udp://" + a.statsd, Pipeline: a.name, Stage: stage, Window: scenarioWidth * time.Second, Flush: 200 * time.Millisecond})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(c.Start(a.ctx))
	return c
}

// goes runs an application until the test ends or stop is called; what it returns before that fails the test.
func (a *apps) goes(what string, f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(a.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f(ctx); err != nil && ctx.Err() == nil {
			a.t.Errorf("%s: %v", what, err)
		}
	}()
	stop = func() { cancel(); <-done }
	a.t.Cleanup(stop)
	return stop
}

// at calls f rate times a second, evenly, with the number of the call.
func (a *apps) at(what string, rate float64, f func(ctx context.Context, i int) error) {
	a.goes(what, func(ctx context.Context) error {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		began, i := time.Now(), 0
		for {
			select {
			case <-ctx.Done():
				return nil
			case now := <-tick.C:
				for due := int(rate * now.Sub(began).Seconds()); i < due; i++ {
					if err := f(ctx, i); err != nil {
						return err
					}
				}
			}
		}
	})
}

// source writes rate records a second into a topic and counts those that the broker acknowledged. ahead is how far its clock is.
func (a *apps) source(topic string, rate float64, ahead time.Duration) {
	c := a.auditor("source")
	cl := a.client(kgo.ProducerLinger(10 * time.Millisecond))
	a.at("source", rate, func(ctx context.Context, i int) error {
		r := client.Record{ID: fmt.Sprintf("%s-%d", topic, i), Time: time.UnixMilli(time.Now().Add(ahead).UnixMilli())}
		cl.Produce(ctx, &kgo.Record{Topic: topic, Key: []byte(r.ID), Timestamp: r.Time}, func(_ *kgo.Record, err error) {
			if err == nil {
				a.tally.in(r.Time, func(w *truth) { w.made++ })
				c.Out(topic, r)
			}
		})
		return nil
	})
}

// readers is the group that reads a topic.
func readers(topic string) string { return topic + "-readers" }

// sink reads a topic as a group of its own and counts each record as often as times says.
func (a *apps) sink(topic string, times func(r client.Record, w *truth) int) (stop func()) {
	c := a.auditor("sink")
	return a.reads(topic, readers(topic), func(k *kgo.Record) error {
		r := client.Record{ID: string(k.Key), Time: k.Timestamp}
		n := 1
		if times != nil {
			a.tally.in(r.Time, func(w *truth) { n = times(r, w) })
		}
		for range n {
			c.In(topic, readers(topic), r)
		}
		return nil
	})
}

// reads hands every record of a topic to f and commits after it.
func (a *apps) reads(topic, group string, f func(*kgo.Record) error, opts ...kgo.Opt) (stop func()) {
	cl := a.client(append(opts, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.HeartbeatInterval(300*time.Millisecond), kgo.RebalanceTimeout(5*time.Second), kgo.Balancers(kgo.RangeBalancer()))...)
	ends := a.goes(group+" of "+topic, func(ctx context.Context) error {
		for {
			fetched := cl.PollFetches(ctx)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			for _, k := range fetched.Records() {
				if err := f(k); err != nil {
					return err
				}
			}
			if err := cl.CommitUncommittedOffsets(ctx); err != nil {
				return err
			}
		}
	})
	return func() { ends(); cl.Close() }
}

// later is the begin of the event window that begins after so many more have ended.
func (a *apps) later(windows int64) int64 { return (time.Now().Unix()/a.width + 1 + windows) * a.width }

// settles waits until all n windows from a time on are settled in every one of rows balances, and gives them to f.
func (a *apps) settles(from int64, n, rows int, patience time.Duration, f func(row *answer.LossRow, w answer.LossWindow)) {
	a.t.Helper()
	a.within(time.Until(time.Unix(from+int64(n)*a.width, 0))+patience, fmt.Sprintf("%d windows in each of %d balances are settled", n, rows), func() (string, bool) {
		got := a.windows(from, n)
		open := 0
		for _, g := range got {
			if !g.w.Settled {
				open++
			}
		}
		return fmt.Sprintf("%d windows, %d open", len(got), open), len(got) == rows*n && open == 0
	})
	for _, g := range a.windows(from, n) {
		f(&g.row, g.w)
	}
}

type window struct {
	row answer.LossRow
	w   answer.LossWindow
}

// windows are n of each balance of the pipeline, from a time on.
func (a *apps) windows(from int64, n int) []window {
	a.t.Helper()
	to := from + int64(n)*a.width
	span := fmt.Sprintf("from=%d&to=%d", from*1000, to*1000)
	var l answer.Loss
	a.asks("/api/v1/loss?pipeline="+a.name+"&"+span, &l)
	var out []window
	for _, row := range l.Rows {
		var d answer.LossDetail
		a.asks("/api/v1/loss/"+url.PathEscape(row.ID)+"?"+span, &d)
		for _, w := range d.Windows {
			if w.Window >= from && w.Window < to {
				out = append(out, window{row, w})
			}
		}
	}
	return out
}

func (a *apps) asks(path string, into any) {
	a.t.Helper()
	code, text := asks(a.t, http.MethodGet, a.url+path, "")
	if code != http.StatusOK {
		a.t.Fatalf("%s: %d %s", path, code, text)
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		a.t.Fatal(err)
	}
}

// page is the pipeline, or one without a name when weir does not know it yet.
func (a *apps) page(id string) (p answer.Pipeline) {
	a.t.Helper()
	if code, text := asks(a.t, http.MethodGet, a.url+"/api/v1/pipelines/"+id, ""); code == http.StatusOK {
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			a.t.Fatal(err)
		}
	}
	return p
}

// group is a row of the list of groups, or an empty one.
func (a *apps) group(destination, name string) (g answer.GroupRow, at int64) {
	a.t.Helper()
	var l answer.Groups
	a.asks("/api/v1/groups?q="+destination, &l)
	for _, g := range l.Groups {
		if g.Destination == destination && g.Group == name {
			return g, l.At
		}
	}
	return answer.GroupRow{}, l.At
}

// within asks until f is content; the test ends with its last word when it is not in time.
func (a *apps) within(d time.Duration, what string, f func() (string, bool)) {
	a.t.Helper()
	last := ""
	for end := time.Now().Add(d); time.Now().Before(end); <-time.After(300 * time.Millisecond) {
		said, ok := f()
		if ok {
			return
		}
		last = said
	}
	a.t.Fatalf("not within %s: %s; the last answer: %s", d.Round(time.Second), what, last)
}

// calm wants of a pipeline that it never paged anybody: nothing is called lost or doubled in any window so far.
func (a *apps) calm() {
	a.t.Helper()
	for _, state := range []string{"LOSS", "MIXED", "DUPLICATES", "SKIPPED", "RETENTION_LOSS", "PROBABLE_LOSS"} {
		if n := value(a.t, a.url, fmt.Sprintf("sum(weir_pipeline_verdicts_total{pipeline=%q,state=%q})", a.name, state)); n > 0 {
			a.t.Errorf("%g windows are %s: %s", n, state, a.page(a.name).Sentence)
		}
	}
}

func (a *apps) healthy() {
	t := a.t
	a.begin("s01", "s01")
	a.source("s01", 120, 0)
	a.sink("s01", nil)
	from := a.later(1)
	a.settles(from, 12, 1, 30*time.Second, func(_ *answer.LossRow, w answer.LossWindow) {
		if made := int64(a.tally.of(w.Window).made); w.Verdict != "OK" || w.Up != made || w.Down != made || w.Confidence < 0.99 {
			t.Errorf("window %d of %d records: %+v", w.Window, made, w)
		}
	})
	if p := a.page("s01"); p.State != answer.OK || p.Lost24h != 0 {
		t.Errorf("%s, lost %d: %s", p.State, p.Lost24h, p.Sentence)
	}
	a.calm()
}

func orNothing(v *float64) string {
	if v == nil {
		return "nothing"
	}
	return strconv.FormatFloat(*v, 'g', 6, 64)
}
