// Package brokers keeps what brokers tell of their queues: offsets of partitions, positions and states of consumer groups, limits.
//
// Its data are the series weir_broker_… (docs/wire.md), written by pollers and for exporters, read from the store with the caller's
// querier; lag, rates, forecasts and what offsets show of losses are computed with query/flow once per poll. It goes to query/pipeline,
// which makes pages and verdicts of it, as rows and forecasts that are replaced and never changed.
package brokers

import (
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// ClusterKey names a broker: messaging.system and the cluster as its poller calls it.
type ClusterKey struct{ System, Cluster string }

// QueueKey names a destination of a broker.
type QueueKey struct {
	ClusterKey
	Destination string
}

type groupKey struct {
	ClusterKey
	group string
}

// Poll is the newest word of the pollers of a broker.
type Poll struct {
	At   int64 // Unix milliseconds
	Up   bool  // it answered
	node string
}

// Counter counts what a book leaves out.
type Counter interface{ Inc() }

// Options are what a book takes from its surroundings.
type Options struct {
	Forget   time.Duration            // a partition or group unheard of this long is forgotten
	Silenced func(labels.Labels) bool // series that are not listened to now
	Overflow Counter                  // counts series beyond the bound
	Absurd   Counter                  // counts samples that cannot be
}

// maxSeries bounds how many series a book follows.
const maxSeries = 2_000_000

// Book holds what the brokers told one tenant, by destination. It is not safe for concurrent use: its owner's lock guards it and
// all that it hands out, but for Reading.Forecast and Reading.Rows.
type Book struct {
	options Options
	queues  map[QueueKey]*Queue
	byName  map[string][]*Queue
	groups  map[groupKey]*Group
	series  map[uint64]*target // by hash of the labels
	polls   map[ClusterKey]Poll
	until   int64    // polls up to here are read
	wide    int64    // when the last read with a long overlap was
	read    int64    // when the last read was
	polled  int64    // newest poll of any broker
	version uint64   // grows with every reading that found something new
	notes   []string // destinations made anew and groups gone since the last reading
	found   int64    // when offset rules last found something
}

// New makes an empty book.
func New(options Options) *Book {
	return &Book{
		options: options, queues: map[QueueKey]*Queue{}, byName: map[string][]*Queue{}, groups: map[groupKey]*Group{},
		series: map[uint64]*target{}, polls: map[ClusterKey]Poll{},
	}
}

// Begin makes the first Read take in polls from a time on, Unix milliseconds.
func (b *Book) Begin(at int64) { b.until = at }

// Until is up to when polls are read, Unix milliseconds.
func (b *Book) Until() int64 { return b.until }

// Version grows with every Read that found something new.
func (b *Book) Version() uint64 { return b.version }

// FoundAt is when offset rules last found something (see Position.Events), Unix milliseconds.
func (b *Book) FoundAt() int64 { return b.found }

// Polls are the brokers that are polled, in any order.
func (b *Book) Polls() iter.Seq2[ClusterKey, Poll] { return maps.All(b.polls) }

// Tells says whether a broker of a system that was polled since a time, Unix milliseconds, tells of a destination.
func (b *Book) Tells(system, destination string, since int64) bool {
	for ck, poll := range b.polls {
		if ck.System == system && poll.At >= since && b.queues[QueueKey{ck, destination}] != nil {
			return true
		}
	}
	return false
}

// TellsOf says whether the broker of a destination was polled since a time, Unix milliseconds, and tells of it.
func (b *Book) TellsOf(k QueueKey, since int64) bool {
	poll, polled := b.polls[k.ClusterKey]
	return polled && poll.At >= since && b.queues[k] != nil
}

// Queue of a name; nil when no broker tells of it.
func (b *Book) Queue(k QueueKey) *Queue { return b.queues[k] }

// Queues in any order.
func (b *Book) Queues() iter.Seq[*Queue] { return maps.Values(b.queues) }

// SystemOf is the system of the first broker that told of a destination; empty when none does.
func (b *Book) SystemOf(destination string) string {
	if qs := b.byName[destination]; len(qs) > 0 {
		return qs[0].System
	}
	return ""
}

// QueueFor finds the destination that a group reads; of several of the same name the one whose broker knows the group, and of
// those one that is polled before one that only an exporter tells of.
func (b *Book) QueueFor(destination, group string) *Queue {
	var best *Queue
	rank := 0
	for _, q := range b.byName[destination] {
		n := 1
		if _, polled := b.polls[q.ClusterKey]; polled {
			n++
		}
		if q.readings[group] != nil {
			n += 2
		}
		if n > rank {
			best, rank = q, n
		}
	}
	return best
}

// ReadingOf is a group on a destination; nil when no broker tells of it.
func (b *Book) ReadingOf(destination, group string) *Reading {
	if q := b.QueueFor(destination, group); q != nil {
		return q.readings[group]
	}
	return nil
}

// Readings of all queues, in any order.
func (b *Book) Readings() iter.Seq[*Reading] {
	return func(yield func(*Reading) bool) {
		for _, q := range b.queues {
			for _, r := range q.readings {
				if !yield(r) {
					return
				}
			}
		}
	}
}

// Len is how many readings there are.
func (b *Book) Len() int {
	n := 0
	for _, q := range b.queues {
		n += len(q.readings)
	}
	return n
}

// Forget drops a destination with its series, unless its broker is polled.
func (b *Book) Forget(k QueueKey) {
	q := b.queues[k]
	if _, polled := b.polls[k.ClusterKey]; q == nil || polled {
		return
	}
	b.drop(q)
	for h, tg := range b.series {
		if tg.q == q {
			delete(b.series, h)
		}
	}
}

// drop takes a destination out, not its series.
func (b *Book) drop(q *Queue) {
	delete(b.queues, q.QueueKey)
	b.byName[q.Destination] = slices.DeleteFunc(b.byName[q.Destination], func(o *Queue) bool { return o == q })
}
