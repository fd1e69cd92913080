package telemetry

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/pipeline/brokers"
	"github.com/weirhq/weir/query/series"
)

// Doors remembers what the doors of this process counted over the last minute. It is safe for concurrent use.
type Doors struct {
	set *metrics.Set

	mu  sync.Mutex
	own map[doorKey]*door
}

type doorKey struct{ node, part, door string }

// NewDoors makes what reads weir_ingest_… of a set; nil = this process has no doors.
func NewDoors(set *metrics.Set) *Doors { return &Doors{set: set, own: map[doorKey]*door{}} }

// Observe reads the counters of this process. now is in Unix milliseconds.
func (b *Doors) Observe(now int64) {
	if b.set == nil {
		return
	}
	var buf bytes.Buffer
	b.set.WritePrometheus(&buf)
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range strings.Lines(buf.String()) {
		name, ls, v, ok := parseSample(line)
		if !ok || !strings.HasPrefix(name, "weir_ingest_") || ls["door"] == "" {
			continue
		}
		k := doorKey{"server", "ingest", ls["door"]}
		d := b.own[k]
		if d == nil {
			d = newDoor()
			b.own[k] = d
		}
		switch name {
		case "weir_ingest_received_total":
			d.received[now] = v
		case "weir_ingest_stored_total":
			d.stored[now] = v
		case "weir_ingest_dropped_total":
			d.drop(now, ls["reason"], v)
		}
	}
	for _, d := range b.own {
		d.forget(now - 60_000)
	}
}

// Rows are the balances of all doors over the last minute, by node: of this process, and of the collectors whose series open gives.
// versions are those of the collectors, by node. now is in Unix milliseconds.
func (b *Doors) Rows(ctx context.Context, open brokers.Querier, now int64) (rows []answer.DoorRow, versions map[string]string, err error) {
	doors, versions, err := ofCollectors(ctx, open, now)
	if err != nil {
		return nil, nil, err
	}
	rows = []answer.DoorRow{}
	b.mu.Lock()
	maps.Copy(doors, b.own)
	for k, d := range doors {
		if r, ok := d.row(k, unitOf(k)); ok {
			rows = append(rows, r)
		}
	}
	b.mu.Unlock()
	slices.SortFunc(rows, func(a, b answer.DoorRow) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Part, b.Part), cmp.Compare(a.Door, b.Door))
	})
	return rows, versions, nil
}

func unitOf(k doorKey) string {
	if k.part == "spool" {
		return k.door
	}
	switch k.door {
	case "statsd_udp", "statsd_unix":
		return "metrics"
	case "audit":
		if k.part == "ingest" {
			return "cells"
		}
		return "increments"
	case "otlp_traces":
		return "spans"
	case "otlp_metrics":
		return "points"
	default:
		return "samples"
	}
}

// ofCollectors reads the last minute of what collectors say about themselves.
func ofCollectors(ctx context.Context, open brokers.Querier, now int64) (map[doorKey]*door, map[string]string, error) {
	doors, versions := map[doorKey]*door{}, map[string]string{}
	q, err := open(now-60_000, now)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the collectors' own series: %w", err)
	}
	defer func() { _ = q.Close() }()
	for _, f := range []struct {
		name, part, label string
		put               func(d *door, at int64, reason string, v float64)
	}{
		{"weir_collector_received_total", "collector", "door", func(d *door, at int64, _ string, v float64) { d.received[at] = v }},
		{"weir_collector_accepted_total", "collector", "door", func(d *door, at int64, _ string, v float64) { d.stored[at] = v }},
		{"weir_collector_dropped_total", "collector", "door", func(d *door, at int64, r string, v float64) { d.drop(at, r, v) }},
		{"weir_spool_appended_items_total", "spool", "signal", func(d *door, at int64, _ string, v float64) { d.received[at] = v }},
		{"weir_spool_delivered_items_total", "spool", "signal", func(d *door, at int64, _ string, v float64) { d.stored[at] = v }},
		{"weir_spool_pending_items", "spool", "signal", func(d *door, at int64, _ string, v float64) { d.spooled[at] = v }},
		{"weir_spool_dropped_items_total", "spool", "signal", func(d *door, at int64, r string, v float64) { d.drop(at, r, v) }},
	} {
		var d *door
		var reason string
		err := series.Each(ctx, q, f.name, func(ls labels.Labels) bool {
			k := doorKey{ls.Get("node"), f.part, ls.Get(f.label)}
			reason = ls.Get("reason")
			if d = doors[k]; d == nil {
				if len(doors) >= 10_000 {
					return false
				}
				d = newDoor()
				doors[k] = d
			}
			return true
		}, func(at int64, v float64) { f.put(d, at, reason, v) })
		if err != nil {
			return nil, nil, fmt.Errorf("cannot read %s: %w", f.name, err)
		}
	}
	err = series.Each(ctx, q, "weir_collector_info", func(ls labels.Labels) bool {
		versions[ls.Get("node")] = ls.Get("version")
		return false
	}, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read weir_collector_info: %w", err)
	}
	return doors, versions, nil
}
