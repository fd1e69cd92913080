package statsd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/value"
)

// feeder takes in datagrams as a socket would.
type feeder struct {
	*rig
	r    *reader
	from *sender
}

func newFeeder(t *testing.T, edit func(*Config)) *feeder {
	t.Helper()
	f := &feeder{rig: newRig(t, origins{}, edit)}
	f.r, f.from = f.newReader("statsd_udp"), f.reg.sender("statsd_udp", Tags{Node: "n1"})
	return f
}

func (f *feeder) feed(lines ...string) {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.r.now = time.Now().UnixNano()
	f.r.datagram([]byte(strings.Join(lines, "\n")), f.from)
	f.r.report()
}

func (f *feeder) points(name string) []point {
	f.out.mu.Lock()
	defer f.out.mu.Unlock()
	return slices.Clone(f.out.samples[f.ls(name)])
}

func (f *feeder) ls(name string) string { return fmt.Sprintf(`{__name__=%q, node="n1"}`, name) }

func (f *feeder) wantPoints(name string, want ...point) {
	f.t.Helper()
	if diff := cmp.Diff(want, f.points(name)); diff != "" {
		f.t.Errorf("%s: -want +got\n%s", name, diff)
	}
}

func TestTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pass(3 * time.Second) // begin inside an interval
		synctest.Wait()
		begin := time.Now().UnixMilli()
		if begin%10000 != 3000 {
			t.Fatalf("the bubble's clock begins at %d", begin)
		}
		f := newFeeder(t, nil)
		stop := f.start()
		synctest.Wait()
		f.feed("c:2|c|@0.5", "g:7|g", "s:a|s", "s:b|s", "s:a|s")
		pass(7 * time.Second)
		synctest.Wait()
		tick := begin + 7000
		f.wantPoints("c", point{begin, begin, 0}, point{tick, begin, 4}) // the increase from nothing is visible
		f.wantPoints("g", point{tick, 0, 7})
		f.wantPoints("s", point{tick, 0, 2})
		f.feed("c:1|c", "g:+3|g", "g:-1|g", "s:c|s", "late:1|c")
		pass(10 * time.Second)
		synctest.Wait()
		f.wantPoints("c", point{begin, begin, 0}, point{tick, begin, 4}, point{tick + 10000, begin, 5})
		f.wantPoints("g", point{tick, 0, 7}, point{tick + 10000, 0, 9})
		f.wantPoints("s", point{tick, 0, 2}, point{tick + 10000, 0, 1})
		f.wantPoints("late", point{tick, tick, 0}, point{tick + 10000, tick, 1})
		pass(12 * time.Second) // a tick without news, then the end between two ticks
		synctest.Wait()
		f.feed("c:1|c")
		stop()
		f.wantPoints("c", point{begin, begin, 0}, point{tick, begin, 4}, point{tick + 10000, begin, 5}, point{tick + 20000, begin, 5}, point{tick + 22000, begin, 6})
		if n := f.count("statsd_udp", "accepted"); n != f.balance("statsd_udp") || n != 11 {
			t.Errorf("accepted %d", n)
		}
	})
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeeder(t, func(c *Config) { c.Expiry = 30 * time.Second })
		stop := f.start()
		f.feed("c:1|c", "h:1|h")
		pass(time.Minute)
		synctest.Wait()
		p := f.points("c")
		if n := len(p); n != 5 || math.Float64bits(p[n-1].V) != value.StaleNaN || p[n-2].V != 1 {
			t.Errorf("an idle counter sent %v", p)
		}
		h := f.out.hists[f.ls("h")]
		if n := len(h); n != 5 || math.Float64bits(h[n-1].Sum) != value.StaleNaN {
			t.Errorf("an idle histogram sent %d: %v", n, h)
		}
		if len(f.reg.all) != 0 || len(f.reg.series) != 0 || len(f.reg.owners) != 0 || len(f.r.table.entries) != 0 {
			t.Errorf("%d series and %d entries are left", len(f.reg.all), len(f.r.table.entries))
		}
		// It comes back as a new counter, from nothing.
		again := time.Now().UnixMilli()
		f.feed("c:5|c")
		pass(11 * time.Second)
		synctest.Wait()
		stop()
		p = f.points("c")[5:]
		if diff := cmp.Diff([]point{{again, again, 0}, {again + 10000, again, 5}}, p[:2]); diff != "" {
			t.Error(diff)
		}
	})
}

// TestRevival counts into an entry whose series has just died: the flusher finds it a new one.
func TestRevival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeeder(t, func(c *Config) { c.Expiry = 10 * time.Second })
		ctx := t.Context()
		at := func() int64 { return time.Now().UnixMilli() }
		pass(time.Second)
		synctest.Wait()
		f.feed("c:1|c")
		f.flush(ctx, at())
		pass(10 * time.Second)
		synctest.Wait()
		f.flush(ctx, at()) // dies
		f.feed("c:2|c")    // by the old entry
		pass(time.Second)
		synctest.Wait()
		f.flush(ctx, at())
		f.feed("c:4|c")
		pass(time.Second)
		synctest.Wait()
		f.flush(ctx, at())
		if got := f.points("c"); got[len(got)-1].V != 6 {
			t.Errorf("after it came back the counter shows %v", got)
		}
		if f.conflicts.Get() != 0 || len(f.reg.all) != 1 {
			t.Errorf("%d conflicts, %d series", f.conflicts.Get(), len(f.reg.all))
		}
	})
}

func TestFailedFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeeder(t, nil)
		stop := f.start()
		synctest.Wait()
		begin := time.Now().UnixMilli()
		f.out.fail(errors.New("disk full"))
		f.feed("c:3|c")
		pass(10 * time.Second)
		synctest.Wait()
		f.out.fail(nil)
		f.feed("c:4|c")
		stop()
		f.wantPoints("c", point{begin, begin, 0}, point{begin + 10001, begin, 7}) // stopped at the very tick that failed
	})
	synctest.Test(t, func(t *testing.T) {
		f := newFeeder(t, nil)
		stop := f.start()
		synctest.Wait()
		begin := time.Now().UnixMilli()
		f.out.fail(errors.New("disk full"))
		f.feed("c:3|c")
		pass(11 * time.Second)
		synctest.Wait()
		f.out.fail(nil)
		f.feed("c:4|c")
		stop()
		f.wantPoints("c", point{begin, begin, 0}, point{begin + 11000, begin, 7})
		if f.unsent.Get() != 2 || f.failures.Get() != 1 {
			t.Errorf("unsent %d, failures %d", f.unsent.Get(), f.failures.Get())
		}
	})
}

func TestOwnTimestamps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeeder(t, nil)
		stop := f.start()
		synctest.Wait()
		begin := time.Now().Unix()
		ms := begin * 1000
		f.feed(
			fmt.Sprintf("g:5|g|T%d", begin-60), fmt.Sprintf("g:6|g|T%d", begin-50), fmt.Sprintf("g:7|g|T%d", begin-60),
			fmt.Sprintf("c:1|c|T%d", begin+2), fmt.Sprintf("c:2|c|T%d", begin+2), fmt.Sprintf("c:4|c|T%d", begin+4),
			fmt.Sprintf("old:1|c|T%d", begin-100),
			fmt.Sprintf("bad:1|c|T%d", begin-90000), fmt.Sprintf("bad2:1|g|T%d", begin+3600),
			fmt.Sprintf("h:1|h|T%d", begin), // distributions have no times of their own
		)
		pass(11 * time.Second)
		synctest.Wait()
		f.feed(fmt.Sprintf("c:8|c|T%d", begin+3)) // earlier than what was sent: counted at the next tick
		pass(10 * time.Second)
		synctest.Wait()
		stop()
		f.wantPoints("g", point{ms - 60000, 0, 7}, point{ms - 50000, 0, 6})
		f.wantPoints("c", point{ms, ms, 0}, point{ms + 2000, ms, 3}, point{ms + 4000, ms, 7}, point{ms + 20000, ms, 15}, point{ms + 21000, ms, 15})
		f.wantPoints("old", point{ms - 100000, ms - 110000, 1})
		if n := f.count("statsd_udp", "bad_timestamp"); n != 2 {
			t.Errorf("%d bad timestamps", n)
		}
		f.balance("statsd_udp")
	})
}

func TestLimits(t *testing.T) {
	f := newFeeder(t, func(c *Config) { c.MaxSeries, c.MaxSeriesPerOrigin, c.MaxSetMembers, c.MaxTimed = 5, 3, 2, 1 })
	f.feed("a:1|c|#service:x", "b:1|c|#service:x", "c:1|c|#service:x", "d:1:1|c|#service:x") // one service fills its share
	f.feed("s:1|s|#service:y", "s:2|s|#service:y", "s:3|s|#service:y", "s:2|s|#service:y")
	now := time.Now().Unix()
	f.feed(fmt.Sprintf("t:1:2|g|T%d|#service:z", now), "u:1|c|#service:z", "a:1|c|#service:x")
	for why, want := range map[string]int{"series_limit": 3, "set_limit": 1, "timed_limit": 1, "accepted": 8} {
		if got := f.count("statsd_udp", why); got != want {
			t.Errorf("%s: %d, want %d", why, got, want)
		}
	}
	f.balance("statsd_udp")
}

func TestBadLines(t *testing.T) {
	f := newFeeder(t, nil)
	f.feed("x:1|c", "x:1|g", "x:1|c", "x:1:zz:3|c", "x:-1|c", "|#:1|c", "a|b:1|c", "n:1|c|#"+strings.Repeat("t", 201)+":1", "_sc|a|0", "_e{1,1}:a|b", "", "junk", "n:nan|g", "weir.audit.in:x|c|#p:p,st:s")
	for why, want := range map[string]int{"accepted": 4, "type_conflict": 1, "bad_value": 3, "bad_labels": 3, "unsupported": 2, "bad_line": 1} {
		if got := f.count("statsd_udp", why); got != want {
			t.Errorf("%s: %d, want %d", why, got, want)
		}
	}
	if n := f.balance("statsd_udp"); n != 14 {
		t.Errorf("received %d", n)
	}
	if n := f.count("audit", "bad_value"); n != 1 || f.balance("audit") != 1 || f.sink.drops != 1 {
		t.Errorf("audit: %d bad values, %d drops", n, f.sink.drops)
	}
}

func TestGaugeWithoutDeltas(t *testing.T) {
	f := newFeeder(t, func(c *Config) { c.GaugeDeltas = false })
	f.feed("g:5|g", "g:-3|g")
	f.flush(context.Background(), time.Now().UnixMilli())
	f.want(f.ls("g"), -3)
}

// TestReadersMeet checks that several readers of one series add up, and that the last gauge stands.
func TestReadersMeet(t *testing.T) {
	f := newFeeder(t, nil)
	g := &feeder{rig: f.rig, r: f.newReader("statsd_udp"), from: f.from}
	f.feed("c:1|c", "g:1|g", "s:a|s", "s:b|s", "h:1|h", "h:1000000|h")
	g.feed("c:2|c", "g:2|g", "s:b|s", "s:c|s", "h:0.000001|h", "h:-5|h")
	f.flush(context.Background(), time.Now().UnixMilli()+1)
	f.want(f.ls("c"), 3)
	f.want(f.ls("g"), 2)
	f.want(f.ls("s"), 3)
	h := f.out.hists[f.ls("h")]
	last := h[len(h)-1].ToIntHistogram()
	if err := last.Validate(); err != nil || last.Count != 4 || last.Sum != 1000001.000001-5 {
		t.Errorf("histogram %v, %v", last, err)
	}
}

func TestClockSetBack(t *testing.T) {
	f := newFeeder(t, nil)
	ctx := t.Context()
	if err := f.Listen(ctx); err != nil {
		t.Fatal(err)
	}
	begin := time.Now().UnixMilli() + 1
	f.feed("c:1|c")
	f.flush(ctx, begin)
	f.feed("c:1|c")
	f.flush(ctx, begin-1000) // a little: it catches up
	if n := len(f.points("c")); n != 2 {
		t.Errorf("%d samples, want the zero and one", n)
	}
	f.flush(ctx, begin-3_600_000) // far: it is the new time
	f.feed("c:1|c")
	f.flush(ctx, begin-3_590_000)
	got := f.points("c")[2:]
	start := begin - 3_610_000
	if diff := cmp.Diff([]point{{begin - 3_600_000, start, 2}, {begin - 3_590_000, start, 3}}, got); diff != "" {
		t.Error(diff)
	}
}
