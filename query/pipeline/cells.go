package pipeline

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/changes"
	"github.com/weirhq/weir/query/pipeline/ledger"
	"github.com/weirhq/weir/store"
)

// cellBook holds what the last reading of the ledger gave.
type cellBook struct {
	tallies map[string]*flow.Tally
	audit   *flow.Audit
	apart   clockBook
	epochs  map[string]int64 // newest epoch of each auditor, by node
	old     map[string]bool  // pipelines whose cells were read only to know what they look like
	width   int64
	wide    int64 // when the last long reading was
	begun   bool

	clocks      map[string]flow.Clock // of the auditors' nodes
	sampled     bool                  // the last reading brought ids and latencies
	samplesNext int64                 // when the next one will, Unix milliseconds
	// services are the service names of the instances of each stage, as they were counted.
	services map[origin]map[string]bool
}

// origin is a stage as it was counted.
type origin struct{ pipeline, stage string }

// Reading samples costs time: at most so much of it, and no longer than so many milliseconds between.
const (
	sampleShare = 20
	maxSampleIn = 30_000
)

// pipe is one pipeline.
type pipe struct {
	id        string
	cells     bool // applications count for it; otherwise it is known from offsets only
	ports     map[flow.Port]int64
	began     map[flow.Port]int64         // of the same ports, their first window; 0 = there when we came
	instances map[string]map[string]int64 // stage → instance → last seen
	topo      *flow.Topology
	counted   *flow.Topology // of what applications count alone: what their counts can judge
	spans     bool           // spans tell of it
	spanPorts map[flow.Port]int64
	spanReads []flow.Input // what only spans say is read: what offsets show there is told as for groups nobody counts for
	// spanChanged asks for the graph to be built anew.
	spanChanged bool

	tally    *flow.Tally
	changes  flow.Changes
	rates    map[stageDir]*rate
	newest   map[stageDir]newest
	oldest   int64 // oldest window that is not settled, Unix seconds; 0 = none
	heard    int64 // newest cell or poll, Unix milliseconds
	state    answer.State
	hold     lateHold
	since    int64
	sparks   map[flow.Input]*spark
	log      changes.Log
	nodes    map[string]int64 // auditors that count for it → last seen
	offsets  []flow.Input     // what groups read that no application counts for
	metered  bool             // its graph comes from standard counters alone
	links    [][2]string      // of a metered one: which stage hands on to which without a broker
	trouble  *trouble         // nil while it is not late
	page     *answer.Pipeline // the last one made
	parts    *parts           // made with it
	pageOf   uint64           // version of its queues then
	latency  latencyBook
	samples  int64           // when cells last held ids or latencies, Unix milliseconds
	services map[string]bool // of its stages, and their names
	handed   handed
}

// samplesToRead says whether a pipeline's windows must not be judged before their samples are read.
func (p *pipe) samplesToRead(now int64) bool { return p.samples > 0 && now-p.samples < 10*60_000 }

type stageDir struct {
	stage string
	dir   cell.Dir
}

// newest is the newest event time counted somewhere, with its error, Unix milliseconds.
type newest struct{ ts, bound int64 }

// rate follows a running total by the moments at which it changed: counts come in flushes.
type rate struct{ points []flow.XY }

func (r *rate) add(now int64, total uint64) {
	n := len(r.points)
	if n > 0 && r.points[n-1].Y == float64(total) {
		return
	}
	r.points = append(r.points, flow.XY{X: float64(now) / 1000, Y: float64(total)})
	if len(r.points) > 64 {
		r.points = slices.Delete(r.points, 0, 16)
	}
}

// perSecond over the last minute; nil until it changed twice, 0 when it has not changed for long.
func (r *rate) perSecond(now int64) *float64 {
	if r == nil || len(r.points) == 0 {
		return nil
	}
	s := float64(now) / 1000
	last := r.points[len(r.points)-1]
	if s-last.X > 30 {
		zero := 0.0
		return &zero
	}
	i := len(r.points) - 1
	for i > 0 && s-r.points[i-1].X <= 60 && last.X-r.points[i].X < 20 {
		i--
	}
	if last.X <= r.points[i].X {
		return nil
	}
	v := (last.Y - r.points[i].Y) / (last.X - r.points[i].X)
	return &v
}

// maxQuiet bounds how many quiet pipelines are looked up when the process begins.
const maxQuiet = 500

// maxExtra bounds how many pipelines with old open windows are read apart in one evaluation.
const maxExtra = 50

// readCells reads the windows that may still change: the newest of all pipelines, older ones of those that are behind.
func (t *tenant) readCells(ctx context.Context, now int64) error {
	c := &t.cells
	if c.width == 0 {
		c.width, c.epochs, c.services = 60, map[string]int64{}, map[origin]map[string]bool{}
	}
	span := 4*c.width + int64(t.s.cfg.Grace/time.Second) + 120
	if !c.begun {
		span = min(3600, int64(t.s.cfg.Lookback/time.Second))
		c.wide = now
	} else if now-c.wide > 30_000 {
		span = max(span, ledger.Followed)
		c.wide = now
	}
	from := now/1000 - span
	evidence := t.s.engine.Ledger()
	ahead := time.UnixMilli(now).Add(48 * time.Hour)
	began := time.Now()
	c.sampled = now >= c.samplesNext
	samples := ahead
	if c.sampled {
		samples = time.Unix(max(from, now/1000-3*c.width-int64(t.s.cfg.Grace/time.Second)-30), 0)
		if !c.begun {
			samples = time.Unix(from, 0)
		}
	}
	cells, err := evidence.Cells(ctx, t.id, store.CellQuery{From: time.Unix(from, 0), To: ahead, SamplesFrom: samples})
	if err != nil {
		return fmt.Errorf("cannot read cells: %w", err)
	}
	t.declared.Remap(cells)
	c.hear(cells)
	t.spans.BeginCells()
	c.tallies = flow.Tallies(t.spans.PreferCells(cells, ""))
	c.old = map[string]bool{}
	if !c.begun { // pipelines that were quiet in the last hour: their graph and newest data
		for id := range t.pipes {
			if c.tallies[id] != nil || len(c.old) >= maxQuiet {
				continue
			}
			cells, err := t.cellsOf(ctx, id, time.UnixMilli(now).Add(-t.s.cfg.Forget), ahead, ahead)
			if err != nil {
				return err
			}
			for id, tl := range flow.Tallies(t.spans.PreferCells(cells, id)) {
				c.tallies[id], c.old[id] = tl, true
			}
		}
	}
	extra := 0
	for _, p := range t.pipes {
		first := from
		if c.sampled && p.samplesToRead(now) {
			first = samples.Unix()
		}
		if p.oldest == 0 || p.oldest >= first || !p.cells {
			continue
		}
		if extra++; extra > maxExtra {
			t.s.overflow.Inc()
			break
		}
		tl, err := t.tallyOf(ctx, p.id, time.Unix(min(from, p.oldest-2*c.width), 0), ahead, samplesOf(c.sampled, ahead))
		if err != nil {
			return err
		}
		if tl != nil {
			c.tallies[p.id] = tl
		}
	}
	auditors, err := evidence.Auditors(ctx, t.id, time.UnixMilli(now).Add(-auditorMemory(t.s.cfg)))
	if err != nil {
		return fmt.Errorf("cannot read auditors: %w", err)
	}
	c.apart.observe(auditors, now)
	rules := t.s.cfg.rules()
	rules.Apart = c.apart.spread()
	c.audit = flow.NewAudit(auditors, now, rules)
	c.audit.Lose(t.telemetry.Lost())
	c.clocks = flow.Clocks(auditors)
	if c.sampled {
		c.samplesNext = now + min(sampleShare*time.Since(began).Milliseconds(), maxSampleIn)
	}
	for _, a := range auditors {
		old, known := c.epochs[a.Node]
		if !known || a.Epoch > old {
			c.epochs[a.Node] = a.Epoch
			// After a start of the server those of the last hour are told as well.
			if known && c.begun || !c.begun && a.Previous != 0 && a.Epoch > now-3_600_000 {
				how := "restarted"
				if a.PreviousOpen {
					how = "restarted after it ended without its last counts"
				}
				t.note(a.Epoch, changeCollector, "The collector of "+a.Node+" was "+how+".")
			}
		}
	}
	c.begun = true
	return nil
}

// samplesOf is from when on samples are read: always, or not at all.
func samplesOf(read bool, ahead time.Time) time.Time {
	if read {
		return time.Time{}
	}
	return ahead
}

// auditorMemory is how long a silent auditor keeps its pipelines UNKNOWN: an hour, less when Forget is shorter.
func auditorMemory(c Config) time.Duration { return min(c.Forget, time.Hour) }

func (t *tenant) pipe(id string) *pipe {
	p := t.pipes[id]
	if p == nil {
		if len(t.pipes) >= t.s.cfg.MaxPipelines {
			t.s.overflow.Inc()
			return nil
		}
		p = &pipe{
			id: id, ports: map[flow.Port]int64{}, began: map[flow.Port]int64{}, instances: map[string]map[string]int64{}, rates: map[stageDir]*rate{},
			newest: map[stageDir]newest{}, sparks: map[flow.Input]*spark{}, topo: &flow.Topology{Pipeline: id}, counted: &flow.Topology{Pipeline: id}, nodes: map[string]int64{},
			handed: handed{},
		}
		t.pipes[id] = p
	}
	return p
}

// maxPorts bounds the ports of one pipeline; a map with more would not be read by anybody.
const maxPorts = 2000

// discover learns pipelines, their stages and what those counted.
func (t *tenant) discover(now int64) {
	forget := t.s.cfg.Forget.Milliseconds()
	t.release()
	for id := range t.declared.IDs() { // shown, and said to be unknown, before anything is heard of them
		t.pipe(id)
	}
	for id, tl := range t.cells.tallies {
		p := t.pipe(id)
		if p == nil {
			continue
		}
		t.cells.width = max(t.cells.width, min(tl.Width, 3600))
		p.cells, p.tally = true, tl
		changed, came := false, len(p.ports) == 0
		for _, port := range tl.AllPorts() {
			if _, ok := p.ports[port]; !ok {
				if len(p.ports) >= maxPorts {
					t.s.overflow.Inc()
					continue
				}
				changed = true
				if !came {
					p.began[port] = tl.First(port)
				}
			}
			p.ports[port] = now
		}
		old := len(p.instances) > 0
		for stage, ins := range tl.Instances {
			m := p.instances[stage]
			if m == nil {
				m = map[string]int64{}
				p.instances[stage] = m
				changed = true
			}
			for _, in := range ins {
				if m[in] == 0 {
					changed = true
					if old && len(m) > 0 {
						p.note(now, changeInstance, stage+" has a new instance "+in+".")
					}
				}
				m[in] = now
			}
		}
		for _, n := range tl.Nodes() {
			p.nodes[n] = now
		}
		for n, at := range p.nodes {
			if now-at > 2*3_600_000 {
				delete(p.nodes, n)
			}
		}
		for port, at := range p.ports {
			if now-at > forget {
				delete(p.ports, port)
				delete(p.began, port)
				changed = true
			}
		}
		for _, m := range p.instances {
			for in, at := range m {
				if now-at > max(600_000, 4*tl.Width*1000) {
					delete(m, in)
					changed = true
				}
			}
		}
		if changed {
			p.rebuild()
		}
		p.observe(now)
		if tl.Sampled {
			p.samples = now
		}
		if t.cells.sampled {
			t.observeLatency(p, now)
		}
	}
	t.discoverSpans(now)
	t.discoverOffsets(now)
	for id, p := range t.pipes {
		p.refreshLatency(now)
		if _, ok := t.cells.tallies[id]; !ok {
			p.tally = nil
		}
		if p.heard > 0 && now-p.heard > forget {
			delete(t.pipes, id)
		}
	}
}

func (p *pipe) rebuild() {
	ports := make([]flow.Port, 0, len(p.ports))
	for port := range p.ports {
		ports = append(ports, port)
	}
	ins := map[string][]string{}
	for stage, m := range p.instances {
		for in := range m {
			ins[stage] = append(ins[stage], in)
		}
		slices.Sort(ins[stage])
	}
	p.counted = flow.BuildPorts(p.id, ports, ins)
	p.topo = p.counted
	if len(p.spanPorts) > 0 {
		for port := range p.spanPorts {
			if _, ok := p.ports[port]; !ok {
				ports = append(ports, port)
			}
		}
		p.topo = flow.BuildPorts(p.id, ports, ins)
	}
	p.spanReads = p.readBySpans()
}

// observe takes rates and newest event times from the tally.
func (p *pipe) observe(now int64) {
	oldest := int64(math.MaxInt64)
	if len(p.tally.Windows) > 0 {
		oldest = p.tally.Windows[0].Start
	}
	if p.oldest > 0 {
		oldest = min(oldest, p.oldest)
	}
	p.changes.Observe(p.tally, now, min(oldest, now/1000-ledger.Followed))
	totals := map[stageDir]uint64{}
	for _, port := range p.tally.AllPorts() {
		totals[stageDir{port.Stage, port.Dir}] += p.changes.Total(port)
	}
	for sd, n := range totals {
		r := p.rates[sd]
		if r == nil {
			r = &rate{}
			p.rates[sd] = r
		}
		if len(r.points) > 0 && r.points[len(r.points)-1].Y != float64(n) || len(r.points) == 0 {
			p.heard = now
		}
		r.add(now, n)
		if ts, bound, ok := p.tally.NewestTS(sd.stage, sd.dir); ok && ts > p.newest[sd].ts {
			p.newest[sd] = newest{min(ts, now), bound}
		}
	}
}

// discoverOffsets finds groups that no application counts for: on queues of a pipeline they join it, others
// make a pipeline of their own, named like the queue.
func (t *tenant) discoverOffsets(now int64) {
	if !t.s.cfg.Offsets {
		return
	}
	owner := map[string][]*pipe{}
	own := func(p *pipe, destination string) {
		if destination != "" && !slices.Contains(owner[destination], p) {
			owner[destination] = append(owner[destination], p)
		}
	}
	counted := map[flow.Input]bool{}
	for _, p := range t.pipes {
		if !p.cells && !p.spans {
			continue
		}
		for _, st := range p.topo.Stages {
			for _, d := range st.Out {
				own(p, d)
			}
			for _, in := range st.In {
				counted[in] = true
				own(p, in.Destination)
			}
		}
	}
	for destination, id := range t.declared.Touched() {
		if p := t.pipes[id]; p != nil {
			own(p, destination)
		}
	}
	found := map[*pipe][]flow.Input{}
	for q := range t.broker.Queues() {
		for r := range q.Readings() {
			at := r.Lag.At
			if at == 0 || !r.Lag.Known && r.Lag.Never == 0 {
				continue
			}
			in := flow.Input{Destination: q.Destination, Group: r.Group}
			if counted[in] || now-at > t.s.cfg.Forget.Milliseconds() || t.declared.Ignored(q.Destination, r.Group) {
				continue
			}
			ps := owner[q.Destination]
			if id, _, ok := t.declared.Reader(q.System, q.Cluster, q.Destination, r.Group); ok {
				ps = nil
				if p := t.pipes[id]; p != nil {
					ps = []*pipe{p}
				}
			}
			if len(ps) == 0 {
				if p := t.pipe(q.Destination); p != nil {
					ps = []*pipe{p}
				}
			}
			for _, p := range ps {
				if !p.cells {
					p.heard = max(p.heard, at)
				}
				if !slices.Contains(found[p], in) {
					found[p] = append(found[p], in)
				}
			}
		}
	}
	for _, p := range t.pipes {
		p.offsets = found[p]
		slices.SortFunc(p.offsets, func(a, b flow.Input) int {
			if c := strings.Compare(a.Destination, b.Destination); c != 0 {
				return c
			}
			return strings.Compare(a.Group, b.Group)
		})
	}
}

// maxServices bounds how many services of a stage, and how many stages, are remembered.
const (
	maxServices = 32
	maxStages   = 100_000
)

// hear notes which services count as which stage.
func (c *cellBook) hear(cells []cell.Cell) {
	for i := range cells {
		x := &cells[i]
		if x.Service == "" {
			continue
		}
		o := origin{x.Pipeline, x.Stage}
		m := c.services[o]
		if m == nil {
			if len(c.services) >= maxStages {
				continue
			}
			m = map[string]bool{}
			c.services[o] = m
		}
		if !m[x.Service] && len(m) < maxServices {
			m[x.Service] = true
		}
	}
}

// servicesOf are the service names of a stage's instances: as they count, else as declared, else its own name.
func (t *tenant) servicesOf(pipeline, stage string) []string {
	out := slices.Sorted(maps.Keys(t.cells.services[origin{pipeline, stage}]))
	if doc := t.declared.Of(pipeline); doc != nil {
		if s := doc.Stage(stage); s != nil {
			out = append(out, s.Services...)
		}
	}
	if len(out) == 0 {
		out = append(out, stage)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
