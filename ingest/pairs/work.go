package pairs

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// work is what the process spans of one stage do with their time.
type work struct {
	sums  bucketSet
	names map[uint64]string // of what they call, by hash
	sends bool              // some of its traces go on
}

// callTable joins client spans with the process spans of the same service in the same trace, whichever comes first.
// Two generations of at most bound traces each.
type callTable struct {
	now, last map[uint64]callState
	bound     int
	began     int64
}

// callState is a trace in which a service made calls or processed messages.
type callState struct {
	w               *work
	pending         []call
	trace           store.TraceID
	at              int64 // begin of its process span, Unix milliseconds
	processed, sent uint16
}

type call struct {
	name          uint64
	kind, op, who string // only until the name is known
	ms            float64
	start         int64
	id            store.SpanID
}

const (
	maxCallsPerTrace = 64
	callMemory       = 60_000 // milliseconds of one generation
)

// turn begins a generation and returns the traces that are forgotten.
func (c *callTable) turn(now int64) map[uint64]callState {
	if now-c.began < callMemory {
		return nil
	}
	old := c.last
	c.last, c.now, c.began = c.now, nil, now
	for k := range c.last {
		delete(old, k) // moved on
	}
	return old
}

// endings counts the traces that went into a stage and did not come out of it. What that means the stage alone knows; beside a
// loss that counts prove they are examples.
func (t *table) endings(old map[uint64]callState, now int64) {
	for _, s := range old {
		if s.w == nil || !s.w.sends {
			continue
		}
		b := s.w.sums.at(t, s.at, now)
		if b == nil {
			continue
		}
		if s.sent >= s.processed {
			b.Matched++
			continue
		}
		b.Missed++
		keepTrace(&b.Examples, &s.trace, cell.MaxPairExamples)
	}
}

// passedOn notes that a service that processes messages put one out.
func (t *table) passedOn(sp *store.Span) {
	if _, works := (*t.consumers.Load())[sp.Service]; !works {
		return
	}
	k := callKey(&sp.Trace, sp.Service)
	s := t.calls.get(k)
	s.sent++
	if s.w != nil {
		s.w.sends = true
	}
	t.calls.set(k, s)
}

func (c *callTable) get(k uint64) callState {
	s, ok := c.now[k]
	if !ok {
		if s, ok = c.last[k]; ok {
			c.set(k, s)
		}
	}
	return s
}

func (c *callTable) set(k uint64, s callState) bool {
	if c.now == nil {
		c.now = map[uint64]callState{}
	}
	if _, ok := c.now[k]; !ok && len(c.now) >= c.bound {
		return false
	}
	c.now[k] = s
	return true
}

func callKey(t *store.TraceID, service string) uint64 {
	return textKey(3, service) ^ mix(binary.LittleEndian.Uint64(t[:8])^mix(binary.LittleEndian.Uint64(t[8:])))
}

// worked counts a process span.
func (t *table) worked(f *fact, now int64) {
	sp := f.sp
	w := t.works[workKey{f.pipeline, f.stage}]
	if w == nil {
		if t.full() {
			return
		}
		k := workKey{strings.Clone(f.pipeline), strings.Clone(f.stage)}
		w = &work{names: map[uint64]string{}}
		w.sums = t.newSet(cell.PairKey{Kind: cell.PairWork, Pipeline: k.pipeline, To: k.stage})
		t.works[k] = w
		t.all = append(t.all, &w.sums)
	}
	b := w.sums.at(t, sp.Start/1e6, now)
	if b == nil {
		return
	}
	ms := float64(sp.Duration) / 1e6
	b.Spans++
	b.Messages++
	b.BusyMS += ms
	f.count(&b.PairCounts, 1)
	b.sketch(&b.Time).Observe(ms, 1)
	if n := len(b.Instances); f.instance != "" && (n == 0 || b.Instances[n-1] != f.instance) && n < cell.MaxPairInstances && !slices.Contains(b.Instances, f.instance) {
		b.Instances = append(b.Instances, strings.Clone(f.instance))
	}
	t.consumes(sp.Service)
	k := callKey(&sp.Trace, sp.Service)
	s := t.calls.get(k)
	for i := range s.pending {
		t.charge(w, &s.pending[i], now)
	}
	s.w, s.pending, s.trace, s.at = w, nil, sp.Trace, sp.Start/1e6
	s.processed++
	w.sends = w.sends || s.sent > 0
	if !t.calls.set(k, s) {
		t.p.meters.callsFull.Inc()
	}
}

// consumes notes that a service processes messages: from now on its client spans are looked at.
func (t *table) consumes(service string) {
	known := *t.consumers.Load()
	if _, ok := known[service]; ok || len(known) >= t.p.cfg.MaxEdges {
		return
	}
	more := maps.Clone(known)
	more[strings.Clone(service)] = struct{}{}
	t.consumers.Store(&more)
}

// called counts a client span of a service that processes messages.
func (t *table) called(f *fact, now int64) {
	sp := f.sp
	if !t.seen.Add(spanKey(&sp.Trace, &sp.ID)) {
		return
	}
	c := call{name: textKey(4, f.kind, f.op, f.peer), kind: f.kind, op: f.op, who: f.peer, ms: float64(sp.Duration) / 1e6, start: sp.Start, id: sp.ID}
	k := callKey(&sp.Trace, sp.Service)
	s := t.calls.get(k)
	if s.w != nil {
		t.charge(s.w, &c, now)
		return
	}
	if len(s.pending) >= maxCallsPerTrace {
		t.p.meters.callsFull.Inc()
		return
	}
	c.kind, c.op, c.who = strings.Clone(c.kind), strings.Clone(c.op), strings.Clone(c.who)
	s.pending = append(s.pending, c)
	if !t.calls.set(k, s) {
		t.p.meters.callsFull.Inc()
	}
}

// charge adds a call to what a stage waits for.
func (t *table) charge(w *work, c *call, now int64) {
	name, ok := w.names[c.name]
	if !ok {
		if len(w.names) >= 4*cell.MaxDependencies { // names are what applications say; the first are kept
			t.p.meters.callsFull.Inc()
			name = "others"
		} else {
			name = c.kind
			if c.op != "" {
				name += " " + c.op
			}
			if c.who != "" {
				name += " " + c.who
			}
			name = strings.Clone(name[:min(len(name), maxName)])
			w.names[c.name] = name
		}
	}
	b := w.sums.at(t, c.start/1e6, now)
	if b == nil {
		return
	}
	i := slices.IndexFunc(b.Calls, func(d cell.Dependency) bool { return d.Name == name })
	if i < 0 {
		b.Calls = append(b.Calls, cell.Dependency{Name: name, Time: &cell.Sketch{}})
		i = len(b.Calls) - 1
	}
	d := &b.Calls[i]
	d.N++
	d.MS += c.ms
	d.Time.Observe(c.ms, 1)
}

// callsOf copies the calls that take longest.
func callsOf(cs []cell.Dependency) []cell.Dependency {
	if len(cs) == 0 {
		return nil
	}
	out := slices.Clone(cs)
	slices.SortFunc(out, func(a, b cell.Dependency) int { return cmp.Or(-cmp.Compare(a.MS, b.MS), cmp.Compare(a.Name, b.Name)) })
	out = out[:min(len(out), cell.MaxDependencies)]
	for i := range out {
		out[i].Time = out[i].Time.Clone()
	}
	return out
}
