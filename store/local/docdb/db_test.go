package docdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"golang.org/x/sys/unix"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

func openTest(tb testing.TB, dir string) *DB {
	tb.Helper()
	cfg := DefaultConfig()
	cfg.Dir = dir
	db, err := New(context.Background(), cfg, slog.New(slog.NewTextHandler(tb.Output(), nil)), metrics.NewSet())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	return db
}

func cells(n int, seq uint64) cell.Batch {
	b := cell.Batch{Auditor: cell.Auditor{Node: "n", Epoch: 1, Seq: seq, At: time.Now().UnixMilli()}}
	w := time.Now().Truncate(time.Minute).Unix()
	for i := range n {
		b.Cells = append(b.Cells, cell.Cell{
			Key:      cell.Key{Pipeline: fmt.Sprint("pipeline-", i%20), Stage: fmt.Sprint("stage-", i), Dir: cell.In, Destination: "orders", Group: "g", Window: w, Width: 60},
			Instance: "node-1/container-abc", Service: "svc", Node: "node-1", Epoch: 1, Seq: seq, Counts: cell.Counts{N: seq, Bytes: seq * 100, FpSum: seq, FpXor: seq},
		})
	}
	return b
}

// TestGroupCommit holds that writers share transactions, each gets its own answer, and nothing is lost or mixed.
func TestGroupCommit(t *testing.T) {
	db := openTest(t, t.TempDir())
	const writers, each = 40, 10
	var wg sync.WaitGroup
	var refused atomic.Int32
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				err := db.PutBarriers(t.Context(), "a", []store.Barrier{{System: "s", Partition: fmt.Sprint(w), Window: int64(i), Width: 60, Offset: 5}})
				if err != nil {
					t.Error(err)
				}
				// A job that fails takes its own writes back and nobody else's.
				err = db.commit(t.Context(), "fail", func(ctx context.Context, x *writer) error {
					if _, err := x.exec(ctx, `INSERT INTO barriers VALUES ('a',?,'s','','',?,61,1,1)`, i, fmt.Sprint(w)); err != nil {
						return err
					}
					return store.ErrConflict
				})
				if errors.Is(err, store.ErrConflict) {
					refused.Add(1)
				}
			}
		})
	}
	wg.Wait()
	bs, err := db.Barriers(t.Context(), "a", time.Time{}, time.Time{})
	if err != nil || len(bs) != writers*each || refused.Load() != writers*each {
		t.Fatalf("%d barriers, %d refused, %v", len(bs), refused.Load(), err)
	}
	if n := db.meters.commits.Get(); n >= 2*writers*each {
		t.Errorf("%d transactions for %d writes: none was shared", n, 2*writers*each)
	}
}

// TestGroupsBeyondBound holds that more writers than fit into a transaction all get through.
func TestGroupsBeyondBound(t *testing.T) {
	db := openTest(t, t.TempDir())
	db.turn.Lock()
	var wg sync.WaitGroup
	const n = 2*maxGroup + 10
	for i := range n {
		wg.Go(func() {
			if err := db.PutBarriers(t.Context(), "a", []store.Barrier{{Partition: fmt.Sprint(i)}}); err != nil {
				t.Error(err)
			}
		})
	}
	for {
		db.mu.Lock()
		queued := len(db.pending)
		db.mu.Unlock()
		if queued == n {
			break
		}
		<-time.After(time.Millisecond)
	}
	db.turn.Unlock()
	wg.Wait()
	bs, err := db.Barriers(t.Context(), "a", time.Time{}, time.Time{})
	if err != nil || len(bs) != n {
		t.Fatalf("%d barriers, %v", len(bs), err)
	}
}

func TestExpire(t *testing.T) {
	db := openTest(t, t.TempDir())
	ctx, now := t.Context(), time.Now()
	old, recent := now.Add(-db.cfg.Retention-time.Hour).Unix(), now.Unix()
	b := cell.Batch{}
	for i := range 2500 {
		b.Cells = append(b.Cells, cell.Cell{Key: cell.Key{Pipeline: fmt.Sprint(i), Window: old}})
	}
	b.Cells = append(b.Cells, cell.Cell{Key: cell.Key{Pipeline: "recent", Window: recent}}, cell.Cell{Key: cell.Key{Pipeline: "notime"}})
	for _, at := range []int64{old, recent} {
		b.Auditor = cell.Auditor{Node: fmt.Sprint(at), At: at * 1000}
		if err := errors.Join(
			db.PutCells(ctx, "a", b),
			db.PutBarriers(ctx, "a", []store.Barrier{{Window: at}}),
			db.PutVerdicts(ctx, "a", []store.Verdict{{VerdictKey: store.VerdictKey{Window: at}}}),
		); err != nil {
			t.Fatal(err)
		}
	}
	count := func() [4]int {
		t.Helper()
		c, err1 := db.Cells(ctx, "a", store.CellQuery{})
		bs, err2 := db.Barriers(ctx, "a", time.Time{}, time.Time{})
		v, err3 := db.Verdicts(ctx, "a", store.VerdictQuery{})
		a, err4 := db.Auditors(ctx, "a", time.Time{})
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			t.Fatal(err)
		}
		return [4]int{len(c), len(bs), len(v), len(a)}
	}
	if err := db.Expire(ctx, now); err != nil {
		t.Fatal(err)
	}
	// What was written only now stays, however old its window: its sender has just come back.
	if got := count(); got != [4]int{2502, 1, 1, 1} {
		t.Errorf("now: %v", got)
	}
	if err := db.Expire(ctx, now.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := count(); got != [4]int{2502, 1, 1, 1} {
		t.Errorf("two hours later: %v", got)
	}
	if err := db.Expire(ctx, now.Add(db.cfg.Retention+time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := count(); got != [4]int{} {
		t.Errorf("after retention: %v", got)
	}
}

func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("LOUD: disk-full test not run, it needs root to mount a small disk: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	db := openTest(t, filepath.Join(dir, "ledger"))
	if err := db.PutCells(t.Context(), "a", cells(100, 1)); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(dir, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for err = nil; err == nil; {
		_, err = f.Write(make([]byte, 4096))
	}
	_ = f.Close()
	seq := uint64(1)
	for err = nil; err == nil && seq < 1000; {
		if err = db.PutCells(t.Context(), "a", cells(100, seq+1)); err == nil {
			seq++
		}
	}
	if !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("disk full: %v", err)
	}
	check := func() {
		t.Helper()
		cs, err := db.Cells(t.Context(), "a", store.CellQuery{})
		if err != nil || len(cs) != 100 {
			t.Fatalf("%d cells, %v", len(cs), err)
		}
		for _, c := range cs {
			if c.Seq != seq {
				t.Fatalf("seq %d, acknowledged was %d", c.Seq, seq)
			}
		}
	}
	check()
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	seq++
	if err := db.PutCells(t.Context(), "a", cells(100, seq)); err != nil {
		t.Fatalf("does not resume: %v", err)
	}
	check()
}

func TestConfig(t *testing.T) {
	ok := DefaultConfig()
	ok.Dir = "x"
	if err := ok.Validate(); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*Config){
		func(c *Config) { c.Dir = "" }, func(c *Config) { c.Retention = time.Minute }, func(c *Config) { c.History = 0 },
		func(c *Config) { c.MaxDocument = 0 }, func(c *Config) { c.Readers = 0 },
	} {
		c := ok
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%+v accepted", c)
		}
	}
	db := openTest(t, t.TempDir())
	if _, err := db.Catalog().Put(t.Context(), "a", "k", "n", make([]byte, db.cfg.MaxDocument+1), -1, ""); !errors.Is(err, store.ErrLimit) {
		t.Error(err)
	}
	if _, err := db.Catalog().Put(t.Context(), "a", "", "n", nil, -1, ""); !errors.Is(err, store.ErrInvalid) {
		t.Error(err)
	}
	if err := db.PutCells(t.Context(), "a", cells(1, 1<<63)); !errors.Is(err, store.ErrInvalid) {
		t.Error(err)
	}
}

// BenchmarkPutCells writes snapshots of 100 cells from four senders at once.
func BenchmarkPutCells(b *testing.B) {
	db := openTest(b, b.TempDir())
	var seq atomic.Uint64
	var before unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	b.SetParallelism(2)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := db.PutCells(context.Background(), "a", cells(100, seq.Add(1))); err != nil {
				b.Error(err)
				return
			}
		}
	})
	var after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
		b.Fatal(err)
	}
	spent := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	b.ReportMetric(float64(b.N*100)/spent.Seconds(), "cells/core-s")
	b.ReportMetric(float64(b.N*100)/time.Since(start).Seconds(), "cells/s")
}
