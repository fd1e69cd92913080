//go:build linux

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/VictoriaMetrics/metrics"
	"github.com/weirhq/weir/collector/signal"
	"github.com/weirhq/weir/collector/statsd"
	"golang.org/x/sys/unix"
)

// discard is an output that keeps nothing; the encoding before it is measured.
type discard struct{}

func (discard) Append(context.Context, signal.Kind, int, []byte) error { return nil }

type nobody struct{}

func (nobody) ByPID(int32) statsd.Tags             { return statsd.Tags{Node: "bench"} }
func (nobody) ByContainerField(string) statsd.Tags { return statsd.Tags{Node: "bench"} }
func (nobody) Self() statsd.Tags                   { return statsd.Tags{Node: "bench"} }

// receive runs a listener until in ends.
func receive(in io.Reader, out io.Writer) error {
	set := metrics.NewSet()
	cfg := statsd.DefaultConfig()
	cfg.UDP = "127.0.0.1:0"
	door := "statsd_udp"
	if os.Getenv("BENCH_UNIX") == "true" {
		dir, err := os.MkdirTemp("", "statsd-bench")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		cfg.UDP, cfg.Unix, door = "", filepath.Join(dir, "socket"), "statsd_unix"
	}
	if v := os.Getenv("BENCH_READERS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			return err
		}
		cfg.Readers = n
	}
	l := statsd.New(cfg, nobody{}, nil, discard{}, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})), set)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	if err := l.Listen(ctx); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	finish, err := profile()
	if err != nil {
		return err
	}
	var before, after unix.Rusage // without what it takes to start a process
	if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, cmp.Or(cfg.Unix, fmt.Sprint(l.UDPAddr()))); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	rss := memory()
	stop()
	if err := <-done; err != nil {
		return err
	}
	finish()
	if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
		return err
	}
	system := float64(after.Stime.Nano()-before.Stime.Nano()) / 1e9
	user := float64(after.Utime.Nano()-before.Utime.Nano()) / 1e9
	return json.NewEncoder(out).Encode(map[string]any{
		"Received": set.GetOrCreateCounter(`weir_collector_accepted_total{door="` + door + `"}`).Get(),
		"Packets":  set.GetOrCreateCounter(`weir_statsd_packets_total{door="` + door + `"}`).Get(),
		"Kernel":   set.GetOrCreateCounter(`weir_collector_kernel_drops_total{door="` + door + `"}`).Get(),
		"CPU":      user + system,
		"System":   system,
		"RSS":      rss,
	})
}

// memory returns the resident set of this process in MiB.
func memory() float64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	pages, err := strconv.ParseFloat(f[1], 64)
	if err != nil {
		return 0
	}
	return pages * float64(os.Getpagesize()) / (1 << 20)
}
