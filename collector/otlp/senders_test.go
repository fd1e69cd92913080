package otlp

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirhq/weir/internal/cell"
)

// What an SDK folds into its overflow point is told as a bound of the windows that it may be of, from when it began.
func TestOverflowIsABound(t *testing.T) {
	for _, delta := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			c := newCounting(t, slog.New(slog.NewTextHandler(&log, nil)))
			began := time.Now().UnixMilli()
			w := time.Now().Unix() / 60 * 60
			sets := []reading{{"in", w, 0, 0}, {"out", w, 0, 0}}
			export := func(n int64, more ...reading) {
				t.Helper()
				wait(time.Minute)
				at := time.Now().Unix() / 60 * 60
				switch {
				case n > 0 && delta:
					sets = []reading{{"in", at, 0, n}, {"out", at, 0, n}}
				case n > 0:
					sets = append(sets, reading{"in", at, 0, n}, reading{"out", at, 0, n})
				case delta:
					sets = []reading{{"in", w, 0, 1}}
				}
				start := began
				if delta {
					start = time.Now().Add(-time.Minute).UnixMilli()
				}
				c.export(t, "pod-7", start, delta, append(more, sets...)...)
			}
			for range 5 {
				export(1000)
			}
			wait(15 * time.Second)
			if u := c.ledger.unflushed(); len(u) != 0 {
				t.Errorf("everything has its key: %v", u)
			}
			from := time.Now().Unix() / 60 * 60
			told := time.Now().Add(-15 * time.Second).UnixMilli()
			value := int64(0)
			for i := range int64(8) {
				if value += 2000; delta {
					value = 2000
				}
				export(0, reading{"overflow", 0, 0, value})
				now := time.Now().Unix() / 60 * 60
				if i == 2 { // nothing more: nothing is owed
					if delta {
						value = 0
					}
					export(0, reading{"overflow", 0, 0, value})
				}
				wait(15 * time.Second)
				for at := from; at <= now+60; at += 60 {
					if n := c.ledger.unflushed()[at][cell.Folded]; n < 2000 || n > uint64(2000*(i+1)) {
						t.Errorf("delta %v, after %d exports: window %d s after the first: bound %d", delta, i+1, at-from, n)
					}
				}
				if n := c.ledger.unflushed()[from][cell.Folded]; n != uint64(2000*(i+1)) {
					t.Errorf("delta %v, after %d exports: bound %d of the first window", delta, i+1, n)
				}
			}
			if n := c.ledger.unflushed()[w-120][cell.Folded]; n != 0 {
				t.Errorf("a window long before: %d", n)
			}
			c.ledger.mu.Lock()
			for id, x := range c.ledger.cells {
				if id.Dir == cell.Unflushed && x.MaxTS/1000 != told/1000 {
					t.Errorf("its counts were whole at %d, told %d", x.MaxTS, told)
				}
			}
			c.ledger.mu.Unlock()
			if got := c.set.GetOrCreateCounter(`weir_collector_dropped_total{door="otlp_audit",reason="overflow"}`).Get(); got != 9 {
				t.Errorf("%d overflow points counted", got)
			}
			if got := strings.Count(log.String(), "level=WARN"); got != 1 {
				t.Errorf("said %d times:\n%s", got, log.String())
			}
			// The collector begins again while the SDK goes on: what was folded before is unknown to it, and all of it may be missing.
			if !delta {
				c.stop()
				c.begin(t, slog.New(slog.DiscardHandler))
				export(0, reading{"overflow", 0, 0, value})
				wait(15 * time.Second)
				if n := c.ledger.unflushed()[time.Now().Unix()/60*60][cell.Folded]; n != 16_000 {
					t.Errorf("after a restart: bound %d", n)
				}
			}
			c.stop()
		})
	}
}

// An application that exports counts and ends without a word leaves a soft bound of what its exports held, soon after two of
// their distances; it is taken back when it exports again. Nothing is settled later for its sake.
func TestSilentExporters(t *testing.T) {
	for _, delta := range []bool{false, true} {
		for _, every := range []time.Duration{10 * time.Second, time.Minute} {
			t.Run(fmt.Sprintf("delta %v every %s", delta, every), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newCounting(t, slog.New(slog.DiscardHandler))
					began := time.Now().UnixMilli()
					total := map[int64]int64{}
					export := func(n int64) {
						t.Helper()
						at := time.Now().Unix() / 60 * 60
						total[at] += n
						points := []reading{{"in", at, 0, n}, {"out", at, 0, n}}
						start := time.Now().Add(-every).UnixMilli()
						if !delta {
							points, start = nil, began
							for w, n := range total {
								points = append(points, reading{"in", w, 0, n}, reading{"out", w, 0, n})
							}
						}
						c.export(t, "pod-7", start, delta, points...)
					}
					for i := range int64(20) {
						export(100 + i)
						wait(every)
					}
					heard := time.Now()
					export(100)
					wait(2*every - time.Second)
					if u := c.ledger.unflushed(); len(u) != 0 {
						t.Errorf("not silent for two distances yet: %v", u)
					}
					wait(22 * time.Second) // a flush
					u := c.ledger.unflushed()
					last := heard.Unix() / 60 * 60
					if n := u[last][cell.Silent]; n != 2*119 {
						t.Errorf("silent: bound %d of the last window, want twice the largest export: %v", n, u)
					}
					if u[time.Now().Unix()/60*60][cell.Silent] == 0 || u[last-180] != nil || len(u[last]) != 1 {
						t.Errorf("windows %v, last export in %d", u, last)
					}
					export(100)
					wait(11 * time.Second)
					if u := c.ledger.unflushed(); len(u) != 0 {
						t.Errorf("it lives: %v", u)
					}
					wait(2*(2*every+21*time.Second) + time.Second) // that silence was one of the last eight distances
					if u := c.ledger.unflushed(); len(u) == 0 {
						t.Error("silent again, and nobody noticed")
					}
					if got := c.set.GetOrCreateCounter("weir_audit_senders_silent_total").Get(); got != 2 {
						t.Errorf("%d silent senders counted", got)
					}
					c.stop()
					for _, a := range c.ledger.auditors {
						if a.FlushMS != 10_000 {
							t.Fatalf("the collector vouches later for its sake: %+v", a)
						}
					}
				})
			})
		}
	}
}

// An export in parts is one; a collector that was away suspects nobody for that; an application that was new
// to the collector is not taken for one that counted everything just now.
func TestExportsInPartsAndAcrossRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounting(t, slog.New(slog.DiscardHandler))
		began := time.Now().UnixMilli()
		n := int64(0)
		export := func() {
			t.Helper()
			w := time.Now().Unix() / 60 * 60
			n++
			c.export(t, "pod-7", began, false, reading{"in", w, 0, 100 * n})
			wait(20 * time.Millisecond)
			c.export(t, "pod-7", began, false, reading{"in", w + 60, 0, 10 * n})
			wait(time.Minute - 20*time.Millisecond)
		}
		for range 4 {
			export()
		}
		c.stop()
		wait(10 * time.Minute)
		c.begin(t, slog.New(slog.DiscardHandler))
		wait(90 * time.Second)
		if u := c.ledger.unflushed(); len(u) != 0 {
			t.Errorf("suspected because the collector was away: %v", u)
		}
		for range 3 {
			export()
		}
		wait(75 * time.Second)
		u := c.ledger.unflushed()
		if len(u) == 0 {
			t.Fatal("silence is not noticed")
		}
		for w, of := range u {
			if of[cell.Silent] > 2*(700+70) {
				t.Errorf("window %d: %v", w, of)
			}
		}
		c.stop()
	})
}

func TestSendersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounting(t, slog.New(slog.DiscardHandler))
		now := time.Now()
		run := func(i int) map[senderKey]*grown {
			return map[senderKey]*grown{{"p", "s", fmt.Sprint(i), 1}: {in: 1}}
		}
		for i := range maxSenders + 5 {
			c.senders.heard(now, run(i), nil)
			c.senders.folded(now, foldKey{instance: fmt.Sprint(i)}, 1)
		}
		if len(c.senders.m) != maxSenders || len(c.senders.of) != maxSenders || len(c.senders.folds) != maxSenders || c.senders.refused.Get() != 10 {
			t.Errorf("%d followed, %d refused", len(c.senders.m), c.senders.refused.Get())
		}
		now = now.Add(2 * rememberFor)
		c.senders.heard(now, run(-1), nil)
		if len(c.senders.m) != 1 || len(c.senders.of) != 1 || len(c.senders.folds) != 0 {
			t.Errorf("%d are remembered", len(c.senders.m))
		}
		c.stop()
	})
}
