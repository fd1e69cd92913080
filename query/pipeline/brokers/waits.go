package brokers

import (
	"slices"
	"sort"

	"github.com/weirhq/weir/query/flow"
)

// maxHoles bounds how many steps of a group's holes are remembered.
const maxHoles = 2000

// waits is how many records the broker says that the group has not acknowledged. It is told only when its newest poll said so:
// a figure of another moment does not fit to the offsets.
func (pos *Position) waits() (n int64, told bool) {
	if pos.pending.at != pos.at || pos.committed.at != pos.at {
		return 0, false
	}
	v := pos.pending.v
	if pos.unacked.at == pos.at {
		v += pos.unacked.v
	}
	return int64(min(v, 1<<53)), true
}

// hole notes how many of the offsets beyond the commit do not wait, as the poll at a time told: they were acknowledged out of order, are
// gone, or belong to nobody. prevAt is the poll before, 0 = none.
func (pos *Position) hole(at, prevAt, v int64) {
	n := len(pos.holes)
	switch {
	case n == 0 && v == 0, n > 0 && at <= pos.holes[n-1].T:
		return
	case n == 0 && prevAt > 0:
		pos.holes = append(pos.holes, flow.Point{T: prevAt})
	case n > 1 && pos.holes[n-1].V == v && pos.holes[n-2].V == v:
		pos.holes[n-1].T = at
		return
	}
	pos.holes = append(pos.holes, flow.Point{T: at, V: v})
	if len(pos.holes) > maxHoles {
		pos.holes = slices.Delete(pos.holes, 0, maxHoles/2)
	}
}

// holeAt is how many did not wait at a time, seconds; between two polls as the offsets are interpolated.
func (pos *Position) holeAt(x float64) float64 {
	i := sort.Search(len(pos.holes), func(i int) bool { return float64(pos.holes[i].T)/1000 >= x })
	switch {
	case i == 0:
		return float64(pos.holes[0].V)
	case i == len(pos.holes):
		return float64(pos.holes[i-1].V)
	}
	a, b := pos.holes[i-1], pos.holes[i]
	return float64(a.V) + float64(b.V-a.V)*(x-float64(a.T)/1000)*1000/float64(b.T-a.T)
}

// taken samples how many records the group has done with, counted from offset 0: what it committed and what beyond that does not wait.
func (pos *Position) taken(now, span int64, n int) []flow.XY {
	out := pos.table.Recent(now, span, n)
	if len(pos.holes) > 0 {
		for i := range out {
			out[i].Y += pos.holeAt(out[i].X)
		}
	}
	return out
}
