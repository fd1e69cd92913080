// Package promwrite decodes remote write 1.0 and 2.0 requests into a store.MetricBatch without
// copying: strings point into the body, which must stay as it is while the batch is used.
//
// Bodies come uncompressed from ingest's write door; batches go to store.Metrics.Append.
package promwrite

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/metadata"

	"github.com/weirhq/weir/ingest/pbuf"
	"github.com/weirhq/weir/store"
)

// Limits bound one request. Series beyond the limits of labels are rejected one by one; a request
// beyond the limits of counts is refused as a whole, because a small body may unfold into much memory.
type Limits struct {
	Labels     int // labels of a series
	Name       int // bytes of a label name
	Value      int // bytes of a label value
	Series     int // series of a request
	Samples    int // samples, histograms and exemplars of a request
	Histograms int // histograms of a request
	Buckets    int // buckets and spans of one histogram
}

// DefaultLimits suit senders that put at most some 100,000 samples into one request.
func DefaultLimits() Limits {
	return Limits{Labels: 30, Name: 200, Value: 2 << 10, Series: 200_000, Samples: 1_000_000, Histograms: 50_000, Buckets: 2_000}
}

// Decoder decodes one request after the other, reusing its memory.
type Decoder struct {
	// Batch is the decoded request, valid until the next call and while the body is.
	Batch store.MetricBatch
	// Received counts samples and histograms of the body, rejected ones too; Exemplars counts those.
	Received, Exemplars int
	// Rejected counts samples of series with labels or histograms that cannot be taken.
	Rejected []store.Rejection
	// Metadata counts metadata records of remote write 1.0, which name no series and are not kept.
	Metadata int

	lim    Limits
	refs   []uint32
	flags  []uint8 // what is known of each symbol
	smp    []store.Sample
	hist   []store.HistogramSample
	exem   []store.Exemplar
	exRefs []uint32
	items  int
	nhist  int
}

const (
	nameOK   uint8 = 1
	nameBad  uint8 = 2
	valueOK  uint8 = 4
	valueBad uint8 = 8
)

// Reset forgets the batch but keeps the memory; references to the body are cleared.
func (d *Decoder) Reset() {
	clear(d.Batch.Symbols)
	clear(d.Batch.Series)
	clear(d.hist)
	d.Batch.Symbols, d.Batch.Series = d.Batch.Symbols[:0], d.Batch.Series[:0]
	d.refs, d.flags, d.smp, d.hist = d.refs[:0], d.flags[:0], d.smp[:0], d.hist[:0]
	d.exem, d.exRefs = d.exem[:0], d.exRefs[:0]
	d.Received, d.Exemplars, d.Metadata, d.items, d.nhist, d.Rejected = 0, 0, 0, 0, 0, nil
}

// Size is the memory the decoder holds on to, in bytes, about.
func (d *Decoder) Size() int {
	return cap(d.Batch.Symbols)*int(unsafe.Sizeof("")) + cap(d.Batch.Series)*int(unsafe.Sizeof(store.BatchSeries{})) +
		cap(d.refs)*4 + cap(d.flags) + cap(d.smp)*int(unsafe.Sizeof(store.Sample{})) + cap(d.hist)*int(unsafe.Sizeof(store.HistogramSample{})) +
		cap(d.exem)*int(unsafe.Sizeof(store.Exemplar{})) + cap(d.exRefs)*4
}

// V2 decodes io.prometheus.write.v2.Request.
func (d *Decoder) V2(body []byte, lim Limits) error {
	d.Reset()
	d.lim = lim
	// Symbols may come after the series that refer to them, so they are collected first.
	n, err := d.symbols(body)
	if err != nil {
		return err
	}
	d.grow(n)
	r := pbuf.Of(body)
	for k := 0; ; {
		ok, err := r.Next()
		if err != nil {
			return &Error{err.Error(), r.Pos, -1}
		}
		if !ok {
			return nil
		}
		if r.Field != 5 {
			continue
		}
		if err := d.seriesV2(r.Sub(), k); err != nil {
			return err
		}
		k++
	}
}

// symbols collects the symbol table and counts the series.
func (d *Decoder) symbols(body []byte) (series int, err error) {
	r := pbuf.Of(body)
	for {
		ok, err := r.Next()
		if err != nil {
			return 0, &Error{err.Error(), r.Pos, -1}
		}
		if !ok {
			break
		}
		switch r.Field {
		case 4:
			if r.Wire != pbuf.WireBytes {
				return 0, &Error{"symbols: " + pbuf.ErrWire.Error(), r.Pos, -1}
			}
			d.Batch.Symbols = append(d.Batch.Symbols, r.Str())
			if len(d.Batch.Symbols) > 2*d.lim.Samples {
				return 0, &Error{fmt.Sprintf("more than %d symbols: send smaller requests", 2*d.lim.Samples), r.Pos, -1}
			}
		case 5:
			if r.Wire != pbuf.WireBytes {
				return 0, &Error{"timeseries: " + pbuf.ErrWire.Error(), r.Pos, -1}
			}
			if series++; series > d.lim.Series {
				return 0, &Error{fmt.Sprintf("more than %d series: send smaller requests", d.lim.Series), r.Pos, -1}
			}
		case 1, 2, 3:
			return 0, &Error{fmt.Sprintf("field %d is reserved in 2.0: is this a 1.0 body? then send Content-Type application/x-protobuf without proto", r.Field), r.Pos, -1}
		}
	}
	if len(d.Batch.Symbols) > 0 && d.Batch.Symbols[0] != "" {
		return 0, &Error{fmt.Sprintf("the first symbol must be empty, not %q", clip(d.Batch.Symbols[0])), 0, -1}
	}
	n := len(d.Batch.Symbols)
	if cap(d.flags) < n {
		d.flags = make([]uint8, n)
	}
	d.flags = d.flags[:n]
	clear(d.flags)
	return series, nil
}

func (d *Decoder) grow(series int) {
	if cap(d.Batch.Series) < series {
		d.Batch.Series = make([]store.BatchSeries, 0, series)
	}
	if cap(d.smp) < series {
		d.smp = make([]store.Sample, 0, series)
	}
	if cap(d.refs) < series*16 {
		d.refs = make([]uint32, 0, series*16)
	}
}

// marks are the lengths of the decoder's arenas before a series.
type marks struct{ refs, smp, hist, exem int }

func (d *Decoder) mark() marks { return marks{len(d.refs), len(d.smp), len(d.hist), len(d.exem)} }

func (d *Decoder) seriesV2(r pbuf.Reader, k int) error {
	m := d.mark()
	var typ, help, unit uint64
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
			if d.refs, err = d.symbolRefs(&r, d.refs); err != nil {
				return &Error{"labels_refs: " + err.Error(), r.Pos, k}
			}
		case 2:
			if err := d.sample(&r); err != nil {
				return &Error{"samples: " + err.Error(), r.Pos, k}
			}
		case 3:
			if err := d.histogram(&r, k); err != nil {
				return &Error{"histograms: " + err.Error(), r.Pos, k}
			}
		case 4:
			if err := d.exemplar(&r, true); err != nil {
				return &Error{"exemplars: " + err.Error(), r.Pos, k}
			}
		case 5:
			if typ, help, unit, err = d.meta(&r, typ, help, unit); err != nil {
				return &Error{"metadata: " + err.Error(), r.Pos, k}
			}
		}
	}
	if (len(d.refs)-m.refs)%2 != 0 {
		return &Error{fmt.Sprintf("labels_refs has an odd number of entries, %d", len(d.refs)-m.refs), r.Pos, k}
	}
	var md metadata.Metadata
	if typ|help|unit != 0 {
		md = metadata.Metadata{Type: metricType(typ), Help: d.Batch.Symbols[help], Unit: d.Batch.Symbols[unit]}
	}
	d.close(m, md)
	return nil
}

// symbolRefs is written out, not built on pbuf.Varints, because it is the hottest loop of the decoder.
func (d *Decoder) symbolRefs(r *pbuf.Reader, dst []uint32) ([]uint32, error) {
	n := uint64(len(d.Batch.Symbols))
	s := *r
	if r.Wire == pbuf.WireVarint {
		if r.Num >= n {
			return dst, fmt.Errorf("reference %d is outside of the %d symbols", r.Num, n)
		}
		return append(dst, uint32(r.Num)), nil
	}
	if r.Wire != pbuf.WireBytes {
		return dst, pbuf.ErrWire
	}
	for s.Pos, s.End = r.From, r.Pos; s.Pos < s.End; {
		var v uint64
		if b := s.Buf[s.Pos]; b < 0x80 {
			v = uint64(b)
			s.Pos++
		} else {
			var err error
			if v, err = s.Uvarint(); err != nil {
				return dst, err
			}
		}
		if v >= n {
			return dst, fmt.Errorf("reference %d is outside of the %d symbols", v, n)
		}
		dst = append(dst, uint32(v))
	}
	return dst, nil
}

func (d *Decoder) count() error {
	if d.items++; d.items > d.lim.Samples {
		return fmt.Errorf("more than %d samples, histograms and exemplars in one request: send smaller requests", d.lim.Samples)
	}
	return nil
}

func (d *Decoder) sample(parent *pbuf.Reader) error {
	if err := parent.Need(pbuf.WireBytes); err != nil {
		return err
	}
	if err := d.count(); err != nil {
		return err
	}
	r := parent.Sub()
	var s store.Sample
	for {
		ok, err := r.Next()
		if err != nil {
			return err
		}
		if !ok {
			d.smp = append(d.smp, s)
			return nil
		}
		want := pbuf.WireVarint
		switch r.Field {
		case 1:
			want, s.V = pbuf.WireFixed8, math.Float64frombits(r.Num)
		case 2:
			s.T = int64(r.Num)
		case 3:
			s.Start = int64(r.Num)
		default:
			continue
		}
		if r.Wire != want {
			return pbuf.ErrWire
		}
	}
}

func (d *Decoder) meta(parent *pbuf.Reader, typ, help, unit uint64) (t, h, u uint64, err error) {
	if err := parent.Need(pbuf.WireBytes); err != nil {
		return 0, 0, 0, err
	}
	r := parent.Sub()
	n := uint64(len(d.Batch.Symbols))
	for {
		ok, err := r.Next()
		if err != nil || !ok {
			return typ, help, unit, err
		}
		switch r.Field {
		case 1:
			typ = r.Num
		case 3:
			help = r.Num
		case 4:
			unit = r.Num
		default:
			continue
		}
		if r.Wire != pbuf.WireVarint {
			return 0, 0, 0, pbuf.ErrWire
		}
		if r.Field != 1 && r.Num >= n {
			return 0, 0, 0, fmt.Errorf("reference %d is outside of the %d symbols", r.Num, n)
		}
	}
}

func metricType(v uint64) model.MetricType {
	switch v {
	case 1:
		return model.MetricTypeCounter
	case 2:
		return model.MetricTypeGauge
	case 3:
		return model.MetricTypeHistogram
	case 4:
		return model.MetricTypeGaugeHistogram
	case 5:
		return model.MetricTypeSummary
	case 6:
		return model.MetricTypeInfo
	case 7:
		return model.MetricTypeStateset
	default:
		return model.MetricTypeUnknown
	}
}
