package broker

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// holes are listeners of brokers that can be made to swallow what comes: connections are taken, and nothing is answered.
type holes struct {
	mu    sync.Mutex
	addrs []string
	shut  map[int]chan struct{} // closed when it answers again
}

type hole struct {
	net.Listener
	of *holes
	n  int
}

func (h *holes) listen(network, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.addrs = append(h.addrs, l.Addr().String())
	return &hole{l, h, len(h.addrs) - 1}, nil
}

func (h *hole) Accept() (net.Conn, error) {
	c, err := h.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return holeConn{c, h}, nil
}

type holeConn struct {
	net.Conn
	of *hole
}

func (c holeConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if shut := c.of.of.at(c.of.n); shut != nil {
		<-shut
		return 0, net.ErrClosed
	}
	return n, err
}

func (h *holes) at(n int) chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.shut[n]
}

func (h *holes) set(n int, shut bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case shut:
		h.shut[n] = make(chan struct{})
	case h.shut[n] != nil:
		close(h.shut[n])
		delete(h.shut, n)
	}
}

// dial is a network in which the packets to such a broker are dropped: connections are not even made.
func (h *holes) dial(ctx context.Context, network, host string) (net.Conn, error) {
	h.mu.Lock()
	n := slices.Index(h.addrs, host)
	h.mu.Unlock()
	if shut := h.at(n); shut != nil {
		ctx, cancel := context.WithTimeout(ctx, kafkaDial)
		defer cancel()
		select {
		case <-shut:
		case <-ctx.Done():
			return nil, &net.OpError{Op: "dial", Net: network, Err: os.ErrDeadlineExceeded}
		}
	}
	return (&net.Dialer{}).DialContext(ctx, network, host)
}

// A broker that swallows what it is asked, as one behind a firewall that drops, costs its own partitions and groups only: in every
// poll, within the poll's time, also when it was never reached.
func TestKafkaBrokerSwallows(t *testing.T) {
	for _, c := range []struct {
		name       string
		drop, cold bool
	}{
		{"answers no more", false, false},
		{"never answered", false, true},
		{"is not reached any more", true, false},
		{"was never reached", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const timeout = 4 * time.Second
			h := &holes{shut: map[int]chan struct{}{}}
			b := newKafkaBench(t, func(c *KafkaConfig) { c.Timeout = timeout }, kfake.ListenFn(h.listen))
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
			if c.drop {
				sys := b.loop.sys.(*kafkaSystem)
				sys.cl.Close()
				opts, err := sys.cfg.options()
				if err != nil {
					t.Fatal(err)
				}
				if sys.cl, err = kgo.NewClient(append(opts, kgo.Dialer(h.dial))...); err != nil {
					t.Fatal(err)
				}
			}
			if !c.cold {
				b.poll()
			}
			node := b.c.LeaderFor("t", 0)
			h.set(int(node), true)
			t.Cleanup(func() { h.set(int(node), false) })
			for n := range 4 {
				began := time.Now()
				poll := b.poll()
				if took := time.Since(began); took > timeout || n > 0 && took > timeout/2 {
					t.Errorf("poll %d took %s; want less than its time, and to wait no more for a broker known to be away", n, took)
				}
				for p := range 6 {
					gone := b.c.LeaderFor("t", int32(p)) == node
					if got := on(poll, "t", fmt.Sprint(p), ""); gone != (len(got) == 0) {
						t.Errorf("poll %d, partition %d: %v; led by the broker that is away: %v", n, p, got, gone)
					}
					for _, name := range groups {
						if got := on(poll, "t", fmt.Sprint(p), name); (gone || b.c.CoordinatorFor(name) == node) != (got["committed_offset"] != 1) {
							t.Errorf("poll %d, partition %d, group %s: %v; coordinated by the broker that is away: %v", n, p, name, got, b.c.CoordinatorFor(name) == node)
						}
					}
				}
				if v, _ := single(poll, "up"); v != 1 {
					t.Errorf("poll %d: up = %v, want 1", n, v)
				}
				if v, _ := single(poll, "partial"); v != 1 {
					t.Errorf("poll %d: partial is not told", n)
				}
			}
			if say := fmt.Sprintf("cannot read offsets from broker %d", node); !strings.Contains(b.log.String(), say) {
				t.Errorf("the log does not say %q:\n%s", say, b.log)
			}
			h.set(int(node), false)
			back := func(poll []sample) bool {
				_, part := single(poll, "partial")
				for p := range 6 {
					for _, name := range groups {
						part = part || on(poll, "t", fmt.Sprint(p), name)["committed_offset"] != 1
					}
				}
				return !part
			}
			for n := 0; !back(b.poll()); n++ {
				if n == 3 {
					t.Fatalf("not everything is back after %d polls:\n%s", n, b.log)
				}
			}
		})
	}
}

// A group that the broker which lists it does not coordinate is asked about where the client finds it.
func TestKafkaCoordinatorElsewhere(t *testing.T) {
	b := newKafkaBench(t, nil)
	b.topic("t", 1, nil)
	b.produce("t", 0, 0, 3)
	b.commit("g", "t", 1)
	b.c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Group: "g", Err: kerr.NotCoordinator, Count: 1})
	for range 2 {
		poll := b.poll()
		if got := on(poll, "t", "0", "g")["committed_offset"]; got != 1 {
			t.Errorf("committed_offset = %v, want 1:\n%s", got, b.log)
		}
		if _, part := single(poll, "partial"); part {
			t.Errorf("partial although everything was read:\n%s", b.log)
		}
	}
}

// A broker that is lost while commits are read, after it has listed its groups, takes no time from the others' commits and ends.
func TestKafkaCoordinatorLostInThePoll(t *testing.T) {
	t.Parallel()
	const timeout = 4 * time.Second
	h := &holes{shut: map[int]chan struct{}{}}
	b := newKafkaBench(t, func(c *KafkaConfig) { c.Timeout = timeout }, kfake.ListenFn(h.listen))
	b.topic("t", 6, nil)
	for p := range int32(6) {
		b.produce("t", p, 0, 2)
	}
	var names []string
	for n := range 3 * batchGroups { // several questions to each
		names = append(names, fmt.Sprintf("g%d", n))
		b.commit(names[n], "t", 1, 1, 1, 1, 1, 1)
	}
	node := b.c.CoordinatorFor("g0")
	b.c.ControlKey(int16(kmsg.OffsetFetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.c.KeepControl()
		if b.c.CurrentNode() != node {
			return nil, nil, false
		}
		if h.at(int(node)) == nil {
			h.set(int(node), true)
		}
		return nil, net.ErrClosed, true
	})
	t.Cleanup(func() { h.set(int(node), false) })
	began := time.Now()
	poll := b.poll()
	if took := time.Since(began); took > timeout+timeout/8 { // its time, and what a busy machine adds
		t.Errorf("the poll took %s", took)
	}
	other := 0
	for p := range 6 {
		if b.c.LeaderFor("t", int32(p)) == node {
			continue
		}
		other++
		if got := on(poll, "t", fmt.Sprint(p), "")["end_offset"]; got != 2 {
			t.Errorf("partition %d has the end %v", p, got)
		}
		for _, name := range names {
			if got, ok := on(poll, "t", fmt.Sprint(p), name)["committed_offset"]; ok == (b.c.CoordinatorFor(name) == node) || ok && got != 1 {
				t.Fatalf("partition %d: committed_offset of %s is %v, %v", p, name, got, ok)
			}
		}
	}
	if v, _ := single(poll, "partial"); v != 1 || other == 0 {
		t.Errorf("partial = %v with %d partitions of others, want 1", v, other)
	}
}
