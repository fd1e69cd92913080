package statsd

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/weirhq/weir/collector/remotewrite"
)

// series is what is sent. All but the first group belongs to the flusher.
type series struct {
	rw     *remotewrite.Series
	hash   uint64
	next   *series // with the same hash
	kind   kind
	timing bool // in milliseconds
	origin *origin

	dead      bool
	started   bool    // something was counted
	sent      bool    // at least once, so that an end must be sent too
	backdated bool    // start lies before the series was made
	touched   int64   // Unix ms of the last tick that brought something
	start     int64   // Unix ms from which a counter or histogram counts
	last      int64   // Unix ms of the last sample
	value     float64 // counter: total; gauge: value
	hist      *hist
	members   map[uint64]struct{}

	// What the readers bring together in one flush: the value set last, and the sum of deltas.
	setValue, delta float64
	setStamp        int64
}

// registry holds the series of all readers. Readers come here only with lines they have not seen before.
type registry struct {
	cfg     Config
	origins Origins
	seed    maphash.Seed

	mu      sync.Mutex
	series  map[uint64]*series // by hash of the labels
	all     []*series
	owners  map[Tags]*origin
	senders map[senderKey]*sender
	ids     uint64
	tick    int64 // Unix ms of the last flush, or of the start
}

// origin is who series are labelled with, and how many it has.
type origin struct {
	tags Tags
	live int
}

// sender is one origin behind one door. Readers compare senders by pointer.
type sender struct {
	id     uint64
	tags   Tags
	audits atomic.Bool // sends audit lines, so what it loses matters to them
}

type senderKey struct {
	tags Tags
	door string
}

// maxSenders bounds the interning of senders; past it, it begins again, which costs a few look-ups and nothing else.
const maxSenders = 8192

func newRegistry(cfg Config, origins Origins) *registry {
	return &registry{
		cfg: cfg, origins: origins, seed: maphash.MakeSeed(),
		series: map[uint64]*series{}, owners: map[Tags]*origin{}, senders: map[senderKey]*sender{},
	}
}

func (r *registry) sender(door string, t Tags) *sender {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := senderKey{t, door}
	if s, ok := r.senders[k]; ok {
		return s
	}
	if len(r.senders) >= maxSenders {
		clear(r.senders)
	}
	r.ids++
	s := &sender{id: r.ids, tags: t}
	r.senders[k] = s
	return s
}

// resolve finds or makes the series that a line belongs to.
func (r *registry) resolve(l *line, from Tags) (*series, reason) {
	ls, tags, ok := identity(l, from, r.origins)
	if !ok {
		return nil, badLabels
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.find(ls); s != nil {
		if s.kind != l.kind {
			return nil, typeConflict
		}
		return s, taken
	}
	if len(r.all) >= r.cfg.MaxSeries {
		return nil, seriesLimit
	}
	if o := r.owners[tags]; o != nil && o.live >= r.cfg.MaxSeriesPerOrigin {
		return nil, seriesLimit
	}
	return r.add(ls, l.kind, l.timing, tags), taken
}

// revive returns the living series with the labels of a dead one; nil when another kind took the name.
func (r *registry) revive(dead *series) *series {
	r.mu.Lock()
	defer r.mu.Unlock()
	ls := dead.rw.Labels()
	if s := r.find(ls); s != nil {
		if s.kind != dead.kind {
			return nil
		}
		return s
	}
	return r.add(ls, dead.kind, dead.timing, dead.origin.tags)
}

func (r *registry) find(ls labels.Labels) *series {
	for s := r.series[ls.Hash()]; s != nil; s = s.next {
		if labels.Equal(s.rw.Labels(), ls) {
			return s
		}
	}
	return nil
}

func (r *registry) add(ls labels.Labels, k kind, timing bool, tags Tags) *series {
	meta := metadata.Metadata{Type: model.MetricTypeGauge}
	if timing {
		meta.Unit = "milliseconds"
	}
	o := r.owners[tags]
	if o == nil {
		o = &origin{tags: tags}
		r.owners[tags] = o
	}
	o.live++
	switch k {
	case counter:
		meta.Type = model.MetricTypeCounter
	case histo:
		meta.Type = model.MetricTypeHistogram
	case gauge, set:
	}
	h := ls.Hash()
	s := &series{
		rw: remotewrite.NewSeries(ls, meta), hash: h, next: r.series[h], kind: k, timing: timing, origin: o, start: r.tick, touched: r.tick,
	}
	if k == histo {
		s.hist = newHist()
	}
	r.series[h] = s
	r.all = append(r.all, s)
	return s
}

// sweep removes the dead series.
func (r *registry) sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.all[:0]
	for _, s := range r.all {
		if !s.dead {
			kept = append(kept, s)
			continue
		}
		if s.origin.live--; s.origin.live == 0 {
			delete(r.owners, s.origin.tags)
		}
		p := r.series[s.hash]
		if p == s {
			if s.next == nil {
				delete(r.series, s.hash)
			} else {
				r.series[s.hash] = s.next
			}
			continue
		}
		for p.next != s {
			p = p.next
		}
		p.next = s.next
	}
	clear(r.all[len(kept):])
	r.all = kept
}
