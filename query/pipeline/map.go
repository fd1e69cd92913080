package pipeline

import (
	"cmp"
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
		n.System = t.broker.SystemOf(name)
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
	if n.Busy = l.facts.busy; n.Busy == nil {
		n.Busy = t.spans.Work(p.id, l.Name, p.tally).Busy
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
	case stuck || l.lag.Known && l.lag.Time.Known && l.lag.Time.Seconds > slo:
		n.State = answer.Late
		if l.lag.Trend == flow.DrainingT {
			n.State = answer.Draining
		}
	case l.stale || l.unseen || len(silent) > 0:
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
	if r := t.broker.ReadingOf(in.Destination, in.Group); r != nil {
		g := &r.Lag
		one := stageLook{lag: *g, input: in}
		if g.Known {
			lag := lagAnswer(&one, p.spark(in).values())
			lag.At = g.At
			e.Lag = &lag
			if g.RatesKnown {
				rate := g.Out
				e.Rate = &rate
			}
		}
		switch {
		case !g.Known || l.stale:
			e.State = answer.Unknown
		case g.Time.Known && g.Time.Seconds > slo && g.Trend == flow.DrainingT:
			e.State = answer.Draining
		case g.Time.Known && g.Time.Seconds > slo:
			e.State = answer.Late
		}
	}
	if l.unseen {
		e.State = answer.Unknown
	}
	if e.Rate == nil && len(l.In) == 1 {
		e.Rate = p.rates[stageDir{l.Name, cell.In}].perSecond(t.broker.Until())
	}
	for _, b := range t.ledger.Of(p.id) {
		if b.Key.Kind == store.EdgeTransport && b.Key.To == l.Name && b.Key.Destination == in.Destination && b.Key.Group == in.Group {
			e.Lost, _ = b.Lost24h(t.broker.Until())
			if b.Losing(t.broker.Until(), t.s.cfg.Losing.Milliseconds()) {
				e.State = answer.Losing
			}
		}
	}
	return e
}

// stageRows are the balances of the stages over the settled windows of the last hour.
func (t *tenant) stageRows(page *answer.Pipeline, p *pipe, looks []stageLook, now int64) []answer.StageRow {
	out := []answer.StageRow{}
	for i := range looks {
		l := &looks[i]
		r := answer.StageRow{
			Stage: l.Name, State: answer.OK, Instances: slices.Clone(l.Instances), RateIn: l.in, RateOut: l.out,
			Busy: l.facts.busy, Pressure: l.facts.pressure, Watermark: l.facts.watermark, Amplify: ratio(l.out, l.in),
			Services: t.servedBy(p, l.Name), Version: cmp.Or(t.versions.Running(t.servedBy(p, l.Name)), versionsOf(t.usage.by[l.Name])),
		}
		if w := t.spans.Work(p.id, l.Name, p.tally); w.Spans > 0 {
			r.P50, r.P99 = w.P50, w.P99
			if r.Busy == nil {
				r.Busy = w.Busy
			}
		}
		if r.Instances == nil {
			r.Instances = []string{}
		}
		if b := t.ledger.Get(flow.BalanceKey(p.id, l.Name, flow.Window{})); b != nil {
			s, _ := b.Hour(now/1000 - 3600)
			r.In, r.Out, r.Filtered, r.DLQ, r.Dropped, r.Lost, r.Surplus = s.Up, s.Down, s.Filtered, s.DLQ, s.Dropped, s.Lost, s.Surplus
		}
		if len(l.In) == 0 && r.Out == 0 {
			r.Out = t.handedOn(p, l.Name, now)
		}
		t.fillFlow(p, &r)
		for j := range page.Nodes { // as the map shows it
			if page.Nodes[j].ID == stageID(l.Name) {
				r.State = page.Nodes[j].State
			}
		}
		out = append(out, r)
	}
	return out
}

// partitionRows joins the rows of all inputs and judges them by the objective.
func (t *tenant) partitionRows(looks []stageLook, now int64, slo float64) []answer.PartitionRow {
	out := []answer.PartitionRow{}
	for i := range looks {
		for _, in := range looks[i].In {
			r := t.broker.ReadingOf(in.Destination, in.Group)
			if r == nil || len(out) > maxPartitionRows {
				continue
			}
			out = append(out, r.Rows...)
			for j := len(out) - len(r.Rows); j < len(out); j++ {
				row := &out[j]
				switch {
				case now-r.Lag.At > t.staleAfter(in.Destination) || row.Lag.Seconds == nil:
					row.State = answer.Unknown
				case *row.Lag.Seconds > slo && row.Lag.Trend == flow.DrainingT:
					row.State = answer.Draining
				case *row.Lag.Seconds > slo:
					row.State = answer.Late
				}
			}
		}
	}
	return out
}

// maxPartitionRows is about how many partitions one page shows.
const maxPartitionRows = 10_000

// ratio of two rates; nil when one is not known or nothing comes in.
func ratio(a, b *float64) *float64 {
	if a == nil || b == nil || *b <= 0 {
		return nil
	}
	v := *a / *b
	return &v
}
