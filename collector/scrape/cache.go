package scrape

import (
	"slices"
	"strings"
	"unsafe"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/relabel"

	"github.com/weirhq/weir/collector/remotewrite"
)

// kind says what a remembered line is.
type kind uint8

const (
	kindSample  kind = iota
	kindCreated      // OpenMetrics _created: the start time of the series beside it
	kindComment      // a comment or metadata, remembered as a whole line
	kindDropped      // a sample that relabelling drops
)

// entry remembers a line of a target's answer: what comes before the value, byte for byte. The answers of
// a target hardly change but for the values, so each entry also remembers which line followed it.
type entry struct {
	key    string
	next   *entry
	series *series
	start  *startTime // nil = not known to have one
	family *family    // the family in force; a line under another one may mean something else
	member bool       // the series belongs to that family
	kind   kind
	dead   bool
	typ    metricType // the type in force; it decides how le and quantile are written
}

// metricType is the place of a type in metricTypes; 0 = none was told.
type metricType uint8

var metricTypes = [...]model.MetricType{
	"", model.MetricTypeUnknown, model.MetricTypeCounter, model.MetricTypeGauge, model.MetricTypeHistogram,
	model.MetricTypeGaugeHistogram, model.MetricTypeSummary, model.MetricTypeInfo, model.MetricTypeStateset,
}

func typeOf(t model.MetricType) metricType {
	return metricType(max(slices.Index(metricTypes[:], t), 0))
}

// startTime is shared by the series of one counter, histogram or summary and its _created line.
type startTime struct{ ms int64 }

// family is what # TYPE, # HELP and # UNIT said about a metric.
type family struct {
	name   string
	meta   metadata.Metadata
	known  bool                  // it has series
	starts map[uint64]*startTime // by hash of the labels without le and quantile; nil = no _created line yet
}

// series is one time series of a target after relabelling; two lines may lead to the same one.
type series struct {
	rw    *remotewrite.Series
	round uint32 // last scrape that gave it a sample
	live  bool   // has a sample that no staleness marker has ended
}

// cache is what a target's earlier answers have taught. One goroutine.
type cache struct {
	target  labels.Labels // of the target, public ones only
	relabel []*relabel.Config
	honor   bool
	om      bool // the answers are OpenMetrics

	root     entry
	entries  map[string]*entry
	series   map[uint64]*series // by hash of the labels
	families map[string]*family
	round    uint32

	// State of the line reader.
	slab    slab
	prev    *entry
	fam     *family
	typ     metricType
	scratch []byte
	builder *labels.Builder
	lines   int
	odd     int // lines that were replaced, or comments that came anew, since all was forgotten
}

// slab allocates lines side by side in the order of the answer: that is the order in which they are compared.
type slab struct {
	entries []entry
	bytes   []byte
}

const (
	slabEntries = 64
	slabBytes   = 8 << 10
)

func (s *slab) entry(key []byte) *entry {
	if len(s.entries) == cap(s.entries) {
		s.entries = make([]entry, 0, slabEntries)
	}
	if len(s.bytes)+len(key) > cap(s.bytes) {
		s.bytes = make([]byte, 0, max(slabBytes, len(key)))
	}
	at := len(s.bytes)
	s.bytes = append(s.bytes, key...)
	key = s.bytes[at:] // these bytes never change or move again
	s.entries = append(s.entries, entry{key: unsafe.String(unsafe.SliceData(key), len(key))})
	return &s.entries[len(s.entries)-1]
}

func newCache(target labels.Labels, rules []*relabel.Config, honor bool) *cache {
	c := &cache{target: target, relabel: rules, honor: honor, builder: labels.NewBuilder(labels.EmptyLabels())}
	c.clear()
	return c
}

// clear forgets lines, not series: staleness still has to be told about those.
func (c *cache) clear() {
	c.root = entry{}
	c.slab = slab{}
	c.entries = map[string]*entry{}
	c.families = map[string]*family{}
	c.odd = 0
	if c.series == nil {
		c.series = map[uint64]*series{}
	}
}

// begin starts a scrape.
func (c *cache) begin(om bool) {
	if om != c.om {
		c.clear()
		c.om = om
	}
	c.round++
	c.rewind()
}

// rewind goes back to the first line of the answer.
func (c *cache) rewind() {
	c.prev, c.fam, c.typ, c.lines = &c.root, nil, 0, 0
}

// follow remembers that e is the line after the previous one.
func (c *cache) follow(e *entry) {
	c.prev.next = e
	c.prev = e
	c.lines++
}

// add remembers a new sample line with labels ls as parsed.
func (c *cache) add(key []byte, ls labels.Labels) *entry {
	e := c.slab.entry(key)
	e.family, e.member, e.typ = c.fam, c.fam.has(ls.Get(model.MetricNameLabel)), c.typ
	if e.member {
		e.family.known = true
	}
	if old := c.entries[e.key]; old != nil { // the same line under another # TYPE
		old.dead = true
		c.odd++
	}
	c.entries[e.key] = e
	if c.isCreated(ls.Get(model.MetricNameLabel)) {
		e.kind = kindCreated
		e.start = c.linkStart(e.family, ls)
		return e
	}
	if e.member && e.family.starts != nil {
		e.start = e.family.start(ls)
	}
	if _, twice := ls.HasDuplicateLabelNames(); twice {
		e.kind = kindDropped
		return e
	}
	final, keep := c.finish(ls)
	if !keep {
		e.kind = kindDropped
		return e
	}
	h := final.Hash()
	s := c.series[h]
	if s == nil || !labels.Equal(s.rw.Labels(), final) { // a collision of 64-bit hashes costs a duplicate check
		var meta metadata.Metadata
		if e.member {
			meta = e.family.meta
		}
		s = &series{rw: remotewrite.NewLeanSeries(final, meta)}
		c.series[h] = s
	}
	e.series = s
	return e
}

// finish turns the labels of a line into those of a series: target labels, then relabelling.
func (c *cache) finish(ls labels.Labels) (labels.Labels, bool) {
	c.builder.Reset(ls)
	c.target.Range(func(l labels.Label) {
		old := ls.Get(l.Name)
		switch {
		case old == "":
			c.builder.Set(l.Name, l.Value)
		case c.honor:
		default:
			name := "exported_" + l.Name
			for c.builder.Get(name) != "" {
				name = "exported_" + name
			}
			c.builder.Set(name, old)
			c.builder.Set(l.Name, l.Value)
		}
	})
	if !relabel.ProcessBuilder(c.builder, c.relabel...) {
		return labels.EmptyLabels(), false
	}
	final := c.builder.Labels()
	return final, final.Get(model.MetricNameLabel) != ""
}

// has tells whether a series of this name belongs to the family.
func (f *family) has(name string) bool {
	if f == nil || !strings.HasPrefix(name, f.name) {
		return false
	}
	switch name[len(f.name):] {
	case "", "_total", "_bucket", "_sum", "_count", "_created", "_info", "_gcount", "_gsum":
		return true
	}
	return false
}

// isCreated tells whether a line gives a start time instead of a sample.
func (c *cache) isCreated(name string) bool {
	if !c.om || c.fam == nil || name != c.fam.name+"_created" {
		return false
	}
	switch metricTypes[c.typ] {
	case model.MetricTypeCounter, model.MetricTypeHistogram, model.MetricTypeSummary:
		return true
	default:
		return false
	}
}

func (f *family) start(ls labels.Labels) *startTime {
	h, _ := ls.HashWithoutLabels(nil, "le", "quantile") // the name is left out by itself
	s := f.starts[h]
	if s == nil {
		s = &startTime{}
		f.starts[h] = s
	}
	return s
}

// linkStart gives the lines of a family their start times when its first _created line is met.
func (c *cache) linkStart(f *family, created labels.Labels) *startTime {
	if f.starts == nil {
		f.starts = map[uint64]*startTime{}
		for _, e := range c.entries {
			if e.family != f || !e.member || e.kind != kindSample {
				continue
			}
			if ls, ok := c.labelsOf(e); ok {
				e.start = f.start(ls)
			}
		}
	}
	return f.start(created)
}

// describe applies a metadata line. Series that are known already learn it too.
func (c *cache) describe(name string, change func(*metadata.Metadata)) {
	f := c.families[name]
	if f == nil {
		f = &family{name: name}
		c.families[name] = f
	}
	c.fam = f
	old := f.meta
	if change(&f.meta); f.meta == old || !f.known {
		return
	}
	done := map[*series]bool{}
	for _, e := range c.entries {
		if e.family == f && e.member && e.series != nil && !done[e.series] {
			done[e.series] = true
			e.series.rw = remotewrite.NewLeanSeries(e.series.rw.Labels(), f.meta)
		}
	}
}

// forget makes room when most of what is remembered does not come any more: all lines are learnt
// again with the next answer. Series that are live stay, so that their end can be told.
func (c *cache) forget() {
	if len(c.entries)+c.odd <= 2*c.lines+64 {
		return
	}
	c.clear()
	for h, s := range c.series {
		if !s.live {
			delete(c.series, h)
		}
	}
}
