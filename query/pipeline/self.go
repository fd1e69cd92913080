package pipeline

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/series"
	"github.com/weirhq/weir/store"
)

// selfBook remembers the doors of this process over the last minute.
type selfBook struct {
	mu    sync.Mutex
	doors map[doorKey]*door
}

type doorKey struct{ node, part, door string }

// door is one row with what it was at earlier moments: counters are read while records pass, so a
// difference that comes and goes is what is just being handled, one that stays is a leak.
type door struct {
	received, stored, spooled map[int64]float64 // by time of reading
	dropped                   map[int64]map[string]float64
}

func newDoor() *door {
	return &door{received: map[int64]float64{}, stored: map[int64]float64{}, spooled: map[int64]float64{}, dropped: map[int64]map[string]float64{}}
}

// observe reads the ingest counters of this process.
func (b *selfBook) observe(set *metrics.Set, now int64) {
	if set == nil {
		return
	}
	var buf bytes.Buffer
	set.WritePrometheus(&buf)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.doors == nil {
		b.doors = map[doorKey]*door{}
	}
	for line := range strings.Lines(buf.String()) {
		name, ls, v, ok := parseSample(line)
		if !ok || !strings.HasPrefix(name, "weir_ingest_") || ls["door"] == "" {
			continue
		}
		k := doorKey{"server", "ingest", ls["door"]}
		d := b.doors[k]
		if d == nil {
			d = newDoor()
			b.doors[k] = d
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
	for _, d := range b.doors {
		d.forget(now - 60_000)
	}
}

func (d *door) drop(at int64, reason string, v float64) {
	if d.dropped[at] == nil {
		d.dropped[at] = map[string]float64{}
	}
	d.dropped[at][reason] += v
}

func (d *door) forget(before int64) {
	for _, m := range []map[int64]float64{d.received, d.stored, d.spooled} {
		for at := range m {
			if at < before {
				delete(m, at)
			}
		}
	}
	for at := range d.dropped {
		if at < before {
			delete(d.dropped, at)
		}
	}
}

// row makes the answer from the newest exact reading of the last minute, or, when there is none, from the
// newest: then something is missing. Readings between two counters of a busy door need not be exact.
func (d *door) row(k doorKey, unit string) (answer.DoorRow, bool) {
	r := answer.DoorRow{Node: k.node, Part: k.part, Door: k.door, Unit: unit, Dropped: []answer.DropRow{}}
	var first, last int64
	for at := range d.received {
		if first == 0 || at < first {
			first = at
		}
		last = max(last, at)
	}
	if last == 0 {
		return r, false
	}
	diff := func(at int64) float64 {
		x := d.received[at] - d.stored[at] - d.spooled[at]
		for _, n := range d.dropped[at] {
			x -= n
		}
		return x
	}
	exact := int64(0)
	for at := range d.received {
		if at > exact && diff(at) == 0 {
			exact = at
		}
	}
	if r.Balanced = exact > 0; r.Balanced {
		last = exact
	}
	r.Received, r.Stored, r.Spooled, r.Diff = d.received[last], d.stored[last], d.spooled[last], diff(last)
	for reason, n := range d.dropped[last] {
		if n != 0 {
			r.Dropped = append(r.Dropped, answer.DropRow{Reason: reason, Count: n})
		}
	}
	slices.SortFunc(r.Dropped, func(a, b answer.DropRow) int { return cmp.Compare(a.Reason, b.Reason) })
	if last > first {
		rate := max(0, (d.received[last]-d.received[first])/(float64(last-first)/1000))
		r.Rate = &rate
	}
	return r, true
}

// parseSample reads one line of the text form: name{a="b"} value.
func parseSample(line string) (name string, ls map[string]string, v float64, ok bool) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", nil, 0, false
	}
	i := strings.LastIndexByte(line, ' ')
	if i < 0 {
		return "", nil, 0, false
	}
	v, err := strconv.ParseFloat(line[i+1:], 64)
	if err != nil {
		return "", nil, 0, false
	}
	head := line[:i]
	name, rest, labelled := strings.Cut(head, "{")
	ls = map[string]string{}
	if !labelled {
		return name, ls, v, true
	}
	rest = strings.TrimSuffix(rest, "}")
	for rest != "" {
		key, after, found := strings.Cut(rest, "=")
		if !found {
			return "", nil, 0, false
		}
		quoted, err := strconv.QuotedPrefix(after)
		if err != nil {
			return "", nil, 0, false
		}
		val, err := strconv.Unquote(quoted)
		if err != nil {
			return "", nil, 0, false
		}
		ls[key] = val
		rest = strings.TrimPrefix(after[len(quoted):], ",")
	}
	return name, ls, v, true
}

// Self answers weir's own ledger.
func (s *Service) Self(ctx context.Context, id store.Tenant) (answer.Self, error) {
	now := time.Now().UnixMilli()
	if v := s.tenant(id).view.Load(); v != nil {
		now = max(v.at, 0)
	}
	out := answer.Self{At: now, Balanced: true, Doors: []answer.DoorRow{}, Collectors: []answer.CollectorRow{}, Store: []answer.StoreRow{}, Version: s.extras.Version}
	doors, versions, err := s.collectorDoors(ctx, id, now)
	if err != nil {
		return out, err
	}
	s.self.mu.Lock()
	maps.Copy(doors, s.self.doors)
	for k, d := range doors {
		if r, ok := d.row(k, unitOf(k)); ok {
			out.Doors = append(out.Doors, r)
			out.Balanced = out.Balanced && r.Balanced
		}
	}
	s.self.mu.Unlock()
	slices.SortFunc(out.Doors, func(a, b answer.DoorRow) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Part, b.Part), cmp.Compare(a.Door, b.Door))
	})
	out.Collectors = s.collectorRows(id, now, versions)
	st, err := s.engine.Stats(ctx)
	if err != nil {
		return out, fmt.Errorf("cannot read the sizes of the store: %w", err)
	}
	out.Store = storeRows(st, now)
	return out, nil
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

// collectorDoors reads the last minute of what collectors say about themselves.
func (s *Service) collectorDoors(ctx context.Context, id store.Tenant, now int64) (map[doorKey]*door, map[string]string, error) {
	doors, versions := map[doorKey]*door{}, map[string]string{}
	q, err := s.engine.Metrics().Querier(id, now-60_000, now)
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

func (s *Service) collectorRows(id store.Tenant, now int64, versions map[string]string) []answer.CollectorRow {
	t := s.tenant(id)
	silent := map[string]bool{}
	t.mu.Lock()
	if a := t.cells.audit; a != nil {
		for _, g := range a.Silent() {
			silent[g.Node] = true
		}
	}
	epochs := maps.Clone(t.cells.epochs)
	t.mu.Unlock()
	out := []answer.CollectorRow{}
	known := map[string]bool{}
	if s.extras.Collectors != nil {
		for _, c := range s.extras.Collectors() {
			if c.Tenant != "" && c.Tenant != id {
				continue
			}
			known[c.Node] = true
			r := answer.CollectorRow{Node: c.Node, State: answer.OK, LastSeen: c.LastSeen, Epoch: c.Epoch, Gaps: c.Gaps, Version: cmp.Or(c.Version, versions[c.Node])}
			if silent[c.Node] || now-c.LastSeen > staleAfter {
				r.State = answer.Unknown
			}
			out = append(out, r)
		}
	}
	for n := range epochs {
		if known[n] {
			continue
		}
		r := answer.CollectorRow{Node: n, State: answer.OK, Epoch: epochs[n], Version: versions[n]}
		if silent[n] {
			r.State = answer.Unknown
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b answer.CollectorRow) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

func storeRows(st store.Stats, now int64) []answer.StoreRow {
	rows := []answer.StoreRow{
		{Name: "series", Value: float64(st.Series), Unit: "series"},
		{Name: "samples", Value: float64(st.Samples), Unit: "samples"},
		{Name: "spans", Value: float64(st.Spans), Unit: "spans"},
		{Name: "metrics on disk", Value: float64(st.MetricBytes), Unit: "bytes"},
		{Name: "spans on disk", Value: float64(st.SpanBytes), Unit: "bytes"},
		{Name: "ledger on disk", Value: float64(st.LedgerBytes), Unit: "bytes"},
		{Name: "disk free", Value: float64(st.DiskFree), Unit: "bytes"},
		{Name: "disk size", Value: float64(st.DiskTotal), Unit: "bytes"},
	}
	if !st.OldestSample.IsZero() {
		rows = append(rows, answer.StoreRow{Name: "oldest sample", Value: math.Max(0, float64(now-st.OldestSample.UnixMilli())/1000), Unit: "seconds"})
	}
	return rows
}
