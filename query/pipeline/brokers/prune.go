package brokers

import (
	"fmt"
	"slices"

	"github.com/weirhq/weir/query/flow"
)

// prune forgets partitions and groups that the broker no longer tells about.
func (b *Book) prune(now, forget int64) {
	for _, q := range b.queues {
		newest := int64(0)
		for _, p := range q.parts {
			newest = max(newest, p.told())
		}
		for name, p := range q.parts {
			gone := now-p.told() > forget || newest-p.told() > 600_000
			far := p.end.v
			for g, pos := range p.groups {
				heard := pos.newest()
				if gone || now-heard > forget || p.told()-heard > goneAfter {
					delete(p.groups, g)
					delete(p.Groups, g)
					pos.r.leave(pos)
					if len(pos.r.seats) == 0 {
						delete(q.readings, g)
					}
					continue
				}
				if pos.committed.at > 0 && !pos.filtered {
					far = min(far, pos.committed.v)
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
		if len(q.parts) == 0 && !q.counts(now-forget) {
			b.drop(q)
		}
	}
	for k, g := range b.groups {
		if now-max(g.stateAt, g.members.at, g.epoch.at) > forget {
			delete(b.groups, k)
		}
	}
	for h, tg := range b.series {
		if tg.p != nil && (tg.q.parts[tg.p.Name] != tg.p || tg.pos != nil && tg.p.groups[tg.pos.group] != tg.pos) || tg.q != nil && tg.p == nil && b.queues[tg.q.QueueKey] != tg.q {
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
func (b *Book) missing(r *Reading, newest int64) {
	heard := int64(0)
	for _, s := range r.seats {
		heard = max(heard, s.pos.newest())
	}
	gone := newest-heard > 60_000
	if gone && !r.gone && !r.ephemeral {
		b.notes = append(b.notes, fmt.Sprintf("%s no longer tells of the group %s on %s.", r.Queue.System, r.Group, r.Queue.Destination))
	}
	r.gone = gone
}
