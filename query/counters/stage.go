package counters

import (
	"slices"
	"strings"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/flow/rules"
)

// Pipeline is one pipeline that rules named.
type Pipeline struct {
	Name   string
	System *rules.System
	Stages map[string]*Stage // by name; "" holds what is told of the whole
}

// Stage is one stage, over its instances.
type Stage struct {
	Pipeline, Name, Kind string
	System               *rules.System
	At                   int64 // newest sample

	instances map[string]*stageInstance
	inputs    map[flow.Input]int64
	outputs   map[string]int64
	links     map[string]int64
	restarts  []point
}

type point struct {
	at int64
	v  float64
}

// stageInstance is what one instance says of one stage.
type stageInstance struct {
	stage  *Stage
	inst   *instance
	unit   string
	at     int64
	gauges map[rules.Role]point
	meters map[rules.Role]*meter
	bal    *balance
	ports  map[Port]*meter
}

// Port is what a stage reads or writes at a broker.
type Port struct {
	In                 bool
	Destination, Group string
}

// meter is a running total with its recent course.
type meter struct {
	total, base float64 // base: the total before the first point
	points      []point
}

const maxPoints = 128

func (m *meter) add(at int64, inc float64) {
	n := len(m.points)
	if n == 0 {
		m.base = m.total
	}
	m.total += inc
	if n > 0 && at <= m.points[n-1].at { // another series of the same scrape, or one that comes late
		i, _ := slices.BinarySearchFunc(m.points, at, func(p point, t int64) int { return int(p.at - t) })
		for ; i < n; i++ {
			m.points[i].v += inc
		}
		return
	}
	m.points = append(m.points, point{at, m.total})
	if len(m.points) > maxPoints {
		m.base = m.points[maxPoints/4-1].v
		m.points = slices.Delete(m.points, 0, maxPoints/4)
	}
}

// since is the total of increases after a time.
func (m *meter) since(at int64) float64 {
	if m == nil || len(m.points) == 0 {
		return 0
	}
	for _, p := range slices.Backward(m.points) {
		if p.at <= at {
			return m.total - p.v
		}
	}
	return m.total - m.base
}

// rate per second over the last minute, at least over four scrapes.
func (m *meter) rate(now, interval int64) (float64, bool) {
	if m == nil || len(m.points) < 2 {
		return 0, false
	}
	last := m.points[len(m.points)-1]
	if now-last.at > max(3*interval, 45_000) {
		return 0, false
	}
	from := last.at - max(60_000, 4*interval)
	i := len(m.points) - 1
	for i > 0 && m.points[i-1].at >= from {
		i--
	}
	if last.at <= m.points[i].at {
		return 0, false
	}
	return (last.v - m.points[i].v) / (float64(last.at-m.points[i].at) / 1000), true
}

func (b *Book) stageOf(m *rules.Match, inst *instance) *stageInstance {
	p := b.pipelines[m.Pipeline]
	if p == nil {
		if b.stages >= b.limits.Stages {
			return nil
		}
		p = &Pipeline{Name: m.Pipeline, System: m.Rule.System, Stages: map[string]*Stage{}}
		b.pipelines[m.Pipeline] = p
	}
	st := p.Stages[m.Stage]
	if st == nil {
		if b.stages >= b.limits.Stages {
			return nil
		}
		b.stages++
		st = &Stage{
			Pipeline: m.Pipeline, Name: m.Stage, System: m.Rule.System, instances: map[string]*stageInstance{},
			inputs: map[flow.Input]int64{}, outputs: map[string]int64{}, links: map[string]int64{},
		}
		p.Stages[m.Stage] = st
	}
	if st.Kind == "" {
		st.Kind = m.Rule.Kind
	}
	key := m.Rule.System.Name + "\x00" + m.Instance
	si := st.instances[key]
	if si == nil {
		si = &stageInstance{stage: st, inst: inst, unit: m.Unit, gauges: map[rules.Role]point{}, meters: map[rules.Role]*meter{}, ports: map[Port]*meter{}}
		st.instances[key] = si
		inst.throughPipeline = p
	}
	if m.Rule.Balanced && si.bal == nil {
		si.bal = &balance{inst: inst, hold: m.Rule.Hold.Milliseconds(), quiet: m.Rule.System.Quiet, based: inst.breaks(), edge: b.edgeOf(edgeKey{pipeline: st.Pipeline, to: st.Name})}
		si.bal.edge.used = true
	}
	return si
}

func (si *stageInstance) heard(at int64) {
	si.at = max(si.at, at)
	si.stage.At = max(si.stage.At, at)
}

func (si *stageInstance) gauge(role rules.Role, m *rules.Match, at int64, v float64) {
	if g := si.gauges[role]; at < g.at {
		return
	} else if at == g.at { // several series of one scrape: sums add up, shares keep the worst
		switch role {
		case rules.Queued, rules.Waiting, rules.Held, rules.Capacity, rules.RateIn, rules.RateOut, rules.RateMax:
			v += g.v
		case rules.Watermark:
			v = min(v, g.v)
		default:
			v = max(v, g.v)
		}
	}
	si.gauges[role] = point{at, v}
	switch role {
	case rules.Link:
		if v > 0 && len(si.stage.links) < 200 {
			si.stage.links[m.To] = at
		}
	case rules.Restarts:
		si.stage.restarted(at, v)
	default: // read when facts are made
	}
}

// restarted keeps a total of restarts by the minute for two hours.
func (st *Stage) restarted(at int64, v float64) {
	n := len(st.restarts)
	if n > 0 && at-st.restarts[n-1].at < 60_000 {
		st.restarts[n-1].v = max(v, st.restarts[n-1].v)
		return
	}
	st.restarts = append(st.restarts, point{at, v})
	if n > 120 {
		st.restarts = st.restarts[1:]
	}
}

// moved is what went in and out after a time.
func (si *stageInstance) moved(from int64) float64 {
	return si.meters[rules.In].since(from) + si.meters[rules.Out].since(from)
}

func (si *stageInstance) increase(b *Book, m *rules.Match, role rules.Role, at int64, inc float64) {
	mt := si.meters[role]
	if mt == nil {
		mt = &meter{}
		si.meters[role] = mt
	}
	mt.add(at, inc)
	st := si.stage
	if m.Destination != "" && len(si.ports) < 1000 {
		switch role {
		case rules.In:
			st.inputs[flow.Input{Destination: m.Destination, Group: m.Group}] = at
			si.port(Port{true, m.Destination, m.Group}).add(at, inc)
		case rules.Out:
			st.outputs[m.Destination] = at
			si.port(Port{false, m.Destination, ""}).add(at, inc)
		default: // says nothing of a broker
		}
	}
	if inc <= 0 && role != rules.In && role != rules.Out {
		return
	}
	balanced := si.bal != nil && !m.Rule.Apart
	if balanced {
		si.bal.count(role, at, inc)
	}
	if st.System.Through && (!m.Rule.Apart || st.Kind != "source") { // what a source gave up never came in
		b.through(si).count(throughRole(st.Kind, role), at, inc)
	}
	if role == rules.Dropped || balanced {
		e := b.edgeOf(edgeKey{pipeline: st.Pipeline, to: st.Name})
		b.count(e, role, m.Reason, at, inc, balanced)
	}
}

func (si *stageInstance) port(p Port) *meter {
	m := si.ports[p]
	if m == nil {
		m = &meter{}
		si.ports[p] = m
	}
	return m
}

// throughRole is what a count of a stage means for the way through the whole system; "" when nothing.
func throughRole(kind string, role rules.Role) rules.Role {
	switch role {
	case rules.In:
		if kind == "source" {
			return rules.In
		}
	case rules.Added:
		return rules.In
	case rules.Out:
		if kind == "sink" {
			return rules.Out
		}
	case rules.Filtered, rules.Dropped, rules.DLQ, rules.Retried, rules.Failed:
		return role
	default: // no part of a balance
	}
	return ""
}

// through is the balance of an instance from its sources to its sink.
func (b *Book) through(si *stageInstance) *balance {
	x := si.inst.through[si.unit]
	if x == nil {
		x = &balance{inst: si.inst, hold: si.stage.System.Hold.Milliseconds(), quiet: si.stage.System.Quiet, based: si.inst.breaks()}
		si.inst.through[si.unit] = x
	}
	return x
}

// Pipelines lists what rules named, by name.
func (b *Book) Pipelines() []*Pipeline {
	out := make([]*Pipeline, 0, len(b.pipelines))
	for _, p := range b.pipelines {
		out = append(out, p)
	}
	slices.SortFunc(out, func(x, y *Pipeline) int { return strings.Compare(x.Name, y.Name) })
	return out
}

// Stage finds one stage.
func (b *Book) Stage(pipeline, stage string) *Stage {
	if p := b.pipelines[pipeline]; p != nil {
		return p.Stages[stage]
	}
	return nil
}

// PortTotal is what a stage counted at a broker since it is followed.
type PortTotal struct {
	Pipeline, Stage string
	Port            Port
	Total           float64
	At, Interval    int64
	Restarted       int64 // when a counter last began anew
	Instances       int
}

// Ports are the totals of what stages read and wrote at brokers, over their instances.
func (b *Book) Ports() []PortTotal {
	var out []PortTotal
	for _, p := range b.Pipelines() {
		for _, st := range p.Stages {
			at := map[Port]int{}
			for _, si := range st.instances {
				for port, m := range si.ports {
					i, ok := at[port]
					if !ok {
						i = len(out)
						at[port] = i
						out = append(out, PortTotal{Pipeline: p.Name, Stage: st.Name, Port: port})
					}
					t := &out[i]
					t.Total += m.total
					t.At, t.Interval = max(t.At, si.at), max(t.Interval, si.inst.interval)
					t.Restarted = max(t.Restarted, si.inst.reset)
					t.Instances++
				}
			}
		}
	}
	return out
}

// Topology of a pipeline: its stages, what they read and write, and which stage hands on to which without a broker.
func (p *Pipeline) Topology(now, forget int64) (stages []flow.Stage, links [][2]string) {
	kinds := map[string][]string{}
	for name, st := range p.Stages {
		if name == "" || now-st.At > forget {
			continue
		}
		s := flow.Stage{Name: name, Kind: flow.KindStage}
		switch st.Kind {
		case "source":
			s.Kind = flow.KindSource
		case "sink":
			s.Kind = flow.KindSink
		}
		for _, si := range st.instances {
			if n := strings.Trim(si.inst.key.instance, "/"); n != "" && si.fresh(now, si.at) && len(s.Instances) < 1000 {
				s.Instances = append(s.Instances, n)
			}
		}
		slices.Sort(s.Instances)
		s.Instances = slices.Compact(s.Instances)
		for in := range st.inputs {
			s.In = append(s.In, in)
		}
		slices.SortFunc(s.In, func(a, b flow.Input) int {
			return strings.Compare(a.Destination+"\x00"+a.Group, b.Destination+"\x00"+b.Group)
		})
		for d := range st.outputs {
			s.Out = append(s.Out, d)
		}
		slices.Sort(s.Out)
		for to, at := range st.links {
			if now-at <= forget && p.Stages[to] != nil {
				links = append(links, [2]string{name, to})
			}
		}
		stages = append(stages, s)
		kinds[kindOf(st.Kind)] = append(kinds[kindOf(st.Kind)], name)
	}
	rank := map[flow.Kind]int{flow.KindSource: 0, flow.KindStage: 1, flow.KindSink: 2}
	slices.SortFunc(stages, func(a, b flow.Stage) int {
		if d := rank[a.Kind] - rank[b.Kind]; d != 0 {
			return d
		}
		return strings.Compare(a.Name, b.Name)
	})
	if len(links) == 0 {
		links = p.ordered(kinds)
	}
	slices.SortFunc(links, func(a, b [2]string) int { return strings.Compare(a[0]+"\x00"+a[1], b[0]+"\x00"+b[1]) })
	return stages, links
}

func kindOf(k string) string {
	if k == "" {
		return "stage"
	}
	return k
}

// ordered links the kinds of a system one after the other, where one side has one stage: more cannot be told.
func (p *Pipeline) ordered(kinds map[string][]string) (links [][2]string) {
	var before []string
	for _, k := range p.System.Order {
		here := kinds[k]
		if len(here) == 0 {
			continue
		}
		if len(before) == 1 || len(here) == 1 {
			for _, a := range before {
				for _, c := range here {
					links = append(links, [2]string{a, c})
				}
			}
		}
		before = here
	}
	return links
}
