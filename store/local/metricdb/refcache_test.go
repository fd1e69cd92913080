package metricdb

import (
	"testing"

	"pgregory.net/rapid"
)

// TestRefCache compares the cache with a map: it may forget, but never answers wrongly.
func TestRefCache(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		forgot := 0
		c := newRefCache(refCacheMin, func() { forgot++ })
		model := map[sum]uint64{}
		draw := func(t *rapid.T) sum {
			// Low bits collide on purpose.
			return sum{a: rapid.Uint64Range(0, 3).Draw(t, "slot") | rapid.Uint64Range(0, 2000).Draw(t, "a")<<10, b: rapid.Uint64Range(0, 1).Draw(t, "b")}
		}
		look := func(t *rapid.T, s sum) {
			if e := c.find(s); e != nil && e.ref != model[s] {
				t.Fatalf("%v: reference %d, want %d", s, e.ref, model[s])
			} else if e == nil && model[s] != 0 && forgot == 0 {
				t.Fatalf("%v: forgotten too early", s)
			}
		}
		ref := uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"insert": func(t *rapid.T) {
				for range rapid.IntRange(1, 300).Draw(t, "n") {
					s := sum{a: rapid.Uint64().Draw(t, "any"), b: 9}
					if rapid.Bool().Draw(t, "collide") {
						s = draw(t)
					}
					look(t, s)
					if c.find(s) == nil {
						ref++
						c.insert(s, ref)
						model[s] = ref
						look(t, s)
					}
				}
			},
			"find": func(t *rapid.T) { look(t, draw(t)) },
			"age": func(t *rapid.T) {
				c.age()
				forgot++
			},
		})
		n := 0
		for _, e := range c.slots {
			if e.ref != 0 {
				n++
			}
		}
		if n != c.used || c.used > c.limit || len(c.slots) > 2*refCacheMin {
			t.Fatalf("%d entries, %d counted, limit %d, %d slots", n, c.used, c.limit, len(c.slots))
		}
	})
}

func TestSeriesSum(t *testing.T) {
	h := newHasher()
	sym := h.symbols(nil, []string{"a", "b", "c", "", "a"})
	seen := map[sum]string{}
	for name, refs := range map[string][]uint32{"ab": {0, 1}, "ba": {1, 0}, "abc": {0, 1, 2, 3}, "acb": {0, 2, 1, 3}, "aa": {0, 0}, "bb": {1, 1}, "a": {0, 3}} {
		s, ok := h.series(sym, refs)
		if !ok {
			t.Errorf("%s: not ok", name)
		}
		if other, dup := seen[s]; dup {
			t.Errorf("%s and %s have the same sum", name, other)
		}
		seen[s] = name
	}
	if a, b := h, h; true { // equal text, different reference
		x, _ := a.series(sym, []uint32{0, 1})
		y, _ := b.series(sym, []uint32{4, 1})
		if x != y {
			t.Error("sums depend on the reference, not on the text")
		}
	}
	for _, refs := range [][]uint32{nil, {0}, {0, 1, 2}, {0, 9}, {9, 0}} {
		if _, ok := h.series(sym, refs); ok {
			t.Errorf("%v: ok", refs)
		}
	}
}
