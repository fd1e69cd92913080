//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"golang.org/x/sys/unix"

	"github.com/weirhq/weir/collector/broker"
	"github.com/weirhq/weir/collector/signal"
	"github.com/weirhq/weir/collector/spool"
)

// warm is how many polls are not measured: the first one learns all names.
const warm = 2

// counted counts what goes into the spool.
type counted struct {
	signal.Output
	samples atomic.Int64
}

func (c *counted) Append(ctx context.Context, k signal.Kind, n int, body []byte) error {
	c.samples.Add(int64(n))
	return c.Output.Append(ctx, k, n, body)
}

// poll polls as a collector does, only more often, and tells what it cost.
func poll(s scenario, brokers []string, to io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "broker-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	set := metrics.NewSet()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	sp, err := spool.Open(dir, spool.DefaultConfig(), log, set)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sp.Close()) }()
	spooled, err := spool.NewOutput(sp)
	if err != nil {
		return err
	}
	out := &counted{Output: spooled}
	cfg := broker.KafkaConfig{Brokers: brokers, Cluster: "bench", Interval: 2 * time.Second, Timeout: 10 * time.Second, Owner: broker.OwnerAlways}
	p, err := broker.New(broker.Config{Kafka: []broker.KafkaConfig{cfg}}, "bench", out, nil, set, log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // what is spooled is taken away, as ship does
		for {
			r, err := sp.Next(ctx)
			if err != nil {
				return
			}
			sp.Ack(r.Seq)
		}
	}()
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()

	counter := func(name string) int {
		return int(set.GetOrCreateCounter(fmt.Sprintf(`%s{system="kafka",cluster="bench"}`, name)).Get())
	}
	at := func(n int) { // until n polls are in the spool and the next one has not begun
		for counter("weir_broker_polls_total") < n {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(cfg.Interval - 100*time.Millisecond)
	}
	at(warm)
	stop, err := profile()
	if err != nil {
		return err
	}
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
		return err
	}
	samples, reads, took := out.samples.Load(), counter("weir_broker_record_reads_total"), seconds(set)
	at(warm + s.Polls)
	if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
		return err
	}
	stop()
	system := float64(after.Stime.Nano()-before.Stime.Nano()) / 1e9
	r := result{
		Polls: counter("weir_broker_polls_total") - warm, Samples: int(out.samples.Load() - samples), Reads: counter("weir_broker_record_reads_total") - reads,
		Partial: counter("weir_broker_poll_failures_total"), Commits: s.Topics * s.Partitions * s.Groups, Took: seconds(set) - took,
		CPU: system + float64(after.Utime.Nano()-before.Utime.Nano())/1e9, System: system, RSS: memory("VmRSS:"), Peak: memory("VmHWM:"),
	}
	cancel()
	if err := <-done; err != nil {
		return err
	}
	return json.NewEncoder(to).Encode(r)
}

// seconds is how long all polls took.
func seconds(set *metrics.Set) float64 {
	var b strings.Builder
	set.WritePrometheus(&b)
	for line := range strings.Lines(b.String()) {
		if v, ok := strings.CutPrefix(line, `weir_broker_poll_seconds_sum{system="kafka",cluster="bench"} `); ok {
			f, _ := strconv.ParseFloat(strings.TrimSpace(v), 64)
			return f
		}
	}
	return 0
}

// memory returns a figure of this process in MiB.
func memory(name string) float64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, name); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(v)[0], 64)
			return kb / 1024
		}
	}
	return 0
}

// profile writes a CPU profile to the file that BENCH_PROFILE names, and one of the heap beside it.
func profile() (finish func(), err error) {
	path := os.Getenv("BENCH_PROFILE")
	if path == "" {
		return func() {}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
		if h, err := os.Create(path + ".heap"); err == nil {
			_ = pprof.WriteHeapProfile(h)
			_ = h.Close()
		}
	}, nil
}
