package flow

import (
	"time"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// graceEnd is when the producers of the window should have reported it.
func (s *settler) graceEnd() int64 { return add(s.w.endMS(), s.rules.Grace.Milliseconds()) }

func (s *settler) plusMargin(at int64) int64 {
	if at >= far {
		return far
	}
	return at + s.rules.Margin.Milliseconds()
}

func (s *settler) heard(cs []contributor, past int64) bool {
	if past >= far {
		return false
	}
	for _, c := range cs {
		if h, ok := s.Audit.heard[c.node]; ok && h < past {
			return false
		}
	}
	return true
}

// quiet says whether the counts of ports have rested for one flush interval and the margin: a count
// that still moves is not final, whatever the offsets say.
func (s *settler) quiet(ports []Port) bool {
	for _, p := range ports {
		sum := s.Tally.At(p, s.w)
		rest := s.Audit.Flush(sum.Nodes) + s.rules.Margin.Milliseconds()
		if at := s.Changes.At(p, s.w); at > 0 && sub(s.Now, at) < rest {
			return false
		}
	}
	return true
}

// stageDone says when a stage was through with the window: a source after the grace period, any
// other once it has taken in everything and its nodes have reported past that.
func (s *settler) stageDone(name string) done {
	if d, ok := s.stages[name]; ok {
		return d // also cuts circles: a stage being visited counts as done at the grace period
	}
	start := done{s.graceEnd(), s.Now >= s.graceEnd()}
	s.stages[name] = start
	st, ok := s.Topology.Stage(name)
	if !ok {
		return start
	}
	d := start
	for _, in := range st.In {
		p := s.passed(in)
		d.at = max(d.at, s.plusMargin(p.at))
		d.ok = d.ok && p.ok
	}
	d.ok = d.ok && s.Now >= d.at
	d.ok = d.ok && s.heard(s.contributorsOf(name), d.at)
	s.stages[name] = d
	return d
}

// contributorsOf are the nodes that count anything at a stage.
func (s *settler) contributorsOf(stage string) []contributor {
	if cs, ok := s.counters[stage]; ok {
		return cs
	}
	var ports []Port
	for _, dir := range cell.Dirs() {
		ports = append(ports, s.Tally.Ports(stage, dir)...)
	}
	cs := s.Tally.contributors(ports)
	s.counters[stage] = cs
	return cs
}

// wrote says when all stages that write a destination were through with the window.
func (s *settler) wrote(destination string) done {
	d := done{s.graceEnd(), s.Now >= s.graceEnd()}
	for _, st := range s.Topology.Stages {
		for _, o := range st.Out {
			if o != destination {
				continue
			}
			w := s.stageDone(st.Name)
			d.at, d.ok = max(d.at, w.at), d.ok && w.ok
		}
	}
	return d
}

// passed says when a group had taken in everything of the window: when it had committed the barrier
// of every partition, or, without offsets, when the usual latency was over.
func (s *settler) passed(in Input) done {
	if p, ok := s.passes[in]; ok {
		return p
	}
	p := s.pass(in)
	s.passes[in] = p
	return p
}

func (s *settler) pass(in Input) done {
	wrote := s.wrote(in.Destination)
	q := s.Queues[in.Destination]
	if !q.Reads(in.Group) {
		if wrote.at >= far {
			return done{far, false}
		}
		latency := s.rules.MaxLatency
		if s.Latency != nil {
			latency = min(max(s.Latency(in.Destination), 0), s.rules.MaxLatency)
		}
		at := add(wrote.at, latency.Milliseconds())
		return done{at, wrote.ok && s.Now >= at}
	}
	if !wrote.ok {
		return done{far, false}
	}
	d := done{wrote.at, true}
	for _, p := range q.Partitions {
		b, ok := s.barrier(q, p, wrote.at)
		if !ok {
			return done{far, false}
		}
		at, ok := s.through(p, in.Group, b)
		if !ok {
			return done{far, false}
		}
		d.at = max(d.at, at)
	}
	return d
}

// barrier is the offset that nothing of the window can lie at or above. Counts that came after the
// stored barrier (late cells) move it to the first poll after them.
func (s *settler) barrier(q *Queue, p *QueuePartition, complete int64) (store.Barrier, bool) {
	k := BarrierKey{q.System, q.Cluster, q.Destination, p.Name, s.w.Start, s.w.Width}
	b, ok := s.Barriers[k]
	if !ok {
		pt, found := p.End.After(complete)
		if !found || pt.T > s.Now {
			return store.Barrier{}, false
		}
		b = store.Barrier{
			System: q.System, Cluster: q.Cluster, Destination: q.Destination, Partition: p.Name,
			Window: s.w.Start, Width: s.w.Width, Offset: pt.V, At: pt.T,
		}
		s.Barriers[k] = b
		s.out.Barriers = append(s.out.Barriers, b)
	}
	changed := int64(0)
	for _, st := range s.Topology.Stages {
		for _, o := range st.Out {
			if o == q.Destination {
				changed = max(changed, s.Changes.At(Port{Stage: st.Name, Dir: cell.Out, Destination: o}, s.w))
			}
		}
	}
	if changed > b.At {
		pt, found := p.End.After(changed)
		if !found {
			return store.Barrier{}, false
		}
		if fell, ok := p.End.Fell(); !ok || fell.T <= b.At || fell.T > pt.T { // else its offset was of what is gone
			pt.V = max(b.Offset, pt.V)
		}
		b.Offset, b.At = pt.V, pt.T
	}
	return b, true
}

// through says when a group had passed a barrier: it committed that far, nothing was appended since
// before the window, or retention deleted what it had not read.
func (s *settler) through(p *QueuePartition, group string, b store.Barrier) (int64, bool) {
	// Where the end went back below the barrier (truncation, a topic made anew), nobody will ever get that far: what
	// is above is gone, and the rest is through when the group is at what was left.
	since := int64(-far)
	if fell, ok := p.End.Fell(); ok && fell.T > b.At && fell.V < b.Offset {
		b.Offset, b.At = fell.V, fell.T
	} else if ok && fell.T <= b.At {
		since = fell.T // offsets committed before are of another life
	}
	if at, ok := p.Groups[group].ReachedSince(b.Offset, since); ok {
		// Beyond the end is no offset of this queue: wait for the next poll.
		c, _ := p.Groups[group].Before(at)
		if end, ok := p.End.Last(); !ok || c.V <= end.V {
			return max(at, b.At), true
		}
	}
	// A clock ahead stamps records of the window before it begins.
	if pt, ok := p.End.Before(sub(s.w.startMS(), s.rules.Margin.Milliseconds())); ok && pt.V >= b.Offset {
		return b.At, true
	}
	if at, ok := p.Start.Reached(b.Offset); ok {
		return max(at, b.At), true
	}
	return 0, false
}

// endDelta is how many records the broker took between the barriers of this window and the one before.
func (s *settler) endDelta(destination string) (n, bound int64) {
	q := s.Queues[destination]
	if q == nil {
		return -1, 0
	}
	prev := s.w
	prev.Start -= s.w.Width
	for _, p := range q.Partitions {
		k := BarrierKey{q.System, q.Cluster, q.Destination, p.Name, s.w.Start, s.w.Width}
		b, ok := s.Barriers[k]
		k.Window = prev.Start
		a, ok2 := s.Barriers[k]
		if !ok || !ok2 || b.Offset < a.Offset || b.At <= a.At {
			return -1, 0
		}
		d := sub(b.Offset, a.Offset)
		n = add(n, d)
		// The two polls need not be one width apart: what flowed in the difference is no evidence.
		off := sub(sub(b.At, a.At), s.w.Width*1000)
		bound = add(bound, whole(float64(d)*float64(max(off, -off))/float64(b.At-a.At)))
		// And both came after the windows they stand for. Where the flow changes, it is what was appended in the window itself.
		from, ok := p.End.Before(s.w.startMS())
		to, ok2 := p.End.After(s.w.endMS())
		if ok && ok2 {
			most := sub(to.V, from.V)
			bound = add(bound, max(sub(most, d), sub(d, most), 0))
		}
	}
	return n, add(bound, whole(float64(n)*float64(time.Second.Milliseconds())/float64(s.w.Width*1000)))
}

// Passed says whether a group has taken in what lay in the queue when a window was over, and by when. told is false when the
// broker does not know the group, or has not been asked since.
func (q *Queue) Passed(group string, w Window, settle time.Duration) (passed, told bool, at int64) {
	if !q.Reads(group) {
		return false, false, 0
	}
	over := add(w.endMS(), settle.Milliseconds())
	for _, p := range q.Partitions {
		b, ok := p.End.After(over)
		if !ok {
			return false, false, 0
		}
		reached, ok := p.Groups[group].Reached(b.V)
		if before, was := p.End.Before(w.startMS()); !ok && was && before.V >= b.V {
			reached, ok = b.T, true // nothing was appended since
		}
		if begin, gone := p.Start.Reached(b.V); !ok && gone {
			reached, ok = begin, true // deleted unread
		}
		if !ok {
			return false, true, 0
		}
		at = max(at, reached, b.T)
	}
	return true, true, at
}

// behind says of a balance on a hop of which no offsets tell that records of the window are missing while none that are
// two windows younger have come through yet: they may still wait where nobody sees them. (One window younger could be a
// clock ahead.)
func (s *settler) behind(v *view) bool {
	if v.kind == store.EdgeTransport {
		in := Input{v.edge.Destination, v.edge.Group}
		return !s.Queues[in.Destination].Reads(in.Group) && s.waits(in)
	}
	blind := false
	for _, in := range v.stage.In {
		if s.Queues[in.Destination].Reads(in.Group) {
			continue
		}
		blind = true
		if s.waits(in) {
			return true
		}
	}
	if !blind {
		return false
	}
	var through []Port
	for _, d := range []cell.Dir{cell.Out, cell.Filtered, cell.Dropped, cell.DLQ, cell.Covers} {
		through = append(through, s.Tally.Ports(v.stage.Name, d)...)
	}
	return s.sum(v.up) > s.sum(through) && !s.younger(through)
}

// waits says whether less of the window was taken from an input than was put in, and nothing younger.
func (s *settler) waits(in Input) bool {
	var writers, readers []Port
	for _, st := range s.Topology.Stages {
		writers = append(writers, Port{st.Name, cell.Out, in.Destination, ""})
		readers = append(readers, Port{st.Name, cell.In, in.Destination, in.Group})
	}
	return s.sum(readers) < s.sum(writers) && !s.younger(readers)
}

func (s *settler) sum(ports []Port) (n uint64) {
	for _, p := range ports {
		n += s.Tally.At(p, s.w).N
	}
	return n
}

// younger says whether any of the ports counted records two windows younger, one flush interval and the margin ago: what a
// stage puts out after a stall comes within a moment, and not all of it in the order of its age.
func (s *settler) younger(ports []Port) bool {
	for _, p := range ports {
		for start, sum := range s.Tally.ports[p] {
			if sum.N > 0 && start >= add(s.w.End(), s.w.Width) && sub(s.Now, s.Changes.First(p, start)) >= s.Audit.Flush(sum.Nodes)+s.rules.Margin.Milliseconds() {
				return true
			}
		}
	}
	return false
}
