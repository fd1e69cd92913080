package ledger

import (
	"testing"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// A second loss, long after the first, is a run of its own.
func TestRecentLossIsOneRun(t *testing.T) {
	b := New(nil, "").balance(store.VerdictKey{Pipeline: "p"})
	lose := func(w, n int64) {
		b.bad[w] = loss{state: flow.Loss, lost: n, settle: (w + 90) * 1000, up: 1000, width: 60, settled: true}
		b.hour[w] = window{HourSums: HourSums{Sums: Sums{Up: 1000, Lost: n}}}
	}
	lose(600, 7)
	lose(1800, 10)
	lose(1920, 20) // one window of the run lost nothing
	lose(1980, 30)
	if lost, up, since := b.recentLoss(2_100_000, 60_000); lost != 60 || up != 3000 || since != 1800 {
		t.Errorf("lost %d of %d since %d", lost, up, since)
	}
	if lost, _, _ := b.recentLoss(2_400_000, 60_000); lost != 0 {
		t.Errorf("lost %d, but the last loss is long ago", lost)
	}
	delete(b.hour, 1800) // older than the hour
	if lost, up, _ := b.recentLoss(2_100_000, 60_000); lost != 60 || up != 2400 {
		t.Errorf("lost %d of about %d", lost, up)
	}
}
