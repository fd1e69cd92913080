package flow

import (
	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// SpanStage is a stage of a pipeline of which only spans are counted.
type SpanStage struct{ Pipeline, Stage string }

// PreferCells turns what collectors counted from spans into the counts of stages that do not count themselves, and leaves the
// others' away: nothing is counted twice. Of fetched and processed messages the processed ones count. Where some messages of a
// port have no event time, its windows are not whole and it is left out. pipeline tells whose a queue is where spans do not; "" =
// nobody's. The result tells which stages are counted from spans.
func PreferCells(cells []cell.Cell, pipeline func(destination string) string) ([]cell.Cell, map[SpanStage]bool) {
	some := false
	for i := range cells {
		if ofSpans(cells[i].Dir) {
			some = true
			break
		}
	}
	if !some {
		return cells, nil
	}
	type port struct {
		SpanStage
		dir                cell.Dir
		destination, group string
	}
	own, known := map[SpanStage]bool{}, map[string]string{} // stages that count themselves; and in which pipeline, by stage
	untimed, processed := map[port]bool{}, map[port]bool{}
	portOf := func(c *cell.Cell) port {
		return port{SpanStage{c.Pipeline, c.Stage}, c.Dir, c.Destination, c.Group}
	}
	for i := range cells {
		c := &cells[i]
		switch {
		case c.Dir == cell.In || c.Dir == cell.Out:
			own[SpanStage{c.Pipeline, c.Stage}] = true
			known[c.Stage] = c.Pipeline
		case ofSpans(c.Dir) && c.Window == 0 && c.N > 0:
			untimed[portOf(c)] = true
		case c.Dir == cell.SpanIn && c.N > 0:
			p := portOf(c)
			p.dir = cell.SpanReceived
			processed[p] = true
		}
	}
	out := make([]cell.Cell, 0, len(cells))
	from := map[SpanStage]bool{}
	for i := range cells {
		c := cells[i]
		if !ofSpans(c.Dir) {
			out = append(out, c)
			continue
		}
		if p := portOf(&c); untimed[p] || c.Dir == cell.SpanReceived && processed[p] || c.Window == 0 {
			continue
		}
		switch c.Dir {
		case cell.SpanOut:
			c.Dir = cell.Out
		case cell.SpanIn, cell.SpanReceived:
			c.Dir = cell.In
		case cell.SpanFailed:
			c.Dir = cell.Failed
		default:
			continue
		}
		if c.Pipeline == cell.SpanPipeline {
			if _, counts := known[c.Stage]; counts {
				continue
			}
			if c.Pipeline = pipeline(c.Destination); c.Pipeline == "" {
				continue
			}
		}
		st := SpanStage{c.Pipeline, c.Stage}
		if own[st] {
			continue
		}
		from[st] = true
		out = append(out, c)
	}
	return out, from
}

func ofSpans(d cell.Dir) bool {
	switch d {
	case cell.SpanOut, cell.SpanIn, cell.SpanReceived, cell.SpanAcked, cell.SpanFailed:
		return true
	default:
		return false
	}
}

// spansIn says whether one side of a balance is counted from spans.
func (s *settler) spansIn(v *view) bool {
	if len(s.FromSpans) == 0 {
		return false
	}
	if v.kind == store.EdgeBalance {
		return s.FromSpans[v.stage.Name]
	}
	if s.FromSpans[v.edge.To] {
		return true
	}
	for _, f := range v.edge.From {
		if s.FromSpans[f] {
			return true
		}
	}
	return false
}

// capSpans takes back what counts of spans cannot prove: an exporter that drops spans looks like a loss.
func capSpans(v *store.Verdict) {
	v.Level = LT
	v.Confidence = min(v.Confidence, 0.9)
	if v.State == Loss || v.State == Mixed {
		v.State = ProbableLoss
		v.Reasons = append(v.Reasons, "One side is counted from spans: an exporter that drops spans looks the same.")
	}
}
