// Package ingest is the way in: remote write, OTLP and audit cells, over HTTP and gRPC.
//
// Requests come from collectors and from any standard sender; decoded batches go to store.Engine.
// A 2xx is given after the engine has the data on disk. Nothing vanishes: per door,
// received = stored + Σ dropped{reason}.
package ingest

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/ingest/otlp"
	"github.com/weirhq/weir/ingest/pairs"
	"github.com/weirhq/weir/ingest/promwrite"
	"github.com/weirhq/weir/internal/access"
	"github.com/weirhq/weir/store"
)

// Ingest owns the doors. It is safe for concurrent use.
type Ingest struct {
	cfg      Config
	engine   store.Engine
	log      *slog.Logger
	bodies   *bodies
	limits   promwrite.Limits
	decoders sync.Pool // *promwrite.Decoder

	spanDecoders sync.Pool // *otlp.SpanDecoder
	seq          *sequences
	leases       *leases
	versions     *versions
	pairs        *pairs.Pairs

	doors struct{ write, traces, metrics, audit *door }
	rates struct{ samples, spans, cells *rates }

	metadata, exemplars, exemplarsIn, otlpCells *metrics.Counter
}

// New builds the doors. cfg must be valid; Run keeps the sequence numbers of spools.
func New(cfg Config, engine store.Engine, log *slog.Logger, set *metrics.Set) *Ingest {
	in := &Ingest{cfg: cfg, engine: engine, log: log, bodies: newBodies(cfg), limits: cfg.writeLimits()}
	in.decoders.New = func() any { return new(promwrite.Decoder) }
	in.spanDecoders.New = func() any { return new(otlp.SpanDecoder) }
	in.doors.write = newDoor("remote_write", set, log)
	in.doors.traces = newDoor("otlp_traces", set, log)
	in.doors.metrics = newDoor("otlp_metrics", set, log)
	in.doors.audit = newDoor("audit", set, log)
	in.rates.samples = newRates(cfg.SamplesPerSecond, "samples")
	in.rates.spans = newRates(cfg.SpansPerSecond, "spans")
	in.rates.cells = newRates(cfg.CellsPerSecond, "cells")
	in.metadata = set.NewCounter("weir_ingest_metadata_ignored_total")
	in.exemplars = set.NewCounter("weir_ingest_exemplars_stored_total")
	in.exemplarsIn = set.NewCounter("weir_ingest_exemplars_received_total")
	in.otlpCells = set.NewCounter("weir_ingest_otlp_cells_total")
	in.seq = newSequences(cfg, engine, log)
	in.leases = newLeases(time.Now(), set)
	in.versions = newVersions(set)
	host, err := os.Hostname()
	if err != nil {
		host = "server" // a name for sums; epochs tell runs apart
	}
	// Asked for when needed: an engine may open its parts late.
	in.pairs = pairs.New(cfg.Pairs, host, time.Now(), func() store.Ledger { return engine.Ledger() }, log, set)
	set.NewGauge("weir_ingest_gaps_total", func() float64 { return float64(in.seq.total()) })
	set.NewGauge("weir_ingest_body_bytes", func() float64 { return float64(in.bodies.inUse.Load()) })
	return in
}

// Run writes sequence numbers to the catalog, sums of joined spans to the ledger and the versions of services to the
// metrics from time to time, the first two once more when ctx ends.
func (in *Ingest) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	var joined error
	wg.Go(func() {
		in.versions.run(ctx, in.engine.Metrics(), func(err error) { in.log.Warn("cannot store the versions of services", "error", err) })
	})
	wg.Go(func() { joined = in.pairs.Run(ctx) })
	err := in.seq.run(ctx)
	wg.Wait()
	return errors.Join(err, joined)
}

// Routes are the HTTP doors.
func (in *Ingest) Routes() []access.Route {
	return []access.Route{
		{Pattern: "POST /api/v1/write", Need: access.Ingest, Handler: timed(in.write)},
		{Pattern: "POST /v1/traces", Need: access.Ingest, Handler: timed(in.traces)},
		{Pattern: "POST /v1/metrics", Need: access.Ingest, Handler: timed(in.otlpMetrics)},
		{Pattern: "POST /api/v1/audit", Need: access.Ingest, Handler: timed(in.audit)},
		{Pattern: "POST /api/v1/broker-leases", Need: access.Ingest, Handler: http.HandlerFunc(in.brokerLease)},
		{Pattern: "GET /api/v1/audit/cells", Need: access.Query, Handler: http.HandlerFunc(in.auditCells)},
	}
}

// Collectors lists the collectors heard of, by node.
func (in *Ingest) Collectors() []CollectorState { return in.seq.collectors() }

// finish notes the sequence number of a request that will not come again: answered with 2xx, or
// with a refusal that repeating cannot change.
func (in *Ingest) finish(r *http.Request, re *refusal) {
	if re == nil || re.permanent() {
		in.seq.note(r.Context(), tenantOf(r.Context()), r.Header)
	}
}
