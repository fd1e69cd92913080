package spandb

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/cespare/xxhash/v2"

	"github.com/weirhq/weir/store"
)

// A block is a folder:
//
//	spans.parquet  the spans
//	index.bin      bloom filters, then one entry per trace sorted by id
//	tags.json      attribute keys and some of their values
//	meta.json      what the rest means; small, kept in memory
const (
	fileSpans = "spans.parquet"
	fileIndex = "index.bin"
	fileTags  = "tags.json"
	fileMeta  = "meta.json"

	blockVersion = 1
	traceEntry   = 56 // bytes of an entry in index.bin
	maxNames     = 2000
	maxTagValues = 500
	maxTagKeys   = 2000
)

// blockMeta is meta.json. Times are Unix nanoseconds.
type blockMeta struct {
	Version    int         `json:"version"`
	Through    uint64      `json:"wal_through"` // log segments up to this one are in the block
	Created    int64       `json:"created"`
	MinStart   int64       `json:"min_start"`
	MaxStart   int64       `json:"max_start"`
	MaxEnd     int64       `json:"max_end"`
	Spans      int64       `json:"spans"`
	Traces     int64       `json:"traces"`
	Duplicates int64       `json:"duplicates"` // left out when the block was cut
	Bytes      int64       `json:"bytes"`      // of all files but this
	RowGroups  []groupMeta `json:"row_groups"`
	Services   []string    `json:"services"` // the first maxNames
	Names      []string    `json:"names"`
	Keys       []string    `json:"keys"`
	Roots      [][2]string `json:"roots"` // service and name of roots, by index in the trace entries
	Sets       [][]string  `json:"sets"`  // services of a trace, by index
	BloomSum   uint64      `json:"bloom_sum"`
	TraceBloom section     `json:"trace_bloom"`
	TraceIndex section     `json:"trace_index"`
}

// groupMeta describes a row group. FirstStart is the latest first start of its traces.
type groupMeta struct {
	Row         int64   `json:"row"`
	Rows        int64   `json:"rows"`
	MinStart    int64   `json:"min_start"`
	MaxStart    int64   `json:"max_start"`
	FirstStart  int64   `json:"first_start"`
	MaxDuration int64   `json:"max_duration"`
	Errors      int64   `json:"errors"`
	Tags        section `json:"tags"` // bloom filter over key=value of the row group
}

// section is a range of index.bin.
type section struct {
	At  int64 `json:"at"`
	Len int64 `json:"len"`
}

// traceInfo is what the index knows of a trace.
type traceInfo struct {
	id         store.TraceID
	start, end int64
	row        uint32
	rows       uint32
	errors     uint32
	root       uint32 // plus one; 0 = no root span in this block
	set        uint32
}

func (t *traceInfo) append(b []byte) []byte {
	b = append(b, t.id[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(t.start))
	b = binary.LittleEndian.AppendUint64(b, uint64(t.end))
	for _, v := range [...]uint32{t.row, t.rows, t.errors, t.root, t.set} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return binary.LittleEndian.AppendUint32(b, uint32(xxhash.Sum64(b[len(b)-traceEntry+4:])))
}

func parseTraceInfo(b []byte) (t traceInfo, ok bool) {
	if sum := uint32(xxhash.Sum64(b[:traceEntry-4])); binary.LittleEndian.Uint32(b[traceEntry-4:]) != sum {
		return t, false
	}
	copy(t.id[:], b)
	t.start = int64(binary.LittleEndian.Uint64(b[16:]))
	t.end = int64(binary.LittleEndian.Uint64(b[24:]))
	for i, p := range [...]*uint32{&t.row, &t.rows, &t.errors, &t.root, &t.set} {
		*p = binary.LittleEndian.Uint32(b[32+4*i:])
	}
	return t, true
}

// findTrace looks a trace up in the sorted entries of r.
func findTrace(r io.ReaderAt, s section, id store.TraceID) (t traceInfo, ok bool, err error) {
	var b [traceEntry]byte
	lo, hi := int64(0), s.Len/traceEntry
	for lo < hi {
		mid := (lo + hi) / 2
		if _, err := r.ReadAt(b[:], s.At+mid*traceEntry); err != nil {
			return t, false, fmt.Errorf("%w: trace index: %w", errBlock, err)
		}
		c := bytes.Compare(b[:16], id[:])
		if c == 0 {
			if t, ok = parseTraceInfo(b[:]); !ok {
				return t, false, fmt.Errorf("%w: trace index entry %d has a wrong checksum", errBlock, mid)
			}
			return t, true, nil
		}
		if c < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return t, false, nil
}

// A bloom filter of 64-byte lines: one line per key, seven bits in it, so a test reads one line from
// memory or disk. At twelve bits per key it says yes wrongly about once in 150.
const (
	bloomLine = 64
	bloomBits = 12
	bloomHash = 7
)

type bloom []byte

func newBloom(keys int) bloom {
	lines := max(1, (keys*bloomBits+bloomLine*8-1)/(bloomLine*8))
	return make(bloom, lines*bloomLine)
}

// bloomAt returns the line of a key in a filter of size bytes.
func bloomAt(size int64, h uint64) int64 {
	lines := uint64(size / bloomLine)
	return int64((h>>32)*lines>>32) * bloomLine
}

func (b bloom) add(h uint64) {
	line := b[bloomAt(int64(len(b)), h):][:bloomLine]
	for v, i := uint32(h)*2654435769|1, 0; i < bloomHash; i++ {
		bit := v >> 23
		line[bit>>3] |= 1 << (bit & 7)
		v = v*2654435769 + uint32(h)
	}
}

func lineHas(line []byte, h uint64) bool {
	for v, i := uint32(h)*2654435769|1, 0; i < bloomHash; i++ {
		bit := v >> 23
		if line[bit>>3]&(1<<(bit&7)) == 0 {
			return false
		}
		v = v*2654435769 + uint32(h)
	}
	return true
}

func (b bloom) has(h uint64) bool {
	if len(b) < bloomLine {
		return true
	}
	return lineHas(b[bloomAt(int64(len(b)), h):][:bloomLine], h)
}

// bloomOnDisk tests a filter without loading it; an error counts as yes.
func bloomOnDisk(r io.ReaderAt, s section, h uint64) bool {
	if s.Len < bloomLine {
		return true
	}
	var line [bloomLine]byte
	if _, err := r.ReadAt(line[:], s.At+bloomAt(s.Len, h)); err != nil {
		return true
	}
	return lineHas(line[:], h)
}

func hashTrace(id store.TraceID) uint64 { return xxhash.Sum64(id[:]) }

// hashTag is the hash of key=value.
func hashTag(key, value string) uint64 {
	return xxhash.Sum64String(key)*0x9E3779B97F4A7C15 ^ xxhash.Sum64String(value)
}

func hashTagText(key string, value []byte) uint64 {
	return xxhash.Sum64String(key)*0x9E3779B97F4A7C15 ^ xxhash.Sum64(value)
}

// spanEnd does not overflow.
func spanEnd(start, dur int64) int64 {
	if start > math.MaxInt64-dur {
		return math.MaxInt64
	}
	return start + dur
}
