package otlp

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/weirhq/weir/store"
)

// Reasons of rejections of metric points.
const (
	ReasonDelta     = "delta_temporality"
	ReasonType      = "no_type"
	ReasonName      = "bad_name"
	ReasonLabels    = "label_limit"
	ReasonHistogram = "bad_histogram"
	ReasonAudit     = "bad_audit"
)

// Limits bound the labels of a series.
type Limits struct {
	Labels, Name, Value int
	Series              int // that histograms and summaries of one request may become
}

// maxBuckets bounds one histogram or summary.
const maxBuckets = 2000

// Metrics is the outcome of a translation, counted in points:
// Received = SinglePoints + len(MultiFrom) + Σ Cells.Points + Σ Rejected.
type Metrics struct {
	Received int
	// Exemplars counts those of the points; only those that name a trace become part of the batches.
	Exemplars int
	// Single holds the points that became one sample each.
	Single store.MetricBatch
	// Multi holds histograms and summaries, which become many samples; point i begins at series MultiFrom[i].
	Multi     store.MetricBatch
	MultiFrom []int
	// Cells are audit points that came without a collector.
	Cells    []AuditCell
	Rejected []store.Rejection
	// BadIDs counts id samples that were left out of cells; BadID is one of the mistakes.
	BadIDs int
	BadID  error
}

// SinglePoints is the number of points in Single.
func (m *Metrics) SinglePoints() int { return len(m.Single.Series) }

// Translate turns pdata into batches; strings are shared with md.
func Translate(md pmetric.Metrics, lim Limits) *Metrics {
	t := &translator{
		out: &Metrics{}, lim: lim,
		namer: otlptranslator.MetricNamer{WithMetricSuffixes: true}, labeler: otlptranslator.LabelNamer{},
		labelNames: map[string]string{}, cells: map[auditKey]*auditCell{},
	}
	t.single = batch{b: &t.out.Single, index: map[string]uint32{}}
	t.multi = batch{b: &t.out.Multi, index: map[string]uint32{}}
	for _, rm := range md.ResourceMetrics().All() {
		t.resource(rm.Resource().Attributes())
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				t.metric(m)
			}
		}
	}
	t.finishCells()
	return t.out
}

type translator struct {
	out        *Metrics
	lim        Limits
	namer      otlptranslator.MetricNamer
	labeler    otlptranslator.LabelNamer
	labelNames map[string]string
	single     batch
	multi      batch
	cells      map[auditKey]*auditCell
	order      []auditKey

	res struct {
		labels                             []label
		node, service, container, instance string
	}
	m struct {
		name string
		meta metadata.Metadata
	}
	scratch []label
}

type label struct{ name, value string }

// batch builds a MetricBatch with each symbol once.
type batch struct {
	b     *store.MetricBatch
	index map[string]uint32
}

func (b *batch) ref(s string) uint32 {
	r, ok := b.index[s]
	if !ok {
		r = uint32(len(b.b.Symbols))
		b.b.Symbols = append(b.b.Symbols, s)
		b.index[s] = r
	}
	return r
}

func (b *batch) add(ls []label, md metadata.Metadata) *store.BatchSeries {
	refs := make([]uint32, 0, 2*len(ls))
	for _, l := range ls {
		refs = append(refs, b.ref(l.name), b.ref(l.value))
	}
	b.b.Series = append(b.b.Series, store.BatchSeries{LabelRefs: refs, Meta: md})
	return &b.b.Series[len(b.b.Series)-1]
}

func (t *translator) reject(reason string, n int, example string) {
	t.out.Rejected = reject(t.out.Rejected, reason, n, example)
}

// promoted are the resource attributes that become labels besides node, service and container.
func promoted(key string) bool {
	switch key {
	case "service.namespace", "service.instance.id", "deployment.environment", "deployment.environment.name", "k8s.namespace.name", "k8s.pod.name":
		return true
	default:
		return false
	}
}

func (t *translator) resource(attrs pcommon.Map) {
	r := &t.res
	r.labels, r.node, r.service, r.container, r.instance = r.labels[:0], "", "", "", ""
	for k, v := range attrs.All() {
		switch {
		case k == "host.name":
			r.node = v.AsString()
		case k == "service.name":
			r.service = v.AsString()
		case k == "container.id":
			r.container = v.AsString()
		case promoted(k):
			if k == "service.instance.id" {
				r.instance = v.AsString()
			}
			r.labels = append(r.labels, label{t.labelName(k), v.AsString()})
		}
	}
	for _, l := range []label{{"node", r.node}, {"service", r.service}, {"container", r.container}} {
		if l.value != "" {
			r.labels = append(r.labels, l)
		}
	}
}

func (t *translator) labelName(k string) string {
	if n, ok := t.labelNames[k]; ok {
		return n
	}
	n, err := t.labeler.Build(k)
	if err != nil {
		n = "" // left out: an attribute without a usable name
	}
	t.labelNames[k] = n
	return n
}

func (t *translator) metric(m pmetric.Metric) {
	if strings.HasPrefix(m.Name(), "weir.audit.") {
		t.audit(m)
		return
	}
	n := points(m)
	if m.Type() != pmetric.MetricTypeEmpty {
		t.out.Received += n
	}
	om := otlptranslator.Metric{Name: m.Name(), Unit: m.Unit()}
	typ := model.MetricTypeUnknown
	delta := false
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		om.Type, typ = otlptranslator.MetricTypeGauge, model.MetricTypeGauge
	case pmetric.MetricTypeSum:
		om.Type, typ = otlptranslator.MetricTypeNonMonotonicCounter, model.MetricTypeGauge
		if m.Sum().IsMonotonic() {
			om.Type, typ = otlptranslator.MetricTypeMonotonicCounter, model.MetricTypeCounter
		}
		delta = m.Sum().AggregationTemporality() != pmetric.AggregationTemporalityCumulative
	case pmetric.MetricTypeHistogram:
		om.Type, typ = otlptranslator.MetricTypeHistogram, model.MetricTypeHistogram
		delta = m.Histogram().AggregationTemporality() != pmetric.AggregationTemporalityCumulative
	case pmetric.MetricTypeExponentialHistogram:
		om.Type, typ = otlptranslator.MetricTypeExponentialHistogram, model.MetricTypeHistogram
		delta = m.ExponentialHistogram().AggregationTemporality() != pmetric.AggregationTemporalityCumulative
	case pmetric.MetricTypeSummary:
		om.Type, typ = otlptranslator.MetricTypeSummary, model.MetricTypeSummary
	case pmetric.MetricTypeEmpty:
		return // no points at all
	}
	if delta {
		t.reject(ReasonDelta, n, "metric "+strconv.Quote(clip(m.Name()))+": only cumulative temporality can be stored; set it in the SDK, or send through a collector with deltatocumulative")
		return
	}
	name, err := t.namer.Build(om)
	if err != nil {
		t.reject(ReasonName, n, "metric "+strconv.Quote(clip(m.Name()))+": "+err.Error())
		return
	}
	t.m.name, t.m.meta = name, metadata.Metadata{Type: typ, Unit: valid(m.Unit()), Help: valid(m.Description())}
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		t.numbers(m.Gauge().DataPoints())
	case pmetric.MetricTypeSum:
		t.numbers(m.Sum().DataPoints())
	case pmetric.MetricTypeHistogram:
		for _, p := range m.Histogram().DataPoints().All() {
			t.histogram(p)
		}
	case pmetric.MetricTypeExponentialHistogram:
		for _, p := range m.ExponentialHistogram().DataPoints().All() {
			t.exponential(p)
		}
	case pmetric.MetricTypeSummary:
		for _, p := range m.Summary().DataPoints().All() {
			t.summary(p)
		}
	case pmetric.MetricTypeEmpty:
	}
}

func points(m pmetric.Metric) int {
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		return m.Gauge().DataPoints().Len()
	case pmetric.MetricTypeSum:
		return m.Sum().DataPoints().Len()
	case pmetric.MetricTypeHistogram:
		return m.Histogram().DataPoints().Len()
	case pmetric.MetricTypeExponentialHistogram:
		return m.ExponentialHistogram().DataPoints().Len()
	case pmetric.MetricTypeSummary:
		return m.Summary().DataPoints().Len()
	case pmetric.MetricTypeEmpty:
	}
	return 0
}

// labels returns the sorted labels of a point without the name; ok false when they were rejected.
// Attributes win over nothing: a resource label of the same name stays.
func (t *translator) labels(attrs pcommon.Map) (ls []label, ok bool) {
	ls = t.scratch[:0]
	ls = append(ls, t.res.labels...)
	fixed := len(ls)
	for k, v := range attrs.All() {
		n := t.labelName(k)
		s := v.AsString()
		if n == "" || s == "" || n == model.MetricNameLabel || slices.ContainsFunc(ls[:fixed], func(l label) bool { return l.name == n }) {
			continue
		}
		ls = append(ls, label{n, valid(s)})
	}
	slices.SortStableFunc(ls, func(a, b label) int { return strings.Compare(a.name, b.name) })
	k := 0
	for _, l := range ls {
		if k > 0 && ls[k-1].name == l.name { // two attributes whose names differ only in what labels cannot hold
			ls[k-1].value += ";" + l.value
			continue
		}
		ls[k] = l
		k++
	}
	t.scratch = ls[:k]
	ls = ls[:k]
	if len(ls)+2 > t.lim.Labels {
		t.reject(ReasonLabels, 1, t.m.name+": "+strconv.Itoa(len(ls)+1)+" labels are more than "+strconv.Itoa(t.lim.Labels-1))
		return nil, false
	}
	for i := range ls {
		if len(ls[i].name) > t.lim.Name || len(ls[i].value) > t.lim.Value {
			t.reject(ReasonLabels, 1, t.m.name+": label "+strconv.Quote(clip(ls[i].name))+" is longer than allowed")
			return nil, false
		}
		ls[i].value = valid(ls[i].value)
	}
	return ls, true
}

// named adds a metric name, and one more label when extra has a name, in their places.
func named(ls []label, name string, extra label) []label {
	out := make([]label, 0, len(ls)+2)
	out = append(out, label{model.MetricNameLabel, name})
	out = append(out, ls...)
	if extra.name != "" {
		out = slices.DeleteFunc(out, func(l label) bool { return l.name == extra.name })
		out = append(out, extra)
	}
	slices.SortFunc(out, func(a, b label) int { return strings.Compare(a.name, b.name) })
	return out
}

// times checks the time of a point; Unix milliseconds.
func (t *translator) times(ts, start pcommon.Timestamp) (ms, startMS int64, ok bool) {
	if ts == 0 || ts > math.MaxInt64 {
		t.reject(ReasonTime, 1, t.m.name+": a point has no time")
		return 0, 0, false
	}
	if start > ts {
		start = 0
	}
	return int64(ts) / 1e6, int64(start) / 1e6, true
}

func (t *translator) numbers(ps pmetric.NumberDataPointSlice) {
	for _, p := range ps.All() {
		ms, start, ok := t.times(p.Timestamp(), p.StartTimestamp())
		if !ok {
			continue
		}
		ls, ok := t.labels(p.Attributes())
		if !ok {
			continue
		}
		v := p.DoubleValue()
		if p.ValueType() == pmetric.NumberDataPointValueTypeInt {
			v = float64(p.IntValue())
		}
		if p.Flags().NoRecordedValue() {
			v = staleNaN()
		}
		s := t.single.add(named(ls, t.m.name, label{}), t.m.meta)
		s.Samples = []store.Sample{{T: ms, Start: start, V: v}}
		t.exemplars(&t.single, p.Exemplars(), func(float64) *store.BatchSeries { return s })
	}
}

func staleNaN() float64 { return math.Float64frombits(value.StaleNaN) }

// many adds the samples of a point that becomes several series.
func (t *translator) many(ls []label, ms, start int64, stale bool) func(suffix string, extra label, v float64) {
	t.out.MultiFrom = append(t.out.MultiFrom, len(t.multi.b.Series))
	return func(suffix string, extra label, v float64) {
		if stale {
			v = staleNaN()
		}
		s := t.multi.add(named(ls, t.m.name+suffix, extra), t.m.meta)
		s.Samples = []store.Sample{{T: ms, Start: start, V: v}}
	}
}

// room checks the bounds for a point that becomes n and some series.
func (t *translator) room(n int) bool {
	if n <= maxBuckets && len(t.multi.b.Series)+n+3 <= t.lim.Series {
		return true
	}
	t.reject(ReasonHistogram, 1, t.m.name+": "+strconv.Itoa(n)+" buckets or quantiles; "+strconv.Itoa(maxBuckets)+" are allowed for a point, "+strconv.Itoa(t.lim.Series)+" for a request")
	return false
}

func (t *translator) histogram(p pmetric.HistogramDataPoint) {
	ms, start, ok := t.times(p.Timestamp(), p.StartTimestamp())
	if !ok {
		return
	}
	bounds, counts := p.ExplicitBounds(), p.BucketCounts()
	if counts.Len() > 0 && counts.Len() != bounds.Len()+1 {
		t.reject(ReasonHistogram, 1, t.m.name+": "+strconv.Itoa(counts.Len())+" buckets for "+strconv.Itoa(bounds.Len())+" bounds")
		return
	}
	if !t.room(bounds.Len()) {
		return
	}
	ls, ok := t.labels(p.Attributes())
	if !ok {
		return
	}
	add := t.many(ls, ms, start, p.Flags().NoRecordedValue())
	add("_count", label{}, float64(p.Count()))
	if p.HasSum() {
		add("_sum", label{}, p.Sum())
	}
	first := len(t.multi.b.Series)
	var n uint64
	for i := range bounds.Len() {
		if counts.Len() == 0 {
			break
		}
		n += counts.At(i)
		add("_bucket", label{"le", strconv.FormatFloat(bounds.At(i), 'f', -1, 64)}, float64(n))
	}
	add("_bucket", label{"le", "+Inf"}, float64(p.Count()))
	t.exemplars(&t.multi, p.Exemplars(), t.bucketOf(bounds, counts.Len() > 0, first))
}

func (t *translator) summary(p pmetric.SummaryDataPoint) {
	ms, start, ok := t.times(p.Timestamp(), p.StartTimestamp())
	if !ok {
		return
	}
	if !t.room(p.QuantileValues().Len()) {
		return
	}
	ls, ok := t.labels(p.Attributes())
	if !ok {
		return
	}
	add := t.many(ls, ms, start, p.Flags().NoRecordedValue())
	add("_count", label{}, float64(p.Count()))
	add("_sum", label{}, p.Sum())
	for _, q := range p.QuantileValues().All() {
		add("", label{"quantile", strconv.FormatFloat(q.Quantile(), 'f', -1, 64)}, q.Value())
	}
}
