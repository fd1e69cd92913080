package remotewrite

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
)

// Field tags: number<<3 | wire type (0 varint, 1 fixed 64, 2 bytes).
const (
	tagSymbol     = 4<<3 | 2
	tagTimeSeries = 5<<3 | 2

	tagLabelRefs  = 1<<3 | 2
	tagSample     = 2<<3 | 2
	tagHistogram  = 3<<3 | 2
	tagExemplar   = 4<<3 | 2
	tagMetadata   = 5<<3 | 2
	tagMetaType   = 1 << 3
	tagMetaHelp   = 3 << 3
	tagMetaUnit   = 4 << 3
	tagValue      = 1<<3 | 1
	tagTime       = 2 << 3
	tagStart      = 3 << 3
	tagExLabels   = 1<<3 | 2
	tagExValue    = 2<<3 | 1
	tagExTime     = 3 << 3
	maxSampleSize = 9 + 11 + 11
	maxVarint     = binary.MaxVarintLen32
)

// Batch collects samples and writes them as one request. It belongs to one goroutine. Its strings are numbered
// in a dictionary that outlives Reset; adding a sample of a known series allocates nothing once the buffers have grown.
type Batch struct {
	dict    dictionary
	symbols []byte // field symbols, encoded
	refs    uint32 // symbols written
	series  []byte // field timeseries, encoded
	scratch []byte
	items   int
}

// NewBatch returns an empty batch.
func NewBatch() *Batch {
	b := &Batch{}
	b.dict.clear()
	b.begin()
	return b
}

func (b *Batch) begin() {
	b.symbols = append(b.symbols[:0], tagSymbol, 0) // the first symbol is the empty string
	b.refs = 1
	b.series = b.series[:0]
	b.items = 0
}

// Reset empties the batch and keeps its buffers.
func (b *Batch) Reset() {
	b.dict.next()
	b.begin()
}

// Len returns how many samples and histograms were added since Reset.
func (b *Batch) Len() int { return b.items }

// Size returns how many bytes AppendTo writes.
func (b *Batch) Size() int { return len(b.symbols) + len(b.series) }

// AppendTo appends the batch to dst as an uncompressed io.prometheus.write.v2.Request.
func (b *Batch) AppendTo(dst []byte) []byte {
	dst = append(dst, b.symbols...)
	return append(dst, b.series...)
}

// Add adds a sample. Times are Unix milliseconds; start is when a counter began to count, 0 = unknown.
func (b *Batch) Add(s *Series, t, start int64, v float64) {
	var sample [maxSampleSize]byte
	p := appendSample(sample[:0], t, start, v)
	b.add(s, tagSample, p)
	b.items++
}

func appendSample(p []byte, t, start int64, v float64) []byte {
	if u := math.Float64bits(v); u != 0 {
		p = append(p, tagValue)
		p = binary.LittleEndian.AppendUint64(p, u)
	}
	if t != 0 {
		p = append(p, tagTime)
		p = binary.AppendUvarint(p, uint64(t))
	}
	if start != 0 {
		p = append(p, tagStart)
		p = binary.AppendUvarint(p, uint64(start))
	}
	return p
}

// AddHistogram adds a native histogram with integer counts. Nothing of h is kept.
func (b *Batch) AddHistogram(s *Series, t, start int64, h *histogram.Histogram) {
	b.scratch = appendHistogram(b.scratch[:0], t, start, h)
	b.add(s, tagHistogram, b.scratch)
	b.items++
}

// AddFloatHistogram adds a native histogram with float counts. Nothing of h is kept.
func (b *Batch) AddFloatHistogram(s *Series, t, start int64, h *histogram.FloatHistogram) {
	b.scratch = appendFloatHistogram(b.scratch[:0], t, start, h)
	b.add(s, tagHistogram, b.scratch)
	b.items++
}

// AddExemplar adds an exemplar of s. It does not count in Len: the door counts samples and histograms.
func (b *Batch) AddExemplar(s *Series, t int64, v float64, ls labels.Labels) {
	var refs [32]uint32
	r := refs[:0]
	ls.Range(func(l labels.Label) {
		r = append(r, b.ref(b.dict.number(l.Name)), b.ref(b.dict.number(l.Value)))
	})
	p := b.scratch[:0]
	if n := sizeRefs(r); n > 0 {
		p = append(p, tagExLabels)
		p = binary.AppendUvarint(p, uint64(n))
		for _, ref := range r {
			p = binary.AppendUvarint(p, uint64(ref))
		}
	}
	if u := math.Float64bits(v); u != 0 {
		p = append(p, tagExValue)
		p = binary.LittleEndian.AppendUint64(p, u)
	}
	if t != 0 {
		p = append(p, tagExTime)
		p = binary.AppendUvarint(p, uint64(t))
	}
	b.scratch = p
	b.add(s, tagExemplar, p)
}

// ref returns the reference of string number n in this request, writing the string when it is its first use.
func (b *Batch) ref(n uint32) uint32 {
	m := &b.dict.marks[n]
	if m.gen == b.dict.gen {
		return m.ref
	}
	v := b.dict.home.strings[n]
	if v == "" {
		return 0
	}
	*m = mark{gen: b.dict.gen, ref: b.refs}
	b.refs++
	b.symbols = append(b.symbols, tagSymbol)
	b.symbols = binary.AppendUvarint(b.symbols, uint64(len(v)))
	b.symbols = append(b.symbols, v...)
	return m.ref
}

// add writes one TimeSeries message: labels, payload under its tag, metadata.
func (b *Batch) add(s *Series, tag byte, payload []byte) {
	if s.home != b.dict.home {
		b.dict.adopt(s)
	}
	b.dict.windowAdds++

	// The lengths that go before the labels and before the whole hardly ever take more than a byte each: room for that
	// is left, and where it was too little, all moves up.
	const head = 4
	ids, n := s.ids, int(s.refs)
	start := len(b.series)
	p := slices.Grow(b.series, head+5*len(ids)+len(payload)+maxVarint+16+2*maxVarint)[:start+head]
	gen := b.dict.gen
	for _, id := range ids[:n] {
		m := b.dict.marks[id]
		if m.gen != gen {
			m.ref = b.ref(id)
		}
		if m.ref < 0x80 {
			p = append(p, byte(m.ref))
		} else {
			p = binary.AppendUvarint(p, uint64(m.ref))
		}
	}
	sizeLabels := len(p) - start - head
	p = append(p, tag)
	p = binary.AppendUvarint(p, uint64(len(payload)))
	p = append(p, payload...)
	p = b.appendMeta(p, s, ids[n:])

	size := len(p) - start - head
	if sizeLabels > 0 {
		size += 1 + sizeVarint(uint32(sizeLabels))
	}
	if sizeLabels > 0 && sizeLabels < 0x80 && size < 0x80 {
		p[start], p[start+1], p[start+2], p[start+3] = tagTimeSeries, byte(size), tagLabelRefs, byte(sizeLabels)
		b.series = p
		return
	}
	h := append(make([]byte, 0, 2+2*maxVarint), tagTimeSeries)
	h = binary.AppendUvarint(h, uint64(size))
	if sizeLabels > 0 {
		h = append(h, tagLabelRefs)
		h = binary.AppendUvarint(h, uint64(sizeLabels))
	}
	b.series = slices.Replace(p, start, start+head, h...)
}

// appendMeta appends the metadata of s, where it has any; ids are the numbers of its help and unit.
func (b *Batch) appendMeta(p []byte, s *Series, ids []uint32) []byte {
	if s.kind == 0 && len(ids) == 0 {
		return p
	}
	at := len(p)
	p = append(p, tagMetadata, 0)
	if s.kind != 0 {
		p = append(p, tagMetaType, s.kind)
	}
	if s.help {
		p = append(p, tagMetaHelp)
		p = binary.AppendUvarint(p, uint64(b.ref(ids[0])))
		ids = ids[1:]
	}
	if s.unit {
		p = append(p, tagMetaUnit)
		p = binary.AppendUvarint(p, uint64(b.ref(ids[0])))
	}
	p[at+1] = byte(len(p) - at - 2) // 14 at most
	return p
}

func sizeVarint(v uint32) int { return (bits.Len32(v|1) + 6) / 7 }

func sizeVarint64(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

func sizeRefs(refs []uint32) int {
	n := 0
	for _, r := range refs {
		n += sizeVarint(r)
	}
	return n
}
