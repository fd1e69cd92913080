// Package world simulates pipelines whose every record is known: applications, brokers, collectors, clocks and
// networks in steps of a quarter of a second. query/pipeline sees of it what it would see in reality, polls and
// snapshots that come late, twice and in any order; what it says is compared with the truth.
//
// New makes a world by hand, Make a random one with faults from a seed. docs/pipeline-model.md says what
// weir promises; Compare holds it to that.
package world

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/query/pipeline"
)

// Tick is the step of time, milliseconds.
const Tick = 250

// Begin is the time at which worlds begin, Unix milliseconds.
const Begin = 1_732_334_400_000

// World is one simulation. It is one thread.
type World struct {
	Now     int64 // Unix milliseconds, by the clock of the server
	Width   int64 // of event windows, seconds
	Config  pipeline.Config
	Rng     *rand.Rand
	Engine  *Engine
	Service *pipeline.Service
	Queues  []*Queue
	Stages  []*Stage
	Nodes   []*Node
	Faults  []Fault
	Story   []string // what the world is and what happened to it
	Truth   Truth

	mail     []letter
	nextID   uint64
	asked    int64
	lag      LagCheck
	Evaluate int64 // milliseconds between evaluations
	// Watching compares the lags of the pages with the truth at every evaluation.
	Watching bool
	// OnEvaluate is called after every evaluation.
	OnEvaluate func()
}

// letter is something on its way to the server.
type letter struct {
	at   int64
	open func()
}

// Config evaluates windows of ten seconds with a grace of five.
func Config() pipeline.Config {
	c := pipeline.DefaultConfig()
	c.Grace, c.MaxLatency, c.Lag, c.Freshness = 5*time.Second, 20*time.Second, 10*time.Second, 15*time.Second
	return c
}

// New makes an empty world.
func New(seed uint64, width int64, cfg pipeline.Config) *World {
	w := &World{
		Now: Begin, Width: width, Config: cfg, Rng: rand.New(rand.NewPCG(seed, 0x77656972)), Engine: NewEngine(), Evaluate: 2000,
	}
	w.Truth.world = w
	w.Service = pipeline.New(cfg, w.Engine, slog.New(slog.DiscardHandler), metrics.NewSet(), pipeline.Extras{Version: "world"})
	w.Engine.OnVerdict = w.Truth.said
	return w
}

// tell adds a sentence to the story.
func (w *World) tell(format string, args ...any) {
	w.Story = append(w.Story, fmt.Sprintf("t+%-6.2f ", float64(w.Now-Begin)/1000)+fmt.Sprintf(format, args...))
}

// post sends something to the server; it arrives after delay milliseconds.
func (w *World) post(delay int64, open func()) {
	w.mail = append(w.mail, letter{w.Now + delay, open})
}

// Run lets so many seconds pass.
func (w *World) Run(seconds int64) {
	for end := w.Now + seconds*1000; w.Now < end; {
		w.step()
	}
}

func (w *World) step() {
	w.Now += Tick
	for i := range w.Faults {
		w.Faults[i].step(w)
	}
	order := w.Rng.Perm(len(w.Stages))
	for _, i := range order {
		w.Stages[i].step(w)
	}
	for _, n := range w.Nodes {
		n.step(w)
	}
	for _, q := range w.Queues {
		q.step(w)
	}
	w.deliver()
	if w.Now >= w.asked+w.Evaluate {
		w.asked = w.Now
		w.Service.Evaluate(context.Background(), time.UnixMilli(w.Now))
		if w.OnEvaluate != nil {
			w.OnEvaluate()
		}
		if w.Watching {
			w.lag.compare(w)
		}
	}
}

func (w *World) deliver() {
	kept := w.mail[:0]
	var due []letter
	for _, l := range w.mail {
		if l.at > w.Now {
			kept = append(kept, l)
		} else {
			due = append(due, l)
		}
	}
	w.mail = kept
	slices.SortStableFunc(due, func(a, b letter) int { return cmp.Compare(a.at, b.at) })
	for _, l := range due {
		l.open()
	}
}

// between draws from [low, high].
func (w *World) between(low, high int64) int64 {
	if high <= low {
		return low
	}
	return low + w.Rng.Int64N(high-low+1)
}

func (w *World) chance(p float64) bool { return w.Rng.Float64() < p }
