package spool

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/weirhq/weir/collector/signal"
)

// A segment is a header of 64 bytes and records. A record is a header of 72 bytes and the body. Integers are little-endian.
//
//	segment: magic 8 | seq of the first record 8 | items of each signal before it 4×8 | crc32c of all that 4 | zero 12
//	record:  magic 4 | crc32c of what follows in the header 4 | seq 8 | body length 4 | crc32c of the body 4 | items 4 |
//	         kind 1 | encoding 1 | zero 2 | time of the append, Unix ms 8 | items of each signal before it 4×8
//
// The running item counts make a loss exact even when the header of the lost record cannot be read.
const (
	signals       = 4
	segmentHeader = 64
	recordHeader  = 72
	segmentMagic  = "weirspl1"
	recordMagic   = 0x31525357 // "WSR1"
)

// Encoding says how the body of a record is compressed. The numbers are written to disk.
type Encoding uint8

// Encodings.
const (
	Identity Encoding = 0
	Zstd     Encoding = 1
	Snappy   Encoding = 2 // block format, as remote write has it
	Gzip     Encoding = 3
)

// String returns the name used in Content-Encoding; empty for Identity.
func (e Encoding) String() string {
	switch e {
	case Zstd:
		return "zstd"
	case Snappy:
		return "snappy"
	case Gzip:
		return "gzip"
	default:
		return ""
	}
}

// Record is one request as it was appended.
type Record struct {
	Seq      uint64
	Kind     signal.Kind
	Encoding Encoding
	Items    int
	At       int64 // time of the append, Unix ms
	Body     []byte
}

type header struct {
	position
	size  uint32 // of the body
	sum   uint32 // of the body
	items uint32
	kind  signal.Kind
	enc   Encoding
	at    int64
}

func checksum(p []byte) uint32 { return crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)) }

func (h *header) put(p []byte) {
	binary.LittleEndian.PutUint32(p, recordMagic)
	binary.LittleEndian.PutUint64(p[8:], h.seq)
	binary.LittleEndian.PutUint32(p[16:], h.size)
	binary.LittleEndian.PutUint32(p[20:], h.sum)
	binary.LittleEndian.PutUint32(p[24:], h.items)
	p[28], p[29], p[30], p[31] = byte(h.kind), byte(h.enc), 0, 0
	binary.LittleEndian.PutUint64(p[32:], uint64(h.at))
	putCum(p[40:], h.cum)
	binary.LittleEndian.PutUint32(p[4:], checksum(p[8:recordHeader]))
}

// parseHeader reads a record header; false when it is damaged or none.
func parseHeader(p []byte) (header, bool) {
	if len(p) < recordHeader || binary.LittleEndian.Uint32(p) != recordMagic ||
		binary.LittleEndian.Uint32(p[4:]) != checksum(p[8:recordHeader]) {
		return header{}, false
	}
	h := header{
		position: position{seq: binary.LittleEndian.Uint64(p[8:]), cum: getCum(p[40:])},
		size:     binary.LittleEndian.Uint32(p[16:]),
		sum:      binary.LittleEndian.Uint32(p[20:]),
		items:    binary.LittleEndian.Uint32(p[24:]),
		kind:     signal.Kind(p[28]),
		enc:      Encoding(p[29]),
		at:       int64(binary.LittleEndian.Uint64(p[32:])),
	}
	return h, slot(h.kind) >= 0
}

// after is the position behind the record.
func (h *header) after() position {
	p := h.position
	p.seq++
	p.cum[slot(h.kind)] += uint64(h.items)
	return p
}

// slot numbers the signals from 0; -1 for what is none.
func slot(k signal.Kind) int {
	if k < signal.Samples || k > signal.Cells {
		return -1
	}
	return int(k) - 1
}

func putPosition(p []byte, magic string, pos position) {
	copy(p, magic)
	binary.LittleEndian.PutUint64(p[8:], pos.seq)
	putCum(p[16:], pos.cum)
	binary.LittleEndian.PutUint32(p[48:], checksum(p[:48]))
}

func parsePosition(p []byte, magic string) (position, bool) {
	if len(p) < 52 || string(p[:8]) != magic || binary.LittleEndian.Uint32(p[48:]) != checksum(p[:48]) {
		return position{}, false
	}
	return position{seq: binary.LittleEndian.Uint64(p[8:]), cum: getCum(p[16:])}, true
}

func putCum(p []byte, cum [signals]uint64) {
	for i, v := range cum {
		binary.LittleEndian.PutUint64(p[8*i:], v)
	}
}

func getCum(p []byte) (cum [signals]uint64) {
	for i := range cum {
		cum[i] = binary.LittleEndian.Uint64(p[8*i:])
	}
	return cum
}
