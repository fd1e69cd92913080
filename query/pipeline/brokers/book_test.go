package brokers

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/weirhq/weir/query/flow"
)

const began = 1_732_334_400_000

// polls are the series that pollers wrote, by labels.
type polls struct {
	t      *testing.T
	b      *Book
	series map[string]*figure
	err    error
	absurd tally
	// cluster that put tells of.
	cluster string
}

type figure struct {
	labels []string
	at     []int64
	v      []float64
}

type tally int

func (c *tally) Inc() { *c++ }

func newPolls(t *testing.T) *polls {
	t.Helper()
	p := &polls{t: t, series: map[string]*figure{}, cluster: "c"}
	p.b = New(Options{
		Forget: time.Hour, Absurd: &p.absurd, Overflow: new(tally),
		Silenced: func(ls labels.Labels) bool { return ls.Get("node") == "silenced" },
	})
	return p
}

func (p *polls) put(at int64, name string, v float64, more ...string) {
	all := append([]string{model.MetricNameLabel, "weir_broker_" + name, "system", "kafka", "cluster", p.cluster}, more...)
	ls := labels.FromStrings(all...)
	f := p.series[ls.String()]
	if f == nil {
		f = &figure{labels: all}
		p.series[ls.String()] = f
	}
	f.at, f.v = append(f.at, at), append(f.v, v)
}

// lane puts one partition of orders as billing reads it, polled by n1.
func (p *polls) lane(at int64, start, end, committed float64) {
	lane := []string{"node", "n1", "destination", "orders", "partition", "0"}
	p.put(at, "start_offset", start, lane...)
	p.put(at, "end_offset", end, lane...)
	p.put(at, "committed_offset", committed, append(lane, "group", "billing")...)
}

// run makes n polls a second apart, each followed by a Read.
func (p *polls) run(from int64, n int, f func(i int, at int64)) (changes []string) {
	p.t.Helper()
	for i := range n {
		at := from + int64(i)*1000
		f(i, at)
		c, err := p.b.Read(context.Background(), p.open, at, 0)
		if err != nil {
			p.t.Fatal(err)
		}
		changes = append(changes, c...)
	}
	return changes
}

func (p *polls) open(from, to int64) (storage.Querier, error) {
	return &storage.MockQuerier{SelectMockFunction: func(_ bool, _ *storage.SelectHints, ms ...*labels.Matcher) storage.SeriesSet {
		set := &found{}
		for _, f := range p.series {
			i, _ := slices.BinarySearch(f.at, from)
			j, _ := slices.BinarySearch(f.at, to+1)
			if i < j && ms[0].Matches(f.labels[1]) {
				set.series = append(set.series, storage.MockSeries(nil, f.at[i:j], f.v[i:j], f.labels))
			}
		}
		return set
	}}, p.err
}

// found is a set of series.
type found struct {
	series []storage.Series
	next   int
}

func (f *found) Next() bool                        { f.next++; return f.next <= len(f.series) }
func (f *found) At() storage.Series                { return f.series[f.next-1] }
func (f *found) Err() error                        { return nil }
func (f *found) Warnings() annotations.Annotations { return nil }

// A poll becomes lag, rates and a row; what cannot be, and what is silenced, does not.
func TestReadMakesLag(t *testing.T) {
	p := newPolls(t)
	p.run(began, 60, func(i int, at int64) {
		p.lane(at, 0, 1000+100*float64(i), 900+100*float64(i))
		p.put(at, "group_members", 3, "group", "billing", "node", "n1")
		p.put(at, "up", 1, "node", "n1")
	})
	p.run(began+60_000, 1, func(i int, at int64) {
		p.lane(at, 0, 7000, 6900)
		p.put(at, "committed_offset", -1, "destination", "orders", "partition", "0", "group", "odd", "node", "n1")
		p.put(at, "end_offset", 1, "destination", "hidden", "partition", "0", "node", "silenced")
	})
	r := p.b.ReadingOf("orders", "billing")
	if r == nil || !r.Lag.Known || r.Lag.Records != 100 || r.Lag.Time.Seconds < 0.5 || r.Lag.Time.Seconds > 2 || r.Lag.In != 100 || r.Lag.Out != 100 || r.Partitions() != 1 {
		t.Fatalf("%+v", r)
	}
	if row := r.Rows[0]; row.System != "kafka" || *row.End != 7000 || *row.Committed != 6900 || *row.Lag.Messages != 100 {
		t.Errorf("%+v", row)
	}
	if n := r.Info.Members(began + 60_000); n == nil || *n != 3 || r.Info.Stopped(began+60_000) {
		t.Errorf("members %v", n)
	}
	if p.absurd != 1 || p.b.QueueFor("hidden", "") != nil || p.b.SystemOf("orders") != "kafka" || !p.b.Tells("kafka", "orders", began) || p.b.Tells("kafka", "orders", began+90_000) {
		t.Errorf("absurd %d", p.absurd)
	}
	if c, at := r.Queue.Partition("0").groups["billing"].Committed(); c != 6900 || at != began+60_000 {
		t.Errorf("committed %g at %d", c, at)
	}
}

// A leap of a commit over unread records is found once, and in the window in which they came.
func TestFindingsOfASkip(t *testing.T) {
	p := newPolls(t)
	p.run(began, 120, func(i int, at int64) {
		committed, delivered := 10*float64(min(i, 60)), 10*float64(min(i, 60))
		if i > 100 { // at the end from now on, and it is handed what comes
			committed, delivered = 1000*float64(i), 600+1000*float64(i-100)
		}
		p.lane(at, 0, 1000*float64(i), committed)
		p.put(at, "delivered_total", delivered, "node", "n1", "destination", "orders", "partition", "0", "group", "billing")
	})
	w := flow.Window{Start: began / 1000, Width: 60}
	if f := p.b.Findings("orders", "billing", w); f.Skipped < 55_000 || f.Skipped > 60_000 || f.Retention+f.Truncated != 0 {
		t.Errorf("%+v", f)
	}
	var events, again int
	for _, pos := range p.b.QueueFor("orders", "billing").Positions("billing") {
		events, again = len(pos.NewEvents()), len(pos.NewEvents())
	}
	if events != 1 || again != 0 || p.b.FoundAt() != began+101_000 {
		t.Errorf("%d events, then %d, at +%d ms", events, again, p.b.FoundAt()-began)
	}
}

// deliver puts what JetStream tells beside the ack floor: up to where it handed out, and how often.
func (p *polls) deliver(at int64, position, total float64) {
	lane := []string{"node", "n1", "destination", "orders", "partition", "0", "group", "billing"}
	p.put(at, "delivered_offset", position, lane...)
	p.put(at, "delivered_total", total, lane...)
}

func (p *polls) events() (out []flow.Event) {
	for _, pos := range p.b.QueueFor("orders", "billing").Positions("billing") {
		out = append(out, pos.Events()...)
	}
	return out
}

// A message that is acknowledged late holds the ack floor back; when it lets go, the floor leaps over what was read long ago.
func TestSlowAcknowledgementIsNoSkip(t *testing.T) {
	p := newPolls(t)
	p.run(began, 120, func(i int, at int64) {
		n := 20 * float64(i)
		floor := n
		if i >= 60 && i < 95 {
			floor = 1200
		}
		p.lane(at, 0, n+10, floor)
		p.deliver(at, n+10, n+10)
	})
	if e := p.events(); len(e) != 0 {
		t.Errorf("%+v", e)
	}
}

// A durable that was deleted and made anew at the end of the stream has passed over what it had not read.
func TestReaderMadeAnewAtTheEndSkips(t *testing.T) {
	p := newPolls(t)
	p.run(began, 120, func(i int, at int64) {
		end := 1000 * float64(i)
		floor, position, total := 10*float64(i), 10*float64(i), 10*float64(i)
		if i > 60 {
			floor, position, total = end-100, end, 1000*float64(i-60)
		}
		p.lane(at, 0, end, floor)
		p.deliver(at, position, total)
	})
	if e := p.events(); len(e) != 1 || e[0].Kind != flow.EventSkip || e[0].N < 58_000 || e[0].N > 60_400 {
		t.Errorf("%+v", e)
	}
}

// What a filter leaves out is neither skipped nor, when it is deleted, lost.
func TestFilteredReaderLosesNothing(t *testing.T) {
	p := newPolls(t)
	p.run(began, 120, func(i int, at int64) {
		end := 1000 * float64(i)
		start := 0.0
		if i > 90 {
			start = end - 500 // retention reaches into what it leaves out
		}
		p.lane(at, start, end, end-900)
		p.deliver(at, end-900, 100*float64(i))
		p.put(at, "filtered", 1, "node", "n1", "destination", "orders", "partition", "0", "group", "billing")
	})
	if e := p.events(); len(e) != 0 {
		t.Errorf("%+v", e)
	}
	w := flow.Window{Start: began/1000 + 60, Width: 60}
	if f := p.b.Findings("orders", "billing", w); f != (flow.Finding{}) {
		t.Errorf("%+v", f)
	}
}

// A destination is forgotten on request only where its broker is not polled; another id of it is told.
func TestForgetAndMadeAnew(t *testing.T) {
	p := newPolls(t)
	k := QueueKey{ClusterKey{"kafka", "c"}, "orders"}
	info := func(id string) func(int, int64) {
		return func(i int, at int64) {
			p.lane(at, 0, 100, 100)
			p.put(at, "destination_info", 1, "destination", "orders", "id", id, "node", "n1")
		}
	}
	p.run(began, 5, info("a"))
	version := p.b.Version()
	if c := p.run(began+5000, 5, info("b")); len(c) != 1 || c[0] != "orders was deleted and created again." || p.b.Version() == version {
		t.Errorf("%q, version %d", c, p.b.Version())
	}
	if p.b.Forget(k); p.b.Queue(k) != nil || p.b.Len() != 0 {
		t.Error("still there though no broker is polled")
	}
	p.run(began+10_000, 1, func(i int, at int64) {
		info("b")(i, at)
		p.put(at, "up", 1, "node", "n1")
	})
	if p.b.Forget(k); p.b.Queue(k) == nil {
		t.Error("gone though its broker is polled")
	}
	p.err = errors.New("away")
	if _, err := p.b.Read(context.Background(), p.open, began+11_000, 0); !errors.Is(err, p.err) || p.b.Until() != began+10_000 {
		t.Errorf("%v, read until +%d ms", err, p.b.Until()-began)
	}
}

// Of two brokers with a destination of one name the polled one is meant, unless only the other knows the group.
func TestSameNameInTwoClusters(t *testing.T) {
	p := newPolls(t)
	p.run(began, 3, func(_ int, at int64) {
		p.lane(at, 0, 100, 100)
		p.put(at, "up", 1, "node", "n1")
		p.cluster = "a"
		ls := []string{"node", "exporter", "destination", "orders", "partition", "0"}
		p.put(at, "end_offset", 50, ls...)
		p.put(at, "committed_offset", 40, append(ls, "group", "archive")...)
		p.put(at, "committed_offset", 40, append(ls, "group", "billing")...)
		p.cluster = "c"
	})
	for group, want := range map[string]string{"billing": "c", "archive": "a", "nobody": "c"} {
		if q := p.b.QueueFor("orders", group); q == nil || q.Cluster != want {
			t.Errorf("%s: %+v", group, q)
		}
	}
	for cluster, want := range map[string]bool{"a": false, "c": true, "d": false} {
		if p.b.TellsOf(QueueKey{ClusterKey{"kafka", cluster}, "orders"}, began) != want {
			t.Errorf("told by %s: want %v", cluster, want)
		}
	}
	if !p.b.Tells("kafka", "orders", began) {
		t.Error("told by none")
	}
}
