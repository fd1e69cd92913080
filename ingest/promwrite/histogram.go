package promwrite

import (
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/histogram"

	"github.com/weirhq/weir/ingest/pbuf"
	"github.com/weirhq/weir/store"
)

// rawHistogram is a histogram as it is on the wire, integer and float form at once.
type rawHistogram struct {
	float                bool // the count came as a float, which makes it a float histogram
	count, zero          uint64
	countF, zeroF        float64
	sum, threshold       float64
	schema               int32
	posSpans, negSpans   []histogram.Span
	posDeltas, negDeltas []int64
	posCounts, negCounts []float64
	custom               []float64
	hint                 uint64
	t, start             int64
}

// histogram decodes one native histogram. A well-formed one with impossible content is rejected alone.
func (d *Decoder) histogram(parent *pbuf.Reader, k int) error {
	if err := parent.Need(pbuf.WireBytes); err != nil {
		return err
	}
	if err := d.count(); err != nil {
		return err
	}
	if d.nhist++; d.nhist > d.lim.Histograms {
		return fmt.Errorf("more than %d histograms in one request: send smaller requests", d.lim.Histograms)
	}
	r := parent.Sub()
	var h rawHistogram
	for {
		ok, err := r.Next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if err := h.set(&r); err != nil {
			return fmt.Errorf("field %d: %w", r.Field, err)
		}
		if n := h.parts(); n > d.lim.Buckets {
			return fmt.Errorf("more than %d buckets and spans", d.lim.Buckets)
		}
	}
	s, err := h.sample()
	if err != nil {
		d.Received++
		d.reject(ReasonHistogram, 1, fmt.Sprintf("series %d: %v", k, err))
		return nil
	}
	d.hist = append(d.hist, s)
	return nil
}

func (h *rawHistogram) parts() int {
	return len(h.posSpans) + len(h.negSpans) + len(h.posDeltas) + len(h.negDeltas) + len(h.posCounts) + len(h.negCounts) + len(h.custom)
}

func (h *rawHistogram) set(r *pbuf.Reader) (err error) {
	want := pbuf.WireVarint
	switch r.Field {
	case 1:
		h.float, h.count, h.countF = false, r.Num, 0
	case 2:
		want, h.float, h.countF, h.count = pbuf.WireFixed8, true, math.Float64frombits(r.Num), 0
	case 3:
		want, h.sum = pbuf.WireFixed8, math.Float64frombits(r.Num)
	case 4:
		h.schema = int32(pbuf.Unzigzag(r.Num & math.MaxUint32))
	case 5:
		want, h.threshold = pbuf.WireFixed8, math.Float64frombits(r.Num)
	case 6:
		h.zero, h.zeroF = r.Num, 0
	case 7:
		want, h.zeroF, h.zero = pbuf.WireFixed8, math.Float64frombits(r.Num), 0
	case 8:
		h.negSpans, err = span(r, h.negSpans)
		return err
	case 9:
		h.negDeltas, err = pbuf.Varints(r, h.negDeltas, pbuf.Unzigzag)
		return err
	case 10:
		h.negCounts, err = pbuf.Doubles(r, h.negCounts)
		return err
	case 11:
		h.posSpans, err = span(r, h.posSpans)
		return err
	case 12:
		h.posDeltas, err = pbuf.Varints(r, h.posDeltas, pbuf.Unzigzag)
		return err
	case 13:
		h.posCounts, err = pbuf.Doubles(r, h.posCounts)
		return err
	case 14:
		h.hint = r.Num
	case 15:
		h.t = int64(r.Num)
	case 16:
		h.custom, err = pbuf.Doubles(r, h.custom)
		return err
	case 17:
		h.start = int64(r.Num)
	default:
		return nil
	}
	return r.Need(want)
}

func span(parent *pbuf.Reader, dst []histogram.Span) ([]histogram.Span, error) {
	if err := parent.Need(pbuf.WireBytes); err != nil {
		return dst, err
	}
	r := parent.Sub()
	var s histogram.Span
	for {
		ok, err := r.Next()
		if err != nil {
			return dst, err
		}
		if !ok {
			return append(dst, s), nil
		}
		switch r.Field {
		case 1:
			s.Offset = int32(pbuf.Unzigzag(r.Num & math.MaxUint32))
		case 2:
			s.Length = uint32(r.Num)
		default:
			continue
		}
		if r.Wire != pbuf.WireVarint {
			return dst, pbuf.ErrWire
		}
	}
}

func (h *rawHistogram) sample() (store.HistogramSample, error) {
	hint := histogram.UnknownCounterReset
	if h.hint <= uint64(histogram.GaugeType) {
		hint = histogram.CounterResetHint(h.hint)
	}
	s := store.HistogramSample{T: h.t, Start: h.start}
	if h.float {
		s.FH = &histogram.FloatHistogram{
			CounterResetHint: hint, Schema: h.schema, ZeroThreshold: h.threshold, ZeroCount: h.zeroF, Count: h.countF, Sum: h.sum,
			PositiveSpans: h.posSpans, NegativeSpans: h.negSpans, PositiveBuckets: h.posCounts, NegativeBuckets: h.negCounts, CustomValues: h.custom,
		}
		return s, s.FH.Validate()
	}
	s.H = &histogram.Histogram{
		CounterResetHint: hint, Schema: h.schema, ZeroThreshold: h.threshold, ZeroCount: h.zero, Count: h.count, Sum: h.sum,
		PositiveSpans: h.posSpans, NegativeSpans: h.negSpans, PositiveBuckets: h.posDeltas, NegativeBuckets: h.negDeltas, CustomValues: h.custom,
	}
	return s, s.H.Validate()
}

// exemplar decodes an exemplar; its labels are references in 2.0 and strings in 1.0.
func (d *Decoder) exemplar(parent *pbuf.Reader, v2 bool) error {
	if err := parent.Need(pbuf.WireBytes); err != nil {
		return err
	}
	if err := d.count(); err != nil {
		return err
	}
	r := parent.Sub()
	from := len(d.exRefs)
	var e store.Exemplar
	for {
		ok, err := r.Next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		want := pbuf.WireVarint
		switch r.Field {
		case 1:
			if v2 {
				d.exRefs, err = d.symbolRefs(&r, d.exRefs)
			} else {
				d.exRefs, err = d.label(&r, d.exRefs)
			}
			if err != nil {
				return err
			}
			continue
		case 2:
			want, e.V = pbuf.WireFixed8, math.Float64frombits(r.Num)
		case 3:
			e.T = int64(r.Num)
		default:
			continue
		}
		if r.Wire != want {
			return pbuf.ErrWire
		}
	}
	if (len(d.exRefs)-from)%2 != 0 {
		return fmt.Errorf("labels_refs has an odd number of entries, %d", len(d.exRefs)-from)
	}
	e.LabelRefs = d.exRefs[from:len(d.exRefs):len(d.exRefs)]
	d.exem = append(d.exem, e)
	return nil
}
