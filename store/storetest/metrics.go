package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"pgregory.net/rapid"

	"github.com/weirhq/weir/store"
)

// base is a round time half an hour ago, inside every engine's out-of-order window, and the same all through a run.
var base = sync.OnceValue(func() int64 { return time.Now().Add(-30 * time.Minute).Truncate(time.Minute).UnixMilli() })

// item is one sample of one series, the unit of the model.
type item struct {
	name string // of the series: __name__ and one label
	t    int64
	v    float64 // for a histogram, its count
	hist bool
}

func gauge(name string, t int64, v float64) item { return item{name: name, t: t, v: v} }

func (i item) histogram() *histogram.Histogram {
	return &histogram.Histogram{
		Schema: 1, Count: uint64(i.v), Sum: i.v * 2, ZeroThreshold: 0.001,
		PositiveSpans: []histogram.Span{{Offset: 0, Length: 1}}, PositiveBuckets: []int64{int64(i.v)},
	}
}

// batchOf puts items into a batch, one series per item, symbols repeated as a careless sender does.
func batchOf(items ...item) *store.MetricBatch {
	b := &store.MetricBatch{}
	for _, i := range items {
		n := uint32(len(b.Symbols))
		b.Symbols = append(b.Symbols, model.MetricNameLabel, i.name, "service", "s-"+i.name)
		s := store.BatchSeries{LabelRefs: []uint32{n, n + 1, n + 2, n + 3}}
		if i.hist {
			s.Histograms = []store.HistogramSample{{T: i.t, H: i.histogram()}}
		} else {
			s.Samples = []store.Sample{{T: i.t, V: i.v}}
		}
		b.Series = append(b.Series, s)
	}
	return b
}

func put(t tb, e store.Engine, tenant store.Tenant, items ...item) store.AppendResult {
	t.Helper()
	b := batchOf(items...)
	res, err := e.Metrics().Append(context.Background(), tenant, b)
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	clear(b.Symbols) // only valid during the call
	for i := range b.Series {
		if hs := b.Series[i].Histograms; len(hs) > 0 {
			hs[0].H.PositiveBuckets[0] = -1
		}
	}
	rejected := 0
	for _, r := range res.Rejected {
		rejected += r.Count
		if r.Example == "" || r.Reason == "" {
			t.Errorf("rejection without reason or example: %+v", r)
		}
	}
	if res.Samples+res.Histograms+rejected != len(items) {
		t.Errorf("received %d, result %+v", len(items), res)
	}
	return res
}

// readAll returns everything a tenant has, and checks the order of series and samples.
func readAll(t tb, e store.Engine, tenant store.Tenant, mint, maxt int64) []item {
	t.Helper()
	q, err := e.Metrics().Querier(tenant, mint, maxt)
	if err != nil {
		t.Fatalf("querier: %v", err)
	}
	defer func() {
		if err := q.Close(); err != nil {
			t.Errorf("close querier: %v", err)
		}
	}()
	set := q.Select(context.Background(), true, nil, labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, ".+"))
	var out []item
	var last labels.Labels
	for set.Next() {
		s := set.At()
		ls := s.Labels()
		if !last.IsEmpty() && labels.Compare(last, ls) >= 0 {
			t.Errorf("series %s after %s", ls, last)
		}
		last = ls.Copy()
		name := ls.Get(model.MetricNameLabel)
		if want := labels.FromStrings(model.MetricNameLabel, name, "service", "s-"+name); !labels.Equal(ls, want) {
			t.Errorf("series %s, want %s", ls, want)
		}
		at := int64(math.MinInt64)
		it := s.Iterator(nil)
		for vt := it.Next(); vt != chunkenc.ValNone; vt = it.Next() {
			if it.AtT() <= at {
				t.Errorf("%s: time %d after %d", ls, it.AtT(), at)
			}
			at = it.AtT()
			i := item{name: name, t: at}
			if vt == chunkenc.ValFloat {
				_, i.v = it.At()
			} else {
				_, fh := it.AtFloatHistogram(nil)
				i.v, i.hist = fh.Count, true
				if fh.Sum != 2*fh.Count || len(fh.PositiveBuckets) != 1 || fh.PositiveBuckets[0] != fh.Count {
					t.Errorf("%s: histogram %v", ls, fh)
				}
			}
			out = append(out, i)
		}
		if err := it.Err(); err != nil {
			t.Fatalf("iterator: %v", err)
		}
	}
	if err := set.Err(); err != nil {
		t.Fatalf("select: %v", err)
	}
	return out
}

func testMetrics(t *testing.T, fresh func(t *testing.T) Place) {
	t.Helper()
	t.Run("rejections", func(t *testing.T) { testRejections(t, fresh) })
	t.Run("metadata", func(t *testing.T) { testMetadata(t, fresh) })
	t.Run("bounds", func(t *testing.T) { testQueryBounds(t, fresh) })
	t.Run("random", func(t *testing.T) {
		rapid.Check(t, func(r *rapid.T) { randomMetrics(r, start(r, fresh(t))) })
	})
}

func testRejections(t *testing.T, fresh func(t *testing.T) Place) {
	t.Helper()
	e := opened(t, fresh)
	now := time.Now().UnixMilli()
	put(t, e, "a", gauge("up", now, 1))
	for _, c := range []struct {
		reason string
		item   item
	}{
		{"duplicate_value", gauge("up", now, 2)},
		{"too_new", gauge("up", now+time.Hour.Milliseconds(), 2)},
		{"too_old", gauge("up", now-10*365*24*time.Hour.Milliseconds(), 2)},
		{"bad_labels", gauge("", now, 2)},
		{"bad_labels", gauge("\xff", now, 2)},
	} {
		// One bad sample does not keep the others out.
		res := put(t, e, "a", gauge("before", now, 1), c.item, gauge("up", now, 1), gauge("after", now, 1))
		if res.Samples != 3 || len(res.Rejected) != 1 || res.Rejected[0].Reason != c.reason || res.Rejected[0].Count != 1 {
			t.Errorf("%s: %+v", c.reason, res)
		}
	}
	want := []item{gauge("after", now, 1), gauge("before", now, 1), gauge("up", now, 1)}
	if d := cmp.Diff(want, readAll(t, e, "a", 0, math.MaxInt64), cmp.AllowUnexported(item{})); d != "" {
		t.Error(d)
	}
	stale := gauge("up", now+1, math.Float64frombits(value.StaleNaN))
	for range 2 {
		if res := put(t, e, "a", stale); res.Samples != 1 {
			t.Errorf("stale marker: %+v", res)
		}
	}
	bad := batchOf(gauge("x", now, 1))
	bad.Series[0].LabelRefs[3] = 1000
	if res, err := e.Metrics().Append(t.Context(), "a", bad); err != nil || len(res.Rejected) != 1 || res.Rejected[0].Reason != "bad_labels" {
		t.Errorf("reference out of range: %+v %v", res, err)
	}
	if _, err := e.Metrics().Append(t.Context(), "", batchOf(gauge("x", now, 1))); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("empty tenant: %v", err)
	}
	if res, err := e.Metrics().Append(t.Context(), "a", &store.MetricBatch{}); err != nil || res.Samples != 0 {
		t.Errorf("empty batch: %+v %v", res, err)
	}
}

func testMetadata(t *testing.T, fresh func(t *testing.T) Place) {
	t.Helper()
	e := opened(t, fresh)
	want := map[string]metadata.Metadata{}
	for _, name := range []string{"m1", "m2", "m3"} {
		b := batchOf(gauge(name, base(), 1))
		want[name] = metadata.Metadata{Type: "gauge", Help: "help of " + name, Unit: "s"}
		b.Series[0].Meta = want[name]
		if _, err := e.Metrics().Append(t.Context(), "a", b); err != nil {
			t.Fatal(err)
		}
	}
	check := func() {
		t.Helper()
		m, err := e.Metrics().Metadata(t.Context(), "a", "", 0)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, m); d != "" {
			t.Error(d)
		}
		if m, err = e.Metrics().Metadata(t.Context(), "a", "m2", 0); err != nil || len(m) != 1 || m["m2"] != want["m2"] {
			t.Errorf("%v %v", m, err)
		}
		if m, err = e.Metrics().Metadata(t.Context(), "a", "", 2); err != nil || len(m) != 2 {
			t.Errorf("%v %v", m, err)
		}
		if m, err = e.Metrics().Metadata(t.Context(), "nobody", "", 0); err != nil || len(m) != 0 {
			t.Errorf("%v %v", m, err)
		}
	}
	check()
	e.restart(t)
	check()
}

func testQueryBounds(t *testing.T, fresh func(t *testing.T) Place) {
	t.Helper()
	e := opened(t, fresh)
	b := base()
	put(t, e, "a", gauge("up", b, 1), gauge("up", b+1, 2), gauge("up", b+2, 3))
	if got := readAll(t, e, "a", b, b+1); len(got) != 2 {
		t.Errorf("both ends belong to the range: %v", got)
	}
	if got := readAll(t, e, "nobody", b, b+1); len(got) != 0 {
		t.Errorf("tenant without data: %v", got)
	}
	q, err := e.Metrics().Querier("a", b, b+2)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = q.Close() }()
	vs, _, err := q.LabelValues(t.Context(), "service", nil)
	if err != nil || !slices.Equal(vs, []string{"s-up"}) {
		t.Errorf("label values %v %v", vs, err)
	}
	ns, _, err := q.LabelNames(t.Context(), nil)
	if err != nil || !slices.Equal(ns, []string{model.MetricNameLabel, "service"}) {
		t.Errorf("label names %v %v", ns, err)
	}
}

// randomMetrics appends samples in any order, each batch up to three times, to two tenants, and restarts in between.
// The value of a sample is a function of series and time, so a repetition is always the same sample.
func randomMetrics(t *rapid.T, e *running) {
	defer e.close(t)
	from := base()
	model := map[store.Tenant]map[item]bool{"a": {}, "b/ö": {}}
	draw := rapid.Custom(func(t *rapid.T) item {
		n, k := rapid.IntRange(0, 5).Draw(t, "series"), rapid.Int64Range(0, 40).Draw(t, "second")
		return item{name: fmt.Sprintf("m%d", n), t: from + k*1000, v: float64(int64(n)*100 + k + 1), hist: n == 5}
	})
	tenants := slices.Sorted(maps.Keys(model))
	check := func(t *rapid.T) {
		for _, id := range tenants {
			want := slices.SortedFunc(maps.Keys(model[id]), func(a, b item) int {
				if a.name != b.name {
					return cmpString(a.name, b.name)
				}
				return int(a.t - b.t)
			})
			got := readAll(t, e, id, from, from+40_000)
			// Tenants must differ, so values of the second are shifted.
			if d := cmp.Diff(want, got, cmp.AllowUnexported(item{})); d != "" {
				t.Fatalf("tenant %q (-want +got)\n%s", id, d)
			}
		}
	}
	t.Repeat(map[string]func(*rapid.T){
		"append": func(t *rapid.T) {
			k := rapid.IntRange(0, len(tenants)-1).Draw(t, "tenant")
			items := rapid.SliceOfN(draw, 1, 20).Draw(t, "items")
			for i := range items {
				items[i].v += float64(k) * 1000
			}
			for range rapid.IntRange(1, 3).Draw(t, "times") {
				if res := put(t, e, tenants[k], items...); len(res.Rejected) > 0 {
					t.Fatalf("rejected %+v", res.Rejected)
				}
			}
			for _, i := range items {
				model[tenants[k]][i] = true
			}
		},
		"restart": func(t *rapid.T) {
			if rapid.IntRange(0, 7).Draw(t, "seldom") == 0 {
				e.restart(t)
			}
		},
		"check": check,
	})
	check(t)
}

func cmpString(a, b string) int {
	if a < b {
		return -1
	}
	return 1
}
