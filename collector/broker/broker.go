// Package broker asks message brokers how far each destination has been written and each group has read,
// and turns the answers into remote-write samples (docs/wire.md, weir_broker_…) for the collector's spool.
//
// Every system has one file that fills a snapshot; what follows (series, staleness, accounting) is shared.
// A broker is never asked by a page: pages read what the last poll stored.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/collector/remotewrite"
	"github.com/weirhq/weir/collector/signal"
)

// Config lists the brokers to ask, by system.
type Config struct {
	NATS []NATSConfig `yaml:"nats"`
}

// DefaultConfig returns a configuration that asks nobody.
func DefaultConfig() Config { return Config{} }

// Validate names the first broker that cannot be asked, and all further ones.
func (c Config) Validate() error {
	var errs []error
	seen := map[string]int{}
	for i, n := range c.NATS {
		if err := n.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("broker.nats[%d]: %w", i, err))
		}
		if j, ok := seen[n.Cluster]; ok {
			errs = append(errs, fmt.Errorf("broker.nats[%d]: cluster %q is already used by broker.nats[%d]; give each a name of its own", i, n.Cluster, j))
		}
		seen[n.Cluster] = i
	}
	return errors.Join(errs...)
}

// Poller asks all configured brokers, each in its own rhythm.
type Poller struct {
	loops []*loop
}

// New builds a Poller; nothing is connected before Run. node is the node label of every series.
func New(cfg Config, node string, out signal.Output, set *metrics.Set, log *slog.Logger) (*Poller, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	acct := newAccount(set)
	p := &Poller{}
	for _, n := range cfg.NATS {
		n = n.withDefaults()
		l := log.With("system", systemNATS, "cluster", n.Cluster)
		sys := newNATS(n, set, l)
		p.loops = append(p.loops, &loop{
			sys: sys, batch: remotewrite.NewBatch(), interval: n.Interval, timeout: n.Timeout,
			series: newSeriesCache(node, systemNATS, n.Cluster), out: out, acct: acct, log: l,
			polls: set.GetOrCreateCounter(fmt.Sprintf(`weir_broker_polls_total{system=%q,cluster=%q}`, systemNATS, n.Cluster)),
			fails: set.GetOrCreateCounter(fmt.Sprintf(`weir_broker_poll_failures_total{system=%q,cluster=%q}`, systemNATS, n.Cluster)),
			took:  set.GetOrCreateSummary(fmt.Sprintf(`weir_broker_poll_seconds{system=%q,cluster=%q}`, systemNATS, n.Cluster)),
		})
	}
	return p, nil
}

// Run polls until ctx ends and returns when every connection is closed. A broker that is away is no error.
func (p *Poller) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, l := range p.loops {
		wg.Go(func() { l.run(ctx) })
	}
	wg.Wait()
	return nil
}

// system is what one broker technology has to offer. All calls come from one goroutine.
type system interface {
	// open prepares the connection; it may still be unconnected afterwards.
	open() error
	// poll asks groups first and ends after, so that no lag is negative. What could be read is returned
	// beside an error that says what could not.
	poll(ctx context.Context) (snapshot, error)
	// close returns when the connection is gone.
	close()
}

// snapshot is what one poll of a broker found.
type snapshot struct {
	partitions   []partitionState
	groups       []groupState
	destinations []destinationState
	members      []memberState
}

// partitionState is the state of one partition of one destination. Offsets count records from the first ever written.
type partitionState struct {
	destination, partition string

	start, end      uint64
	messages, bytes uint64
	maxAge          time.Duration // 0 = no limit
	maxMessages     int64         // <= 0 = no limit
	maxBytes        int64         // <= 0 = no limit

	stable    uint64    // last stable offset, with transactional
	oldestAt  time.Time // of the record at start; zero = not read
	stableSet bool      // the system has transactions and tells stable
	compacted bool
	synthetic bool // positions made out of counters: no rule about offsets applies
}

// destinationState is what a broker tells about a destination as a whole.
type destinationState struct {
	destination, id string // id changes when the destination is created again; empty = the system has none

	published, consumed, redelivered float64 // since the broker counts; negative = not told
	discarded                        []discard
}

// discard is how many records the broker itself gave up for one reason, since it counts.
type discard struct {
	reason       string
	deadLettered bool // they went to a dead-letter destination
	n            float64
}

// memberState is a consumer group as a whole.
type memberState struct {
	group, kind, state string // state as the broker writes it; empty = it does not tell
	members            int    // negative = not told
	epoch              int64  // generation; negative = not told
}

// groupState is how far one group has come in one partition.
type groupState struct {
	destination, partition, group string
	ephemeral                     bool
	filtered                      bool // reads only a part of the destination's records
	uncommitted                   bool // never committed here: committed means nothing

	committed, delivered          uint64
	deliveredTotal                uint64
	pending, unacked, redelivered uint64
	committedAt                   time.Time // zero = all is read, or unknown
}

// account is the equation of docs/wire.md for door broker, in samples.
type account struct {
	received, accepted, droppedSpool *metrics.Counter
}

func newAccount(set *metrics.Set) account {
	return account{
		received:     set.GetOrCreateCounter(`weir_collector_received_total{door="broker"}`),
		accepted:     set.GetOrCreateCounter(`weir_collector_accepted_total{door="broker"}`),
		droppedSpool: set.GetOrCreateCounter(`weir_collector_dropped_total{door="broker",reason="spool"}`),
	}
}
