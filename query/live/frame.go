package live

import (
	"encoding/binary"
	"encoding/json"
	"math"
)

// Kinds of binary frames.
const (
	frameSnapshot byte = 1
	framePoints   byte = 2
)

// points are columns: series index, time in Unix milliseconds, value.
type points struct {
	series []uint32
	times  []float64
	values []float64
}

func (p *points) add(series int, t int64, v float64) {
	p.series = append(p.series, uint32(series))
	p.times = append(p.times, float64(t))
	p.values = append(p.values, v)
}

type frameHead struct {
	Series []frameSeries `json:"series,omitempty"`
}

type frameSeries struct {
	Labels map[string]string `json:"labels"`
}

// encodeFrame writes the form of docs/wire.md. The columns begin at a multiple of 8 bytes from
// the start of the frame, so that a browser can lay a Float64Array over them without copying.
func encodeFrame(id, seq uint32, kind byte, head frameHead, p points) ([]byte, error) {
	js, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, 24+len(js)+len(p.times)*20)
	b = binary.LittleEndian.AppendUint32(b, id)
	b = binary.LittleEndian.AppendUint32(b, seq)
	b = append(b, kind, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(js)))
	b = append(b, js...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(p.series)))
	for _, s := range p.series {
		b = binary.LittleEndian.AppendUint32(b, s)
	}
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	for _, t := range p.times {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(t))
	}
	for _, v := range p.values {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	return b, nil
}
