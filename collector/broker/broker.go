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
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/collector/remotewrite"
	"github.com/weirhq/weir/collector/signal"
)

// Config lists the brokers to ask, by system.
type Config struct {
	NATS     []NATSConfig     `yaml:"nats"`
	Kafka    []KafkaConfig    `yaml:"kafka"`
	RabbitMQ []RabbitMQConfig `yaml:"rabbitmq"`
	Redis    []RedisConfig    `yaml:"redis"`
}

// DefaultConfig returns a configuration that asks nobody.
func DefaultConfig() Config { return Config{} }

// Names tells which brokers are asked, as system and cluster.
func (c Config) Names() []string {
	var all []string
	for _, b := range c.NATS {
		all = append(all, "NATS "+b.Cluster)
	}
	for _, b := range c.Kafka {
		all = append(all, "Kafka "+b.Cluster)
	}
	for _, b := range c.RabbitMQ {
		all = append(all, "RabbitMQ "+b.Cluster)
	}
	for _, b := range c.Redis {
		all = append(all, "Redis "+b.Cluster)
	}
	return all
}

// Validate names the first broker that cannot be asked, and all further ones.
func (c Config) Validate() error {
	var errs []error
	check := func(system string, clusters []string, validate func(int) error) {
		seen := map[string]int{}
		for i, name := range clusters {
			if err := validate(i); err != nil {
				errs = append(errs, fmt.Errorf("broker.%s[%d]: %w", system, i, err))
			}
			if j, ok := seen[name]; ok {
				errs = append(errs, fmt.Errorf("broker.%s[%d]: cluster %q is already used by broker.%s[%d]; give each a name of its own", system, i, name, system, j))
			}
			seen[name] = i
		}
	}
	check(systemNATS, names(c.NATS, func(n NATSConfig) string { return n.Cluster }), func(i int) error { return c.NATS[i].Validate() })
	check(systemKafka, names(c.Kafka, func(k KafkaConfig) string { return k.Cluster }), func(i int) error { return c.Kafka[i].Validate() })
	check(systemRabbitMQ, names(c.RabbitMQ, func(r RabbitMQConfig) string { return r.Cluster }), func(i int) error { return c.RabbitMQ[i].Validate() })
	check(systemRedis, names(c.Redis, func(r RedisConfig) string { return r.Cluster }), func(i int) error { return c.Redis[i].Validate() })
	return errors.Join(errs...)
}

func names[T any](entries []T, name func(T) string) []string {
	out := make([]string, len(entries))
	for i := range entries {
		out[i] = name(entries[i])
	}
	return out
}

// Empty tells whether there is no broker to ask.
func (c Config) Empty() bool { return len(c.NATS)+len(c.Kafka)+len(c.RabbitMQ)+len(c.Redis) == 0 }

// Poller asks all configured brokers, each in its own rhythm.
type Poller struct {
	loops []*loop
}

// New builds a Poller; nothing is connected before Run. node is the node label of every series. ask gets a lease from the
// server where a broker's owner is lease; nil: this collector polls in any case.
func New(cfg Config, node string, out signal.Output, ask LeaseFunc, set *metrics.Set, log *slog.Logger) (*Poller, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	acct := newAccount(set)
	p := &Poller{}
	epoch := time.Now().UnixMilli()
	add := func(name, cluster string, interval, timeout time.Duration, owner string, ttl time.Duration, sys func(*slog.Logger) system) {
		l := log.With("system", name, "cluster", cluster)
		metric := func(what string) string {
			return fmt.Sprintf(`weir_broker_%s{system=%q,cluster=%q}`, what, name, cluster)
		}
		question := ask
		if owner == OwnerAlways {
			question = nil
		}
		p.loops = append(p.loops, &loop{
			sys: sys(l), batch: remotewrite.NewBatch(), interval: interval, timeout: timeout,
			series: newSeriesCache(node, name, cluster), out: out, acct: acct, log: l,
			lease: newLessee(question, node, epoch, name, cluster, interval, ttl, set, l),
			polls: set.GetOrCreateCounter(metric("polls_total")),
			fails: set.GetOrCreateCounter(metric("poll_failures_total")),
			took:  set.GetOrCreateSummary(metric("poll_seconds")),
		})
	}
	for _, n := range cfg.NATS {
		n = n.withDefaults()
		add(systemNATS, n.Cluster, n.Interval, n.Timeout, n.Owner, n.LeaseTTL, func(l *slog.Logger) system { return newNATS(n, set, l) })
	}
	for _, k := range cfg.Kafka {
		k = k.withDefaults()
		add(systemKafka, k.Cluster, k.Interval, k.Timeout, k.Owner, k.LeaseTTL, func(l *slog.Logger) system { return newKafka(k, set, l) })
	}
	for _, r := range cfg.RabbitMQ {
		r = r.withDefaults()
		add(systemRabbitMQ, r.Cluster, r.Interval, r.Timeout, r.Owner, r.LeaseTTL, func(l *slog.Logger) system { return newRabbitMQ(r, set, l) })
	}
	for _, r := range cfg.Redis {
		r = r.withDefaults()
		add(systemRedis, r.Cluster, r.Interval, r.Timeout, r.Owner, r.LeaseTTL, func(l *slog.Logger) system { return newRedis(r, set, l) })
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
	// many are further groups, given one by one into the same place: a large cluster's would take twenty MiB as a list.
	many iter.Seq[*groupState]
}

func (s *snapshot) empty() bool {
	return len(s.partitions)+len(s.groups)+len(s.destinations)+len(s.members) == 0
}

// told is what a system tells about a partition or a group beside offsets.
type told uint8

const (
	toldMessages told = 1 << iota
	toldBytes
	toldDelivered
	toldDeliveredTotal
	toldPending
	toldUnacked
	toldRedelivered
)

// partitionState is the state of one partition of one destination. Offsets count records from the first ever written.
type partitionState struct {
	destination, partition string

	start, end      uint64
	tells           told
	messages, bytes uint64
	maxAge          time.Duration // 0 = no limit
	maxMessages     int64         // <= 0 = no limit
	maxBytes        int64         // <= 0 = no limit

	stable    uint64    // last stable offset, with transactional
	oldestAt  time.Time // of the record at start; zero = not read
	newestAt  time.Time // of the youngest record, once none came between two polls; zero = not read
	stableSet bool      // the system has transactions and tells stable
	compacted bool
	synthetic bool // positions made out of counters: no rule about offsets applies
	unplaced  bool // no positions can be told: start and end mean nothing
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
	unplaced                      bool // no positions can be told: committed means nothing
	tells                         told // what of the figures below, but for committed, has a meaning

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
