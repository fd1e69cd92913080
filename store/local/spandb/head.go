package spandb

import (
	"slices"
	"sync"

	"github.com/weirhq/weir/store"
)

// head holds the spans that are not in a block yet: the bytes of the log's records, an entry per
// span in the order of arrival, and a chain of entries per trace. What is in it never changes, so a
// reader takes a view under the lock and works without it.
type head struct {
	mu     sync.RWMutex
	recs   []*record
	chunks [][]entry
	spread []spread // of the chunks
	n      int
	traces map[store.TraceID]chain
	bytes  int64
	minT   int64 // start of the earliest span
	maxT   int64 // start of the latest
	born   int64 // Unix ns of the first append, 0 while empty
}

// chain is the newest entry of a trace, plus one, and their number.
type chain struct{ last, count uint32 }

// spread is the range of starts in a chunk.
type spread struct{ min, max int64 }

const (
	chunkShift = 12
	chunkLen   = 1 << chunkShift
	entryBytes = 72 + 32 // an entry and its share of the map
)

func newHead() *head { return &head{traces: map[store.TraceID]chain{}} }

// add takes a record and its entries; it returns how many spans the bound per trace kept out.
func (h *head) add(rec *record, entries []entry, perTrace int, now int64) (over int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ri := uint32(len(h.recs))
	h.recs = append(h.recs, rec)
	h.bytes += rec.size
	if h.born == 0 {
		h.born = now
	}
	for i := range entries {
		e := &entries[i]
		c := h.traces[e.trace]
		if c.count >= uint32(perTrace) {
			over++
			continue
		}
		e.rec, e.prev = ri, c.last
		if h.n&(chunkLen-1) == 0 {
			h.chunks = append(h.chunks, make([]entry, 0, chunkLen))
			h.spread = append(h.spread, spread{e.start, e.start})
		}
		last, sp := &h.chunks[len(h.chunks)-1], &h.spread[len(h.spread)-1]
		*last = append(*last, *e)
		sp.min, sp.max = min(sp.min, e.start), max(sp.max, e.start)
		if h.n == 0 || e.start < h.minT {
			h.minT = e.start
		}
		if h.n == 0 || e.start > h.maxT {
			h.maxT = e.start
		}
		h.n++
		h.traces[e.trace] = chain{last: uint32(h.n), count: c.count + 1}
		h.bytes += entryBytes
	}
	return over
}

func (h *head) size() (spans int, bytes, born int64) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.n, h.bytes, h.born
}

// view is a head at one moment.
type view struct {
	h          *head
	recs       []*record
	chunks     [][]entry
	spread     []spread
	n          int
	minT, maxT int64
}

func (h *head) view() view {
	h.mu.RLock()
	defer h.mu.RUnlock()
	v := view{h: h, recs: h.recs, n: h.n, minT: h.minT, maxT: h.maxT}
	v.chunks = slices.Clone(h.chunks) // headers of the last chunk still grow
	v.spread = slices.Clone(h.spread)
	return v
}

func (v *view) at(i uint32) *entry { return &v.chunks[i>>chunkShift][i&(chunkLen-1)] }

// chain returns the entries of a trace in the order of arrival, each span id once: the first wins.
func (v *view) chain(id store.TraceID) []*entry {
	v.h.mu.RLock()
	c := v.h.traces[id]
	v.h.mu.RUnlock()
	return v.walk(c)
}

func (v *view) walk(c chain) []*entry {
	if c.last == 0 {
		return nil
	}
	out := make([]*entry, 0, c.count)
	for at := c.last; at != 0; {
		if int(at) > v.n { // newer than the view: step over
			at = v.h.prevOf(at)
			continue
		}
		e := v.at(at - 1)
		out = append(out, e)
		at = e.prev
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return uniqueEntries(out)
}

func (h *head) prevOf(at uint32) uint32 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	i := at - 1
	return h.chunks[i>>chunkShift][i&(chunkLen-1)].prev
}

// uniqueEntries keeps the first of every span id. Short lists are compared pair by pair.
func uniqueEntries(es []*entry) []*entry {
	if len(es) < 2 {
		return es
	}
	out := es[:0]
	if len(es) <= 16 {
	next:
		for _, e := range es {
			for _, o := range out {
				if o.id == e.id {
					continue next
				}
			}
			out = append(out, e)
		}
		return out
	}
	seen := make(map[store.SpanID]struct{}, len(es))
	for _, e := range es {
		if _, dup := seen[e.id]; !dup {
			seen[e.id] = struct{}{}
			out = append(out, e)
		}
	}
	return out
}

// trace decodes all spans of a trace.
func (v *view) trace(id store.TraceID) []store.Span {
	es := v.chain(id)
	if len(es) == 0 {
		return nil
	}
	out := make([]store.Span, len(es))
	var arena []store.Attr
	for i, e := range es {
		v.recs[e.rec].decode(e.off, &out[i], &arena)
	}
	return out
}
