package broker

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	systemKafka = "kafka"
	// kafkaSettingsAge is how old a topic's settings may be; kafkaMembersAge the members of a group whose state does not change.
	kafkaSettingsAge = 5 * time.Minute
	kafkaMembersAge  = 30 * time.Second
	// kafkaMaxOffset is beyond what a sample can hold exactly; no real log comes near.
	kafkaMaxOffset = 1 << 53
)

// kafkaSystem asks one Kafka cluster. What it learnt stays between polls, in tables by partition number: a poll of 150,000 commits
// fills them anew and allocates little.
type kafkaSystem struct {
	cfg KafkaConfig
	log *slog.Logger
	cl  *kgo.Client

	brokers []int32
	topics  map[string]*kafkaTopic
	byID    map[[16]byte]*kafkaTopic
	order   []*kafkaTopic // by name, as many as max_partitions allows
	groups  map[string]*kafkaGroup
	listed  []*kafkaGroup // by name, as many as max_groups allows
	texts   []string      // partition numbers

	away   map[int32]*knock // brokers that did not answer; at most as many as the cluster has
	knocks sync.WaitGroup

	mu   sync.Mutex // of everything but the network, while groups are asked about
	cur  kafkaPoll
	snap snapshot
	turn int // where the next round of record reads begins
	said map[string]bool
	seed maphash.Seed

	skipped                map[string]*metrics.Counter
	reads, readFailures    *metrics.Counter
	noNewest, shareUnknown bool        // the cluster is too old to tell
	noSizes                bool        // the same
	oneByOne               atomic.Bool // and to be asked for the commits of several groups at once
	sized                  time.Time   // when the bytes kept were asked for
}

// kafkaPoll is what belongs to the poll under way.
type kafkaPoll struct {
	round     uint64
	now       time.Time
	down      map[int32]error // brokers that did not answer
	throttled bool
	trouble   trouble
	commits   int
	told      []toldGroup // answers that wait for the others
}

// kafkaTopic is a topic as long as it is not created again.
type kafkaTopic struct {
	name      string
	id        [16]byte
	idText    string
	parts     []kafkaPart
	round     uint64
	settings  time.Time // when they were read; zero = never
	maxAge    time.Duration
	maxBytes  int64
	compacted bool
	unread    time.Time // records may not be read before, because we may not
}

// kafkaPart is one partition. Offsets are -1 when they are not known.
type kafkaPart struct {
	leader             int32
	code               int16 // last error
	start, end, stable int64
	lastEnd            int64 // end of the poll before

	oldestFor, oldest int64 // start whose record time (Unix ms, 0 = none) is known
	newestFor, newest int64 // end whose youngest record's time is known
	bytes             int64 // kept; -1: not known
}

// kafkaSkips are the reasons of weir_broker_skipped_total.
var kafkaSkips = [...]string{"max_partitions", "max_groups", "max_commits", "denied", "gone", "absurd", "bad_timestamp"}

func newKafka(cfg KafkaConfig, set *metrics.Set, log *slog.Logger) *kafkaSystem {
	k := &kafkaSystem{
		cfg: cfg, log: log, topics: map[string]*kafkaTopic{}, byID: map[[16]byte]*kafkaTopic{}, groups: map[string]*kafkaGroup{},
		said: map[string]bool{}, away: map[int32]*knock{}, seed: maphash.MakeSeed(), skipped: map[string]*metrics.Counter{},
		reads:        set.GetOrCreateCounter(fmt.Sprintf(`weir_broker_record_reads_total{system=%q,cluster=%q}`, systemKafka, cfg.Cluster)),
		readFailures: set.GetOrCreateCounter(fmt.Sprintf(`weir_broker_timestamp_failures_total{system=%q,cluster=%q}`, systemKafka, cfg.Cluster)),
	}
	for _, r := range kafkaSkips {
		k.skipped[r] = set.GetOrCreateCounter(fmt.Sprintf(`weir_broker_skipped_total{system=%q,cluster=%q,reason=%q}`, systemKafka, cfg.Cluster, r))
	}
	return k
}

func (k *kafkaSystem) open() error {
	opts, err := k.cfg.options()
	if err != nil {
		return err
	}
	if k.cfg.SASL == SASLPlain && !k.cfg.encrypted() {
		k.log.Warn("the password goes to the broker in clear; set tls: true or use scram")
	}
	if k.cl, err = kgo.NewClient(opts...); err != nil {
		return fmt.Errorf("cannot make a client for %q: %w", k.cfg.Brokers, err)
	}
	return nil
}

func (k *kafkaSystem) close() {
	k.stopKnocks()
	k.cl.Close()
}

// poll asks commits first and ends after, so that no lag is negative; starts before ends, so that no start is beyond its end.
func (k *kafkaSystem) poll(ctx context.Context) (snapshot, error) {
	k.cur = kafkaPoll{round: k.cur.round + 1, now: time.Now(), down: map[int32]error{}}
	p := &k.cur
	k.knockAll(ctx)
	in := func(by int, f func(context.Context)) {
		ctx, cancel := k.within(ctx, by)
		defer cancel()
		f(ctx)
	}
	var err error
	if in(byTopics, func(ctx context.Context) { err = k.readTopics(ctx) }); err != nil {
		return snapshot{}, fmt.Errorf("cannot list topics of %q: %w", k.cfg.Brokers, err)
	}
	k.heard(ctx)
	for _, t := range k.order {
		for i := range t.parts {
			q := &t.parts[i]
			q.lastEnd = q.end
			q.start, q.end, q.stable, q.code = -1, -1, -1, 0
		}
	}
	in(byStarts, func(ctx context.Context) {
		k.listOffsets(ctx, offsetsAsk{time: kafkaEarliest, take: func(q *kafkaPart, offset, _ int64) { q.start = offset }})
	})
	in(byGroups, k.listGroups)
	in(byCommits, k.readCommits)
	in(byEnds, func(ctx context.Context) {
		k.listOffsets(ctx, offsetsAsk{time: kafkaLatest, take: func(q *kafkaPart, offset, _ int64) { q.end = offset }})
	})
	in(byStables, func(ctx context.Context) {
		k.listOffsets(ctx, offsetsAsk{time: kafkaLatest, committed: true, take: func(q *kafkaPart, offset, _ int64) { q.stable = offset }})
	})
	if (ctx.Err() != nil || k.allAway()) && len(k.order) > 0 && !k.anyEnd() {
		return snapshot{}, fmt.Errorf("cannot read offsets of %q in %s: %w", k.cfg.Brokers, k.cfg.Timeout, errors.Join(k.downs(), p.trouble.err()))
	}
	k.describe(ctx)
	k.readSettings(ctx)
	k.readSizes(ctx)
	k.readTimes(ctx)
	k.fill()
	return k.snap, p.trouble.err()
}

func (k *kafkaSystem) anyEnd() bool {
	return slices.ContainsFunc(k.order, func(t *kafkaTopic) bool {
		return slices.ContainsFunc(t.parts, func(q kafkaPart) bool { return q.end >= 0 })
	})
}

// fill makes the snapshot. What is not known is left out, so that its series end: no value is better than a wrong one.
func (k *kafkaSystem) fill() {
	s := &k.snap
	s.partitions, s.destinations, s.members, s.many = s.partitions[:0], s.destinations[:0], s.members[:0], k.eachGroup
	for _, t := range k.order {
		s.destinations = append(s.destinations, destinationState{destination: t.name, id: t.idText, published: -1, consumed: -1, redelivered: -1})
		for i := range t.parts {
			if q := &t.parts[i]; k.sound(t, i) {
				s.partitions = append(s.partitions, k.partition(t, q, i))
			}
		}
	}
	for _, g := range k.listed {
		s.members = append(s.members, memberState{group: g.name, kind: g.kind, state: g.state, members: g.members, epoch: g.epoch})
	}
}

// eachGroup gives how far every group has come, until the next poll.
func (k *kafkaSystem) eachGroup(yield func(*groupState) bool) {
	var s groupState
	for _, g := range k.listed {
		if g.read != k.cur.round {
			continue
		}
		for _, gt := range g.topics {
			for i := range gt.slots {
				if k.commit(&s, g, gt, i) && !yield(&s) {
					return
				}
			}
		}
		for name, parts := range g.assigned {
			for _, i := range parts {
				if k.uncommitted(&s, g, name, i) && !yield(&s) {
					return
				}
			}
		}
	}
}

// sound tells whether a partition's offsets were read and make sense, and notes why not.
func (k *kafkaSystem) sound(t *kafkaTopic, i int) bool {
	q, p := &t.parts[i], &k.cur
	switch {
	case q.start >= 0 && q.end >= q.start && q.end <= kafkaMaxOffset:
		return true
	case q.code == codeDenied:
	case q.code != 0:
		p.trouble.add("cannot read offsets: "+kafkaError(q.code).Error(), t.name, i)
	case q.leader < 0:
		p.trouble.add("cannot read offsets: no leader", t.name, i)
	case p.down[q.leader] != nil:
		p.trouble.add(fmt.Sprintf("cannot read offsets from broker %d: %v", q.leader, p.down[q.leader]), t.name, i)
	case q.start < 0 || q.end < 0:
		p.trouble.add(fmt.Sprintf("cannot read offsets: broker %d left them out", q.leader), t.name, i)
	default:
		k.skipped["absurd"].Inc()
		k.log.Debug("offsets make no sense", "topic", t.name, "partition", i, "start", q.start, "end", q.end)
	}
	q.start, q.end, q.stable = -1, -1, -1
	return false
}

func (k *kafkaSystem) partition(t *kafkaTopic, q *kafkaPart, i int) partitionState {
	s := partitionState{
		destination: t.name, partition: k.text(i), start: uint64(q.start), end: uint64(q.end),
		maxAge: t.maxAge, maxBytes: t.maxBytes, compacted: t.compacted,
	}
	if q.stable >= 0 && q.stable <= q.end {
		s.stable, s.stableSet = uint64(q.stable), true
	}
	if q.bytes >= 0 {
		s.tells, s.bytes = s.tells|toldBytes, uint64(q.bytes)
	}
	if q.oldestFor == q.start && q.oldest > 0 && q.start < q.end {
		s.oldestAt = time.UnixMilli(q.oldest)
	}
	if q.newestFor == q.end && q.newest > 0 && q.end == q.lastEnd {
		s.newestAt = time.UnixMilli(q.newest)
	}
	return s
}

// commit fills s with what a group committed on a partition; false when nothing can be said.
func (k *kafkaSystem) commit(s *groupState, g *kafkaGroup, gt *kafkaReads, i int) bool {
	c := &gt.slots[i]
	if c.round != k.cur.round || k.topics[gt.topic.name] != gt.topic || i >= len(gt.topic.parts) {
		return false
	}
	q := &gt.topic.parts[i]
	if q.end < 0 {
		return false // an old end would make of it a lag that nobody has
	}
	*s = groupState{destination: gt.topic.name, partition: k.text(i), group: g.name, committed: uint64(c.committed)}
	if c.pending >= 0 {
		s.tells, s.pending = toldPending, uint64(c.pending)
	}
	if c.committed < q.end && c.timeFor == max(c.committed, q.start) {
		switch {
		case c.time > 0:
			s.committedAt = time.UnixMilli(c.time)
		case c.onlyMarkers == q.visible(c.timeFor):
			s.tells |= toldPending // nothing a reader would get
		}
	}
	return true
}

// uncommitted fills s when a group reads a partition and never committed there.
func (k *kafkaSystem) uncommitted(s *groupState, g *kafkaGroup, topic string, i int32) bool {
	t := k.topics[topic]
	if t == nil || int(i) >= len(t.parts) || i < 0 || t.parts[i].end < 0 {
		return false
	}
	if gt := g.topics[topic]; gt != nil && gt.topic == t && int(i) < len(gt.slots) && gt.slots[i].round == k.cur.round {
		return false
	}
	if k.cur.commits++; k.cur.commits > k.cfg.MaxCommits {
		k.skipped["max_commits"].Inc()
		return false
	}
	*s = groupState{destination: topic, partition: k.text(int(i)), group: g.name, uncommitted: true}
	return true
}

// text is a partition's number; each is made once.
func (k *kafkaSystem) text(i int) string {
	for len(k.texts) <= i {
		k.texts = append(k.texts, strconv.Itoa(len(k.texts)))
	}
	return k.texts[i]
}

func topicID(id [16]byte) string {
	if id == ([16]byte{}) {
		return "" // the broker is too old
	}
	return base64.RawURLEncoding.EncodeToString(id[:]) // as Kafka's own tools show it
}

// ask sends one request to one broker.
func (k *kafkaSystem) ask(ctx context.Context, broker int32, req kmsg.Request) (kmsg.Response, error) {
	return k.cl.Broker(int(broker)).RetriableRequest(ctx, req)
}

// heed notes that a broker wants us to slow down.
func (k *kafkaSystem) heed(resp kmsg.Response) {
	if t, ok := resp.(kmsg.ThrottleResponse); ok {
		if ms, _ := t.Throttle(); ms > 0 {
			k.cur.throttled = true
		}
	}
}

// denied counts what we may not see, and says so once.
func (k *kafkaSystem) denied(what, name string, n int) {
	k.skipped["denied"].Add(n)
	if key := what + " " + name; !k.said[key] && len(k.said) < 10_000 {
		k.said[key] = true
		k.log.Warn("not allowed to read from broker; grant it or exclude it", "what", what, "name", name)
	}
}
