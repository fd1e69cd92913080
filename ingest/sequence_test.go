package ingest

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weirhq/weir/store"
)

// TestSeen compares with a plain map of numbers.
func TestSeen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s seen
		model := map[uint64]bool{}
		low, high := uint64(1<<62), uint64(0)
		for _, n := range rapid.SliceOfN(rapid.Uint64Range(1, 300), 1, 400).Draw(t, "numbers") {
			if got, want := s.add(n), !model[n]; got != want {
				t.Fatalf("add(%d) = %v, want %v", n, got, want)
			}
			model[n] = true
			low, high = min(low, n), max(high, n)
			if want := high - low + 1 - uint64(len(model)); s.missing() != want || s.max() != high {
				t.Fatalf("after %d: missing %d, want %d; max %d, want %d; runs %v", n, s.missing(), want, s.max(), high, s.Runs)
			}
		}
	})
}

func TestSeenIsBounded(t *testing.T) {
	var s seen
	const n = 5 * maxIntervals
	for i := range uint64(n) {
		s.add(2*i + 1) // every second number is missing
	}
	if len(s.Runs) > maxIntervals || s.missing() != n-1 {
		t.Errorf("%d runs, %d missing, want %d", len(s.Runs), s.missing(), n-1)
	}
}

func newSeq(e *fakeEngine) *sequences {
	return newSequences(DefaultConfig(), e, slog.New(slog.DiscardHandler))
}

func (s *sequences) put(spool string, from, to int) {
	for n := from; n <= to; n++ {
		h := http.Header{}
		h.Set("Weir-Spool", spool)
		h.Set("Weir-Node", "n1")
		h.Set("Weir-Epoch", "77")
		h.Set("Weir-Sequence", strconv.Itoa(n))
		s.note(context.Background(), store.DefaultTenant, h)
	}
}

func (s *sequences) one(t *testing.T) CollectorState {
	t.Helper()
	c := s.collectors()
	if len(c) != 1 {
		t.Fatalf("collectors %+v", c)
	}
	return c[0]
}

func TestGapsAcrossRestarts(t *testing.T) {
	e := newFake()
	s := newSeq(e)
	s.put("a", 1, 10)
	s.put("a", 13, 20)
	s.put("a", 11, 11) // a retry out of order
	if c := s.one(t); c.Gaps != 1 || c.Node != "n1" || c.Epoch != 77 || time.Since(time.UnixMilli(c.LastSeen)) > time.Minute {
		t.Fatalf("%+v", c)
	}
	// A stop in order: nothing is invented, nothing hidden.
	if err := s.saveAll(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	s.put("a", 21, 22) // a request that ended after the last writing
	s = newSeq(e)
	s.put("a", 25, 30)
	if c := s.one(t); c.Gaps != 3 || c.Unverified != 0 {
		t.Fatalf("after a stop in order: %+v, want 3 gaps (12, 23, 24)", c)
	}
	s.put("a", 12, 12)
	if c := s.one(t); c.Gaps != 2 {
		t.Fatalf("a late record still closes its hole: %+v", c)
	}
	// A kill: 31 to 40 were received, but not written down.
	if err := s.saveAll(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	s.put("a", 31, 40)
	s = newSeq(e)
	s.put("a", 43, 45)
	if c := s.one(t); c.Gaps != 2 || c.Unverified != 12 {
		t.Fatalf("after a kill: %+v, want 2 gaps and 12 that cannot be judged (31 to 42)", c)
	}
	s.put("a", 47, 47)
	if c := s.one(t); c.Gaps != 3 {
		t.Fatalf("holes are counted again: %+v", c)
	}
}

func TestKillBeforeFirstFlush(t *testing.T) {
	e := newFake()
	s := newSeq(e)
	s.put("a", 1, 10)
	if err := s.saveAll(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	s = newSeq(e)
	s.put("a", 11, 20) // and then a kill
	s = newSeq(e)
	s.put("a", 21, 21)
	if c := s.one(t); c.Gaps != 0 || c.Unverified != 10 {
		t.Fatalf("%+v, want no gap and 10 that cannot be judged", c)
	}
}

func TestCatalogAway(t *testing.T) {
	e := newFake()
	s := newSeq(e)
	s.put("a", 1, 5)
	if err := s.saveAll(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	s = newSeq(e)
	good := s.catalog
	s.catalog = func() store.Catalog { return brokenCatalog{good()} }
	s.put("a", 8, 9)
	s.catalog = good
	s.put("a", 11, 11)
	if c := s.one(t); c.Gaps != 1 || c.Unverified != 2 {
		t.Fatalf("%+v, want one gap (10) and two that cannot be judged (6, 7)", c)
	}
}

type brokenCatalog struct{ store.Catalog }

func (brokenCatalog) Get(context.Context, store.Tenant, string, string) (store.Document, error) {
	return store.Document{}, store.ErrUnavailable
}

func TestSpoolsAreBounded(t *testing.T) {
	s := newSeq(newFake())
	s.max = 3
	for i := range 10 {
		s.put(strconv.Itoa(i), 1, 1)
	}
	if c := s.one(t); c.Spools != 3 {
		t.Errorf("%+v", c)
	}
}

func TestBadHeaders(t *testing.T) {
	s := newSeq(newFake())
	for _, h := range []http.Header{
		{},
		{"Weir-Spool": {"a"}},
		{"Weir-Spool": {"a"}, "Weir-Sequence": {"0"}},
		{"Weir-Spool": {"a"}, "Weir-Sequence": {"-1"}},
		{"Weir-Spool": {"a"}, "Weir-Sequence": {"99999999999999999999"}},
		{"Weir-Sequence": {"1"}},
	} {
		s.note(t.Context(), store.DefaultTenant, h)
	}
	if c := s.collectors(); len(c) != 0 {
		t.Errorf("%+v", c)
	}
}

func TestRunWritesAtTheEnd(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.in.Run(ctx) }()
	r.write2(request2(t, 1, 0, 5), "Weir-Spool", "a", "Weir-Sequence", "4", "Weir-Node", "n1")
	r.write2(request2(t, 1, 0, 5), "Weir-Spool", "a", "Weir-Sequence", "7", "Weir-Node", "n1")
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	s := newSeq(r.e)
	s.put("a", 8, 8)
	if c := s.one(t); c.Gaps != 2 || c.Unverified != 0 {
		t.Errorf("%+v", c)
	}
	if n := r.counter("weir_ingest_gaps_total"); n != 2 {
		t.Errorf("gauge says %d", n)
	}
}
