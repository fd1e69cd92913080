package otlp

import (
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/internal/cell"
)

// Life is what is known of the run of a sender; it is the audit part's type of the same form.
type Life = struct {
	Pipeline, Stage         string
	Instance, Service, Node string
	ID                      string
	Most                    uint64
	Every                   time.Duration
	Raise                   bool
	End                     bool
}

// Of senders that are followed: how many, how long one is remembered, how far apart exports are while that is not known, requests of
// which distance are parts of one export, and of how many exports distance and size are kept.
const (
	maxSenders   = 10_000
	rememberFor  = time.Hour
	unknownEvery = time.Minute
	oneExport    = 500 * time.Millisecond
	distances    = 8
	sizes        = 16
)

// senders learns of each application that exports audit counts how far apart its exports are and how much one of them holds:
// OTLP has no word for "I live", nor for "I stop".
type senders struct {
	mu      sync.Mutex
	m       map[senderKey]*sender
	of      map[string][]senderKey // of m, by instance
	folds   map[foldKey]*fold
	pruned  time.Time
	refused *metrics.Counter
}

// senderKey is a run that counts for a stage. Deltas do not tell runs apart: epoch 0.
type senderKey struct {
	pipeline, stage, instance string
	epoch                     int64 // Unix ms
}

type sender struct {
	service, node string
	began, heard  time.Time // of the newest export: its first and its newest request
	before        time.Time // the newest request of the export before; zero = there was none
	apart         [distances]time.Duration
	exports       int           // begun
	grew          [sizes]uint64 // records, in or out, by export
	in, out       uint64        // of the newest export
}

// foldKey is a run of which an SDK folds attribute sets into one.
type foldKey struct {
	instance, scope string
	epoch           int64
	delta           bool
}

type fold struct {
	told  time.Time // when its counts were whole for the last time; zero = not known
	value uint64    // cumulative
	owed  uint64    // records that no stage is known of yet
	heard time.Time // newest point
}

// folding is what a stage counted of which only the number came.
type folding struct {
	Life
	n           uint64
	since, told time.Time
}

func newSenders(set *metrics.Set) *senders {
	return &senders{
		m: map[senderKey]*sender{}, of: map[string][]senderKey{}, folds: map[foldKey]*fold{}, pruned: time.Now(),
		refused: set.GetOrCreateCounter("weir_otlp_audit_senders_refused_total"),
	}
}

// grown is what the counts of one request added for a run.
type grown struct {
	service, node string
	in, out       uint64
	largest       uint64 // of one cell
}

func (g *grown) add(d cell.Dir, n uint64) {
	g.largest = max(g.largest, n)
	switch d {
	case cell.In:
		g.in += n
	case cell.Out, cell.Filtered, cell.Dropped, cell.DLQ:
		g.out += n
	default: // counts of the same records again
	}
}

// heard takes in one request: what it added for each run, and the instances it has metrics of. It returns what is known now of
// the runs that are alive by it.
func (s *senders) heard(now time.Time, runs map[senderKey]*grown, instances map[string]bool) []Life {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prune(now)
	var out []Life
	for k, g := range runs {
		x := s.m[k]
		if x == nil {
			if len(s.m) >= maxSenders {
				s.refused.Inc()
				continue
			}
			x = &sender{}
			s.m[k] = x
			s.of[k.instance] = append(s.of[k.instance], k)
		}
		x.service, x.node = g.service, g.node
		x.take(now, k.epoch, g)
		out = append(out, x.life(k))
	}
	for instance := range instances {
		for _, k := range s.of[instance] {
			// Who exports deltas and had nothing to count lives as long as anything comes from it.
			if k.epoch == 0 && runs[k] == nil {
				s.m[k].take(now, 0, &grown{})
				out = append(out, s.m[k].life(k))
			}
		}
	}
	return out
}

// take notes one request of a run.
func (x *sender) take(now time.Time, epoch int64, g *grown) {
	if x.exports == 0 || now.Sub(x.began) >= oneExport {
		x.before = x.heard
		if x.exports > 0 {
			x.apart[(x.exports-1)%distances] = now.Sub(x.began)
		}
		x.began, x.in, x.out = now, 0, 0
		x.grew[x.exports%sizes] = 0
		x.exports++
	}
	x.heard = now
	if x.exports == 1 && epoch != 0 && now.UnixMilli()-epoch > 3*unknownEvery.Milliseconds() {
		// It has counted for long, and is only new here: one window is as much as an export can hold.
		x.in = max(x.in, g.largest)
	} else {
		x.in += g.in
		x.out += g.out
	}
	x.grew[(x.exports-1)%sizes] = max(x.in, x.out)
}

func (x *sender) life(k senderKey) Life {
	l := Life{
		Pipeline: k.pipeline, Stage: k.stage, Instance: k.instance, Service: x.service, Node: x.node,
		ID: strconv.FormatInt(k.epoch, 10), Every: unknownEvery,
	}
	if x.exports > 2 {
		l.Every = 0
		for _, d := range x.apart {
			l.Every = max(l.Every, d)
		}
	}
	for _, n := range x.grew {
		l.Most = max(l.Most, 2*n)
	}
	return l
}

// folded takes the value of an overflow point: the stages that the instance counts for, each of which all of its growth may be of,
// and whether it is the first point of the run.
func (s *senders) folded(now time.Time, k foldKey, v uint64) (out []folding, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stages := map[[2]string]senderKey{}
	for _, o := range s.of[k.instance] {
		at := [2]string{o.pipeline, o.stage}
		if other, ok := stages[at]; !ok || s.m[o].heard.After(s.m[other].heard) {
			stages[at] = o
		}
	}
	f := s.folds[k]
	if first = f == nil; first {
		if len(s.folds) >= maxSenders {
			s.refused.Inc()
			return nil, false
		}
		f = &fold{heard: now.Add(-unknownEvery)}
		for _, o := range stages {
			if b := s.m[o].before; f.told.IsZero() || b.Before(f.told) {
				f.told = b
			}
		}
		if !f.told.IsZero() {
			f.heard = f.told
		}
		s.folds[k] = f
	}
	since := f.heard
	f.heard = now
	switch {
	case k.delta:
		f.owed += v
	case v > f.value:
		f.owed += v - f.value
		f.value = v
	}
	if f.owed == 0 || len(stages) == 0 {
		return nil, first
	}
	for _, o := range stages {
		x := s.m[o]
		out = append(out, folding{Life{
			Pipeline: o.pipeline, Stage: o.stage, Instance: k.instance, Service: x.service, Node: x.node, ID: strconv.FormatInt(k.epoch, 10),
		}, f.owed, since, f.told})
	}
	f.owed = 0
	return out, first
}

// prune forgets who was not heard for long; the lock is held.
func (s *senders) prune(now time.Time) {
	if now.Sub(s.pruned) < time.Minute {
		return
	}
	s.pruned = now
	for k, x := range s.m {
		if now.Sub(x.heard) > rememberFor {
			delete(s.m, k)
			if s.of[k.instance] = slices.DeleteFunc(s.of[k.instance], func(o senderKey) bool { return o == k }); len(s.of[k.instance]) == 0 {
				delete(s.of, k.instance)
			}
		}
	}
	for k, f := range s.folds {
		if now.Sub(f.heard) > rememberFor {
			delete(s.folds, k)
		}
	}
}

// follow tells of the senders of a request what was learned of them, and which of their counts came without keys.
func (s *sink) follow(t *auditTaker, runs map[senderKey]*grown) {
	now := time.Now()
	for _, l := range s.senders.heard(now, runs, t.instances) {
		if err := s.audit.Seen(l); err != nil {
			s.log.Debug("sender not followed", "pipeline", l.Pipeline, "stage", l.Stage, "instance", l.Instance, "error", err)
		}
	}
	for k, v := range t.folds {
		list, first := s.senders.folded(now, k, v)
		if first {
			s.log.Warn("audit counts of an application lack their keys: its OpenTelemetry SDK has reached its cardinality limit, and what it counts from now on "+
				"is UNKNOWN; export weir.audit.* with delta temporality, or raise the cardinality limit of its view, or use a client of weir", "instance", k.instance)
		}
		for i := range list {
			f := &list[i]
			if err := s.audit.Folded(f.Life, f.n, f.since, f.told); err != nil {
				s.log.Debug("folded counts not noted", "pipeline", f.Pipeline, "stage", f.Stage, "instance", f.Instance, "error", err)
			}
		}
	}
}
