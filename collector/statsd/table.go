package statsd

import (
	"bytes"
	"unsafe"
)

// entry is a series as one sender writes it: the raw bytes of name, tags and container field, and who sent them.
// It holds what came since the last merge.
type entry struct {
	hash    uint64
	key     []byte // name, tags and container field, one after the other
	nameLen uint32
	tagsLen uint32
	from    *sender
	kind    kind
	dirty   bool
	value   float64 // counter: sum; gauge: value, or sum of deltas when stamp is 0
	stamp   int64   // gauge: when it was set
	hist    *hist
	members map[uint64]struct{}
	series  *series
}

// table finds entries by open addressing. One reader writes it.
type table struct {
	slots   []slot // a power of two, at most half of it used
	entries []entry
}

type slot struct {
	tag  uint32 // upper half of the hash
	next uint32 // index in entries + 1; 0 = free
}

func newTable() table { return table{slots: make([]slot, 1024)} }

func (t *table) find(hash uint64, l *line, from *sender) *entry {
	mask := uint64(len(t.slots) - 1)
	tag := uint32(hash >> 32)
	for i := hash & mask; ; i = (i + 1) & mask {
		s := t.slots[i]
		if s.next == 0 {
			return nil
		}
		if s.tag != tag {
			continue
		}
		if e := &t.entries[s.next-1]; e.hash == hash && e.is(l, from) {
			return e
		}
	}
}

func (e *entry) is(l *line, from *sender) bool {
	n, t := int(e.nameLen), int(e.nameLen+e.tagsLen)
	return e.from == from && e.kind == l.kind && n == len(l.name) && t-n == len(l.tags) && len(e.key)-t == len(l.container) &&
		bytes.Equal(e.key[:n], l.name) && bytes.Equal(e.key[n:t], l.tags) && bytes.Equal(e.key[t:], l.container)
}

func (t *table) insert(e entry) *entry {
	if len(t.entries)*2 >= len(t.slots) {
		t.resize(len(t.slots) * 2)
	}
	t.entries = append(t.entries, e)
	t.link(e.hash, uint32(len(t.entries)))
	return &t.entries[len(t.entries)-1]
}

func (t *table) link(hash uint64, next uint32) {
	mask := uint64(len(t.slots) - 1)
	i := hash & mask
	for t.slots[i].next != 0 {
		i = (i + 1) & mask
	}
	t.slots[i] = slot{uint32(hash >> 32), next}
}

func (t *table) resize(n int) {
	t.slots = make([]slot, n)
	for i := range t.entries {
		t.link(t.entries[i].hash, uint32(i+1))
	}
}

// forget removes the entries of series that are no longer sent and hold nothing to merge.
func (t *table) forget() {
	kept := t.entries[:0]
	for i := range t.entries {
		if e := &t.entries[i]; e.dirty || !e.series.dead {
			kept = append(kept, t.entries[i])
		}
	}
	clear(t.entries[len(kept):])
	t.entries = kept
	n := 1024
	for n < 4*len(kept) {
		n *= 2
	}
	if 4*len(kept) < cap(kept) {
		t.entries = append(make([]entry, 0, 2*len(kept)), kept...)
	}
	t.resize(n)
}

// index returns where e lies in the table.
func (t *table) index(e *entry) uint32 {
	return uint32((uintptr(unsafe.Pointer(e)) - uintptr(unsafe.Pointer(&t.entries[0]))) / unsafe.Sizeof(*e))
}
