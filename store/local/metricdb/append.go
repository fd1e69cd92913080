package metricdb

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/weirhq/weir/store"
)

// Reasons of rejections, named as in store.Rejection.
const (
	tooOld       = "too_old"
	tooNew       = "too_new"
	duplicate    = "duplicate_value"
	badLabels    = "bad_labels"
	badHistogram = "bad_histogram"
	seriesLimit  = "series_limit"
)

var errSeriesLimit = errors.New("series limit")

// given remembers a sample handed to the TSDB, to ask what became of it when the TSDB took fewer than given.
type given struct {
	series, sample int32
	histogram      bool
}

// batchAppend is the state of one Append; pooled.
type batchAppend struct {
	ctx     context.Context //nolint:containedctx // lives as long as one call
	t       *tenant
	b       *store.MetricBatch
	res     store.AppendResult
	sums    []sum
	symbols []sum
	given   []given
	failed  error // of a lookup; the batch is not taken
	app     storage.AppenderV2
	h       *handle
	oldest  int64 // samples before are too old
	limit   int64 // samples after are too new
	ex      []exemplar.Exemplar
	meta    metadata.Metadata
	metaOf  string

	stored   map[int64]point // of series storedOf: what is stored in the time range of its samples
	storedOf int             // -1 while none was read
}

var appendPool = sync.Pool{New: func() any { return new(batchAppend) }}

// append stores a batch and returns when it is on disk.
func (t *tenant) append(ctx context.Context, b *store.MetricBatch) (store.AppendResult, error) {
	a := appendPool.Get().(*batchAppend)
	defer func() {
		clear(a.ex)
		*a = batchAppend{sums: a.sums, symbols: a.symbols, given: a.given[:0], ex: a.ex[:0]}
		appendPool.Put(a)
	}()
	a.t, a.b, a.storedOf = t, b, -1
	a.sums, a.symbols = t.hash.sums(a.sums, a.symbols, b)
	h, err := a.locked(ctx)
	if err != nil {
		return store.AppendResult{}, err
	}
	// Also when all was known already: an earlier append of the same samples may still wait for the disk.
	if err := h.sync.wait(); err != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.closed || t.h != h { // closed, or reopened already
			return store.AppendResult{}, fmt.Errorf("cannot write metrics of tenant %q: %w: %w", t.id, err, store.ErrUnavailable)
		}
		return store.AppendResult{}, t.fail(err)
	}
	return a.res, nil
}

// locked does what must not happen twice at a time: look up, append, commit.
func (a *batchAppend) locked(ctx context.Context) (h *handle, err error) {
	t := a.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("cannot write metrics of tenant %q: %w", t.id, err)
	}
	now := time.Now()
	if err := t.ready(now); err != nil {
		return nil, err
	}
	if t.h == nil { // mu is held, so nobody puts another one in place
		return nil, fmt.Errorf("cannot write metrics of tenant %q: being reopened: %w", t.id, store.ErrUnavailable)
	}
	a.h = t.h
	a.limit = now.Add(t.cfg.FutureLimit).UnixMilli()
	a.oldest = now.Add(-t.cfg.Retention).UnixMilli()
	defer func() {
		if p := recover(); p != nil {
			// The TSDB panics when a chunk cannot be written; what it holds in memory is in doubt from then on.
			t.cache.reset()
			h, err = nil, t.fail(fmt.Errorf("panic in TSDB: %v", p))
		}
	}()
	appended, wblFailed := total(a.h.count.appended), total(a.h.count.wblFailed)
	a.app, a.ctx = a.h.db.Head().AppenderV2(ctx), context.WithoutCancel(ctx)
	for i := range a.b.Series {
		a.series(i)
	}
	if a.failed != nil {
		t.cache.reset() // it knows of samples that were not taken
		t.setAllBefore(a.h.db)
		return nil, errors.Join(fmt.Errorf("cannot write metrics of tenant %q: %w: %w", t.id, a.failed, store.ErrUnavailable), a.app.Rollback())
	}
	if err := a.app.Commit(); err != nil {
		t.cache.reset()
		return nil, t.fail(err)
	}
	if total(a.h.count.wblFailed) != wblFailed {
		t.cache.reset()
		return nil, t.fail(errors.New("cannot write the log of out-of-order samples"))
	}
	if len(a.given) > 0 {
		t.last = now
		if stored := total(a.h.count.appended) - appended; stored != uint64(len(a.given)) {
			if err := a.verify(); err != nil {
				return nil, t.fail(err)
			}
		}
	}
	return a.h, nil
}

// series appends the samples of one series.
func (a *batchAppend) series(i int) {
	s := &a.b.Series[i]
	if len(s.Samples) == 0 && len(s.Histograms) == 0 {
		return
	}
	e, ls, err := a.resolve(i)
	if err != nil {
		reason := badLabels
		if errors.Is(err, errSeriesLimit) {
			reason = seriesLimit
		}
		a.reject(reason, i, len(s.Samples)+len(s.Histograms), err)
		return
	}
	opts := storage.AOptions{}
	if len(s.Exemplars) > 0 {
		opts.Exemplars = a.exemplars(s)
	}
	for j := range s.Samples {
		o := storage.AOptions{}
		if j == len(s.Samples)-1 && len(s.Histograms) == 0 {
			o = opts
		}
		e, ls = a.float(i, j, e, ls, o)
	}
	for j := range s.Histograms {
		o := storage.AOptions{}
		if j == len(s.Histograms)-1 {
			o = opts
		}
		e, ls = a.histogram(i, j, e, ls, o)
	}
	if !s.Meta.IsEmpty() {
		a.metadata(s)
	}
}

// resolve finds the cache entry of a series. When there is none it returns the labels, with which the
// first sample that is taken makes one.
func (a *batchAppend) resolve(i int) (*entry, labels.Labels, error) {
	if s := a.sums[i]; s != (sum{}) {
		if e := a.t.cache.find(s); e != nil {
			return e, labels.EmptyLabels(), nil
		}
	}
	refs := a.b.Series[i].LabelRefs
	if err := a.t.cfg.checkLabels(a.b.Symbols, refs); err != nil {
		return nil, labels.EmptyLabels(), err
	}
	return a.create(i)
}

// create looks a series up by its labels, which are valid, and checks the limit when the TSDB does not know it.
func (a *batchAppend) create(i int) (*entry, labels.Labels, error) {
	ls := a.labels(a.b.Series[i].LabelRefs)
	if g, ok := a.app.(storage.GetRef); ok {
		if ref, _ := g.GetRef(ls, ls.Hash()); ref != 0 {
			return a.t.cache.insert(a.sums[i], uint64(ref)), labels.EmptyLabels(), nil
		}
	}
	if n := a.h.db.Head().NumSeries(); n >= uint64(a.t.cfg.MaxSeries) {
		return nil, labels.EmptyLabels(), fmt.Errorf("%w: tenant %q has %d active series, %d are allowed (max_series)", errSeriesLimit, a.t.id, n, a.t.cfg.MaxSeries)
	}
	return nil, ls, nil
}

// labels builds labels without the empty ones; the result shares nothing with the batch.
func (a *batchAppend) labels(refs []uint32) labels.Labels {
	a.t.sb.Reset()
	for i := 0; i+1 < len(refs); i += 2 {
		if v := a.b.Symbols[refs[i+1]]; v != "" {
			a.t.sb.Add(a.b.Symbols[refs[i]], v)
		}
	}
	return a.t.sb.Labels()
}

// float appends one float sample and returns entry and labels for the next one of the series.
func (a *batchAppend) float(i, j int, e *entry, ls labels.Labels, opts storage.AOptions) (*entry, labels.Labels) {
	s := a.b.Series[i].Samples[j]
	if !a.inTime(i, s.T) {
		return e, ls
	}
	if a.known(i, given{series: int32(i), sample: int32(j)}, e, s.T) {
		return e, ls
	}
	bits := math.Float64bits(s.V)
	if e != nil && e.kind == kindFloat && s.T == e.lastT {
		if bits == e.lastV {
			a.res.Samples++
			a.res.Exemplars += len(opts.Exemplars)
		} else {
			a.reject(duplicate, i, 1, fmt.Errorf("time %d has value %v, not %v", s.T, math.Float64frombits(e.lastV), s.V))
		}
		return e, ls
	}
	var h *histogram.Histogram
	var fh *histogram.FloatHistogram
	kind := kindFloat
	if e != nil && e.kind > kindFloat && value.IsStaleNaN(s.V) {
		// The end of a histogram series is marked in its own kind.
		kind = e.kind
		if kind == kindHistogram {
			h = &histogram.Histogram{Sum: s.V}
		} else {
			fh = &histogram.FloatHistogram{Sum: s.V}
		}
	}
	e, ls, ok := a.give(i, j, false, e, ls, s.T, s.Start, s.V, h, fh, opts)
	if !ok {
		return e, ls
	}
	a.res.Samples++
	if a.newest(e, s.T) {
		e.lastT, e.lastV, e.kind = s.T, bits, kind
	}
	return e, ls
}

// histogram appends one histogram sample.
func (a *batchAppend) histogram(i, j int, e *entry, ls labels.Labels, opts storage.AOptions) (*entry, labels.Labels) {
	s := &a.b.Series[i].Histograms[j]
	if !a.inTime(i, s.T) {
		return e, ls
	}
	if a.known(i, given{series: int32(i), sample: int32(j), histogram: true}, e, s.T) {
		return e, ls
	}
	// The TSDB keeps what it is given.
	var h *histogram.Histogram
	var fh *histogram.FloatHistogram
	kind := kindHistogram
	switch {
	case s.H != nil && s.FH == nil:
		h = s.H.Copy()
	case s.FH != nil && s.H == nil:
		fh = s.FH.Copy()
		kind = kindFloatHistogram
	default:
		a.reject(badHistogram, i, 1, errors.New("exactly one of integer and float histogram must be given"))
		return e, ls
	}
	e, ls, ok := a.give(i, j, true, e, ls, s.T, s.Start, 0, h, fh, opts)
	if !ok {
		return e, ls
	}
	a.res.Histograms++
	if a.newest(e, s.T) {
		e.lastT, e.kind = s.T, kind
	}
	return e, ls
}

// newest reports whether t is for certain the newest time of a series.
func (a *batchAppend) newest(e *entry, t int64) bool {
	return t > e.lastT && (e.kind != kindUnknown || t > a.t.allBefore)
}

// give hands a sample to the TSDB.
func (a *batchAppend) give(i, j int, hist bool, e *entry, ls labels.Labels, t, start int64, v float64,
	h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions,
) (*entry, labels.Labels, bool) {
	ref := storage.SeriesRef(0)
	if e != nil {
		ref = storage.SeriesRef(e.ref)
	}
	got, err := a.app.Append(ref, ls, start, t, v, h, fh, opts)
	if e != nil && errors.Is(err, tsdb.ErrInvalidSample) {
		// The head has dropped the series since; it gets a new reference.
		ls = a.labels(a.b.Series[i].LabelRefs)
		got, err = a.app.Append(0, ls, start, t, v, h, fh, opts)
	}
	if len(opts.Exemplars) > 0 {
		a.res.Exemplars += len(opts.Exemplars)
		if partial, ok := errors.AsType[*storage.AppendPartialError](err); ok {
			a.res.Exemplars -= len(partial.ExemplarErrors)
			err = nil
		}
	}
	switch {
	case err == nil:
		if e == nil {
			e = a.t.cache.insert(a.sums[i], uint64(got))
			a.res.NewSeries++
			a.t.meters.newSeries.Inc()
		} else {
			e.ref = uint64(got)
		}
		a.given = append(a.given, given{series: int32(i), sample: int32(j), histogram: hist})
		return e, labels.EmptyLabels(), true
	case errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
		a.reject(duplicate, i, 1, fmt.Errorf("time %d: %w", t, err))
	case errors.Is(err, storage.ErrTooOldSample), errors.Is(err, storage.ErrOutOfBounds), errors.Is(err, storage.ErrOutOfOrderSample):
		a.reject(tooOld, i, 1, fmt.Errorf("time %d is more than %s behind the newest sample of the tenant (out_of_order_window)", t, a.t.cfg.OutOfOrderWindow))
	case h != nil || fh != nil:
		a.reject(badHistogram, i, 1, err)
	default:
		a.reject(badLabels, i, 1, err)
	}
	return e, ls, false
}

// known settles a sample whose time may be stored already, by looking: of two values for the same time the first
// stays. In the ordinary case, a sample newer than all of its series, nothing needs to be looked up.
func (a *batchAppend) known(i int, g given, e *entry, t int64) bool {
	if e != nil && e.kind != kindUnknown {
		if t >= e.lastT { // the TSDB itself tells for the newest
			return false
		}
	} else if t > a.t.allBefore {
		return false
	}
	if a.storedOf != i {
		mint, maxt := int64(math.MaxInt64), int64(math.MinInt64)
		for _, s := range a.b.Series[i].Samples {
			mint, maxt = min(mint, s.T), max(maxt, s.T)
		}
		for _, s := range a.b.Series[i].Histograms {
			mint, maxt = min(mint, s.T), max(maxt, s.T)
		}
		a.t.meters.lookups.Inc()
		stored, err := a.read(int32(i), mint, maxt)
		if err != nil {
			if a.failed == nil {
				a.failed = err
			}
			return false
		}
		a.stored, a.storedOf = stored, i
	}
	p, ok := a.stored[t]
	switch {
	case !ok:
		return false
	case !a.equal(g, p):
		a.reject(duplicate, i, 1, fmt.Errorf("time %d is stored with another value", t))
	case g.histogram:
		a.res.Histograms++
	default:
		a.res.Samples++
	}
	return true
}

// inTime rejects samples that this machine's clock says cannot be right, or that retention would delete.
func (a *batchAppend) inTime(i int, t int64) bool {
	if t > a.limit {
		a.reject(tooNew, i, 1, fmt.Errorf("time %d is more than %s ahead of the server's clock (future_limit)", t, a.t.cfg.FutureLimit))
		return false
	}
	if t < a.oldest {
		a.reject(tooOld, i, 1, fmt.Errorf("time %d is before retention of %s", t, a.t.cfg.Retention))
		return false
	}
	return true
}

// exemplars converts the exemplars of a series; those with unreadable labels are left out.
func (a *batchAppend) exemplars(s *store.BatchSeries) []exemplar.Exemplar {
	start := len(a.ex)
	for _, x := range s.Exemplars {
		ok := len(x.LabelRefs)%2 == 0
		for _, r := range x.LabelRefs {
			ok = ok && int(r) < len(a.b.Symbols)
		}
		if ok {
			a.ex = append(a.ex, exemplar.Exemplar{Labels: a.labels(x.LabelRefs), Value: x.V, Ts: x.T, HasTs: true})
		}
	}
	return a.ex[start:]
}

func (a *batchAppend) metadata(s *store.BatchSeries) {
	for k := 0; k+1 < len(s.LabelRefs); k += 2 {
		if a.b.Symbols[s.LabelRefs[k]] != model.MetricNameLabel {
			continue
		}
		name := a.b.Symbols[s.LabelRefs[k+1]]
		if name != a.metaOf || s.Meta != a.meta { // series of a metric tend to follow one another
			a.metaOf, a.meta = name, s.Meta
			a.t.meta.put(name, s.Meta)
		}
		return
	}
}

// reject counts samples not taken; the first of a reason is described.
func (a *batchAppend) reject(reason string, series, n int, why error) {
	a.t.meters.rejected(reason).Add(n)
	for k := range a.res.Rejected {
		if a.res.Rejected[k].Reason == reason {
			a.res.Rejected[k].Count += n
			return
		}
	}
	a.res.Rejected = append(a.res.Rejected, store.Rejection{
		Reason: reason, Count: n,
		Example: describe(a.b, a.b.Series[series].LabelRefs) + ": " + why.Error(),
	})
}
