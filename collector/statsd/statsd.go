// Package statsd receives DogStatsD 1.3 over UDP and Unix sockets and turns it into samples.
//
// Datagrams are read in batches, parsed without allocating and added up by the goroutine that read them; every
// interval the sums become remote-write requests for the collector's output. Lines named weir.audit.*
// go to an AuditSink instead and never become series.
package statsd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/weirhq/weir/collector/remotewrite"
	"github.com/weirhq/weir/collector/signal"
)

// Tags says where something came from; an alias of a struct without a name, as in collector/origin.
type Tags = struct {
	Node, Service, Container string
	Guess                    bool // Service is only the name of the process
}

// Origins tells who sent something.
type Origins interface {
	ByPID(pid int32) Tags
	ByContainerField(f string) Tags
	Self() Tags
}

// Listener receives, aggregates and sends.
type Listener struct {
	cfg   Config
	reg   *registry
	audit AuditSink
	out   signal.Output
	log   *slog.Logger
	set   *metrics.Set

	auditDoor *door
	sockets   []*socket
	streams   *streams
	readers   []*reader

	// The flusher's own.
	batch  *remotewrite.Batch
	body   []byte
	first  []*series // sent for the first time in the batch at hand
	native histogram.Histogram
	timed  []timedValue
	last   int64 // Unix ms of the last flush
	dead   int   // series that died since the readers' tables were last swept

	flushes, failures, unsent, conflicts, expired *metrics.Counter
	flushSeconds                                  *metrics.Histogram
	live                                          *metrics.Gauge
}

// New builds a Listener; cfg must be valid. Audit lines go to audit; without one (nil) they are dropped and counted.
func New(cfg Config, origins Origins, audit AuditSink, out signal.Output, log *slog.Logger, set *metrics.Set) *Listener {
	l := &Listener{
		cfg: cfg, reg: newRegistry(cfg, origins), audit: audit, out: out, log: log, set: set,
		auditDoor:    newDoor(set, "audit"),
		batch:        remotewrite.NewBatch(),
		flushes:      set.NewCounter("weir_statsd_flushes_total"),
		failures:     set.NewCounter("weir_statsd_flush_failures_total"),
		unsent:       set.NewCounter("weir_statsd_unsent_samples_total"),
		conflicts:    set.NewCounter("weir_statsd_merge_conflicts_total"),
		expired:      set.NewCounter("weir_statsd_series_expired_total"),
		flushSeconds: set.NewHistogram("weir_statsd_flush_duration_seconds"),
		live:         set.NewGauge("weir_statsd_series", nil),
	}
	return l
}

// Listen opens the sockets. Run does it when nobody has; calling it first tells the addresses.
func (l *Listener) Listen(ctx context.Context) error {
	if len(l.sockets) > 0 || l.streams != nil {
		return nil
	}
	l.reg.mu.Lock()
	l.reg.tick = time.Now().UnixMilli()
	l.reg.mu.Unlock()
	if err := l.open(ctx); err != nil {
		return errors.Join(err, l.Close())
	}
	return nil
}

// UDPAddr returns where UDP is received, after Listen; nil when it is not.
func (l *Listener) UDPAddr() net.Addr {
	for _, s := range l.sockets {
		if s.addr != nil {
			return s.addr
		}
	}
	return nil
}

// Close closes the sockets of a Listener that never ran.
func (l *Listener) Close() error {
	var err error
	for _, s := range l.sockets {
		err = errors.Join(err, s.close())
	}
	if l.streams != nil {
		err = errors.Join(err, l.streams.close())
	}
	l.sockets, l.streams = nil, nil
	return err
}

func (l *Listener) newReader(door string) *reader {
	r := newReader(l.reg, newDoor(l.set, door), l.auditDoor, l.audit)
	l.readers = append(l.readers, r)
	return r
}

// Run receives until ctx ends, then takes in what the kernel still holds, sends a last time and returns.
// It fails when a socket cannot be opened or breaks.
func (l *Listener) Run(ctx context.Context) error {
	if err := l.Listen(ctx); err != nil {
		return err
	}
	reading, stop := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	for _, s := range l.sockets {
		wg.Go(func() {
			if err := s.run(reading); err != nil {
				stop(err)
			}
		})
	}
	if l.streams != nil {
		wg.Go(func() {
			if err := l.streams.run(reading); err != nil {
				stop(err)
			}
		})
	}
	timer := time.NewTimer(l.untilTick())
	defer timer.Stop()
	for reading.Err() == nil {
		select {
		case <-reading.Done():
		case <-timer.C:
			now := time.Now().UnixMilli()
			l.flush(ctx, now-now%l.cfg.Interval.Milliseconds())
			timer.Reset(l.untilTick())
		}
	}
	for _, s := range l.sockets {
		s.wake()
	}
	wg.Wait()
	err := context.Cause(reading)
	stop(nil)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	l.flush(last, max(time.Now().UnixMilli(), l.reg.tick+1)) // no reader is left
	if ctx.Err() != nil {
		err = nil
	}
	return errors.Join(err, l.Close())
}

// untilTick is the time to the next multiple of the interval on the wall clock.
func (l *Listener) untilTick() time.Duration {
	i := int64(l.cfg.Interval)
	return time.Duration(i - time.Now().UnixNano()%i)
}
