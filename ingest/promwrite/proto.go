package promwrite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"unsafe"
)

// Error says what is wrong with a body and where. Such a body stores nothing and never becomes right.
type Error struct {
	What   string // what cannot be decoded, and why
	Byte   int    // offset in the uncompressed body
	Series int    // index of the series, -1 outside of one
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("cannot decode write request: ")
	if e.Series >= 0 {
		fmt.Fprintf(&b, "series %d, ", e.Series)
	}
	fmt.Fprintf(&b, "byte %d: %s", e.Byte, e.What)
	return b.String()
}

var (
	errVarint = errors.New("varint is cut off or longer than 64 bits")
	errTag    = errors.New("field number 0 or beyond 2^29")
	errCut    = errors.New("field is longer than what is left")
	errWire   = errors.New("wire type does not fit the field")
	errGroup  = errors.New("groups are not supported")
)

// Wire types of protobuf.
const (
	wireVarint = 0
	wireFixed8 = 1
	wireBytes  = 2
	wireFixed4 = 5
)

// reader walks over one protobuf message. The whole body stays in buf, so positions are offsets in it.
type reader struct {
	buf      []byte
	pos, end int
	// The field last read by next.
	field int
	wire  int
	num   uint64 // value of a varint or fixed field
	from  int    // start of a length-delimited field; it ends at pos
}

func (r *reader) uvarint() (uint64, error) {
	b := r.buf[r.pos:r.end]
	if len(b) > 0 && b[0] < 0x80 {
		r.pos++
		return uint64(b[0]), nil
	}
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, errVarint
	}
	r.pos += n
	return v, nil
}

// next reads one field; false at the end of the message.
func (r *reader) next() (bool, error) {
	if r.pos >= r.end {
		return false, nil
	}
	tag, err := r.uvarint()
	if err != nil {
		return false, err
	}
	if tag>>3 == 0 || tag > math.MaxUint32 {
		return false, errTag
	}
	r.field, r.wire = int(tag>>3), int(tag&7)
	switch r.wire {
	case wireVarint:
		r.num, err = r.uvarint()
		return true, err
	case wireFixed8:
		if r.end-r.pos < 8 {
			return false, errCut
		}
		r.num = binary.LittleEndian.Uint64(r.buf[r.pos:])
		r.pos += 8
	case wireFixed4:
		if r.end-r.pos < 4 {
			return false, errCut
		}
		r.num = uint64(binary.LittleEndian.Uint32(r.buf[r.pos:]))
		r.pos += 4
	case wireBytes:
		n, err := r.uvarint()
		if err != nil {
			return false, err
		}
		if n > uint64(r.end-r.pos) { //nolint:gosec // pos never passes end
			return false, errCut
		}
		r.from = r.pos
		r.pos += int(n) //nolint:gosec // bounded by the line above
	default:
		return false, errGroup
	}
	return true, nil
}

// sub returns a reader over the length-delimited field just read.
func (r *reader) sub() reader { return reader{buf: r.buf, pos: r.from, end: r.pos} }

// str returns the field just read as a string over the body.
func (r *reader) str() string {
	if r.from == r.pos {
		return ""
	}
	return unsafe.String(&r.buf[r.from], r.pos-r.from)
}

// need checks the wire type of the field just read.
func (r *reader) need(wire int) error {
	if r.wire != wire {
		return errWire
	}
	return nil
}

func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) } //nolint:gosec // the definition of zigzag

// varints appends the values of a repeated varint field, packed or not.
func varints[T any](r *reader, dst []T, conv func(uint64) T) ([]T, error) {
	if r.wire == wireVarint {
		return append(dst, conv(r.num)), nil
	}
	if r.wire != wireBytes {
		return dst, errWire
	}
	s := r.sub()
	for s.pos < s.end {
		v, err := s.uvarint()
		if err != nil {
			r.pos = s.pos
			return dst, err
		}
		dst = append(dst, conv(v))
	}
	return dst, nil
}

// doubles appends the values of a repeated double field, packed or not.
func doubles(r *reader, dst []float64) ([]float64, error) {
	if r.wire == wireFixed8 {
		return append(dst, math.Float64frombits(r.num)), nil
	}
	if r.wire != wireBytes {
		return dst, errWire
	}
	if (r.pos-r.from)%8 != 0 {
		return dst, errCut
	}
	for i := r.from; i < r.pos; i += 8 {
		dst = append(dst, math.Float64frombits(binary.LittleEndian.Uint64(r.buf[i:])))
	}
	return dst, nil
}
