package collector

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/prometheus/model/labels"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/weirhq/weir/internal/cell"
)

// fakeServer stores what a collector sends, when it is up.
type fakeServer struct {
	mu      sync.Mutex
	away    bool
	samples map[string]map[int64]float64 // by labels and time
	batches []cell.Batch
	seqs    map[string]map[uint64]bool
}

func (f *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		http.Error(w, "store is away", http.StatusServiceUnavailable)
		return
	}
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	d, _ := zstd.NewReader(nil)
	defer d.Close()
	body, err := d.DecodeAll(raw, nil)
	if err != nil || r.Header.Get("Content-Encoding") != "zstd" {
		http.Error(w, "not zstd", http.StatusBadRequest)
		return
	}
	id := r.Header.Get("Weir-Spool")
	seq, _ := strconv.ParseUint(r.Header.Get("Weir-Sequence"), 10, 64)
	if f.seqs[id] == nil {
		f.seqs[id] = map[uint64]bool{}
	}
	f.seqs[id][seq] = true
	switch r.URL.Path {
	case "/api/v1/write":
		var req writev2.Request
		if err := req.Unmarshal(body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		b := labels.NewScratchBuilder(0)
		n := 0
		for _, ts := range req.Timeseries {
			ls, err := ts.ToLabels(&b, req.Symbols)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			for _, s := range ts.Samples {
				if f.samples[ls.String()] == nil {
					f.samples[ls.String()] = map[int64]float64{}
				}
				f.samples[ls.String()][s.Timestamp] = s.Value
				n++
			}
		}
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(n))
	case "/api/v1/audit":
		var batch cell.Batch
		if err := json.Unmarshal(body, &batch); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		f.batches = append(f.batches, batch)
	default:
		http.NotFound(w, r)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// increase sums what counters whose labels match grew by.
func (f *fakeServer) sum(part ...string) (total float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for ls, points := range f.samples {
		match := true
		for _, p := range part {
			match = match && strings.Contains(ls, p)
		}
		if match {
			newest := int64(0)
			for t := range points {
				newest = max(newest, t)
			}
			total += points[newest]
		}
	}
	return total
}

func testConfig(t *testing.T, dir, url string) Config {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Node, cfg.DataDir, cfg.SelfInterval = "node-1", dir, time.Second
	cfg.Statsd.UDP, cfg.Statsd.Unix, cfg.Statsd.UnixStream, cfg.Statsd.Interval = "127.0.0.1:0", "", "", time.Second
	cfg.OTLP.GRPC, cfg.OTLP.HTTP = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Server.URL, cfg.Server.MinBackoff, cfg.Server.MaxBackoff = url, 5*time.Millisecond, 50*time.Millisecond
	return cfg
}

// start runs a collector until the returned function is called.
func startCollector(t *testing.T, cfg Config) (*Collector, *metrics.Set, func()) {
	t.Helper()
	set := metrics.NewSet()
	c, err := New(cfg, "test", slog.New(slog.DiscardHandler), set)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	select {
	case <-c.Ready():
	case err := <-ended:
		t.Fatalf("collector did not start: %v", err)
	}
	return c, set, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func send(t *testing.T, addr net.Addr, from, to int) {
	t.Helper()
	conn, err := net.Dial("udp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	window := time.Now().Unix() / 60 * 60
	for i := from; i < to; i++ {
		if _, err := fmt.Fprintf(conn, "orders:1|c\nweir.audit.in:1|c|#p:shop,st:enrich,dst:orders,ew:%d", window); err != nil {
			t.Fatal(err)
		}
		if i%100 == 99 {
			time.Sleep(time.Millisecond) //nolint:forbidigo // paces a real socket, so that the kernel drops nothing
		}
	}
}

var metricLine = regexp.MustCompile(`(?m)^(weir_\w+)\{([^}]*)\} (\d+)$`)

// equations checks both equations of docs/wire.md on what the collector says of itself.
func equations(t *testing.T, set *metrics.Set) {
	t.Helper()
	var buf bytes.Buffer
	set.WritePrometheus(&buf)
	spool, door := map[string]int{}, map[string]int{}
	for _, m := range metricLine.FindAllStringSubmatch(buf.String(), -1) {
		v, _ := strconv.Atoi(m[3])
		key := regexp.MustCompile(`(?:signal|door)="([^"]*)"`).FindString(m[2])
		switch m[1] {
		case "weir_spool_appended_items_total":
			spool[key] += v
		case "weir_spool_delivered_items_total", "weir_spool_pending_items", "weir_spool_dropped_items_total":
			spool[key] -= v
		case "weir_collector_received_total":
			door[key] += v
		case "weir_collector_accepted_total", "weir_collector_dropped_total":
			door[key] -= v
		}
	}
	for _, side := range []map[string]int{spool, door} {
		if len(side) == 0 {
			t.Error("the collector does not account for itself")
		}
		for key, rest := range side {
			if rest != 0 {
				t.Errorf("equation of %s is off by %d:\n%s", key, rest, buf.String())
			}
		}
	}
}

// TestStoreAwayAndRestart sends while the store is away, restarts the collector in between, and finds everything in the store.
func TestStoreAwayAndRestart(t *testing.T) {
	store := &fakeServer{away: true, samples: map[string]map[int64]float64{}, seqs: map[string]map[uint64]bool{}}
	server := httptest.NewServer(store)
	defer server.Close()
	cfg := testConfig(t, t.TempDir(), server.URL)
	cfg.StopWait = 0

	c, set, stop := startCollector(t, cfg)
	send(t, c.StatsdAddr(), 0, 1000)
	stop()
	equations(t, set)

	store.mu.Lock()
	store.away = false
	store.mu.Unlock()
	cfg.StopWait = 10 * time.Second
	c, set, stop = startCollector(t, cfg)
	send(t, c.StatsdAddr(), 1000, 1500)
	stop()
	equations(t, set)

	var counted uint64
	seen := map[int64]map[string]cell.Cell{} // by epoch: the newest snapshot of every cell
	closed := 0
	for _, b := range store.batches {
		if b.Auditor.Closed {
			closed++
		}
		for _, k := range b.Cells {
			if seen[k.Epoch] == nil {
				seen[k.Epoch] = map[string]cell.Cell{}
			}
			key := fmt.Sprint(k.Key, k.Instance)
			if k.Seq >= seen[k.Epoch][key].Seq {
				seen[k.Epoch][key] = k
			}
		}
	}
	for _, cells := range seen {
		for _, k := range cells {
			counted += k.N
		}
	}
	if counted != 1500 || closed != 2 {
		t.Errorf("audit counted %d in %d closed runs, want 1500 in 2", counted, closed)
	}
	if len(store.seqs) != 1 {
		t.Errorf("%d spools, want the same one after the restart", len(store.seqs))
	}
	for id, seqs := range store.seqs {
		for i := uint64(1); i <= uint64(len(seqs)); i++ {
			if !seqs[i] {
				t.Errorf("spool %s: sequence %d of %d is missing", id, i, len(seqs))
			}
		}
	}
	if n := store.sum(`"weir_collector_received_total"`, `door="statsd_udp"`, `node="node-1"`, `service="weir-collector"`); n != 500 && n != 1000 {
		t.Errorf("own metrics say %v metrics received by the last run, want 500 (or 1000 with audit lines)", n)
	}
	if n := store.sum(`__name__="orders`); n == 0 {
		t.Error("the counter orders did not arrive")
	}
}

func TestConfigComplaints(t *testing.T) {
	for yaml, want := range map[string]string{
		"statsd:\n  udpp: x\n":                   `line 2: unknown key "udpp", did you mean "udp"?`,
		"server: {tokenfile: x}":                 `line 1: unknown key "tokenfile", did you mean "token_file"?`,
		"xyzzy: 1":                               `line 1: unknown key "xyzzy", known are `,
		"spool: {max_bytes: 5000}":               `max_bytes 5000`,
		"self_interval: 1ms":                     `self_interval 1ms`,
		"data_dir: ''":                           `data_dir ""`,
		"scrape: {targets: [{job: a, jobb: b}]}": `did you mean "job"?`,
		"server: {timeout: soon}":                `line 1`,
	} {
		if _, err := Parse([]byte(yaml)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: complaint %v, want %s", yaml, err, want)
		}
	}
	if _, err := Parse([]byte("node: a\nspool: {group_commit: 3ms}\nserver:\n  url: https://weir.example\n")); err != nil {
		t.Error(err)
	}
	if _, err := Parse(nil); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}

func TestOpenDoors(t *testing.T) {
	for _, c := range []struct {
		udp, grpc, http string
		open            []string
		want            []string // parts of the complaint; none = the collector may start
	}{
		{"127.0.0.1:8125", "[::1]:4317", "localhost:4318", nil, nil},
		{":8125", "", "", nil, []string{`statsd.udp on ":8125"`, `add "statsd.udp" to open_doors`}},
		{":8125", "", "", []string{"statsd.udp"}, nil},
		{"", "0.0.0.0:4317", "collector.internal:4318", []string{"otlp.grpc"}, []string{`otlp.http on "collector.internal:4318"`}},
		{"", "", "", []string{"statsd"}, []string{`door "statsd"`}},
	} {
		cfg := DefaultConfig()
		cfg.Statsd.UDP, cfg.OTLP.GRPC, cfg.OTLP.HTTP, cfg.OpenDoors = c.udp, c.grpc, c.http, c.open
		err := cfg.Validate()
		if (err != nil) != (c.want != nil) {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%+v: %v", c, err)
			}
		}
	}
}

func TestTakenPort(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	cfg := testConfig(t, t.TempDir(), "http://127.0.0.1:1")
	cfg.Statsd.UDP = taken.LocalAddr().String()
	c, err := New(cfg, "test", slog.New(slog.DiscardHandler), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), cfg.Statsd.UDP) {
		t.Errorf("error %v, want one that names %s", err, cfg.Statsd.UDP)
	}
}

func TestParseLabels(t *testing.T) {
	for in, want := range map[string]string{
		"up":                          `{__name__="up"}`,
		`a{}`:                         `{__name__="a"}`,
		`a{b="c"}`:                    `{__name__="a", b="c"}`,
		`a{z="1",b="x \"y\",\\n"}`:    `{__name__="a", b="x \"y\",\\n", z="1"}`,
		`a{b="c",signal="samples"}`:   `{__name__="a", b="c", signal="samples"}`,
		`a_bucket{le="+Inf", x="}{"}`: `{__name__="a_bucket", le="+Inf", x="}{"}`,
	} {
		ls, err := parseLabels(in)
		if d := cmp.Diff(want, ls.String()); err != nil || d != "" {
			t.Errorf("%s: %v %s", in, err, d)
		}
	}
	if _, err := parseLabels(`a{b=c}`); err == nil {
		t.Error("labels without quotes were read")
	}
}
