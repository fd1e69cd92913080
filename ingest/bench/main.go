// Command bench measures what ingest costs: it starts itself as a server over store/local, sends to it
// over loopback HTTP, and divides what was acknowledged (after fsync) by the CPU time of the server process alone.
//
//	go run ./ingest/bench
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/ingest"
	"github.com/weirhq/weir/internal/access"
	"github.com/weirhq/weir/store/local"
)

func main() {
	var err error
	if dir := os.Getenv("WEIR_BENCH_DIR"); dir != "" {
		err = serve(dir)
	} else {
		err = measure(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// serve prints its address and answers until it is killed.
func serve(dir string) error {
	ctx := context.Background()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	set := metrics.NewSet()
	cfg := local.DefaultConfig()
	cfg.Dir = dir
	engine, err := local.Open(ctx, cfg, log, set)
	if err != nil {
		return err
	}
	icfg := ingest.DefaultConfig()
	icfg.SamplesPerSecond, icfg.SpansPerSecond, icfg.CellsPerSecond = 0, 0, 0
	in := ingest.New(icfg, engine, log, set)
	guard, err := access.New(access.DefaultConfig(), log, set)
	if err != nil {
		return err
	}
	h, err := guard.Handler(in.Routes())
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	fmt.Println(l.Addr())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	return errors.Join((&http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}).Serve(l), <-ended)
}

// child is a server process.
type child struct {
	cmd  *exec.Cmd
	url  string
	dir  string
	pipe io.ReadCloser
}

func start(ctx context.Context) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find this program: %w", err)
	}
	dir, err := os.MkdirTemp("", "weir-ingest-bench")
	if err != nil {
		return nil, fmt.Errorf("cannot make a folder: %w", err)
	}
	c := &child{cmd: exec.CommandContext(ctx, self), dir: dir}
	c.cmd.Env = append(os.Environ(), "WEIR_BENCH_DIR="+dir)
	c.cmd.Stderr = os.Stderr
	if c.pipe, err = c.cmd.StdoutPipe(); err != nil {
		return nil, fmt.Errorf("cannot read from the server: %w", err)
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start the server: %w", err)
	}
	var addr string
	if _, err := fmt.Fscanln(c.pipe, &addr); err != nil {
		return nil, errors.Join(fmt.Errorf("the server did not say its address: %w", err), c.stop())
	}
	c.url = "http://" + addr
	return c, nil
}

func (c *child) stop() error {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait() // killed, as meant
	return os.RemoveAll(c.dir)
}

// cpu is user and system time of the server so far.
func (c *child) cpu() (time.Duration, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(c.cmd.Process.Pid) + "/stat")
	if err != nil {
		return 0, fmt.Errorf("cannot read CPU time: %w", err)
	}
	_, rest, ok := strings.Cut(string(b), ") ") // the name of the program may hold blanks
	f := strings.Fields(rest)
	if !ok || len(f) < 13 {
		return 0, fmt.Errorf("cannot understand /proc/…/stat: %q", b)
	}
	user, err1 := strconv.ParseInt(f[11], 10, 64)
	sys, err2 := strconv.ParseInt(f[12], 10, 64)
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
	return time.Duration(user+sys) * tick, errors.Join(err1, err2)
}

// rss is the resident memory of the server in MiB.
func (c *child) rss() float64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(c.cmd.Process.Pid) + "/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	pages, _ := strconv.ParseFloat(f[1], 64)
	return pages * float64(os.Getpagesize()) / (1 << 20)
}

// row is one line of the table.
type row struct {
	what   string
	items  int
	wall   time.Duration
	cpu    time.Duration
	rss    float64
	answer time.Duration // mean time of a request
}

// phase runs f and measures the server meanwhile.
func (c *child) phase(what string, f func() (items, requests int, busy time.Duration, err error)) (row, error) {
	before, err := c.cpu()
	if err != nil {
		return row{}, err
	}
	began := time.Now()
	items, requests, busy, err := f()
	if err != nil {
		return row{}, fmt.Errorf("%s: %w", what, err)
	}
	r := row{what: what, items: items, wall: time.Since(began), rss: c.rss()}
	if requests > 0 {
		r.answer = busy / time.Duration(requests)
	}
	after, err := c.cpu()
	r.cpu = after - before
	return r, err
}

func measure(ctx context.Context) error {
	var rows []row
	c, err := start(ctx)
	if err != nil {
		return err
	}
	rows, err = measureSamples(ctx, c, rows)
	if err := errors.Join(err, c.stop()); err != nil {
		return err
	}
	if c, err = start(ctx); err != nil {
		return err
	}
	rows, err = measureSpans(ctx, c, rows)
	if err := errors.Join(err, c.stop()); err != nil {
		return err
	}
	fmt.Printf("%d cores, %s; acknowledged after fsync; CPU time of the server process alone.\n\n", runtime.NumCPU(), runtime.Version())
	fmt.Println("| what | items | wall s | server CPU s | items per CPU-second | mean answer | server RSS MiB |")
	fmt.Println("|---|---:|---:|---:|---:|---:|---:|")
	for _, r := range rows {
		fmt.Printf("| %s | %d | %.1f | %.2f | %.0f | %s | %.0f |\n", r.what, r.items, r.wall.Seconds(), r.cpu.Seconds(), float64(r.items)/r.cpu.Seconds(), r.answer.Round(100*time.Microsecond), r.rss)
	}
	return nil
}
