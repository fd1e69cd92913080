package brokers

import (
	"math"
	"slices"

	"github.com/weirhq/weir/query/flow"
)

// backlog of all partitions over a span that ends at a time.
func (r *Reading) backlog(at, span int64, points int) []flow.XY {
	var sum []flow.XY
	for _, s := range r.seats {
		if s.pos.at == 0 || s.pos.filtered || s.pos.noCommit {
			continue
		}
		b := flow.Minus(s.p.End.Recent(at, span, points), s.pos.taken(at, span, points))
		if sum == nil {
			sum = b
			continue
		}
		sum = flow.Plus(sum, b)
	}
	return sum
}

// Began finds in what is kept in memory when the backlog began to grow, Unix milliseconds; 0 when it does not show a bend.
func (r *Reading) Began(now int64) int64 {
	if r.Lag.Stalled > 0 {
		return now - int64(r.Lag.Stalled*1000)
	}
	for _, span := range []int64{600_000, 3_600_000} {
		sum := r.backlog(r.Lag.At, span, 61)
		// It must grow after the bend, and hardly before: a bend of a backlog that shrinks is another story.
		x, ok := flow.ChangePoint(sum)
		if !ok || now-int64(x*1000) > span*9/10 {
			continue
		}
		i := slices.IndexFunc(sum, func(p flow.XY) bool { return p.X >= x })
		after, before := flow.TheilSen(sum[i:]), flow.TheilSen(sum[:i+1])
		if after.Rate <= 0 || after.Rate <= 2*before.Rate {
			continue
		}
		if y, ok := flow.ChangePoint(r.backlog(min(int64(x*1000)+span/10, r.Lag.At), span/5, 61)); ok && math.Abs(y-x)*1000 <= float64(span/20) {
			x = y
		}
		return int64(x * 1000)
	}
	return 0
}
