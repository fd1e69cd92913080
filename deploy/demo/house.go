package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/weirhq/weir/deploy/demo/clicks"
	"github.com/weirhq/weir/deploy/demo/stage"
)

// options of run and check.
type options struct {
	Weir      string        `default:"bin/weir" help:"The weir binary."`
	Collector string        `default:"bin/weir-collector" help:"The collector's binary."`
	Dir       string        `default:"weir-demo-data" help:"Folder for everything; made anew at each start."`
	Listen    string        `default:"127.0.0.1:9480" help:"Where weir's pages are served."`
	Control   string        `default:"127.0.0.1:9490" help:"Where the scenes are switched."`
	Rate      int           `default:"1000" help:"Records per second."`
	Window    time.Duration `default:"60s" help:"Event window of the audit."`
	Grace     time.Duration `default:"30s" help:"How long after a window's end its counts may still come in."`
	Sampling  float64       `default:"0.02" help:"Share of records that are traced."`
}

// house is the whole demo: broker, server, collector and applications.
type house struct {
	opt    options
	logger *slog.Logger
	self   string
	client *http.Client

	natsAddr, kafkaAddr, otlpGRPC, otlpHTTP, socket string
	apps                                            []app
	lock                                            *os.File // held until the demo ends

	mu        sync.Mutex
	processes map[string]*process
	playing   map[string]played // by pipeline; none = healthy
	stopping  bool
}

// played is the scene of a pipeline.
type played struct {
	scene string
	since time.Time
}

// app is one process of a pipeline; those of a smaller tier end first.
type app struct {
	name, service, pipeline, listen string
	tier                            int
}

// names of the pipelines, and of what belongs to weir itself.
const (
	ofOrders  = "orders"
	ofClicks  = clicks.Pipeline
	ofParcels = stage.Parcels
	ofWeir    = "weir"
)

func allApps() []app {
	return []app{
		{name: "producer-1", service: "producer", pipeline: ofOrders},
		{name: "enrich-1", service: "enrich", pipeline: ofOrders, tier: 1},
		{name: "enrich-2", service: "enrich", pipeline: ofOrders, tier: 1},
		{name: "enrich-3", service: "enrich", pipeline: ofOrders, tier: 1},
		{name: "sink-1", service: "sink", pipeline: ofOrders, tier: 2},
		{name: "split-1", service: "split", pipeline: ofOrders, tier: 2},
		{name: "tracker-1", service: "tracker", pipeline: ofClicks},
		{name: "packer-1", service: "packer", pipeline: ofParcels},
		{name: "courier-1", service: "courier", pipeline: ofParcels, tier: 1},
		{name: "sessions-1", service: "sessions", pipeline: ofClicks, tier: 1},
	}
}

func newHouse(opt options, logger *slog.Logger) (*house, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if opt.Dir, err = filepath.Abs(opt.Dir); err != nil {
		return nil, err
	}
	for _, b := range []string{opt.Weir, opt.Collector} {
		if _, err := os.Stat(b); err != nil {
			return nil, fmt.Errorf("cannot find %q: run `make build` first: %w", b, err)
		}
	}
	h := &house{opt: opt, logger: logger, self: self, processes: map[string]*process{}, playing: map[string]played{}, client: &http.Client{Timeout: 10 * time.Second}}
	// A socket's path must stay below 108 bytes, so it does not lie in the demo's folder.
	dir, err := os.MkdirTemp("", "weir-demo-")
	if err != nil {
		return nil, err
	}
	h.socket = filepath.Join(dir, "statsd.sock")
	h.apps = allApps()
	addrs, err := freeAddrs(4 + len(h.apps))
	if err != nil {
		return nil, err
	}
	h.natsAddr, h.otlpGRPC, h.otlpHTTP, h.kafkaAddr = addrs[0], addrs[1], addrs[2], addrs[3]
	for i := range h.apps {
		h.apps[i].listen = addrs[4+i]
	}
	return h, nil
}

// freeAddrs finds loopback ports that nobody uses now.
func freeAddrs(n int) ([]string, error) {
	var out []string
	var open []net.Listener
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
		if err != nil {
			return nil, err
		}
		open = append(open, l)
		out = append(out, l.Addr().String())
	}
	for _, l := range open {
		l.Close()
	}
	return out, nil
}

// start builds the house from the ground: broker, server, collector, applications.
func (h *house) start(ctx context.Context) error {
	if err := h.claim(); err != nil {
		return err
	}
	for _, d := range []string{"logs", "apps", "nats", "server", "collector"} {
		if err := os.MkdirAll(h.path(d), 0o755); err != nil {
			return fmt.Errorf("cannot make the demo's folder: %w", err)
		}
	}
	if err := os.WriteFile(h.path("server.yaml"), []byte(h.serverConfig()), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(h.path("collector.yaml"), []byte(h.collectorConfig()), 0o644); err != nil {
		return err
	}
	if err := h.spawn("broker", h.self, "broker", "--listen", h.natsAddr, "--dir", h.path("nats")); err != nil {
		return err
	}
	if err := h.spawn("kafka", h.self, "kafka", "--listen", h.kafkaAddr); err != nil {
		return err
	}
	if err := h.spawn("weir", h.opt.Weir, "server", "--config", h.path("server.yaml")); err != nil {
		return err
	}
	if err := h.await(ctx, "weir", "http://"+h.opt.Listen+"/-/ready"); err != nil {
		return err
	}
	if err := h.startCollector(); err != nil {
		return err
	}
	if err := h.awaitSocket(ctx); err != nil {
		return err
	}
	for _, a := range h.apps {
		if err := h.startApp(a); err != nil {
			return err
		}
	}
	for _, a := range h.apps {
		if err := h.await(ctx, a.name, "http://"+a.listen+"/metrics"); err != nil {
			return err
		}
	}
	return nil
}

// claim empties the demo's folder and keeps it locked while the demo runs. It touches nothing when the folder is
// somebody else's, or when weir could not be started anyway: another demo may be running there.
func (h *house) claim() error {
	l, err := net.Listen("tcp", h.opt.Listen) //nolint:noctx // closed at once
	if err != nil {
		return fmt.Errorf("cannot serve weir on %q: is another demo or weir running? choose another address with --listen: %w", h.opt.Listen, err)
	}
	l.Close()
	const marker = ".weir-demo"
	entries, err := os.ReadDir(h.opt.Dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot use %q as the demo's folder: choose another with --dir: %w", h.opt.Dir, err)
	}
	if len(entries) > 0 && !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == marker }) {
		return fmt.Errorf("folder %q is not empty and not the demo's: choose another with --dir", h.opt.Dir)
	}
	if err := os.MkdirAll(h.opt.Dir, 0o755); err != nil {
		return fmt.Errorf("cannot make the demo's folder: choose another with --dir: %w", err)
	}
	if h.lock, err = os.OpenFile(h.path(marker), os.O_CREATE|os.O_RDWR, 0o644); err != nil {
		return fmt.Errorf("cannot lock the demo's folder: choose another with --dir: %w", err)
	}
	if err := syscall.Flock(int(h.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("another demo runs in %q: end it, or choose another folder with --dir: %w", h.opt.Dir, err)
	}
	for _, e := range entries {
		if e.Name() == marker {
			continue
		}
		if err := os.RemoveAll(h.path(e.Name())); err != nil {
			return fmt.Errorf("cannot empty %q: %w", h.opt.Dir, err)
		}
	}
	return nil
}

func (h *house) path(name string) string { return filepath.Join(h.opt.Dir, name) }

func (h *house) startCollector() error {
	return h.spawn("collector", h.opt.Collector, "--config", h.path("collector.yaml"), "--listen", "")
}

func (h *house) startApp(a app) error {
	what, rate := "stage", h.opt.Rate
	switch a.pipeline {
	case ofClicks:
		what, rate = "clicks", h.clicks()
	case ofParcels:
		rate = h.clicks()
	}
	return h.spawn(a.name, h.self, what, a.service, "--name", a.name, "--nats", "nats://"+h.natsAddr, "--kafka", h.kafkaAddr, "--statsd", "unix://"+h.socket,
		"--otlp", h.otlpGRPC, "--listen", a.listen, "--dir", h.path("apps"), "--rate", strconv.Itoa(rate),
		"--window", h.opt.Window.String(), "--sampling", fmt.Sprint(h.opt.Sampling))
}

// clicks is how many clicks there are in a second, and parcels.
func (h *house) clicks() int { return max(h.opt.Rate/2, 20) }

// stop ends applications first, then what they depend on.
func (h *house) stop() {
	h.mu.Lock()
	h.stopping = true
	h.mu.Unlock()
	var groups [][]string
	for _, a := range h.apps {
		for len(groups) <= a.tier {
			groups = append(groups, nil)
		}
		groups[a.tier] = append(groups[a.tier], a.name)
	}
	groups = append(groups, []string{"collector"}, []string{"weir"}, []string{"broker", "kafka"})
	for _, names := range groups {
		var wg sync.WaitGroup
		for _, n := range names {
			wg.Go(func() { h.end(n, syscall.SIGTERM, 10*time.Second) })
		}
		wg.Wait()
	}
	if err := os.RemoveAll(filepath.Dir(h.socket)); err != nil {
		h.logger.Warn("cannot remove the socket's folder", "error", err)
	}
	h.release()
}

// release lets go of the demo's folder.
func (h *house) release() {
	if h.lock != nil {
		h.lock.Close()
		h.lock = nil
	}
}

// fault switches the applications of a pipeline, or those of one service of it.
func (h *house) fault(ctx context.Context, pipeline, service, kind string, n int) error {
	for _, a := range h.apps {
		if a.pipeline != pipeline || service != "" && a.service != service {
			continue
		}
		if err := h.faultOf(ctx, a, kind, n); err != nil {
			return err
		}
	}
	return nil
}

// faultOf switches one application; one that is just starting again is waited for.
func (h *house) faultOf(ctx context.Context, a app, kind string, n int) error {
	form := url.Values{"kind": {kind}, "n": {strconv.Itoa(n)}}
	for deadline := time.Now().Add(10 * time.Second); ; {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+a.listen+"/fault", strings.NewReader(form.Encode()))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := h.client.Do(req)
		if err == nil {
			b, err := io.ReadAll(io.LimitReader(resp.Body, 500))
			resp.Body.Close()
			if resp.StatusCode/100 != 2 {
				return fmt.Errorf("cannot switch %s: %s %s: %w", a.name, resp.Status, b, err)
			}
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("cannot switch %s: %w", a.name, err)
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// injected sums the injectors' ledgers by kind and window.
func (h *house) injected() (map[string]map[int64]int64, error) {
	entries, err := stage.ReadLedgers(h.path("apps"))
	if err != nil {
		return nil, err
	}
	out := map[string]map[int64]int64{}
	for _, e := range entries {
		k := e.Kind + " by " + e.Stage
		if out[k] == nil {
			out[k] = map[int64]int64{}
		}
		out[k][e.Window] += max(e.N, 1)
	}
	return out, nil
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	out := make([]K, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
