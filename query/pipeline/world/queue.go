package world

import (
	"math"
	"slices"
	"strconv"
)

// Record is one message.
type Record struct {
	ID, Hash uint64
	TS       int64 // event time stamped at the origin, Unix milliseconds
}

// Queue is a topic or stream; or, without Offsets, a direct call of which no broker tells.
type Queue struct {
	Name    string
	Offsets bool
	Parts   []*Part
	Groups  []string
	Weights []int // of partitions; nil = even
	// Poller is the node that polls; its clock stamps the polls.
	Poller *Node
	Every  int64 // milliseconds between polls
	Jitter int64
	Delay  int64 // until a poll reaches the server, at most
	Handed bool  // the broker tells how many records it handed out, as JetStream does
	Stamps bool  // the time of the record at the committed offset can be read
	Away   bool  // the broker does not answer
	Keep   int64 // records kept per partition; 0 = all
	// Markers of ended transactions lie behind the last record of each partition: offsets that nobody ever commits.
	Markers int64
	System  string
	// Absurd is the share of polls whose figures are nonsense; NoGroups: offsets of groups are not told.
	Absurd   float64
	NoGroups bool
	nonsense int64 // when a poll was last made in which figures may be nonsense
	nextPoll int64
	fell     int64 // when offsets were last used anew
}

// Part is one partition.
type Part struct {
	Start int64 // oldest offset that can be read
	recs  []stored
	curs  map[string]*cursor
	lines map[string]*series
}

type stored struct {
	Record
	at      int64 // appended
	foreign bool
}

// cursor is where a group is.
type cursor struct {
	committed, next int64 // committed −1 = never
	handed, top     int64 // deliveries, repeated ones too; highest offset handed out
}

// End is the offset of the next record.
func (p *Part) End() int64 { return int64(len(p.recs)) }

// AddQueue makes a queue with n partitions that groups read from its beginning.
func (w *World) AddQueue(name string, n int, offsets bool, groups ...string) *Queue {
	q := &Queue{Name: name, Offsets: offsets, Groups: groups, Every: 1000, System: "kafka"}
	for range n {
		q.Parts = append(q.Parts, newPart(groups))
	}
	w.Queues = append(w.Queues, q)
	return q
}

func newPart(groups []string) *Part {
	p := &Part{curs: map[string]*cursor{}, lines: map[string]*series{}}
	for _, g := range groups {
		p.curs[g] = &cursor{}
	}
	return p
}

// partition of a record.
func (q *Queue) partition(w *World) *Part {
	if q.Weights == nil {
		return q.Parts[w.Rng.IntN(len(q.Parts))]
	}
	total := 0
	for _, x := range q.Weights {
		total += x
	}
	n := w.Rng.IntN(total)
	for i, x := range q.Weights {
		if n -= x; n < 0 {
			return q.Parts[i]
		}
	}
	return q.Parts[0]
}

// append stores a record.
func (q *Queue) append(w *World, p *Part, r Record, foreign bool) {
	p.recs = append(p.recs, stored{r, w.Now, foreign})
	if q.Keep > 0 && p.End()-p.Start > q.Keep {
		p.Start = p.End() - q.Keep
	}
}

// step polls when it is time: committed offsets first, then ends, as the pollers do.
func (q *Queue) step(w *World) {
	if !q.Offsets || q.Poller == nil || w.Now < q.nextPoll {
		return
	}
	q.nextPoll = w.Now + q.Every + w.between(-q.Jitter, q.Jitter)
	if q.Away || q.Poller.Down {
		return
	}
	if q.Absurd > 0 {
		q.nonsense = w.Now
	}
	at := q.Poller.clock(w)
	type value struct {
		s *series
		v float64
	}
	var vs []value
	take := func(p *Part, i int, name string, v float64, group string) {
		k := name + group
		s := p.lines[k]
		if s == nil {
			more := []string{"system", q.System, "cluster", "c", "destination", q.Name, "partition", strconv.Itoa(i), "node", q.Poller.Name}
			if group != "" {
				more = append(more, "group", group)
			}
			s = w.Engine.line(name, more...)
			p.lines[k] = s
		}
		if q.Absurd > 0 && w.chance(q.Absurd) {
			v = []float64{0, -1, math.NaN(), math.Inf(1), 1e18, -9e18, v * 2, v / 2, v - 1000}[w.Rng.IntN(9)]
		}
		vs = append(vs, value{s, v})
	}
	for i, p := range q.Parts {
		for _, g := range q.Groups {
			if q.NoGroups {
				continue
			}
			c := p.curs[g]
			if c.committed >= 0 {
				take(p, i, "weir_broker_committed_offset", float64(c.committed), g)
				if at := c.committed; q.Stamps && at >= p.Start && at < p.End() {
					take(p, i, "weir_broker_committed_timestamp_seconds", float64(p.recs[at].at+q.Poller.Skew)/1000, g)
				}
			}
			if q.Handed {
				take(p, i, "weir_broker_delivered_offset", float64(c.top), g)
				take(p, i, "weir_broker_delivered_total", float64(c.handed), g)
				if c.committed >= 0 { // such brokers say what waits as well
					top := max(c.top, c.committed)
					take(p, i, "weir_broker_pending_messages", float64(max(p.End()-max(top, p.Start), 0)), g)
					take(p, i, "weir_broker_unacked_messages", float64(top-c.committed), g)
				}
			}
		}
		take(p, i, "weir_broker_start_offset", float64(p.Start), "")
		take(p, i, "weir_broker_end_offset", float64(p.End()+q.Markers), "")
		if q.Markers > 0 {
			take(p, i, "weir_broker_stable_offset", float64(p.End()+q.Markers), "")
		}
	}
	w.post(w.between(0, q.Delay), func() {
		for _, v := range vs {
			v.s.add(at, v.v)
		}
		w.Engine.line("weir_broker_up", "system", q.System, "cluster", "c").add(at, 1)
	})
}

// rewind sets a group back by at most n records on a partition and returns by how many.
func (q *Queue) rewind(p *Part, group string, n int64) int64 {
	c := p.curs[group]
	to := max(p.Start, c.committed-n)
	n = c.committed - to
	c.committed, c.next = to, to
	return n
}

// skip sets a group forward to the end and returns over how many records.
func (q *Queue) skip(p *Part, group string) int64 {
	c := p.curs[group]
	n := p.End() - max(c.next, p.Start)
	c.committed, c.next = p.End(), p.End()
	return n
}

// expire deletes everything but the newest keep records and returns how many.
func (q *Queue) expire(p *Part, keep int64) int64 {
	before := p.Start
	p.Start = max(p.Start, p.End()-keep)
	return p.Start - before
}

// truncate takes the newest n records away, as an unclean election does.
func (q *Queue) truncate(w *World, p *Part, n int64) int64 {
	q.fell = w.Now
	n = min(n, p.End()-p.Start)
	p.recs = slices.Clip(p.recs[:p.End()-n])
	for _, c := range p.curs {
		c.committed, c.next = min(c.committed, p.End()), min(c.next, p.End())
	}
	return n
}

// recreate deletes the topic and makes it anew: offsets begin at 0, groups have never committed.
func (q *Queue) recreate(w *World) {
	q.fell = w.Now
	for i, p := range q.Parts {
		n := newPart(q.Groups)
		n.lines = p.lines
		for _, c := range n.curs {
			c.committed = -1
		}
		q.Parts[i] = n
	}
}
