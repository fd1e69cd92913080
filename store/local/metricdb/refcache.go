package metricdb

import (
	"hash/maphash"
	"math"
	"math/bits"
	"slices"

	"github.com/weirhq/weir/store"
)

// sum is a 128-bit hash of the label bytes of a series, keyed anew in each process, so nobody can
// send two label sets that collide on purpose.
type sum struct{ a, b uint64 }

// hasher hashes the series of a batch. Each symbol is hashed once per batch, a series folds the sums of its symbols:
// label names and common values recur in every series.
type hasher struct {
	seedA, seedB maphash.Seed
}

func newHasher() hasher { return hasher{maphash.MakeSeed(), maphash.MakeSeed()} }

// symbols appends the sum of each symbol to dst.
func (h hasher) symbols(dst []sum, symbols []string) []sum {
	dst = slices.Grow(dst, len(symbols))
	for _, s := range symbols {
		dst = append(dst, sum{maphash.String(h.seedA, s), maphash.String(h.seedB, s)})
	}
	return dst
}

// series folds the sums of a label set; ok is false when a reference points outside the symbols or a value is missing.
func (h hasher) series(symbols []sum, refs []uint32) (s sum, ok bool) {
	if len(refs) == 0 || len(refs)%2 != 0 {
		return sum{}, false
	}
	a, b := uint64(len(refs)), uint64(len(refs))
	for _, r := range refs {
		if int(r) >= len(symbols) {
			return sum{}, false
		}
		y := &symbols[r]
		a = bits.RotateLeft64((a^y.a)*0x9e3779b97f4a7c15, 29)
		b = bits.RotateLeft64((b^y.b)*0xd6e8feb86659fd93, 31)
	}
	return sum{a, b}, true
}

// What is known of the last sample of a series.
const (
	kindUnknown uint8 = iota // the series may hold newer samples than lastT says
	kindFloat
	kindHistogram
	kindFloatHistogram
)

// entry is what an append needs to know of a series without touching its labels.
type entry struct {
	sum   sum
	ref   uint64 // 0 marks a free slot
	lastT int64
	lastV uint64 // bits of the float at lastT, when kind is kindFloat
	gen   uint32 // generation of the last use
	kind  uint8
}

// refCache maps label sums to series references: open addressing in one flat slice, so a lookup costs one cache miss.
// Its owner serialises access.
type refCache struct {
	slots []entry
	used  int
	limit int // entries
	// onForget is called when entries go to make room.
	onForget func()
	gen      uint32
}

const refCacheMin = 1 << 10

func newRefCache(limit int, onForget func()) *refCache {
	return &refCache{slots: make([]entry, refCacheMin), limit: max(limit, refCacheMin/2), onForget: onForget}
}

// find returns the entry of s, or nil. The pointer is good until the next insert.
func (c *refCache) find(s sum) *entry {
	mask := uint64(len(c.slots) - 1)
	for i := s.a & mask; ; i = (i + 1) & mask {
		e := &c.slots[i]
		if e.ref == 0 {
			return nil
		}
		if e.sum == s {
			e.gen = c.gen
			return e
		}
	}
}

// insert adds a series that find did not find.
func (c *refCache) insert(s sum, ref uint64) *entry {
	if c.used >= c.limit {
		c.shrink()
	}
	if c.used >= len(c.slots)/5*4 {
		c.resize(len(c.slots)*2, func(*entry) bool { return true })
	}
	c.used++
	return c.place(entry{sum: s, ref: ref, gen: c.gen, lastT: math.MinInt64})
}

func (c *refCache) place(e entry) *entry {
	mask := uint64(len(c.slots) - 1)
	for i := e.sum.a & mask; ; i = (i + 1) & mask {
		if c.slots[i].ref == 0 {
			c.slots[i] = e
			return &c.slots[i]
		}
	}
}

func (c *refCache) resize(n int, keep func(*entry) bool) {
	old := c.slots
	c.slots, c.used = make([]entry, n), 0
	for i := range old {
		if old[i].ref != 0 && keep(&old[i]) {
			c.place(old[i])
			c.used++
		}
	}
}

// shrink makes room: entries not used since the last generation go; when that is too few, all go.
func (c *refCache) shrink() {
	c.resize(len(c.slots), func(e *entry) bool { return c.gen-e.gen <= 1 })
	if c.used > c.limit/4*3 {
		c.reset()
	}
	c.onForget()
}

// age starts a generation and gives back the memory of series that have not been written for two.
func (c *refCache) age() {
	c.gen++
	stale := 0
	for i := range c.slots {
		if c.slots[i].ref != 0 && c.gen-c.slots[i].gen > 2 {
			stale++
		}
	}
	if stale == 0 {
		return
	}
	n := len(c.slots)
	for n > refCacheMin && (c.used-stale) < n/4 {
		n /= 2
	}
	c.resize(n, func(e *entry) bool { return c.gen-e.gen <= 2 })
}

func (c *refCache) reset() {
	c.slots, c.used = make([]entry, refCacheMin), 0
}

// sums hashes every series of b into dst; a zero sum marks labels that cannot be read.
func (h hasher) sums(dst, scratch []sum, b *store.MetricBatch) (series, symbols []sum) {
	scratch = h.symbols(scratch[:0], b.Symbols)
	dst = slices.Grow(dst[:0], len(b.Series))
	for i := range b.Series {
		s, ok := h.series(scratch, b.Series[i].LabelRefs)
		if !ok {
			s = sum{}
		}
		dst = append(dst, s)
	}
	return dst, scratch
}
