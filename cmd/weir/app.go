package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/go-kit/log"
	"github.com/grafana/dskit/modules"
	"github.com/grafana/dskit/services"
	"google.golang.org/grpc"

	"github.com/weirhq/weir/alerts"
	"github.com/weirhq/weir/collector"
	"github.com/weirhq/weir/ingest"
	"github.com/weirhq/weir/internal/access"
	"github.com/weirhq/weir/query"
	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/api"
	"github.com/weirhq/weir/query/live"
	"github.com/weirhq/weir/query/pipeline"
	"github.com/weirhq/weir/query/pipeline/telemetry"
	"github.com/weirhq/weir/query/prom"
	"github.com/weirhq/weir/query/trace"
	"github.com/weirhq/weir/store"
	"github.com/weirhq/weir/store/local"
	"github.com/weirhq/weir/ui"
)

// app is the assembled house. Everything is built before anything runs.
type app struct {
	cfg    Config
	logger *slog.Logger
	set    *metrics.Set
	ready  atomic.Bool

	guard     *access.Guard
	engine    *local.Engine
	ingest    *ingest.Ingest
	query     *query.Engine
	pipelines *pipeline.Service
	alerts    *alerts.Manager
	live      *live.Hub
	collector *collector.Collector

	listener net.Listener // HTTP
	grpcL    net.Listener
	table    []access.Route // what handler serves
	handler  http.Handler
}

// source answers the pages from the parts that know.
type source struct {
	*pipeline.Service
	traces *trace.Service
	alerts *alerts.Manager
}

func (s source) Traces(ctx context.Context, t store.Tenant, q store.SpanQuery) (answer.Traces, error) {
	return s.traces.Traces(ctx, t, q)
}

func (s source) Trace(ctx context.Context, t store.Tenant, id string) (answer.Trace, error) {
	return s.traces.Trace(ctx, t, id)
}

func (s source) Alerts(ctx context.Context, t store.Tenant) (answer.Alerts, error) {
	return s.alerts.Alerts(ctx, t)
}

// newApp opens listeners and storage first, because they are what most often cannot be had.
func newApp(ctx context.Context, cfg Config, logger *slog.Logger) (_ *app, err error) {
	a := &app{cfg: cfg, logger: logger, set: metrics.NewSet()}
	var undo []func()
	defer func() {
		if err != nil {
			for _, f := range undo {
				f()
			}
		}
	}()
	if a.guard, err = access.New(cfg.Auth, part(logger, "access"), a.set); err != nil {
		return nil, err
	}
	if a.listener, err = listen(ctx, "http.listen", cfg.HTTP.Listen); err != nil {
		return nil, err
	}
	undo = append(undo, func() { a.listener.Close() })
	if cfg.HTTP.OTLPGRPC != "" {
		if a.grpcL, err = listen(ctx, "http.otlp_grpc", cfg.HTTP.OTLPGRPC); err != nil {
			return nil, err
		}
		undo = append(undo, func() { a.grpcL.Close() })
	}
	if a.engine, err = local.Open(ctx, cfg.Store, part(logger, "store"), a.set); err != nil {
		return nil, err
	}
	undo = append(undo, func() { a.closeEngine(ctx) })
	a.ingest = ingest.New(cfg.Ingest, a.engine, part(logger, "ingest"), a.set)
	a.query = query.New(cfg.Query, a.engine.Metrics(), part(logger, "query"), a.set)
	a.pipelines = a.newPipelines()
	a.alerts = alerts.New(cfg.Alerts, a.pipelines, a.engine.Catalog(), a.tenants, part(logger, "alerts"), a.set)
	src := source{Service: a.pipelines, traces: trace.New(a.engine.Spans()), alerts: a.alerts}
	a.live = live.New(cfg.Live, src, a.query, part(logger, "live"), a.set)
	a.table = a.routes(src)
	if a.handler, err = a.guard.Handler(a.table); err != nil {
		return nil, err
	}
	if cfg.Collector.Enabled {
		// Port 0 is known only now.
		if k := &cfg.Collector.Server; k.URL == "http://"+reachable(cfg.HTTP.Listen) {
			k.URL = "http://" + reachable(a.listener.Addr().String())
		}
		if a.collector, err = collector.New(cfg.Collector.Config, version, logger, metrics.NewSet()); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// closeEngine ends an engine that never ran: Run with an ended context flushes and closes.
func (a *app) closeEngine(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	if err := a.engine.Run(ctx); err != nil {
		a.logger.Warn("cannot close the store", "error", err)
	}
}

func listen(ctx context.Context, name, addr string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s %q: is another weir running, or the port taken? choose another address: %w", name, addr, err)
	}
	return l, nil
}

func part(l *slog.Logger, name string) *slog.Logger { return l.With("part", name) }

// newPipelines tells the evaluation what it cannot read from the store.
func (a *app) newPipelines() *pipeline.Service {
	return pipeline.New(a.cfg.Pipelines, a.engine, part(a.logger, "pipelines"), a.set, pipeline.Extras{
		Collectors: func() []telemetry.Collector {
			var out []telemetry.Collector
			for _, c := range a.ingest.Collectors() {
				out = append(out, telemetry.Collector{Tenant: c.Tenant, Node: c.Node, Epoch: c.Epoch, LastSeen: c.LastSeen, Gaps: int64(c.Gaps)})
			}
			return out
		},
		Tenants: a.ingestTenants,
		Ingest:  a.set,
		Version: version,
	})
}

// ingestTenants are those whose collectors were heard of.
func (a *app) ingestTenants() []store.Tenant {
	seen := map[store.Tenant]bool{}
	var out []store.Tenant
	for _, c := range a.ingest.Collectors() {
		if !seen[c.Tenant] {
			seen[c.Tenant] = true
			out = append(out, c.Tenant)
		}
	}
	return out
}

// tenants lists whose pipelines are judged by the alerts: all that are evaluated, and those with collectors.
func (a *app) tenants() []store.Tenant {
	out := append(a.ingestTenants(), a.pipelines.Tenants()...)
	out = append(out, store.DefaultTenant)
	slices.Sort(out)
	return slices.Compact(out)
}

func (a *app) routes(src source) []access.Route {
	rec := &recorder{}
	api.Register(humago.New(rec, api.Config(version)), src, query.Tenant, query.Caller)
	routes := rec.routes
	routes = append(routes, a.guard.Routes()...)
	routes = append(routes, a.ingest.Routes()...)
	routes = append(routes, prom.New(a.query, a.engine.Metrics(), src.Alerts, version, part(a.logger, "prom")).Routes()...)
	routes = append(routes, trace.Routes(a.engine.Spans(), query.Tenant)...)
	routes = append(routes, a.live.Routes()...)
	fn := func(pattern string, need access.Permission, f http.HandlerFunc) {
		routes = append(routes, access.Route{Pattern: pattern, Need: need, Handler: f})
	}
	fn("GET /-/healthy", access.Public, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	fn("GET /-/ready", access.Public, func(w http.ResponseWriter, _ *http.Request) {
		if !a.ready.Load() {
			http.Error(w, "starting or stopping", http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusOK)
	})
	fn("GET /metrics", access.Query, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		a.set.WritePrometheus(w)
		metrics.WriteProcessMetrics(w)
	})
	fn("GET /debug/pprof/", access.Admin, pprof.Index)
	fn("GET /debug/pprof/profile", access.Admin, pprof.Profile)
	fn("GET /debug/pprof/trace", access.Admin, pprof.Trace)
	fn("GET /debug/pprof/cmdline", access.Admin, pprof.Cmdline)
	fn("GET /debug/pprof/symbol", access.Admin, pprof.Symbol)
	return append(routes, access.Route{Pattern: "GET /", Need: access.Public, Handler: ui.Handler()})
}

// recorder takes huma's routes into the route table, so that they pass the same guard as all others.
type recorder struct{ routes []access.Route }

func (r *recorder) HandleFunc(pattern string, f func(http.ResponseWriter, *http.Request)) {
	r.routes = append(r.routes, access.Route{Pattern: pattern, Need: needOf(pattern), Handler: http.HandlerFunc(f)})
}

// needOf is what a caller of weir's own API needs: what changes what others see is for administrators; a deploy script
// that may send data may also say what it did.
func needOf(pattern string) access.Permission {
	method, path, _ := strings.Cut(pattern, " ")
	switch {
	case method == http.MethodPost && path == "/api/v1/annotations":
		return access.Ingest
	case method == http.MethodGet, strings.HasSuffix(path, "/check"):
		return access.Query
	default:
		return access.Admin
	}
}

func (*recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }

// Names of the modules; each waits for those it depends on, and stops before them.
const (
	modStore     = "store"
	modGuard     = "access"
	modIngest    = "ingest"
	modPipelines = "pipelines"
	modAlerts    = "alerts"
	modLive      = "live"
	modHTTP      = "http"
	modCollector = "collector"
)

// Run serves until ctx ends, then stops: the collector first, which hands over what it holds, then the
// doors, then the evaluation, at last the store.
func (a *app) Run(ctx context.Context) error {
	mm := modules.NewManager(log.NewNopLogger())
	// The first part that fails says why; what the others say then, and what the modules make of it, only follows from that.
	var cause atomic.Pointer[error]
	register := func(name string, f func(context.Context) error, deps ...string) {
		run := func(ctx context.Context) error {
			err := f(ctx)
			if err != nil {
				cause.CompareAndSwap(nil, &err)
			}
			return err
		}
		s := services.NewBasicService(nil, run, nil)
		if name == modCollector {
			s = startThenRun(run, a.collector.Ready())
		}
		mm.RegisterModule(name, func() (services.Service, error) { return s.WithName(name), nil })
		if err := mm.AddDependency(name, deps...); err != nil {
			// Only a name that is not registered yet can fail, which the order below rules out.
			panic(err)
		}
	}
	register(modStore, a.engine.Run)
	register(modGuard, a.guard.Run)
	register(modIngest, a.ingest.Run, modStore)
	register(modPipelines, a.pipelines.Run, modStore)
	register(modAlerts, a.alerts.Run, modPipelines)
	register(modLive, a.live.Run, modPipelines)
	register(modHTTP, a.serveHTTP, modIngest, modAlerts, modLive, modGuard)
	top := modHTTP
	if a.collector != nil {
		register(modCollector, a.collector.Run, modHTTP)
		top = modCollector
	}
	named, err := mm.InitModuleServices(top)
	if err != nil {
		return fmt.Errorf("cannot assemble the server: %w", err)
	}
	all := make([]services.Service, 0, len(named))
	for _, s := range named {
		all = append(all, s)
	}
	sm, err := services.NewManager(all...)
	if err != nil {
		return fmt.Errorf("cannot assemble the server: %w", err)
	}
	sm.AddListener(services.NewManagerListener(func() {
		a.ready.Store(true)
		a.logger.Info("weir is ready", "version", version, "address", "http://"+a.listener.Addr().String()+"/", "data_dir", a.cfg.DataDir)
	}, nil, func(s services.Service) {
		if err := s.FailureCase(); !errors.Is(err, context.Canceled) && !errors.Is(err, modules.ErrStopProcess) {
			cause.CompareAndSwap(nil, &err)
		}
		sm.StopAsync()
	}))
	if err := sm.StartAsync(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		a.ready.Store(false)
		a.logger.Info("stopping")
		sm.StopAsync()
	})
	defer stop()
	if err := sm.AwaitStopped(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	if err := cause.Load(); err != nil {
		return *err
	}
	a.logger.Info("stopped")
	return nil
}

// startThenRun makes a service that counts as started when ready is closed.
func startThenRun(run func(context.Context) error, ready <-chan struct{}) *services.BasicService {
	ended := make(chan error, 1)
	return services.NewBasicService(func(ctx context.Context) error {
		go func() { ended <- run(ctx) }()
		select {
		case <-ready:
			return nil
		case err := <-ended:
			ended <- nil
			return err
		}
	}, func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case err := <-ended:
			ended <- nil
			return err
		}
	}, func(error) error { return <-ended })
}

// serveHTTP serves the HTTP and gRPC doors.
func (a *app) serveHTTP(ctx context.Context) error {
	srv := &http.Server{
		Handler: a.handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(part(a.logger, "http").Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 2)
	go func() { failed <- srv.Serve(a.listener) }()
	var g *grpc.Server
	if a.grpcL != nil {
		g = grpc.NewServer(append(a.ingest.ServerOptions(), grpc.UnaryInterceptor(a.guard.UnaryInterceptor(access.Ingest)))...)
		a.ingest.RegisterGRPC(g)
		go func() { failed <- g.Serve(a.grpcL) }()
	}
	select {
	case err := <-failed:
		return fmt.Errorf("cannot serve: %w", err)
	case <-ctx.Done():
	}
	a.ready.Store(false)
	if g != nil {
		g.Stop()
	}
	sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.HTTP.Shutdown)
	defer cancel()
	if err := srv.Shutdown(sctx); err != nil {
		// Open live connections are closed by their hub; whatever else is left had its time.
		_ = srv.Close()
	}
	return nil
}
