// Package spans keeps what joined producer and consumer spans say of pipelines: sums of the last windows, never spans.
//
// Its data are the sums of package ingest/pairs, read from the ledger of the store, and for what is missing the drops of collectors'
// spools; query/flow makes edges, sides and works of them. It goes to query/pipeline, which decides to which pipeline a queue belongs and
// what is a verdict: as edges and ports by pipeline, rates, process times, dependencies, and times in which weir itself lost spans.
package spans

import (
	"context"
	"fmt"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/telemetry"
	"github.com/weirhq/weir/store"
)

// Book holds what joined spans say to one tenant. It is not safe for concurrent use: its owner's lock guards it and all that it
// hands out.
type Book struct {
	engine     store.Engine
	tenant     store.Tenant
	collectors func() []telemetry.Collector
	over       *metrics.Counter

	pairs map[pairID]cell.Pair
	book  *flow.SpanBook    // of the last reading
	owner map[string]string // destination → pipeline, for what only spans know; names stay
	of    map[edgeID]string // edge → pipeline
	works map[string][]*flow.Works
	from  map[flow.SpanStage]bool // stages counted from spans
	gaps  []gap
	gapAt map[string]count // newest reading of each counter of lost spans
	told  map[string]Work  // what Work said of a stage since the last reading
	fresh bool             // read since Assign last ran
	next  int64
	wide  int64
}

type (
	pairID struct {
		cell.PairKey
		instance string
		epoch    int64
	}
	edgeID struct{ destination, group, to string }
)

// How often sums are read, and how far back: newest windows often, all that may change from time to time.
const (
	readEvery = 5_000   // milliseconds
	readWide  = 60_000  // milliseconds
	recent    = 5 * 60  // seconds
	memory    = 25 * 60 // seconds
	maxPairs  = 500_000 // sums of one tenant
	maxGaps   = 1000
)

// New builds an empty book over the sums and series of a tenant. collectors are those of the tenant; over counts sums and gaps beyond their bounds.
func New(engine store.Engine, tenant store.Tenant, collectors func() []telemetry.Collector, over *metrics.Counter) *Book {
	return &Book{
		engine: engine, tenant: tenant, collectors: collectors, over: over,
		pairs: map[pairID]cell.Pair{}, book: &flow.SpanBook{}, owner: map[string]string{}, gapAt: map[string]count{},
	}
}

// Read takes in every five seconds what joined spans say. now is in Unix milliseconds.
func (b *Book) Read(ctx context.Context, now int64) error {
	if now < b.next {
		return nil
	}
	b.next = now + readEvery
	span := int64(recent)
	if now-b.wide >= readWide {
		span, b.wide = memory, now
	}
	ps, err := b.engine.Ledger().Pairs(ctx, b.tenant, time.Unix(now/1000-span, 0), time.UnixMilli(now).Add(time.Hour))
	if err != nil {
		return fmt.Errorf("cannot read what joined spans say: %w", err)
	}
	for i := range ps {
		k := pairID{ps[i].PairKey, ps[i].Instance, ps[i].Epoch}
		if old, ok := b.pairs[k]; ok && old.Seq >= ps[i].Seq {
			continue
		} else if !ok && len(b.pairs) >= maxPairs {
			b.over.Inc()
			continue
		}
		b.pairs[k] = ps[i]
	}
	for k := range b.pairs {
		if k.Window+k.Width < now/1000-memory {
			delete(b.pairs, k)
		}
	}
	list := make([]cell.Pair, 0, len(b.pairs))
	for _, p := range b.pairs {
		list = append(list, p)
	}
	b.book = flow.Spans(list, now, flow.DefaultSpanRules())
	b.fresh, b.told = true, map[string]Work{}
	b.works = map[string][]*flow.Works{}
	for i := range b.book.Works {
		w := &b.book.Works[i]
		b.works[w.Stage] = append(b.works[w.Stage], w)
	}
	if len(list) == 0 {
		return nil
	}
	return b.readGaps(ctx, now)
}

// BeginCells forgets which stages PreferCells found.
func (b *Book) BeginCells() { b.from = nil }

// PreferCells turns what collectors counted from spans into the counts of stages that do not count themselves. Where cells are not
// those of all pipelines, only names the one that is asked for: of the others nobody knows what they count themselves.
func (b *Book) PreferCells(cells []cell.Cell, only string) []cell.Cell {
	out, from := flow.PreferCells(cells, func(destination string) string { return b.owner[destination] })
	for st := range from {
		if only != "" && st.Pipeline != only {
			continue
		}
		if b.from == nil {
			b.from = map[flow.SpanStage]bool{}
		}
		b.from[st] = true
	}
	return out
}

// Stages are the stages of a pipeline that are counted from spans since BeginCells; nil for none.
func (b *Book) Stages(pipeline string) map[string]bool {
	var out map[string]bool
	for st := range b.from {
		if st.Pipeline == pipeline {
			if out == nil {
				out = map[string]bool{}
			}
			out[st.Stage] = true
		}
	}
	return out
}

// Rate is what a stage takes in or puts out per second as spans tell, in the newest whole window; nil where they do not
// tell how many messages one span stands for. now is in Unix milliseconds.
func (b *Book) Rate(stage string, d cell.Dir, now int64) *float64 {
	sides := b.book.Writers
	if d == cell.In {
		sides = b.book.Readers
	}
	var sum float64
	some := false
	for i := range sides {
		s := &sides[i]
		if s.Stage != stage || s.Width <= 0 {
			continue
		}
		w := now/1000 - 20 - s.Width // spans of the newest whole window are there after some seconds
		w -= w % s.Width
		n, told := s.Windows[w].Estimate()
		if n > 0 && !told {
			return nil
		}
		sum += n / float64(s.Width)
		some = true
	}
	if !some {
		return nil
	}
	return &sum
}
