// Package stage holds the demo's real applications: producer, enrich, sink and split, each run as a process of its own.
//
// Records go through NATS JetStream (orders, then enriched) into a file, and a copy of each to three streams; the processes send DogStatsD over the
// collector's Unix socket and spans over OTLP, and expose /metrics, as any application would. Faults are
// switched over HTTP; what an injector really did is written to its own ledger, independent of weir.
package stage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/weirhq/weir/collector/client"
)

// Names of the demo's pipeline.
const (
	Pipeline = "orders"
	Orders   = "orders"   // stream from producer to enrich
	Enriched = "enriched" // stream from enrich to sink
	Table    = "warehouse"
	Dead     = "dead" // dead letters of enrich
	mail     = "mail" // the branch that loses records when split drops
)

// branches are the streams to which split copies every enriched order.
var branches = [...]string{"billing", "stock", mail}

// ackWait is how long the broker waits for an acknowledgement before it delivers a record again.
const ackWait = 10 * time.Second

// Config of one process.
type Config struct {
	Name     string        // producer-1, enrich-2, sink-1
	Service  string        // producer, enrich, sink, split, packer, courier
	NATS     string        // nats://127.0.0.1:port
	Statsd   string        // unix:///…/statsd.sock
	OTLP     string        // host:port of the collector's gRPC door
	Listen   string        // of /metrics and /fault
	Dir      string        // for the ledger and the sink's file
	Rate     int           // records per second (producer)
	Window   time.Duration // event window of the audit
	Sampling float64       // share of traces that are sent; packer keeps one of ten
}

// base is what the applications have in common.
type base struct {
	cfg    Config
	logger *slog.Logger
	nc     *nats.Conn
	js     jetstream.JetStream
	audit  *client.Client
	sends  sync.Mutex // one flush of audit at a time
	tracer trace.Tracer
	flush  func(context.Context) error
	set    *metrics.Set
	ledger *Ledger
	fault  faults
	wg     sync.WaitGroup
}

// faults are the switches of one process; zero means healthy.
type faults struct {
	slowPerSec   atomic.Int64 // at most so many records per second
	stalled      atomic.Bool  // takes nothing
	dropEvery    atomic.Int64 // loses every n-th record without a word
	doubleEvery  atomic.Int64 // writes every n-th record twice
	ratePerSec   atomic.Int64 // producer: instead of the configured rate
	filterOfTen  atomic.Int64 // leaves out so many of ten, and says so
	deadEvery    atomic.Int64 // puts every n-th record into the dead-letter stream
	lateEvery    atomic.Int64 // sends every n-th record on a detour longer than the window
	seen, writes atomic.Int64
}

func newBase(ctx context.Context, cfg Config, logger *slog.Logger) (*base, error) {
	b := &base{cfg: cfg, logger: logger, set: metrics.NewSet()}
	var err error
	if b.ledger, err = OpenLedger(filepath.Join(cfg.Dir, cfg.Name+".ledger")); err != nil {
		return nil, err
	}
	b.audit, err = client.New(client.Config{
		Addr: cfg.Statsd, Pipeline: Pipeline, Stage: cfg.Service, Service: cfg.Service, Instance: cfg.Name,
		Window: cfg.Window, Flush: 200 * time.Millisecond,
	})
	if err != nil {
		return nil, err
	}
	if b.nc, err = nats.Connect(cfg.NATS, nats.MaxReconnects(-1), nats.Name(cfg.Name), nats.RetryOnFailedConnect(true)); err != nil {
		return nil, fmt.Errorf("cannot reach the broker at %q: %w", cfg.NATS, err)
	}
	if b.js, err = jetstream.New(b.nc, jetstream.WithPublishAsyncMaxPending(4000)); err != nil {
		return nil, err
	}
	exp, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(cfg.OTLP), otlptracegrpc.WithInsecure(),
		otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{Enabled: true, InitialInterval: time.Second, MaxInterval: 5 * time.Second, MaxElapsedTime: 10 * time.Minute}))
	if err != nil {
		return nil, fmt.Errorf("cannot prepare spans for %q: %w", cfg.OTLP, err)
	}
	res := resource.NewSchemaless(
		attribute.String("service.name", cfg.Service), attribute.String("service.version", "1.0.0"),
		attribute.String("service.instance.id", cfg.Name), attribute.String("container.id", cfg.Name))
	// Keeping a trace is decided once at the source by its id; children follow.
	root := sdktrace.TraceIDRatioBased(cfg.Sampling)
	if cfg.Service == "packer" {
		root = oneOfTen{}
	}
	tp := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exp, sdktrace.WithBatchTimeout(time.Second)), sdktrace.WithResource(res),
		sdktrace.WithSampler(sdktrace.ParentBased(root)))
	b.tracer, b.flush = tp.Tracer("weir-demo"), tp.Shutdown
	return b, nil
}

// run serves metrics and switches beside work until ctx ends.
func (b *base) run(ctx context.Context, work func(context.Context) error) error {
	stop, err := Serve(ctx, b.cfg.Listen, b.set, b.setFault, b.logger.With("name", b.cfg.Name))
	if err != nil {
		return err
	}
	auditCtx, stopAudit := context.WithCancel(context.WithoutCancel(ctx))
	b.wg.Go(func() { b.tell(auditCtx) })
	err = work(ctx)
	stopAudit()
	shut, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if ferr := b.flush(shut); ferr != nil {
		b.logger.Warn("last spans are not sent", "error", ferr)
	}
	stop()
	b.wg.Wait()
	b.nc.Close()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, b.ledger.Close())
}

// tell sends the counts five times a second until ctx ends, and once more then.
func (b *base) tell(ctx context.Context) {
	t := time.NewTicker(200 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			b.flushCounts(context.WithoutCancel(ctx))
			return
		case <-t.C:
			b.flushCounts(ctx)
		}
	}
}

// flushCounts sends what was counted so far. Stages call it before they acknowledge a batch: what a crash leaves uncounted is
// delivered again.
func (b *base) flushCounts(ctx context.Context) {
	b.sends.Lock()
	defer b.sends.Unlock()
	b.audit.Flush(ctx)
}

// setFault takes one fault: kind=none|slow|stall|drop|double|rate|filter|dead|late, n its figure.
func (b *base) setFault(w http.ResponseWriter, r *http.Request) {
	var n int64
	if s := r.FormValue("n"); s != "" {
		if _, err := fmt.Sscan(s, &n); err != nil || n < 0 {
			http.Error(w, fmt.Sprintf("n is %q: must be a whole number from 0", s), http.StatusBadRequest)
			return
		}
	}
	f := &b.fault
	kind := r.FormValue("kind")
	switch kind {
	case "none":
		f.slowPerSec.Store(0)
		f.stalled.Store(false)
		f.dropEvery.Store(0)
		f.doubleEvery.Store(0)
		f.ratePerSec.Store(0)
		f.filterOfTen.Store(0)
		f.deadEvery.Store(0)
		f.lateEvery.Store(0)
	case "slow":
		f.slowPerSec.Store(n)
	case "stall":
		f.stalled.Store(true)
	case "drop":
		f.dropEvery.Store(n)
	case "double":
		f.doubleEvery.Store(n)
	case "rate":
		f.ratePerSec.Store(n)
	case "filter":
		f.filterOfTen.Store(n)
	case "dead":
		f.deadEvery.Store(n)
	case "late":
		f.lateEvery.Store(n)
	default:
		http.Error(w, fmt.Sprintf("kind is %q: must be none, slow, stall, drop, double, rate, filter, dead or late", kind), http.StatusBadRequest)
		return
	}
	b.logger.Info("fault switched", "kind", kind, "n", n)
	w.WriteHeader(http.StatusNoContent)
}

// due tells whether this event is the n-th of its kind.
func due(counter *atomic.Int64, every int64) bool {
	return every > 0 && counter.Add(1)%every == 0
}

// ensure makes the stream and, with a group, its durable consumer.
func (b *base) ensure(ctx context.Context, stream, group string) (jetstream.Consumer, error) {
	var err error
	for range 50 {
		var s jetstream.Stream
		s, err = b.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name: stream, Subjects: []string{stream + ".>"}, Storage: jetstream.FileStorage,
			MaxAge: time.Hour, MaxBytes: 512 << 20, Discard: jetstream.DiscardOld,
			// The demo's duplicates must reach the next stage.
			Duplicates: 100 * time.Millisecond,
		})
		if err == nil && group == "" {
			return nil, nil //nolint:nilnil // a producer has no consumer
		}
		if err == nil {
			var c jetstream.Consumer
			c, err = s.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
				Durable: group, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: 10_000,
			})
			if err == nil {
				return c, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	return nil, fmt.Errorf("cannot make stream %q: %w", stream, err)
}

// Run starts the application cfg.Service names and blocks until ctx ends.
func Run(ctx context.Context, cfg Config, logger *slog.Logger) error {
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return fmt.Errorf("cannot make folder %q: %w", cfg.Dir, err)
	}
	b, err := newBase(ctx, cfg, logger)
	if err != nil {
		return err
	}
	switch cfg.Service {
	case "producer":
		return b.run(ctx, b.produce)
	case "enrich":
		return b.run(ctx, b.enrich)
	case "sink":
		return b.run(ctx, b.sink)
	case "split":
		return b.run(ctx, b.split)
	case "packer":
		return b.run(ctx, b.pack)
	case "courier":
		return b.run(ctx, b.courier)
	default:
		return fmt.Errorf("service is %q: must be producer, enrich, sink, split, packer or courier", cfg.Service)
	}
}
