package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/gomodule/redigo/redis"
	gocmp "github.com/google/go-cmp/cmp"
)

// scriptedRedis answers in the order in which it is asked.
type scriptedRedis struct {
	answer  func(command string, args []any) (any, error)
	waiting []func() (any, error)
}

func (s *scriptedRedis) Close() error { return nil }
func (s *scriptedRedis) Err() error   { return nil }
func (s *scriptedRedis) Flush() error { return nil }

func (s *scriptedRedis) Send(command string, args ...any) error {
	s.waiting = append(s.waiting, func() (any, error) { return s.answer(command, args) })
	return nil
}

func (s *scriptedRedis) Receive() (any, error) {
	f := s.waiting[0]
	s.waiting = s.waiting[1:]
	return f()
}

func (s *scriptedRedis) Do(command string, args ...any) (any, error) { return s.answer(command, args) }

func (s *scriptedRedis) DoContext(_ context.Context, command string, args ...any) (any, error) {
	return s.answer(command, args)
}
func (s *scriptedRedis) ReceiveContext(context.Context) (any, error) { return s.Receive() }

func scripted(t *testing.T, change func(*RedisConfig), answer func(command string, args []any) (any, error)) (*redisSystem, *redisNode) {
	t.Helper()
	cfg := RedisConfig{Addrs: []string{"r:1"}, Cluster: "r"}.withDefaults()
	change(&cfg)
	r := newRedis(cfg, metrics.NewSet(), slog.New(slog.DiscardHandler))
	return r, &redisNode{addr: "r:1", conn: &scriptedRedis{answer: answer}}
}

var _ redis.ConnWithContext = (*scriptedRedis)(nil)

// A key space too large for one poll is searched in several; the streams known are asked about meanwhile, and an error costs one step.
func TestRedisSearchTakesSeveralPolls(t *testing.T) {
	var asked []any // cursors
	var broken bool
	pages := [][]any{{"a"}, {"b", "a"}, {}, {"c"}}
	r, n := scripted(t, func(c *RedisConfig) { c.Timeout = 1 }, func(command string, args []any) (any, error) { // no time for more than one step
		if command != "SCAN" {
			return nil, errors.New("not expected: " + command)
		}
		if broken {
			return nil, errors.New("timeout")
		}
		asked = append(asked, args[0])
		var at int
		if _, err := fmt.Sscan(args[0].(string), &at); err != nil {
			return nil, err
		}
		var keys []any
		for _, k := range pages[at] {
			keys = append(keys, []byte(k.(string)))
		}
		return []any{[]byte(fmt.Sprint((at + 1) % len(pages))), keys}, nil
	})
	step := func(want ...string) {
		t.Helper()
		if err := r.findStreams(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		if d := gocmp.Diff(want, n.keys); d != "" {
			t.Error(d)
		}
	}
	step("a") // the first search: what is found is asked about
	step("a", "b")
	broken = true
	if err := r.findStreams(t.Context(), n); err == nil {
		t.Error("no error")
	}
	broken = false
	step("a", "b")
	if !n.scanned.IsZero() {
		t.Error("whole before its end")
	}
	step("a", "b", "c")
	if d := gocmp.Diff([]any{"0", "1", "2", "3"}, asked); d != "" || n.scanned.IsZero() {
		t.Error(n.scanned, d)
	}
	step("a", "b", "c") // not due

	// The next search: the old list stays until it is whole.
	n.scanned = time.Now().Add(-time.Hour)
	pages = [][]any{{"b"}, {"d"}}
	step("a", "b", "c")
	step("b", "d")
}

// A reader that deletes what it acknowledged, while it is asked about: nothing is told as deleted unread.
func TestRedisStartIsNotBeyondWhatWasRead(t *testing.T) {
	length, read := int64(10), int64(0)
	r, n := scripted(t, func(c *RedisConfig) { c.Streams = []string{"s"} }, func(command string, args []any) (any, error) {
		defer func() { length, read = length-1, read+1 }() // one more is read, acknowledged and deleted after each answer
		switch {
		case command == "XINFO" && args[0] == "STREAM":
			return []any{"length", length, "entries-added", int64(10), "last-generated-id", "10-1", "max-deleted-entry-id", fmt.Sprintf("%d-1", read), "first-entry", []any{fmt.Sprintf("%d-1", read+1), nil}}, nil
		case command == "XINFO":
			return []any{[]any{"name", "g", "consumers", int64(1), "pending", int64(0), "lag", 10 - read, "last-delivered-id", fmt.Sprintf("%d-1", read)}}, nil
		default:
			return []any{}, nil
		}
	})
	var snap snapshot
	if err := r.askNode(t.Context(), &snap, n); err != nil {
		t.Fatal(err)
	}
	if len(snap.partitions) != 1 || len(snap.groups) != 1 {
		t.Fatalf("%+v", snap)
	}
	if p, g := snap.partitions[0], snap.groups[0]; p.start > g.committed || p.compacted || g.committed != 1 {
		t.Errorf("start %d, committed %d, compacted %v", p.start, g.committed, p.compacted)
	}
}
