package metricdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirhq/weir/store"
)

// tmpfs mounts a small disk in memory, or skips.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("LOUD: disk-full test not run, it needs root to mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill takes all space of a disk and returns what gives it back.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1 << 20, 4096, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, n))
		}
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// numbered is batch n of 20 series; every second sample is out of order.
func numbered(n int, origin int64) *batch {
	b := &batch{}
	for i := range 20 {
		t := origin + int64(n)*10
		if (n+i)%2 == 0 {
			t -= 20_001
		}
		b.add([]string{"__name__", "m", "i", strconv.Itoa(i)}, store.Sample{T: t, V: float64(n)})
	}
	return b
}

// holds checks that the samples of all acknowledged batches are there once.
func holds(t *testing.T, db *DB, acked []int, origin int64) {
	t.Helper()
	got := read(t, db)
	for i := range 20 {
		have := map[string]int{}
		for _, s := range got[fmt.Sprintf(`{__name__="m", i="%d"}`, i)] {
			have[s]++
		}
		for _, n := range acked {
			s := numbered(n, origin).Series[i].Samples[0]
			if key := fmt.Sprintf("%d=%v", s.T, s.V); have[key] != 1 {
				t.Fatalf("series %d, acknowledged batch %d: stored %d times", i, n, have[key])
			}
		}
	}
}

func TestDiskFull(t *testing.T) {
	for _, c := range []struct {
		name    string
		minFree int64
	}{
		{"refused in time", 4 << 20},
		{"WAL hits the wall", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := tmpfs(t, "24m")
			cfg := testConfig(filepath.Join(dir, "metrics"))
			cfg.MinFreeBytes = c.minFree
			db := openTest(t, cfg)
			origin := time.Now().Add(-10 * time.Minute).UnixMilli()
			var acked []int
			n := 0
			add := func() error {
				n++
				res, err := db.Append(t.Context(), tenantA, &numbered(n, origin).MetricBatch)
				if err == nil {
					if res.Samples != 20 {
						t.Fatalf("%+v", res)
					}
					acked = append(acked, n)
				}
				return err
			}
			for round := range 2 {
				for range 100 {
					if err := add(); err != nil {
						t.Fatalf("round %d: %v", round, err)
					}
				}
				free := fill(t, dir)
				var err error
				for range 5000 {
					if err = add(); err != nil {
						break
					}
				}
				if !errors.Is(err, store.ErrUnavailable) {
					t.Fatalf("disk full: %v", err)
				}
				for range 20 {
					if err = add(); !errors.Is(err, store.ErrUnavailable) {
						t.Fatalf("disk still full: %v", err)
					}
				}
				holds(t, db, acked, origin) // queries answer
				free()
				for deadline := time.Now().Add(10 * time.Second); ; {
					if err = add(); err == nil {
						break
					}
					if time.Now().After(deadline) {
						t.Fatalf("does not resume: %v", err)
					}
					<-time.After(20 * time.Millisecond)
				}
				holds(t, db, acked, origin)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
			holds(t, openTest(t, cfg), acked, origin)
		})
	}
}

// TestSyncFails holds that nothing is acknowledged after a failed sync until the store has been opened anew, that what was
// not acknowledged is gone then, and that the rest is not.
func TestSyncFails(t *testing.T) {
	db := openTest(t, testConfig(t.TempDir()))
	origin := time.Now().Add(-10 * time.Minute).UnixMilli()
	mustAppend(t, db, numbered(1, origin))
	mustAppend(t, db, numbered(2, origin))
	ten := db.tenants[tenantA].t
	ten.h.sync.turn.Lock()
	ten.h.sync.failed = unix.EIO
	ten.h.sync.turn.Unlock()
	for range 3 {
		if _, err := db.Append(t.Context(), tenantA, &numbered(3, origin).MetricBatch); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("after a failed sync: %v", err)
		}
	}
	holds(t, db, []int{1, 2}, origin) // queries answer
	ten.mu.Lock()
	ten.retryAt = time.Now()
	ten.mu.Unlock()
	if err := ten.tick(); err != nil { // by itself, without an append
		t.Fatal(err)
	}
	if got := len(read(t, db)[`{__name__="m", i="0"}`]); got != 2 {
		t.Errorf("%d samples, want the two that were acknowledged", got)
	}
	mustAppend(t, db, numbered(3, origin))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	holds(t, openTest(t, db.cfg), []int{1, 2, 3}, origin)
}

// TestPowerCut copies the data at random moments as a power cut would leave it: of the logs what was synced,
// then perhaps some of the rest or garbage; of the head's chunks perhaps nothing. All that was acknowledged must be there.
func TestPowerCut(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.walSegment = 128 << 10 // so that segments rotate
	db := openTest(t, cfg)
	origin := time.Now().Add(-10 * time.Minute).UnixMilli()
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var acked []int
	next := 0
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				mu.Lock()
				next++
				n := next
				mu.Unlock()
				if _, err := db.Append(context.WithoutCancel(ctx), tenantA, &numbered(n, origin).MetricBatch); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acked = append(acked, n)
				mu.Unlock()
			}
		})
	}
	for cut := range 4 {
		<-time.After(100 * time.Millisecond)
		mu.Lock()
		at := append([]int(nil), acked...)
		mu.Unlock()
		if len(at) == 0 {
			continue
		}
		copied := cfg
		copied.Dir = t.TempDir()
		segments := copyAfterPowerCut(t, db.tenants[tenantA].t, filepath.Join(copied.Dir, "a"))
		after := openTest(t, copied)
		holds(t, after, at, origin)
		// What comes after the repair must last as well.
		later := numbered(1_000_000+cut, origin-10*1_000_000+5)
		mustAppend(t, after, later)
		if err := after.Close(); err != nil {
			t.Error(err)
		}
		after = openTest(t, copied)
		holds(t, after, at, origin)
		t.Logf("%d batches acknowledged, %d WAL segments", len(at), segments)
	}
	cancel()
	wg.Wait()
}

func copyAfterPowerCut(t *testing.T, ten *tenant, to string) (segs int) {
	t.Helper()
	type mark struct {
		segment int
		size    int64
	}
	marks := map[string]mark{}
	ten.h.sync.turn.Lock()
	for _, l := range ten.h.sync.logs {
		marks[l.dir] = mark{l.segment, l.size}
	}
	ten.h.sync.turn.Unlock()
	for dir, m := range marks {
		if err := os.MkdirAll(filepath.Join(to, filepath.Base(dir)), 0o750); err != nil {
			t.Fatal(err)
		}
		all, err := segments(dir)
		if err != nil {
			t.Fatal(err)
		}
		segs += len(all)
		for _, n := range all {
			data, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%08d", n)))
			if err != nil {
				t.Fatal(err)
			}
			if n > m.segment {
				continue // its name was not synced
			}
			if n == m.segment {
				rest := data[m.size:]
				data = data[:m.size:m.size]
				switch rand.IntN(3) {
				case 0:
				case 1:
					data = append(data, rest[:rand.IntN(len(rest)+1)]...)
				case 2:
					data = append(data, make([]byte, rand.IntN(40_000))...)
					if len(rest) > 0 && rand.IntN(2) == 0 {
						data = append(data, rest...)
					}
				}
			}
			if err := os.WriteFile(filepath.Join(to, filepath.Base(dir), fmt.Sprintf("%08d", n)), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if rand.IntN(2) == 0 {
		from := filepath.Join(ten.dir, "chunks_head")
		if err := os.MkdirAll(filepath.Join(to, "chunks_head"), 0o750); err != nil {
			t.Fatal(err)
		}
		es, _ := os.ReadDir(from)
		for _, e := range es {
			src, err := os.Open(filepath.Join(from, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			dst, err := os.Create(filepath.Join(to, "chunks_head", e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(dst, src); err != nil {
				t.Fatal(err)
			}
			_ = src.Close()
			_ = dst.Close()
		}
	}
	return segs
}

// TestFlippedBytes damages the log anywhere: the store opens, reads without panic and takes samples.
func TestFlippedBytes(t *testing.T) {
	cfg := testConfig(t.TempDir())
	db := openTest(t, cfg)
	origin := time.Now().Add(-10 * time.Minute).UnixMilli()
	for n := range 30 {
		mustAppend(t, db, numbered(n, origin))
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"wal", "wbl"} {
		data, err := os.ReadFile(filepath.Join(cfg.Dir, "a", sub, "00000000"))
		if err != nil || len(data) == 0 {
			t.Fatalf("%d bytes, %v", len(data), err)
		}
		for range 10 {
			copied := cfg
			copied.Dir = t.TempDir()
			if err := os.CopyFS(copied.Dir, os.DirFS(cfg.Dir)); err != nil {
				t.Fatal(err)
			}
			bad := append([]byte(nil), data...)
			bad[rand.IntN(3000)%len(bad)] ^= byte(1 + rand.IntN(255))
			if err := os.WriteFile(filepath.Join(copied.Dir, "a", sub, "00000000"), bad, 0o600); err != nil {
				t.Fatal(err)
			}
			again := openTest(t, copied)
			read(t, again)
			mustAppend(t, again, numbered(1000, origin))
			holds(t, again, []int{1000}, origin)
			if err := again.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
