package broker

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
)

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// start runs a daemon until the test ends; its whole process group ends with it.
func start(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	bin, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("NOT TESTED: %s is not installed: %v", name, err)
	}
	cmd := exec.Command(bin, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		done := make(chan struct{})
		go func() { _ = cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-done
		}
		log.Close()
		if t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Logf("%s wrote: %s", name, b[max(0, len(b)-3000):])
		}
	})
}

// eventually tries until f says nil.
func eventually(t *testing.T, patience time.Duration, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(200 * time.Millisecond) { //nolint:forbidigo // a real process
		if err = f(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// The real Redis, where it is installed: it starts in a moment.
func TestRedis(t *testing.T) {
	port := freePort(t)
	start(t, nil, "redis-server", "--bind", "127.0.0.1", "--port", fmt.Sprint(port), "--dir", t.TempDir(), "--save", "", "--appendonly", "no")
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	c := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = c.Close() })
	ctx := t.Context()
	eventually(t, 10*time.Second, func() error { return c.Ping(ctx).Err() })
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	add := func(key, id string) {
		must(c.XAdd(ctx, &redis.XAddArgs{Stream: key, ID: id, Values: []string{"v", "x"}}).Err())
	}
	begin := time.Now().Add(-time.Minute).UnixMilli()
	for i := range int64(10) {
		add("orders", fmt.Sprintf("%d-1", begin+1000*i))
	}
	must(c.XGroupCreate(ctx, "orders", "enrich", "0").Err())
	must(c.XGroupCreate(ctx, "orders", "audit", "0").Err())
	must(c.XGroupCreate(ctx, "orders", "done", "0").Err())
	read := func(group string, n int64, ack int) {
		got, err := c.XReadGroup(ctx, &redis.XReadGroupArgs{Group: group, Consumer: "c", Streams: []string{"orders", ">"}, Count: n}).Result()
		must(err)
		for i := range ack {
			must(c.XAck(ctx, "orders", group, got[0].Messages[i].ID).Err())
		}
	}
	read("enrich", 6, 4)
	read("done", 10, 10)
	must(c.Set(ctx, "plain", "value", 0).Err())

	cfg := RedisConfig{Addrs: []string{addr}, Cluster: "r"}.withDefaults()
	must(cfg.Validate())
	r := newRedis(cfg, metrics.NewSet(), slog.New(slog.DiscardHandler))
	must(r.open())
	defer r.close()
	poll := func() (map[string]groupState, partitionState) {
		t.Helper()
		s, err := r.poll(ctx)
		must(err)
		groups := map[string]groupState{}
		for _, g := range s.groups {
			groups[g.group] = g
		}
		if len(s.partitions) != 1 {
			t.Fatalf("partitions %+v", s.partitions)
		}
		return groups, s.partitions[0]
	}
	groups, part := poll()
	if part.start != 0 || part.end != 10 || part.messages != 10 || part.compacted || part.oldestAt.UnixMilli() != begin {
		t.Errorf("partition %+v", part)
	}
	if g := groups["enrich"]; g.committed != 4 || g.delivered != 6 || g.unacked != 2 || g.pending != 4 || g.committedAt.UnixMilli() != begin+4000 {
		t.Errorf("enrich %+v", g)
	}
	if g := groups["audit"]; g.committed != 0 || g.committedAt.UnixMilli() != begin {
		t.Errorf("audit %+v", g)
	}
	if g := groups["done"]; g.committed != 10 || !g.committedAt.IsZero() {
		t.Errorf("done %+v", g)
	}

	// MAXLEN deletes seven: two of them were with enrich and not acknowledged, audit never saw any.
	must(c.XTrimMaxLen(ctx, "orders", 3).Err())
	groups, part = poll()
	if part.start != 7 || part.end != 10 {
		t.Errorf("trimmed: %+v", part)
	}
	if g := groups["audit"]; g.committed != 0 || part.start-g.committed != 7 {
		t.Errorf("audit lost 7: %+v", g)
	}
	if g := groups["enrich"]; g.committed != 6 { // six were delivered, only one was never seen
		t.Errorf("enrich lost 1: %+v", g)
	}

	// Entries deleted from the middle: positions are bounds only.
	must(c.XDel(ctx, "orders", fmt.Sprintf("%d-1", begin+8000)).Err())
	if _, part = poll(); !part.compacted {
		t.Errorf("deleted from the middle: %+v", part)
	}
}

func TestRedisMasters(t *testing.T) {
	text := "07c3 10.0.0.1:6379@16379,a slave e7d1 0 1426238317239 4 connected\n" +
		"e7d1 10.0.0.2:6379@16379,b myself,master - 0 0 1 connected 0-5460\n" +
		"824f [::1]:6380@16380 master - 0 1426238318243 3 connected 10923-16383\n" +
		"9999 10.0.0.9:6379@16379 master,fail - 0 0 2 disconnected\n8888 :0@0 master,noaddr - 0 0 2 disconnected\nnonsense\n"
	if d := gocmp.Diff([]string{"10.0.0.2:6379", "[::1]:6380"}, redisMasters(text)); d != "" {
		t.Error(d)
	}
}

// What a server answers may be anything: it is left out, and never a panic.
func TestRedisNonsense(t *testing.T) {
	for _, v := range []any{nil, int64(3), "x", []any{}, []any{"length"}, []any{"length", "many", "lag", nil}, []any{nil, nil, int64(1), []any{"first-entry", []any{}}}, []any{[]byte("first-entry"), []any{nil}}} {
		if s := readRedisStream(v); s.added != 0 || s.length != 0 {
			t.Errorf("%v: %+v", v, s)
		}
		if g := readRedisGroup(v); g.lag != -1 {
			t.Errorf("%v: %+v", v, g)
		}
	}
	if got := sumMembers([]memberState{{group: "a", members: 1}, {group: "b", members: 2}, {group: "a", members: 3}}); len(got) != 2 || got[0].members != 4 {
		t.Errorf("%+v", got)
	}
}

func TestRedisIDs(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"5-1", "5-1", 0}, {"5-1", "5-2", -1}, {"10-0", "9-5", 1}, {"0-0", "1-0", -1}, {"", "1-0", -1}} {
		if got := compareRedisIDs(c.a, c.b); got != c.want && (got < 0) != (c.want < 0) {
			t.Errorf("%q and %q: %d", c.a, c.b, got)
		}
	}
	for id, want := range map[string]bool{"1764000000000-0": true, "5-1": false, "": false, "x-1": false, "99999999999999999-1": false, "1764000000000": false} {
		if got := !redisTime(id).IsZero(); got != want {
			t.Errorf("%q is a time: %v", id, got)
		}
	}
}

func TestRedisConfigComplaints(t *testing.T) {
	for want, edit := range map[string]func(*RedisConfig){
		"addrs is empty":                  func(c *RedisConfig) { c.Addrs = nil },
		`is none; give host:6379`:         func(c *RedisConfig) { c.Addrs = []string{"redis://:pw@h"} },
		"db 1 cannot be":                  func(c *RedisConfig) { c.Addrs, c.DB = []string{"a:1", "b:1"}, 1 },
		"interval 10ms is too short":      func(c *RedisConfig) { c.Interval = 10 * time.Millisecond },
		"cluster is empty":                func(c *RedisConfig) { c.Cluster = "" },
		"need master, the name":           func(c *RedisConfig) { c.SentinelPasswordFile = "b" },
		`"u" has no password`:             func(c *RedisConfig) { c.Master, c.SentinelUser = "m", "u" },
		"are both set; keep one":          func(c *RedisConfig) { c.PasswordEnv, c.PasswordFile = "A", "b" },
		`cannot read stream pattern "[a"`: func(c *RedisConfig) { c.Exclude = []string{"[a"} },
	} {
		c := DefaultRedisConfig()
		edit(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pw") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if err := DefaultRedisConfig().Validate(); err != nil {
		t.Error(err)
	}
}
