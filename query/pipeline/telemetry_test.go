package pipeline

import (
	"math"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/telemetry"
	"github.com/weirhq/weir/store"
)

func (d *demo) put(name string, v float64, ls ...string) {
	d.e.sample((d.now+1)*1000, v, labels.FromStrings(append([]string{model.MetricNameLabel, name, "node", "demo"}, ls...)...))
}

func TestCompletenessCoversEveryLoss(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.rate = 60
	gaps := int64(0)
	d.s.extras.Collectors = func() []telemetry.Collector {
		return []telemetry.Collector{{Node: "demo", LastSeen: d.now * 1000, Gaps: gaps}}
	}
	kernel, spool, series := 0.0, 0.0, 0.0
	second := func(n int) {
		for range n {
			d.put("weir_collector_received_total", float64(d.now-demoStart)*100, "door", "statsd_udp")
			d.put("weir_collector_dropped_total", 7777, "door", "statsd_udp", "reason", "bad_line")
			if kernel > 0 {
				d.put("weir_collector_kernel_drops_total", kernel, "door", "statsd_udp")
			}
			if series > 0 {
				d.put("weir_collector_dropped_total", series, "door", "statsd_udp", "reason", "series_limit")
			}
			if spool > 0 {
				d.put("weir_spool_dropped_items_total", spool, "signal", "samples", "reason", "full")
			}
			d.put("weir_spool_oldest_pending_seconds", 0)
			d.second()
		}
	}
	second(60)
	if c := d.page().Completeness; c.Share == nil || *c.Share != 1 || len(c.Missing) != 0 {
		t.Fatalf("nothing is lost: %+v %v", c, *c.Share)
	}
	kernel, series, spool = 300, 200, 100
	second(20)
	c := d.page().Completeness
	text := strings.Join(c.Missing, "\n")
	for _, w := range []string{
		"300 datagrams were dropped by the kernel at statsd_udp of demo in the last 15 minutes.",
		"200 items were given up at statsd_udp (series_limit) of demo",
		"100 samples were thrown out of the spool (full) of demo",
	} {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in\n%s", w, text)
		}
	}
	if want := 7900.0 / 8500; c.Share == nil || math.Abs(*c.Share-want) > 0.02 {
		t.Errorf("share %g, want about %g", *c.Share, want)
	}
	_, _, states := d.losses()
	if states[flow.Unknown] > 0 {
		t.Errorf("samples are no counts: %v", states)
	}
	second(15 * 60)
	if c := d.page().Completeness; *c.Share != 1 || len(c.Missing) != 0 {
		t.Errorf("a quarter of an hour later: %+v %v", c, *c.Share)
	}
	gaps = 5
	second(20)
	if c := d.page().Completeness; !strings.Contains(strings.Join(c.Missing, " "), "5 records of the spool of demo never arrived.") {
		t.Errorf("%+v", c)
	}
}

// Counts that weir itself lost make the windows UNKNOWN, never a loss; other windows stand, also after a restart.
func TestOwnLossIsUnknown(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.rate = 300
	lost := 0.0
	second := func(n int) {
		for range n {
			d.put("weir_spool_dropped_items_total", lost, "signal", "cells", "reason", "full")
			d.put("weir_spool_oldest_pending_seconds", 0)
			d.second()
		}
	}
	second(150)
	// Half of what enrich counts in one window does not arrive, and the collector says so.
	d.uncount = func(ins string) bool { return ins == "enrich-1" }
	lost = 40
	from := d.now
	second(5)
	d.uncount = nil
	second(60)
	states := map[string]int{}
	for k, v := range d.e.verdicts {
		if k.Window >= from-10 && k.Window <= from+10 && v.Settled {
			states[v.State]++
			if v.State == flow.Unknown && v.Class != flow.ClassLost {
				t.Errorf("%+v", v)
			}
		}
		if v.Lost > 0 || v.State == flow.Duplicates {
			t.Errorf("%v: %s %d", k, v.State, v.Lost)
		}
		if k.Window >= from+20 && v.Settled && v.State != flow.OK {
			t.Errorf("later: %v %s", k, v.State)
		}
	}
	if states[flow.Unknown] == 0 {
		t.Errorf("%v", states)
	}
	d.s = New(demoConfig(), d.e, d.s.log, metrics.NewSet(), Extras{})
	second(20)
	for k, v := range d.e.verdicts {
		if v.Lost > 0 {
			t.Errorf("after a restart: %v %s", k, v.State)
		}
	}
	if p := d.page(); p.State == answer.Losing || p.Lost24h != 0 {
		t.Errorf("%s %d", p.State, p.Lost24h)
	}
}

func TestSequenceGapsAreUnknown(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.rate = 300
	gaps := int64(3)
	d.s.extras.Collectors = func() []telemetry.Collector {
		return []telemetry.Collector{{Node: "demo", LastSeen: d.now * 1000, Gaps: gaps}}
	}
	d.run(130)
	if _, _, states := d.losses(); states[flow.Unknown] > 0 {
		t.Errorf("old gaps concern nobody: %v", states)
	}
	gaps, d.drop = 4, true
	from := d.now
	d.run(3)
	d.drop = false
	d.run(60)
	for k, v := range d.e.verdicts {
		if k.Kind == store.EdgeBalance && k.To == "enrich" && k.Window >= from-10 && k.Window <= from && v.Settled && v.State != flow.Unknown {
			t.Errorf("%v %s", k, v.State)
		}
	}
}
