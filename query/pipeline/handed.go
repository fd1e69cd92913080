package pipeline

import (
	"strings"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// handed is what each of several writers of one destination put into it, by windows of the last hour. The balance of the way tells
// of all of them together.
type handed map[handedTo]int64

type handedTo struct {
	stage, destination string
	window             int64 // Unix seconds
}

// maxHanded bounds how many windows of writers are remembered of a pipeline.
const maxHanded = 20_000

// keep remembers the share of each source that writes in a settled window.
func (h handed) keep(v *store.Verdict, tally *flow.Tally) {
	if !v.Settled || v.Kind != store.EdgeTransport || !strings.Contains(v.From, ",") {
		return
	}
	for s := range strings.SplitSeq(v.From, ",") {
		if len(h) >= maxHanded || len(tally.Ports(s, cell.In)) > 0 {
			continue
		}
		n := int64(0)
		for _, p := range tally.Ports(s, cell.Out) {
			if p.Destination == v.Destination {
				n += int64(tally.At(p, flow.Window{Start: v.Window, Width: v.Width}).N)
			}
		}
		h[handedTo{s, v.Destination, v.Window}] = n
	}
}

// of sums what a stage put into the destinations it shares since a time, Unix seconds, and forgets what is older.
func (h handed) of(stage string, since int64) (n int64) {
	for k, x := range h {
		switch {
		case k.window < since:
			delete(h, k)
		case k.stage == stage:
			n += x
		}
	}
	return n
}

// handedOn is what a source put out in the settled windows of the last hour, as the edges from it count it: it has no
// balance of its own. A destination that several groups read is counted once. Of one that it shares with other writers it
// is what it counted itself, from the start of this process on.
func (t *tenant) handedOn(p *pipe, stage string, now int64) int64 {
	since := now/1000 - 3600
	n := p.handed.of(stage, since)
	by := map[string]int64{}
	for _, b := range t.ledger.Of(p.id) {
		if b.Key.Kind != store.EdgeTransport || b.Key.From != stage {
			continue
		}
		s, _ := b.Hour(since)
		by[b.Key.Destination] = max(by[b.Key.Destination], s.Up)
	}
	for _, up := range by {
		n += up
	}
	return n
}
