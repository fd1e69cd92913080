// Package collector assembles the node agent: receivers and pollers (statsd, scrape, otlp, host, broker) put encoded requests into
// the spool, ship takes them out and delivers them to a server.
//
// The parts do not know one another; this package hands each what it needs and decides the order of start and stop:
// nothing is received before the spool is open, and what was received is in the spool before it is closed.
package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/collector/audit"
	"github.com/weirhq/weir/collector/broker"
	"github.com/weirhq/weir/collector/host"
	"github.com/weirhq/weir/collector/origin"
	"github.com/weirhq/weir/collector/otlp"
	"github.com/weirhq/weir/collector/scrape"
	"github.com/weirhq/weir/collector/ship"
	"github.com/weirhq/weir/collector/signal"
	"github.com/weirhq/weir/collector/spool"
	"github.com/weirhq/weir/collector/statsd"
)

// Collector is a node agent.
type Collector struct {
	cfg   Config
	log   *slog.Logger
	set   *metrics.Set
	epoch int64
	ready chan struct{}
	otlp  <-chan struct{} // closed when OTLP is received; nil when it never is
	addr  addresses
}

type addresses struct{ statsd net.Addr }

// New checks the configuration. Version is what runs, for weir_collector_info. The set takes the collector's own metrics,
// which are shipped too; give it a set of its own.
func New(cfg Config, version string, log *slog.Logger, set *metrics.Set) (*Collector, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("cannot make collector: %w", err)
	}
	if cfg.Node != "" {
		cfg.Origin.Node = cfg.Node
	}
	set.GetOrCreateGauge(fmt.Sprintf("weir_collector_info{version=%q}", version), func() float64 { return 1 })
	return &Collector{cfg: cfg, log: log, set: set, ready: make(chan struct{})}, nil
}

// Ready is closed when everything is open and receives.
func (c *Collector) Ready() <-chan struct{} { return c.ready }

// StatsdAddr returns where statsd over UDP is received, after Ready; nil when it is not.
func (c *Collector) StatsdAddr() net.Addr { return c.addr.statsd }

// runner is a part that works until its context ends.
type runner struct {
	name string
	run  func(context.Context) error
}

// Run receives and ships until ctx ends, then stops in order. It fails when a part cannot start or breaks. Run once.
func (c *Collector) Run(ctx context.Context) (err error) {
	c.epoch = time.Now().UnixMilli()
	sp, err := spool.Open(filepath.Join(c.cfg.DataDir, "spool"), c.cfg.Spool, c.log.With("part", "spool"), c.set)
	if err != nil {
		return fmt.Errorf("cannot start collector: %w", err)
	}
	defer func() { err = errors.Join(err, sp.Close()) }()
	out, err := spool.NewOutput(sp)
	if err != nil {
		return fmt.Errorf("cannot start collector: %w", err)
	}
	origins := origin.New(c.cfg.Origin, c.set)
	node := origins.Self().Node
	shipper, err := ship.New(c.cfg.Server, node, c.epoch, source{sp}, c.log.With("part", "ship"), c.set)
	if err != nil {
		return fmt.Errorf("cannot start collector: %w", err)
	}
	counter := audit.New(c.cfg.Audit, c.cfg.DataDir, node, out, c.log.With("part", "audit"), c.set)
	receivers, err := c.receivers(ctx, node, out, origins, counter)
	if err != nil {
		return fmt.Errorf("cannot start collector: %w", err)
	}
	own := newSelf(node, c.cfg.SelfInterval, c.set, out, c.log.With("part", "self"))

	// Stages stop one after the other, the first first: what receives, then what counts, then what delivers.
	whole := context.WithoutCancel(ctx)
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	stages := []*stage{
		start(whole, fail, receivers...),
		start(whole, fail, runner{"own metrics", own.Run}),
		start(whole, fail, runner{"audit", counter.Run}),
		start(whole, fail, runner{"ship", shipper.Run}, runner{"spool", sp.Run}),
	}
	if c.otlp != nil {
		select {
		case <-c.otlp:
		case <-ctx.Done(): // or it could not start
		}
	}
	if ctx.Err() == nil {
		close(c.ready)
		c.log.Info("collector runs", "node", node, "data_dir", c.cfg.DataDir, "spool", sp.ID(), "server", c.cfg.Server.URL)
		for _, d := range c.cfg.open() {
			c.log.Warn("other machines can write here without a token, as open_doors allows", "door", d.key, "listen", d.addr)
		}
	}
	<-ctx.Done()

	cause := context.Cause(ctx)
	failed := !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded)
	for i, s := range stages {
		if i == len(stages)-1 && !failed {
			c.deliver(sp, c.cfg.StopWait)
		}
		s.stop()
	}
	if failed {
		return cause
	}
	return nil
}

// receivers builds what is configured, and opens the statsd sockets so that a taken port is told at once.
func (c *Collector) receivers(ctx context.Context, node string, out signal.Output, origins *origin.Resolver, counter *audit.Counter) ([]runner, error) {
	var rs []runner
	if s := c.cfg.Statsd; s.UDP != "" || s.Unix != "" || s.UnixStream != "" {
		l := statsd.New(s, origins, counter, out, c.log.With("part", "statsd"), c.set)
		if err := l.Listen(ctx); err != nil {
			return nil, err
		}
		c.addr.statsd = l.UDPAddr()
		rs = append(rs, runner{"statsd", l.Run})
	}
	if o := c.cfg.OTLP; o.GRPC != "" || o.HTTP != "" || len(o.Receivers) > 0 {
		r, err := otlp.New(o, node, out, otlpAudit{counter}, otlpOrigin{origins}, c.set, c.log.With("part", "otlp"))
		if err != nil {
			return nil, err
		}
		c.otlp = r.Started()
		rs = append(rs, runner{"otlp", r.Run})
	}
	if len(c.cfg.Scrape.Targets) > 0 {
		s, err := scrape.New(c.cfg.Scrape, node, out, c.set, c.log.With("part", "scrape"))
		if err != nil {
			return nil, err
		}
		rs = append(rs, runner{"scrape", s.Run})
	}
	if h := c.cfg.Host; h.Node || h.Containers || h.Pressure || len(h.Processes) > 0 {
		m, err := host.New(h, node, out, origins, c.set, c.log.With("part", "host"))
		if err != nil {
			return nil, err
		}
		rs = append(rs, runner{"host", m.Run})
	}
	if !c.cfg.Broker.Empty() {
		asker, err := ship.NewAsker(c.cfg.Server, node)
		if err != nil {
			return nil, err
		}
		p, err := broker.New(c.cfg.Broker, node, out, leases(asker), c.set, c.log.With("part", "broker"))
		if err != nil {
			return nil, err
		}
		rs = append(rs, runner{"broker", func(ctx context.Context) error {
			defer asker.Close()
			return p.Run(ctx)
		}})
	}
	return rs, nil
}

// deliver gives ship the time to empty the spool.
func (c *Collector) deliver(sp *spool.Spool, wait time.Duration) {
	end := time.NewTimer(wait)
	defer end.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		n, _ := sp.Pending()
		if n == 0 {
			return
		}
		select {
		case <-look.C:
		case <-end.C:
			c.log.Info("stopped before everything was delivered; the rest lies in the spool", "records", n)
			return
		}
	}
}

// stage is parts that start and stop together.
type stage struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// start runs the parts until stop; one that ends with an error fails everything.
func start(ctx context.Context, fail context.CancelCauseFunc, rs ...runner) *stage {
	ctx, cancel := context.WithCancel(ctx)
	s := &stage{cancel: cancel}
	for _, r := range rs {
		s.wg.Go(func() {
			if err := r.run(ctx); err != nil {
				fail(fmt.Errorf("cannot go on with %s: %w", r.name, err))
			}
		})
	}
	return s
}

func (s *stage) stop() {
	s.cancel()
	s.wg.Wait()
}
