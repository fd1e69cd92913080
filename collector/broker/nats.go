package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

const (
	systemNATS = "nats"
	// natsParallel bounds the questions in flight to one cluster.
	natsParallel = 8
	// natsStampTimeout bounds the look-up of record times in one poll: an account that may not read
	// records gets no answer at all, and offsets matter more.
	natsStampTimeout = 2 * time.Second
	// natsPartition is the partition label: a JetStream stream has one order.
	natsPartition = "0"
)

// natsSystem asks one JetStream account.
type natsSystem struct {
	cfg    NATSConfig
	log    *slog.Logger
	nc     *nats.Conn
	js     jetstream.JetStream
	closed chan struct{}

	given   *natsAdvisories
	streams map[string]jetstream.Stream // handles; they cost one question each to make
	stamps  map[groupKey]natsStamp
	firsts  map[string]natsFirst // of the poll before

	skippedStreams, skippedGroups, skippedEphemeral, skippedGone *metrics.Counter
	stampFailures                                                *metrics.Counter
}

type groupKey struct {
	destination, partition, group string
	ephemeral                     bool
}

// natsStamp remembers the time of a record, so that a group that stands still is not asked about again.
type natsStamp struct {
	seq     uint64
	subject string
	created time.Time // of the stream: a new stream under the same name begins anew
	at      time.Time // zero = there was no such record
}

func newNATS(cfg NATSConfig, set *metrics.Set, log *slog.Logger) *natsSystem {
	skipped := func(reason string) *metrics.Counter {
		return set.GetOrCreateCounter(fmt.Sprintf(`weir_broker_skipped_total{system=%q,cluster=%q,reason=%q}`, systemNATS, cfg.Cluster, reason))
	}
	return &natsSystem{
		cfg: cfg, log: log, given: newNATSAdvisories(cfg, set), streams: map[string]jetstream.Stream{}, stamps: map[groupKey]natsStamp{},
		skippedStreams: skipped("max_streams"), skippedGroups: skipped("max_groups"),
		skippedEphemeral: skipped("ephemeral"), skippedGone: skipped("gone"),
		stampFailures: set.GetOrCreateCounter(fmt.Sprintf(`weir_broker_timestamp_failures_total{system=%q,cluster=%q}`, systemNATS, cfg.Cluster)),
	}
}

func (n *natsSystem) open() error {
	opts, err := n.cfg.options(func(err error) { n.log.Warn("cannot read broker secret", "error", err) })
	if err != nil {
		return err
	}
	n.closed = make(chan struct{})
	opts = append(opts,
		nats.Name("weir collector"),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true),
		nats.IgnoreAuthErrorAbort(), // rights may be mended while we wait
		nats.CustomReconnectDelay(func(attempts int) time.Duration {
			return min(500*time.Millisecond<<min(attempts, 5), 15*time.Second)
		}),
		nats.ClosedHandler(func(*nats.Conn) { close(n.closed) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				n.log.Warn("lost connection to broker", "error", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			n.log.Debug("broker client error", "error", err)
		}),
	)
	nc, err := nats.Connect(n.cfg.URL, opts...)
	if err != nil {
		return fmt.Errorf("cannot connect to %q: %w", n.cfg.URL, err)
	}
	if n.cfg.Domain != "" {
		n.js, err = jetstream.NewWithDomain(nc, n.cfg.Domain)
	} else {
		n.js, err = jetstream.New(nc)
	}
	if err != nil {
		nc.Close()
		return fmt.Errorf("cannot use JetStream domain %q: %w", n.cfg.Domain, err)
	}
	if n.cfg.Advisories {
		if err := n.given.listen(nc); err != nil {
			nc.Close()
			return fmt.Errorf("cannot hear advisories: %w", err)
		}
	}
	n.nc = nc
	return nil
}

func (n *natsSystem) close() {
	n.nc.Close()
	<-n.closed
}

// streamPoll gathers what is asked about one stream.
type streamPoll struct {
	name      string
	handle    jetstream.Stream
	before    jetstream.StreamInfo // asked before the consumers
	consumers []*jetstream.ConsumerInfo
	info      *jetstream.StreamInfo // asked after them
	err       error
}

func (n *natsSystem) poll(ctx context.Context) (snapshot, error) {
	if !n.nc.IsConnected() {
		err := n.nc.LastError()
		if err == nil {
			err = nats.ErrDisconnected
		}
		return snapshot{}, fmt.Errorf("cannot reach %q (%s): %w", n.cfg.URL, n.nc.Status(), err)
	}
	ctx, cancel := context.WithCancel(ctx) // ends listers that were not read to their end
	defer cancel()
	polls, err := n.names(ctx)
	if err != nil {
		return snapshot{}, err
	}
	// Starts before groups and groups before ends, so that no start is beyond what was acknowledged by then and no lag is negative.
	each(polls, func(p *streamPoll) { n.askStart(ctx, p) })
	each(polls, func(p *streamPoll) { n.askConsumers(ctx, p) })
	each(polls, func(p *streamPoll) { n.askStream(ctx, p) })
	return n.gather(ctx, polls)
}

// gather makes a snapshot of the answers and asks for the record times it needs.
func (n *natsSystem) gather(ctx context.Context, polls []streamPoll) (snapshot, error) {
	var snap snapshot
	var errs []error
	var asks []stampAsk
	n.streams = map[string]jetstream.Stream{}
	firsts := make(map[string]natsFirst, len(polls))
	for i := range polls {
		p := &polls[i]
		switch {
		case errors.Is(p.err, jetstream.ErrStreamNotFound):
			n.skippedGone.Inc() // deleted between two questions
			continue
		case p.err != nil:
			errs = append(errs, fmt.Errorf("cannot ask about stream %q: %w", p.name, p.err))
			continue
		}
		n.streams[p.name] = p.handle
		first := p.first()
		firsts[p.name] = first
		snap.partitions = append(snap.partitions, natsPartitionState(p.info, natsStart(p, first, n.firsts[p.name])))
		snap.destinations = append(snap.destinations, n.given.destination(p.name, p.info.Created))
		asks = n.groups(&snap, p, asks)
	}
	n.firsts = firsts
	n.askStamps(ctx, &snap, asks)
	return snap, errors.Join(errs...)
}

// names lists the streams to ask about.
func (n *natsSystem) names(ctx context.Context) ([]streamPoll, error) {
	var polls []streamPoll
	l := n.js.StreamNames(ctx)
	for name := range l.Name() {
		switch {
		case !n.cfg.wants(name):
		case len(polls) >= n.cfg.MaxStreams:
			n.skippedStreams.Inc()
		default:
			polls = append(polls, streamPoll{name: name, handle: n.streams[name]})
		}
	}
	if err := l.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return nil, fmt.Errorf("cannot list streams: %w", err)
	}
	return polls, nil
}

func (n *natsSystem) askStart(ctx context.Context, p *streamPoll) {
	if p.handle == nil { // to make a handle is to ask
		if p.handle, p.err = n.js.Stream(ctx, p.name); p.err == nil {
			p.before = *p.handle.CachedInfo()
		}
		return
	}
	info, err := p.handle.Info(ctx)
	if p.err = err; err == nil {
		p.before = *info
	}
}

func (n *natsSystem) askConsumers(ctx context.Context, p *streamPoll) {
	if p.err != nil {
		return
	}
	l := p.handle.ListConsumers(ctx)
	for c := range l.Info() {
		p.consumers = append(p.consumers, c)
	}
	if err := l.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		p.err = err
	}
}

func (n *natsSystem) askStream(ctx context.Context, p *streamPoll) {
	if p.err == nil {
		p.info, p.err = p.handle.Info(ctx)
	}
}

// groups adds a stream's consumers to snap, and to asks what time is to be looked up.
func (n *natsSystem) groups(snap *snapshot, p *streamPoll, asks []stampAsk) []stampAsk {
	for _, c := range p.consumers {
		ephemeral := c.Config.Durable == ""
		switch {
		case ephemeral && n.cfg.Ephemeral == EphemeralSkip:
			n.skippedEphemeral.Inc()
			continue
		case c.Created.Before(p.info.Created):
			n.skippedGone.Inc() // the stream was made anew after its consumers were asked
			continue
		case len(snap.groups) >= n.cfg.MaxGroups:
			n.skippedGroups.Inc()
			continue
		}
		filters := c.Config.FilterSubjects
		if c.Config.FilterSubject != "" {
			filters = []string{c.Config.FilterSubject}
		}
		g := groupState{
			destination: p.name, partition: natsPartition, group: c.Name, ephemeral: ephemeral, filtered: len(filters) > 0,
			tells:     toldDelivered | toldDeliveredTotal | toldPending | toldUnacked | toldRedelivered,
			committed: c.AckFloor.Stream + 1, delivered: c.Delivered.Stream + 1, deliveredTotal: c.Delivered.Consumer,
			pending: c.NumPending, unacked: uint64(max(c.NumAckPending, 0)), redelivered: uint64(max(c.NumRedelivered, 0)),
		}
		// The pending figure follows the stream with a delay; offsets do not, but they tell nothing about a filtered group.
		if g.pending+g.unacked > 0 || (!g.filtered && g.committed <= p.info.State.LastSeq) {
			// With several filters the first record of any subject answers: never too young, so never too small a lag.
			subject := ">"
			if len(filters) == 1 {
				subject = filters[0]
			}
			seq := max(g.committed, p.info.State.FirstSeq)
			if seq <= p.info.State.LastSeq {
				asks = append(asks, stampAsk{
					group: len(snap.groups), stream: p.handle,
					stamp: natsStamp{seq: seq, subject: subject, created: p.info.Created},
				})
			}
		}
		snap.groups = append(snap.groups, g)
	}
	return asks
}

// stampAsk asks when the record at a group's committed offset was stored.
type stampAsk struct {
	group  int // index in the snapshot
	stream jetstream.Stream
	stamp  natsStamp
	err    error
}

// askStamps fills committedAt: at most one question per group, none for a group that has not moved.
// A time that cannot be read stays unknown; it does not spoil the poll.
func (n *natsSystem) askStamps(ctx context.Context, snap *snapshot, asks []stampAsk) {
	ctx, cancel := context.WithTimeout(ctx, natsStampTimeout)
	defer cancel()
	stamps := make(map[groupKey]natsStamp, len(asks))
	key := func(a *stampAsk) groupKey {
		g := &snap.groups[a.group]
		return groupKey{g.destination, g.partition, g.group, g.ephemeral}
	}
	each(asks, func(a *stampAsk) {
		if old, ok := n.stamps[key(a)]; ok && !old.at.IsZero() &&
			old.seq == a.stamp.seq && old.subject == a.stamp.subject && old.created.Equal(a.stamp.created) {
			a.stamp = old
			return
		}
		m, err := a.stream.GetMsg(ctx, a.stamp.seq, jetstream.WithGetMsgSubject(a.stamp.subject))
		switch {
		case err == nil:
			a.stamp.at = m.Time
		case errors.Is(err, jetstream.ErrMsgNotFound), errors.Is(err, jetstream.ErrStreamNotFound):
			// Deleted or expired since: absent is the truth.
		default:
			a.err = err
		}
	})
	for i := range asks {
		a := &asks[i]
		if a.err != nil {
			n.stampFailures.Inc()
			n.log.Debug("cannot read record time", "stream", snap.groups[a.group].destination, "seq", a.stamp.seq, "error", a.err)
			continue
		}
		snap.groups[a.group].committedAt = a.stamp.at
		stamps[key(a)] = a.stamp
	}
	n.stamps = stamps
}

// each calls f for every element, natsParallel at a time.
func each[T any](s []T, f func(*T)) {
	var g errgroup.Group
	g.SetLimit(natsParallel)
	for i := range s {
		g.Go(func() error { f(&s[i]); return nil })
	}
	_ = g.Wait() // f keeps its errors in its element
}
