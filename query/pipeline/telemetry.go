package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/series"
)

// telemetryBook follows what weir itself lost on the way from the applications to the store, from the collectors' own
// series and from the sequence numbers of their spools.
type telemetryBook struct {
	next, read int64
	counters   map[uint64]counter // by hash of the labels
	nodes      map[string]*nodeTelemetry
	gaps       map[string]gapCount // by collector
	lost       []flow.Gap          // counts that were made and did not arrive
}

type counter struct {
	at int64
	v  float64
}

type gapCount struct{ gaps, seen int64 }

// nodeTelemetry is what one collector took and lost, by minute, over the last quarter of an hour.
type nodeTelemetry struct {
	pending float64 // age of the oldest record in its spool, seconds
	at      int64
	taken   [telemetryMinutes]float64
	lost    map[string]*[telemetryMinutes]float64 // by what
	minute  int64
}

const (
	telemetryMinutes = 15
	telemetryEvery   = 10_000
	telemetryFirst   = 2 * 3_600_000 // how far back the first reading looks: verdicts of that time may be judged again
	maxTelemetry     = 200_000       // series
	maxLostGaps      = 2000
)

// roll forgets minutes that are over.
func (n *nodeTelemetry) roll(minute int64) {
	if minute-n.minute >= telemetryMinutes {
		n.minute, n.taken, n.lost = minute, [telemetryMinutes]float64{}, map[string]*[telemetryMinutes]float64{}
	}
	for n.minute < minute {
		n.minute++
		i := n.minute % telemetryMinutes
		n.taken[i] = 0
		for _, m := range n.lost {
			m[i] = 0
		}
	}
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

// readTelemetry takes in what the collectors say about themselves.
func (t *tenant) readTelemetry(ctx context.Context, now int64) error {
	b := &t.telemetry
	if now < b.next {
		return nil
	}
	begins := b.counters == nil
	if begins {
		b.counters, b.nodes, b.gaps = map[uint64]counter{}, map[string]*nodeTelemetry{}, map[string]gapCount{}
		b.read = now - telemetryFirst
	}
	b.next = now + telemetryEvery
	q, err := t.s.engine.Metrics().Querier(t.id, b.read-30_000, now)
	if err != nil {
		return fmt.Errorf("cannot read the collectors' own series: %w", err)
	}
	defer func() { _ = q.Close() }()
	var node string
	eachOf := func(ctx context.Context, q storage.Querier, name string, begin func(labels.Labels), f func(int64, float64)) error {
		if err := series.Each(ctx, q, name, func(ls labels.Labels) bool { begin(ls); return true }, f); err != nil {
			return fmt.Errorf("cannot read %s: %w", name, err)
		}
		return nil
	}
	err = eachOf(ctx, q, "weir_spool_oldest_pending_seconds", func(ls labels.Labels) { node = ls.Get("node") }, func(at int64, v float64) {
		if n := t.telemetryOf(node); n != nil {
			n.pending, n.at = max(v, 0), at
		}
	})
	if err != nil {
		return err
	}
	for _, s := range telemetrySeries {
		var h uint64
		var what string
		var is, cells bool
		err := eachOf(ctx, q, s.name, func(ls labels.Labels) {
			h, node = ls.Hash(), ls.Get("node")
			what, is = s.what(ls)
			cells = s.name == "weir_spool_dropped_items_total" && ls.Get("signal") == "cells"
		}, func(at int64, v float64) {
			old, known := b.counters[h]
			if at <= old.at || !known && len(b.counters) >= maxTelemetry {
				return
			}
			b.counters[h] = counter{at, v}
			d := v - old.v
			if !known {
				// A counter begins with its first event, unless it was there before anybody looked.
				if begins && at < b.read+60_000 {
					d = 0
				}
			} else if d < 0 {
				d = v // its collector began anew
			}
			n := t.telemetryOf(node)
			if d <= 0 || n == nil || !is {
				return
			}
			if at > now-telemetryMinutes*60_000 {
				n.roll(now / 60_000)
				n.add(at/60_000, s.taken, what, d)
			}
			if cells {
				t.lose(node, max(old.at, at-60_000), at, int64(d), n)
			}
		})
		if err != nil {
			return err
		}
	}
	b.read = now
	t.readGaps(now)
	b.forget(now)
	return nil
}

// telemetrySeries are the counters of the collectors, with what they count.
var telemetrySeries = []struct {
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

func (n *nodeTelemetry) add(minute int64, taken bool, what string, d float64) {
	i := minute % telemetryMinutes
	if taken {
		n.taken[i] += d
		return
	}
	m := n.lost[what]
	if m == nil {
		if len(n.lost) >= 100 {
			return
		}
		m = new([telemetryMinutes]float64)
		n.lost[what] = m
	}
	m[i] += d
}

func (t *tenant) telemetryOf(node string) *nodeTelemetry {
	b := &t.telemetry
	n := b.nodes[node]
	if n == nil && len(b.nodes) < 100_000 {
		n = &nodeTelemetry{lost: map[string]*[telemetryMinutes]float64{}}
		b.nodes[node] = n
	}
	return n
}

// lose notes that counts of a node made between two times did not arrive. What lay in the spool may be as old as its
// oldest record.
func (t *tenant) lose(node string, from, to, n int64, of *nodeTelemetry) {
	b := &t.telemetry
	if of != nil {
		from -= int64(of.pending * 1000)
	}
	from -= 60_000
	if i := len(b.lost) - 1; i >= 0 && b.lost[i].Node == node && from <= b.lost[i].To+60_000 {
		g := &b.lost[i]
		g.From, g.To, g.Drops = min(g.From, from), max(g.To, to), g.Drops+n
		return
	}
	if len(b.lost) >= maxLostGaps {
		b.lost = slices.Delete(b.lost, 0, maxLostGaps/2)
		t.s.overflow.Inc()
	}
	b.lost = append(b.lost, flow.Gap{Node: node, Kind: flow.GapLost, From: from, To: to, Drops: n})
}

// readGaps takes in the holes in the numbers of the records that collectors sent.
func (t *tenant) readGaps(now int64) {
	b := &t.telemetry
	if t.s.extras.Collectors == nil {
		return
	}
	for _, c := range t.s.extras.Collectors() {
		if c.Tenant != "" && c.Tenant != t.id {
			continue
		}
		old, known := b.gaps[c.Node]
		if known && c.Gaps > old.gaps {
			t.lose(c.Node, old.seen, now, c.Gaps-old.gaps, b.nodes[c.Node])
		}
		if known || len(b.gaps) < 100_000 {
			b.gaps[c.Node] = gapCount{c.Gaps, c.LastSeen}
		}
	}
}

func (b *telemetryBook) forget(now int64) {
	b.lost = slices.DeleteFunc(b.lost, func(g flow.Gap) bool { return g.To < now-7*86400_000 })
	for h, c := range b.counters {
		if c.at < now-3_600_000 {
			delete(b.counters, h)
		}
	}
	for node, n := range b.nodes {
		if n.at > 0 && n.at < now-86400_000 {
			delete(b.nodes, node)
		}
	}
}

// completeness is how much of the expected telemetry arrived: the share of auditors that are heard, times that of the
// items that were not lost on the way in the last quarter of an hour, times that of the brokers that answer; and what is
// missing.
func (t *tenant) completeness(now int64) answer.Completeness {
	c := answer.Completeness{Missing: []string{}}
	share, expected := 1.0, false
	part := func(good, all float64) {
		if all > 0 {
			share, expected = share*good/all, true
		}
	}
	if a := t.cells.audit; a != nil && a.Known > 0 {
		part(float64(a.Known-a.Quiet), float64(a.Known))
		for _, g := range a.Silent() {
			c.Missing = append(c.Missing, g.Sentence(now))
		}
	}
	var taken, lost float64
	for node, n := range t.telemetry.nodes {
		n.roll(now / 60_000)
		for _, x := range n.taken {
			taken += x
		}
		for what, m := range n.lost {
			sum := 0.0
			for _, x := range m {
				sum += x
			}
			if sum <= 0 {
				delete(n.lost, what)
				continue
			}
			lost += sum
			c.Missing = append(c.Missing, fmt.Sprintf("%s %s of %s in the last %d minutes.", flow.Count(int64(sum)), what, cmp.Or(node, "a collector"), telemetryMinutes))
		}
	}
	if taken > 0 {
		part(taken, taken+lost)
	}
	if f := t.s.extras.Collectors; f != nil {
		for _, col := range f() {
			if col.Tenant != "" && col.Tenant != t.id || col.Gaps == 0 {
				continue
			}
			c.Missing = append(c.Missing, fmt.Sprintf("%s records of the spool of %s never arrived.", flow.Count(col.Gaps), col.Node))
		}
	}
	up, clusters := 0, 0
	for ck, poll := range t.broker.Polls() {
		name := strings.TrimSpace(ck.System + " " + ck.Cluster)
		switch {
		case now-poll.At > t.s.cfg.Forget.Milliseconds():
			continue
		case now-poll.At > staleAfter:
			c.Missing = append(c.Missing, fmt.Sprintf("No offsets of %s for %s.", name, flow.Age(float64(now-poll.At)/1000)))
		case !poll.Up:
			c.Missing = append(c.Missing, "The broker "+name+" does not answer.")
		default:
			up++
		}
		clusters++
	}
	part(float64(up), float64(clusters))
	if expected {
		c.Share = &share
	}
	slices.Sort(c.Missing)
	if n := len(c.Missing) - maxMissing; n > 0 {
		c.Missing = append(c.Missing[:maxMissing], fmt.Sprintf("And %d more.", n))
	}
	return c
}

// maxMissing bounds the sentences of one answer.
const maxMissing = 50

// lostTelemetry are the gaps that weir's own losses make.
func (t *tenant) lostTelemetry() []flow.Gap { return slices.Clone(t.telemetry.lost) }
