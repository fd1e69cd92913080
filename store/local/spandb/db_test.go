package spandb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/store"
)

func appendRange(t *testing.T, db *DB, from, to int) {
	t.Helper()
	if err := db.Append(t.Context(), "default", numberedRange(from, to)); err != nil {
		t.Fatal(err)
	}
}

func (c *counters) value(name string) uint64 { return c.set.GetOrCreateCounter(name).Get() }

// TestCrashWhileCutting: a crash before the rename leaves the log, one behind it leaves a segment
// that the block already has. Neither loses or doubles a span.
func TestCrashWhileCutting(t *testing.T) {
	c, seg := written(t, 8)
	log, err := os.ReadFile(seg)
	if err != nil {
		t.Fatal(err)
	}
	// Before the rename: half a block under its temporary name.
	tmp := filepath.Join(c.Dir, "default", dirBlocks, "000000000001"+tmpSuffix)
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tmp, fileSpans), []byte("PAR1"), 0o600); err != nil {
		t.Fatal(err)
	}
	db := mustOpen(t, c)
	checkNumbered(t, db, 80)
	if _, err := os.Stat(tmp); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("unfinished block is still there: %v", err)
	}
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := db.shut(); err != nil {
		t.Fatal(err)
	}
	// Behind the rename: the segment comes back.
	if err := os.WriteFile(seg, log, 0o600); err != nil {
		t.Fatal(err)
	}
	db = mustOpen(t, c)
	checkNumbered(t, db, 80)
	if s := db.Stats(); s.Spans != 80 || s.HeadSpans != 0 || s.Blocks != 1 {
		t.Errorf("%+v, want 80 spans in one block and none in the head", s)
	}
	if err := db.shut(); err != nil {
		t.Fatal(err)
	}
}

// TestTwiceIsOnce: sending everything again changes no answer and no block.
func TestTwiceIsOnce(t *testing.T) {
	db := mustOpen(t, testConfig(t.TempDir()))
	defer func() { _ = db.shut() }()
	for range 3 {
		appendRange(t, db, 0, 100)
	}
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	if s := db.Stats(); s.Spans != 100 {
		t.Errorf("%d spans in the block, want 100", s.Spans)
	}
	if got := db.m.duplicates.Get(); got != 200 {
		t.Errorf("%d duplicates counted, want 200", got)
	}
	appendRange(t, db, 0, 100)
	checkNumbered(t, db, 100)
	got, err := db.Search(t.Context(), "default", store.SpanQuery{Limit: 1000})
	if err != nil || len(got) != 25 {
		t.Fatalf("%d traces, %v", len(got), err)
	}
	for _, s := range got {
		if s.Spans != 4 {
			t.Errorf("trace %x has %d spans, want 4", s.Trace, s.Spans)
		}
	}
}

func TestBounds(t *testing.T) {
	c := testConfig(t.TempDir())
	c.MaxSpansPerTrace, c.MaxAttributeBytes, c.MaxAttributes, c.MaxEvents, c.MaxLinks, c.MaxTenants = 5, 6, 2, 1, 1, 1
	db := mustOpen(t, c)
	s := store.Span{Trace: store.TraceID{1}, ID: store.SpanID{1}, Name: "grün-grün", StatusMsg: "a\xffb", Duration: -5, Dropped: 1}
	for i := range 4 {
		s.Attrs = append(s.Attrs, store.Attr{Key: fmt.Sprint("k", i), Str: "v"})
		s.Events = append(s.Events, store.SpanEvent{Time: int64(i)})
		s.Links = append(s.Links, store.SpanLink{Span: store.SpanID{byte(i)}})
	}
	if err := db.Append(t.Context(), "default", []store.Span{s}); err != nil {
		t.Fatal(err)
	}
	want := s
	want.Name, want.StatusMsg, want.Duration, want.Dropped = "grün-", "a\uFFFDb", 0, 1+2+3+3
	want.Attrs, want.Events, want.Links = s.Attrs[:2], s.Events[:1], s.Links[:1]
	for range 2 { // from the head, then from a block
		got, err := db.Trace(t.Context(), "default", s.Trace)
		if err != nil {
			t.Fatal(err)
		}
		if d := gocmp.Diff([]store.Span{want}, got, same...); d != "" {
			t.Errorf("span (-want +got):\n%s", d)
		}
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := db.m.clipped.Get(), db.m.leftOut.Get(); a != 2 || b != 8 {
		t.Errorf("%d texts clipped, %d things left out; want 2 and 8", a, b)
	}
	many := make([]store.Span, 9)
	for i := range many {
		many[i] = store.Span{Trace: store.TraceID{2}, ID: store.SpanID{byte(i + 1)}, Start: int64(i)}
	}
	if err := db.Append(t.Context(), "default", many); err != nil {
		t.Fatal(err)
	}
	if got, err := db.Trace(t.Context(), "default", store.TraceID{2}); err != nil || len(got) != 5 || db.m.overTrace.Get() != 4 {
		t.Errorf("%d spans of a large trace, %d counted as dropped, %v; want 5 and 4", len(got), db.m.overTrace.Get(), err)
	}
	if err := db.Append(t.Context(), "second", many); !errors.Is(err, store.ErrLimit) {
		t.Errorf("a tenant too many: %v, want limit", err)
	}
	if err := db.Append(t.Context(), "", many); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("a tenant without name: %v, want invalid", err)
	}
	if err := db.shut(); err != nil {
		t.Fatal(err)
	}
	if err := db.Append(t.Context(), "default", many); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("append after the end: %v, want unavailable", err)
	}
	if _, err := db.Trace(t.Context(), "default", store.TraceID{1}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("trace after the end: %v, want unavailable", err)
	}
	if _, err := db.Search(t.Context(), "default", store.SpanQuery{}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("search after the end: %v, want unavailable", err)
	}
}

func TestRetention(t *testing.T) {
	c := testConfig(t.TempDir())
	db := mustOpen(t, c)
	defer func() { _ = db.shut() }()
	for r := range 4 {
		appendRange(t, db, r*1000, r*1000+100) // a block per second
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	left := func() (out []int) {
		for r := range 4 {
			if _, err := db.Trace(t.Context(), "default", numbered(r*1000).Trace); err == nil {
				out = append(out, r)
			}
		}
		return out
	}
	db.cfg.Retention = time.Minute
	db.retain(time.Unix(0, baseTime).Add(time.Minute + 1500*time.Millisecond)) // the block of second 0 and 1 end before 1.5 s
	if got := left(); !slices.Equal(got, []int{2, 3}) {
		t.Errorf("after retention by age blocks %v are left, want 2 and 3", got)
	}
	db.cfg.Retention, db.cfg.MaxBytes = 0, int64(db.Stats().BlockBytes)-1
	db.retain(time.Now())
	if got := left(); !slices.Equal(got, []int{3}) {
		t.Errorf("after retention by bytes blocks %v are left, want 3", got)
	}
	if a, b := db.m.value(`weir_spans_expired_total{reason="age"}`), db.m.value(`weir_spans_expired_total{reason="bytes"}`); a != 200 || b != 100 {
		t.Errorf("%d spans expired by age, %d by bytes; want 200 and 100", a, b)
	}
	if es, err := os.ReadDir(filepath.Join(c.Dir, "default", dirBlocks)); err != nil || len(es) != 1 {
		t.Errorf("%d folders left, %v", len(es), err)
	}
}

// TestDiskFails: an append that cannot be written is refused as unavailable, shows nowhere, and the
// next one works.
func TestDiskFails(t *testing.T) {
	c := testConfig(t.TempDir())
	db := mustOpen(t, c)
	appendRange(t, db, 0, 10)
	tn := db.lookup("default")
	working := tn.log.f
	broken, err := os.Open(working.Name()) // cannot be written
	if err != nil {
		t.Fatal(err)
	}
	tn.log.f = broken
	if err := db.Append(t.Context(), "default", numberedRange(10, 20)); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("append to a broken disk: %v, want unavailable", err)
	}
	if _, err := db.Trace(t.Context(), "default", numbered(12).Trace); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("refused span is there: %v", err)
	}
	appendRange(t, db, 10, 30)
	_ = working.Close()
	if err := db.shut(); err != nil {
		t.Fatal(err)
	}
	db = mustOpen(t, c)
	checkNumbered(t, db, 30)
	if err := db.shut(); err != nil {
		t.Fatal(err)
	}
}

func TestHeadFull(t *testing.T) {
	c := testConfig(t.TempDir())
	db := mustOpen(t, c)
	defer func() { _ = db.shut() }()
	appendRange(t, db, 0, 10)
	db.lookup("default").head.bytes = 2*c.HeadBytes + maxPending
	if err := db.Append(t.Context(), "default", numberedRange(10, 20)); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("append to a full head: %v, want unavailable", err)
	}
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	appendRange(t, db, 10, 20)
	checkNumbered(t, db, 20)
}

func TestTwoProcesses(t *testing.T) {
	c := testConfig(t.TempDir())
	db := mustOpen(t, c)
	if _, err := Open(c, quiet(), metrics.NewSet()); err == nil || !strings.Contains(err.Error(), "another weir") {
		t.Errorf("second open: %v", err)
	}
	if err := db.shut(); err != nil {
		t.Fatal(err)
	}
	db = mustOpen(t, c)
	_ = db.shut()
}

func TestTenantsAreApart(t *testing.T) {
	c := testConfig(t.TempDir())
	tenants := []store.Tenant{"a", "A", "a/b", "..", "a%2Fb", "ü"}
	db := mustOpen(t, c)
	for i, tn := range tenants {
		if err := db.Append(t.Context(), tn, []store.Span{{Trace: store.TraceID{1}, ID: store.SpanID{1}, Name: fmt.Sprint(i), Attrs: []store.Attr{{Key: fmt.Sprint("key", i), Str: "v"}}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.lookup("a").cut(true); err != nil { // one in a block, the others in heads
		t.Fatal(err)
	}
	_ = db.shut()
	db = mustOpen(t, c)
	defer func() { _ = db.shut() }()
	for i, tn := range tenants {
		got, err := db.Trace(t.Context(), tn, store.TraceID{1})
		if err != nil || len(got) != 1 || got[0].Name != fmt.Sprint(i) {
			t.Errorf("tenant %q: %+v, %v", tn, got, err)
		}
		sums, err := db.Search(t.Context(), tn, store.SpanQuery{})
		if err != nil || len(sums) != 1 || sums[0].RootName != fmt.Sprint(i) {
			t.Errorf("tenant %q: %+v, %v", tn, sums, err)
		}
		names, err := db.TagNames(t.Context(), tn, time.Time{}, time.Time{}, 0)
		if err != nil || !slices.Contains(names, fmt.Sprint("key", i)) || slices.ContainsFunc(names, func(n string) bool {
			return strings.HasPrefix(n, "key") && n != fmt.Sprint("key", i)
		}) {
			t.Errorf("tenant %q: tags %v, %v", tn, names, err)
		}
	}
	if es, err := os.ReadDir(filepath.Dir(c.Dir)); err != nil || len(es) != 1 {
		t.Errorf("something was written outside: %v, %v", es, err)
	}
}

func TestTags(t *testing.T) {
	db := mustOpen(t, testConfig(t.TempDir()))
	defer func() { _ = db.shut() }()
	appendRange(t, db, 0, 40)
	for _, where := range []string{"head", "block"} {
		names, err := db.TagNames(t.Context(), "default", time.Time{}, time.Time{}, 0)
		if want := []string{"container", "kind", "n", "name", "node", "parity", "service", "status", "version"}; err != nil || !slices.Equal(names, want) {
			t.Errorf("%s: names %v, %v; want %v", where, names, err, want)
		}
		for tag, want := range map[string][]string{
			"parity": {"even", "odd"}, "service": {"svc0", "svc1", "svc2"}, "service.name": {"svc0", "svc1", "svc2"},
			"version": {"1"}, "node": {"n1"}, "host.name": {"n1"}, "nothing": {}, "container": {},
		} {
			got, err := db.TagValues(t.Context(), "default", tag, time.Time{}, time.Time{}, 0)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: values of %s: %v, %v; want %v", where, tag, got, err, want)
			}
		}
		if got, err := db.TagValues(t.Context(), "default", "n", time.Unix(1, 0), time.Unix(2, 0), 0); err != nil || len(got) != 0 {
			t.Errorf("%s: values outside of the time: %v, %v", where, got, err)
		}
		if got, err := db.TagValues(t.Context(), "default", "n", time.Time{}, time.Time{}, 3); err != nil || !slices.Equal(got, []string{"0", "1", "10"}) {
			t.Errorf("%s: three values: %v, %v", where, got, err)
		}
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTogether: appends, cuts, retention and questions at once; for the race detector too.
func TestTogether(t *testing.T) {
	c := testConfig(t.TempDir())
	c.HeadBytes = 1 << 16
	db, err := Open(c, quiet(), metrics.NewSet()) // with fsync, so that groups form
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- db.Run(ctx) }()
	const each, writers = 400, 4
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := 0; n < each; n += 20 {
				from := w*each + n
				if err := db.Append(ctx, "default", numberedRange(from, from+20)); err != nil {
					t.Error(err)
				}
				if got, err := db.Trace(ctx, "default", numbered(from).Trace); err != nil || len(got) != 4 {
					t.Errorf("own span %d after its append: %d spans, %v", from, len(got), err)
				}
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for range 20 {
				if _, err := db.Search(ctx, "default", store.SpanQuery{Service: "svc1", Attrs: map[string]string{"parity": "odd"}}); err != nil {
					t.Error(err)
				}
				db.retain(time.Now())
				_ = db.Stats()
				if rand.IntN(4) == 0 {
					if err := db.Flush(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	checkNumbered(t, db, writers*each)
	stop()
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
	db = mustOpen(t, c)
	checkNumbered(t, db, writers*each)
	if err := db.shut(); err != nil {
		t.Fatal(err)
	}
}

// TestRunCuts: Run makes blocks of heads that are old or large.
func TestRunCuts(t *testing.T) {
	c := testConfig(t.TempDir())
	c.BlockAge = time.Second
	db := mustOpen(t, c)
	appendRange(t, db, 0, 10)
	db.cutDue(time.Now())
	if s := db.Stats(); s.Blocks != 0 {
		t.Errorf("a young head was cut: %+v", s)
	}
	db.cutDue(time.Now().Add(time.Second))
	if s := db.Stats(); s.Blocks != 1 || s.HeadSpans != 0 || s.LogBytes != 0 {
		t.Errorf("an old head was not cut, or its log not: %+v", s)
	}
	_ = db.shut()
}

func TestBloom(t *testing.T) {
	const n = 20_000
	b := newBloom(n)
	for i := range n {
		b.add(hashTag("key", fmt.Sprint(i)))
	}
	wrong := 0
	for i := range n {
		if !b.has(hashTag("key", fmt.Sprint(i))) {
			t.Fatalf("key %d was added and is not there", i)
		}
		if b.has(hashTag("key", fmt.Sprint(i+n))) {
			wrong++
		}
	}
	if share := float64(wrong) / n; share > 0.02 {
		t.Errorf("%.1f %% of absent keys seem to be there, want 2 %% at most", 100*share)
	} else {
		t.Logf("%.2f %% of absent keys seem to be there", 100*share)
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		says   string
	}{
		{func(*Config) {}, ""},
		{func(c *Config) { c.Dir = "" }, "spans.dir"},
		{func(c *Config) { c.Retention = -1 }, "spans.retention"},
		{func(c *Config) { c.MaxBytes = -1 }, "spans.max_bytes"},
		{func(c *Config) { c.BlockAge = 0 }, "spans.block_age"},
		{func(c *Config) { c.HeadBytes = 1 }, "spans.head_bytes"},
		{func(c *Config) { c.MaxLinks = 0 }, "spans.max_links"},
		{func(c *Config) { c.RowGroupSpans = 0 }, "spans.row_group_spans"},
	} {
		cfg := DefaultConfig()
		c.change(&cfg)
		if err := cfg.Validate(); c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%+v: %v, want %q", cfg, err, c.says)
		}
	}
}
