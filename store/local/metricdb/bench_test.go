package metricdb

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirhq/weir/store"
)

// cpu is the CPU time of this process, user and system.
func cpu() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// load is n series of 8 labels in batches, with counters that grow.
type load struct {
	batches []*store.MetricBatch
	rnd     *rand.Rand
}

func newLoad(n, perBatch int, tag string) *load {
	l := &load{rnd: rand.New(rand.NewPCG(1, 2))}
	for from := 0; from < n; from += perBatch {
		b := &store.MetricBatch{}
		index := map[string]uint32{}
		sym := func(s string) uint32 {
			i, ok := index[s]
			if !ok {
				i = uint32(len(b.Symbols))
				b.Symbols = append(b.Symbols, s)
				index[s] = i
			}
			return i
		}
		for i := from; i < min(from+perBatch, n); i++ {
			var refs []uint32
			for _, p := range [][2]string{
				{"__name__", "http_server_request_duration_" + strconv.Itoa(i%100)},
				{"code", strconv.Itoa(200 + i%5)},
				{"container", fmt.Sprintf("%x", i/200*7919)},
				{"method", "GET"},
				{"node", "node-" + strconv.Itoa(i/2000)},
				{"path", "/api/v1/" + strconv.Itoa(i)},
				{"service", "service-" + strconv.Itoa(i/500)},
				{"tag", tag},
			} {
				refs = append(refs, sym(p[0]), sym(p[1]))
			}
			b.Series = append(b.Series, store.BatchSeries{LabelRefs: refs, Samples: make([]store.Sample, 1)})
		}
		l.batches = append(l.batches, b)
	}
	return l
}

// at sets the time of all samples and lets counters grow.
func (l *load) at(t int64) {
	for _, b := range l.batches {
		for i := range b.Series {
			s := &b.Series[i].Samples[0]
			s.T = t
			s.V += float64(l.rnd.IntN(100))
		}
	}
}

func (l *load) send(tb testing.TB, db *DB) (samples, series int) {
	tb.Helper()
	for _, b := range l.batches {
		res, err := db.Append(tb.Context(), tenantA, b)
		if err != nil {
			tb.Fatal(err)
		}
		if len(res.Rejected) > 0 {
			tb.Fatalf("%+v", res.Rejected)
		}
		samples += res.Samples
		series += res.NewSeries
	}
	return samples, series
}

func rss() float64 {
	data, _ := os.ReadFile("/proc/self/statm")
	f := strings.Fields(string(data))
	n, _ := strconv.Atoi(f[1])
	return float64(n * os.Getpagesize())
}

func dirBytes(dir string) (n int64) {
	_ = filepath.Walk(dir, func(_ string, fi os.FileInfo, err error) error {
		if err == nil && !fi.IsDir() {
			n += fi.Size()
		}
		return nil
	})
	return n
}

// BenchmarkKnownSeries appends batches of 1,000 and 2,000 known series, each answered after fsync.
func BenchmarkKnownSeries(b *testing.B) {
	for _, per := range []int{1000, 2000} {
		b.Run(strconv.Itoa(per), func(b *testing.B) {
			db := openTest(b, testConfig(b.TempDir()))
			l := newLoad(20_000, per, "x")
			t := time.Now().Add(-2 * time.Hour).UnixMilli()
			l.at(t)
			l.send(b, db)
			b.ResetTimer()
			total := 0
			var spent time.Duration
			for b.Loop() {
				t += 5000
				l.at(t)
				start := cpu()
				n, _ := l.send(b, db)
				spent += cpu() - start
				total += n
			}
			b.ReportMetric(float64(total)/spent.Seconds(), "samples/core-s")
		})
	}
}

// BenchmarkNewSeries appends series never seen before.
func BenchmarkNewSeries(b *testing.B) {
	db := openTest(b, testConfig(b.TempDir()))
	var spent time.Duration
	series := 0
	t := time.Now().Add(-time.Hour).UnixMilli()
	for i := 0; b.Loop(); i++ {
		l := newLoad(20_000, 2000, strconv.Itoa(i))
		l.at(t)
		start := cpu()
		_, n := l.send(b, db)
		spent += cpu() - start
		series += n
	}
	b.ReportMetric(float64(series)/spent.Seconds(), "series/core-s")
}

// BenchmarkMemory holds 100,000 series with 20 samples each and tells the resident memory of one.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	for b.Loop() {
		b.StopTimer()
		db := openTest(b, testConfig(b.TempDir()))
		debug.FreeOSMemory()
		before := rss()
		t := time.Now().Add(-time.Hour).UnixMilli()
		for from := 0; from < n; from += 20_000 { // the load itself must not count
			l := newLoad(20_000, 2000, strconv.Itoa(from))
			for k := range int64(20) {
				l.at(t + k*15_000)
				l.send(b, db)
			}
		}
		loaded := rss()
		debug.FreeOSMemory()
		b.ReportMetric((loaded-before)/n, "rss-B/series")
		b.ReportMetric((rss()-before)/n, "rss-after-gc-B/series")
		b.StartTimer()
	}
}

// BenchmarkReopen tells how long 100,000 series with 20 samples each take to open after a crash.
func BenchmarkReopen(b *testing.B) {
	db := openTest(b, testConfig(b.TempDir()))
	l := newLoad(100_000, 2000, "x")
	t := time.Now().Add(-time.Hour).UnixMilli()
	for k := range int64(20) {
		l.at(t + k*15_000)
		l.send(b, db)
	}
	for b.Loop() { // beside the first, which is what a killed process leaves: nothing was closed
		b.StopTimer()
		cfg := db.cfg
		cfg.Dir = b.TempDir()
		if err := os.CopyFS(cfg.Dir, os.DirFS(db.cfg.Dir)); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		again := openTest(b, cfg)
		again.openAll(b.Context())
		b.StopTimer()
		if err := again.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkManySeries appends to 500,000 known series, where every lookup misses the processor's caches.
func BenchmarkManySeries(b *testing.B) {
	db := openTest(b, testConfig(b.TempDir()))
	l := newLoad(500_000, 2000, "x")
	t := time.Now().Add(-time.Hour).UnixMilli()
	l.at(t)
	l.send(b, db)
	var spent time.Duration
	total := 0
	for b.Loop() {
		t += 15_000
		l.at(t)
		start := cpu()
		n, _ := l.send(b, db)
		spent += cpu() - start
		total += n
	}
	b.ReportMetric(float64(total)/spent.Seconds(), "samples/core-s")
}

// BenchmarkOutOfOrder appends behind what 5,000 series have.
func BenchmarkOutOfOrder(b *testing.B) {
	db := openTest(b, testConfig(b.TempDir()))
	l := newLoad(5000, 1000, "x")
	t := time.Now().UnixMilli()
	l.at(t)
	l.send(b, db)
	t -= 50 * 60_000
	var spent time.Duration
	total := 0
	for b.Loop() {
		t += 1000
		l.at(t)
		start := cpu()
		n, _ := l.send(b, db)
		spent += cpu() - start
		total += n
	}
	b.ReportMetric(float64(total)/spent.Seconds(), "samples/core-s")
}

// BenchmarkDisk writes 8 hours of 1,000 series at 15 s, compacts, and tells the size of a sample in blocks: counters that
// grow by 0–99 (half), whole gauges (3 in 10), gauges with two decimals (1 in 10), constants (1 in 10); exact times and times ± 2 ms.
func BenchmarkDisk(b *testing.B) {
	for _, jitter := range []int64{0, 2} {
		b.Run(fmt.Sprintf("jitter=%dms", jitter), func(b *testing.B) {
			for b.Loop() {
				benchDisk(b, jitter)
			}
		})
	}
}

func benchDisk(b *testing.B, jitter int64) {
	b.Helper()
	db := openTest(b, testConfig(b.TempDir()))
	l := newLoad(1000, 1000, "x")
	rnd := rand.New(rand.NewPCG(3, 4))
	start := time.Now().Add(-9 * time.Hour).UnixMilli()
	const steps = 8 * 240
	for k := range int64(steps) {
		for i := range l.batches[0].Series {
			s := &l.batches[0].Series[i].Samples[0]
			s.T = start + k*15_000 + rnd.Int64N(2*jitter+1) - jitter
			switch {
			case i%10 < 5:
				s.V += float64(rnd.IntN(100))
			case i%10 < 8:
				s.V = float64(500 + rnd.IntN(100))
			case i%10 < 9:
				s.V = float64(rnd.IntN(10000)) / 100
			}
		}
		l.send(b, db)
	}
	ten := db.tenants[tenantA].t
	wal := dirBytes(filepath.Join(ten.dir, "wal"))
	if err := ten.maintain(b.Context()); err != nil {
		b.Fatal(err)
	}
	var bytes, samples float64
	for _, blk := range ten.h.db.Blocks() {
		samples += float64(blk.Meta().Stats.NumSamples)
		bytes += float64(blk.Size())
	}
	if samples == 0 {
		b.Fatal("no blocks")
	}
	b.ReportMetric(bytes/samples, "block-B/sample")
	b.ReportMetric(float64(wal)/float64(1000*steps), "wal-B/sample")
}
