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
	"github.com/weirhq/weir/store"
)

// cellBook holds what the last reading of the ledger gave.
type cellBook struct {
	tallies map[string]*flow.Tally
	audit   *flow.Audit
	clocks  clockBook
	epochs  map[string]int64 // newest epoch of each auditor, by node
	old     map[string]bool  // pipelines whose cells were read only to know what they look like
	width   int64
	wide    int64 // when the last long reading was
	begun   bool
}

// pipe is one pipeline.
type pipe struct {
	id        string
	cells     bool // applications count for it; otherwise it is known from offsets only
	ports     map[flow.Port]int64
	instances map[string]map[string]int64 // stage → instance → last seen
	topo      *flow.Topology
	tally     *flow.Tally
	changes   flow.Changes
	rates     map[stageDir]*rate
	newest    map[stageDir]newest
	oldest    int64 // oldest window that is not settled, Unix seconds; 0 = none
	heard     int64 // newest cell or poll, Unix milliseconds
	state     answer.State
	hold      lateHold
	since     int64
	sparks    map[flow.Input]*spark
	log       []answer.Change
	nodes     map[string]int64 // auditors that count for it → last seen
	offsets   []flow.Input     // what groups read that no application counts for
}

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
		c.width, c.epochs = 60, map[string]int64{}
	}
	span := 4*c.width + int64(t.s.cfg.Grace/time.Second) + 120
	if !c.begun {
		span = min(3600, int64(t.s.cfg.Lookback/time.Second))
		c.wide = now
	} else if now-c.wide > 30_000 {
		span = max(span, followed)
		c.wide = now
	}
	from := now/1000 - span
	ledger := t.s.engine.Ledger()
	ahead := time.UnixMilli(now).Add(48 * time.Hour)
	cells, err := ledger.Cells(ctx, t.id, store.CellQuery{From: time.Unix(from, 0), To: ahead})
	if err != nil {
		return fmt.Errorf("cannot read cells: %w", err)
	}
	c.tallies = flow.Tallies(cells)
	c.old = map[string]bool{}
	if !c.begun { // pipelines that were quiet in the last hour: their graph and newest data
		for id := range t.pipes {
			if c.tallies[id] != nil || len(c.old) >= maxQuiet {
				continue
			}
			cells, err := ledger.Cells(ctx, t.id, store.CellQuery{Pipeline: id, From: time.UnixMilli(now).Add(-t.s.cfg.Forget), To: ahead})
			if err != nil {
				return fmt.Errorf("cannot read cells of %q: %w", id, err)
			}
			for id, tl := range flow.Tallies(cells) {
				c.tallies[id], c.old[id] = tl, true
			}
		}
	}
	extra := 0
	for _, p := range t.pipes {
		if p.oldest == 0 || p.oldest >= from || !p.cells {
			continue
		}
		if extra++; extra > maxExtra {
			t.s.overflow.Inc()
			break
		}
		cells, err := ledger.Cells(ctx, t.id, store.CellQuery{Pipeline: p.id, From: time.Unix(p.oldest-2*c.width, 0), To: ahead})
		if err != nil {
			return fmt.Errorf("cannot read cells of %q: %w", p.id, err)
		}
		maps.Copy(c.tallies, flow.Tallies(cells))
	}
	auditors, err := ledger.Auditors(ctx, t.id, time.UnixMilli(now).Add(-auditorMemory(t.s.cfg)))
	if err != nil {
		return fmt.Errorf("cannot read auditors: %w", err)
	}
	c.clocks.observe(auditors, now)
	c.audit = flow.NewAudit(auditors, now, t.s.cfg.rules())
	for _, a := range auditors {
		old, known := c.epochs[a.Node]
		if !known || a.Epoch > old {
			c.epochs[a.Node] = a.Epoch
			if known && c.begun {
				how := "restarted"
				if a.PreviousOpen {
					how = "restarted after it ended without its last counts"
				}
				t.note(a.Epoch, "The collector of "+a.Node+" was "+how+".")
			}
		}
	}
	c.begun = true
	return nil
}

// auditorMemory is how long a silent auditor keeps its pipelines UNKNOWN: an hour, less when Forget is shorter.
func auditorMemory(c Config) time.Duration { return min(c.Forget, time.Hour) }

// note adds to the changes shown beside every pipeline of the tenant.
func (t *tenant) note(at int64, text string) {
	t.log = append(t.log, answer.Change{At: at, Text: text})
	if len(t.log) > 200 {
		t.log = slices.Delete(t.log, 0, 100)
	}
}

func (p *pipe) note(at int64, text string) {
	p.log = append(p.log, answer.Change{At: at, Text: text})
	if len(p.log) > 100 {
		p.log = slices.Delete(p.log, 0, 50)
	}
}

func (t *tenant) pipe(id string) *pipe {
	p := t.pipes[id]
	if p == nil {
		if len(t.pipes) >= t.s.cfg.MaxPipelines {
			t.s.overflow.Inc()
			return nil
		}
		p = &pipe{
			id: id, ports: map[flow.Port]int64{}, instances: map[string]map[string]int64{}, rates: map[stageDir]*rate{},
			newest: map[stageDir]newest{}, sparks: map[flow.Input]*spark{}, topo: &flow.Topology{Pipeline: id}, nodes: map[string]int64{},
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
	for id, tl := range t.cells.tallies {
		p := t.pipe(id)
		if p == nil {
			continue
		}
		t.cells.width = max(t.cells.width, min(tl.Width, 3600))
		p.cells, p.tally = true, tl
		changed := false
		for _, port := range tl.AllPorts() {
			if _, ok := p.ports[port]; !ok {
				if len(p.ports) >= maxPorts {
					t.s.overflow.Inc()
					continue
				}
				changed = true
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
						p.note(now, stage+" has a new instance "+in+".")
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
	}
	t.discoverOffsets(now)
	for id, p := range t.pipes {
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
	p.topo = flow.BuildPorts(p.id, ports, ins)
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
	p.changes.Observe(p.tally, now, min(oldest, now/1000-followed))
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
	counted := map[flow.Input]bool{}
	for _, p := range t.pipes {
		if !p.cells {
			continue
		}
		p.offsets = p.offsets[:0]
		for _, st := range p.topo.Stages {
			for _, d := range st.Out {
				if d != "" && !slices.Contains(owner[d], p) {
					owner[d] = append(owner[d], p)
				}
			}
			for _, in := range st.In {
				counted[in] = true
				if in.Destination != "" && !slices.Contains(owner[in.Destination], p) {
					owner[in.Destination] = append(owner[in.Destination], p)
				}
			}
		}
	}
	seen := map[string][]flow.Input{}
	for qk, q := range t.broker.queues {
		groups := map[string]int64{}
		for _, part := range q.parts {
			for g, m := range part.groups {
				if m.at > 0 && !m.filtered {
					groups[g] = max(groups[g], m.at)
				}
			}
		}
		for g, at := range groups {
			in := flow.Input{Destination: qk.destination, Group: g}
			if counted[in] || now-at > t.s.cfg.Forget.Milliseconds() {
				continue
			}
			if ps := owner[qk.destination]; len(ps) > 0 {
				for _, p := range ps {
					p.offsets = append(p.offsets, in)
				}
				continue
			}
			seen[qk.destination] = append(seen[qk.destination], in)
			if p := t.pipe(qk.destination); p != nil {
				p.heard = max(p.heard, at)
			}
		}
	}
	for id, p := range t.pipes {
		if !p.cells {
			p.offsets = seen[id]
		}
		slices.SortFunc(p.offsets, func(a, b flow.Input) int {
			if c := strings.Compare(a.Destination, b.Destination); c != 0 {
				return c
			}
			return strings.Compare(a.Group, b.Group)
		})
	}
}
