package spandb

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/weirhq/weir/store"
)

// errRecord is a record that does not decode although its checksum is right.
var errRecord = errors.New("malformed span record")

// record is a decoded table of a record over its bytes.
type record struct {
	data []byte   // the spans
	strs []string // substrings of one copy
	res  []resource
	size int64 // bytes of memory, about
}

type resource struct {
	service, node, container string
	attrs                    []store.Attr
}

// reader walks a record. After the first error it returns zeros; look at bad once at the end.
type reader struct {
	b   []byte
	pos int
	rec *record
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b[min(r.pos, len(r.b)):])
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.pos += n
	return v
}

// count reads a number of things that take at least size bytes each, so that a wrong number cannot
// make us allocate more than the record is long.
func (r *reader) count(size int) int {
	v := r.uvarint()
	if v > uint64((len(r.b)-r.pos)/size) {
		r.bad = true
		return 0
	}
	return int(v)
}

func (r *reader) byte() byte {
	if r.pos >= len(r.b) {
		r.bad = true
		return 0
	}
	r.pos++
	return r.b[r.pos-1]
}

func (r *reader) u64() uint64 {
	if len(r.b)-r.pos < 8 {
		r.bad = true
		return 0
	}
	r.pos += 8
	return binary.LittleEndian.Uint64(r.b[r.pos-8:])
}

func (r *reader) bytes(dst []byte) {
	if len(r.b)-r.pos < len(dst) {
		r.bad = true
		return
	}
	r.pos += copy(dst, r.b[r.pos:])
}

func (r *reader) strID() uint32 {
	v := r.uvarint()
	if v >= uint64(len(r.rec.strs)) {
		r.bad = true
		return 0
	}
	return uint32(v)
}

func (r *reader) str() string {
	id := r.strID()
	if r.bad {
		return ""
	}
	return r.rec.strs[id]
}

func (r *reader) attrs(arena *[]store.Attr) []store.Attr {
	n := r.count(3)
	if n == 0 || r.bad {
		return nil
	}
	start := len(*arena)
	for range n {
		a := store.Attr{Key: r.str(), Kind: store.AttrKind(r.byte())}
		switch a.Kind {
		case store.AttrInt, store.AttrFloat, store.AttrBool:
			a.Num = r.u64()
		case store.AttrString, store.AttrJSON:
			a.Str = r.str()
		default:
			r.bad = true
		}
		if r.bad {
			return nil
		}
		*arena = append(*arena, a)
	}
	return (*arena)[start:len(*arena):len(*arena)]
}

// parseRecord reads the tables of data and keeps a copy of the bytes of its spans.
func parseRecord(data []byte) (rec *record, spans int, err error) {
	rec = &record{}
	r := reader{b: data, rec: rec}
	if v := r.byte(); v != recordVersion {
		return nil, 0, fmt.Errorf("%w: version %d", errRecord, v)
	}
	n := r.count(1)
	begin := r.pos
	for range n {
		r.pos += r.count(1)
	}
	if r.bad || n == 0 {
		return nil, 0, fmt.Errorf("%w: strings", errRecord)
	}
	blob := string(data[begin:r.pos])
	rec.strs = make([]string, n)
	pos := 0
	for i := range rec.strs {
		l, k := binary.Uvarint(data[begin+pos:])
		pos += k
		rec.strs[i] = blob[pos : pos+int(l)]
		pos += int(l)
	}
	n = r.count(4)
	rec.res = make([]resource, 0, n)
	for range n {
		res := resource{service: r.str(), node: r.str(), container: r.str()}
		var own []store.Attr
		res.attrs = r.attrs(&own)
		rec.res = append(rec.res, res)
	}
	spans = r.count(52)
	if r.bad {
		return nil, 0, fmt.Errorf("%w: resources", errRecord)
	}
	rec.data = append([]byte(nil), data[r.pos:]...)
	rec.size = int64(len(rec.data) + len(blob) + 16*len(rec.strs) + 2*(r.pos-begin-len(blob)) + 200)
	return rec, spans, nil
}

// replayRecord parses data wholly and returns its entries; after it decoding cannot fail.
func replayRecord(data []byte) (*record, []entry, error) {
	rec, n, err := parseRecord(data)
	if err != nil {
		return nil, nil, err
	}
	r := reader{b: rec.data, rec: rec}
	entries := make([]entry, 0, n)
	var s store.Span
	var arena []store.Attr
	for range n {
		off := uint32(r.pos)
		arena = arena[:0]
		name, res := r.span(&s, &arena)
		if r.bad {
			return nil, nil, fmt.Errorf("%w: span %d of %d", errRecord, len(entries), n)
		}
		entries = append(entries, entry{
			trace: s.Trace, id: s.ID, start: s.Start, dur: s.Duration, off: off,
			name: name, res: res, kind: s.Kind, status: s.Status,
		})
	}
	return rec, entries, nil
}

// span reads the next span; its attributes are put into arena.
func (r *reader) span(s *store.Span, arena *[]store.Attr) (name, res uint32) {
	*s = store.Span{}
	r.bytes(s.Trace[:])
	r.bytes(s.ID[:])
	r.bytes(s.Parent[:])
	s.Start = int64(r.u64())
	s.Duration = int64(r.uvarint())
	s.Kind, s.Status = store.SpanKind(r.byte()), store.SpanStatus(r.byte())
	id := r.uvarint()
	if r.bad || id >= uint64(len(r.rec.res)) || s.Duration < 0 {
		r.bad = true
		return 0, 0
	}
	res = uint32(id)
	in := &r.rec.res[res]
	s.Service, s.Node, s.Container, s.Resource = in.service, in.node, in.container, in.attrs
	name = r.strID()
	if r.bad {
		return 0, 0
	}
	s.Name = r.rec.strs[name]
	s.Scope, s.StatusMsg, s.TraceState = r.str(), r.str(), r.str()
	s.Dropped = uint32(r.uvarint())
	s.Attrs = r.attrs(arena)
	if n := r.count(10); n > 0 {
		s.Events = make([]store.SpanEvent, 0, n)
		for range n {
			ev := store.SpanEvent{Time: int64(r.u64()), Name: r.str(), Attrs: r.attrs(arena)}
			s.Events = append(s.Events, ev)
		}
	}
	if n := r.count(25); n > 0 {
		s.Links = make([]store.SpanLink, 0, n)
		for range n {
			var l store.SpanLink
			r.bytes(l.Trace[:])
			r.bytes(l.Span[:])
			l.Attrs = r.attrs(arena)
			s.Links = append(s.Links, l)
		}
	}
	return name, res
}

// decode returns the span at off of a record that was encoded or replayed here.
func (rec *record) decode(off uint32, s *store.Span, arena *[]store.Attr) {
	r := reader{b: rec.data, pos: int(off), rec: rec}
	r.span(s, arena)
}
