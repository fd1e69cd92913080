package remotewrite

import (
	"encoding/binary"
	"math"

	"github.com/prometheus/prometheus/model/histogram"
)

// Fields of io.prometheus.write.v2.Histogram: number<<3 | wire type. From 16 on a tag takes two bytes.
const (
	tagCountInt      = 1 << 3
	tagCountFloat    = 2<<3 | 1
	tagSum           = 3<<3 | 1
	tagSchema        = 4 << 3
	tagZeroThreshold = 5<<3 | 1
	tagZeroInt       = 6 << 3
	tagZeroFloat     = 7<<3 | 1
	tagNegSpans      = 8<<3 | 2
	tagNegDeltas     = 9<<3 | 2
	tagNegCounts     = 10<<3 | 2
	tagPosSpans      = 11<<3 | 2
	tagPosDeltas     = 12<<3 | 2
	tagPosCounts     = 13<<3 | 2
	tagResetHint     = 14 << 3
	tagHistTime      = 15 << 3
	tagCustomValues  = 16<<3 | 2
	tagHistStart     = 17 << 3

	tagOffset = 1 << 3
	tagLength = 2 << 3
)

func appendHistogram(p []byte, t, start int64, h *histogram.Histogram) []byte {
	// count and zero_count are oneofs: they are written also when zero.
	p = append(p, tagCountInt)
	p = binary.AppendUvarint(p, h.Count)
	p = appendShape(p, h.Sum, h.Schema, h.ZeroThreshold)
	p = append(p, tagZeroInt)
	p = binary.AppendUvarint(p, h.ZeroCount)
	p = appendSpans(p, tagNegSpans, h.NegativeSpans)
	p = appendDeltas(p, tagNegDeltas, h.NegativeBuckets)
	p = appendSpans(p, tagPosSpans, h.PositiveSpans)
	p = appendDeltas(p, tagPosDeltas, h.PositiveBuckets)
	return appendTail(p, t, start, h.CounterResetHint, h.CustomValues)
}

func appendFloatHistogram(p []byte, t, start int64, h *histogram.FloatHistogram) []byte {
	p = append(p, tagCountFloat)
	p = binary.LittleEndian.AppendUint64(p, math.Float64bits(h.Count))
	p = appendShape(p, h.Sum, h.Schema, h.ZeroThreshold)
	p = append(p, tagZeroFloat)
	p = binary.LittleEndian.AppendUint64(p, math.Float64bits(h.ZeroCount))
	p = appendSpans(p, tagNegSpans, h.NegativeSpans)
	p = appendFloats(p, tagNegCounts, h.NegativeBuckets)
	p = appendSpans(p, tagPosSpans, h.PositiveSpans)
	p = appendFloats(p, tagPosCounts, h.PositiveBuckets)
	return appendTail(p, t, start, h.CounterResetHint, h.CustomValues)
}

func appendShape(p []byte, sum float64, schema int32, zeroThreshold float64) []byte {
	if u := math.Float64bits(sum); u != 0 {
		p = append(p, tagSum)
		p = binary.LittleEndian.AppendUint64(p, u)
	}
	if schema != 0 {
		p = append(p, tagSchema)
		p = binary.AppendUvarint(p, zigzag(int64(schema)))
	}
	if u := math.Float64bits(zeroThreshold); u != 0 {
		p = append(p, tagZeroThreshold)
		p = binary.LittleEndian.AppendUint64(p, u)
	}
	return p
}

func appendTail(p []byte, t, start int64, hint histogram.CounterResetHint, custom []float64) []byte {
	if hint != 0 {
		p = append(p, tagResetHint, byte(hint))
	}
	if t != 0 {
		p = append(p, tagHistTime)
		p = binary.AppendUvarint(p, uint64(t))
	}
	p = appendFloats(p, tagCustomValues, custom)
	if start != 0 {
		p = binary.AppendUvarint(p, tagHistStart)
		p = binary.AppendUvarint(p, uint64(start))
	}
	return p
}

func appendSpans(p []byte, tag byte, spans []histogram.Span) []byte {
	for _, s := range spans {
		size := 0
		offset := zigzag(int64(s.Offset))
		if s.Offset != 0 {
			size += 1 + sizeVarint(uint32(offset))
		}
		if s.Length != 0 {
			size += 1 + sizeVarint(s.Length)
		}
		p = append(p, tag, byte(size))
		if s.Offset != 0 {
			p = append(p, tagOffset)
			p = binary.AppendUvarint(p, offset)
		}
		if s.Length != 0 {
			p = append(p, tagLength)
			p = binary.AppendUvarint(p, uint64(s.Length))
		}
	}
	return p
}

func appendDeltas(p []byte, tag byte, deltas []int64) []byte {
	if len(deltas) == 0 {
		return p
	}
	size := 0
	for _, d := range deltas {
		size += sizeVarint64(zigzag(d))
	}
	p = append(p, tag)
	p = binary.AppendUvarint(p, uint64(size))
	for _, d := range deltas {
		p = binary.AppendUvarint(p, zigzag(d))
	}
	return p
}

func appendFloats(p []byte, tag uint64, values []float64) []byte {
	if len(values) == 0 {
		return p
	}
	p = binary.AppendUvarint(p, tag)
	p = binary.AppendUvarint(p, uint64(8*len(values)))
	for _, v := range values {
		p = binary.LittleEndian.AppendUint64(p, math.Float64bits(v))
	}
	return p
}

func zigzag(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }
