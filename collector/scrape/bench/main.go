// Command bench measures what scraping costs (bar P3): 50 targets × 1000 series, served and received by a
// process of its own, so that only the scraper's CPU is counted. It prints a markdown table.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/VictoriaMetrics/metrics"
	kgzip "github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v3"

	"github.com/weirhq/weir/collector/scrape"
	"github.com/weirhq/weir/collector/signal"
)

func main() {
	serve := flag.Bool("serve", false, "be the targets and the receiver (started by the bench itself)")
	targets := flag.Int("targets", 50, "targets")
	series := flag.Int("series", 1000, "series of each target")
	runTime := flag.Duration("time", 24*time.Second, "length of the whole measurement")
	profile := flag.String("cpuprofile", "", "write a CPU profile to this file")
	only := flag.Int("only", -1, "measure only this line of the table")
	flag.Parse()
	var err error
	if *serve {
		err = serveTargets(*targets, *series)
	} else {
		err = run(*targets, *series, *only, *runTime, *profile)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serveTargets answers /t/<n>/metrics and takes POST /write, until standard input ends.
func serveTargets(targets, series int) error {
	var scrapes atomic.Uint64
	mux := http.NewServeMux()
	for n := range targets {
		parts := splitBody(series, n)
		mux.HandleFunc(fmt.Sprintf("/t/%d/metrics", n), func(w http.ResponseWriter, r *http.Request) {
			k := scrapes.Add(1)
			var b bytes.Buffer
			for i, p := range parts {
				b.WriteString(p)
				if i < len(parts)-1 { // counters grow, gauges wander
					fmt.Fprintf(&b, "%d", k*uint64(i+1))
					if i%3 == 0 {
						fmt.Fprintf(&b, ".%d", k%97)
					}
				}
			}
			w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
			if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
				w.Header().Set("Content-Encoding", "gzip")
				zw := kgzip.NewWriter(w)
				_, _ = zw.Write(b.Bytes())
				_ = zw.Close()
				return
			}
			w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
			_, _ = w.Write(b.Bytes())
		})
	}
	mux.HandleFunc("/write", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	})
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = srv.Close()
	}()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// splitBody returns the text between the values of an answer, much like an application's with HTTP and runtime metrics.
func splitBody(series, n int) []string {
	var parts []string
	var b strings.Builder
	for i := range series {
		if i%10 == 0 {
			fmt.Fprintf(&b, "# HELP app_requests_%d_total Requests handled by kind %d.\n# TYPE app_requests_%d_total counter\n", i/10, i/10, i/10)
		}
		fmt.Fprintf(&b, "app_requests_%d_total{method=\"GET\",path=\"/api/v1/resource/%d\",code=\"200\",shard=\"%d\"} ", i/10, i%10, n%7)
		parts = append(parts, b.String())
		b.Reset()
		b.WriteString("\n")
	}
	return append(parts, b.String())
}

// discard only counts.
type discard struct{ samples, bodies atomic.Int64 }

func (d *discard) Append(_ context.Context, _ signal.Kind, items int, _ []byte) error {
	d.samples.Add(int64(items))
	d.bodies.Add(1)
	return nil
}

// post compresses each body with zstd and posts it, as shipping does, but for the disk.
type post struct {
	discard
	url    string
	client *http.Client
	pool   sync.Pool
	wire   atomic.Int64
}

func (p *post) Append(ctx context.Context, k signal.Kind, items int, body []byte) error {
	z := p.pool.Get().(*zipper)
	defer p.pool.Put(z)
	z.buf = z.enc.EncodeAll(body, z.buf[:0])
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(z.buf))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Encoding", "zstd")
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	p.wire.Add(int64(len(z.buf)))
	return p.discard.Append(ctx, k, items, body)
}

type zipper struct {
	enc *zstd.Encoder
	buf []byte
}

func run(targets, series, only int, whole time.Duration, profile string) error {
	child := exec.Command(os.Args[0], "-serve", fmt.Sprint("-targets=", targets), fmt.Sprint("-series=", series)) //nolint:noctx,gosec // it is this program, and ends with its standard input
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		return err
	}
	out, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return fmt.Errorf("cannot start the targets: %w", err)
	}
	defer func() { _ = in.Close(); _ = child.Wait() }()
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return fmt.Errorf("cannot learn where the targets listen: %w", err)
	}
	addr = strings.TrimSpace(addr)

	fmt.Printf("%d targets × %d series, 2 rules of metric_relabel, text format; %s, GOMAXPROCS %d\n\n", targets, series, runtime.Version(), runtime.GOMAXPROCS(0))
	fmt.Println("| interval | answer | sink | samples | CPU s | M samples/core-s | RSS MiB | live heap MiB | bytes/sample on the wire |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|")
	type mode struct {
		interval    time.Duration
		compression string
		sink        string
		share       float64
	}
	modes := []mode{
		{5 * time.Second, scrape.CompressionOff, "zstd + HTTP", 0.54},
		{time.Second, scrape.CompressionOff, "zstd + HTTP", 0.16},
		{time.Second, scrape.CompressionOn, "zstd + HTTP", 0.16},
		{time.Second, scrape.CompressionOff, "discard", 0.14},
	}
	for i, m := range modes {
		if only >= 0 && i != only {
			continue
		}
		if only >= 0 {
			m.share = 1
		}
		if err := measure(addr, targets, m.interval, m.compression, m.sink, time.Duration(float64(whole)*m.share), profile); err != nil {
			return err
		}
	}
	return nil
}

// measure lets every target be scraped twice before it counts: the first scrape learns the series.
func measure(addr string, targets int, interval time.Duration, compression, sink string, length time.Duration, profile string) error {
	var rules []*relabel.Config
	if err := yaml.Unmarshal([]byte(`
- {source_labels: [__name__], regex: "go_.*", action: drop}
- {source_labels: [code], regex: "2..", target_label: class, replacement: ok}
`), &rules); err != nil {
		return err
	}
	cfg := scrape.DefaultConfig()
	t := scrape.TargetConfig{Job: "bench", Interval: interval, Timeout: interval, Compression: compression, MetricRelabel: rules, Service: "bench"}
	for n := range targets {
		t.URLs = append(t.URLs, fmt.Sprintf("http://%s/t/%d/metrics", addr, n))
	}
	cfg.Targets = []scrape.TargetConfig{t}
	p := &post{
		url: "http://" + addr + "/write", client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}},
		pool: sync.Pool{New: func() any {
			enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
			if err != nil {
				panic(err)
			}
			return &zipper{enc: enc}
		}},
	}
	var o signal.Output = p
	if sink == "discard" {
		o = &p.discard
	}
	s, err := scrape.New(cfg, "bench", o, metrics.NewSet(), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	wait(2*interval + 500*time.Millisecond) // the second scrape learns the comments
	runtime.GC()
	if profile != "" { // of the last line measured
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	cpu, n, wire := cpuTime(), p.samples.Load(), p.wire.Load()
	wait(max(length-2*interval, interval).Truncate(interval))
	cpu, n, wire = cpuTime()-cpu, p.samples.Load()-n, p.wire.Load()-wire
	rss := residentMiB()
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	cancel()
	if err := <-done; err != nil {
		return err
	}
	for _, st := range s.Targets() {
		if !st.Up {
			return fmt.Errorf("target %s is down: %s", st.URL, st.Error)
		}
	}
	perSample := "-"
	if sink != "discard" && n > 0 {
		perSample = fmt.Sprintf("%.2f", float64(wire)/float64(n))
	}
	fmt.Printf("| %s | %s | %s | %d | %.3f | %.2f | %.1f | %.1f | %s |\n", interval, map[string]string{"on": "gzip", "off": "plain"}[compression], sink,
		n, cpu.Seconds(), float64(n)/1e6/cpu.Seconds(), rss, float64(mem.HeapAlloc)/(1<<20), perSample)
	return nil
}

func wait(d time.Duration) { <-time.After(d) }

// cpuTime is the user and system time of this process.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func residentMiB() float64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		var kb float64
		if _, err := fmt.Sscanf(line, "VmRSS: %f kB", &kb); err == nil {
			return kb / 1024
		}
	}
	return 0
}
