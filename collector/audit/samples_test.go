package audit

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirhq/weir/internal/cell"
)

func idsOf(from, to int) *cell.IDs {
	var s cell.IDs
	for i := from; i < to; i++ {
		id := fmt.Sprint("o-", i)
		s.Observe(cell.Hash(id), id)
	}
	return &s
}

// Ids and latencies of many increments come to what one counter of everything would have.
func TestSamplesBecomeCumulative(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		srv := newServer()
		c := newCounter(t, dir, srv, nil)
		stop := start(c)
		synctest.Wait()
		w := time.Now().Unix() / 60 * 60
		var want cell.Sketch
		for k := range 100 {
			i := inc("a", w, 600)
			i.IDs = idsOf(600*k, 600*k+600)
			if err := c.Add(i); err != nil {
				t.Fatal(err)
			}
			l := inc("a", w, 0)
			l.Values, l.Weight = []float64{float64(k), -3, math.Inf(1)}, 2
			want.Observe(float64(k), 2)
			want.Observe(-3, 2)
			if err := c.Add(l); err != nil {
				t.Fatal(err)
			}
			if k%30 == 0 {
				pass(10 * time.Second)
				synctest.Wait()
			}
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		_, cells := srv.seen()
		for _, got := range cells {
			if got.N != 60_000 || !got.IDs.Equal(idsOf(0, 60_000)) || !got.Latency.Equal(&want) || got.Corrected != nil {
				t.Errorf("%d records, %d ids of %d, latency %+v", got.N, len(got.IDs.IDs), got.IDs.Of, got.Latency)
			}
		}
		if len(cells) != 1 || c.samples.badLat.Get() != 100 {
			t.Errorf("%d cells, %d bad latencies", len(cells), c.samples.badLat.Get())
		}
	})
}

// Totals of a sender replace each other; a resend and an old one change nothing.
func TestSamplesOfTotals(t *testing.T) {
	srv := newServer()
	c := newCounter(t, t.TempDir(), srv, nil)
	w := time.Now().Unix() / 60 * 60
	for _, n := range []int{5000, 8000, 8000, 3000} {
		i := inc("a", w, uint64(n))
		i.IDs, i.Latency = idsOf(0, n), &cell.Sketch{}
		i.Latency.Observe(5, uint64(n))
		if _, err := c.Set(i, 7); err != nil {
			t.Fatal(err)
		}
	}
	for i := range c.shard {
		for _, e := range c.shard[i].m {
			if !e.ids.Equal(idsOf(0, 8000)) || e.latency.Count != 8000 || e.counts.N != 8000 || e.version != 4 {
				t.Errorf("%d ids, %d latencies, %d records, version %d", len(e.ids.IDs), e.latency.Count, e.counts.N, e.version)
			}
		}
	}
}

// When the memory for samples is used up they become coarser and are refused; counts go on.
func TestSamplesAreBounded(t *testing.T) {
	srv := newServer()
	c := newCounter(t, t.TempDir(), srv, func(cfg *Config) { cfg.MaxSampleBytes = 60_000 })
	w := time.Now().Unix() / 60 * 60
	for k := range 300 {
		i := inc(fmt.Sprint("s", k%30), w, 600)
		i.IDs, i.Values = idsOf(600*k, 600*k+600), []float64{1, 1000}
		if err := c.Add(i); err != nil {
			t.Fatal(err)
		}
	}
	n, held := uint64(0), int64(0)
	for i := range c.shard {
		for _, e := range c.shard[i].m {
			n += e.counts.N
			held += int64(e.ids.Size() + e.latency.Size() + e.corrected.Size())
			if !e.ids.Void() && e.ids.Of != e.counts.N {
				t.Error("a coarser sample is still of everything")
			}
		}
	}
	if n != 180_000 || held != c.samples.bytes.Load() || held > 120_000 || c.samples.coarser.Get() == 0 || c.samples.refused.Get() == 0 {
		t.Errorf("%d records; %d bytes held, %d accounted; %d coarser, %d refused", n, held, c.samples.bytes.Load(), c.samples.coarser.Get(), c.samples.refused.Get())
	}
}

// A node whose clock is known to differ keeps latencies by both clocks, and tells its clock.
func TestLatenciesByTheServersClock(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		srv := newServer()
		c := newCounter(t, dir, srv, nil)
		offset, known := 5*time.Second, true
		c.UseClock(func() (time.Duration, time.Duration, bool) { return offset, 2 * time.Millisecond, known })
		stop := start(c)
		synctest.Wait()
		w := time.Now().Unix() / 60 * 60
		add := func(stage string) {
			i := inc(stage, w, 0)
			i.Values, i.Weight = []float64{-4950}, 1000
			if err := c.Add(i); err != nil {
				t.Fatal(err)
			}
		}
		add("a")
		pass(10 * time.Second)
		synctest.Wait()
		offset = 5 * time.Millisecond // below what matters
		add("b")
		known = false
		add("c")
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		auditors, cells := srv.seen()
		if a := auditors[0]; a.ClockOffset != 5_000_000 || a.ClockError != 2000 {
			t.Errorf("%+v", a)
		}
		for k, got := range cells {
			if got.Latency.Min != -4950 || got.Latency.Clamped != 1000 {
				t.Errorf("%s as measured: %+v", k.Stage, got.Latency)
			}
			if (got.Corrected != nil) != (k.Stage == "a") {
				t.Errorf("%s: corrected %+v", k.Stage, got.Corrected)
			}
			if got.Corrected != nil && (math.Abs(got.Corrected.Quantile(0.5)-50) > 0.4 || got.Corrected.Count != got.Latency.Count) {
				t.Errorf("corrected to %g ms", got.Corrected.Quantile(0.5))
			}
		}
	})
}

// What clients gave up is known to be missing, in its own window only.
func TestLostByClients(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		srv := newServer()
		c := newCounter(t, dir, srv, nil)
		stop := start(c)
		synctest.Wait()
		w := time.Now().Unix() / 60 * 60
		c.Lost(w-300+7, 40)
		c.Lost(w-300, 0)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if a := srv.last(); a.Drops != 40 || a.DropFrom != w-300 || a.DropTo != w-240 {
			t.Errorf("%+v", a)
		}
		c.Lost(1, 2) // long ago, or nonsense: it may concern what is being counted
		if c.drops.Load() != 42 {
			t.Errorf("%d drops", c.drops.Load())
		}
	})
}
