package pipeline

import (
	"fmt"
	"slices"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

func stageID(name string) string { return "stage:" + name }
func queueID(name string) string { return "queue:" + name }

// mapOf draws stages and queues, and the lag where a queue meets its reader.
func (t *tenant) mapOf(page *answer.Pipeline, p *pipe, looks []stageLook, stuck string, isStuck bool, silent []string, slo float64) {
	page.Nodes, page.Edges = []answer.Node{}, []answer.Edge{}
	read, drawn := map[string]bool{}, map[string]bool{}
	for i := range looks {
		for _, in := range looks[i].In {
			read[in.Destination] = true
		}
	}
	queue := func(name string, age *float64) {
		if name == "" || drawn[name] {
			return
		}
		drawn[name] = true
		n := answer.Node{ID: queueID(name), Kind: "queue", Name: name, State: answer.OK, Age: age}
		if !read[name] {
			n.Kind = "sink"
		}
		if qs := t.broker.byName[name]; len(qs) > 0 {
			n.System = qs[0].system
		}
		page.Nodes = append(page.Nodes, n)
	}
	for i := range looks {
		l := &looks[i]
		for _, in := range l.In { // a queue stands before its reader, also when nobody known writes it
			queue(in.Destination, nil)
		}
		page.Nodes = append(page.Nodes, t.stageNode(p, l, isStuck && stuck == l.Name, silent, slo))
		for _, d := range l.Out {
			queue(d, l.age)
		}
	}
	for i := range looks {
		l := &looks[i]
		for _, in := range l.In {
			if in.Destination == "" {
				continue
			}
			page.Edges = append(page.Edges, t.readEdge(p, l, in, slo))
		}
		for _, d := range l.Out {
			if d == "" {
				continue
			}
			e := answer.Edge{ID: stageID(l.Name) + ">" + queueID(d), From: stageID(l.Name), To: queueID(d), State: answer.OK, Rate: l.out}
			if len(l.Out) > 1 {
				e.Rate = nil // counted per stage, not per branch
			}
			page.Edges = append(page.Edges, e)
		}
	}
	for i := range page.Nodes {
		n := &page.Nodes[i]
		if n.Kind != "queue" && n.Kind != "sink" || n.ID != queueID(n.Name) {
			continue
		}
		var waiting *answer.Lag
		for j := range page.Edges {
			e := &page.Edges[j]
			if e.To == n.ID {
				n.In = addRate(n.In, e.Rate)
			}
			if e.From == n.ID {
				n.Out = addRate(n.Out, e.Rate)
				if e.Lag != nil && (waiting == nil || orZero(e.Lag.Seconds) > orZero(waiting.Seconds)) {
					waiting = e.Lag
				}
				if stateOrder[e.State] < stateOrder[n.State] && e.State != answer.Losing {
					n.State = e.State
				}
			}
		}
		if waiting != nil && waiting.Seconds != nil {
			n.Detail = flow.Age(*waiting.Seconds) + " waiting"
		}
		if page.State == answer.Idle {
			n.State = answer.Idle
		}
	}
}

func addRate(a, b *float64) *float64 {
	if b == nil {
		return a
	}
	v := *b
	if a != nil {
		v += *a
	}
	return &v
}

func (t *tenant) stageNode(p *pipe, l *stageLook, stuck bool, silent []string, slo float64) answer.Node {
	n := answer.Node{
		ID: stageID(l.Name), Name: l.Name, Kind: string(l.Kind), Instances: len(l.Instances), Age: l.age,
		In: l.in, Out: l.out, Lost: l.lost, Stuck: stuck, State: answer.OK,
	}
	if l.Kind == flow.KindSink && len(l.Out) > 0 {
		n.Kind = "stage" // what it writes is drawn as the sink
	}
	if n.Busy == nil {
		n.Busy = t.workOf(p, l.Name).busy
	}
	if u, ok := t.usage.by[l.Name]; ok {
		n.CPU, n.Throttled = u.cpu, u.throttled
		if u.instances > n.Instances {
			n.Instances = u.instances
		}
	}
	switch {
	case l.losing:
		n.State = answer.Losing
	case stuck || l.lag.known && l.lag.lag.Known && l.lag.lag.Seconds > slo:
		n.State = answer.Late
		if l.lag.trend == flow.DrainingT {
			n.State = answer.Draining
		}
	case l.stale || len(silent) > 0:
		n.State = answer.Unknown
	case p.state == answer.Idle:
		n.State = answer.Idle
	}
	if n.Instances > 0 {
		n.Detail = fmt.Sprintf("%d instances", n.Instances)
		if n.Instances == 1 {
			n.Detail = "1 instance"
		}
	}
	if n.CPU != nil {
		if n.Detail != "" {
			n.Detail += ", "
		}
		n.Detail += fmt.Sprintf("%.2f cores", *n.CPU)
	}
	return n
}

func (t *tenant) readEdge(p *pipe, l *stageLook, in flow.Input, slo float64) answer.Edge {
	e := answer.Edge{
		ID: queueID(in.Destination) + ">" + stageID(l.Name) + ":" + in.Group, From: queueID(in.Destination), To: stageID(l.Name),
		State: answer.OK, Group: in.Group,
	}
	if q := t.broker.queueFor(in.Destination, in.Group); q != nil {
		g := q.lagOf(in.Group)
		one := stageLook{lag: g, input: in}
		if g.known {
			lag := lagAnswer(&one, p.spark(in).values())
			e.Lag = &lag
			if g.ratesKnown {
				e.Rate = &g.out
			}
		}
		switch {
		case !g.known || l.stale:
			e.State = answer.Unknown
		case g.lag.Known && g.lag.Seconds > slo && g.trend == flow.DrainingT:
			e.State = answer.Draining
		case g.lag.Known && g.lag.Seconds > slo:
			e.State = answer.Late
		}
	}
	if e.Rate == nil && len(l.In) == 1 {
		e.Rate = p.rates[stageDir{l.Name, cell.In}].perSecond(t.broker.until)
	}
	for _, b := range t.ledger.byPipe[p.id] {
		if b.key.Kind == store.EdgeTransport && b.key.To == l.Name && b.key.Destination == in.Destination && b.key.Group == in.Group {
			e.Lost, _ = b.lost24h()
			if n, _, _ := b.recentLoss(t.broker.until, t.s.cfg.Losing.Milliseconds()); n > 0 {
				e.State = answer.Losing
			}
		}
	}
	return e
}

// stageRows are the balances of the stages over the settled windows of the last hour.
func (t *tenant) stageRows(p *pipe, looks []stageLook, now int64) []answer.StageRow {
	out := []answer.StageRow{}
	for i := range looks {
		l := &looks[i]
		r := answer.StageRow{Stage: l.Name, State: answer.OK, Instances: slices.Clone(l.Instances), RateIn: l.in, RateOut: l.out}
		if w := t.workOf(p, l.Name); w.spans > 0 {
			r.P50, r.P99 = w.p50, w.p99
			if r.Busy == nil {
				r.Busy = w.busy
			}
		}
		if r.Instances == nil {
			r.Instances = []string{}
		}
		if b := t.ledger.books[flow.BalanceKey(p.id, l.Name, flow.Window{})]; b != nil {
			for w, s := range b.hour {
				if w < now/1000-3600 {
					continue
				}
				r.In += s.up
				r.Out += s.down
				r.Filtered += s.filtered
				r.DLQ += s.dlq
				r.Dropped += s.dropped
				r.Lost += s.lost
				r.Surplus += s.surplus
			}
		}
		if l.losing {
			r.State = answer.Losing
		} else if p.state == answer.Idle {
			r.State = answer.Idle
		}
		out = append(out, r)
	}
	return out
}

func (t *tenant) partitionRows(looks []stageLook, now int64, slo float64) []answer.PartitionRow {
	out := []answer.PartitionRow{}
	known := func(s sample) *float64 {
		if s.at == 0 {
			return nil
		}
		return &s.v
	}
	for i := range looks {
		for _, in := range looks[i].In {
			q := t.broker.queueFor(in.Destination, in.Group)
			if q == nil {
				continue
			}
			for _, fp := range q.flow.Partitions {
				part := q.parts[fp.Name]
				m := part.groups[in.Group]
				if m == nil || len(out) >= 10_000 {
					continue
				}
				r := answer.PartitionRow{
					System: q.system, Destination: in.Destination, Partition: fp.Name, Group: in.Group, Start: known(part.start), End: known(part.end),
					Committed: known(m.committed), Pending: known(m.unacked), Redelivered: known(m.redelivered), State: answer.OK,
				}
				one := stageLook{lag: groupLag{
					known: m.at > 0, lag: m.lag, records: m.records, drain: m.drain, ratesKnown: m.in.Known() && m.out.Known(),
					trend: flow.Trend(flow.TheilSen(m.backlogs), m.in.Rate), stalled: m.stalled,
				}}
				r.Lag = lagAnswer(&one, []float64{})
				switch {
				case m.at == 0 || now-m.at > staleAfter || !m.lag.Known:
					r.State = answer.Unknown
				case m.lag.Seconds > slo && one.lag.trend == flow.DrainingT:
					r.State = answer.Draining
				case m.lag.Seconds > slo:
					r.State = answer.Late
				}
				out = append(out, r)
			}
		}
	}
	return out
}
