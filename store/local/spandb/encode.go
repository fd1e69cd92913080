package spandb

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/weirhq/weir/store"
)

// A record is a batch of spans with its own table of strings and of resources, so that a damaged
// record takes no other with it. The same bytes lie in the log (compressed) and in the head:
//
//	version, n, n × (length, string), n, n × resource, n, n × span
//
// Numbers are uvarints, strings are indexes into the table, index 0 is "".
const recordVersion = 1

// entry is what the head knows of a span without decoding it. It holds no pointer, so that the
// garbage collector does not look at it.
type entry struct {
	trace  store.TraceID
	id     store.SpanID
	start  int64
	dur    int64
	rec    uint32 // index of the record in the head
	off    uint32 // of the span in the record
	prev   uint32 // entry before it of the same trace, plus one; 0 = none
	name   uint32 // string of the record
	res    uint32 // resource of the record
	kind   store.SpanKind
	status store.SpanStatus
}

// encoder builds one record. It is reused; it keeps no string of the caller after reset.
type encoder struct {
	limits   *Config
	ids      map[string]uint32
	strs     []byte
	nstr     uint32
	res      []byte
	nres     uint32
	resIDs   map[string]uint32
	resBuf   []byte
	last     resourceOf
	lastID   uint32
	spans    []byte
	out      []byte
	entries  []entry
	clipped  int // strings cut at a bound or made valid UTF-8
	leftOut  int // attributes, events, links over a bound
	haveLast bool
}

// resourceOf compares resources by identity of their slice, which is enough to catch the usual
// case that all spans of a batch share one.
type resourceOf struct {
	first                    *store.Attr
	n                        int
	service, node, container string
}

func newEncoder(limits *Config) *encoder {
	e := &encoder{limits: limits, ids: map[string]uint32{}, resIDs: map[string]uint32{}}
	e.reset()
	return e
}

func (e *encoder) reset() {
	clear(e.ids)
	clear(e.resIDs)
	e.strs, e.res, e.spans, e.entries = e.strs[:0], e.res[:0], e.spans[:0], e.entries[:0]
	e.nstr, e.nres, e.clipped, e.leftOut = 0, 0, 0, 0
	e.haveLast, e.last = false, resourceOf{}
	e.str("")
}

func (e *encoder) str(s string) uint32 {
	if id, ok := e.ids[s]; ok {
		return id
	}
	put := s
	if len(put) > e.limits.MaxAttributeBytes {
		put = clip(put, e.limits.MaxAttributeBytes)
		e.clipped++
	}
	if !utf8.ValidString(put) {
		put = strings.ToValidUTF8(put, "\uFFFD")
		e.clipped++
	}
	id := e.nstr
	e.nstr++
	e.ids[s] = id
	e.strs = binary.AppendUvarint(e.strs, uint64(len(put)))
	e.strs = append(e.strs, put...)
	return id
}

// clip cuts s to at most n bytes without splitting a rune.
func clip(s string, n int) string {
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func (e *encoder) attrs(dst []byte, as []store.Attr) []byte {
	if len(as) > e.limits.MaxAttributes {
		e.leftOut += len(as) - e.limits.MaxAttributes
		as = as[:e.limits.MaxAttributes]
	}
	dst = binary.AppendUvarint(dst, uint64(len(as)))
	for i := range as {
		a := &as[i]
		dst = binary.AppendUvarint(dst, uint64(e.str(a.Key)))
		dst = append(dst, byte(a.Kind))
		switch a.Kind {
		case store.AttrInt, store.AttrFloat, store.AttrBool:
			dst = binary.LittleEndian.AppendUint64(dst, canonical(a))
		case store.AttrString, store.AttrJSON:
			dst = binary.AppendUvarint(dst, uint64(e.str(a.Str)))
		default: // not a kind of the contract: kept as text
			dst[len(dst)-1] = byte(store.AttrString)
			dst = binary.AppendUvarint(dst, uint64(e.str(a.Str)))
		}
	}
	return dst
}

// canonical makes values that read the same equal bit by bit, as blocks keep them as text.
func canonical(a *store.Attr) uint64 {
	if a.Kind == store.AttrFloat && math.IsNaN(math.Float64frombits(a.Num)) {
		return math.Float64bits(math.NaN())
	}
	if a.Kind == store.AttrBool {
		return min(a.Num, 1)
	}
	return a.Num
}

func (e *encoder) resource(s *store.Span) uint32 {
	r := resourceOf{n: len(s.Resource), service: s.Service, node: s.Node, container: s.Container}
	if r.n > 0 {
		r.first = &s.Resource[0]
	}
	if e.haveLast && r == e.last {
		return e.lastID
	}
	b := e.resBuf[:0]
	b = binary.AppendUvarint(b, uint64(e.str(s.Service)))
	b = binary.AppendUvarint(b, uint64(e.str(s.Node)))
	b = binary.AppendUvarint(b, uint64(e.str(s.Container)))
	b = e.attrs(b, s.Resource)
	e.resBuf = b
	id, ok := e.resIDs[string(b)]
	if !ok {
		id = e.nres
		e.nres++
		e.resIDs[string(b)] = id
		e.res = append(e.res, b...)
	}
	e.last, e.lastID, e.haveLast = r, id, true
	return id
}

func (e *encoder) add(s *store.Span) {
	res := e.resource(s)
	dur := max(s.Duration, 0)
	dropped := uint64(s.Dropped)
	events, links := s.Events, s.Links
	if n := len(events) - e.limits.MaxEvents; n > 0 {
		events = events[:e.limits.MaxEvents]
		e.leftOut += n
		dropped += uint64(n)
	}
	if n := len(links) - e.limits.MaxLinks; n > 0 {
		links = links[:e.limits.MaxLinks]
		e.leftOut += n
		dropped += uint64(n)
	}
	if n := len(s.Attrs) - e.limits.MaxAttributes; n > 0 {
		dropped += uint64(n)
	}
	name := e.str(s.Name)
	e.entries = append(e.entries, entry{
		trace: s.Trace, id: s.ID, start: s.Start, dur: dur, off: uint32(len(e.spans)),
		name: name, res: res, kind: s.Kind, status: s.Status,
	})
	b := e.spans
	b = append(b, s.Trace[:]...)
	b = append(b, s.ID[:]...)
	b = append(b, s.Parent[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.Start))
	b = binary.AppendUvarint(b, uint64(dur))
	b = append(b, byte(s.Kind), byte(s.Status))
	b = binary.AppendUvarint(b, uint64(res))
	b = binary.AppendUvarint(b, uint64(name))
	b = binary.AppendUvarint(b, uint64(e.str(s.Scope)))
	b = binary.AppendUvarint(b, uint64(e.str(s.StatusMsg)))
	b = binary.AppendUvarint(b, uint64(e.str(s.TraceState)))
	b = binary.AppendUvarint(b, min(dropped, 1<<32-1))
	b = e.attrs(b, s.Attrs)
	b = binary.AppendUvarint(b, uint64(len(events)))
	for i := range events {
		b = binary.LittleEndian.AppendUint64(b, uint64(events[i].Time))
		b = binary.AppendUvarint(b, uint64(e.str(events[i].Name)))
		b = e.attrs(b, events[i].Attrs)
	}
	b = binary.AppendUvarint(b, uint64(len(links)))
	for i := range links {
		b = append(b, links[i].Trace[:]...)
		b = append(b, links[i].Span[:]...)
		b = e.attrs(b, links[i].Attrs)
	}
	e.spans = b
}

// finish returns the record, valid until the next finish, and its entries, which are the caller's.
func (e *encoder) finish() (data []byte, entries []entry) {
	data = e.out[:0]
	data = append(data, recordVersion)
	data = binary.AppendUvarint(data, uint64(e.nstr))
	data = append(data, e.strs...)
	data = binary.AppendUvarint(data, uint64(e.nres))
	data = append(data, e.res...)
	data = binary.AppendUvarint(data, uint64(len(e.entries)))
	data = append(data, e.spans...)
	e.out = data
	return data, slices.Clone(e.entries)
}
