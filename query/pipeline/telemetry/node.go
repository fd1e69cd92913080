package telemetry

import (
	"fmt"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

// minutes are how far back completeness looks.
const minutes = 15

// node is what one collector took and lost, by minute, over the last quarter of an hour.
type node struct {
	pending float64 // age of the oldest record in its spool, seconds
	at      int64
	taken   [minutes]float64
	lost    map[string]*[minutes]float64 // by what
	minute  int64
}

// counted are the counters of the collectors, with what they count.
var counted = []struct {
	name  string
	taken bool
	what  func(ls labels.Labels) (what string, is bool)
}{
	{"weir_collector_received_total", true, func(labels.Labels) (string, bool) { return "", true }},
	{"weir_collector_dropped_total", false, func(ls labels.Labels) (string, bool) {
		return fmt.Sprintf("items were given up at %s (%s)", ls.Get("door"), ls.Get("reason")), isLost(ls.Get("door"), ls.Get("reason"))
	}},
	{"weir_collector_kernel_drops_total", false, func(ls labels.Labels) (string, bool) {
		return "datagrams were dropped by the kernel at " + ls.Get("door"), true
	}},
	{"weir_spool_dropped_items_total", false, func(ls labels.Labels) (string, bool) {
		return fmt.Sprintf("%s were thrown out of the spool (%s)", ls.Get("signal"), ls.Get("reason")), true
	}},
}

// isLost says whether a drop at a door of a collector means that telemetry is gone. Lines that nobody could read and
// bodies whose sender was told to come again are not.
func isLost(door, reason string) bool {
	switch reason {
	case "spool":
		return !strings.HasPrefix(door, "otlp")
	case "truncated", "series_limit", "set_limit", "timed_limit", "type_conflict", "cell_limit", "limit":
		return true
	}
	return false
}

// roll forgets minutes that are over.
func (n *node) roll(minute int64) {
	if minute-n.minute >= minutes {
		n.minute, n.taken, n.lost = minute, [minutes]float64{}, map[string]*[minutes]float64{}
	}
	for n.minute < minute {
		n.minute++
		i := n.minute % minutes
		n.taken[i] = 0
		for _, m := range n.lost {
			m[i] = 0
		}
	}
}

func (n *node) add(minute int64, taken bool, what string, d float64) {
	i := minute % minutes
	if taken {
		n.taken[i] += d
		return
	}
	m := n.lost[what]
	if m == nil {
		if len(n.lost) >= 100 {
			return
		}
		m = new([minutes]float64)
		n.lost[what] = m
	}
	m[i] += d
}
