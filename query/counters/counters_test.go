package counters

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weirhq/weir/query/flow"
)

// agent is a Fluent Bit with one input and one output, scraped every 15 s and evaluated every 10.
type agent struct {
	*world
	name             string
	in, out, dropped float64 // as it counts
	inside           float64
	held             bool // tells storage_chunks
	quiet            bool // is not scraped
}

func (a *agent) scrape() {
	ls := func(n string) []string { return []string{"name", n, "instance", a.name, "job", "fluent-bit"} }
	a.put(a.in, "fluentbit_input_records_total", ls("tail.0")...)
	a.put(a.out, "fluentbit_output_proc_records_total", ls("http.0")...)
	a.put(a.dropped, "fluentbit_output_dropped_records_total", ls("http.0")...)
	a.put(0, "fluentbit_filter_drop_records_total", ls("grep.0")...)
	if a.held {
		a.put(math.Ceil(a.inside/1000), "fluentbit_input_storage_chunks", ls("tail.0")...)
	}
}

// run lets seconds pass; each second step changes the counters.
func (a *agent) run(seconds int, step func()) {
	for range seconds {
		a.now += 1000
		step()
		if a.now%15_000 == 0 && !a.quiet {
			a.scrape()
		}
		if a.now%10_000 == 0 {
			a.read()
		}
	}
}

func (a *agent) take(in, out float64) func() {
	return func() {
		a.in += in
		a.inside += in
		n := math.Min(out, a.inside)
		a.out += n
		a.inside -= n
	}
}

func newAgent(t *testing.T) *agent {
	t.Helper()
	return &agent{world: newWorld(t), name: "n1:2020"}
}

// Scenario 24, the figures of fluent-bit #7887: in 200,000, delivered 149,391, no drop told.
func TestSilentLossOfAnAgent(t *testing.T) {
	for _, held := range []bool{false, true} {
		a := newAgent(t)
		a.held = held
		a.run(120, a.take(0, 0))
		lose := 50_609.0
		a.run(200, func() {
			a.take(1000, 1000)()
			if n := math.Min(lose, 300); n > 0 {
				lose -= n
				a.out -= n
			}
		})
		a.run(300, a.take(0, 0))
		if a.in != 200_000 || a.out != 149_391 {
			t.Fatalf("in %g out %g", a.in, a.out)
		}
		lost, dropped, states := a.lost()
		if lost != 50_609 || dropped != 0 || states[flow.ProbableLoss] == 0 {
			t.Errorf("held %v: lost %d, dropped %d, %v", held, lost, dropped, states)
		}
		var up, lostUp int64
		for k, v := range a.told {
			up += v.Up
			lostUp += v.Lost
			if v.State == flow.ProbableLoss && (k.From != "tail.0" || k.To != "http.0" || v.Class != "lost in transport" || v.Confidence < 0.6) {
				t.Errorf("%+v", v)
			}
		}
		if share := float64(lostUp) / float64(up); up != 200_000 || math.Abs(share-0.2530) > 0.0001 {
			t.Errorf("%d of %d, %g", lostUp, up, share)
		}
	}
}

// What is no loss is not called one.
func TestQuietCases(t *testing.T) {
	for name, f := range map[string]func(a *agent){
		"baseline": func(a *agent) {
			a.in, a.out = 5e9, 4e9 // lost long ago, or filtered: nobody knows
			a.run(600, a.take(100, 100))
		},
		"restart": func(a *agent) {
			a.inside = 3000
			a.run(300, a.take(1000, 1000))
			a.in, a.out, a.inside = 0, 0, 0
			a.run(600, a.take(1000, 1000))
			a.run(300, a.take(0, 1000))
		},
		"restart between scrapes, grown beyond": func(a *agent) {
			a.run(20, a.take(10, 10))
			a.in, a.out = 0, 0
			a.run(300, a.take(5000, 5000))
			a.run(300, a.take(0, 5000))
		},
		"missed scrapes": func(a *agent) {
			a.run(200, a.take(1000, 1000))
			a.quiet = true
			a.run(50, a.take(1000, 1000))
			a.quiet = false
			a.run(300, a.take(1000, 1000))
			a.run(300, a.take(0, 1000))
		},
		"long gap with a restart": func(a *agent) {
			a.run(200, a.take(1000, 1000))
			a.quiet = true
			a.run(700, a.take(1000, 1000))
			a.in, a.out = 0, 0
			a.run(20, a.take(1000, 100))
			a.quiet = false
			a.run(300, a.take(1000, 1000))
		},
		"output away for ten minutes": func(a *agent) {
			a.held = true
			a.run(200, a.take(1000, 1000))
			a.run(600, a.take(1000, 0))
			a.run(600, a.take(1000, 3000))
			a.run(300, a.take(0, 3000))
		},
		"slow output": func(a *agent) {
			a.run(200, a.take(1000, 1000))
			a.run(900, a.take(1000, 800))
			a.run(900, a.take(0, 800))
		},
		"output away while the input rests": func(a *agent) {
			a.held = true
			a.run(200, a.take(1000, 1000))
			a.run(20, a.take(1000, 0))
			a.run(900, a.take(0, 0))
			a.run(300, a.take(0, 1000))
		},
		"bursts": func(a *agent) {
			for range 20 {
				a.run(5, a.take(20_000, 2000))
				a.run(55, a.take(0, 2000))
			}
			a.run(300, a.take(0, 2000))
		},
		"clock goes back": func(a *agent) {
			a.run(300, a.take(1000, 1000))
			a.now -= 120_000
			a.run(600, a.take(1000, 1000))
		},
		"stale and back": func(a *agent) {
			a.run(300, a.take(1000, 1000))
			a.now += 1000
			a.stale("fluentbit_input_records_total", "name", "tail.0", "instance", a.name, "job", "fluent-bit")
			a.stale("fluentbit_output_proc_records_total", "name", "http.0", "instance", a.name, "job", "fluent-bit")
			a.run(300, a.take(1000, 1000))
			a.run(300, a.take(0, 1000))
		},
		"second output": func(a *agent) {
			a.run(300, func() {
				a.take(1000, 1000)()
				a.put(a.in/10, "fluentbit_output_proc_records_total", "name", "s3.0", "instance", a.name, "job", "fluent-bit")
			})
			a.run(300, a.take(0, 0))
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t)
			f(a)
			if lost, _, states := a.lost(); lost != 0 {
				t.Errorf("lost %d, %v", lost, states)
			}
		})
	}
}

func TestUnknownAfterRestart(t *testing.T) {
	a := newAgent(t)
	a.run(300, a.take(1000, 1000))
	a.in, a.out = 0, 0
	a.run(300, a.take(1000, 1000))
	lost, _, states := a.lost()
	if lost != 0 || states[flow.Unknown] != 1 || states[flow.OK] == 0 {
		t.Errorf("lost %d, %v", lost, states)
	}
}

// A drop that an agent tells is a loss with its reason, also when its series appears with the first drop.
func TestToldDrops(t *testing.T) {
	w := newWorld(t)
	var in, out, gone float64
	ls := func(more ...string) []string {
		return append([]string{"component_id", "es", "component_kind", "sink", "component_type", "elasticsearch", "instance", "v1", "job", "vector"}, more...)
	}
	for i := range 900 {
		w.now += 1000
		in += 100
		if i > 300 && i%100 == 0 {
			gone += 60
			out -= 60
		}
		out += 100
		if w.now%15_000 == 0 {
			w.put(in, "vector_component_received_events_total", ls()...)
			w.put(out, "vector_component_sent_events_total", ls()...)
			if gone > 0 {
				w.put(gone, "vector_component_discarded_events_total", ls("intentional", "false")...)
			}
		}
		if w.now%10_000 == 0 {
			w.read()
		}
	}
	lost, dropped, states := w.lost()
	if lost != int64(gone) || dropped != lost || gone != 300 {
		t.Errorf("lost %d, dropped %d of %g, %v", lost, dropped, gone, states)
	}
	for _, v := range w.told {
		if v.Lost > 0 && (v.State != flow.ProbableLoss || v.Class != "discarded on error" || v.Explained != v.Lost || len(v.Reasons) != 1) {
			t.Errorf("%+v", v)
		}
	}
}

// A silent loss of five percent inside a transform is found while it goes on, never too large, and exact at rest.
func TestSlowLeak(t *testing.T) {
	w := newWorld(t)
	var in, out, truth float64
	first := 0
	ls := []string{"component_id", "parse", "component_kind", "transform", "component_type", "remap", "instance", "v1", "job", "vector"}
	for i := range 3000 {
		w.now += 1000
		if i < 2400 {
			in += 1000
			out += 1000
			if i >= 600 {
				out -= 50
				truth += 50
			}
		}
		if w.now%15_000 == 0 {
			w.put(in, "vector_component_received_events_total", ls...)
			w.put(out, "vector_component_sent_events_total", ls...)
		}
		if w.now%10_000 == 0 {
			w.read()
			lost, _, _ := w.lost()
			if float64(lost) > truth {
				t.Fatalf("second %d: lost %d of %g", i, lost, truth)
			}
			if lost > 0 && first == 0 {
				first = i - 600
			}
		}
	}
	if lost, _, _ := w.lost(); float64(lost) != truth || truth != 90_000 {
		t.Errorf("lost %d of %g", lost, truth)
	}
	if first == 0 || first > 1000 { // 45 s of flow are tolerated: 900 s of this loss
		t.Errorf("found after %d s", first)
	}
}

// Records that come out after all are no loss: what was told is taken back.
func TestTakenBack(t *testing.T) {
	a := newAgent(t)
	a.run(120, a.take(100, 100))
	a.run(10, a.take(1000, 0))
	a.run(300, a.take(0, 0)) // longer than a chunk may wait, and nothing tells that it is held
	lost, _, _ := a.lost()
	if lost != 10_000 {
		t.Fatalf("lost %d", lost)
	}
	a.run(300, a.take(0, 10_000))
	if lost, _, states := a.lost(); lost != 0 {
		t.Errorf("lost %d, %v", lost, states)
	}
}

// Random agents without loss never lose; with loss never more is told than was lost, and all of it at rest when
// nothing began anew.
func TestConservation(t *testing.T) {
	for seed := range uint64(120) {
		r := rand.New(rand.NewPCG(seed, 7))
		a := newAgent(t)
		a.held = r.IntN(2) == 0
		loses, breaks := r.IntN(2) == 0, r.IntN(2) == 0
		var truth, broken float64
		a.run(60, func() {})
		for range 8 {
			rate, share := float64(r.IntN(2000)), 0.0
			if loses {
				share = float64(r.IntN(4)) / 20
			}
			a.run(30+r.IntN(120), func() {
				gone := math.Round(rate * share)
				a.in += rate
				a.out += rate - gone
				truth += gone
			})
			if breaks && r.IntN(3) == 0 {
				switch r.IntN(3) {
				case 0:
					a.in, a.out = 0, 0
					broken++
				case 1:
					a.quiet = true
					a.run(20+r.IntN(60), a.take(rate, rate))
					a.quiet = false
				default:
					a.run(100, func() {})
				}
			}
		}
		a.run(400, func() {})
		lost, _, states := a.lost()
		if float64(lost) > truth {
			t.Errorf("seed %d: lost %d of %g, %v", seed, lost, truth, states)
		}
		if broken == 0 && float64(lost) != truth {
			t.Errorf("seed %d: lost %d of %g at rest, %v", seed, lost, truth, states)
		}
	}
}

func TestFacts(t *testing.T) {
	w := newWorld(t)
	task := func(task string, sub int) []string {
		return []string{"job_name", "job", "task_name", task, "subtask_index", fmt.Sprint(sub), "tm_id", "tm"}
	}
	for i := range 20 {
		w.now += 10_000
		n := float64(i) * 1000
		for sub := range 2 {
			w.put(n, "flink_taskmanager_job_task_numRecordsIn", task("Map", sub)...)
			w.put(n/2, "flink_taskmanager_job_task_numRecordsOut", task("Map", sub)...)
			w.put(400+float64(sub)*500, "flink_taskmanager_job_task_busyTimeMsPerSecond", task("Map", sub)...)
			w.put(100, "flink_taskmanager_job_task_backPressuredTimeMsPerSecond", task("Map", sub)...)
			w.put(float64(w.now)-5000-float64(sub)*1000, "flink_taskmanager_job_task_currentInputWatermark", task("Map", sub)...)
			w.put(math.NaN(), "flink_taskmanager_job_task_busyTimeMsPerSecond", task("Source:_in", sub)...)
			w.put(math.MinInt64, "flink_taskmanager_job_task_currentInputWatermark", task("Source:_in", sub)...)
			w.put(n, "flink_taskmanager_job_task_numRecordsOut", task("Source:_in", sub)...)
		}
		w.put(float64(i/10), "flink_jobmanager_job_numRestarts", "job_name", "job", "host", "jm")
		w.read()
	}
	f := w.book.Stage("job", "Map").Facts(w.now)
	if f.In == nil || math.Abs(*f.In-200) > 1 || f.Out == nil || math.Abs(*f.Out-100) > 1 || *f.Busy != 0.9 || *f.Pressure != 0.1 || *f.WatermarkLag != 6 || f.Instances != 2 || f.Stale {
		t.Errorf("%+v in %v busy %v", f, *f.In, *f.Busy)
	}
	src := w.book.Stage("job", "Source:_in").Facts(w.now)
	if src.Busy != nil || src.WatermarkLag != nil || src.Out == nil {
		t.Errorf("NaN and Long.MIN_VALUE say nothing: %+v", src)
	}
	if r := w.book.Stage("job", "").Facts(w.now).Restarts; r == nil || *r != 1 {
		t.Errorf("restarts %v", r)
	}
	stages, links := w.book.Pipelines()[0].Topology(w.now, 86_400_000)
	if len(stages) != 2 || stages[0].Kind != flow.KindSource || len(links) != 1 || links[0] != [2]string{"Source:_in", "Map"} || len(stages[1].Instances) != 2 {
		t.Errorf("%+v %v", stages, links)
	}
	w.now += 300_000
	if f := w.book.Stage("job", "Map").Facts(w.now); !f.Stale || f.In != nil || f.Busy != nil {
		t.Errorf("old figures are not shown: %+v", f)
	}
}

// Bounds hold, and what is beyond is counted; absurd values do no harm.
func TestBounds(t *testing.T) {
	w := newWorld(t)
	w.book.limits = Limits{Series: 50, Stages: 10, Instances: 5}
	for i := range 200 {
		w.put(float64(i), "vector_component_received_events_total", "component_id", strings.Repeat("x", i), "component_kind", "source", "instance", fmt.Sprint(i%20))
	}
	w.read()
	if bound, _ := w.book.Refused(); bound == 0 || len(w.book.series) > 50 || w.book.stages > 10 || len(w.book.instances) > 5 {
		t.Errorf("refused %d, %d series, %d stages, %d instances", bound, len(w.book.series), w.book.stages, len(w.book.instances))
	}
	w = newWorld(t)
	for _, v := range []float64{-1, math.Inf(1), 1e300, math.NaN(), 5, -5, 1 << 60, 7} {
		w.now += 10_000
		w.put(v, "fluentbit_input_records_total", "name", "a")
		w.put(v, "fluentbit_output_proc_records_total", "name", "b")
		w.put(v, "fluentbit_input_storage_chunks", "name", "a")
		w.read()
	}
	if lost, _, _ := w.lost(); lost != 0 {
		t.Errorf("lost %d", lost)
	}
}

// A half of the way over a broker is judged after both sides agreed, and not where only some of them count.
func TestTransport(t *testing.T) {
	run := func(covered float64, lose func(i int) float64) (int64, int64) {
		w := newWorld(t)
		w.read()
		var up, down, truth float64
		for i := range 1200 {
			w.now += 1000
			if i < 1000 {
				gone := lose(i)
				up += 100
				down += (100 - gone) * covered
				truth += gone
			}
			if i%10 == 0 {
				tr := w.book.Transport("orders", "shop", "orders", "", "")
				tr.Step(w.book, w.now, up, down, 30_000, 1)
				w.read()
			}
		}
		w.now += 120_000
		w.read()
		lost, _, _ := w.lost()
		return lost, int64(truth)
	}
	none := func(int) float64 { return 0 }
	if lost, _ := run(1, none); lost != 0 {
		t.Errorf("lost %d of none", lost)
	}
	if lost, _ := run(0.5, none); lost != 0 {
		t.Errorf("half of the consumers count: lost %d", lost)
	}
	if lost, truth := run(1, func(i int) float64 {
		if i >= 500 {
			return 10
		}
		return 0
	}); lost != truth || truth != 5000 {
		t.Errorf("lost %d of %d", lost, truth)
	}
}
