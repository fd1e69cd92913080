package pipeline

import (
	"maps"
	"slices"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/flow"
)

// discoverSpans finds the pipelines that spans tell of: stages and queues that are connected. They join the pipeline that knows
// one of their queues already; else they are one of their own, with the name the spans give or that of the first queue.
func (t *tenant) discoverSpans(now int64) {
	if !t.spans.Fresh() {
		return
	}
	seen := map[string]*pipe{}
	t.spans.Assign(t.countedQueues(), func(id string, port flow.Port, heard int64) bool {
		p := t.pipe(id)
		if p == nil {
			return false
		}
		seen[id] = p
		t.addSpanPort(p, port, heard, now)
		return true
	})
	for _, p := range seen {
		p.spans = true
		for port, at := range p.spanPorts {
			if now-at > t.s.cfg.Forget.Milliseconds() {
				delete(p.spanPorts, port)
				p.spanChanged = true
			}
		}
		if p.spanChanged {
			p.spanChanged = false
			p.rebuild()
		}
		t.spanTimes(p, now)
	}
	t.spans.Keep(func(id string) bool { return t.pipes[id] != nil })
}

// countedQueues are the queues at which applications count, with the pipeline of the first of them.
func (t *tenant) countedQueues() map[string]string {
	owner := map[string]string{}
	for _, id := range slices.Sorted(maps.Keys(t.pipes)) {
		p := t.pipes[id]
		if !p.cells || p.counted == nil {
			continue
		}
		for _, st := range p.counted.Stages {
			for _, d := range st.Out {
				if d != "" && owner[d] == "" {
					owner[d] = id
				}
			}
			for _, in := range st.In {
				if in.Destination != "" && owner[in.Destination] == "" {
					owner[in.Destination] = id
				}
			}
		}
	}
	return owner
}

func (t *tenant) addSpanPort(p *pipe, port flow.Port, heard, now int64) {
	if p.spanPorts == nil {
		p.spanPorts = map[flow.Port]int64{}
	}
	if _, ok := p.spanPorts[port]; !ok {
		if len(p.spanPorts) >= maxPorts {
			t.s.overflow.Inc()
			return
		}
		p.spanChanged = true
	}
	p.spanPorts[port] = now
	p.heard = max(p.heard, min(now, heard))
}

// spanTimes takes the newest event times of stages that do not count themselves.
func (t *tenant) spanTimes(p *pipe, now int64) {
	t.spans.Newest(p.id, func(stage string, d cell.Dir, at int64) {
		sd := stageDir{stage, d}
		if p.counts(sd) || at <= p.newest[sd].ts {
			return
		}
		p.newest[sd] = newest{min(at, now), 0}
	})
}

// readBySpans are the inputs of the graph that no application counts.
func (p *pipe) readBySpans() []flow.Input {
	var out []flow.Input
	for _, st := range p.topo.Stages {
		own, _ := p.counted.Stage(st.Name)
		for _, in := range st.In {
			if in.Group != "" && !slices.Contains(own.In, in) {
				out = append(out, in)
			}
		}
	}
	return out
}

// counts says whether a stage counts itself in one direction.
func (p *pipe) counts(sd stageDir) bool {
	for port := range p.ports {
		if port.Stage == sd.stage && port.Dir == sd.dir {
			return true
		}
	}
	return false
}
