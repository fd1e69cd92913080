package metricdb

import (
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/weirhq/weir/store"
)

const tenantA = store.Tenant("a")

func testConfig(dir string) Config {
	c := DefaultConfig()
	c.Dir = dir
	c.MinFreeBytes = 1 << 20
	return c
}

func openTest(tb testing.TB, cfg Config) *DB {
	tb.Helper()
	db, err := New(cfg, slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})), metrics.NewSet())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

// batch builds a MetricBatch from "name{a=b,c=d}" → samples.
type batch struct{ store.MetricBatch }

func (b *batch) sym(s string) uint32 {
	for i, x := range b.Symbols {
		if x == s {
			return uint32(i)
		}
	}
	b.Symbols = append(b.Symbols, s)
	return uint32(len(b.Symbols) - 1)
}

func (b *batch) add(pairs []string, samples ...store.Sample) *store.BatchSeries {
	s := store.BatchSeries{Samples: samples}
	for _, p := range pairs {
		s.LabelRefs = append(s.LabelRefs, b.sym(p))
	}
	b.Series = append(b.Series, s)
	return &b.Series[len(b.Series)-1]
}

func mustAppend(tb testing.TB, db *DB, b *batch) store.AppendResult {
	tb.Helper()
	res, err := db.Append(tb.Context(), tenantA, &b.MetricBatch)
	if err != nil {
		tb.Fatal(err)
	}
	return res
}

// read returns all samples of tenant a as text, by series.
func read(tb testing.TB, db *DB, ms ...*labels.Matcher) map[string][]string {
	tb.Helper()
	q, err := db.Querier(tenantA, math.MinInt64, math.MaxInt64)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = q.Close() }()
	if len(ms) == 0 {
		ms = []*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, ".+")}
	}
	set := q.Select(tb.Context(), true, nil, ms...)
	out := map[string][]string{}
	for set.Next() {
		s := set.At()
		it := s.Iterator(nil)
		for vt := it.Next(); vt != 0; vt = it.Next() {
			switch vt.String() {
			case "float":
				t, v := it.At()
				out[s.Labels().String()] = append(out[s.Labels().String()], fmt.Sprintf("%d=%v", t, v))
			default:
				t, h := it.AtFloatHistogram(nil)
				out[s.Labels().String()] = append(out[s.Labels().String()], fmt.Sprintf("%d=h%v/%v", t, h.Count, h.Sum))
			}
		}
	}
	if err := set.Err(); err != nil {
		tb.Fatal(err)
	}
	return out
}

func reasons(res store.AppendResult) map[string]int {
	m := map[string]int{}
	for _, r := range res.Rejected {
		m[r.Reason] += r.Count
	}
	return m
}

func TestAppendCounts(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.MaxSeries = 5
	db := openTest(t, cfg)
	now := time.Now().UnixMilli()
	up := []string{"__name__", "up", "job", "x"}
	s := func(ago time.Duration, v float64) store.Sample {
		return store.Sample{T: now - ago.Milliseconds(), V: v}
	}
	step := func(name string, want store.AppendResult, b *batch) {
		t.Helper()
		got := mustAppend(t, db, b)
		for i := range got.Rejected {
			if got.Rejected[i].Example == "" {
				t.Errorf("%s: rejection %q without example", name, got.Rejected[i].Reason)
			}
			got.Rejected[i].Example = ""
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: (-want +got)\n%s", name, d)
		}
	}
	rej := func(reason string, n int) []store.Rejection { return []store.Rejection{{Reason: reason, Count: n}} }
	one := func(samples ...store.Sample) *batch { b := &batch{}; b.add(up, samples...); return b }

	step("new", store.AppendResult{Samples: 2, NewSeries: 1}, one(s(time.Minute, 1), s(30*time.Second, 2)))
	step("again", store.AppendResult{Samples: 2}, one(s(time.Minute, 1), s(30*time.Second, 2)))
	step("third time", store.AppendResult{Samples: 2}, one(s(time.Minute, 1), s(30*time.Second, 2)))
	step("other value", store.AppendResult{Rejected: rej(duplicate, 1)}, one(s(30*time.Second, 3)))
	step("other value twice in a batch", store.AppendResult{Samples: 1, Rejected: rej(duplicate, 1)}, one(s(20*time.Second, 3), s(20*time.Second, 4)))
	step("same value twice in a batch", store.AppendResult{Samples: 2}, one(s(19*time.Second, 3), s(19*time.Second, 3)))
	step("too new", store.AppendResult{Rejected: rej(tooNew, 1)}, one(s(-11*time.Minute, 3)))
	step("out of order", store.AppendResult{Samples: 1}, one(s(30*time.Minute, 7)))
	step("out of order, other value", store.AppendResult{Rejected: rej(duplicate, 1)}, one(s(30*time.Minute, 8)))
	step("out of order, again", store.AppendResult{Samples: 1}, one(s(30*time.Minute, 7)))
	step("too old", store.AppendResult{Rejected: rej(tooOld, 1)}, one(s(cfg.OutOfOrderWindow+2*time.Minute, 7)))
	step("before retention", store.AppendResult{Rejected: rej(tooOld, 1)}, one(s(16*24*time.Hour, 7)))

	bad := &batch{}
	bad.add([]string{"__name__", "ok", "empty", ""}, s(0, 1))
	bad.add([]string{"job", "x"}, s(0, 1), s(-time.Second, 1))
	bad.add([]string{"__name__", ""}, s(0, 1))
	bad.add([]string{"z", "1", "__name__", "m"}, s(0, 1))
	bad.add([]string{"__name__", "m", "a", "1", "a", "2"}, s(0, 1))
	bad.add([]string{"__name__", "m", "a", "\xff"}, s(0, 1))
	bad.add([]string{"__name__", "m", "", "x"}, s(0, 1))
	bad.add([]string{"__name__"}, s(0, 1))
	bad.add(nil, s(0, 1))
	bad.add([]string{"__name__", "m", "long", strings.Repeat("x", cfg.MaxValueBytes+1)}, s(0, 1))
	bad.add([]string{"__name__", "m"}, s(0, 1)).LabelRefs[1] = 99
	step("bad labels", store.AppendResult{Samples: 1, NewSeries: 1, Rejected: rej(badLabels, 11)}, bad)
	// The empty label is no label: the same series.
	step("without empty label", store.AppendResult{Samples: 1}, func() *batch { b := &batch{}; b.add([]string{"__name__", "ok"}, s(0, 1)); return b }())

	many := &batch{}
	for i := range 6 {
		many.add([]string{"__name__", "many", "i", fmt.Sprint(i)}, s(0, 1), s(-time.Second, 1))
	}
	step("series limit", store.AppendResult{Samples: 6, NewSeries: 3, Rejected: rej(seriesLimit, 6)}, many)

	want := []string{
		fmt.Sprintf("%d=7", now-30*60_000), fmt.Sprintf("%d=1", now-60_000), fmt.Sprintf("%d=2", now-30_000),
		fmt.Sprintf("%d=3", now-20_000), fmt.Sprintf("%d=3", now-19_000),
	}
	if d := cmp.Diff(want, read(t, db)[`{__name__="up", job="x"}`]); d != "" {
		t.Error(d)
	}

	// The same questions once more after a restart, when nothing is cached.
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openTest(t, cfg)
	step("restart: again", store.AppendResult{Samples: 2}, one(s(20*time.Second, 3), s(19*time.Second, 3)))
	step("restart: other value", store.AppendResult{Rejected: rej(duplicate, 1)}, one(s(19*time.Second, 4)))
	step("restart: out of order, again", store.AppendResult{Samples: 1}, one(s(30*time.Minute, 7)))
	if d := cmp.Diff(want, read(t, db)[`{__name__="up", job="x"}`]); d != "" {
		t.Error(d)
	}
}

func TestHistograms(t *testing.T) {
	db := openTest(t, testConfig(t.TempDir()))
	now := time.Now().UnixMilli()
	pairs := []string{"__name__", "lat"}
	stale := math.Float64frombits(value.StaleNaN)
	h := tsdbutil.GenerateTestHistogram(3)
	mk := func(t int64, h *histogram.Histogram) *batch {
		b := &batch{}
		b.add(pairs).Histograms = []store.HistogramSample{{T: t, H: h}}
		return b
	}
	if r := mustAppend(t, db, mk(now, h)); r.Histograms != 1 || len(r.Rejected) != 0 {
		t.Fatalf("%+v", r)
	}
	sum := h.Sum
	h.Sum, h.PositiveBuckets[0] = 99, 99 // the caller's again
	for range 3 {
		if r := mustAppend(t, db, mk(now, tsdbutil.GenerateTestHistogram(3))); r.Histograms != 1 {
			t.Fatalf("%+v", r)
		}
	}
	if r := mustAppend(t, db, mk(now, tsdbutil.GenerateTestHistogram(4))); r.Histograms != 0 || reasons(r)[duplicate] != 1 {
		t.Fatalf("%+v", r)
	}
	bad := mk(now+1, tsdbutil.GenerateTestHistogram(4))
	bad.Series[0].Histograms[0].H.Count = 1
	bad.Series[0].Histograms = append(bad.Series[0].Histograms, store.HistogramSample{T: now + 2})
	if r := mustAppend(t, db, bad); r.Histograms != 0 || reasons(r)[badHistogram] != 2 {
		t.Fatalf("%+v", r)
	}
	end := func() store.AppendResult {
		b := &batch{}
		b.add(pairs, store.Sample{T: now + 10, V: stale})
		return mustAppend(t, db, b)
	}
	for range 2 {
		if r := end(); r.Samples != 1 {
			t.Fatalf("%+v", r)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openTest(t, db.cfg)
	if r := end(); r.Samples != 1 { // nothing is cached: the store has to look
		t.Fatalf("%+v", r)
	}
	want := []string{fmt.Sprintf("%d=h%v/%v", now, 40, sum), fmt.Sprintf("%d=h0/NaN", now+10)}
	_ = want
	got := read(t, db)[`{__name__="lat"}`]
	if len(got) != 2 || !strings.Contains(got[0], fmt.Sprintf("/%v", sum)) || !strings.HasSuffix(got[1], "NaN") {
		t.Errorf("got %v", got)
	}
}

func TestMetadataAndExemplars(t *testing.T) {
	db := openTest(t, testConfig(t.TempDir()))
	now := time.Now().UnixMilli()
	b := &batch{}
	s := b.add([]string{"__name__", "req_total"}, store.Sample{T: now, V: 1})
	s.Meta = metadata.Metadata{Type: "counter", Help: "requests", Unit: "1"}
	s.Exemplars = []store.Exemplar{{LabelRefs: []uint32{b.sym("trace_id"), b.sym("abc")}, T: now, V: 1}}
	for range 2 {
		if r := mustAppend(t, db, b); r.Exemplars != 1 || r.Samples != 1 {
			t.Fatalf("%+v", r)
		}
	}
	eq, err := db.Exemplars(t.Context(), tenantA)
	if err != nil {
		t.Fatal(err)
	}
	ex, err := eq.Select(now-1000, now+1000, []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "__name__", "req_total")})
	if err != nil || len(ex) != 1 || len(ex[0].Exemplars) != 1 || ex[0].Exemplars[0].Labels.Get("trace_id") != "abc" {
		t.Fatalf("%v %v", ex, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openTest(t, db.cfg)
	m, err := db.Metadata(t.Context(), tenantA, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]metadata.Metadata{"req_total": {Type: "counter", Help: "requests", Unit: "1"}}, m); d != "" {
		t.Error(d)
	}
}

// A reference in the cache outlives its series in the head.
func TestReferenceAfterHeadGC(t *testing.T) {
	db := openTest(t, testConfig(t.TempDir()))
	now := time.Now().UnixMilli()
	pairs := []string{"__name__", "up"}
	b := &batch{}
	b.add(pairs, store.Sample{T: now, V: 1})
	mustAppend(t, db, b)
	ten := db.tenants[tenantA].t
	if err := ten.h.db.Head().Truncate(now + 1); err != nil {
		t.Fatal(err)
	}
	if n := ten.h.db.Head().NumSeries(); n != 0 {
		t.Fatalf("%d series left", n)
	}
	b = &batch{}
	b.add(pairs, store.Sample{T: now + 2, V: 2}, store.Sample{T: now + 3, V: 3})
	if r := mustAppend(t, db, b); r.Samples != 2 || len(r.Rejected) != 0 {
		t.Fatalf("%+v", r)
	}
	if got := read(t, db)[`{__name__="up"}`]; len(got) != 2 {
		t.Fatalf("%v", got)
	}
}

func TestTenantNames(t *testing.T) {
	for _, id := range []store.Tenant{"a", "A", "a/b", "..", "ä", "%41", "a b\x00", "default"} {
		d, err := tenantDir(id)
		if err != nil || strings.ContainsAny(d, "/.") {
			t.Errorf("%q: %q %v", id, d, err)
		}
		if back, ok := tenantOf(d); !ok || back != id {
			t.Errorf("%q → %q → %q", id, d, back)
		}
	}
	for _, id := range []store.Tenant{"", store.Tenant(strings.Repeat("x", 129)), store.Tenant(strings.Repeat("/", 100))} {
		if _, err := tenantDir(id); err == nil {
			t.Errorf("%q accepted", id)
		}
	}
}
