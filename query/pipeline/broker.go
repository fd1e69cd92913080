package pipeline

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/query/flow"
)

// clusterKey names a broker, queueKey a destination of it, groupKey a group of it.
type (
	clusterKey struct{ system, cluster string }
	queueKey   struct {
		clusterKey
		destination string
	}
	groupKey struct {
		clusterKey
		group string
	}
)

// brokerBook holds what the brokers told, by destination.
type brokerBook struct {
	queues  map[queueKey]*queue
	byName  map[string][]*queue
	groups  map[groupKey]*groupInfo
	series  map[uint64]*target // by hash of the labels
	up      map[clusterKey]sample
	upNode  map[clusterKey]string // who said so
	until   int64                 // polls up to here are read
	wide    int64                 // when the last read with a long overlap was
	read    int64                 // when the last read was
	polled  int64                 // newest poll of any broker
	version uint64                // grows with every reading that found something new
	notes   []string              // destinations made anew and groups gone since the last reading
	found   int64                 // when offset rules last found something
}

type sample struct {
	at int64
	v  float64
}

// queue is a destination with its partitions.
type queue struct {
	queueKey
	parts    map[string]*partition
	readings map[string]*reading // by group
	flow     flow.Queue
	owners   []owner // whose samples count, since when; oldest first
	id       string  // the broker's own id
	idAt     int64
	since    int64 // samples before this are of an earlier destination of the same name
	discards map[discardKey]*discards
	version  uint64 // of the book when something here last changed
}

// owner is the collector whose samples of a destination count from a time on. Two that poll the same broker
// must not be mixed: their offsets are of different moments.
type owner struct {
	node       string
	from, last int64
}

// takeover is how long the owner must be silent until another collector's samples count, milliseconds.
const takeover = 30_000

// owns says whether the sample of a node counts; only end offsets make a node the owner.
func (q *queue) owns(node string, at int64, end bool) bool {
	n := len(q.owners)
	if n == 0 {
		if !end {
			return false
		}
		q.owners = append(q.owners, owner{node, at, at})
		return true
	}
	last := &q.owners[n-1]
	switch {
	case at >= last.from && last.node == node:
		if end {
			last.last = max(last.last, at)
		}
		return true
	case at >= last.from:
		if !end || at <= last.last+takeover {
			return false
		}
		if n >= 8 {
			q.owners = slices.Delete(q.owners, 0, n-4)
		}
		q.owners = append(q.owners, owner{node, at, at})
		return true
	}
	for i := n - 2; i >= 0; i-- {
		if at >= q.owners[i].from {
			return q.owners[i].node == node
		}
	}
	return n > 0 && q.owners[0].node == node // older than anything known
}

type partition struct {
	*flow.QueuePartition
	start, end, stable, compacted, synthetic sample
	messages, bytes                          sample
	keptFor, keptRecords, keptBytes          sample  // limits
	leapt                                    float64 // an end that was not believed yet
	groups                                   map[string]*member
	filledAt                                 int64

	// computed once per poll for all groups
	at, span, longAt int64
	ends, longEnds   []flow.XY
	in, inLong       flow.Slope
}

// present says whether a figure that is absent when it does not apply was told at the newest poll.
func (p *partition) present(s sample) bool { return s.at > 0 && s.at >= p.end.at }

// kept are the limits of the partition, with the mean size of its records.
func (p *partition) kept() flow.Kept {
	var k flow.Kept
	if p.present(p.keptFor) {
		k.Seconds = p.keptFor.v
	}
	if p.present(p.keptRecords) {
		k.Records = p.keptRecords.v
	}
	messages := p.messages.v
	if p.messages.at == 0 { // Kafka tells offsets
		messages = p.end.v - p.start.v
	}
	if p.present(p.keptBytes) && messages > 0 && p.bytes.v > 0 {
		k.Bytes, k.Size = p.keptBytes.v, p.bytes.v/messages
	}
	return k
}

// forget makes the partition new at a time: its offsets are those of another destination.
func (p *partition) forget(at int64) {
	p.start, p.end, p.stable = sample{}, sample{}, sample{}
	p.Start = flow.Table{Brief: true}
	p.End.Renew(at)
	p.at, p.longAt, p.leapt, p.filledAt = 0, 0, 0, 0
	for _, m := range p.groups {
		*m.table = flow.Table{Brief: true}
		m.watch = flow.Watch{}
		m.at, m.movedAt, m.handed, m.again = 0, 0, 0, nil
		m.committed, m.recordTS, m.delivered, m.deliveredTotal = sample{}, sample{}, sample{}, sample{}
	}
}

// maxBrokerSeries bounds how many series are followed per tenant.
const maxBrokerSeries = 2_000_000

// many is how many broker series are too many to be read when no broker was polled anew.
const many = 20_000

func newBrokerBook() brokerBook {
	return brokerBook{
		queues: map[queueKey]*queue{}, byName: map[string][]*queue{}, groups: map[groupKey]*groupInfo{}, series: map[uint64]*target{},
		up: map[clusterKey]sample{}, upNode: map[clusterKey]string{},
	}
}

// readBroker takes in new polls. Samples may come a little late; every half minute a longer stretch is looked at again.
func (t *tenant) readBroker(ctx context.Context, now int64) error {
	b := &t.broker
	from := max(b.until-10_000, now-3_600_000)
	again := int64(30_000)
	if len(b.series) > many {
		again = 120_000
	}
	wide := now-b.wide > again
	if wide {
		from = max(min(from, b.until-300_000), now-3_600_000)
	}
	from = t.exportsSince(from)
	q, err := t.s.engine.Metrics().Querier(t.id, from, now)
	if err != nil {
		return fmt.Errorf("cannot read broker series: %w", err)
	}
	defer func() { _ = q.Close() }()
	r := bookReader{t: t, touched: map[*partition]struct{}{}}
	polled := b.polled
	if err := r.read(ctx, q, figUp); err != nil {
		return err
	}
	// With very many series only what was polled anew is read, at once and once more for what came late.
	if len(b.series) > many && !wide && b.polled == polled && now-b.read < 5000 {
		return nil
	}
	if wide {
		b.wide = now
		b.prune(now, t.s.cfg.Forget.Milliseconds())
	}
	for fig := range figures {
		if fig == figUp {
			continue
		}
		if err := r.read(ctx, q, fig); err != nil {
			return err
		}
	}
	b.compute(r.touched, now)
	b.until, b.read = now, now
	for _, n := range b.notes {
		t.note(now, "broker", n)
	}
	b.notes = b.notes[:0]
	return nil
}

// bookReader hands samples of one reading to the book.
type bookReader struct {
	t       *tenant
	touched map[*partition]struct{}
}

func (r *bookReader) read(ctx context.Context, q storageQuerier, fig int) error {
	b := &r.t.broker
	var tg *target
	err := each(ctx, q, figures[fig], func(ls labels.Labels) bool {
		tg = r.t.target(fig, ls)
		return tg != nil
	}, func(at int64, v float64) {
		if at <= tg.last {
			return
		}
		tg.last = at
		if v < 0 || math.IsInf(v, 0) || v > 1<<53 { // no count of records
			r.t.s.absurd.Inc()
			return
		}
		if tg.q != nil && fig != figInfo && fig != figDiscarded && (at < tg.q.since || !tg.q.owns(tg.node, at, fig == figEnd)) {
			return
		}
		tg.take(b, at, v)
		if tg.p != nil {
			r.touched[tg.p] = struct{}{}
		}
	})
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", figures[fig], err)
	}
	return nil
}

// compute brings what was touched up to its newest poll.
func (b *brokerBook) compute(touched map[*partition]struct{}, now int64) {
	if len(touched) == 0 {
		return
	}
	b.version++
	queues := map[*queue]struct{}{}
	for p := range touched {
		for _, m := range p.groups {
			n := len(m.events)
			if m.compute(p) {
				m.r.stale = true
				queues[m.r.q] = struct{}{}
			}
			if len(m.events) != n {
				b.found = now
			}
		}
	}
	for q := range queues {
		for _, r := range q.readings {
			if r.stale {
				r.compute()
				q.version = b.version
			}
		}
	}
}

// comparePartition orders numbers by value and other names by text.
func comparePartition(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// prune forgets partitions and groups that the broker no longer tells about.
func (b *brokerBook) prune(now, forget int64) {
	for k, q := range b.queues {
		newest := int64(0)
		for _, p := range q.parts {
			newest = max(newest, p.end.at)
		}
		for name, p := range q.parts {
			gone := now-p.end.at > forget || newest-p.end.at > 600_000
			far := p.end.v
			for g, m := range p.groups {
				heard := m.heard()
				if gone || now-heard > forget || p.end.at-heard > goneAfter {
					delete(p.groups, g)
					delete(p.Groups, g)
					m.r.leave(m)
					if len(m.r.seats) == 0 {
						delete(q.readings, g)
					}
					continue
				}
				if m.committed.at > 0 && !m.filtered {
					far = min(far, m.committed.v)
				}
			}
			p.End.Forget(now-keepEnds, int64(far))
			if gone {
				delete(q.parts, name)
				q.flow.Partitions = slices.DeleteFunc(q.flow.Partitions, func(o *flow.QueuePartition) bool { return o == p.QueuePartition })
			}
		}
		for _, r := range q.readings {
			b.missing(r, newest)
		}
		if len(q.parts) == 0 {
			delete(b.queues, k)
			b.byName[k.destination] = slices.DeleteFunc(b.byName[k.destination], func(o *queue) bool { return o == q })
		}
	}
	for k, g := range b.groups {
		if now-max(g.stateAt, g.members.at, g.epoch.at) > forget {
			delete(b.groups, k)
		}
	}
	for h, tg := range b.series {
		if tg.p != nil && (tg.q.parts[tg.p.Name] != tg.p || tg.m != nil && tg.p.groups[tg.m.group] != tg.m) || tg.q != nil && tg.p == nil && b.queues[tg.q.queueKey] != tg.q {
			delete(b.series, h)
		}
	}
}

// How long the end offsets of every partition are kept in memory (longer where a reader is further behind: then the
// store has the rest), and how long after its partition's last poll a group that is not told any more is forgotten; milliseconds.
const (
	keepEnds  = 2 * 3_600_000
	goneAfter = 600_000
)

// missing notes once that a group is no longer told while its destination still is.
func (b *brokerBook) missing(r *reading, newest int64) {
	heard := int64(0)
	for _, s := range r.seats {
		heard = max(heard, s.m.heard())
	}
	gone := newest-heard > 60_000
	if gone && !r.gone && !r.ephemeral {
		b.notes = append(b.notes, fmt.Sprintf("%s no longer tells of the group %s on %s.", r.q.system, r.group, r.q.destination))
	}
	r.gone = gone
}

// queueFor finds the destination that a group reads; of several of the same name the one whose broker knows the group.
func (b *brokerBook) queueFor(destination, group string) *queue {
	qs := b.byName[destination]
	for _, q := range qs {
		if q.readings[group] != nil {
			return q
		}
	}
	if len(qs) == 0 {
		return nil
	}
	return qs[0]
}

// readingOf is a group on a destination; nil when no broker tells of it.
func (b *brokerBook) readingOf(destination, group string) *reading {
	if q := b.queueFor(destination, group); q != nil {
		return q.readings[group]
	}
	return nil
}
