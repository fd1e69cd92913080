package remotewrite

import (
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

// Bounds of a dictionary. Beyond them it is thrown away between two batches and learnt again.
const (
	maxStrings     = 1 << 20
	maxStringBytes = 64 << 20
)

// home is the identity of one life of a dictionary. Series point at it, not at the dictionary, so that a
// forgotten series keeps no strings alive.
type home struct{ _ byte }

// dictionary numbers strings densely and remembers per number in which generation (batch) it was last written
// and under which reference.
type dictionary struct {
	home    *home
	numbers map[string]uint32
	strings []string
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
	d.windowGen, d.windowAdds, d.windowNeed = int(d.gen), 0, 1024+2*len(d.strings)
}

// number returns the dense number of v. Strings are cloned: labels share one large backing string.
func (d *dictionary) number(v string) uint32 {
	if n, ok := d.numbers[v]; ok {
		return n
	}
	n := uint32(len(d.strings))
	v = strings.Clone(v)
	d.numbers[v] = n
	d.strings = append(d.strings, v)
	d.marks = append(d.marks, mark{})
	d.bytes += len(v)
	return n
}

// adopt numbers all strings of s.
func (d *dictionary) adopt(s *Series) {
	s.ids = s.ids[:0]
	if cap(s.ids) == 0 {
		s.ids = make([]uint32, 0, int(s.refs)+2)
	}
	s.labels.Range(func(l labels.Label) {
		s.ids = append(s.ids, d.number(l.Name), d.number(l.Value))
	})
	if s.help != "" {
		s.ids = append(s.ids, d.number(s.help))
	}
	if s.unit != "" {
		s.ids = append(s.ids, d.number(s.unit))
	}
	s.home = d.home
}

// next begins the next generation and drops the dictionary when it is too large or mostly out of use.
func (d *dictionary) next() {
	d.gen++
	switch {
	case len(d.strings) > maxStrings || d.bytes > maxStringBytes || d.gen == 1<<31:
		d.clear()
	case int(d.gen)-d.windowGen >= 16 && d.windowAdds >= d.windowNeed:
		used := 0
		for _, m := range d.marks {
			if int(m.gen) >= d.windowGen {
				used++
			}
		}
		if 2*used < len(d.strings) {
			d.clear()
			return
		}
		d.startWindow()
	}
}
