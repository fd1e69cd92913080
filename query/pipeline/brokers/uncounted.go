package brokers

import "github.com/weirhq/weir/query/flow"

// uncountedFor is how long a group counts as uncounted after something waited without positions, milliseconds: a queue that is empty
// at every other poll must not change its state each time.
const uncountedFor = 600_000

// newest is the last poll that told of the group, in positions or only by what waits.
func (pos *Position) newest() int64 { return max(pos.heard(), pos.pending.at) }

// told is the newest poll that told of the partition: its end, or only what it holds.
func (p *Partition) told() int64 { return max(p.end.at, p.messages.at) }

// uncounted says whether the broker told at the newest poll how much waits and no positions, because it counts not what comes in.
func (pos *Position) uncounted() bool {
	return pos.at > 0 && pos.pending.at == pos.at && pos.heard() < pos.at
}

// onlyWaits brings a group that is told without positions up to its newest poll; false when there is none. What waits is known then, its
// age only where the broker tells the time of the oldest record, and no rate is.
func (pos *Position) onlyWaits(p *Partition) bool {
	now := pos.pending.at
	if now == 0 || now <= pos.at || pos.heard() >= now || p.end.at >= now {
		return false
	}
	// Positions of before are not those of now; their tables stay, the counter may begin again.
	p.start, p.end, p.ends, p.at, p.in = sample{}, sample{}, nil, 0, flow.Slope{}
	pos.clear()
	pos.at, pos.noCommit, pos.filtered, pos.upper, pos.beyond = now, false, false, false, false
	pos.committed, pos.delivered, pos.in, pos.potential, pos.held, pos.repeats = sample{}, sample{}, flow.Slope{}, 0, 0, 0
	pos.records = pos.pending.v
	if pos.unacked.at == now {
		pos.records += pos.unacked.v
	}
	pos.readable = pos.records
	if pos.records == 0 {
		pos.lag.Known = true
		return true
	}
	pos.r.waited = now
	if pos.recordTS.at == now {
		pos.lag = flow.LagOf(now, 1, 0, int64(pos.recordTS.v*1000), &flow.Table{})
	}
	return true
}

// Uncounted says whether the broker tells what waits for the group and not since when, or did so in the last ten minutes.
func (r *Reading) Uncounted() bool {
	if r.waited == 0 || r.Lag.At-r.waited > uncountedFor || r.Lag.Known && r.Lag.Records > 0 && r.Lag.Time.Known {
		return false
	}
	for _, s := range r.seats {
		if s.pos.uncounted() {
			return true
		}
	}
	return false
}
