// Package pbuf walks over protobuf messages without copying and without generated types.
//
// Bytes come from the bodies that ingest's doors have read; promwrite and otlp build their values from the fields.
package pbuf

import (
	"encoding/binary"
	"errors"
	"math"
	"unsafe"
)

// What can be wrong with a message.
var (
	ErrVarint = errors.New("varint is cut off or longer than 64 bits")
	ErrTag    = errors.New("field number 0 or beyond 2^29")
	ErrCut    = errors.New("field is longer than what is left")
	ErrWire   = errors.New("wire type does not fit the field")
	ErrGroup  = errors.New("groups are not supported")
)

// Wire types of protobuf.
const (
	WireVarint = 0
	WireFixed8 = 1
	WireBytes  = 2
	WireFixed4 = 5
)

// Reader walks over one protobuf message. The whole body stays in buf, so positions are offsets in it.
type Reader struct {
	Buf      []byte
	Pos, End int
	// The field last read by Next.
	Field int
	Wire  int
	Num   uint64 // value of a varint or fixed field
	From  int    // start of a length-delimited field; it ends at Pos
}

// Uvarint reads a bare varint.
func (r *Reader) Uvarint() (uint64, error) {
	b := r.Buf[r.Pos:r.End]
	if len(b) > 0 && b[0] < 0x80 {
		r.Pos++
		return uint64(b[0]), nil
	}
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, ErrVarint
	}
	r.Pos += n
	return v, nil
}

// Next reads one field; false at the end of the message.
func (r *Reader) Next() (bool, error) {
	if r.Pos >= r.End {
		return false, nil
	}
	tag, err := r.Uvarint()
	if err != nil {
		return false, err
	}
	if tag>>3 == 0 || tag > math.MaxUint32 {
		return false, ErrTag
	}
	r.Field, r.Wire = int(tag>>3), int(tag&7)
	switch r.Wire {
	case WireVarint:
		r.Num, err = r.Uvarint()
		return true, err
	case WireFixed8:
		if r.End-r.Pos < 8 {
			return false, ErrCut
		}
		r.Num = binary.LittleEndian.Uint64(r.Buf[r.Pos:])
		r.Pos += 8
	case WireFixed4:
		if r.End-r.Pos < 4 {
			return false, ErrCut
		}
		r.Num = uint64(binary.LittleEndian.Uint32(r.Buf[r.Pos:]))
		r.Pos += 4
	case WireBytes:
		n, err := r.Uvarint()
		if err != nil {
			return false, err
		}
		if n > uint64(r.End-r.Pos) {
			return false, ErrCut
		}
		r.From = r.Pos
		r.Pos += int(n)
	default:
		return false, ErrGroup
	}
	return true, nil
}

// Of returns a Reader over a whole message.
func Of(b []byte) Reader { return Reader{Buf: b, End: len(b)} }

// Sub returns a Reader over the length-delimited field just read.
func (r *Reader) Sub() Reader { return Reader{Buf: r.Buf, Pos: r.From, End: r.Pos} }

// Str returns the field just read as a string over the body.
func (r *Reader) Str() string {
	if r.From == r.Pos {
		return ""
	}
	return unsafe.String(&r.Buf[r.From], r.Pos-r.From)
}

// Need checks the wire type of the field just read.
func (r *Reader) Need(wire int) error {
	if r.Wire != wire {
		return ErrWire
	}
	return nil
}

// Unzigzag decodes a signed varint.
func Unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// Varints appends the values of a repeated varint field, packed or not.
func Varints[T any](r *Reader, dst []T, conv func(uint64) T) ([]T, error) {
	if r.Wire == WireVarint {
		return append(dst, conv(r.Num)), nil
	}
	if r.Wire != WireBytes {
		return dst, ErrWire
	}
	s := r.Sub()
	for s.Pos < s.End {
		v, err := s.Uvarint()
		if err != nil {
			r.Pos = s.Pos
			return dst, err
		}
		dst = append(dst, conv(v))
	}
	return dst, nil
}

// Doubles appends the values of a repeated double field, packed or not.
func Doubles(r *Reader, dst []float64) ([]float64, error) {
	if r.Wire == WireFixed8 {
		return append(dst, math.Float64frombits(r.Num)), nil
	}
	if r.Wire != WireBytes {
		return dst, ErrWire
	}
	if (r.Pos-r.From)%8 != 0 {
		return dst, ErrCut
	}
	for i := r.From; i < r.Pos; i += 8 {
		dst = append(dst, math.Float64frombits(binary.LittleEndian.Uint64(r.Buf[i:])))
	}
	return dst, nil
}
