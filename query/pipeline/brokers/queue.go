package brokers

import (
	"iter"
	"maps"
	"slices"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/forecast"
)

// Queue is a destination of a broker (a topic, queue or stream) with its partitions and the groups that read it.
type Queue struct {
	QueueKey
	parts    map[string]*Partition
	readings map[string]*Reading // by group
	flow     flow.Queue
	owners   []owner // whose samples count, since when; oldest first
	id       string  // the broker's own id
	idAt     int64
	since    int64 // samples before this are of an earlier destination of the same name
	discards map[discardKey]*discards
	version  uint64 // of the book when something here last changed
}

// Flow is the same destination as query/flow looks at it; it changes with every Read.
func (q *Queue) Flow() *flow.Queue { return &q.flow }

// Version of the book when a group's figures here last changed.
func (q *Queue) Version() uint64 { return q.version }

// Partition of a name; nil when the broker tells of none.
func (q *Queue) Partition(name string) *Partition { return q.parts[name] }

// Partitions in any order.
func (q *Queue) Partitions() iter.Seq[*Partition] { return maps.Values(q.parts) }

// Positions of a group, with their partitions, in any order.
func (q *Queue) Positions(group string) iter.Seq2[*Partition, *Position] {
	return func(yield func(*Partition, *Position) bool) {
		for _, p := range q.parts {
			if pos := p.groups[group]; pos != nil && !yield(p, pos) {
				return
			}
		}
	}
}

// Readings of its groups, in any order.
func (q *Queue) Readings() iter.Seq[*Reading] { return maps.Values(q.readings) }

// ReadsSome says whether a group reads only some of the records, so that offsets do not tell its backlog.
func (q *Queue) ReadsSome(group string) bool {
	for _, pos := range q.Positions(group) {
		if pos.filtered {
			return true
		}
	}
	return false
}

// owner is the collector whose samples of a destination count from a time on. Two that poll the same broker
// must not be mixed: their offsets are of different moments.
type owner struct {
	node       string
	from, last int64
}

// takeover is how long the owner must be silent until another collector's samples count, milliseconds.
const takeover = 30_000

// owns says whether the sample of a node counts; only end offsets, or what is kept, make a node the owner.
func (q *Queue) owns(node string, at int64, end bool) bool {
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

func (q *Queue) partitionFor(name string) *Partition {
	p := q.parts[name]
	if p == nil {
		p = &Partition{QueuePartition: &flow.QueuePartition{Name: name, Start: flow.Table{Brief: true}, Groups: map[string]*flow.Table{}}, groups: map[string]*Position{}}
		q.parts[name] = p
		q.flow.Partitions = append(q.flow.Partitions, p.QueuePartition)
		slices.SortFunc(q.flow.Partitions, func(a, b *flow.QueuePartition) int { return flow.ComparePartitions(a.Name, b.Name) })
	}
	return p
}

func (q *Queue) positionFor(p *Partition, group string, info *Group) *Position {
	pos := p.groups[group]
	if pos == nil {
		r := q.readings[group]
		if r == nil {
			r = &Reading{Queue: q, Group: group, Info: info, Forecast: &forecast.Forecast{}}
			q.readings[group] = r
		}
		pos = &Position{group: group, table: &flow.Table{Brief: true}, r: r}
		p.groups[group] = pos
		p.Groups[group] = pos.table
		r.join(p, pos)
	}
	return pos
}

// named takes the broker's own id of a destination: another one means that it was deleted and created again,
// and nothing that was known of its offsets holds.
func (q *Queue) named(b *Book, id string, at int64) {
	switch {
	case id == q.id:
		q.idAt = max(q.idAt, at)
	case q.id == "":
		q.id, q.idAt = id, at
	case at > q.idAt:
		q.id, q.idAt, q.since = id, at, at
		for _, p := range q.parts {
			p.forget(at)
		}
		b.notes = append(b.notes, q.Destination+" was deleted and created again.")
	default: // an earlier life, read after the present one
		q.since = max(q.since, at+1)
	}
}
