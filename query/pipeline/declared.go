package pipeline

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/declared"
	"github.com/weirhq/weir/store"
)

// readDeclared brings declarations up to date, and forgets the stages of pipelines whose declaration is another.
func (t *tenant) readDeclared(ctx context.Context, now int64) error {
	changed, err := t.declared.Read(ctx, now)
	for id := range changed {
		t.renew(id)
	}
	return err
}

// renew forgets what stages a pipeline has; the next reading finds them again. Its history stays.
func (t *tenant) renew(id string) {
	old := t.pipes[id]
	if old == nil {
		return
	}
	delete(t.pipes, id)
	if p := t.pipe(id); p != nil {
		p.oldest, p.heard, p.state, p.since, p.sparks, p.log, p.nodes, p.changes, p.handed = old.oldest, old.heard, old.state, old.since, old.sparks, old.log, old.nodes, old.changes, old.handed
	}
	t.nextSettle = 0
}

// cellsOf reads the cells of one pipeline, wherever they were counted; ids and latencies only of windows from samples on.
func (t *tenant) cellsOf(ctx context.Context, id string, from, to, samples time.Time) ([]cell.Cell, error) {
	var out []cell.Cell
	for _, src := range t.declared.Sources(id) {
		cells, err := t.s.engine.Ledger().Cells(ctx, t.id, store.CellQuery{Pipeline: src, From: from, To: to, SamplesFrom: samples})
		if err != nil {
			return nil, fmt.Errorf("cannot read cells of %q: %w", src, err)
		}
		t.declared.Remap(cells)
		out = append(out, slices.DeleteFunc(cells, func(c cell.Cell) bool { return c.Pipeline != id })...)
	}
	return out, nil
}

// tallyOf is what was counted for one pipeline, by applications and, of stages that do not count themselves, from spans. Spans need not
// name a pipeline: what they count lies apart. nil = nothing was counted.
func (t *tenant) tallyOf(ctx context.Context, id string, from, to, samples time.Time) (*flow.Tally, error) {
	cells, err := t.cellsOf(ctx, id, from, to, samples)
	if err != nil {
		return nil, err
	}
	if id != cell.SpanPipeline && len(t.spans.Stages(id)) > 0 {
		more, err := t.s.engine.Ledger().Cells(ctx, t.id, store.CellQuery{Pipeline: cell.SpanPipeline, From: from, To: to, SamplesFrom: to})
		if err != nil {
			return nil, fmt.Errorf("cannot read cells of spans: %w", err)
		}
		cells = append(cells, more...)
	}
	return flow.Tallies(t.spans.PreferCells(cells, id))[id], nil
}

// release takes stages that belong to declared pipelines from those that counted them.
func (t *tenant) release() {
	for id, p := range t.pipes {
		changed := false
		for port := range p.ports {
			if t.declared.Moved(id, port.Stage) {
				delete(p.ports, port)
				delete(p.instances, port.Stage)
				changed = true
			}
		}
		if !changed {
			continue
		}
		p.rebuild()
		if len(p.ports) == 0 && !t.declared.Has(id) {
			delete(t.pipes, id)
		}
	}
}

// objective of a pipeline, in seconds: what is declared, else what the configuration says.
func (t *tenant) objective(id string) (lag, freshness float64) {
	lag, freshness = t.s.cfg.objective(id)
	if d := t.declared.Of(id); d != nil {
		if d.SLO.Lag > 0 {
			lag = d.SLO.Lag.Seconds()
		}
		if d.SLO.Freshness > 0 {
			freshness = d.SLO.Freshness.Seconds()
		}
	}
	return lag, freshness
}

// stageName is the stage that reads an input nobody counts for: the declared one, else one named like its group.
func (t *tenant) stageName(p *pipe, in flow.Input) string { return t.declared.StageName(p.id, in) }

// stagesOf are the stages of a pipeline: those that count, those that only offsets tell about, and those that are only
// declared, which are unseen.
func (t *tenant) stagesOf(p *pipe) (stages []flow.Stage, unseen map[string]bool) {
	return t.declared.Stages(p.id, p.topo.Stages, p.offsets)
}

// absent says what a declaration expects and nobody hears of.
func (t *tenant) absent(p *pipe, looks []stageLook) []string {
	doc := t.declared.Of(p.id)
	if doc == nil {
		return nil
	}
	unseen := map[string]bool{}
	for i := range looks {
		unseen[looks[i].Name] = looks[i].unseen
	}
	return declared.Absent(doc, unseen, func(stage string) int { return len(p.instances[stage]) }, p.cells)
}
