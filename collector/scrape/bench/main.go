// Command bench measures what scraping and shipping costs a node (bars P3 and P4): 50 targets × 1000 series.
//
// It starts the weir-collector binary as it is shipped, with its spool on disk, and another process that is the
// targets and the remote-write receiver. Only the collector's CPU is counted, and only samples that arrived at the
// receiver. Each target is scraped twice before the measurement begins. It prints a markdown table.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

type options struct {
	targets, series int
	only            int
	collector, dir  string
	profile         string
}

func main() {
	serve := flag.Bool("serve", false, "be the targets and the receiver (started by the bench itself)")
	churn := flag.Int("churn", 0, "with -serve: every n-th series is missing in every other answer")
	var o options
	flag.IntVar(&o.targets, "targets", 50, "targets")
	flag.IntVar(&o.series, "series", 1000, "series of each target")
	flag.StringVar(&o.collector, "collector", "", "weir-collector binary; empty: build it from ./cmd/weir-collector")
	flag.StringVar(&o.dir, "dir", "", "where the spool's folder is made; empty: the folder for temporary files")
	flag.StringVar(&o.profile, "cpuprofile", "", "write a CPU profile of the collector to this file; its own cost is in the figures then")
	flag.IntVar(&o.only, "only", -1, "measure only this line of the table")
	flag.Parse()
	var err error
	if *serve {
		err = serveTargets(o.targets, o.series, *churn)
	} else {
		err = o.run(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// mode is a line of the table.
type mode struct {
	interval    time.Duration
	rounds      int // scrapes of each target that count
	compression string
	churn       int
	spool       string
}

var modes = []mode{
	{5 * time.Second, 3, "off", 0, "zstd"},
	{time.Second, 10, "off", 0, "zstd"},
	{time.Second, 5, "off", 100, "zstd"},
}

func (o options) run(ctx context.Context) error {
	dir, err := os.MkdirTemp(o.dir, "weir-scrape-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if o.collector == "" {
		o.collector = filepath.Join(dir, "weir-collector")
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", o.collector, "./cmd/weir-collector")
		build.Env, build.Stderr = append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("cannot build the collector: %w: run the bench in the root of the repository, or name a binary with -collector", err)
		}
	}
	fmt.Printf("%d targets × %d series, 2 rules of metric_relabel, text format, zstd, HTTP; spool with fsync in %s; %s, %d CPUs\n\n",
		o.targets, o.series, filepath.Dir(dir), runtime.Version(), runtime.NumCPU())
	fmt.Println("| interval | series that come and go | samples | of them stale | CPU s | M samples/core-s | RSS MiB | peak RSS MiB | bytes/sample on the wire | requests |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|")
	for i, m := range modes {
		if o.only >= 0 && i != o.only {
			continue
		}
		if err := o.measure(ctx, m, filepath.Join(dir, strconv.Itoa(i))); err != nil {
			return err
		}
	}
	return nil
}

func (o options) measure(ctx context.Context, m mode, dir string) error {
	self := exec.CommandContext(ctx, os.Args[0], "-serve", fmt.Sprint("-targets=", o.targets), fmt.Sprint("-series=", o.series), fmt.Sprint("-churn=", m.churn)) //nolint:gosec // it is this program, and ends with its standard input
	self.Stderr = os.Stderr
	in, err := self.StdinPipe()
	if err != nil {
		return err
	}
	out, err := self.StdoutPipe()
	if err != nil {
		return err
	}
	if err := self.Start(); err != nil {
		return fmt.Errorf("cannot start the targets: %w", err)
	}
	defer func() { _ = in.Close(); _ = self.Wait() }()
	server, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return fmt.Errorf("cannot learn where the targets listen: %w", err)
	}
	server = strings.TrimSpace(server)

	file := filepath.Join(dir, "collector.yaml")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(file, o.config(m, server, dir), 0o600)); err != nil {
		return err
	}
	internal, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	var complaints strings.Builder
	c := exec.CommandContext(ctx, o.collector, "-config", file, "-listen", internal)
	c.Stderr = &complaints
	if err := c.Start(); err != nil {
		return fmt.Errorf("cannot start the collector %q: %w", o.collector, err)
	}
	running := true
	defer func() {
		if running {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	}()

	wait(2*m.interval + 6*time.Second) // the first scrape learns the series, the second the comments; then garbage goes
	length := time.Duration(m.rounds) * m.interval
	profiled := make(chan error, 1)
	go func() { profiled <- o.saveProfile(ctx, internal, length) }()
	before, err := look(ctx, c.Process.Pid, server)
	if err != nil {
		return fmt.Errorf("%w; the collector says:\n%s", err, complaints.String())
	}
	wait(length)
	after, err := look(ctx, c.Process.Pid, server)
	if err != nil {
		return err
	}
	rss, peak, err := resident(c.Process.Pid)
	if err != nil {
		return err
	}
	if err := <-profiled; err != nil {
		return err
	}
	running = false
	if err := errors.Join(c.Process.Signal(os.Interrupt), c.Wait()); err != nil {
		return fmt.Errorf("the collector failed: %w:\n%s", err, complaints.String())
	}

	got := tally{
		after.Samples - before.Samples, after.Stale - before.Stale, after.Relabelled - before.Relabelled,
		after.Bytes - before.Bytes, after.Requests - before.Requests,
	}
	want := uint64(o.targets * o.series * m.rounds)
	if got.Relabelled < want*95/100 {
		return fmt.Errorf("only %d relabelled samples of %d arrived; the collector says:\n%s", got.Relabelled, want, complaints.String())
	}
	come := "none"
	if m.churn > 0 {
		come = fmt.Sprintf("1 in %d", m.churn)
	}
	cpu := (after.cpu - before.cpu).Seconds()
	fmt.Printf("| %s | %s | %d | %d | %.3f | %.2f | %.1f | %.1f | %.2f | %d |\n", m.interval, come, got.Samples, got.Stale,
		cpu, float64(got.Samples)/1e6/cpu, rss, peak, float64(got.Bytes)/float64(got.Samples), got.Requests)
	return nil
}

// config leaves all receivers on that idle here; the node's own metrics are off, since they are no part of the measurement.
func (o options) config(m mode, server, dir string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `node: bench
data_dir: %q
statsd: {udp: "127.0.0.1:0"}
otlp: {grpc: "127.0.0.1:0", http: "127.0.0.1:0"}
host: {node: false, containers: false, pressure: false}
server: {url: "http://%s"}
spool: {compression: %s}
scrape:
  targets:
    - job: bench
      service: bench
      interval: %s
      compression: %q
      metric_relabel:
        - {source_labels: [__name__], regex: "go_.*", action: drop}
        - {source_labels: [code], regex: "2..", target_label: class, replacement: ok}
      urls:
`, dir, server, m.spool, m.interval, m.compression)
	for n := range o.targets {
		fmt.Fprintf(&b, "        - http://%s/t/%d/metrics\n", server, n)
	}
	return []byte(b.String())
}

type state struct {
	tally
	cpu time.Duration
}

// look reads the receiver's counts and the collector's CPU time at about one moment.
func look(ctx context.Context, pid int, server string) (s state, err error) {
	body, err := get(ctx, "http://"+server+"/tally")
	if err != nil {
		return s, err
	}
	if _, err := fmt.Sscan(string(body), &s.Samples, &s.Stale, &s.Relabelled, &s.Bytes, &s.Requests); err != nil {
		return s, fmt.Errorf("cannot read the tally %q: %w", body, err)
	}
	// The clock of another process, user and system time in nanoseconds: clock_getcpuclockid(3).
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &ts); err != nil {
		return s, fmt.Errorf("cannot read the CPU time of process %d: %w", pid, err)
	}
	s.cpu = time.Duration(ts.Nano())
	return s, nil
}

func (o options) saveProfile(ctx context.Context, internal string, length time.Duration) error {
	if o.profile == "" {
		return nil
	}
	p, err := get(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", internal, int(length.Seconds())))
	if err != nil {
		return err
	}
	return os.WriteFile(o.profile, p, 0o600)
}

func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s: %s", url, resp.Status, b)
	}
	return b, err
}

func freeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// resident returns the memory of a process in MiB: now, and at most.
func resident(pid int) (now, peak float64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		var kb float64
		if _, err := fmt.Sscanf(line, "VmRSS: %f kB", &kb); err == nil {
			now = kb / 1024
		}
		if _, err := fmt.Sscanf(line, "VmHWM: %f kB", &kb); err == nil {
			peak = kb / 1024
		}
	}
	return now, peak, nil
}

func wait(d time.Duration) { <-time.After(d) }
