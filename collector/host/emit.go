package host

import (
	"math"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"

	"github.com/weirhq/weir/collector/remotewrite"
)

// figure is one kind of series. extra names the label that tells its series apart, if any.
type figure struct {
	name, help, unit, extra string
	counter                 bool
}

// subject is what is measured: the node, a container, a process.
type subject struct {
	key    string
	labels []string // pairs beside node
	start  int64    // Unix ms at which its counters began; 0 = unknown
	items  map[itemKey]*item
	round  uint64
}

type itemKey struct {
	figure *figure
	extra  string
}

type item struct {
	rw    *remotewrite.Series
	round uint64
}

// emitter prepares every series once and marks those that vanish as stale. One goroutine.
type emitter struct {
	node     string
	batch    *remotewrite.Batch
	subjects map[string]*subject
	round    uint64
	at       int64
}

func newEmitter(node string, b *remotewrite.Batch) *emitter {
	return &emitter{node: node, batch: b, subjects: map[string]*subject{}}
}

func (e *emitter) begin(now time.Time) {
	e.batch.Reset()
	e.round++
	e.at = now.UnixMilli()
}

// subject returns the subject with this key, made with labels (name, value, …) when it is new.
func (e *emitter) subject(key string, start int64, ls ...string) *subject {
	s := e.subjects[key]
	if s == nil {
		s = &subject{key: key, labels: ls, start: start, items: map[itemKey]*item{}}
		e.subjects[key] = s
	}
	s.round = e.round
	return s
}

func (e *emitter) put(s *subject, f *figure, extra string, v float64) {
	k := itemKey{f, extra}
	it := s.items[k]
	if it == nil {
		it = &item{rw: e.series(s, f, extra)}
		s.items[k] = it
	}
	it.round = e.round
	var start int64
	if f.counter && s.start <= e.at {
		start = s.start
	}
	e.batch.Add(it.rw, e.at, start, v)
}

func (e *emitter) series(s *subject, f *figure, extra string) *remotewrite.Series {
	b := labels.NewBuilder(labels.EmptyLabels())
	b.Set(model.MetricNameLabel, f.name)
	b.Set("node", e.node)
	for i := 0; i+1 < len(s.labels); i += 2 {
		b.Set(s.labels[i], s.labels[i+1]) // an empty value leaves the label out
	}
	if f.extra != "" {
		b.Set(f.extra, extra)
	}
	m := metadata.Metadata{Type: model.MetricTypeGauge, Help: f.help, Unit: f.unit}
	if f.counter {
		m.Type = model.MetricTypeCounter
	}
	return remotewrite.NewSeries(b.Labels(), m)
}

// end marks what had a sample before and has none now.
func (e *emitter) end() {
	for key, s := range e.subjects {
		for k, it := range s.items {
			if it.round != e.round {
				e.batch.Add(it.rw, e.at, 0, math.Float64frombits(value.StaleNaN))
				delete(s.items, k)
			}
		}
		if s.round != e.round {
			delete(e.subjects, key)
		}
	}
}
