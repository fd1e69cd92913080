// Package otlp hosts receivers of the OpenTelemetry Collector: spans and metric points come in over OTLP
// (gRPC and HTTP), get node, service and container in their resource, and go to the collector's spool,
// encoded once. Audit counts among the metrics go to an AuditSink instead.
//
// A sender hears success only after the spool has the batch on disk.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pipeline"
	"go.opentelemetry.io/collector/receiver"

	"github.com/weirhq/weir/collector/signal"
	"github.com/weirhq/weir/internal/cell"
)

// Origin finds the service and container of a sender: from the process id it states (0 = none) and the address
// it sends from. A stated pid counts in the sender's own pid namespace, so an Origin should trust it only
// together with the address. Empty results mean unknown.
type Origin interface {
	OTLP(pid int32, peer net.Addr) (service, container string)
}

// Increment is an audit count; it converts to the audit part's type of the same form.
type Increment struct {
	Key                     cell.Key
	Instance, Service, Node string
	Counts                  cell.Counts
	Lossy                   bool
	IDs                     *cell.IDs
	Latency                 *cell.Sketch
	Values                  []float64
	Weight                  uint64
}

// AuditSink takes audit counts. Set replaces the totals of (Key, Instance, epoch), epoch in Unix milliseconds;
// Add adds. Set says by how many records the total grew. An error means that this count can never be taken.
type AuditSink interface {
	Add(inc Increment) error
	Set(inc Increment, epoch int64) (grown uint64, err error)
	// Seen takes what was learned of a sender that exported now and never says that it stops.
	Seen(t Life) error
	// Folded says that a sender counted n more records since a time of which only their number came; told is when its counts were
	// whole for the last time, zero when that is not known.
	Folded(t Life, n uint64, since, told time.Time) error
}

// Receiver hosts the configured receivers.
type Receiver struct {
	list    []instance
	next    *sink
	log     *slog.Logger
	started chan struct{}
}

// New builds a Receiver; nothing listens before Run, but an address that somebody else has is an error already.
// node is the host.name of senders that give none.
// origin and audit may be nil: then the container stays unknown, and audit counts are dropped and counted.
func New(cfg Config, node string, out signal.Output, audit AuditSink, origin Origin, set *metrics.Set, log *slog.Logger) (*Receiver, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	list, err := cfg.instances()
	if err != nil {
		return nil, err
	}
	if err := cfg.free(); err != nil {
		return nil, err
	}
	return &Receiver{list: list, next: newSink(cfg, node, out, audit, origin, set, log), log: log, started: make(chan struct{})}, nil
}

// free tries the addresses of the built-in receiver. It opens them itself only when everything else runs already,
// and a taken port should be all that is said then. Who takes one in between is told by Run.
func (c Config) free() error {
	for _, at := range []struct{ key, addr string }{{"otlp.grpc", c.GRPC}, {"otlp.http", c.HTTP}} {
		if at.addr == "" {
			continue
		}
		l, err := net.Listen("tcp", at.addr) //nolint:noctx // closed at once
		if err != nil {
			return fmt.Errorf("cannot listen on %s %q: is another collector running, or the port taken? choose another address: %w", at.key, at.addr, err)
		}
		if err := l.Close(); err != nil {
			return fmt.Errorf("cannot close %s %q: %w", at.key, at.addr, err)
		}
	}
	return nil
}

// Started is closed when every receiver has started.
func (r *Receiver) Started() <-chan struct{} { return r.started }

// Run listens until ctx ends, lets requests in flight end, and returns when all receivers have stopped. Run once.
// An error tells which receiver could not start or broke down.
func (r *Receiver) Run(ctx context.Context) (err error) {
	h := &host{fatal: make(chan error, 1)}
	var started []component.Component
	defer func() {
		for _, c := range slices.Backward(started) {
			err = errors.Join(err, c.Shutdown(context.WithoutCancel(ctx)))
		}
	}()
	for _, in := range r.list {
		parts, err := r.create(ctx, in)
		if err != nil {
			return fmt.Errorf("cannot build receiver %q: %w", in.id, err)
		}
		for _, p := range parts {
			started = append(started, p) // also one that fails to start is shut down
			if err := p.Start(ctx, h); err != nil {
				return fmt.Errorf("cannot start receiver %q: %w; %s", in.id, err, in.hint)
			}
		}
	}
	close(r.started)
	select {
	case <-ctx.Done():
		return nil
	case err := <-h.fatal:
		return fmt.Errorf("receiver broke down: %w", err)
	}
}

// create makes the parts of one receiver: one per signal it supports. Several may be the same thing inside.
func (r *Receiver) create(ctx context.Context, in instance) ([]component.Component, error) {
	set := receiver.Settings{ID: in.id, TelemetrySettings: componenttest.NewNopTelemetrySettings()}
	set.Logger = newZap(r.log.With("receiver", in.id.String()))
	mutates := consumer.WithCapabilities(consumer.Capabilities{MutatesData: true})
	spans, err := consumer.NewTraces(r.next.traces, mutates)
	if err != nil {
		return nil, err
	}
	points, err := consumer.NewMetrics(r.next.metrics, mutates)
	if err != nil {
		return nil, err
	}
	var parts []component.Component
	t, err := in.factory.CreateTraces(ctx, set, in.cfg, spans)
	switch {
	case err == nil:
		parts = append(parts, t)
	case !errors.Is(err, pipeline.ErrSignalNotSupported):
		return nil, err
	}
	m, err := in.factory.CreateMetrics(ctx, set, in.cfg, points)
	switch {
	case err == nil:
		parts = append(parts, m)
	case !errors.Is(err, pipeline.ErrSignalNotSupported):
		return nil, err
	}
	return parts, nil
}

// host is what a receiver sees of the process around it.
type host struct{ fatal chan error }

// GetExtensions returns none.
func (*host) GetExtensions() map[component.ID]component.Component { return nil }

// Report ends Run when a receiver says that it cannot go on.
func (h *host) Report(e *componentstatus.Event) {
	if e.Status() != componentstatus.StatusFatalError {
		return
	}
	select {
	case h.fatal <- e.Err():
	default: // one reason is enough
	}
}
