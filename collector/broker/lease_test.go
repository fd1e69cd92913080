package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/weirhq/weir/internal/lease"
)

// registry is a server's leases with a clock of its own.
type registry struct {
	mu     sync.Mutex
	now    time.Duration
	holder string
	until  time.Duration
	fence  uint64
	down   map[string]bool // nodes that cannot reach it
	calls  int
}

func (r *registry) ask(_ context.Context, q lease.Request) (lease.Answer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	if r.down[q.Node] {
		return lease.Answer{}, errors.New("no route to server")
	}
	if r.now >= r.until {
		r.holder = ""
	}
	switch {
	case r.holder != "" && r.holder != q.Node:
	case q.TTL == 0 || q.Aside:
		r.holder = ""
	default:
		if r.holder == "" {
			r.fence++
		}
		r.holder, r.until = q.Node, r.now+time.Duration(q.TTL)*time.Millisecond
	}
	return lease.Answer{Held: r.holder == q.Node, Node: r.holder, Fence: r.fence}, nil
}

func (r *registry) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now += d
}

// node is a collector whose loop is driven by hand.
type node struct {
	loop *loop
	out  *sink
}

func newNode(t *testing.T, name, seeds string, ask LeaseFunc) *node {
	t.Helper()
	out := newSink(t)
	cfg := KafkaConfig{Brokers: []string{seeds}, Cluster: "c1", Timeout: 5 * time.Second}
	p, err := New(Config{Kafka: []KafkaConfig{cfg}}, name, out, ask, metrics.NewSet(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.loops[0].shut)
	return &node{p.loops[0], out}
}

// turn returns what the collector says: owner, -1 when it says nothing, and whether it polled.
func (n *node) turn(ctx context.Context) (owner float64, polled bool) {
	n.loop.turn(ctx, time.Now())
	owner = -1
	for _, s := range n.out.last() {
		if s.stale() {
			continue
		}
		switch s.name {
		case "weir_broker_owner":
			owner = s.v
		case "weir_broker_end_offset":
			polled = true
		}
	}
	return owner, polled
}

func TestOneOfSeveralCollectorsPolls(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	r := &registry{down: map[string]bool{}}
	a, b := newNode(t, "a", c.ListenAddrs()[0], r.ask), newNode(t, "b", c.ListenAddrs()[0], r.ask)
	check := func(when string, n *node, name string, want bool) {
		t.Helper()
		owner, polled := n.turn(t.Context())
		if polled != want || owner != bool01(want) {
			t.Errorf("%s: %s polled %v, owner %v; want %v", when, name, polled, owner, want)
		}
		if n.loop.opened != want {
			t.Errorf("%s: %s has a connection: %v, want %v", when, name, n.loop.opened, want)
		}
	}
	const interval = 10 * time.Second
	for range 3 {
		check("at first", a, "a", true)
		check("at first", b, "b", false)
		r.pass(interval)
	}
	// a dies: it asks no more. b takes over when three intervals have passed, not before.
	for i := range 4 {
		check(fmt.Sprintf("%d intervals after a's death", i+1), b, "b", i >= 2)
		r.pass(interval)
	}
	// a comes back and waits.
	check("a is back", a, "a", false)
	stale := 0
	for _, s := range a.out.last() {
		if s.stale() {
			stale++
		}
	}
	if stale == 0 {
		t.Error("a's old offsets were not ended when it stopped polling")
	}
	// The server cannot be reached by anybody: b goes on, a does not begin.
	r.down["a"], r.down["b"] = true, true
	for range 5 {
		r.pass(interval)
		check("no server", a, "a", false)
		check("no server", b, "b", true)
	}
	// By b alone: a may poll beside it, which does no harm, until b hears of it.
	r.down["a"] = false
	check("b is cut off", a, "a", true)
	check("b is cut off", b, "b", true)
	r.down["b"] = false
	check("b hears again", b, "b", false)
	check("b hears again", a, "a", true)
	// An orderly stop hands over at once.
	a.loop.lease.release(t.Context())
	check("a has stopped", b, "b", true)
}

func TestPollsWithoutServer(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	r := &registry{down: map[string]bool{"a": true}}
	a := newNode(t, "a", c.ListenAddrs()[0], r.ask)
	if owner, polled := a.turn(t.Context()); !polled || owner != 1 {
		t.Errorf("polled %v, owner %v; who never got an answer polls", polled, owner)
	}
	// With owner: always nobody is asked, and nothing is said about owners.
	cfg := KafkaConfig{Brokers: c.ListenAddrs(), Cluster: "c1", Owner: OwnerAlways}
	out := newSink(t)
	p, err := New(Config{Kafka: []KafkaConfig{cfg}}, "a", out, r.ask, metrics.NewSet(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.loops[0].shut)
	before := r.calls
	n := &node{p.loops[0], out}
	if owner, polled := n.turn(t.Context()); !polled || owner != -1 || r.calls != before {
		t.Errorf("polled %v, owner %v, %d questions; want a poll and no question", polled, owner, r.calls-before)
	}
}

// A holder that cannot reach the broker lets another one try, and goes on when there is none.
func TestHolderStepsAside(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	r := &registry{down: map[string]bool{}}
	a := newNode(t, "a", "127.0.0.1:1", r.ask) // a cannot get there
	a.loop.timeout = 200 * time.Millisecond
	for range asideAfter {
		a.loop.nextTry = time.Time{}
		a.turn(t.Context())
	}
	if owner, _ := a.turn(t.Context()); owner != 1 || up(a.out.last()) != 0 || r.holder != "" {
		t.Errorf("owner %v, up %v, holder %q; with nobody else a goes on and says that the broker is away", owner, up(a.out.last()), r.holder)
	}
	b := newNode(t, "b", c.ListenAddrs()[0], r.ask)
	if owner, polled := b.turn(t.Context()); owner != 1 || !polled {
		t.Errorf("b: owner %v, polled %v", owner, polled)
	}
	if owner, _ := a.turn(t.Context()); owner != 0 || up(a.out.last()) >= 0 {
		t.Errorf("a: owner %v, up %v; want it to be silent about a broker that b can read", owner, up(a.out.last()))
	}
}

func TestValidateOwner(t *testing.T) {
	for _, c := range []struct {
		owner string
		ttl   time.Duration
		want  string
	}{{"", 0, ""}, {"lease", time.Minute, ""}, {"always", 0, ""}, {"me", 0, `owner "me" is unknown`}, {"", time.Millisecond, "lease_ttl 1ms is out of bounds"}} {
		err := validOwner(c.owner, c.ttl)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q, %s: %v, want %q", c.owner, c.ttl, err, c.want)
		}
	}
}
