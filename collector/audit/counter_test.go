package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/google/go-cmp/cmp"
	"github.com/weirhq/weir/collector/signal"
	"github.com/weirhq/weir/internal/cell"
)

// server merges batches as store.Ledger does: the highest Seq of a (Key, Instance, Epoch) counts.
type server struct {
	mu       sync.Mutex
	cells    map[serverKey]cell.Cell
	auditors []cell.Auditor
	largest  int
	failAt   int // Append number that fails, counted down; 0 = none
}

type serverKey struct {
	cell.Key
	Instance string
	Epoch    int64
}

func newServer() *server { return &server{cells: map[serverKey]cell.Cell{}} }

var errDisk = errors.New("disk full")

func (s *server) Append(_ context.Context, k signal.Kind, items int, body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failAt > 0 {
		if s.failAt--; s.failAt == 0 {
			return errDisk
		}
	}
	var b cell.Batch
	if err := json.Unmarshal(body, &b); err != nil {
		return fmt.Errorf("bad body: %w", err)
	}
	if k != signal.Cells || items != len(b.Cells) {
		return fmt.Errorf("kind %v, %d items, %d cells", k, items, len(b.Cells))
	}
	s.largest = max(s.largest, len(body))
	s.auditors = append(s.auditors, b.Auditor)
	for _, c := range b.Cells {
		k := serverKey{c.Key, c.Instance, c.Epoch}
		if old, ok := s.cells[k]; !ok || c.Seq > old.Seq {
			s.cells[k] = c
		}
	}
	return nil
}

func (s *server) total(k cell.Key) cell.Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	var t cell.Counts
	for _, c := range s.cells {
		if c.Key == k {
			t.Add(c.Counts)
		}
	}
	return t
}

// seen copies what arrived so far, for tests that look while the counter runs.
func (s *server) seen() (auditors []cell.Auditor, cells map[serverKey]cell.Cell) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.auditors), maps.Clone(s.cells)
}

func (s *server) last() cell.Auditor {
	as, _ := s.seen()
	return as[len(as)-1]
}

func newCounter(tb testing.TB, dir string, out signal.Output, edit func(*Config)) *Counter {
	tb.Helper()
	cfg := DefaultConfig()
	if edit != nil {
		edit(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		tb.Fatal(err)
	}
	return New(cfg, dir, "n1", out, slog.New(slog.DiscardHandler), metrics.NewSet())
}

// pass lets time pass; in a synctest bubble that costs nothing.
func pass(d time.Duration) { <-time.After(d) }

func inc(stage string, window int64, n uint64) Increment {
	return Increment{
		Key:      cell.Key{Pipeline: "p", Stage: stage, Dir: cell.In, Window: window},
		Instance: "n1/c1", Service: "svc", Node: "n1", Counts: cell.Counts{N: n}, Lossy: true,
	}
}

func start(c *Counter) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return func() error { cancel(); return <-done }
}

func TestSnapshots(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		srv := newServer()
		c := newCounter(t, dir, srv, nil)
		begin := time.Now()
		stop := start(c)
		w := begin.Unix() / 60 * 60
		synctest.Wait()
		add := func(i Increment) {
			t.Helper()
			if err := c.Add(i); err != nil {
				t.Fatal(err)
			}
		}
		pass(time.Second)
		synctest.Wait()
		add(inc("a", w+59, 3)) // anywhere inside the window
		add(inc("a", w, 4))
		add(inc("b", w, 1))
		pass(10 * time.Second)
		synctest.Wait()
		add(inc("a", w, 5))
		pass(10 * time.Second)
		synctest.Wait()
		auditors, cells := srv.seen()
		if n := len(auditors); n != 2 {
			t.Fatalf("%d snapshots after 21 s", n)
		}
		key := cell.Key{Pipeline: "p", Stage: "a", Dir: cell.In, Window: w, Width: 60}
		want := cell.Cell{
			Key: key, Instance: "n1/c1", Service: "svc", Node: "n1", Epoch: begin.UnixMilli(),
			Seq: uint64(begin.UnixMicro()) + 20_000_000, Counts: cell.Counts{N: 12}, Lossy: true,
		}
		if diff := cmp.Diff(want, cells[serverKey{key, "n1/c1", begin.UnixMilli()}]); diff != "" {
			t.Error(diff)
		}
		pass(10 * time.Second) // nothing changed: the Auditor record alone
		synctest.Wait()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if n := c.sentCells.Get(); n != 3 {
			t.Errorf("%d cells sent, want 3: a, b, a again", n)
		}
		a := srv.last()
		if !a.Closed || a.Seq != 4 || a.Epoch != begin.UnixMilli() || a.Previous != 0 || a.FlushMS != 10000 {
			t.Errorf("last auditor record %+v", a)
		}
		if err := c.Add(inc("a", w, 1)); !errors.Is(err, ErrClosed) {
			t.Errorf("adding to a closed counter: %v", err)
		}
	})
}

func TestLateness(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		srv := newServer()
		c := newCounter(t, dir, srv, nil)
		stop := start(c)
		w := time.Now().Unix() / 60 * 60
		pass(time.Until(time.Unix(w+60, 0).Add(1500 * time.Millisecond)))
		synctest.Wait()
		for _, i := range []Increment{inc("late", w, 1), inc("now", w+60, 1), inc("notime", 0, 1)} {
			if err := c.Add(i); err != nil {
				t.Fatal(err)
			}
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		for stage, want := range map[string]int64{"late": 1500, "now": 0, "notime": 0} {
			for k, got := range srv.cells {
				if k.Stage == stage && got.LateMax != want {
					t.Errorf("%s: late %d ms, want %d", stage, got.LateMax, want)
				}
			}
		}
	})
}

func TestRefusals(t *testing.T) {
	c := newCounter(t, t.TempDir(), newServer(), func(c *Config) { c.MaxCells = 2 })
	now := time.Now().Unix()
	f := func(i Increment, want error) {
		t.Helper()
		if err := c.Add(i); !errors.Is(err, want) {
			t.Errorf("%+v: got %v, want %v", i.Key, err, want)
		}
	}
	f(inc("a", now+25*3600, 1), ErrTimestamp)
	f(inc("a", now-8*24*3600, 1), ErrTimestamp)
	f(inc("a", 1, 1), ErrTimestamp)
	f(inc("a", -5, 1), ErrTimestamp)
	f(inc("", now, 1), ErrKey)
	f(inc(strings.Repeat("x", 257), now, 1), ErrKey)
	f(Increment{Key: cell.Key{Pipeline: "p", Stage: "s", Dir: "sideways"}}, ErrKey)
	f(Increment{Key: cell.Key{Pipeline: "p", Stage: "s", Dir: cell.In, Width: -1}}, ErrKey)
	if d := c.drops.Load(); d != 0 {
		t.Errorf("%d drops for increments that no stage can count", d)
	}
	f(inc("a", now, 1), nil)
	f(inc("b", 0, 1), nil)
	f(inc("c", now, 1), ErrFull)
	f(inc("a", now, 1), nil) // a known cell is not refused
	if d := c.drops.Load(); d != 1 {
		t.Errorf("%d drops for one refused increment", d)
	}
	if _, err := c.Set(inc("a", now, 1), 0); !errors.Is(err, ErrKey) {
		t.Errorf("totals without an epoch: %v", err)
	}
}

func TestDropsNameTheirWindows(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		srv := newServer()
		c := newCounter(t, dir, srv, nil)
		stop := start(c)
		now := time.Now().Unix()
		w := now / 60 * 60
		if err := c.Add(inc("a", w-600, 1)); err != nil {
			t.Fatal(err)
		}
		c.Drops(0)
		pass(11 * time.Second)
		synctest.Wait()
		if a := srv.last(); a.Drops != 0 || a.DropFrom != 0 || a.DropTo != 0 {
			t.Errorf("no drops, but %+v", a)
		}
		c.Drops(7)
		c.Carried(20)
		c.Carried(3)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		// From the oldest window counted lately to the window of now.
		if a := srv.last(); a.Drops != 7 || a.DropMax != 20 || a.DropFrom != w-600 || a.DropTo != now+11+60 {
			t.Errorf("drops %d of up to %d in [%d, %d), want 7 of 20 in [%d, %d)", a.Drops, a.DropMax, a.DropFrom, a.DropTo, w-600, now+71)
		}
	})
}

func TestTotalsOfASender(t *testing.T) {
	srv := newServer()
	dir := t.TempDir()
	w := time.Now().Unix() / 60 * 60
	key := cell.Key{Pipeline: "p", Stage: "a", Dir: cell.In, Window: w, Width: 60}
	set := func(c *Counter, n uint64, epoch int64) {
		t.Helper()
		if _, err := c.Set(inc("a", w, n), epoch); err != nil {
			t.Fatal(err)
		}
	}
	flush := func(c *Counter, want uint64) {
		t.Helper()
		if err := c.flush(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if got := srv.total(key).N; got != want {
			t.Errorf("the server holds %d, want %d", got, want)
		}
	}
	c := newCounter(t, dir, srv, nil)
	if err := c.open(); err != nil {
		t.Fatal(err)
	}
	set(c, 10, 1000)
	set(c, 30, 1000)
	set(c, 20, 1000) // came late
	flush(c, 30)
	set(c, 5, 2000) // the sender began again
	flush(c, 35)
	sent := c.sentCells.Get()
	set(c, 5, 2000) // repeated
	flush(c, 35)
	if c.sentCells.Get() != sent {
		t.Error("a repeated total was sent again")
	}
	// The collector begins again; the sender goes on with its totals. Nothing may be counted twice.
	c = newCounter(t, dir, srv, nil)
	if err := c.open(); err != nil {
		t.Fatal(err)
	}
	set(c, 8, 2000)
	flush(c, 38)
}

func TestBodiesAreBounded(t *testing.T) {
	srv := newServer()
	c := newCounter(t, t.TempDir(), srv, nil)
	if err := c.open(); err != nil {
		t.Fatal(err)
	}
	const cells = 8000
	w := time.Now().Unix() / 60 * 60
	for i := range cells {
		if err := c.Add(inc(fmt.Sprintf("%s-%d", strings.Repeat("stage", 20), i), w, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.flush(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if len(srv.cells) != cells || srv.largest > maxBody || len(srv.auditors) < 2 {
		t.Errorf("%d of %d cells in %d bodies of at most %d bytes", len(srv.cells), cells, len(srv.auditors), srv.largest)
	}
	for i, a := range srv.auditors {
		if last := i == len(srv.auditors)-1; last != (a.Seq == 1) {
			t.Errorf("body %d of %d carries snapshot number %d: the new one belongs on the last body alone", i+1, len(srv.auditors), a.Seq)
		}
	}
}

func TestValidate(t *testing.T) {
	f := func(edit func(*Config), want string) {
		t.Helper()
		c := DefaultConfig()
		edit(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want something about %q", err, want)
		}
	}
	f(func(c *Config) { c.Width = 1500 * time.Millisecond }, "audit.width 1.5s")
	f(func(c *Config) { c.Flush = 0 }, "audit.flush 0s")
	f(func(c *Config) { c.MaxCells = 0 }, "audit.max_cells 0")
	f(func(c *Config) { c.Retention = time.Second }, "audit.retention 1s")
	f(func(c *Config) { c.Idle = time.Second }, "audit.idle 1s")
}

func TestAddWhileFlushing(t *testing.T) {
	srv := newServer()
	c := newCounter(t, t.TempDir(), srv, func(c *Config) { c.Flush = 100 * time.Millisecond })
	stop := start(c)
	w := time.Now().Unix() / 60 * 60
	const senders, each = 8, 2000
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				if err := c.Add(inc(fmt.Sprint("s", (s+i)%5), w, 1)); err != nil {
					t.Error(err)
				}
				if i%100 == 0 {
					c.Drops(1)
					pass(time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	n := uint64(0)
	for _, cell := range srv.cells {
		n += cell.N
	}
	if n != senders*each || srv.last().Drops != senders*each/100 {
		t.Errorf("the server holds %d of %d and %d drops", n, senders*each, srv.last().Drops)
	}
}
