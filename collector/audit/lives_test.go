package audit

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirhq/weir/internal/cell"
)

// ends sums what the server holds of senders that ended without a word, by window.
func (s *server) ends() map[int64]uint64 {
	_, cells := s.seen()
	out := map[int64]uint64{}
	for _, c := range cells {
		if c.Dir == cell.Unflushed && c.N > 0 {
			out[c.Window] += c.N
		}
	}
	return out
}

func alive(c *Counter, id string, more func(*Life)) error {
	l := Life{Pipeline: "orders", Stage: "enrich", Instance: "n1/7", Node: "n1", ID: id, Most: 64, Every: 500 * time.Millisecond}
	if more != nil {
		more(&l)
	}
	return c.Told(l)
}

// A sender that goes silent without a last word leaves a bound in the windows it was counting in; one that says it stops does
// not, and one that speaks again takes the bound back.
func TestSendersThatEndSilently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer()
		c := newCounter(t, t.TempDir(), srv, func(c *Config) { c.Flush = time.Second })
		stop := start(c)
		w := time.Now().Unix() / 60 * 60
		old := cell.Key{Pipeline: "orders", Stage: "enrich", Dir: cell.In, Window: w - 600}
		if err := c.Add(Increment{Key: old, Instance: "n1/7", Counts: cell.Counts{N: 1}}); err != nil {
			t.Fatal(err)
		}
		pass(2 * reach) // long ago: nobody works on that window now
		w = time.Now().Unix() / 60 * 60
		now := old
		now.Window = w
		say := func(id string, more func(*Life)) {
			t.Helper()
			if err := alive(c, id, more); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Add(Increment{Key: now, Instance: "n1/7", Counts: cell.Counts{N: 1}}); err != nil {
			t.Fatal(err)
		}
		say("a", nil)
		say("b", nil)
		say("b", func(l *Life) { l.End = true })
		pass(400 * time.Millisecond)
		say("a", func(l *Life) { l.Raise, l.Most = true, 500 }) // no flush: it does not count as heard
		pass(900 * time.Millisecond)
		if e := srv.ends(); len(e) != 0 {
			t.Errorf("after 1.3 s: %v", e)
		}
		pass(1300 * time.Millisecond)
		if e := srv.ends(); len(e) != 2 || e[w] != 500 || e[w+60] != 500 {
			t.Errorf("a is silent: %v, want 500 in %d and after", e, w)
		}
		say("a", nil)
		pass(1200 * time.Millisecond)
		if e := srv.ends(); len(e) != 0 {
			t.Errorf("a lives: %v", e)
		}
		pass(2 * time.Second)
		say("c", nil) // another run does not bring the first back
		pass(1200 * time.Millisecond)
		if e := srv.ends(); e[w] != 64 {
			t.Errorf("a is silent again: %v", e)
		}
		say("c", func(l *Life) { l.End = true })
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A sender that ends while the collector is stopped, or whose counts take longer than the server waits for.
func TestSendersWhileTheCollectorIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, dir := newServer(), t.TempDir()
		first := true
		begin := func() func() error {
			c := newCounter(t, dir, srv, func(c *Config) { c.Flush = time.Second })
			stop := start(c)
			for range 10 {
				pass(time.Second)
				if err := alive(c, "slow", func(l *Life) { l.Every, l.Instance = 4*time.Second, "n1/8" }); err != nil {
					t.Fatal(err)
				}
				if err := alive(c, "other", func(l *Life) { l.Instance = "n1/9" }); err != nil {
					t.Fatal(err)
				}
				if first {
					if err := alive(c, "a", nil); err != nil {
						t.Fatal(err)
					}
				}
			}
			return stop
		}
		stop := begin()
		if a := srv.last(); time.Now().UnixMilli()-a.At < 5999 || a.FlushMS != 7000 {
			t.Errorf("a sender that flushes each 4 s may be late by 8 s, the record vouches for %d ms ago, interval %d", time.Now().UnixMilli()-a.At, a.FlushMS)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if e := srv.ends(); len(e) != 0 {
			t.Errorf("before the stop: %v", e)
		}
		first = false
		pass(10 * time.Second)
		stop = begin()
		most := uint64(0)
		for _, n := range srv.ends() {
			most = max(most, n)
		}
		if most < 64*20 || most > 64*30 {
			t.Errorf("a ended while nobody was there for 10 s: bound %d", most)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestWordsOfSendersAreChecked(t *testing.T) {
	c := newCounter(t, t.TempDir(), newServer(), nil)
	for name, more := range map[string]func(*Life){
		"no pipeline": func(l *Life) { l.Pipeline = "" },
		"no run":      func(l *Life) { l.ID = "" },
		"no interval": func(l *Life) { l.Every = 0 },
		"long run":    func(l *Life) { l.ID = string(make([]byte, maxID+1)) },
	} {
		if err := alive(c, "a", more); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if err := alive(c, "a", func(l *Life) { l.End = true }); err != nil || len(c.lives.m) != 0 {
		t.Errorf("the last word of somebody unknown: %v, %d followed", err, len(c.lives.m))
	}
}

// A life that a receiver learned is suspected as any other, softly, in windows as wide as its stage counts in, and makes nobody wait.
// What a sender only repeats is no work on its old windows.
func TestLearnedLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, dir := newServer(), t.TempDir()
		c := newCounter(t, dir, srv, func(c *Config) { c.Flush = time.Second })
		stop := start(c)
		pass(10 * time.Minute)
		w := time.Now().Unix() / 10 * 10
		key := cell.Key{Pipeline: "orders", Stage: "enrich", Dir: cell.In, Width: 10}
		export := func(most uint64, windows ...int64) {
			t.Helper()
			for _, at := range windows {
				k := key
				k.Window = at
				if _, err := c.Set(Increment{Key: k, Instance: "pod-7", Node: "n1", Counts: cell.Counts{N: 10}}, 1000); err != nil {
					t.Fatal(err)
				}
			}
			l := Life{Pipeline: "orders", Stage: "enrich", Instance: "pod-7", Node: "n1", ID: "1000", Most: most, Every: 20 * time.Second}
			if err := c.Seen(l); err != nil {
				t.Fatal(err)
			}
		}
		export(50, w-300)
		pass(2 * reach)
		now := time.Now().Unix() / 10 * 10
		export(50, w-300, now)
		pass(time.Second)
		synctest.Wait() // the flush of this second
		if a := srv.last(); a.FlushMS != 1000 || a.At != time.Now().UnixMilli() {
			t.Errorf("the record vouches for %d ms ago, interval %d", time.Now().UnixMilli()-a.At, a.FlushMS)
		}
		pass(37 * time.Second)
		if e := srv.ends(); len(e) != 0 {
			t.Errorf("before two distances: %v", e)
		}
		pass(4 * time.Second)
		e := srv.ends()
		if e[now] != 50 || e[now+40] != 50 || e[w-300] != 0 || len(e) != 6 {
			t.Errorf("windows %v, last one %d", e, now)
		}
		_, cells := srv.seen()
		for _, x := range cells {
			if x.Dir == cell.Unflushed && (x.Reason != cell.Silent || x.Width != 10 || x.MaxTS == 0) {
				t.Errorf("%+v", x)
			}
		}
		export(50, now)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if e := srv.ends(); len(e) != 0 {
			t.Errorf("it lives: %v", e)
		}
		// The next run knows it, does not suspect it at once, and keeps what was learned until it is known anew.
		pass(time.Minute)
		c = newCounter(t, dir, srv, func(c *Config) { c.Flush = time.Second })
		stop = start(c)
		pass(30 * time.Second)
		if e := srv.ends(); len(e) != 0 {
			t.Errorf("suspected because the collector was away: %v", e)
		}
		export(1, now)
		pass(45 * time.Second)
		if e := srv.ends(); e[now] != 50 {
			t.Errorf("silent for good: %v", e)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestFoldedCountsAreChecked(t *testing.T) {
	c := newCounter(t, t.TempDir(), newServer(), func(c *Config) { c.MaxCells = 2 })
	for _, l := range []Life{{Stage: "s", ID: "1"}, {Pipeline: "p", ID: "1"}, {Pipeline: "p", Stage: "s", ID: string(make([]byte, maxID+1))}} {
		if err := c.Folded(l, 5, time.Now(), time.Time{}); err == nil {
			t.Errorf("%+v is taken", l)
		}
	}
	if err := c.Folded(Life{Pipeline: "p", Stage: "s", ID: "1"}, 5, time.Now(), time.Time{}); err != nil {
		t.Error(err)
	}
	if got := c.cells.Load(); got != 2 || c.drops.Load() == 0 {
		t.Errorf("%d cells, %d drops: what has no room is a drop", got, c.drops.Load())
	}
}
