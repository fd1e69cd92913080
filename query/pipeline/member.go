package pipeline

import (
	"math"
	"slices"

	"github.com/weirhq/weir/query/flow"
)

// member is one group on one partition.
type member struct {
	group string
	r     *reading
	table *flow.Table // committed offsets

	committed, uncommitted, recordTS, delivered, deliveredTotal, pending, unacked, redelivered, filter sample

	filtered bool
	watch    flow.Watch
	events   []flow.Event
	told     int          // events already made into verdicts
	again    []flow.Point // deliveries beyond positions, over time
	between  []flow.Point // at a rewind: records that may have been read after the poll before it, and come again as well
	fastest  int64        // most that was committed between two polls
	before   int64        // committed at the poll before

	// computed at the last poll
	at                int64
	handed            int64 // deliveries at the poll before
	movedAt           int64 // poll at which the commit last went forward
	moved             float64
	reach             float64 // delivered position then
	gap               float64 // usual time between commits, seconds, at the upper end; 0 = not known
	prevEnd, prevC    int64
	poison, noCommit  bool
	behind            bool // far enough that its trend is worth the work
	upper             bool // the backlog is an upper bound: the destination is compacted
	beyond            bool // the commit lies beyond the end
	lag               flow.TimeLag
	in, out, speed    flow.Slope
	course            flow.Course
	trend             string
	records, readable float64 // not acknowledged; of them, still there
	potential         float64 // never committed: most that may wait
	held              float64 // behind an open transaction
	drain             float64
	stalled, repeats  float64 // seconds; redeliveries since the commit last moved
}

// Spans over which slopes are taken, milliseconds: the short one, twelve polls, sees changes soon; the long one is steadier.
const (
	minShort = 30_000
	maxShort = 120_000
	longSpan = 300_000
)

// How long a group must have taken nothing to be called stalled, seconds: while its usual commit interval
// is not known, and at least.
const (
	stallAfter = 15
	minStall   = 5
)

func (m *member) take(p *partition, fig int, s sample) {
	switch fig {
	case figCommitted:
		m.committed = s
		m.table.Add(s.at, int64(s.v))
	case figUncommitted:
		m.uncommitted = s
	case figRecordTS:
		m.recordTS = s
	case figDelivered:
		m.delivered = s
	case figDeliveredTotal:
		m.deliveredTotal = s
		if m.delivered.at == s.at {
			m.repeated(s.at, int64(s.v-m.delivered.v))
		}
	case figPending:
		m.pending = s
	case figUnacked:
		m.unacked = s
	case figRedelivered:
		m.redelivered = s
	case figFiltered:
		// A group that reads only some records: offsets say nothing about its backlog.
		if m.filter, m.filtered = s, s.v != 0; m.filtered {
			delete(p.Groups, m.group)
		}
	}
}

// heard is the newest poll that told of the group.
func (m *member) heard() int64 { return max(m.committed.at, m.uncommitted.at) }

// repeated notes how far deliveries are ahead of positions: what it grows by is delivered again.
func (m *member) repeated(at, v int64) {
	if n := len(m.again); n > 0 && m.again[n-1].V == v {
		return
	}
	m.again = append(m.again, flow.Point{T: at, V: v})
	if len(m.again) > 2000 {
		m.again = slices.Delete(m.again, 0, 1000)
	}
}

// redeliveries since a time, at most: positions that went back, what was read between the polls before, and deliveries
// that were repeated.
func (m *member) redeliveries(since int64) int64 {
	var n int64
	for _, e := range m.events {
		if e.Kind == flow.EventRewind && e.T >= since {
			n += e.N
		}
	}
	for _, b := range m.between {
		if b.T >= since {
			n += b.V
		}
	}
	for i := 1; i < len(m.again); i++ {
		if d := m.again[i].V - m.again[i-1].V; d > 0 && m.again[i].T >= since {
			n += d
		}
	}
	return n
}

// sampled makes the samples and slope of the partition's end for a poll once for all groups.
func (p *partition) sampled(now, span int64) {
	if p.at == now && p.span == span {
		return
	}
	p.at, p.span = now, span
	p.ends = p.End.Recent(now, span, flow.SlopePoints)
	p.in = flow.TheilSen(p.ends)
}

func (p *partition) sampledLong(now int64) {
	if p.longAt == now {
		return
	}
	p.longAt = now
	p.longEnds = p.End.Recent(now, longSpan, flow.SlopePoints)
	p.inLong = flow.TheilSen(p.longEnds)
}

// compute brings lag, rates and findings of a group on a partition up to its newest poll; false when there is none.
func (m *member) compute(p *partition) bool {
	now := m.heard()
	if now == 0 || now == m.at || p.end.at < now-60_000 || p.start.v > p.end.v && p.start.at > 0 {
		return false
	}
	prevAt := m.at
	m.at = now
	m.noCommit = m.uncommitted.at > 0 && m.uncommitted.at >= m.committed.at && m.uncommitted.v != 0
	if m.filtered && m.filter.at < now { // no longer
		m.filtered = false
		p.Groups[m.group] = m.table
	}
	start, end, committed := int64(p.start.v), int64(p.end.v), int64(m.committed.v)
	m.find(p, flow.Offsets{T: now, Start: start, End: end, Committed: committed}, prevAt)
	short := int64(minShort)
	if prevAt > 0 {
		short = min(max(12*(now-prevAt), minShort), maxShort)
	}
	p.sampled(now, short)
	m.in, m.upper, m.potential, m.held = p.in, p.present(p.compacted), 0, 0
	switch {
	case m.noCommit:
		m.clear()
		m.potential = float64(max(end-start, 0))
		m.lag.Known = m.potential == 0
		return true
	case m.filtered:
		m.clear()
		m.records = m.pending.v + m.unacked.v
		m.lag.Known = m.records == 0
		return true
	}
	slack := math.Max(1000, 60*math.Max(m.in.Rate, 0))
	if m.beyond = float64(committed-end) > slack; m.beyond { // an offset that is not of this log: nobody knows what waits
		m.clear()
		return true
	}
	// Readers of committed transactions see the records before the last stable offset.
	visible := end
	transactions := p.stable.at > 0 && p.present(p.stable)
	if stable := int64(p.stable.v); transactions && stable <= end && committed <= stable {
		m.held = float64(end - stable)
		visible = stable
	}
	record := int64(0)
	if m.recordTS.at == now {
		record = int64(m.recordTS.v * 1000)
	}
	readable, nominal := flow.Messages(start, visible, committed)
	if transactions && record == 0 && flow.TransactionalLag(visible, committed, m.prevEnd, m.prevC, 1) == 0 {
		readable, nominal = 0, 0 // only the marker of a transaction is left
	}
	m.prevEnd, m.prevC = visible, committed
	m.records, m.readable = float64(nominal), float64(readable)
	m.lag = flow.TimeLag{Known: true}
	if nominal > 0 {
		m.lag = flow.LagOf(now, visible, max(committed, min(start, visible-1), 0), record, &p.End)
	}
	m.stall(p, now, committed)
	m.trends(p, now, short, float64(now-prevAt)/1000)
	return true
}

// clear forgets what is known of the backlog.
func (m *member) clear() {
	m.lag, m.records, m.readable, m.drain, m.stalled = flow.TimeLag{}, 0, 0, 0, 0
	m.out, m.speed, m.course, m.trend, m.behind, m.poison = flow.Slope{}, flow.Slope{}, flow.Course{}, flow.TrendUnknown, false, false
}

// find runs the rules about offsets.
func (m *member) find(p *partition, o flow.Offsets, prevAt int64) {
	delivered := int64(-1)
	if m.deliveredTotal.at == o.T {
		if m.handed > 0 {
			delivered = max(0, int64(m.deliveredTotal.v)-m.handed)
		}
		m.handed = int64(m.deliveredTotal.v)
	}
	if p.present(p.synthetic) {
		return
	}
	if m.noCommit {
		o.Committed = -1
	}
	m.watch.Loose = p.present(p.compacted)
	for _, e := range m.watch.Step(o, delivered) {
		if prevAt > 0 {
			m.events = append(m.events, e)
		}
		if more := min(m.fastest, o.End-e.To); e.Kind == flow.EventRewind && more > 0 {
			m.between = append(m.between, flow.Point{T: e.T, V: more})
			m.between = m.between[max(0, len(m.between)-500):]
		}
	}
	if m.before > 0 && o.Committed > m.before {
		m.fastest = max(m.fastest, o.Committed-m.before)
	}
	m.before = o.Committed
	if len(m.events) > 1000 {
		m.events = slices.Delete(m.events, 0, 500)
		m.told = max(0, m.told-500)
	}
}

// stall finds for how long nothing was taken although there was something, and whether one record is to blame.
func (m *member) stall(p *partition, now, committed int64) {
	if m.committed.v != m.moved {
		if m.movedAt > 0 {
			m.gap = math.Max(float64(now-m.movedAt)/1000, m.gap*0.9)
		}
		m.movedAt, m.moved, m.reach = now, m.committed.v, m.delivered.v
	}
	patience := float64(stallAfter) // commits come in steps: wait longer than they usually take
	if m.gap > 0 {
		patience = math.Max(minStall, 3*m.gap)
	}
	m.stalled, m.repeats, m.poison = 0, 0, false
	if m.records <= 0 {
		return
	}
	since, ok := m.table.Reached(committed)
	if !ok {
		return
	}
	if there, ok := p.End.Reached(committed + 1); ok {
		if m.stalled = float64(now-max(since, there)) / 1000; m.stalled < patience {
			m.stalled = 0
		}
	}
	if m.stalled > 0 {
		m.repeats = float64(m.redeliveries(m.movedAt))
		m.poison = m.delivered.at == now && (m.delivered.v > m.reach && m.redelivered.v > 0 || m.repeats >= 3)
	}
}

// trends takes slopes: exact ones for readers that are behind, rough ones for the others.
func (m *member) trends(p *partition, now, short int64, poll float64) {
	commits := m.table.Recent(now, short, flow.SlopePoints)
	m.behind = m.readable > 0 && (m.stalled > 0 || !m.lag.Known || m.lag.Seconds > math.Max(2, 2*math.Min(poll, 60)))
	if !m.behind {
		m.out, m.trend, m.drain, m.course, m.speed = flow.RoughSlope(commits), flow.Steady, 0, flow.Course{}, flow.Slope{}
		if !m.out.Known() {
			m.trend = flow.TrendUnknown
		}
		return
	}
	m.out = flow.TheilSen(commits)
	p.sampledLong(now)
	long := m.table.Recent(now, longSpan, flow.SlopePoints)
	recent := flow.Minus(p.ends, commits)
	m.course = flow.CourseFrom(recent, flow.Minus(p.longEnds, long), math.Max(m.in.Rate, m.out.Rate))
	m.trend = flow.Trend(flow.TheilSen(recent), m.in.Rate)
	if m.stalled > 0 { // what it took before says nothing about now: the backlog grows by what flows in
		m.course.Rate, m.course.Trend = -m.in.Rate, m.in
	}
	m.drain = flow.Drain(m.readable, 0, m.course.Rate)
	// How fast event time goes by for the reader.
	var times [flow.SlopePoints]flow.XY
	n := 0
	for _, c := range commits {
		if at, _, ok := p.End.TimeOf(int64(c.Y)); ok && n < len(times) {
			times[n] = flow.XY{X: c.X, Y: at / 1000}
			n++
		}
	}
	m.speed = flow.TheilSen(times[:n])
	if m.stalled > 0 && m.speed.Known() {
		m.speed.Rate, m.speed.Low = 0, 0
	}
}
