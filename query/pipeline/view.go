package pipeline

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/brokers"
)

// staleAfter is how old a poll may be before its figures are no longer shown as present, milliseconds.
const staleAfter = brokers.StaleAfter

// order of states, worst first.
var stateOrder = map[answer.State]int{answer.Losing: 0, answer.Late: 1, answer.Unknown: 2, answer.Draining: 3, answer.OK: 4, answer.Idle: 5}

// build makes the view of all pipelines. Everything it needs is in memory.
func (t *tenant) build(now int64) *view {
	v := &view{at: now, pages: make(map[string]*answer.Pipeline, len(t.pipes)), parts: make(map[string]*parts, len(t.pipes)), usage: t.usage.by, completeness: t.telemetry.Completeness(t.cells.audit, t.broker.Polls(), now)}
	for _, p := range t.pipes {
		if len(p.topo.Stages)+len(p.offsets) == 0 && t.declared.Of(p.id) == nil {
			continue // only its name is known, from an earlier process
		}
		page := t.pageOnce(p, now)
		page.Completeness = v.completeness
		v.pages[p.id], v.parts[p.id] = page, p.parts
		v.rows = append(v.rows, page.PipelineRow)
	}
	slices.SortFunc(v.rows, func(a, b answer.PipelineRow) int {
		return cmp.Or(cmp.Compare(stateOrder[a.State], stateOrder[b.State]), -cmp.Compare(a.Lost24h, b.Lost24h),
			-cmp.Compare(orZero(a.Lag.Seconds), orZero(b.Lag.Seconds)), cmp.Compare(a.ID, b.ID))
	})
	if v.rows == nil {
		v.rows = []answer.PipelineRow{}
	}
	v.changes = t.recentChanges(nil, now)
	v.losses = t.ledger.RecentLosses(now)
	v.groups, v.groupsOf, v.groupsAt = t.groupEntries(now)
	v.width, v.log = t.cells.width, t.log
	v.silent, v.epochs = t.auditors()
	return v
}

func orZero(f *float64) float64 {
	if f == nil {
		return 0
	}
	return *f
}

// stageLook is what a stage looks like now.
type stageLook struct {
	flow.Stage
	lag   brokers.Lag
	input flow.Input       // the one with the largest lag
	worst *brokers.Reading // that input
	// readings are those of its inputs of which the broker tells, never those on which it never committed.
	readings, never []*brokers.Reading
	facts           stageFacts
	stale           bool // its offsets are old
	in, out         *float64
	age             *float64
	lost            int64
	losing          bool
	unseen          bool // declared, and nothing is heard of it
}

func (t *tenant) looks(p *pipe, now int64) []stageLook {
	stages, unseen := t.stagesOf(p)
	hold := t.s.cfg.Losing.Milliseconds()
	out := make([]stageLook, 0, len(stages))
	for _, st := range stages {
		l := stageLook{Stage: st, lag: brokers.Lag{Trend: flow.TrendUnknown}, unseen: unseen[st.Name]}
		var in, taken float64
		rates := len(st.In) > 0
		for _, i := range st.In {
			r := t.broker.ReadingOf(i.Destination, i.Group)
			if r == nil {
				rates = false
				continue
			}
			r.Pipeline, r.Stage = p.id, st.Name
			g := &r.Lag
			if g.Never > 0 {
				l.never = append(l.never, r)
			}
			if !g.Known {
				rates = false
				continue
			}
			if now-g.At > t.staleAfter(i.Destination) {
				l.stale = true
				rates = false
				continue
			}
			rates = rates && g.RatesKnown
			in += g.In
			taken += g.Out
			l.readings = append(l.readings, r)
			if !l.lag.Known || g.Time.Seconds > l.lag.Time.Seconds {
				records := l.lag.Records
				l.lag, l.input, l.worst = *g, i, r
				l.lag.Records += records
			} else {
				l.lag.Records += g.Records
			}
			p.heard = max(p.heard, g.At)
		}
		switch {
		case rates:
			l.lag.In, l.lag.Out = in, taken
			l.in = &taken
		case len(st.In) > 0:
			l.in = p.rates[stageDir{st.Name, cell.In}].perSecond(now)
			if l.in == nil && p.spans {
				l.in = t.spans.Rate(st.Name, cell.In, now)
			}
		}
		if len(st.Out) > 0 {
			l.out = p.rates[stageDir{st.Name, cell.Out}].perSecond(now)
			if l.out == nil && p.spans {
				l.out = t.spans.Rate(st.Name, cell.Out, now)
			}
		}
		t.counterLook(p, &l, now)
		l.facts = t.facts(p, st.Name, now)
		if n, ok := p.newestOf(st); ok {
			age := math.Max(0, float64(now-n.ts)/1000)
			l.age = &age
		}
		if b := t.ledger.Get(flow.BalanceKey(p.id, st.Name, flow.Window{})); b != nil {
			l.lost, _ = b.Lost24h(now)
			l.losing = b.Losing(now, hold)
		}
		out = append(out, l)
	}
	return out
}

// newestOf is the newest event time a stage has dealt with: put out where it counts that, else taken in.
func (p *pipe) newestOf(st flow.Stage) (newest, bool) {
	if n, ok := p.newest[stageDir{st.Name, cell.Out}]; ok {
		return n, true
	}
	n, ok := p.newest[stageDir{st.Name, cell.In}]
	return n, ok
}

// page makes the answer for one pipeline and follows its state.
func (t *tenant) page(p *pipe, now int64) *answer.Pipeline {
	looks := t.looks(p, now)
	sloLag, sloFresh := t.objective(p.id)
	page := &answer.Pipeline{At: now, PipelineRow: answer.PipelineRow{ID: p.id, Level: flow.L0, Declared: t.declared.Of(p.id) != nil}}
	row := &page.PipelineRow

	// lag of the slowest stage
	slowest := -1
	for i := range looks {
		l := &looks[i]
		if !l.lag.Known {
			continue
		}
		if slowest < 0 || l.lag.Time.Seconds > looks[slowest].lag.Time.Seconds ||
			l.lag.Time.Seconds == looks[slowest].lag.Time.Seconds && l.lag.Records > looks[slowest].lag.Records {
			slowest = i
		}
	}
	row.Lag = answer.Lag{Trend: flow.TrendUnknown, History: []float64{}}
	beyond, well := false, true
	backlog := 0.0
	for i := range looks {
		l := &looks[i]
		backlog += l.lag.Records
		if l.lag.Known && l.lag.Time.Known {
			beyond = beyond || l.lag.Time.Seconds > sloLag
			well = well && l.lag.Time.Seconds < wellWithin*sloLag
		}
		if l.lag.Known {
			p.spark(l.input).add(now, l.lag.Time)
		}
	}
	if slowest >= 0 {
		row.Slowest = looks[slowest].Name
		row.Lag = lagAnswer(&looks[slowest], p.spark(looks[slowest].input).values())
	}

	source, sink, idle := t.ages(p, looks)
	silent := t.silent(p, now)
	absent := t.absent(p, looks)
	stale := slices.ContainsFunc(looks, func(l stageLook) bool { return l.stale })
	if sink != nil {
		row.Freshness = sink
		src := *sink
		if source != nil {
			src = *source
		}
		_, state := flow.Freshness(now, now-int64(src*1000), now-int64(*sink*1000), sloFresh, t.s.cfg.IdleAfter.Seconds(), 5)
		if len(silent) == 0 && backlogOrFlow(backlog, source, sloFresh) {
			beyond = beyond || state == flow.Stale
			well = well && *sink < wellWithin*sloFresh
		}
	}
	late := p.hold.step(now, beyond, well, t.s.cfg.Calm.Milliseconds())
	row.In, row.Out = ends(looks)
	behind, who, still, gone := t.counterState(p, looks, now)
	if behind != nil && row.Lag.Seconds == nil {
		row.Lag.Seconds, row.Slowest = behind, who
	}
	hops := hopsOf(looks)
	limit := sloLag
	if late && !beyond { // still late: name what is nearest to the objective
		limit *= wellWithin
	}
	stuck, isStuck := flow.Bottleneck(hops, limit)
	if late && isStuck {
		page.Cause = t.cause(p, looks, hops, stuck, now)
		if page.Cause != nil {
			stuck.Sentence = page.Cause.Sentence
		}
	}
	losing, lossSentence := t.ledger.Losing(p.id, now, t.s.cfg.Losing.Milliseconds())
	for _, b := range t.ledger.Of(p.id) {
		lost, bound := b.Lost24h(now)
		row.Lost24h += lost
		row.LostBound += bound
	}
	switch {
	case losing:
		row.State, row.Sentence = answer.Losing, lossSentence
		if late && isStuck {
			row.LateWhy = stuck.Sentence
			row.Sentence += " Late as well: " + row.LateWhy
		}
	case late && isStuck && stuck.Class == "draining":
		row.State, row.Sentence = answer.Draining, stuck.Sentence
	case late:
		row.State, row.Sentence = answer.Late, stuck.Sentence
		if !isStuck {
			row.Sentence = fmt.Sprintf("The newest data at the sink is %s old, and no queue holds it back.", flow.Age(orZero(sink)))
		}
	case behind != nil && *behind > sloLag:
		row.State, row.Sentence = answer.Late, fmt.Sprintf("%s is %s behind.", who, flow.Age(*behind))
	case len(silent) > 0:
		row.State, row.Sentence = answer.Unknown, strings.Join(silent, " ")
	case stale:
		row.State, row.Sentence = answer.Unknown, "The offsets of its queues are no longer reported."
	case sink == nil && uncounted(looks) != "":
		row.State, row.Sentence = answer.Unknown, uncounted(looks)
	case slowest < 0 && sink == nil && neverCommitted(looks) != "":
		row.State, row.Sentence = answer.Unknown, neverCommitted(looks)
	case len(absent) > 0:
		row.State, row.Sentence = answer.Unknown, strings.Join(absent, " ")
	case gone && slowest < 0 && sink == nil:
		row.State, row.Sentence = answer.Unknown, "The counters of its stages are no longer reported."
	case slowest < 0 && sink == nil && !p.metered && !p.spans:
		row.State, row.Sentence = answer.Unknown, "No evidence yet: neither offsets nor counts."
	case (idle || still) && backlog == 0:
		row.State = answer.Idle
	default:
		row.State = answer.OK
	}
	row.Late = late || behind != nil && *behind > sloLag
	if p.state != row.State {
		if p.state != "" {
			p.note(now, changeState, fmt.Sprintf("%s: %s, was %s.", p.id, row.State, p.state))
		}
		p.state, p.since = row.State, now
	}
	row.Since = p.since
	if !late {
		isStuck = false
	}
	row.Level = t.level(p)
	t.mapOf(page, p, looks, stuck.Stage, isStuck, silent, sloLag)
	page.Stages = t.stageRows(page, p, looks, now)
	page.Latency = t.pathLatency(p, "")
	page.Partitions = t.partitionRows(looks, now, sloLag)
	page.Forecasts, row.LossIn = forecastsOf(looks)
	page.Watermark = furthest(looks)
	if row.State == answer.Late || row.State == answer.Draining {
		row.Sentence = withLoss(row.Sentence, looks)
	}
	t.showCounters(page, p, now)
	page.Changes = t.recentChanges(p, now)
	page.Evidence = t.evidence(p, looks)
	p.parts = t.partsOf(p, looks, now)
	return page
}

// backlogOrFlow says whether stale data at the sink is the pipeline's fault: something waits, or the source goes on.
func backlogOrFlow(backlog float64, source *float64, objective float64) bool {
	return backlog > 0 || source != nil && *source <= objective
}

// ages of the newest data at the sources and at the stalest sink, seconds, and whether the sources are silent.
func (t *tenant) ages(p *pipe, looks []stageLook) (source, sink *float64, idle bool) {
	for i := range looks {
		l := &looks[i]
		if l.age == nil {
			continue
		}
		if l.Kind == flow.KindSource && (source == nil || *l.age < *source) {
			source = l.age
		}
		if l.Kind == flow.KindSink && (sink == nil || *l.age > *sink) {
			sink = l.age
		}
	}
	if sink == nil && p.cells && len(looks) > 0 { // a circle has no end: take the last stage
		sink = looks[len(looks)-1].age
	}
	if source != nil {
		return source, sink, *source > t.s.cfg.IdleAfter.Seconds()
	}
	idle = true
	any := false
	for i := range looks {
		if l := &looks[i]; l.lag.Known {
			any = true
			idle = idle && l.lag.RatesKnown && l.lag.In == 0
		}
	}
	return nil, sink, any && idle
}

// silent names the auditors of a pipeline that are not heard.
func (t *tenant) silent(p *pipe, now int64) []string {
	var out []string
	if t.cells.audit == nil {
		return nil
	}
	for _, g := range t.cells.audit.Silent() {
		if _, ok := p.nodes[g.Node]; ok {
			out = append(out, g.Sentence(now))
		}
	}
	return out
}

// ends are what comes from the sources and what arrives at the sinks, records per second.
func ends(looks []stageLook) (in, out *float64) {
	plus := func(a *float64, b float64) *float64 {
		if a != nil {
			b += *a
		}
		return &b
	}
	sources := false
	for i := range looks {
		l := &looks[i]
		if l.Kind == flow.KindSource {
			sources = true
			if l.out != nil {
				in = plus(in, *l.out)
			}
		}
		if l.Kind == flow.KindSink && l.in != nil {
			out = plus(out, *l.in)
		}
	}
	if !sources && len(looks) > 0 && looks[0].lag.Known && looks[0].lag.RatesKnown {
		in = plus(nil, looks[0].lag.In)
	}
	return in, out
}

func hopsOf(looks []stageLook) []flow.Hop {
	out := make([]flow.Hop, 0, len(looks))
	for i := range looks {
		l := &looks[i]
		out = append(out, flow.Hop{
			Stage: l.Name, Instances: len(l.Instances), Lag: l.lag.Time, Backlog: l.lag.Records, Trend: l.lag.Trend, Slope: l.lag.Slope,
			In: l.lag.In, Out: l.lag.Out, Known: l.lag.Known, Stalled: l.lag.Stalled, Poison: l.lag.Poison, Drain: l.lag.Drain, Partitions: l.lag.Partitions,
			Busy: l.facts.busy, Pressure: orZero(l.facts.pressure), Upstream: upstreamOf(looks, l),
		})
	}
	return out
}

func lagAnswer(l *stageLook, history []float64) answer.Lag {
	a := answer.Lag{Trend: l.lag.Trend, History: history}
	if !l.lag.Known {
		return a
	}
	a.Messages = &l.lag.Records
	if l.lag.Time.Known {
		sec := l.lag.Time.Seconds
		a.Seconds = &sec
		if bound := l.lag.Time.Bound; !math.IsInf(bound, 0) {
			a.Bound = &bound
		}
	}
	switch {
	case l.lag.Records <= 0 || !l.lag.RatesKnown || l.lag.Drain == 0 || // the last: it keeps up, nobody looked
		l.lag.Trend == flow.Steady && !(l.lag.Stalled > 0):
	case math.IsInf(l.lag.Drain, 1):
		a.DrainNever = true
	default:
		drain := l.lag.Drain
		a.Drain = &drain
	}
	return a
}

func (t *tenant) level(p *pipe) string {
	switch {
	case p.metered:
		return flow.L1
	case !p.cells && t.spans.Judges(p.counted):
		return flow.LT
	}
	if !p.cells {
		return flow.L0
	}
	for _, b := range t.ledger.Of(p.id) {
		for _, v := range b.Verdicts() {
			if v.Level == flow.L3 {
				return flow.L3
			}
		}
	}
	return flow.L2
}

func (t *tenant) evidence(p *pipe, looks []stageLook) string {
	var parts []string
	partitions, instances := 0, 0
	for i := range looks {
		partitions += len(looks[i].lag.Partitions)
		instances += len(looks[i].Instances)
	}
	if partitions > 0 {
		parts = append(parts, fmt.Sprintf("offsets of %d partitions", partitions))
	}
	if instances > 0 {
		parts = append(parts, fmt.Sprintf("counts of %d instances", instances))
	}
	if p.metered {
		parts = append(parts, fmt.Sprintf("standard counters of %d stages", len(p.topo.Stages)))
	}
	if t.level(p) == flow.L3 {
		parts = append(parts, "fingerprints")
	}
	if n := t.spans.Joined(p.id); n > 0 {
		parts = append(parts, flow.Count(n)+" joined spans")
	}
	return strings.Join(parts, ", ")
}
