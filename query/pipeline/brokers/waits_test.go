package brokers

import (
	"testing"

	"github.com/weirhq/weir/query/flow"
)

// told puts a poll of one partition whose broker tells what waits, pending and unacked; negative = not told.
func (p *polls) told(at int64, end, committed, pending, unacked float64) {
	p.lane(at, 0, end, committed)
	lane := []string{"node", "n1", "destination", "orders", "partition", "0", "group", "billing"}
	if pending >= 0 {
		p.put(at, "pending_messages", pending, lane...)
	}
	if unacked >= 0 {
		p.put(at, "unacked_messages", unacked, lane...)
	}
}

// What the broker says that waits is the backlog; offsets are an upper bound of it. The age stays that of the oldest record not acknowledged.
func TestBrokerTellsWhatWaits(t *testing.T) {
	for _, c := range []struct {
		name                             string
		end, committed, pending, unacked float64
		records                          float64
		waits                            bool
	}{
		{"nobody tells", 1000, 990, -1, -1, 10, true},
		{"only markers follow", 1000, 998, 0, -1, 0, false},
		{"nothing waits for delivery or acknowledgement", 1000, 700, 0, 0, 0, false},
		{"one is tried again, those after it are done", 301_000, 1000, 0, 1, 1, true},
		{"a share group", 1000, 900, 30, -1, 30, true},
		{"what is not acknowledged waits as well", 1000, 900, 10, 20, 30, true},
		{"more than there can be", 1000, 900, 500, 20, 100, true},
		{"all is read", 1000, 1000, 0, 0, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPolls(t)
			p.run(began, 10, func(i int, at int64) { p.told(at, c.committed, c.committed, -1, -1) })
			p.run(began+10_000, 120, func(_ int, at int64) { p.told(at, c.end, c.committed, c.pending, c.unacked) })
			r := p.b.ReadingOf("orders", "billing")
			g := r.Lag
			if !g.Known || g.Records != c.records || !g.Time.Known {
				t.Errorf("lag %+v, want %v records", g, c.records)
			}
			if old := g.Time.Seconds > 110; old != c.waits || !c.waits && (g.Time.Seconds != 0 || g.Stalled != 0) {
				t.Errorf("lag of %.1f s, stalled for %.1f s; something waits: %v", g.Time.Seconds, g.Stalled, c.waits)
			}
			sum := 0.0
			for _, row := range r.Rows {
				sum += *row.Lag.Messages
			}
			if sum != g.Records {
				t.Errorf("partitions have %v records, the group %v", sum, g.Records)
			}
		})
	}
}

// A figure that is not of the poll that told the offsets says nothing about them.
func TestOldPendingIsNotUsed(t *testing.T) {
	p := newPolls(t)
	p.run(began, 10, func(i int, at int64) { p.told(at, 1000, 1000, 0, 0) })
	p.run(began+10_000, 10, func(i int, at int64) { p.told(at, 1100, 1000, -1, -1) })
	if g := p.b.ReadingOf("orders", "billing").Lag; g.Records != 100 || g.Time.Seconds == 0 {
		t.Errorf("lag %+v, want 100 records: that none waited was said of another poll", g)
	}
	// Unacked alone is no backlog either.
	p.run(began+20_000, 10, func(i int, at int64) { p.told(at, 1100, 1000, -1, 3) })
	if g := p.b.ReadingOf("orders", "billing").Lag; g.Records != 100 {
		t.Errorf("lag %+v, want 100 records", g)
	}
}

// One record is tried again and again while all others pass: the backlog does not grow, and the group takes what flows in.
func TestAcknowledgedOutOfOrder(t *testing.T) {
	p := newPolls(t)
	p.run(began, 60, func(i int, at int64) {
		end := 1000 + 100*float64(i)
		p.told(at, end, end-5, 5, 0)
	})
	p.run(began+60_000, 300, func(i int, at int64) {
		p.told(at, 7000+100*float64(i), 6995, 4, 1)
	})
	g := p.b.ReadingOf("orders", "billing").Lag
	if g.Records != 5 || g.Trend == flow.Growing || g.Out < 90 || g.Stalled != 0 {
		t.Errorf("lag %+v, want 5 records, not growing, 100 a second taken", g)
	}
	if g.Time.Seconds < 290 {
		t.Errorf("lag of %.1f s, want the age of the record that is tried again", g.Time.Seconds)
	}
	// It is acknowledged at last: the commit leaps, nothing was taken at once.
	p.run(began+360_000, 5, func(i int, at int64) {
		end := 37_000 + 100*float64(i)
		p.told(at, end, end-5, 5, 0)
	})
	if g := p.b.ReadingOf("orders", "billing").Lag; g.Records != 5 || g.Time.Seconds > 2 || g.Out < 90 || g.Out > 110 {
		t.Errorf("lag %+v, want 5 records, 100 a second taken", g)
	}
}

func TestHoles(t *testing.T) {
	var pos Position
	for i, v := range []int64{0, 0, 10, 10, 10, 10, 0, 0, 0, 30} {
		pos.hole(int64(i)*1000, int64(i-1)*1000, v)
	}
	for at, want := range map[float64]float64{0: 0, 1: 0, 1.5: 5, 2: 10, 4: 10, 5: 10, 5.5: 5, 6: 0, 8: 0, 8.5: 15, 9: 30, 20: 30} {
		if got := pos.holeAt(at); got != want {
			t.Errorf("at %v s: %v, want %v", at, got, want)
		}
	}
	for i := range int64(3 * maxHoles) {
		pos.hole(10_000+i, 0, i%7)
	}
	if len(pos.holes) > maxHoles {
		t.Errorf("%d steps are kept, want %d at most", len(pos.holes), maxHoles)
	}
}
