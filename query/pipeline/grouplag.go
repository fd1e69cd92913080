package pipeline

import (
	"math"
	"slices"

	"github.com/weirhq/weir/query/flow"
)

// Spans over which slopes are taken, milliseconds: the short one, twelve polls, sees changes soon; the long one is steadier.
const (
	minShort = 30_000
	maxShort = 120_000
	longSpan = 300_000
	slopeN   = 13
)

// compute brings lag, rates and findings of a group on a partition up to its newest poll.
func (m *member) compute(p *partition) {
	now := m.committed.at
	if now == 0 || now == m.at || p.end.at < now-60_000 {
		return
	}
	prevAt, table := m.at, m.table
	m.at = now
	end, committed := int64(p.end.v), int64(m.committed.v)
	o := flow.Offsets{T: now, Start: int64(p.start.v), End: end, Committed: committed}
	delivered := int64(-1)
	if m.deliveredTotal.at == now {
		if m.handed > 0 {
			delivered = max(0, int64(m.deliveredTotal.v)-m.handed)
		}
		m.handed = int64(m.deliveredTotal.v)
	}
	for _, e := range m.watch.Step(o, delivered) {
		if prevAt > 0 {
			m.events = append(m.events, e)
		}
	}
	if len(m.events) > 1000 {
		m.events = slices.Delete(m.events, 0, 500)
		m.told = max(0, m.told-500)
	}
	record := int64(0)
	if m.recordTS.at == now {
		record = int64(m.recordTS.v * 1000)
	}
	m.lag = flow.LagOf(now, end, max(committed, 0), record, &p.End)
	_, nominal := flow.Messages(o.Start, end, committed)
	m.records = float64(nominal)
	short := int64(minShort)
	if prevAt > 0 {
		short = min(max(12*(now-prevAt), minShort), maxShort)
	}
	ends, commits := p.End.Recent(now, short, slopeN), table.Recent(now, short, slopeN)
	m.in, m.out = flow.TheilSen(ends), flow.TheilSen(commits)
	m.backlogs = m.backlogs[:0]
	for i, j := len(ends)-1, len(commits)-1; i >= 0 && j >= 0; i, j = i-1, j-1 {
		m.backlogs = append(m.backlogs, flow.XY{X: commits[j].X, Y: ends[i].Y - commits[j].Y})
	}
	slices.Reverse(m.backlogs)
	in, out := m.in.Rate, m.out.Rate
	if m.records > 0 { // the longer span, unless the short one says that something changed
		if l := flow.TheilSen(p.End.Recent(now, longSpan, slopeN)); l.Known() && l.Rate >= m.in.Low && l.Rate <= m.in.High {
			in = l.Rate
		}
		if l := flow.TheilSen(table.Recent(now, longSpan, slopeN)); l.Known() && l.Rate >= m.out.Low && l.Rate <= m.out.High {
			out = l.Rate
		}
	}
	m.drain = flow.Drain(m.records, in, out)
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
	m.stalled = 0
	if since, ok := table.Reached(committed); ok && m.records > 0 {
		if there, ok := p.End.Reached(committed + 1); ok {
			if m.stalled = float64(now-max(since, there)) / 1000; m.stalled < patience {
				m.stalled = 0
			}
		}
	}
	m.poison = m.stalled > 0 && m.delivered.at == now && m.delivered.v > m.reach && m.redelivered.v > 0
}

// lagOf adds up the partitions of a destination as one group reads them.
type groupLag struct {
	known          bool
	at             int64 // newest poll
	lag            flow.TimeLag
	records, drain float64
	in, out        float64
	ratesKnown     bool
	slope          flow.Slope
	trend          string
	stalled        float64
	poison         bool
	parts          []flow.HopPartition
}

func (q *queue) lagOf(group string) groupLag {
	g := groupLag{trend: flow.TrendUnknown}
	var lags []flow.TimeLag
	var total []flow.XY
	g.stalled = math.Inf(1)
	g.ratesKnown = true
	for _, fp := range q.flow.Partitions {
		p := q.parts[fp.Name]
		m := p.groups[group]
		if m == nil || m.at == 0 || m.filtered {
			continue
		}
		g.known = true
		g.at = max(g.at, m.at)
		lags = append(lags, m.lag)
		g.records += m.records
		g.drain = math.Max(g.drain, m.drain)
		g.ratesKnown = g.ratesKnown && m.in.Known() && m.out.Known()
		g.in += math.Max(m.in.Rate, 0)
		g.out += math.Max(m.out.Rate, 0)
		if m.records > 0 {
			g.stalled = math.Min(g.stalled, m.stalled)
			g.poison = g.poison || m.poison
		}
		g.parts = append(g.parts, flow.HopPartition{Name: fp.Name, Backlog: m.records, In: m.in.Rate})
		if total == nil {
			total = slices.Clone(m.backlogs)
			continue
		}
		for i, j := len(total)-1, len(m.backlogs)-1; i >= 0 && j >= 0; i, j = i-1, j-1 {
			total[i].Y += m.backlogs[j].Y
		}
	}
	if math.IsInf(g.stalled, 0) {
		g.stalled = 0
	}
	g.lag = flow.Worst(lags)
	g.slope = flow.TheilSen(total)
	g.trend = flow.Trend(g.slope, g.in)
	g.ratesKnown = g.ratesKnown && g.known
	return g
}

// How long a group must have taken nothing to be called stalled, seconds: while its usual commit interval
// is not known, and at least.
const (
	stallAfter = 15
	minStall   = 5
)
