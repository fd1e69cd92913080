// Command bench measures the evaluation of many pipelines against a store on disk: consumer groups by offsets, polled every ten
// seconds, one of each topic also by what applications count, evaluated every second. It prints what docs/benchmarks.md shows.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/alecthomas/kong"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/pipeline"
	"github.com/weirhq/weir/store"
	"github.com/weirhq/weir/store/local"
)

type command struct {
	Topics     int `default:"1000" help:"Topics; each is a pipeline."`
	Partitions int `default:"10" help:"Of each topic."`
	Groups     int `default:"15" help:"Of each topic; each reads all its partitions."`
	Behind     int `default:"10" help:"One in so many groups does not keep up."`
	Losing     int `default:"100" help:"One topic in so many loses one record of a hundred between its producer and its first group; both count."`
	Seconds    int `default:"120" help:"Simulated seconds that are measured."`

	Profile string `help:"Write a CPU profile of the measured part to this file."`
}

func main() {
	var c command
	kong.Parse(&c)
	if err := c.run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type world struct {
	command
	e     store.Engine
	batch store.MetricBatch
	begin int64
	at    atomic.Int64 // simulated time, Unix seconds
	vs    []func(at int64) float64
}

func (c command) run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cfg := local.DefaultConfig()
	cfg.Dir = dir
	cfg.MaxSeries = 5_000_000
	log := slog.New(slog.DiscardHandler)
	e, err := local.Open(ctx, cfg, log, metrics.NewSet())
	if err != nil {
		return err
	}
	defer e.Close() //nolint:errcheck,contextcheck // the folder goes next
	w := &world{command: c, e: e, begin: time.Now().Unix() - 1200}
	w.make()
	s := pipeline.New(pipeline.DefaultConfig(), e, log, metrics.NewSet(), pipeline.Extras{})
	warm := 200
	profile := os.Stderr
	if c.Profile != "" {
		if profile, err = os.Create(c.Profile); err != nil {
			return err
		}
		defer profile.Close()
	}
	var took []float64
	var used float64
	var next time.Time
	page := &asker{every: 50 * time.Millisecond, ask: func() (any, error) { return s.Pipelines(ctx, store.DefaultTenant) }}
	list := &asker{every: 250 * time.Millisecond, ask: func() (any, error) {
		return s.Groups(ctx, store.DefaultTenant, answer.GroupQuery{Limit: 100})
	}}
	loss := &asker{every: 250 * time.Millisecond, ask: func() (any, error) {
		now := time.Unix(w.at.Load(), 0)
		return s.Losses(ctx, store.DefaultTenant, answer.LossQuery{From: now.Add(-24 * time.Hour), To: now})
	}}
	incidents := &asker{every: 250 * time.Millisecond, ask: func() (any, error) {
		now := time.Unix(w.at.Load(), 0)
		return s.Incidents(ctx, store.DefaultTenant, now.Add(-24*time.Hour), now, "", 100)
	}}
	for i := range warm + c.Seconds {
		now := w.begin + int64(i)
		w.at.Store(now)
		if i == warm && c.Profile != "" {
			if err := pprof.StartCPUProfile(profile); err != nil {
				return err
			}
		}
		if i == warm {
			page.start()
			list.start()
			loss.start()
			incidents.start()
			next = time.Now()
		}
		if i >= warm { // at the pace of the clock, so that requests meet evaluations as often as they do in use
			time.Sleep(time.Until(next))
			next = next.Add(time.Second)
		}
		if i%10 == 0 {
			if err := w.poll(ctx, now); err != nil {
				return err
			}
			if err := w.count(ctx, now); err != nil {
				return err
			}
		}
		if i < warm && i%10 > 1 { // to get there sooner
			continue
		}
		before, began := cpu(), time.Now()
		s.Evaluate(ctx, time.Unix(now, 500_000_000))
		if i >= warm {
			used += cpu() - before
			took = append(took, time.Since(began).Seconds())
		}
	}
	pprof.StopCPUProfile()
	page.stop()
	list.stop()
	loss.stop()
	incidents.stop()
	slices.Sort(took)
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Printf("%d pipelines, %d groups, %d partitions, %d groups on a partition; polls every 10 s, evaluated every second\n\n", c.Topics, c.Topics*c.Groups, c.Topics*c.Partitions, c.Topics*c.Partitions*c.Groups)
	fmt.Printf("| what | measured |\n|---|---|\n")
	fmt.Printf("| evaluation with the requests meanwhile, share of a core | %.2f |\n", used/float64(len(took)))
	fmt.Printf("| evaluation, p50 / p99 / max | %.0f / %.0f / %.0f ms |\n", 1000*at(took, .5), 1000*at(took, .99), 1000*took[len(took)-1])
	for _, a := range []struct {
		name string
		*asker
	}{
		{"pipelines page with JSON, 20 times a second meanwhile", page},
		{"groups, first 100 by lag, 4 times a second meanwhile", list},
		{"losses of the last day, 4 times a second meanwhile", loss},
		{"incidents of the last day, 4 times a second meanwhile", incidents},
	} {
		if a.err != nil {
			return a.err
		}
		slices.Sort(a.took)
		fmt.Printf("| %s, p50 / p99 / max of %d | %.1f / %.1f / %.1f ms |\n", a.name, len(a.took), 1000*at(a.took, .5), 1000*at(a.took, .99), 1000*a.took[len(a.took)-1])
	}
	fmt.Printf("| heap in use, store and series included | %d MiB |\n", m.HeapInuse>>20)
	for _, q := range []struct {
		name string
		ask  func() (any, error)
	}{
		{"pipelines page", func() (any, error) { return s.Pipelines(ctx, store.DefaultTenant) }},
		{"one pipeline", func() (any, error) { return s.Pipeline(ctx, store.DefaultTenant, "topic-7") }},
		{"groups, first 100 by lag", func() (any, error) {
			return s.Groups(ctx, store.DefaultTenant, answer.GroupQuery{Limit: 100})
		}},
		{"groups, all", func() (any, error) {
			return s.Groups(ctx, store.DefaultTenant, answer.GroupQuery{Limit: 20_000})
		}},
		{"groups, searched", func() (any, error) {
			return s.Groups(ctx, store.DefaultTenant, answer.GroupQuery{Limit: 100, Text: "group-1", Sort: "name"})
		}},
		{"losses of the last day", loss.ask},
		{"incidents of the last day", incidents.ask},
		{"stage", func() (any, error) { return s.Stage(ctx, store.DefaultTenant, "topic-7", "group-3") }},
		{"what-if", func() (any, error) {
			return s.WhatIf(ctx, store.DefaultTenant, "topic-7", answer.WhatIfQuery{Consumers: 4})
		}},
		{"heat, an hour", func() (any, error) {
			to := time.Unix(w.begin+int64(warm+c.Seconds), 0)
			return s.Heat(ctx, store.DefaultTenant, "topic-7", "topic-7", "group-3", to.Add(-time.Hour), to, 30*time.Second)
		}},
	} {
		var ts []float64
		size := 0
		for range 30 {
			began := time.Now()
			v, err := q.ask()
			if err != nil {
				return fmt.Errorf("cannot ask for %s: %w", q.name, err)
			}
			b, err := json.Marshal(v)
			if err != nil {
				return err
			}
			ts, size = append(ts, time.Since(began).Seconds()), len(b)
		}
		slices.Sort(ts)
		fmt.Printf("| %s with JSON (%d KB), p50 / worst of 30 | %.1f / %.1f ms |\n", q.name, size>>10, 1000*at(ts, .5), 1000*ts[len(ts)-1])
	}
	return nil
}

// asker asks at fixed times; how long an answer takes counts from then, so one that is late makes the next ones late too.
type asker struct {
	every time.Duration
	ask   func() (any, error)

	took []float64 // seconds
	err  error
	quit chan struct{}
	done chan struct{}
}

func (a *asker) start() {
	a.quit, a.done = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(a.done)
		for due := time.Now(); ; due = due.Add(a.every) {
			select {
			case <-a.quit:
				return
			case <-time.After(time.Until(due)):
			}
			v, err := a.ask()
			if err == nil {
				_, err = json.Marshal(v)
			}
			if err != nil {
				a.err = err
				return
			}
			a.took = append(a.took, time.Since(due).Seconds())
		}
	}()
}

func (a *asker) stop() {
	close(a.quit)
	<-a.done
}

func at(sorted []float64, p float64) float64 {
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}

// cpu is the time this process has used, seconds.
func cpu() float64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}

// make prepares the series; values are functions of time.
func (w *world) make() {
	symbols := map[string]uint32{}
	symbol := func(s string) uint32 {
		n, ok := symbols[s]
		if !ok {
			n = uint32(len(w.batch.Symbols))
			symbols[s] = n
			w.batch.Symbols = append(w.batch.Symbols, s)
		}
		return n
	}
	series := func(v func(at int64) float64, ls ...string) {
		var refs []uint32
		for _, s := range ls {
			refs = append(refs, symbol(s))
		}
		w.batch.Series = append(w.batch.Series, store.BatchSeries{LabelRefs: refs, Samples: make([]store.Sample, 1)})
		w.vs = append(w.vs, v)
	}
	series(func(int64) float64 { return 1 }, "__name__", "weir_broker_up", "cluster", "c", "node", "n1", "system", "kafka")
	for t := range w.Topics {
		topic := "topic-" + strconv.Itoa(t)
		for g := range w.Groups {
			series(func(int64) float64 { return 3 }, "__name__", "weir_broker_group_members", "cluster", "c", "group", "group-"+strconv.Itoa(g)+"-"+strconv.Itoa(t), "node", "n1", "system", "kafka")
		}
		for p := range w.Partitions {
			part := strconv.Itoa(p)
			rate := 50 + float64((t*7+p*13)%100)
			end := func(at int64) float64 { return 1e6 + rate*float64(at-w.begin) }
			series(func(int64) float64 { return 0 }, "__name__", "weir_broker_start_offset", "cluster", "c", "destination", topic, "node", "n1", "partition", part, "system", "kafka")
			series(end, "__name__", "weir_broker_end_offset", "cluster", "c", "destination", topic, "node", "n1", "partition", part, "system", "kafka")
			for g := range w.Groups {
				name := "group-" + strconv.Itoa(g)
				lag := func(int64) float64 { return rate / 2 }
				if (t*w.Groups+g)%w.Behind == 0 {
					lag = func(at int64) float64 { return rate * (10 + float64(at-w.begin)/5) }
				}
				series(func(at int64) float64 { return max(end(at)-lag(at), 0) }, "__name__", "weir_broker_committed_offset", "cluster", "c", "destination", topic, "group", name, "node", "n1", "partition", part, "system", "kafka")
			}
		}
	}
}

func (w *world) poll(ctx context.Context, now int64) error {
	for i := range w.batch.Series {
		w.batch.Series[i].Samples[0] = store.Sample{T: now * 1000, V: w.vs[i](now)}
	}
	for from := 0; from < len(w.batch.Series); from += 20_000 {
		b := store.MetricBatch{Symbols: w.batch.Symbols, Series: w.batch.Series[from:min(from+20_000, len(w.batch.Series))]}
		r, err := w.e.Metrics().Append(ctx, store.DefaultTenant, &b)
		if err != nil {
			return err
		}
		if len(r.Rejected) > 0 {
			return fmt.Errorf("the store refused %+v", r.Rejected[0])
		}
	}
	return nil
}

// count tells what the producer of each topic and its first group counted in the last two minutes: all of it, but for topics that lose.
func (w *world) count(ctx context.Context, now int64) error {
	batch := cell.Batch{Auditor: cell.Auditor{Node: "n", Epoch: 1, Seq: uint64(now), At: now * 1000, FlushMS: 10_000}}
	for t := range w.Topics {
		topic := "topic-" + strconv.Itoa(t)
		for start := max(now-now%60-60, w.begin-w.begin%60+60); start <= now; start += 60 {
			n := uint64(min(now-start, 60)) * uint64(100*w.Partitions)
			put := func(stage string, dir cell.Dir, group string, n uint64) {
				batch.Cells = append(batch.Cells, cell.Cell{
					Key:      cell.Key{Pipeline: topic, Stage: stage, Dir: dir, Destination: topic, Group: group, Window: start, Width: 60},
					Instance: stage + "-1", Node: "n", Epoch: 1, Seq: uint64(now), Counts: cell.Counts{N: n, MaxTS: now * 1000},
				})
			}
			put("producer", cell.Out, "", n)
			if w.Losing > 0 && t%w.Losing == 0 {
				n -= n / 100
			}
			put("group-0", cell.In, "group-0", n)
		}
	}
	return w.e.Ledger().PutCells(ctx, store.DefaultTenant, batch)
}
