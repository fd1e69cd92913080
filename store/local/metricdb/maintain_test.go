package metricdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"

	"github.com/weirhq/weir/store"
)

// TestCompactionAndRetention holds that compaction keeps every sample, that appends go on over it, and
// that a tenant nobody writes to loses what is past retention.
func TestCompactionAndRetention(t *testing.T) {
	cfg := testConfig(t.TempDir())
	db := openTest(t, cfg)
	start := time.Now().Add(-10 * time.Hour).UnixMilli()
	up := []string{"__name__", "up"}
	const n = 600
	for k := range int64(n) {
		b := &batch{}
		b.add(up, store.Sample{T: start + k*60_000, V: float64(k)})
		mustAppend(t, db, b)
		if k == 400 || k == n-1 {
			if err := db.tenants[tenantA].t.maintain(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	blocks := func() int { return len(db.tenants[tenantA].t.h.db.Blocks()) }
	if blocks() == 0 {
		t.Fatal("no blocks")
	}
	if got := read(t, db)[`{__name__="up"}`]; len(got) != n {
		t.Fatalf("%d samples, want %d", len(got), n)
	}
	// A repetition of what is in a block by now.
	again := &batch{}
	again.add(up, store.Sample{T: start + (n-30)*60_000, V: n - 30})
	if r := mustAppend(t, db, again); r.Samples != 1 {
		t.Fatalf("%+v", r)
	}
	s, err := db.Stats()
	if err != nil || s.Series != 1 || s.MetricBytes == 0 || s.OldestSample.UnixMilli() != start {
		t.Errorf("stats %+v %v", s, err)
	}

	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Retention = 3 * time.Hour
	db = openTest(t, cfg)
	db.openAll(t.Context())
	if err := db.tenants[tenantA].t.maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := read(t, db)[`{__name__="up"}`]
	if len(got) >= 400 || len(got) < 180 || !strings.HasPrefix(got[len(got)-1], fmt.Sprint(start+(n-1)*60_000)) {
		t.Errorf("%d samples after retention of 3 h, last %s", len(got), got[len(got)-1])
	}
}

// TestIdleTenantForgets holds retention for a tenant that gets no samples any more.
func TestIdleTenantForgets(t *testing.T) {
	cfg := testConfig(t.TempDir())
	db := openTest(t, cfg)
	start := time.Now().Add(-10 * time.Hour).UnixMilli()
	for k := range int64(300) {
		b := &batch{}
		b.add([]string{"__name__", "up"}, store.Sample{T: start + k*60_000, V: 1})
		mustAppend(t, db, b)
	}
	ten := db.tenants[tenantA].t
	if err := ten.maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := len(ten.h.db.Blocks())
	db.cfg.Retention = 7 * time.Hour // time passes
	ten.last = time.Now().Add(-24 * time.Hour)
	if err := ten.maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := len(ten.h.db.Blocks()); after >= before {
		t.Errorf("%d blocks before, %d after", before, after)
	}
}

func TestReopenWaitsForReaders(t *testing.T) {
	db := openTest(t, testConfig(t.TempDir()))
	b := &batch{}
	b.add([]string{"__name__", "up"}, store.Sample{T: time.Now().UnixMilli(), V: 1})
	mustAppend(t, db, b)
	q, err := db.Querier(tenantA, 0, time.Now().UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	ten := db.tenants[tenantA].t
	if _, ok := ten.retire(10 * time.Millisecond); ok {
		t.Fatal("retired under a reader")
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	ten.mu.Lock()
	err = ten.reopen(true)
	ten.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, db); len(got) != 1 {
		t.Fatalf("%v", got)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Append(t.Context(), tenantA, &b.MetricBatch); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("append after close: %v", err)
	}
	if _, err := db.Querier(tenantA, 0, 1); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("query after close: %v", err)
	}
}

func TestBoundsOnTenants(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.MaxTenants = 2
	db := openTest(t, cfg)
	b := &batch{}
	b.add([]string{"__name__", "up"}, store.Sample{T: time.Now().UnixMilli(), V: 1})
	for id, want := range map[store.Tenant]error{"": store.ErrInvalid} {
		if _, err := db.Append(t.Context(), id, &b.MetricBatch); !errors.Is(err, want) {
			t.Errorf("%q: %v", id, err)
		}
	}
	for i, want := range []error{nil, nil, store.ErrLimit} {
		if _, err := db.Append(t.Context(), store.Tenant(fmt.Sprint("t", i)), &b.MetricBatch); !errors.Is(err, want) {
			t.Errorf("tenant %d: %v", i, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := db.Append(ctx, "t0", &b.MetricBatch); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestSyncerFollowsRotation holds that all segments since the last sync are covered, also when some are gone.
func TestSyncerFollowsRotation(t *testing.T) {
	dir := t.TempDir()
	w, err := wlog.NewSize(promslog.NewNopLogger(), nil, dir, 32<<10, compression.None)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSyncer(nil, dir)
	if err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		if err := s.wait(); err != nil {
			t.Fatal(err)
		}
		segs, err := segments(dir)
		if err != nil {
			t.Fatal(err)
		}
		newest := segs[len(segs)-1]
		st, err := os.Stat(wlog.SegmentName(dir, newest))
		if err != nil {
			t.Fatal(err)
		}
		if l := s.logs[0]; l.segment != newest || l.size != st.Size() {
			t.Fatalf("synced segment %d to %d, newest is %d of %d bytes", l.segment, l.size, newest, st.Size())
		}
	}
	rec := make([]byte, 10_000)
	for k := range 30 {
		for range k % 7 {
			if err := w.Log(rec); err != nil {
				t.Fatal(err)
			}
		}
		if k%10 == 9 {
			segs, _ := segments(dir)
			if err := w.Truncate(segs[len(segs)-1]); err != nil { // also the one the syncer holds
				t.Fatal(err)
			}
		}
		check()
	}
	at, size := s.logs[0].segment, s.logs[0].size
	for range 10 {
		if err := w.Log(rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.cut(); err != nil {
		t.Fatal(err)
	}
	segs, _ := segments(dir)
	st, err := os.Stat(wlog.SegmentName(dir, at))
	if err != nil || segs[len(segs)-1] != at || st.Size() != size {
		t.Errorf("cut to segment %d of %d bytes, want %d of %d: %v", segs[len(segs)-1], st.Size(), at, size, err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if err := s.wait(); !errors.Is(err, errClosed) {
		t.Errorf("after close: %v", err)
	}
	// A failure stays.
	if err := os.MkdirAll(filepath.Join(dir, "x"), 0o750); err != nil {
		t.Fatal(err)
	}
	f, err := newSyncer(nil, filepath.Join(dir, "x"))
	if err != nil {
		t.Fatal(err)
	}
	f.failed = os.ErrInvalid
	if err := f.wait(); !errors.Is(err, os.ErrInvalid) {
		t.Error(err)
	}
}

func FuzzMetadataFile(f *testing.F) {
	f.Add([]byte(`[{"name":"up","type":"gauge","help":"h","unit":"s"}]`))
	f.Add([]byte(`[{"name":"up"`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "metadata.json"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := openMeta(dir, promslog.NewNopLogger())
		if err != nil {
			t.Fatal(err)
		}
		m.put("x", m.get("up", 0)["up"])
		if err := m.save(); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzTenantFolder(f *testing.F) {
	for _, s := range []string{"a", "%41", "%2F", "..", "%", "%zz", "ä"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if id, ok := tenantOf(s); ok {
			if d, err := tenantDir(id); err != nil || d != s {
				t.Fatalf("%q → %q → %q %v", s, id, d, err)
			}
		}
		if d, err := tenantDir(store.Tenant(s)); err == nil {
			if id, ok := tenantOf(d); !ok || string(id) != s {
				t.Fatalf("%q → %q → %q", s, d, id)
			}
		}
	})
}

// TestEverythingAtOnce appends, queries, compacts and fails syncs at the same time: what was acknowledged is there.
func TestEverythingAtOnce(t *testing.T) {
	db := openTest(t, testConfig(t.TempDir()))
	origin := time.Now().Add(-10 * time.Minute).UnixMilli()
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	var next, failed atomic.Int64
	var mu sync.Mutex
	var acked []int
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				n := int(next.Add(1))
				_, err := db.Append(context.WithoutCancel(ctx), tenantA, &numbered(n, origin).MetricBatch)
				switch {
				case err == nil:
					mu.Lock()
					acked = append(acked, n)
					mu.Unlock()
				case errors.Is(err, store.ErrUnavailable):
					failed.Add(1)
					<-time.After(time.Millisecond)
				default:
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			q, err := db.Querier(tenantA, origin-60_000, origin+600_000)
			if errors.Is(err, store.ErrUnavailable) {
				<-time.After(time.Millisecond)
				continue
			}
			if err != nil {
				t.Error(err)
				return
			}
			set := q.Select(context.WithoutCancel(ctx), false, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", "m"))
			for set.Next() {
				for it := set.At().Iterator(nil); it.Next() != 0; {
					it.AtT()
				}
			}
			if err := errors.Join(set.Err(), q.Close()); err != nil {
				t.Error(err)
			}
			if _, err := db.Stats(); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Go(func() {
		for ctx.Err() == nil {
			<-time.After(200 * time.Millisecond)
			ten, err := db.tenant(tenantA, true)
			if err != nil {
				t.Error(err)
				return
			}
			if h, err := ten.acquire(); err == nil {
				h.sync.turn.Lock()
				h.sync.failed = os.ErrInvalid
				h.sync.turn.Unlock()
				ten.release(h)
			}
			<-time.After(50 * time.Millisecond)
			ten.mu.Lock()
			ten.retryAt = time.Now()
			ten.mu.Unlock()
			_ = ten.maintain(ctx)
		}
	})
	wg.Wait()
	if len(acked) == 0 || failed.Load() == 0 {
		t.Fatalf("%d acknowledged, %d failed: want some of both", len(acked), failed.Load())
	}
	// The last injected failure may still stand when time is up; then Close says so, as it must.
	if err := db.Close(); err != nil && !errors.Is(err, os.ErrInvalid) {
		t.Fatal(err)
	}
	holds(t, openTest(t, db.cfg), acked, origin)
	t.Logf("%d acknowledged, %d refused", len(acked), failed.Load())
}
