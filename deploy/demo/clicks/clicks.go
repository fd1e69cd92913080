// Package clicks holds the demo's second pipeline: a tracker that writes a Kafka topic of three partitions, and a reader that
// counts sessions. Both are processes of their own; faults are switched over HTTP, and what an injector really did is written
// to its own ledger, independent of weir.
package clicks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirhq/weir/collector/client"
	"github.com/weirhq/weir/deploy/demo/stage"
)

// Names of the pipeline.
const (
	Pipeline   = "clicks"
	Topic      = "clicks"
	Group      = "sessions"
	Partitions = 3
	table      = "visits" // where sessions writes
)

// Headers a record carries: when it came into being and what it is called.
const (
	headerTime = "weir-ts"
	headerID   = "weir-id"
)

// Config of one process.
type Config struct {
	Name    string        // tracker-1, sessions-1
	Service string        // tracker, sessions
	Kafka   string        // host:port
	Statsd  string        // unix:///…/statsd.sock
	Listen  string        // of /metrics and /fault
	Dir     string        // for the ledger
	Rate    int           // records per second (tracker)
	Window  time.Duration // event window of the audit
}

// process is what both applications have in common.
type process struct {
	cfg    Config
	logger *slog.Logger
	audit  *client.Client
	kafka  *kgo.Client
	set    *metrics.Set
	ledger *stage.Ledger
	order  chan order   // what sessions is to do next
	hot    atomic.Bool  // tracker: eight of ten records into one partition
	turns  atomic.Int64 // how often faults were ended
	most   atomic.Int64 // sessions: records per second and partition; 0 = all it can
}

// order is one injected fault of the reader's position.
type order struct {
	kind string // retention, rewind, skip
	n    int64  // records per partition
}

// Run starts the application cfg.Service names and blocks until ctx ends.
func Run(ctx context.Context, cfg Config, logger *slog.Logger) error {
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return fmt.Errorf("cannot make folder %q: %w", cfg.Dir, err)
	}
	p := &process{cfg: cfg, logger: logger, set: metrics.NewSet(), order: make(chan order, 1)}
	var err error
	if p.audit, err = client.New(client.Config{
		Addr: cfg.Statsd, Pipeline: Pipeline, Stage: cfg.Service, Service: cfg.Service, Instance: cfg.Name,
		Window: cfg.Window, Flush: 200 * time.Millisecond,
	}); err != nil {
		return err
	}
	opts := []kgo.Opt{kgo.SeedBrokers(cfg.Kafka), kgo.ClientID(cfg.Name)}
	work := p.track
	switch cfg.Service {
	case "tracker":
		opts = append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(20*time.Millisecond))
	case "sessions":
		work = p.sessions
		opts = append(opts, kgo.ConsumerGroup(Group), kgo.ConsumeTopics(Topic), kgo.DisableAutoCommit(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	default:
		return fmt.Errorf("service is %q: must be tracker or sessions", cfg.Service)
	}
	if p.kafka, err = kgo.NewClient(opts...); err != nil {
		return fmt.Errorf("cannot use Kafka at %q: %w", cfg.Kafka, err)
	}
	defer p.kafka.Close()
	if p.ledger, err = stage.OpenLedger(filepath.Join(cfg.Dir, cfg.Name+".ledger")); err != nil {
		return err
	}
	return errors.Join(p.serve(ctx, work), p.ledger.Close())
}

// serve shows metrics and takes faults beside work until ctx ends.
func (p *process) serve(ctx context.Context, work func(context.Context) error) error {
	shut, err := stage.Serve(ctx, p.cfg.Listen, p.set, p.setFault, p.logger.With("name", p.cfg.Name))
	if err != nil {
		return err
	}
	stop := p.audit.Start(ctx)
	err = work(ctx)
	stop()
	shut()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}

// setFault takes one fault: kind=none|hot|slow|retention|rewind|skip, n its figure.
func (p *process) setFault(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.FormValue("n"), 10, 64)
	if err != nil || n < 0 {
		http.Error(w, fmt.Sprintf("n is %q: must be a whole number from 0", r.FormValue("n")), http.StatusBadRequest)
		return
	}
	switch kind := r.FormValue("kind"); kind {
	case "none":
		p.turns.Add(1)
		p.hot.Store(false)
		p.most.Store(0)
	case "hot":
		p.hot.Store(true)
	case "slow":
		p.most.Store(n)
	case "retention", "rewind", "skip":
		select {
		case p.order <- order{kind, n}:
		default:
			http.Error(w, "another fault of the position is still under way", http.StatusConflict)
			return
		}
	default:
		http.Error(w, fmt.Sprintf("kind is %q: must be none, hot, slow, retention, rewind or skip", kind), http.StatusBadRequest)
		return
	}
	p.logger.Info("fault switched", "kind", r.FormValue("kind"), "n", n)
	w.WriteHeader(http.StatusNoContent)
}

// note writes into the ledger what is done to a record.
func (p *process) note(kind string, rec client.Record) error {
	w := int64(p.cfg.Window / time.Second)
	return p.ledger.Add(stage.Entry{Kind: kind, Stage: p.cfg.Service, Window: rec.Time.Unix() / w * w, ID: rec.ID})
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
