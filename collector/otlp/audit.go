package otlp

import (
	"math"
	"slices"
	"strconv"

	"github.com/VictoriaMetrics/metrics"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/weirhq/weir/internal/cell"
)

// Names of the audit contract (docs/pipeline-model.md 3.2a).
const (
	auditMessages = "weir.audit.messages"
	auditFpSum    = "weir.audit.fp_sum"
	auditFpXor    = "weir.audit.fp_xor"
	auditLatency  = "weir.audit.latency" // histogram or exponential histogram: time from the origin stamp to here
	auditIDs      = "weir.ids"           // attribute of messages: sampled ids, as in the statsd tag
	auditIDsM     = "weir.ids_m"         // and their modulus
)

// auditDoor counts the audit counts (cells of a request) that came in over OTLP.
type auditDoor struct {
	received, accepted                                    *metrics.Counter
	noSink, badDir, badWindow, badValue, noEpoch, refused *metrics.Counter
	overflow                                              *metrics.Counter
	fpAlone, badIDs, badLatency                           *metrics.Counter
}

func newAuditDoor(set *metrics.Set) auditDoor {
	dropped := func(reason string) *metrics.Counter {
		return set.GetOrCreateCounter(`weir_collector_dropped_total{door="otlp_audit",reason="` + reason + `"}`)
	}
	return auditDoor{
		received: set.GetOrCreateCounter(`weir_collector_received_total{door="otlp_audit"}`),
		accepted: set.GetOrCreateCounter(`weir_collector_accepted_total{door="otlp_audit"}`),
		noSink:   dropped("no_audit"), badDir: dropped("bad_dir"), badWindow: dropped("bad_window"),
		badValue: dropped("bad_value"), noEpoch: dropped("no_epoch"), refused: dropped("refused"), overflow: dropped("overflow"),
		fpAlone:    set.GetOrCreateCounter(`weir_otlp_audit_fingerprints_alone_total`),
		badIDs:     set.GetOrCreateCounter(`weir_otlp_audit_samples_dropped_total{kind="ids"}`),
		badLatency: set.GetOrCreateCounter(`weir_otlp_audit_samples_dropped_total{kind="latency"}`),
	}
}

// countKey tells counts of one request apart. Scopes of one process that count the same thing add up.
type countKey struct {
	key      cell.Key
	instance string
	epoch    int64
	delta    bool
}

// count gathers what the points of one request say about one cell.
type count struct {
	countKey
	service, node string
	counts        cell.Counts
	ids           *cell.IDs
	latency       *cell.Sketch
	messages      bool // a point of weir.audit.messages was there
	sum, xor      bool
	joined        bool // belongs to another count of the list
}

// takeAudit removes the audit metrics from md and returns what they counted, in order of appearance.
func (s *sink) takeAudit(md pmetric.Metrics) *auditTaker {
	t := &auditTaker{instances: map[string]bool{}, starts: map[senderKey]int64{}}
	md.ResourceMetrics().RemoveIf(func(rm pmetric.ResourceMetrics) bool {
		had := false
		t.instances[instanceOf(rm.Resource().Attributes())] = true
		rm.ScopeMetrics().RemoveIf(func(sm pmetric.ScopeMetrics) bool {
			n := sm.Metrics().Len()
			t.scope = sm.Scope().Name()
			sm.Metrics().RemoveIf(func(m pmetric.Metric) bool { return t.take(s, rm.Resource().Attributes(), m) })
			had = had || sm.Metrics().Len() < n
			return sm.Metrics().Len() == 0 && n > 0
		})
		return had && rm.ScopeMetrics().Len() == 0
	})
	t.join()
	return t
}

// auditTaker collects the counts of one request.
type auditTaker struct {
	byKey     map[countKey]*count
	list      []*count
	starts    map[senderKey]int64 // of each run, the earliest; Unix ms
	folds     map[foldKey]uint64  // values of overflow points
	instances map[string]bool     // that the request has metrics of
	scope     string              // that is being read
}

// take tells whether m is an audit metric, and reads its points when it is.
func (t *auditTaker) take(s *sink, resource pcommon.Map, m pmetric.Metric) bool {
	switch m.Name() {
	case auditMessages, auditFpSum, auditFpXor:
	case auditLatency:
		t.latencies(s, resource, m)
		return true
	default:
		return false
	}
	var points pmetric.NumberDataPointSlice
	delta := false
	switch m.Type() {
	case pmetric.MetricTypeSum:
		points = m.Sum().DataPoints()
		delta = m.Sum().AggregationTemporality() == pmetric.AggregationTemporalityDelta
	case pmetric.MetricTypeGauge:
		points = m.Gauge().DataPoints()
	default:
		s.auditDoor.received.Inc()
		s.auditDoor.badValue.Inc()
		return true
	}
	for i := range points.Len() {
		t.point(s, resource, m.Name(), points.At(i), delta)
	}
	return true
}

func (t *auditTaker) point(s *sink, resource pcommon.Map, metric string, p pmetric.NumberDataPoint, delta bool) {
	v, ok := unsigned(p, metric != auditMessages)
	if folded(p.Attributes()) && ok && metric == auditMessages {
		s.auditDoor.received.Inc()
		s.auditDoor.overflow.Inc()
		t.overflow(foldKey{instanceOf(resource), t.scope, int64(p.StartTimestamp() / 1e6), delta}, v)
		return
	}
	key, drop := s.auditKey(p.Attributes())
	switch {
	case drop != nil:
	case !ok:
		drop = s.auditDoor.badValue
	case metric == auditMessages && !delta && p.StartTimestamp() == 0:
		drop = s.auditDoor.noEpoch
	}
	if drop != nil {
		if metric == auditMessages { // a fingerprint is part of its count, not a count
			s.auditDoor.received.Inc()
			drop.Inc()
		}
		return
	}
	k := countKey{key: key, instance: instanceOf(resource), delta: delta}
	if !delta {
		k.epoch = int64(p.StartTimestamp() / 1e6)
	}
	c := t.find(k, resource)
	switch metric {
	case auditMessages:
		c.messages = true
		c.counts.N += v
		c.sample(s, p.Attributes(), v)
	case auditFpSum:
		c.sum = true
		c.counts.FpSum += v
	default:
		c.xor = true
		c.counts.FpXor ^= v
	}
}

// folded says whether a point stands for all attribute sets beyond the limit of its SDK.
func folded(a pcommon.Map) bool {
	v, ok := a.Get("otel.metric.overflow")
	return ok && (v.Type() == pcommon.ValueTypeBool && v.Bool() || v.AsString() == "true")
}

func (t *auditTaker) overflow(k foldKey, v uint64) {
	if k.delta {
		k.epoch = 0
	}
	if t.folds == nil {
		t.folds = map[foldKey]uint64{}
	}
	t.folds[k] += v
}

// sample reads the ids of a point that counts n; what is wrong with them leaves the count as it is.
func (c *count) sample(s *sink, a pcommon.Map, n uint64) {
	v, ok := a.Get(auditIDs)
	if !ok {
		return
	}
	m := uint64(cell.MinM)
	if t := text(a, auditIDsM); t != "" {
		m, _ = strconv.ParseUint(t, 10, 64) // 0 is refused below
	}
	var ids cell.IDs
	if err := ids.ParseTag([]byte(v.AsString()), m, n); err != nil {
		s.auditDoor.badIDs.Inc()
		s.log.Debug("id sample left out; its count stands", "pipeline", c.key.Pipeline, "stage", c.key.Stage, "error", err)
		return
	}
	if c.ids == nil {
		c.ids = &cell.IDs{}
	}
	c.ids.Merge(&ids)
}

// join gives fingerprints without a start time, which gauges need not have, to the one count they can belong to.
func (t *auditTaker) join() {
	for _, fp := range t.list {
		if fp.messages || fp.epoch != 0 || !fp.sum && !fp.xor {
			continue
		}
		var owner *count
		for _, c := range t.list {
			if c.messages && !c.delta && c.key == fp.key && c.instance == fp.instance {
				if owner != nil {
					owner = nil // two epochs in one request: nobody knows whose it is
					break
				}
				owner = c
			}
		}
		if owner == nil {
			continue
		}
		owner.counts.FpSum += fp.counts.FpSum
		owner.counts.FpXor ^= fp.counts.FpXor
		owner.sum, owner.xor = owner.sum || fp.sum, owner.xor || fp.xor
		fp.joined = true
	}
}

// began is when the run that counted c began, as far as the request tells: some SDKs start a series when they first count in it.
// 0 for deltas.
func (t *auditTaker) began(c *count) int64 {
	if c.delta {
		return 0
	}
	return t.starts[senderKey{c.key.Pipeline, c.key.Stage, c.instance, 0}]
}

func (t *auditTaker) find(k countKey, resource pcommon.Map) *count {
	if c, ok := t.byKey[k]; ok {
		return c
	}
	if t.byKey == nil {
		t.byKey = map[countKey]*count{}
	}
	c := &count{countKey: k, service: text(resource, attrService), node: text(resource, attrHost)}
	t.byKey[k] = c
	t.list = append(t.list, c)
	if k.epoch != 0 {
		run := senderKey{k.key.Pipeline, k.key.Stage, k.instance, 0}
		if at, ok := t.starts[run]; !ok || k.epoch < at {
			t.starts[run] = k.epoch
		}
	}
	return c
}

// auditKey reads the attributes of a point; the counter says what is wrong with them.
func (s *sink) auditKey(a pcommon.Map) (cell.Key, *metrics.Counter) {
	k := cell.Key{
		Pipeline: text(a, "weir.pipeline"), Stage: text(a, "weir.stage"), Dir: cell.Dir(text(a, "weir.dir")),
		Destination: text(a, "weir.destination"), Group: text(a, "weir.group"), Reason: text(a, "weir.reason"),
	}
	if !slices.Contains(cell.Dirs(), k.Dir) {
		return k, s.auditDoor.badDir
	}
	var ok, wide bool
	// Without a window a record is counted, but outside exact verdicts; without a width it is in one of the collector's.
	k.Window, ok = seconds(a, "weir.window", math.MaxInt64)
	k.Width, wide = seconds(a, "weir.width", maxWidth)
	if !ok || !wide || k.Width == 0 && text(a, "weir.width") != "" {
		return k, s.auditDoor.badWindow
	}
	return k, nil
}

// maxWidth is the longest event window, seconds.
const maxWidth = 86_400

// seconds reads a number of seconds; 0 when it is not said.
func seconds(a pcommon.Map, key string, most int64) (int64, bool) {
	v := text(a, key)
	if v == "" {
		return 0, true
	}
	n, err := strconv.ParseInt(v, 10, 64)
	return n, err == nil && n >= 0 && n <= most
}

// giveAudit hands the counts over. A count that is refused never becomes right, so the sender is not asked again.
func (s *sink) giveAudit(t *auditTaker) {
	runs := map[senderKey]*grown{}
	for _, c := range t.list {
		if !c.messages && c.latency == nil {
			if !c.joined {
				s.auditDoor.fpAlone.Inc()
			}
			continue
		}
		s.auditDoor.received.Inc()
		if s.audit == nil {
			s.auditDoor.noSink.Inc()
			continue
		}
		n, err := s.giveCount(c)
		if err != nil {
			s.auditDoor.refused.Inc()
			s.log.Debug("audit count refused", "pipeline", c.key.Pipeline, "stage", c.key.Stage, "error", err)
			continue
		}
		s.auditDoor.accepted.Inc()
		if c.messages {
			k := senderKey{c.key.Pipeline, c.key.Stage, c.instance, t.began(c)}
			if runs[k] == nil {
				runs[k] = &grown{service: c.service, node: c.node}
			}
			runs[k].add(c.key.Dir, n)
		}
	}
	if s.audit != nil {
		s.follow(t, runs)
	}
}

// giveCount hands over one count and says by how many records what is known grew.
func (s *sink) giveCount(c *count) (uint64, error) {
	if c.sum && c.xor {
		c.counts.Hashed = c.counts.N
	} else { // half a fingerprint proves nothing
		c.counts.FpSum, c.counts.FpXor = 0, 0
	}
	inc := Increment{Key: c.key, Instance: c.instance, Service: c.service, Node: c.node, Counts: c.counts, Lossy: c.delta, IDs: c.ids, Latency: c.latency}
	if c.delta { // a delta that is sent twice counts twice
		return c.counts.N, s.audit.Add(inc)
	}
	return s.audit.Set(inc, c.epoch)
}

// instanceOf names the process that counted: its own instance id, else node and container or pid.
func instanceOf(resource pcommon.Map) string {
	if id := text(resource, attrInstance); id != "" {
		return id
	}
	host := text(resource, attrHost)
	for _, a := range []string{attrContainer, attrProcessPID, attrService} {
		if v := text(resource, a); v != "" {
			return host + "/" + v
		}
	}
	return host
}

func text(a pcommon.Map, key string) string {
	v, ok := a.Get(key)
	if !ok {
		return ""
	}
	return v.AsString()
}

// unsigned reads a point as a whole number. Fingerprints use all 64 bits of OTLP's signed integer.
func unsigned(p pmetric.NumberDataPoint, bits bool) (uint64, bool) {
	switch p.ValueType() {
	case pmetric.NumberDataPointValueTypeInt:
		return uint64(p.IntValue()), bits || p.IntValue() >= 0
	case pmetric.NumberDataPointValueTypeDouble:
		v := p.DoubleValue()
		return uint64(v), !bits && v >= 0 && v < 1<<53 && v == math.Trunc(v)
	default:
		return 0, false
	}
}
