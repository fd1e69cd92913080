// Command weir-collector is the lean node agent: it receives statsd, scrapes, takes OTLP and polls brokers as its
// configuration says, and ships what it gets to a weir server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/collector"
)

// version is set by the linker.
var version = "dev"

// For the garbage collector, unless GOMEMLIMIT and GOGC say otherwise. A collector allocates little once it knows its
// series, so collecting early costs little and keeps the node's memory free.
const (
	memoryLimit = 256 << 20
	gcPercent   = 25
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return
	}
	fmt.Fprintln(os.Stderr, "weir-collector:", err)
	os.Exit(1)
}

func run(ctx context.Context, args []string, out, errOut io.Writer) error {
	flags := flag.NewFlagSet("weir-collector", flag.ContinueOnError)
	flags.SetOutput(errOut)
	file := flags.String("config", "", "configuration file (YAML); without one the defaults hold")
	check := flags.Bool("check", false, "check the configuration and exit")
	listen := flags.String("listen", "127.0.0.1:9481", "internal address for /metrics, /-/healthy, /-/ready and /debug/pprof; empty for none")
	verbose := flags.Bool("verbose", false, "log more")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.Arg(0) == "version" {
		_, err := fmt.Fprintln(out, "weir-collector", version)
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("cannot do %q: give -config file, -check or version", flags.Arg(0))
	}
	cfg := collector.DefaultConfig()
	if *file != "" {
		var err error
		if cfg, err = collector.Load(*file); err != nil {
			return err
		}
	}
	set := metrics.NewSet()
	level := slog.LevelInfo
	if *verbose {
		level = slog.LevelDebug
	}
	c, err := collector.New(cfg, version, slog.New(slog.NewTextHandler(errOut, &slog.HandlerOptions{Level: level})), set)
	if err != nil {
		return err
	}
	if *check {
		_, err := fmt.Fprintln(out, "configuration is good")
		return err
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if *listen != "" {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *listen)
		if err != nil {
			return fmt.Errorf("cannot listen on the internal address: %w: choose another with -listen", err)
		}
		server := &http.Server{Handler: internal(c, set), ReadHeaderTimeout: 10 * time.Second}
		go func() { _ = server.Serve(l) }()
		defer func() { _ = server.Close() }()
	}
	go trim(ctx)
	return c.Run(ctx)
}

// trim gives back the memory that learning the series took, which the runtime by itself does over many minutes: soon after
// the start, then ever more rarely, since each time costs a garbage collection.
func trim(ctx context.Context) {
	wait := 5 * time.Second
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
			debug.FreeOSMemory()
			wait = min(2*wait, 10*time.Minute)
		}
	}
}

// internal serves what operators of the collector ask for.
func internal(c *collector.Collector, set *metrics.Set) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		set.WritePrometheus(w)
		metrics.WriteProcessMetrics(w)
	})
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "healthy\n") })
	mux.HandleFunc("GET /-/ready", func(w http.ResponseWriter, _ *http.Request) {
		select {
		case <-c.Ready():
			_, _ = io.WriteString(w, "ready\n")
		default:
			http.Error(w, "starting", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	return mux
}
