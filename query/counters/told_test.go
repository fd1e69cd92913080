package counters

import (
	"fmt"
	"testing"
)

// What a full buffer gives up before a sink counts it as received is told, and neither hides what the sink itself
// loses nor takes it back.
func TestToldBeforeTheStage(t *testing.T) {
	w := newWorld(t)
	var in, out, gone, silent float64
	ls := func(more ...string) []string {
		return append([]string{"component_id", "out", "component_kind", "sink", "component_type", "http", "instance", "v1", "job", "vector"}, more...)
	}
	for i := range 3000 {
		w.now += 1000
		if i < 2000 {
			in += 100
			out += 100
			if i >= 300 && i < 1300 {
				out -= 60
				silent += 60
			}
			if i >= 300 {
				gone += 40
			}
		}
		if w.now%15_000 == 0 {
			w.put(in, "vector_component_received_events_total", ls()...)
			w.put(out, "vector_component_sent_events_total", ls()...)
			if gone > 0 {
				w.put(gone, "vector_buffer_discarded_events_total", ls("buffer_id", "out", "stage", "0", "intentional", "true")...)
			}
		}
		if w.now%10_000 == 0 {
			w.read()
		}
	}
	lost, dropped, states := w.lost()
	if dropped != int64(gone) || gone != 68_000 || lost-dropped != int64(silent) || silent != 60_000 {
		t.Errorf("lost %d, dropped %d of %g, silent %g, %v", lost, dropped, gone, silent, states)
	}
}

// Records that match no output are told once at their input, and are not missing on the way to the output.
func TestUnmatched(t *testing.T) {
	a := newAgent(t)
	unmatched := 0.0
	step := a.take(100, 70)
	for range 20 {
		a.run(30, func() {
			step()
			a.inside -= 30
			unmatched += 30
			if a.now%15_000 == 0 {
				ls := []string{"input", "tail.0", "instance", a.name, "job", "fluent-bit"}
				a.put(unmatched, "fluentbit_routing_logs_drop_records_total", append(ls, "output", "unmatched")...)
				a.put(unmatched*5, "fluentbit_routing_logs_drop_records_total", append(ls, "output", "http.0")...)
			}
		})
	}
	a.run(300, a.take(0, 0))
	lost, dropped, states := a.lost()
	if lost != dropped || float64(dropped) < unmatched-1000 || float64(dropped) > unmatched {
		t.Errorf("lost %d, dropped %d of %g, %v", lost, dropped, unmatched, states)
	}
}

// Lines that an input skips never came in: they are told, and hide nothing of what is missing on the way to the output.
func TestToldBeforeTheSource(t *testing.T) {
	a := newAgent(t)
	skipped := 0.0
	a.run(600, func() {
		a.take(100, 60)()
		a.inside -= 40
		skipped += 40
		if a.now%15_000 == 0 {
			a.put(skipped, "fluentbit_input_long_line_skipped_total", "name", "tail.0", "instance", a.name, "job", "fluent-bit")
		}
	})
	a.run(300, a.take(0, 0))
	lost, dropped, states := a.lost()
	if missing := a.in - a.out; float64(dropped) < skipped-1000 || float64(dropped) > skipped || float64(lost-dropped) < missing-3000 || float64(lost-dropped) > missing {
		t.Errorf("lost %d, dropped %d of %g, missing %g, %v", lost, dropped, skipped, missing, states)
	}
}

// Each instance of Redpanda Connect tells the lag of the whole group: two instances do not make it twice as much.
func TestLagOfTheGroup(t *testing.T) {
	w := newWorld(t)
	for range 60 {
		w.now += 5000
		i := w.now / 5000 % 3 // scraped one after the other, each every 15 s
		if i < 2 {
			for p := range 3 {
				w.put(100, "redpanda_lag", "instance", fmt.Sprint("c", i), "job", "connect", "label", "", "path", "root.input", "partition", fmt.Sprint(p), "topic", "orders")
			}
			w.put(float64(w.now-begin), "input_received", "instance", fmt.Sprint("c", i), "job", "connect", "label", "", "path", "root.input")
		}
		w.read()
		if f := w.book.Stage("connect", "root.input").Facts(w.now); w.now > begin+30_000 && (f.Queue == nil || *f.Queue != 300) {
			t.Fatalf("queue %v", f.Queue)
		}
	}
}
