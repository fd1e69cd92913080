package promwrite

import (
	"fmt"

	"github.com/prometheus/prometheus/model/metadata"
)

// V1 decodes prometheus.WriteRequest.
func (d *Decoder) V1(body []byte, lim Limits) error {
	d.Reset()
	d.lim = lim
	r := reader{buf: body, end: len(body)}
	for k := 0; ; {
		ok, err := r.next()
		if err != nil {
			return &Error{err.Error(), r.pos, -1}
		}
		if !ok {
			return nil
		}
		switch r.field {
		case 1:
			if r.wire != wireBytes {
				return &Error{"timeseries: " + errWire.Error(), r.pos, -1}
			}
			if k >= lim.Series {
				return &Error{fmt.Sprintf("more than %d series: send smaller requests", lim.Series), r.pos, -1}
			}
			if err := d.seriesV1(r.sub(), k); err != nil {
				return err
			}
			k++
		case 3:
			if r.wire != wireBytes {
				return &Error{"metadata: " + errWire.Error(), r.pos, -1}
			}
			d.Metadata++
		case 4, 5:
			return &Error{fmt.Sprintf("field %d is not in 1.0: is this a 2.0 body? then send Content-Type application/x-protobuf;proto=io.prometheus.write.v2.Request", r.field), r.pos, -1}
		}
	}
}

func (d *Decoder) seriesV1(r reader, k int) error {
	m := d.mark()
	for {
		ok, err := r.next()
		if err != nil {
			return &Error{err.Error(), r.pos, k}
		}
		if !ok {
			break
		}
		switch r.field {
		case 1:
			if d.refs, err = d.label(&r, d.refs); err != nil {
				return &Error{"labels: " + err.Error(), r.pos, k}
			}
		case 2:
			if err := d.sample(&r); err != nil {
				return &Error{"samples: " + err.Error(), r.pos, k}
			}
			d.smp[len(d.smp)-1].Start = 0 // 1.0 has no such field
		case 3:
			if err := d.exemplar(&r, false); err != nil {
				return &Error{"exemplars: " + err.Error(), r.pos, k}
			}
		case 4:
			if err := d.histogram(&r, k); err != nil {
				return &Error{"histograms: " + err.Error(), r.pos, k}
			}
			if h := d.hist; len(h) > m.hist {
				h[len(h)-1].Start = 0
			}
		}
	}
	d.close(m, metadata.Metadata{})
	return nil
}

// label appends one name and one value as two symbols.
func (d *Decoder) label(parent *reader, dst []uint32) ([]uint32, error) {
	if err := parent.need(wireBytes); err != nil {
		return dst, err
	}
	if len(d.Batch.Symbols) > 4*d.lim.Samples {
		return dst, fmt.Errorf("more than %d labels in one request: send smaller requests", 2*d.lim.Samples)
	}
	r := parent.sub()
	var name, value string
	for {
		ok, err := r.next()
		if err != nil {
			return dst, err
		}
		if !ok {
			break
		}
		switch r.field {
		case 1:
			name = r.str()
		case 2:
			value = r.str()
		default:
			continue
		}
		if r.wire != wireBytes {
			return dst, errWire
		}
	}
	n := uint32(len(d.Batch.Symbols)) //nolint:gosec // bounded above
	d.Batch.Symbols = append(d.Batch.Symbols, name, value)
	d.flags = append(d.flags, 0, 0)
	return append(dst, n, n+1), nil
}
