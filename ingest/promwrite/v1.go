package promwrite

import (
	"fmt"

	"github.com/prometheus/prometheus/model/metadata"

	"github.com/weirhq/weir/ingest/pbuf"
)

// V1 decodes prometheus.WriteRequest.
func (d *Decoder) V1(body []byte, lim Limits) error {
	d.Reset()
	d.lim = lim
	r := pbuf.Of(body)
	for k := 0; ; {
		ok, err := r.Next()
		if err != nil {
			return &Error{err.Error(), r.Pos, -1}
		}
		if !ok {
			return nil
		}
		switch r.Field {
		case 1:
			if r.Wire != pbuf.WireBytes {
				return &Error{"timeseries: " + pbuf.ErrWire.Error(), r.Pos, -1}
			}
			if k >= lim.Series {
				return &Error{fmt.Sprintf("more than %d series: send smaller requests", lim.Series), r.Pos, -1}
			}
			if err := d.seriesV1(r.Sub(), k); err != nil {
				return err
			}
			k++
		case 3:
			if r.Wire != pbuf.WireBytes {
				return &Error{"metadata: " + pbuf.ErrWire.Error(), r.Pos, -1}
			}
			if err := skipMetadata(r.Sub()); err != nil {
				return &Error{"metadata: " + err.Error(), r.Pos, -1}
			}
			d.Metadata++
		case 4, 5:
			return &Error{fmt.Sprintf("field %d is not in 1.0: is this a 2.0 body? then send Content-Type application/x-protobuf;proto=io.prometheus.write.v2.Request", r.Field), r.Pos, -1}
		}
	}
}

// skipMetadata checks the form only: a record names a metric, not a series, and cannot be kept.
func skipMetadata(r pbuf.Reader) error {
	for {
		ok, err := r.Next()
		if err != nil || !ok {
			return err
		}
		want := pbuf.WireBytes
		switch r.Field {
		case 1:
			want = pbuf.WireVarint
		case 2, 4, 5:
		default:
			continue
		}
		if err := r.Need(want); err != nil {
			return err
		}
	}
}

func (d *Decoder) seriesV1(r pbuf.Reader, k int) error {
	m := d.mark()
	for {
		ok, err := r.Next()
		if err != nil {
			return &Error{err.Error(), r.Pos, k}
		}
		if !ok {
			break
		}
		switch r.Field {
		case 1:
			if d.refs, err = d.label(&r, d.refs); err != nil {
				return &Error{"labels: " + err.Error(), r.Pos, k}
			}
		case 2:
			if err := d.sample(&r); err != nil {
				return &Error{"samples: " + err.Error(), r.Pos, k}
			}
			d.smp[len(d.smp)-1].Start = 0 // 1.0 has no such field
		case 3:
			if err := d.exemplar(&r, false); err != nil {
				return &Error{"exemplars: " + err.Error(), r.Pos, k}
			}
		case 4:
			if err := d.histogram(&r, k); err != nil {
				return &Error{"histograms: " + err.Error(), r.Pos, k}
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
func (d *Decoder) label(parent *pbuf.Reader, dst []uint32) ([]uint32, error) {
	if err := parent.Need(pbuf.WireBytes); err != nil {
		return dst, err
	}
	if len(d.Batch.Symbols) > 4*d.lim.Samples {
		return dst, fmt.Errorf("more than %d labels in one request: send smaller requests", 2*d.lim.Samples)
	}
	r := parent.Sub()
	var name, value string
	for {
		ok, err := r.Next()
		if err != nil {
			return dst, err
		}
		if !ok {
			break
		}
		switch r.Field {
		case 1:
			name = r.Str()
		case 2:
			value = r.Str()
		default:
			continue
		}
		if r.Wire != pbuf.WireBytes {
			return dst, pbuf.ErrWire
		}
	}
	n := uint32(len(d.Batch.Symbols))
	d.Batch.Symbols = append(d.Batch.Symbols, name, value)
	d.flags = append(d.flags, 0, 0)
	return append(dst, n, n+1), nil
}
