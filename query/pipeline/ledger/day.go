package ledger

import (
	"context"
	"time"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// A day of a balance in brief: the worst state of each five minutes and sums of each quarter of an hour. Pages show a
// day of thousands of balances from it without reading the verdicts again.
const (
	cellWidth = 300 // seconds
	cellCount = 86400 / cellWidth
	sumWidth  = 900
	sumCount  = 86400 / sumWidth
)

// day holds settled windows of the last day, in rings by time.
type day struct {
	newest int64 // number of the newest cell since 1970
	cells  *[cellCount]uint8
	sums   *[sumCount]Sums
}

// stateCodes number the states in a day; 0 is nothing.
var stateCodes = []string{"", flow.OK, flow.Filtered, flow.InFlight, flow.Duplicates, flow.Anomaly, flow.Late, flow.Unknown, flow.ProbableLoss, flow.Mixed, flow.Skipped, flow.RetentionLoss, flow.Loss}

func codeOf(state string) uint8 {
	for i, s := range stateCodes {
		if s == state {
			return uint8(i)
		}
	}
	return 1
}

// reach makes room for a cell and says whether it is within the day.
func (d *day) reach(n int64) bool {
	if d.cells == nil {
		d.cells, d.sums, d.newest = new([cellCount]uint8), new([sumCount]Sums), n
	}
	if n > d.newest {
		from := max(d.newest+1, n-cellCount+1)
		for i := from; i <= n; i++ {
			d.cells[i%cellCount] = 0
		}
		const per = sumWidth / cellWidth
		for i := max(d.newest/per+1, n/per-sumCount+1); i <= n/per; i++ {
			d.sums[i%sumCount] = Sums{}
		}
		d.newest = n
	}
	return n > d.newest-cellCount && n >= 0
}

// add counts a settled verdict, less what the one before it said of the same window; prior is nil when there was none.
func (d *day) add(v, prior *store.Verdict) {
	if v.Window < 0 || !d.reach(v.Window/cellWidth) {
		return
	}
	s := &d.sums[v.Window/sumWidth%sumCount]
	for sign, x := range map[int64]*store.Verdict{1: v, -1: prior} {
		if x == nil || !x.Settled {
			continue
		}
		s.Up += sign * x.Up
		s.Down += sign * x.Down
		s.Lost += sign * x.Lost
		s.Surplus += sign * x.Surplus
		if x.State == flow.Unknown {
			s.Unknown += sign * x.Up
		}
	}
}

// show puts the state of a window on the ribbon. A better state than before makes the cell what its worst window still says.
func (d *day) show(v *store.Verdict, b *Balance) {
	n := v.Window / cellWidth
	if v.Window < 0 || !v.Settled || v.Width <= 0 || !d.reach(n) {
		return
	}
	code := codeOf(v.State)
	for i := n; i <= max((v.Window+v.Width-1)/cellWidth, n) && d.reach(i); i++ {
		c := &d.cells[i%cellCount]
		if code >= *c {
			*c = code
			continue
		}
		worst := code
		if b != nil {
			for w := i * cellWidth / v.Width * v.Width; w < (i+1)*cellWidth; w += v.Width {
				if o, ok := b.verdicts[w]; ok && o.Settled {
					worst = max(worst, codeOf(o.State))
				} else if x, ok := b.bad[w]; ok {
					worst = max(worst, codeOf(x.state))
				}
			}
			*c = worst
		}
	}
}

// fillRows is how many verdicts one evaluation may read to fill the day.
const fillRows = 20_000

// Fill reads a further piece of the last day, so that after a start pages show all of it within minutes. now is in Unix milliseconds,
// width is that of most windows, seconds.
func (l *Ledger) Fill(ctx context.Context, now, width int64) error {
	end := now/1000 - 86400
	if l.filled <= end || len(l.balances) == 0 {
		return nil
	}
	width = max(width, 1)
	step := max(fillRows/int64(len(l.balances)), 1) * width
	from := max(l.filled-step, end-end%width)
	if from >= l.filled {
		l.filled = end
		return nil
	}
	vs, err := l.verdicts(ctx, store.VerdictQuery{From: time.Unix(from, 0), To: time.Unix(l.filled, 0), OnlySettled: true})
	if err != nil {
		return err
	}
	defer l.unlock(l.lock())
	for i := range vs {
		v := &vs[i]
		b := l.balance(v.VerdictKey)
		b.begin(v)
		b.day.add(v, nil)
		b.day.show(v, nil)
	}
	l.filled = from
	return nil
}
