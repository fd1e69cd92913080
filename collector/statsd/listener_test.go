package statsd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/prometheus/model/labels"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/weirhq/weir/collector/signal"
	"golang.org/x/sys/unix"
)

// output keeps decoded samples, by labels.
type output struct {
	mu      sync.Mutex
	err     error
	samples map[string][]point
	hists   map[string][]writev2.Histogram
	meta    map[string]writev2.Metadata
}

type point struct {
	T, Start int64
	V        float64
}

func newOutput() *output {
	return &output{samples: map[string][]point{}, hists: map[string][]writev2.Histogram{}, meta: map[string]writev2.Metadata{}}
}

func (o *output) Append(_ context.Context, k signal.Kind, items int, body []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	if k != signal.Samples {
		return fmt.Errorf("kind %v", k)
	}
	var req writev2.Request
	if err := req.Unmarshal(body); err != nil {
		return err
	}
	n := 0
	b := labels.NewScratchBuilder(8)
	for _, ts := range req.Timeseries {
		ls, err := ts.ToLabels(&b, req.Symbols)
		if err != nil {
			return err
		}
		k := ls.String()
		for _, s := range ts.Samples {
			o.samples[k] = append(o.samples[k], point{s.Timestamp, s.StartTimestamp, s.Value})
		}
		o.hists[k] = append(o.hists[k], ts.Histograms...)
		o.meta[k] = ts.Metadata
		n += len(ts.Samples) + len(ts.Histograms)
	}
	if n != items {
		return fmt.Errorf("%d items announced, %d found", items, n)
	}
	return nil
}

// fail makes Append fail with err, or work again.
func (o *output) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
}

// last returns the last sample of the series, NaN when there is none.
func (o *output) last(ls string) float64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.samples[ls]
	if len(p) == 0 {
		return math.NaN()
	}
	return p[len(p)-1].V
}

func (o *output) names() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Sorted(maps.Keys(o.meta))
}

// pass lets time pass; in a synctest bubble that costs nothing.
func pass(d time.Duration) { <-time.After(d) }

// origins is a fixed answer to every question.
type origins struct{ pid map[int32]Tags }

func (o origins) Self() Tags { return Tags{Node: "n1"} }

func (o origins) ByPID(pid int32) Tags {
	if t, ok := o.pid[pid]; ok {
		return t
	}
	return Tags{Node: "n1"}
}

func (o origins) ByContainerField(f string) Tags {
	return Tags{Node: "n1", Container: strings.TrimPrefix(f, "ci-")}
}

type sink struct {
	mu    sync.Mutex
	incs  []Increment
	drops uint64
	err   error

	carried uint64

	lost   uint64
	lostAt int64

	told []Life
}

func (s *sink) Add(inc Increment) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	inc.IDs, inc.Values = inc.IDs.Clone(), slices.Clone(inc.Values) // valid only during the call
	s.incs = append(s.incs, inc)
	return nil
}

func (s *sink) Lost(at int64, n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lostAt = at
	s.lost += n
}

func (s *sink) Told(t Life) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, t)
	return nil
}

func (s *sink) Carried(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.carried = max(s.carried, n)
}

func (s *sink) Drops(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drops += n
}

type rig struct {
	*Listener
	out  *output
	sink *sink
	set  *metrics.Set
	t    testing.TB
}

func newRig(tb testing.TB, o Origins, edit func(*Config)) *rig {
	tb.Helper()
	cfg := DefaultConfig()
	cfg.UDP = ""
	if edit != nil {
		edit(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		tb.Fatal(err)
	}
	r := &rig{out: newOutput(), sink: &sink{}, set: metrics.NewSet(), t: tb}
	r.Listener = New(cfg, o, r.sink, r.out, slog.New(slog.DiscardHandler), r.set)
	return r
}

// start runs the listener; the returned function stops it and waits.
func (r *rig) start() (stop func()) {
	r.t.Helper()
	if err := r.Listen(context.Background()); err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return func() {
		r.t.Helper()
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	}
}

// count reads a counter of a door; why "" is what was received, "accepted" what was taken.
func (r *rig) count(door, why string) int {
	switch why {
	case "":
		return int(r.set.GetOrCreateCounter(`weir_collector_received_total{door="` + door + `"}`).Get())
	case "accepted":
		return int(r.set.GetOrCreateCounter(`weir_collector_accepted_total{door="` + door + `"}`).Get())
	}
	return int(r.set.GetOrCreateCounter(`weir_collector_dropped_total{door="` + door + `",reason="` + why + `"}`).Get())
}

// balance checks received = accepted + dropped and returns what was received.
func (r *rig) balance(door string) int {
	r.t.Helper()
	sum := r.count(door, "accepted")
	for why := taken + 1; why < reasons; why++ {
		sum += r.count(door, why.String())
	}
	if got := r.count(door, ""); got != sum {
		r.t.Errorf("door %s: received %d, but accepted and dropped are %d", door, got, sum)
	}
	return sum
}

func (r *rig) want(ls string, v float64) {
	r.t.Helper()
	if got := r.out.last(ls); got != v {
		r.t.Errorf("%s is %v, want %v; there are %q", ls, got, v, r.out.names())
	}
}

func send(tb testing.TB, network, addr string, packets ...string) {
	tb.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		tb.Fatal(err)
	}
	defer c.Close()
	for _, p := range packets {
		if _, err := c.Write([]byte(p)); err != nil {
			tb.Fatal(err)
		}
	}
}

func TestUDP(t *testing.T) {
	for _, readers := range []int{1, 3} {
		r := newRig(t, origins{}, func(c *Config) { c.UDP, c.Readers = "127.0.0.1:0", readers })
		stop := r.start()
		addr := r.UDPAddr().String()
		for range 20 { // different source ports: with several readers, different readers
			send(t, "udp", addr, "req.count:1|c|#env:prod,service:web\nreq.count:2:3|c|#service:web,env:prod\ntemp:5|g\nusers:a|s\nusers:b|s", "weir.audit.in:7|c|#p:p,st:s")
		}
		stop()
		r.want(`{__name__="req_count", env="prod", node="n1", service="web"}`, 120)
		r.want(`{__name__="temp", node="n1"}`, 5)
		r.want(`{__name__="users", node="n1"}`, 2)
		if n := len(r.sink.incs); n != 20 {
			t.Errorf("%d audit increments, want 20", n)
		}
		if n := r.balance("statsd_udp"); n != 120 {
			t.Errorf("received %d metrics, want 120", n)
		}
		if n := r.balance("audit"); n != 20 {
			t.Errorf("received %d audit increments, want 20", n)
		}
	}
}

func TestUnixCredentials(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	pid := int32(os.Getpid())
	r := newRig(t, origins{map[int32]Tags{pid: {Node: "n1", Service: "orders", Container: "c1"}}}, func(c *Config) { c.Unix, c.UnixMode = path, "0622" })
	stop := r.start()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if m := info.Mode().Perm(); m != 0o622 {
		t.Errorf("permissions %o", m)
	}
	send(t, "unixgram", path, "a:1|c|#service:fake,container_name:x", "a:2|c|c:ci-other", "weir.audit.out:1|c|#p:p,st:s")
	stop()
	r.want(`{__name__="a", container="c1", container_name="x", exported_service="fake", node="n1", service="orders"}`, 1)
	r.want(`{__name__="a", container="c1", node="n1", service="orders"}`, 2)
	if len(r.sink.incs) != 1 || r.sink.incs[0].Instance != "n1/c1" || r.sink.incs[0].Service != "orders" || r.sink.incs[0].Node != "n1" {
		t.Errorf("audit %+v", r.sink.incs)
	}
	if n := r.balance("statsd_unix"); n != 2 {
		t.Errorf("received %d", n)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket's file is left: %v", err)
	}
}

func TestUnixStream(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	pid := int32(os.Getpid())
	r := newRig(t, origins{map[int32]Tags{pid: {Node: "n1", Service: "orders"}}}, func(c *Config) { c.UnixStream = path })
	stop := r.start()
	packet := func(s string) string {
		return string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
	}
	send(t, "unix", path, packet("a:1|c\na:2|c")+packet("b:5|g")[:6], packet("b:5|g")[6:])
	send(t, "unix", path, "\xff\xff\xff\xff a:1|c") // a wrong length
	c, err := net.Dial("unix", path)                // one that stays
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for deadline := time.Now().Add(5 * time.Second); r.count("statsd_unix", "") < 4 && time.Now().Before(deadline); {
		pass(time.Millisecond)
	}
	stop()
	r.want(`{__name__="a", node="n1", service="orders"}`, 3)
	r.want(`{__name__="b", node="n1", service="orders"}`, 5)
	if n := r.count("statsd_unix", "bad_line"); n != 1 {
		t.Errorf("%d bad lines for a wrong length", n)
	}
	r.balance("statsd_unix")
}

func TestSocketFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	cfg := func(c *Config) { c.Unix = path }
	// Abandoned by a process that was killed: taken over.
	dead, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, origins{}, cfg)
	if err := r.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	// In use: refused, and left alone.
	if err := newRig(t, origins{}, cfg).Listen(t.Context()); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("got %v", err)
	}
	send(t, "unixgram", path, "a:1|c")
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	// A file of somebody's: never removed.
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := newRig(t, origins{}, cfg).Listen(t.Context()); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("got %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Errorf("the file was touched: %q, %v", b, err)
	}
}

func TestKernelDropsAreCounted(t *testing.T) {
	r := newRig(t, origins{}, func(c *Config) { c.UDP, c.ReceiveBuffer = "127.0.0.1:0", 64<<10 })
	if err := r.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Nobody reads yet: the socket overflows.
	packets := make([]string, 3000)
	for i := range packets {
		packets[i] = "a:1|c"
	}
	packets[0] = "weir.audit.in:1|c|#p:p,st:s"
	send(t, "udp", r.UDPAddr().String(), packets...)
	r.start()()
	drops := int(r.set.GetOrCreateCounter(`weir_collector_kernel_drops_total{door="statsd_udp"}`).Get())
	got := r.balance("statsd_udp") + r.balance("audit")
	if drops == 0 || got+drops != len(packets) {
		t.Errorf("sent %d, received %d, dropped by the kernel %d", len(packets), got, drops)
	}
	if r.sink.drops != uint64(drops) {
		t.Errorf("the audit knows of %d drops, want %d", r.sink.drops, drops)
	}
}

// TestDropsInProc checks the way of old kernels against the way of new ones, on a socket that overflows.
func TestDropsInProc(t *testing.T) {
	r := newRig(t, origins{}, func(c *Config) { c.UDP, c.ReceiveBuffer = "127.0.0.1:0", 64<<10 })
	if err := r.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	send(t, "udp", r.UDPAddr().String(), slices.Repeat([]string{"a:1|c"}, 1000)...)
	s := r.sockets[0]
	want, ok := socketDrops(s.fd)
	if !ok || want == 0 {
		t.Fatalf("the socket tells of %d drops, %v", want, ok)
	}
	var st unix.Stat_t
	if err := unix.Fstat(s.fd, &st); err != nil {
		t.Fatal(err)
	}
	if got, ok := procDrops("/proc/self/net/udp", st.Ino); !ok || got != want {
		t.Errorf("/proc tells of %d drops (%v), the socket of %d", got, ok, want)
	}
	if _, ok := procDrops("/proc/self/net/udp", 1); ok {
		t.Error("a socket that is not there was found")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	f := func(edit func(*Config), want string) {
		t.Helper()
		c := DefaultConfig()
		edit(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want something about %q", err, want)
		}
	}
	f(func(c *Config) { c.UDP = "localhost" }, `statsd.udp "localhost"`)
	f(func(c *Config) { c.UnixMode = "rw" }, `statsd.unix_mode "rw"`)
	f(func(c *Config) { c.UnixMode = "7777" }, `statsd.unix_mode "7777"`)
	f(func(c *Config) { c.Interval = time.Millisecond }, "statsd.interval 1ms")
	f(func(c *Config) { c.Expiry = time.Second }, "statsd.expiry 1s")
	f(func(c *Config) { c.MaxSeries = 0 }, "statsd.max_series 0")
	f(func(c *Config) { c.Readers = 65 }, "statsd.readers 65")
}
