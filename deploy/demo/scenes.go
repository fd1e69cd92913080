package main

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// scene is one state of a pipeline of the demo.
type scene struct {
	Key, Name, Title, Text string
	See                    string // what weir says of it
	Look                   string // page of weir that shows it
	Pipeline               string
	apply                  func(context.Context, *house) error
}

// about is a pipeline as the page of switches presents it.
type about struct{ name, title, text string }

func pipelines() []about {
	return []about{
		{ofOrders, "orders", "NATS: a producer, three enrichers, a sink, and a splitter that copies each order to three streams. Every stage counts."},
		{ofClicks, "clicks", "Kafka: a tracker writes a topic of three partitions, sessions reads it. Both count."},
		{ofParcels, "parcels", "NATS: packer and courier count nothing and trace one of ten parcels. Spans are all the evidence."},
		{ofWeir, "weir itself", "What happens to the evidence when a part of weir dies."},
	}
}

// switched is a fault of one service of orders.
func switched(service, kind string, n func(*house) int) func(context.Context, *house) error {
	return func(ctx context.Context, h *house) error { return h.fault(ctx, ofOrders, service, kind, n(h)) }
}

// position is a fault of where sessions reads.
func position(kind string) func(context.Context, *house) error {
	return func(ctx context.Context, h *house) error { return h.fault(ctx, ofClicks, "sessions", kind, 500) }
}

func every(n int) func(*house) int { return func(*house) int { return n } }

func scenes() []scene {
	return []scene{
		{"1", "healthy", "Healthy", "1,000 orders a second, all of them arrive.", "OK, every window exact.", "/", ofOrders, nil},
		{"2", "slow", "Slow stage", "enrich takes 600 of 1,000 a second: its queue grows, the data ages.", "LATE, stuck at enrich, never drains.", "/p/orders", ofOrders, switched("enrich", "slow", func(h *house) int { return h.opt.Rate / 5 })},
		{"3", "stall", "Stalled sink", "The sink takes nothing any more; everything waits before it.", "LATE, stuck at sink; nothing is called lost.", "/p/orders", ofOrders, switched("sink", "stall", every(0))},
		{"4", "drop", "enrich drops 1 %", "Every hundredth order is acknowledged and never passed on; nothing logs it.", "LOSS inside enrich, to the record.", "/loss", ofOrders, switched("enrich", "drop", every(100))},
		{"5", "double", "Duplicates", "Every two-hundredth order is written twice.", "DUPLICATES behind enrich, to the record.", "/loss", ofOrders, switched("enrich", "double", every(200))},
		{"6", "filter", "A filter leaves out 30 %", "enrich leaves out three of ten orders on purpose and counts them as filtered.", "OK: fewer come out, none is lost.", "/p/orders", ofOrders, switched("enrich", "filter", every(3))},
		{"7", "fanout", "A branch of a fan-out lacks 1 %", "split copies each order to billing, stock and mail, but mail lacks every hundredth.", "LOSS inside split, and which branch lacks them.", "/loss", ofOrders, switched("split", "drop", every(100))},
		{"8", "late", "2 % take a detour", "The sink hands every fiftieth order back for one and a half windows.", "IN FLIGHT or LATE until they come, never LOSS.", "/p/orders", ofOrders, switched("sink", "late", every(50))},
		{"9", "poison", "Poison", "enrich puts every thousandth order into the dead-letter stream.", "OK with dead letters, to the record.", "/p/orders", ofOrders, switched("enrich", "dead", every(1000))},
		{"10", "restart", "Killed enricher", "One of three enrichers is killed without warning and comes back after three seconds.", "No loss: what it had not acknowledged comes again.", "/p/orders", ofOrders, func(_ context.Context, h *house) error {
			return h.killApp("enrich-1", 3*time.Second)
		}},
		{"11", "hot", "Hot partition", "Eight of ten clicks go into partition 0, of which sessions takes fewer than arrive.", "LATE at sessions because of the skew; it never drains.", "/p/clicks", ofClicks, func(ctx context.Context, h *house) error {
			if err := h.fault(ctx, ofClicks, "sessions", "slow", h.clicks()*4/10); err != nil {
				return err
			}
			return h.fault(ctx, ofClicks, "tracker", "hot", 1)
		}},
		{"12", "retention", "Deleted unread", "sessions stands still for some seconds; meanwhile the broker deletes 500 unread records of each partition.", "RETENTION LOSS, to the record.", "/loss", ofClicks, position("retention")},
		{"13", "rewind", "Rewind", "sessions goes back by 500 records in each partition and reads them again.", "A note, and nothing lost or twice: they are known to come again.", "/p/clicks", ofClicks, position("rewind")},
		{"14", "skip", "Skipped", "sessions stands still for half a minute and then jumps to the end.", "SKIPPED, to the record; the lag alone would look fine.", "/loss", ofClicks, position("skip")},
		{"15", "sampling", "Lost between spans", "packer traces every twentieth parcel as sent and never hands it to the broker.", "PROBABLE LOSS or LOSS at level T: ten times what is missing among the sampled, with an interval; after two minutes.", "/loss", ofParcels, func(ctx context.Context, h *house) error {
			return h.fault(ctx, ofParcels, "packer", "drop", 20)
		}},
		{"16", "kill", "Killed collector", "The collector is killed without warning and comes back after five seconds.", "UNKNOWN with a bound at most, never LOSS.", "/self", ofWeir, func(_ context.Context, h *house) error {
			return h.killCollector(5 * time.Second)
		}},
	}
}

// killCollector ends the collector as a crash would and starts it again after pause.
func (h *house) killCollector(pause time.Duration) error {
	h.end("collector", syscall.SIGKILL, time.Second)
	h.later(pause, "collector", h.startCollector)
	return nil
}

// killApp ends an application as a crash would and starts it again after pause.
func (h *house) killApp(name string, pause time.Duration) error {
	for _, a := range h.apps {
		if a.name == name {
			h.end(name, syscall.SIGKILL, time.Second)
			h.later(pause, name, func() error { return h.startApp(a) })
			return nil
		}
	}
	return fmt.Errorf("there is no application %q", name)
}

// later starts a process that was killed, unless the demo ends.
func (h *house) later(pause time.Duration, name string, start func() error) {
	time.AfterFunc(pause, func() {
		h.mu.Lock()
		stopping := h.stopping
		h.mu.Unlock()
		if stopping {
			return
		}
		if err := start(); err != nil {
			h.logger.Error("a killed process does not come back", "name", name, "error", err)
		}
	})
}

// play ends the faults of the scene before it in its pipeline and begins its own. healthy ends those of all pipelines.
func (h *house) play(ctx context.Context, name string) error {
	var names []string
	for _, s := range scenes() {
		names = append(names, s.Name)
		if s.Name != name && s.Key != name {
			continue
		}
		for _, p := range pipelines() {
			if p.name != s.Pipeline && s.apply != nil {
				continue
			}
			if err := h.heal(ctx, p.name); err != nil {
				return err
			}
		}
		if s.apply != nil {
			if err := s.apply(ctx, h); err != nil {
				return err
			}
		}
		h.mu.Lock()
		h.playing[s.Pipeline] = played{s.Name, time.Now()}
		h.mu.Unlock()
		h.logger.Info("scene", "title", s.Title, "look_at", "http://"+h.opt.Listen+s.Look)
		return nil
	}
	return fmt.Errorf("scene is %q: must be one of %s", name, strings.Join(names, ", "))
}

// heal ends what plays in a pipeline.
func (h *house) heal(ctx context.Context, pipeline string) error {
	h.mu.Lock()
	delete(h.playing, pipeline)
	h.mu.Unlock()
	return h.fault(ctx, pipeline, "", "none", 0)
}
