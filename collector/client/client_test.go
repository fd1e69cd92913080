package client

import (
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

func listen(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// received sums the counts and fingerprints of all increments that lie in the socket.
func received(t *testing.T, l *net.UnixConn) (n, sum, xor uint64, lines []string) {
	t.Helper()
	b := make([]byte, 64<<10)
	if err := l.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	re := regexp.MustCompile(`^weir\.audit\.\w+:(\d+)\|c\|#.*fs:(\w{16}),fx:(\w{16})`)
	for {
		k, err := l.Read(b)
		if err != nil {
			return n, sum, xor, lines
		}
		if k > 1432 {
			t.Errorf("datagram of %d bytes does not fit a packet", k)
		}
		for s := range strings.SplitSeq(string(b[:k]), "\n") {
			lines = append(lines, s)
			m := re.FindStringSubmatch(s)
			if m == nil {
				continue
			}
			v, err := strconv.ParseUint(m[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			n += v
			v, _ = strconv.ParseUint(m[2], 16, 64)
			sum += v
			v, _ = strconv.ParseUint(m[3], 16, 64)
			xor ^= v
		}
	}
}

func TestCountsSurviveACollectorThatIsAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	c, err := New(Config{Addr: "unix://" + path, Pipeline: "orders", Stage: "enrich", Instance: "enrich-1"})
	if err != nil {
		t.Fatal(err)
	}
	origin := time.Unix(1_732_334_465, 0)
	add := func(from, to int) {
		for i := from; i < to; i++ {
			c.In("orders", "enrich", Record{ID: fmt.Sprint("o-", i), Time: origin, Bytes: 100})
		}
	}
	add(0, 500)
	c.Flush(t.Context()) // nobody listens yet
	l := listen(t, path)
	add(500, 700)
	c.Flush(t.Context())
	if n, _, _, _ := received(t, l); n != 700 {
		t.Fatalf("%d records arrived, want all 700", n)
	}
	_ = l.Close()
	add(700, 800)
	c.Flush(t.Context()) // it went away
	add(800, 1000)
	c.Flush(t.Context())
	c.addr = path + ".again" // a socket that is not unlinked cannot be bound again
	l = listen(t, c.addr)
	c.Flush(t.Context())
	n, sum, xor, _ := received(t, l)
	if n != 300 || sum == 0 || xor == 0 {
		t.Errorf("after the collector came back %d records arrived (sum %x, xor %x), want the 300 since it went", n, sum, xor)
	}
}

func TestEveryCountArrivesOnceWithItsFingerprint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	l := listen(t, path)
	c, err := New(Config{Addr: "unix://" + path, Pipeline: "orders", Stage: "enrich", Instance: "enrich-1", Window: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	var sum, xor uint64
	for i := range 1000 {
		id := fmt.Sprint("o-", i)
		sum += Hash(id)
		xor ^= Hash(id)
		c.Out("enriched", Record{ID: id, Time: time.Unix(1_732_334_400+int64(i/10), 0)})
	}
	c.Dropped("too big", Record{})
	c.Count("orders.done", 3, "kind:x")
	c.Observe("orders.time", 0.25)
	c.Flush(t.Context())
	n, s, x, lines := received(t, l)
	if n != 1000 || s != sum || x != xor {
		t.Errorf("arrived %d, sum %x, xor %x; want 1000, %x, %x", n, s, x, sum, xor)
	}
	all := strings.Join(lines, "\n")
	for _, want := range []string{
		"weir.audit.out:100|c|#p:orders,st:enrich,dst:enriched,ew:1732334410,", "|c:ci-enrich-1",
		"weir.audit.dropped:1|c|#p:orders,st:enrich,reason:too big,svc:enrich", "orders.done:3|c|#kind:x,service:enrich", "orders.time:0.25|d|#service:enrich",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	c, err := New(Config{Addr: "unix:///nowhere/at/all", Pipeline: "p", Stage: "s", Window: time.Second, MaxKept: 10})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 25 {
		c.Out("d", Record{Time: time.Unix(int64(1000+i), 0)})
	}
	c.Flush(t.Context())
	if len(c.cells) != 10 || c.Lost() != 15 {
		t.Errorf("%d kept and %d given up, want 10 and 15", len(c.cells), c.Lost())
	}
	if _, ok := c.cells[key{dir: "out", dst: "d", window: 1024}]; !ok {
		t.Error("the newest window was given up")
	}
}

func TestBadConfigIsExplained(t *testing.T) {
	for _, cfg := range []Config{
		{Addr: "tcp://x", Pipeline: "p", Stage: "s"},
		{Addr: "unix:///x", Stage: "s"},
		{Addr: "unix:///x", Pipeline: "a,b", Stage: "s"},
		{Addr: "unix:///x", Pipeline: "p", Stage: "s", Window: 1500 * time.Millisecond},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("New(%+v) accepts it", cfg)
		}
	}
	t.Setenv("WEIR_WINDOW", "5s")
	if c, err := New(Config{Pipeline: "p", Stage: "s"}); err != nil || c.cfg.Window != 5*time.Second {
		t.Errorf("the window of the environment: %v", err)
	}
	t.Setenv("WEIR_WINDOW", "5")
	if _, err := New(Config{Pipeline: "p", Stage: "s"}); err == nil {
		t.Error("WEIR_WINDOW=5 is accepted")
	}
}
