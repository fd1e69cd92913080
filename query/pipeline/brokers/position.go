package brokers

import (
	"math"
	"slices"

	"github.com/weirhq/weir/query/flow"
)

// Position is where one consumer group stands on one partition.
type Position struct {
	group string
	r     *Reading
	table *flow.Table // committed offsets

	committed, uncommitted, recordTS, delivered, deliveredTotal, pending, unacked, redelivered, filter sample

	filtered bool
	watch    flow.Watch
	events   []flow.Event
	told     int          // events already given out by NewEvents
	again    []flow.Point // deliveries beyond positions, over time
	holes    []flow.Point // told changes, over time, of how many records beyond the commit do not wait: acknowledged out of order, markers
	between  []flow.Point // at a rewind: records that may have been read after the poll before it, and come again as well
	fastest  int64        // most that was committed between two polls
	before   int64        // committed at the poll before

	// computed at the last poll
	at                int64
	handed            int64 // deliveries at the poll before
	movedAt           int64 // poll at which the commit last went forward
	moved             float64
	reach             float64 // delivered position then
	took              float64 // commit and holes at the poll at which they last went forward
	tookAt            int64   // that poll
	passing           bool    // it takes other records than the one at its commit
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

func (pos *Position) take(p *Partition, fig int, s sample) {
	switch fig {
	case figCommitted:
		pos.committed = s
		pos.table.Add(s.at, int64(s.v))
	case figUncommitted:
		pos.uncommitted = s
	case figRecordTS:
		pos.recordTS = s
	case figDelivered:
		pos.delivered = s
	case figDeliveredTotal:
		pos.deliveredTotal = s
		if pos.delivered.at == s.at {
			pos.repeated(s.at, int64(s.v-pos.delivered.v))
		}
	case figPending:
		pos.pending = s
	case figUnacked:
		pos.unacked = s
	case figRedelivered:
		pos.redelivered = s
	case figFiltered:
		// A group that reads only some records: offsets say nothing about its backlog.
		if pos.filter, pos.filtered = s, s.v != 0; pos.filtered {
			delete(p.Groups, pos.group)
		}
	}
}

// Committed is the offset that the group committed, and when the broker told it, Unix milliseconds.
func (pos *Position) Committed() (offset float64, at int64) { return pos.committed.v, pos.committed.at }

// Events are what offset rules found of late, oldest first.
func (pos *Position) Events() []flow.Event { return pos.events }

// NewEvents are those since the last call.
func (pos *Position) NewEvents() []flow.Event {
	events := pos.events[pos.told:]
	pos.told = len(pos.events)
	return events
}

// heard is the newest poll that told of the group.
func (pos *Position) heard() int64 { return max(pos.committed.at, pos.uncommitted.at) }

// repeated notes how far deliveries are ahead of positions: what it grows by is delivered again.
func (pos *Position) repeated(at, v int64) {
	if n := len(pos.again); n > 0 && pos.again[n-1].V == v {
		return
	}
	pos.again = append(pos.again, flow.Point{T: at, V: v})
	if len(pos.again) > 2000 {
		pos.again = slices.Delete(pos.again, 0, 1000)
	}
}

// redeliveries since a time, at most: positions that went back, what was read between the polls before, and deliveries
// that were repeated.
func (pos *Position) redeliveries(since int64) int64 {
	var n int64
	for _, e := range pos.events {
		if e.Kind == flow.EventRewind && e.T >= since {
			n += e.N
		}
	}
	for _, b := range pos.between {
		if b.T >= since {
			n += b.V
		}
	}
	for i := 1; i < len(pos.again); i++ {
		if d := pos.again[i].V - pos.again[i-1].V; d > 0 && pos.again[i].T >= since {
			n += d
		}
	}
	return n
}

// compute brings lag, rates and findings of a group on a partition up to its newest poll; false when there is none.
func (pos *Position) compute(p *Partition) bool {
	now := pos.heard()
	if now == 0 || now == pos.at || p.end.at < now-60_000 || p.start.v > p.end.v && p.start.at > 0 {
		return false
	}
	prevAt := pos.at
	pos.at = now
	pos.noCommit = pos.uncommitted.at > 0 && pos.uncommitted.at >= pos.committed.at && pos.uncommitted.v != 0
	if pos.filtered && pos.filter.at < now { // no longer
		pos.filtered = false
		p.Groups[pos.group] = pos.table
	}
	start, end, committed := int64(p.start.v), int64(p.end.v), int64(pos.committed.v)
	pos.find(p, flow.Offsets{T: now, Start: start, End: end, Committed: committed}, prevAt)
	short := int64(minShort)
	if prevAt > 0 {
		short = min(max(12*(now-prevAt), minShort), maxShort)
	}
	p.sampled(now, short)
	pos.in, pos.upper, pos.potential, pos.held = p.in, p.present(p.compacted), 0, 0
	switch {
	case pos.noCommit:
		pos.clear()
		pos.potential = float64(max(end-start, 0))
		pos.lag.Known = pos.potential == 0
		return true
	case pos.filtered:
		pos.clear()
		pos.records = pos.pending.v + pos.unacked.v
		pos.lag.Known = pos.records == 0
		return true
	}
	slack := math.Max(1000, 60*math.Max(pos.in.Rate, 0))
	if pos.beyond = float64(committed-end) > slack; pos.beyond { // an offset that is not of this log: nobody knows what waits
		pos.clear()
		return true
	}
	// Readers of committed transactions see the records before the last stable offset.
	visible := end
	transactions := p.stable.at > 0 && p.present(p.stable)
	if stable := int64(p.stable.v); transactions && stable <= end && committed <= stable {
		pos.held = float64(end - stable)
		visible = stable
	}
	record := int64(0)
	if pos.recordTS.at == now {
		record = int64(pos.recordTS.v * 1000)
	}
	readable, nominal := flow.Messages(start, visible, committed)
	if transactions && record == 0 && flow.TransactionalLag(visible, committed, pos.prevEnd, pos.prevC, 1) == 0 {
		readable, nominal = 0, 0 // only the marker of a transaction is left
	}
	pos.prevEnd, pos.prevC = visible, committed
	if waits, told := pos.waits(); told { // at most what offsets say: not all that lies between them waits
		readable, nominal = min(readable, waits), min(nominal, waits)
		pos.hole(now, prevAt, max(0, visible-committed)-nominal)
	} else {
		pos.hole(now, prevAt, 0)
	}
	pos.records, pos.readable = float64(nominal), float64(readable)
	pos.lag = flow.TimeLag{Known: true}
	if nominal > 0 {
		pos.lag = flow.LagOf(now, visible, max(committed, min(start, visible-1), 0), record, &p.End)
	}
	pos.stall(p, now, committed)
	pos.trends(p, now, short, float64(now-prevAt)/1000)
	return true
}

// clear forgets what is known of the backlog.
func (pos *Position) clear() {
	pos.lag, pos.records, pos.readable, pos.drain, pos.stalled = flow.TimeLag{}, 0, 0, 0, 0
	pos.out, pos.speed, pos.course, pos.trend, pos.behind, pos.poison, pos.passing = flow.Slope{}, flow.Slope{}, flow.Course{}, flow.TrendUnknown, false, false, false
}

// find runs the rules about offsets.
func (pos *Position) find(p *Partition, o flow.Offsets, prevAt int64) {
	delivered, position := int64(-1), int64(0)
	if pos.deliveredTotal.at == o.T {
		total := int64(pos.deliveredTotal.v)
		if pos.handed > 0 {
			if delivered = total - pos.handed; delivered < 0 { // counted anew: its reader was made anew
				delivered = total
			}
		}
		pos.handed = total
		if pos.delivered.at == o.T {
			position = int64(pos.delivered.v)
		}
	}
	if p.present(p.synthetic) {
		return
	}
	if pos.filtered { // what it leaves out on purpose looks like a skip, and what is deleted of that is no loss
		pos.watch, pos.before = flow.Watch{}, 0
		return
	}
	if pos.noCommit {
		o.Committed = -1
	}
	pos.watch.Loose = p.present(p.compacted)
	for _, e := range pos.watch.StepAt(o, delivered, position) {
		if prevAt > 0 {
			pos.events = append(pos.events, e)
		}
		if more := min(pos.fastest, o.End-e.To); e.Kind == flow.EventRewind && more > 0 {
			pos.between = append(pos.between, flow.Point{T: e.T, V: more})
			pos.between = pos.between[max(0, len(pos.between)-500):]
		}
	}
	if pos.before > 0 && o.Committed > pos.before {
		pos.fastest = max(pos.fastest, o.Committed-pos.before)
	}
	pos.before = o.Committed
	if len(pos.events) > 1000 {
		pos.events = slices.Delete(pos.events, 0, 500)
		pos.told = max(0, pos.told-500)
	}
}

// stall finds for how long nothing was taken although there was something, and whether one record is to blame.
func (pos *Position) stall(p *Partition, now, committed int64) {
	if pos.committed.v != pos.moved {
		if pos.movedAt > 0 {
			pos.gap = math.Max(float64(now-pos.movedAt)/1000, pos.gap*0.9)
		}
		pos.movedAt, pos.moved, pos.reach = now, pos.committed.v, pos.delivered.v
	}
	patience := float64(stallAfter) // commits come in steps: wait longer than they usually take
	if pos.gap > 0 {
		patience = math.Max(minStall, 3*pos.gap)
	}
	took := pos.committed.v
	if n := len(pos.holes); n > 0 {
		took += float64(pos.holes[n-1].V)
	}
	if took != pos.took {
		pos.took, pos.tookAt = took, now
	}
	pos.passing = len(pos.holes) > 0 && float64(now-pos.tookAt)/1000 < patience
	pos.stalled, pos.repeats, pos.poison = 0, 0, false
	if pos.records <= 0 {
		return
	}
	since, ok := pos.table.Reached(committed)
	if !ok {
		return
	}
	if there, ok := p.End.Reached(committed + 1); ok {
		if pos.stalled = float64(now-max(since, there)) / 1000; pos.stalled < patience {
			pos.stalled = 0
		}
	}
	if pos.stalled > 0 {
		pos.repeats = float64(pos.redeliveries(pos.movedAt))
		pos.poison = pos.delivered.at == now && (pos.delivered.v > pos.reach && pos.redelivered.v > 0 || pos.repeats >= 3)
	}
	if pos.passing && !pos.poison {
		pos.stalled, pos.repeats = 0, 0
	}
}

// trends takes slopes: exact ones for readers that are behind, rough ones for the others.
func (pos *Position) trends(p *Partition, now, short int64, poll float64) {
	commits := pos.taken(now, short, flow.SlopePoints)
	pos.behind = pos.readable > 0 && (pos.stalled > 0 || !pos.lag.Known || pos.lag.Seconds > math.Max(2, 2*math.Min(poll, 60)))
	if !pos.behind {
		pos.out, pos.trend, pos.drain, pos.course, pos.speed = flow.RoughSlope(commits), flow.Steady, 0, flow.Course{}, flow.Slope{}
		if !pos.out.Known() {
			pos.trend = flow.TrendUnknown
		}
		return
	}
	pos.out = flow.TheilSen(commits)
	p.sampledLong(now)
	long := pos.taken(now, longSpan, flow.SlopePoints)
	recent := flow.Minus(p.ends, commits)
	pos.course = flow.CourseFrom(recent, flow.Minus(p.longEnds, long), math.Max(pos.in.Rate, pos.out.Rate))
	pos.trend = flow.Trend(flow.TheilSen(recent), pos.in.Rate)
	if pos.stalled > 0 && !pos.passing { // what it took before says nothing about now: the backlog grows by what flows in
		pos.course.Rate, pos.course.Trend = -pos.in.Rate, pos.in
	}
	pos.drain = flow.Drain(pos.readable, 0, pos.course.Rate)
	// How fast event time goes by for the reader.
	var times [flow.SlopePoints]flow.XY
	n := 0
	if len(pos.holes) > 0 {
		commits = pos.table.Recent(now, short, flow.SlopePoints)
	}
	for _, c := range commits {
		if at, _, ok := p.End.TimeOf(int64(c.Y)); ok && n < len(times) {
			times[n] = flow.XY{X: c.X, Y: at / 1000}
			n++
		}
	}
	pos.speed = flow.TheilSen(times[:n])
	if pos.stalled > 0 && pos.speed.Known() {
		pos.speed.Rate, pos.speed.Low = 0, 0
	}
}
