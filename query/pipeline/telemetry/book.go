// Package telemetry is what weir knows of its own telemetry: what its doors took, kept and gave up, and what was lost on the way from
// the applications to the store.
//
// Its data are the series that collectors write about themselves (weir_collector_…, weir_spool_…, docs/wire.md), read with the caller's
// querier, the ingest counters of this process, and what ingest heard of the collectors. It goes to query/pipeline: as rows of the page
// about weir itself, as how complete the evidence of an answer is, and as gaps that make verdicts UNKNOWN.
package telemetry

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/brokers"
	"github.com/weirhq/weir/query/series"
	"github.com/weirhq/weir/store"
)

// Collector is one collector as ingest sees it.
type Collector struct {
	Tenant   store.Tenant // empty: all tenants are told of it
	Node     string
	Epoch    int64 // Unix milliseconds
	LastSeen int64 // Unix milliseconds
	Gaps     int64 // records of its spool that never arrived
	Version  string
}

// Options are what a book takes from its surroundings.
type Options struct {
	Collectors func() []Collector // those of the tenant
	Forget     time.Duration      // a broker that was not polled for so long is not expected to be
	Overflow   *metrics.Counter   // counts how often old gaps made room for new ones
}

// Book follows what weir itself lost on the way from the applications to the store, from the collectors' own series and from the
// sequence numbers of their spools. It is not safe for concurrent use: its owner's lock guards it.
type Book struct {
	options    Options
	next, read int64              // Unix milliseconds
	counters   map[uint64]counter // by hash of the labels
	nodes      map[string]*node
	gaps       map[string]gapCount // by collector
	lost       []flow.Gap          // counts that were made and did not arrive
}

type counter struct {
	at int64
	v  float64
}

type gapCount struct{ gaps, seen int64 }

const (
	readEvery   = 10_000
	firstBack   = 2 * 3_600_000 // how far back the first reading looks: verdicts of that time may be judged again
	maxCounters = 200_000       // series
	maxNodes    = 100_000
	maxLost     = 2000
)

// New makes an empty book.
func New(o Options) *Book {
	return &Book{options: o, counters: map[uint64]counter{}, nodes: map[string]*node{}, gaps: map[string]gapCount{}}
}

// Lost are the times in which weir's own losses took counts; they are the caller's.
func (b *Book) Lost() []flow.Gap { return slices.Clone(b.lost) }

// Read takes in every ten seconds what the collectors say about themselves. now is in Unix milliseconds.
func (b *Book) Read(ctx context.Context, open brokers.Querier, now int64) error {
	if now < b.next {
		return nil
	}
	begins := b.next == 0
	if begins {
		b.read = now - firstBack
	}
	b.next = now + readEvery
	q, err := open(b.read-30_000, now)
	if err != nil {
		return fmt.Errorf("cannot read the collectors' own series: %w", err)
	}
	defer func() { _ = q.Close() }()
	var name string
	err = each(ctx, q, "weir_spool_oldest_pending_seconds", func(ls labels.Labels) { name = ls.Get("node") }, func(at int64, v float64) {
		if n := b.node(name); n != nil {
			n.pending, n.at = max(v, 0), at
		}
	})
	if err != nil {
		return err
	}
	for _, s := range counted {
		var h uint64
		var what string
		var is, cells bool
		err := each(ctx, q, s.name, func(ls labels.Labels) {
			h, name = ls.Hash(), ls.Get("node")
			what, is = s.what(ls)
			cells = s.name == "weir_spool_dropped_items_total" && ls.Get("signal") == "cells"
		}, func(at int64, v float64) {
			old, known := b.counters[h]
			if at <= old.at || !known && len(b.counters) >= maxCounters {
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
			n := b.node(name)
			if d <= 0 || n == nil || !is {
				return
			}
			if at > now-minutes*60_000 {
				n.roll(now / 60_000)
				n.add(at/60_000, s.taken, what, d)
			}
			if cells {
				b.lose(name, max(old.at, at-60_000), at, int64(d), n)
			}
		})
		if err != nil {
			return err
		}
	}
	b.read = now
	b.readGaps(now)
	b.forget(now)
	return nil
}

func each(ctx context.Context, q storage.Querier, name string, begin func(labels.Labels), f func(int64, float64)) error {
	if err := series.Each(ctx, q, name, func(ls labels.Labels) bool { begin(ls); return true }, f); err != nil {
		return fmt.Errorf("cannot read %s: %w", name, err)
	}
	return nil
}

// node of a name; nil when there are too many.
func (b *Book) node(name string) *node {
	n := b.nodes[name]
	if n == nil && len(b.nodes) < maxNodes {
		n = &node{lost: map[string]*[minutes]float64{}}
		b.nodes[name] = n
	}
	return n
}

// lose notes that counts of a node made between two times did not arrive. What lay in the spool may be as old as its
// oldest record.
func (b *Book) lose(name string, from, to, n int64, of *node) {
	if of != nil {
		from -= int64(of.pending * 1000)
	}
	from -= 60_000
	if i := len(b.lost) - 1; i >= 0 && b.lost[i].Node == name && from <= b.lost[i].To+60_000 {
		g := &b.lost[i]
		g.From, g.To, g.Drops = min(g.From, from), max(g.To, to), g.Drops+n
		return
	}
	if len(b.lost) >= maxLost {
		b.lost = slices.Delete(b.lost, 0, maxLost/2)
		b.options.Overflow.Inc()
	}
	b.lost = append(b.lost, flow.Gap{Node: name, Kind: flow.GapLost, From: from, To: to, Drops: n})
}

// readGaps takes in the holes in the numbers of the records that collectors sent.
func (b *Book) readGaps(now int64) {
	for _, c := range b.options.Collectors() {
		old, known := b.gaps[c.Node]
		if known && c.Gaps > old.gaps {
			b.lose(c.Node, old.seen, now, c.Gaps-old.gaps, b.nodes[c.Node])
		}
		if known || len(b.gaps) < maxNodes {
			b.gaps[c.Node] = gapCount{c.Gaps, c.LastSeen}
		}
	}
}

func (b *Book) forget(now int64) {
	b.lost = slices.DeleteFunc(b.lost, func(g flow.Gap) bool { return g.To < now-7*86400_000 })
	for h, c := range b.counters {
		if c.at < now-3_600_000 {
			delete(b.counters, h)
		}
	}
	for name, n := range b.nodes {
		if n.at > 0 && n.at < now-86400_000 {
			delete(b.nodes, name)
		}
	}
}
