// Command bench measures spandb on this machine: spans appended per core-second with every append on
// disk, bytes per span after the block is cut, and the time of trace look-ups and searches.
// It makes its own data and prints a markdown table to standard output.
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/store"
	"github.com/weirhq/weir/store/local/spandb"
)

func main() {
	spans := 1_000_000
	if len(os.Args) > 1 {
		n, err := strconv.Atoi(os.Args[1])
		if err != nil || n < 1000 {
			fail(fmt.Errorf("cannot use %q as number of spans: give 1000 or more", os.Args[1]))
		}
		spans = n
	}
	if err := run(os.Stdout, spans); err != nil {
		fail(err)
	}
}

func fail(err error) {
	_, _ = os.Stderr.WriteString(err.Error() + "\n")
	syscall.Exit(1)
}

// generator makes traces of a small shop: 8 spans over 4 services, 6 attributes each, of which one is
// unique per trace and one per span.
type generator struct {
	r      *rand.Rand
	start  int64
	step   int64
	shared [][]store.Attr
	attrs  []store.Attr
}

var services = []string{"frontend", "cart", "enrich", "sink"}

func newGenerator(seed uint64, start, step int64) *generator {
	g := &generator{r: rand.New(rand.NewPCG(seed, 1)), start: start, step: step}
	for i := range 12 { // three instances of each service
		g.shared = append(g.shared, []store.Attr{
			{Key: "k8s.namespace.name", Str: "shop"},
			{Key: "k8s.pod.name", Str: fmt.Sprintf("%s-7d9f8b6c5-%05d", services[i%4], i*7919)},
			{Key: "service.version", Str: "1.24.3"},
			{Key: "telemetry.sdk.language", Str: "go"},
			{Key: "telemetry.sdk.version", Str: "1.38.0"},
			{Key: "deployment.environment.name", Str: "production"},
		})
	}
	return g
}

// spansPerTrace is the size of a trace.
const spansPerTrace = 8

func (g *generator) trace(dst []store.Span) []store.Span {
	var id store.TraceID
	binary.LittleEndian.PutUint64(id[:], g.r.Uint64())
	binary.LittleEndian.PutUint64(id[8:], g.r.Uint64())
	g.start += g.step + int64(g.r.IntN(1_000_000))
	at := g.start
	order := strconv.FormatUint(uint64(g.r.Uint32()), 16)
	var parent store.SpanID
	for i := range spansPerTrace {
		inst := g.r.IntN(3)*4 + i%4
		var sid store.SpanID
		binary.LittleEndian.PutUint64(sid[:], g.r.Uint64())
		dur := int64(g.r.ExpFloat64() * 8e6)
		status := store.StatusUnset
		if g.r.IntN(200) == 0 {
			status = store.StatusError
		}
		route := "/api/v1/" + [...]string{"orders", "cart/items", "users", "prices"}[g.r.IntN(4)]
		k := len(g.attrs)
		g.attrs = append(g.attrs,
			store.Attr{Key: "http.request.method", Str: [...]string{"GET", "POST"}[g.r.IntN(2)]},
			store.Attr{Key: "http.route", Str: route},
			store.Attr{Key: "http.response.status_code", Kind: store.AttrInt, Num: [...]uint64{200, 200, 200, 204, 500}[g.r.IntN(5)]},
			store.Attr{Key: "order.id", Str: order},
			store.Attr{Key: "messaging.kafka.offset", Kind: store.AttrInt, Num: uint64(g.r.IntN(1 << 20))},
			store.Attr{Key: "server.address", Str: "10.0.3." + strconv.Itoa(inst)},
		)
		dst = append(dst, store.Span{
			Trace: id, ID: sid, Parent: parent, Start: at, Duration: dur, Service: services[i%4],
			Node: "node-" + strconv.Itoa(inst), Container: "5f2b8a3c9d1e" + strconv.Itoa(inst), Name: "HTTP " + route,
			Scope: "otelhttp", Kind: store.SpanKind(2 + i%2), Status: status, Resource: g.shared[inst],
			Attrs: g.attrs[k:len(g.attrs):len(g.attrs)],
		})
		if i%2 == 0 {
			parent = sid
		}
		at += int64(g.r.IntN(3_000_000))
	}
	return dst
}

const (
	senders   = 8
	batchSize = 512 // spans of a request
)

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func run(out io.Writer, total int) error {
	dir, err := os.MkdirTemp("", "spandb-bench-")
	if err != nil {
		return fmt.Errorf("cannot make folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	cfg := spandb.DefaultConfig()
	cfg.Dir = dir
	cfg.HeadBytes = 2 << 30
	set := metrics.NewSet()
	db, err := spandb.Open(cfg, slog.New(slog.DiscardHandler), set)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = db.Run(ctx) })
	defer func() { stop(); wg.Wait() }()
	if err := measure(ctx, out, db, set, total); err != nil {
		return err
	}
	return nil
}

// sample remembers what to look for.
type sample struct {
	id    store.TraceID
	order string
}

func load(ctx context.Context, db *spandb.DB, total int) ([]sample, time.Duration, time.Duration, time.Duration, error) {
	// Batches are made before the clock starts; 16 rounds keep their memory small.
	const rounds = 16
	begin := time.Now().Add(-time.Hour).UnixNano()
	var samples []sample
	var used, wall, worst time.Duration
	var mu sync.Mutex
	var failed error
	for round := range rounds {
		batches := make([][][]store.Span, senders)
		for s := range batches {
			n := total / rounds / senders
			g := newGenerator(uint64(round*senders+s), begin+int64(round)*int64(time.Hour)/rounds, int64(time.Hour)/rounds/int64(n/spansPerTrace+1))
			for n > 0 {
				var b []store.Span
				for len(b) < min(n, batchSize) {
					b = g.trace(b)
				}
				n -= len(b)
				batches[s] = append(batches[s], b)
			}
			first := batches[s][0][0]
			samples = append(samples, sample{first.Trace, first.Attrs[3].Str})
		}
		runtime.GC()
		c, w := cpu(), time.Now()
		var wg sync.WaitGroup
		for s := range batches {
			wg.Go(func() {
				for _, b := range batches[s] {
					at := time.Now()
					err := db.Append(ctx, store.DefaultTenant, b)
					mu.Lock()
					worst = max(worst, time.Since(at))
					if err != nil {
						failed = err
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		used += cpu() - c
		wall += time.Since(w)
	}
	return samples, used, wall, worst, failed
}

func measure(ctx context.Context, out io.Writer, db *spandb.DB, set *metrics.Set, total int) error {
	samples, used, wall, worst, err := load(ctx, db, total)
	if err != nil {
		return err
	}
	st := db.Stats()
	n := float64(st.Spans)
	row := func(what, format string, args ...any) {
		_, _ = fmt.Fprintf(out, "| %s | %s |\n", what, fmt.Sprintf(format, args...))
	}
	_, _ = fmt.Fprintf(out, "| spandb, %s spans, %d senders × %d spans, %s/%s, %d cores | |\n|---|---|\n",
		thousands(int(n)), senders, batchSize, runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	groups := set.GetOrCreateCounter("weir_spans_log_groups_total").Get()
	row("appended, on disk before the answer", "%s spans/core-s, %s spans/s wall", thousands(int(n/used.Seconds())), thousands(int(n/wall.Seconds())))
	row("fdatasyncs; slowest append", "%d; %s", groups, worst.Round(time.Millisecond))
	row("log", "%.1f B/span", float64(st.LogBytes)/n)
	row("head", "%.0f B/span of memory", float64(st.HeadBytes)/n)
	queries(ctx, row, db, samples, "head")
	c, w := cpu(), time.Now()
	if err := db.Flush(); err != nil {
		return err
	}
	cut := cpu() - c
	row("block cut", "%.2f core-s, %s; append and cut together %s spans/core-s", cut.Seconds(), time.Since(w).Round(time.Millisecond), thousands(int(n/(used+cut).Seconds())))
	st = db.Stats()
	row("blocks on disk", "%.1f B/span (%d block)", float64(st.BlockBytes)/float64(st.Spans), st.Blocks)
	queries(ctx, row, db, samples, "block")
	return nil
}

func queries(ctx context.Context, row func(string, string, ...any), db *spandb.DB, samples []sample, where string) {
	var times []time.Duration
	for range 4 {
		for _, s := range samples {
			at := time.Now()
			spans, err := db.Trace(ctx, store.DefaultTenant, s.id)
			times = append(times, time.Since(at))
			if err != nil || len(spans) != spansPerTrace {
				row(where+": trace by id", "FAILED: %d spans, %v", len(spans), err)
				return
			}
		}
	}
	slices.Sort(times)
	row(where+": trace by id, p50 / p99", "%s / %s", times[len(times)/2].Round(time.Microsecond), times[len(times)*99/100].Round(time.Microsecond))
	for _, q := range []struct {
		what string
		q    store.SpanQuery
	}{
		{"newest 20", store.SpanQuery{}},
		{"service and error", store.SpanQuery{Service: "enrich", Status: store.StatusError}},
		{"duration > 60 ms", store.SpanQuery{MinDuration: 60 * time.Millisecond}},
		{"common attribute", store.SpanQuery{Attrs: map[string]string{"http.response.status_code": "500"}}},
		{"unique attribute", store.SpanQuery{Attrs: map[string]string{"order.id": samples[0].order}}},
		{"attribute nobody has", store.SpanQuery{Attrs: map[string]string{"order.id": "nowhere"}}},
		{"unknown service", store.SpanQuery{Service: "nowhere"}},
		{"nothing matches, all read", store.SpanQuery{MinDuration: 50 * time.Millisecond, Name: "HTTP /api/v1/orders", Attrs: map[string]string{"http.request.method": "GET", "http.response.status_code": "204", "messaging.kafka.offset": "7"}}},
	} {
		var ts []time.Duration
		found := 0
		for range 5 {
			at := time.Now()
			got, err := db.Search(ctx, store.DefaultTenant, q.q)
			ts = append(ts, time.Since(at))
			if err != nil {
				row(where+": search "+q.what, "FAILED: %v", err)
				return
			}
			found = len(got)
		}
		slices.Sort(ts)
		row(where+": search, "+q.what, "%s median, %s worst of 5 (%d found)", ts[2].Round(10*time.Microsecond), ts[4].Round(10*time.Microsecond), found)
	}
}

func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
