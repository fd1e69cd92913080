package pipeline

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/counters"
	"github.com/weirhq/weir/query/flow"
)

// counterBook is what standard counters say: stages, rates, gauges, balances of level L1. Where applications
// count into event windows (cells), their word is taken and counters only add facts.
type counterBook struct {
	book    *counters.Book
	next    int64
	byName  map[string][]*counters.Stage // stages of all pipelines
	facts   map[*counters.Stage]stageMemo
	fresh   bool // something was read since pipelines were last made of it
	exports exportBook
}

// stageMemo keeps the facts of a stage for a while: pages are made more often than counters are read.
type stageMemo struct {
	at int64
	f  counters.Facts
}

const memoFor = 5000

func (c *counterBook) factsOf(st *counters.Stage, now int64) counters.Facts {
	if m, ok := c.facts[st]; ok && now >= m.at && now-m.at < memoFor {
		return m.f
	}
	f := st.Facts(now)
	c.facts[st] = stageMemo{now, f}
	return f
}

// counterStep is how often counters are read, milliseconds.
const counterStep = 10_000

// readCounters takes in new samples of known systems.
func (t *tenant) readCounters(ctx context.Context, now int64) error {
	c := &t.counters
	if t.s.extras.Rules == nil || now < c.next && c.next-now <= counterStep {
		return nil
	}
	if c.next == 0 { // first the pollers' series: what they tell is not taken from exporters
		c.next = now
		return nil
	}
	c.next = now + counterStep
	if c.book == nil {
		c.book = counters.New(t.s.extras.Rules, counters.DefaultLimits())
		c.exports = newExportBook(t.s.overflow)
		c.book.Broker = c.exports.take
	}
	q, err := t.s.engine.Metrics().Querier(t.id, c.book.Begin(now), now)
	if err != nil {
		return fmt.Errorf("cannot read counters: %w", err)
	}
	defer func() { _ = q.Close() }()
	if err := c.book.Read(ctx, q, now); err != nil {
		return fmt.Errorf("cannot read counters: %w", err)
	}
	bound, unnamed := c.book.Refused()
	t.s.overflow.Add(bound)
	t.s.unnamed.Add(unnamed)
	c.byName, c.facts, c.fresh = map[string][]*counters.Stage{}, map[*counters.Stage]stageMemo{}, true
	for _, p := range c.book.Pipelines() {
		for name, st := range p.Stages {
			c.byName[name] = append(c.byName[name], st)
		}
	}
	t.halves(now)
	return t.writeExports(ctx, now)
}

// discoverCounters makes pipelines of what rules named. A pipeline that applications count for keeps its graph.
func (t *tenant) discoverCounters(now int64) {
	if t.counters.book == nil {
		return
	}
	for _, p := range t.pipes {
		if p.metered && !p.cells { // what its stages read is drawn there
			p.offsets = slices.DeleteFunc(p.offsets, func(in flow.Input) bool {
				return slices.ContainsFunc(p.topo.Stages, func(s flow.Stage) bool { return slices.Contains(s.In, in) })
			})
		}
	}
	if !t.counters.fresh {
		return
	}
	t.counters.fresh = false
	t.counterVerdicts(now)
	seen := map[string]bool{}
	for _, cp := range t.counters.book.Pipelines() {
		stages, links := cp.Topology(now, t.s.cfg.Forget.Milliseconds())
		if len(stages) == 0 {
			continue
		}
		p := t.pipes[cp.Name]
		if p != nil && !p.metered && (p.cells || len(p.topo.Stages) > 0) {
			continue
		}
		if p = t.pipe(cp.Name); p == nil {
			continue
		}
		seen[p.id] = true
		p.metered, p.links = true, links
		p.topo = &flow.Topology{Pipeline: p.id, Stages: stages}
		for _, st := range cp.Stages {
			p.heard = max(p.heard, st.At)
		}
	}
	for id, p := range t.pipes {
		if p.metered && (p.cells || !seen[id]) {
			if !p.cells {
				p.topo = &flow.Topology{Pipeline: id}
			}
			p.metered, p.links = false, nil
		}
	}
}

// stageCounters are the facts of a stage from counters: of the pipeline itself, else of the one pipeline or stage
// elsewhere that has its name (a job that is one stage of a larger pipeline).
func (t *tenant) stageCounters(p *pipe, stage string, now int64) (counters.Facts, bool) {
	b := t.counters.book
	if b == nil || stage == "" {
		return counters.Facts{}, false
	}
	if st := b.Stage(p.id, stage); st != nil {
		return t.counters.factsOf(st, now), true
	}
	if sts := t.counters.byName[stage]; len(sts) == 1 {
		return t.counters.factsOf(sts[0], now), true
	}
	return counters.Facts{}, false
}

// stageFacts are the facts that forecasts and causes take from counters.
func (t *tenant) stageFacts(p *pipe, stage string, now int64) stageFacts {
	f, ok := t.stageCounters(p, stage, now)
	if !ok || f.Stale {
		return stageFacts{}
	}
	return stageFacts{busy: f.Busy, pressure: f.Pressure, watermark: f.WatermarkLag}
}

// counterLook fills in what only counters tell of a stage.
func (t *tenant) counterLook(p *pipe, l *stageLook, now int64) {
	f, ok := t.stageCounters(p, l.Name, now)
	if !ok || f.Stale {
		return
	}
	in, out := f.In, f.Out
	switch l.Kind {
	case flow.KindSource:
		if out == nil {
			out = in
		}
	case flow.KindSink:
		if in == nil {
			in = out
		}
	case flow.KindStage:
	}
	if l.in == nil {
		l.in = in
	}
	if l.out == nil {
		l.out = out
	}
}

// counterState says what counters alone know of the state of a pipeline: how many seconds its readers are behind
// (nil: not told), whether nothing flows, and whether nothing is told any more.
func (t *tenant) counterState(p *pipe, looks []stageLook, now int64) (behind *float64, who string, idle, gone bool) {
	if !p.metered {
		return nil, "", false, false
	}
	idle, gone = true, true
	for i := range looks {
		f, ok := t.stageCounters(p, looks[i].Name, now)
		if !ok {
			continue
		}
		gone = gone && f.Stale
		if f.Behind != nil && (behind == nil || *f.Behind > *behind) {
			behind, who = f.Behind, looks[i].Name
		}
		flows := f.In != nil && *f.In > 0 || f.Out != nil && *f.Out > 0
		idle = idle && !flows && (f.In != nil || f.Out != nil || f.Stale)
	}
	return behind, who, idle && !gone, gone
}

// showCounters writes what counters tell on the page: busy, pressure, watermarks, and the ways between stages
// that have no broker between them.
func (t *tenant) showCounters(page *answer.Pipeline, p *pipe, now int64) {
	if t.counters.book == nil {
		return
	}
	for i := range page.Stages {
		r := &page.Stages[i]
		f, ok := t.stageCounters(p, r.Stage, now)
		if !ok || f.Stale {
			continue
		}
		r.Busy, r.Pressure, r.Watermark = either(r.Busy, f.Busy), either(r.Pressure, f.Pressure), either(r.Watermark, f.WatermarkLag)
		if r.Watermark != nil && (page.Watermark == nil || *r.Watermark > *page.Watermark) {
			page.Watermark = r.Watermark
		}
	}
	for i := range page.Nodes {
		n := &page.Nodes[i]
		f, ok := t.stageCounters(p, n.Name, now)
		if n.ID != stageID(n.Name) || !ok || f.Stale {
			continue
		}
		n.Busy = either(n.Busy, f.Busy)
		if f.Queue != nil && *f.Queue > 0 && n.Detail == "" {
			n.Detail = flow.Count(int64(*f.Queue)) + " held"
		}
	}
	for _, l := range p.links {
		e := answer.Edge{ID: stageID(l[0]) + ">" + stageID(l[1]), From: stageID(l[0]), To: stageID(l[1]), State: answer.OK}
		for i := range page.Stages {
			if r := &page.Stages[i]; r.Stage == l[0] && len(p.links) < 2 {
				e.Rate = r.RateOut
			}
		}
		for _, b := range t.ledger.Of(p.id) {
			if b.Key.Destination == "" && b.Key.To == l[1] && b.Key.From != b.Key.To && slices.Contains(strings.Split(b.Key.From, ","), l[0]) {
				e.Lost, _ = b.Lost24h(now)
				if b.Losing(now, t.s.cfg.Losing.Milliseconds()) {
					e.State = answer.Losing
				}
			}
		}
		page.Edges = append(page.Edges, e)
	}
}

func either(a, b *float64) *float64 {
	if a != nil {
		return a
	}
	return b
}

// counterVerdicts takes the balances of counters into the ledger. Where cells tell of the same stage, they win.
func (t *tenant) counterVerdicts(now int64) {
	if t.counters.book == nil {
		return
	}
	cells := map[string]bool{}
	for _, p := range t.pipes {
		if p.cells {
			for i := range p.topo.Stages {
				cells[p.topo.Stages[i].Name] = true
			}
		}
	}
	for _, v := range t.counters.book.Verdicts(now) {
		if cells[v.To] && v.To != "" || v.To == "" && cells[v.From] || t.pipes[v.Pipeline] != nil && t.pipes[v.Pipeline].cells {
			continue
		}
		if p := t.pipes[v.Pipeline]; p == nil {
			continue
		}
		t.ledger.Say(v, now)
	}
}

// halves compares what applications counted at a broker with its offsets: producers against the end, the commit
// against consumers.
func (t *tenant) halves(now int64) {
	type side struct {
		total            float64
		at, slack, reset int64
		instances        int64
		who              []string
		pipeline         string
	}
	sum := map[counters.Port]*side{}
	for _, pt := range t.counters.book.Ports() {
		s := sum[pt.Port]
		if s == nil {
			s = &side{at: math.MaxInt64}
			sum[pt.Port] = s
		}
		s.total += pt.Total
		s.at = min(s.at, pt.At)
		s.slack = max(s.slack, pt.Interval)
		s.reset = max(s.reset, pt.Restarted)
		s.instances += int64(pt.Instances)
		s.pipeline = pt.Pipeline
		if !slices.Contains(s.who, pt.Stage) && len(s.who) < 20 {
			s.who = append(s.who, pt.Stage)
		}
	}
	for port, s := range sum {
		if now-s.at > max(4*s.slack, 60_000) {
			continue
		}
		group := port.Group
		q := t.broker.QueueFor(port.Destination, group)
		if q == nil {
			continue
		}
		var offset float64
		at, parts := int64(0), int64(0)
		add := func(v float64, told int64) {
			if told > 0 {
				offset += v
				at = max(at, told)
				parts++
			}
		}
		if port.In {
			for _, pos := range q.Positions(group) {
				add(pos.Committed())
			}
		} else {
			for part := range q.Partitions() {
				add(part.EndOffset())
			}
		}
		if parts == 0 {
			continue
		}
		slices.Sort(s.who)
		who := strings.Join(s.who, ",")
		breaks := s.reset + s.instances<<40 + parts<<52
		slack := 2*s.slack + 2*t.s.cfg.Interval.Milliseconds() + 30_000
		if port.In {
			if tr := t.counters.book.Transport(s.pipeline, "", port.Destination, group, who); tr != nil {
				tr.Step(t.counters.book, min(at, s.at), offset, s.total, slack, breaks)
			}
		} else if tr := t.counters.book.Transport(s.pipeline, who, port.Destination, "", ""); tr != nil {
			tr.Step(t.counters.book, min(at, s.at), s.total, offset, slack, breaks)
		}
	}
}
