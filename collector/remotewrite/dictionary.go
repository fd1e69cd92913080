package remotewrite

import (
	"strings"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
)

// Bounds of a dictionary. Beyond them it is thrown away between two batches and learnt again.
const (
	maxStrings     = 1 << 20
	maxStringBytes = 64 << 20
)

// home holds the strings of one life of a dictionary; they only become more. Series point at it: when the dictionary
// begins another life, lean series bring their strings along as they are used, and the last one lets go of the old home.
type home struct {
	mu      sync.Mutex // the owner of the batch appends under it and reads without; others read under it
	strings []string
}

// texts returns the strings of the numbers.
func (h *home) texts(ids []uint32) []string {
	list := make([]string, len(ids))
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, id := range ids {
		list[i] = h.strings[id]
	}
	return list
}

// dictionary numbers strings densely and remembers per number in which generation (batch) it was last written
// and under which reference.
type dictionary struct {
	home    *home
	numbers map[string]uint32
	bytes   int
	marks   []mark
	gen     uint32

	// A window of many batches, at whose end strings that nobody used are found.
	windowGen, windowAdds, windowNeed int
}

type mark struct{ gen, ref uint32 }

func (d *dictionary) clear() {
	*d = dictionary{home: &home{}, numbers: make(map[string]uint32), gen: 1}
	d.startWindow()
}

func (d *dictionary) startWindow() {
	d.windowGen, d.windowAdds, d.windowNeed = int(d.gen), 0, 1024+2*len(d.marks)
}

// number returns the dense number of v. Strings are cloned: labels share one large backing string.
func (d *dictionary) number(v string) uint32 {
	if n, ok := d.numbers[v]; ok {
		return n
	}
	n := uint32(len(d.marks))
	v = strings.Clone(v)
	d.numbers[v] = n
	d.home.mu.Lock()
	d.home.strings = append(d.home.strings, v)
	d.home.mu.Unlock()
	d.marks = append(d.marks, mark{})
	d.bytes += len(v)
	return n
}

// adopt numbers all strings of s, which come from where it was before.
func (d *dictionary) adopt(s *Series) {
	if s.own == nil {
		for i, v := range s.home.texts(s.ids) {
			s.ids[i] = d.number(v)
		}
		s.home = d.home
		return
	}
	n := int(s.refs)
	if s.help {
		n++
	}
	if s.unit {
		n++
	}
	if s.ids = s.ids[:0]; cap(s.ids) < n {
		s.ids = make([]uint32, 0, n)
	}
	s.own.labels.Range(func(l labels.Label) {
		s.ids = append(s.ids, d.number(l.Name), d.number(l.Value))
	})
	if s.help {
		s.ids = append(s.ids, d.number(s.own.help))
	}
	if s.unit {
		s.ids = append(s.ids, d.number(s.own.unit))
	}
	if s.home = d.home; s.lean {
		s.own = nil
	}
}

// next begins the next generation and drops the dictionary when it is too large or mostly out of use.
func (d *dictionary) next() {
	d.gen++
	switch {
	case len(d.marks) > maxStrings || d.bytes > maxStringBytes || d.gen == 1<<31:
		d.clear()
	case int(d.gen)-d.windowGen >= 16 && d.windowAdds >= d.windowNeed:
		used := 0
		for _, m := range d.marks {
			if int(m.gen) >= d.windowGen {
				used++
			}
		}
		if 2*used < len(d.marks) {
			d.clear()
			return
		}
		d.startWindow()
	}
}
