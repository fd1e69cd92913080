package promwrite

import (
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/histogram"

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
func (d *Decoder) histogram(parent *reader, k int) error {
	if err := parent.need(wireBytes); err != nil {
		return err
	}
	if err := d.count(); err != nil {
		return err
	}
	if d.nhist++; d.nhist > d.lim.Histograms {
		return fmt.Errorf("more than %d histograms in one request: send smaller requests", d.lim.Histograms)
	}
	r := parent.sub()
	var h rawHistogram
	for {
		ok, err := r.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if err := h.set(&r); err != nil {
			return fmt.Errorf("field %d: %w", r.field, err)
		}
		if n := h.parts(); n > d.lim.Buckets {
			return fmt.Errorf("more than %d buckets and spans", d.lim.Buckets)
		}
	}
	s, err := h.sample()
	if err != nil {
		d.Received++
		d.reject(ReasonHistogram, 1, fmt.Sprintf("series %d: %v", k, err))
		return nil //nolint:nilerr // counted; the rest of the request is fine
	}
	d.hist = append(d.hist, s)
	return nil
}

func (h *rawHistogram) parts() int {
	return len(h.posSpans) + len(h.negSpans) + len(h.posDeltas) + len(h.negDeltas) + len(h.posCounts) + len(h.negCounts) + len(h.custom)
}

func (h *rawHistogram) set(r *reader) (err error) {
	want := wireVarint
	switch r.field {
	case 1:
		h.float, h.count, h.countF = false, r.num, 0
	case 2:
		want, h.float, h.countF, h.count = wireFixed8, true, math.Float64frombits(r.num), 0
	case 3:
		want, h.sum = wireFixed8, math.Float64frombits(r.num)
	case 4:
		h.schema = int32(unzigzag(r.num & math.MaxUint32)) //nolint:gosec // protobuf sint32
	case 5:
		want, h.threshold = wireFixed8, math.Float64frombits(r.num)
	case 6:
		h.zero, h.zeroF = r.num, 0
	case 7:
		want, h.zeroF, h.zero = wireFixed8, math.Float64frombits(r.num), 0
	case 8:
		h.negSpans, err = span(r, h.negSpans)
		return err
	case 9:
		h.negDeltas, err = varints(r, h.negDeltas, unzigzag)
		return err
	case 10:
		h.negCounts, err = doubles(r, h.negCounts)
		return err
	case 11:
		h.posSpans, err = span(r, h.posSpans)
		return err
	case 12:
		h.posDeltas, err = varints(r, h.posDeltas, unzigzag)
		return err
	case 13:
		h.posCounts, err = doubles(r, h.posCounts)
		return err
	case 14:
		h.hint = r.num
	case 15:
		h.t = int64(r.num) //nolint:gosec // protobuf int64
	case 16:
		h.custom, err = doubles(r, h.custom)
		return err
	case 17:
		h.start = int64(r.num) //nolint:gosec // protobuf int64
	default:
		return nil
	}
	return r.need(want)
}

func span(parent *reader, dst []histogram.Span) ([]histogram.Span, error) {
	if err := parent.need(wireBytes); err != nil {
		return dst, err
	}
	r := parent.sub()
	var s histogram.Span
	for {
		ok, err := r.next()
		if err != nil {
			return dst, err
		}
		if !ok {
			return append(dst, s), nil
		}
		switch r.field {
		case 1:
			s.Offset = int32(unzigzag(r.num & math.MaxUint32)) //nolint:gosec // protobuf sint32
		case 2:
			s.Length = uint32(r.num) //nolint:gosec // protobuf uint32
		default:
			continue
		}
		if r.wire != wireVarint {
			return dst, errWire
		}
	}
}

func (h *rawHistogram) sample() (store.HistogramSample, error) {
	hint := histogram.UnknownCounterReset
	if h.hint <= uint64(histogram.GaugeType) {
		hint = histogram.CounterResetHint(h.hint) //nolint:gosec // at most 3
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
func (d *Decoder) exemplar(parent *reader, v2 bool) error {
	if err := parent.need(wireBytes); err != nil {
		return err
	}
	if err := d.count(); err != nil {
		return err
	}
	r := parent.sub()
	from := len(d.exRefs)
	var e store.Exemplar
	for {
		ok, err := r.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		want := wireVarint
		switch r.field {
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
			want, e.V = wireFixed8, math.Float64frombits(r.num)
		case 3:
			e.T = int64(r.num) //nolint:gosec // protobuf int64
		default:
			continue
		}
		if r.wire != want {
			return errWire
		}
	}
	if (len(d.exRefs)-from)%2 != 0 {
		return fmt.Errorf("labels_refs has an odd number of entries, %d", len(d.exRefs)-from)
	}
	e.LabelRefs = d.exRefs[from:len(d.exRefs):len(d.exRefs)]
	d.exem = append(d.exem, e)
	return nil
}
