package pipeline

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/declare"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/declared"
	"github.com/weirhq/weir/store"
)

// Holders of a declaration, as the API names them.
const (
	heldNone    = "none"
	heldCatalog = "catalog"
	heldFile    = "file"
)

// PipelineConfig answers what is declared of a pipeline, what weir would propose, and where the two differ;
// store.ErrNotFound when it is neither declared nor seen.
func (s *Service) PipelineConfig(ctx context.Context, id store.Tenant, name string) (answer.PipelineConfig, error) {
	v, err := s.viewOf(ctx, id)
	if err != nil {
		return answer.PipelineConfig{}, err
	}
	t := s.tenant(id)
	c := answer.PipelineConfig{ID: name, Source: heldNone, Diff: []answer.ConfigFinding{}, Editable: true}
	held, err := t.declared.Held(ctx, name, t.at())
	if err != nil {
		return c, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pipes[name]
	seen := p != nil && v.pages[name] != nil && len(p.topo.Stages)+len(p.offsets) > 0
	if held == nil && !seen {
		return c, fmt.Errorf("cannot find pipeline %q: it is neither declared nor seen; declare it by PUT, with what /api/v1/pipelines/ID/config/check calls good: %w", name, store.ErrNotFound)
	}
	found := declare.Seen{ID: name}
	if seen {
		found = t.seenOf(p)
	}
	var doc *declare.Pipeline
	if held != nil {
		c.Declared, c.Version, c.By, c.At, c.Source, c.File = held.YAML, held.Version, held.By, held.At, heldCatalog, held.File
		if held.File != "" {
			c.Source, c.Editable = heldFile, false
		}
		d, fs := declare.Parse([]byte(held.YAML))
		if declare.Err(fs) == nil {
			doc = &d.Pipeline
			fs = append(fs, declare.Diff(d, found)...)
		}
		c.Diff = configFindings(fs)
	}
	if seen {
		c.Proposed = declare.Propose(found, doc)
	}
	return c, nil
}

// at is the time of the newest view, 0 before there is one.
func (t *tenant) at() int64 {
	if v := t.view.Load(); v != nil {
		return v.at
	}
	return 0
}

func configFindings(fs []declare.Finding) []answer.ConfigFinding {
	out := make([]answer.ConfigFinding, 0, len(fs))
	for _, f := range fs {
		out = append(out, answer.ConfigFinding{Kind: f.Kind, Line: f.Line, Text: f.Text})
	}
	return out
}

// CheckPipelineConfig says what is wrong with a declaration and how it differs from what is seen.
func (s *Service) CheckPipelineConfig(ctx context.Context, id store.Tenant, name, text string) (answer.ConfigCheck, error) {
	if _, err := s.viewOf(ctx, id); err != nil {
		return answer.ConfigCheck{}, err
	}
	fs := s.checkDeclared(s.tenant(id), name, text)
	return answer.ConfigCheck{OK: declare.Err(fs) == nil, Findings: configFindings(fs)}, nil
}

func (s *Service) checkDeclared(t *tenant, name, text string) []declare.Finding {
	d, fs := declared.Parse(name, text)
	if d == nil || declare.Err(fs) != nil {
		return fs
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	fs = append(fs, t.declared.Taken(name, d)...)
	if p := t.pipes[name]; p != nil && declare.Err(fs) == nil && len(p.topo.Stages)+len(p.offsets) > 0 {
		fs = append(fs, declare.Diff(d, t.seenOf(p))...)
	}
	return fs
}

// PutPipelineConfig stores a declaration; it is in force with the next evaluation.
func (s *Service) PutPipelineConfig(ctx context.Context, id store.Tenant, by, name, text string, version int64) (answer.PipelineConfig, error) {
	none := answer.PipelineConfig{}
	if _, err := s.viewOf(ctx, id); err != nil {
		return none, err
	}
	t := s.tenant(id)
	if err := t.declared.Editable(name, t.at()); err != nil {
		return none, err
	}
	if err := declare.Err(s.checkDeclared(t, name, text)); err != nil {
		return none, fmt.Errorf("cannot declare pipeline %q: %w: %w", name, err, store.ErrInvalid)
	}
	t.mu.Lock()
	err := t.declared.Room(name)
	t.mu.Unlock()
	if err != nil {
		return none, err
	}
	if err := t.declared.Put(ctx, by, name, text, version); err != nil {
		return none, err
	}
	return s.PipelineConfig(ctx, id, name)
}

// DeletePipelineConfig takes a declaration back; store.ErrNotFound when there is none.
func (s *Service) DeletePipelineConfig(ctx context.Context, id store.Tenant, name string) error {
	t := s.tenant(id)
	if err := t.declared.Editable(name, t.at()); err != nil {
		return err
	}
	return t.declared.Delete(ctx, name)
}

// seenOf is what weir found of a pipeline, without what is only declared.
func (t *tenant) seenOf(p *pipe) declare.Seen {
	lag, fresh := t.objective(p.id)
	out := declare.Seen{ID: p.id, SLO: declare.SLO{Lag: time.Duration(lag * float64(time.Second)), Freshness: time.Duration(fresh * float64(time.Second))}}
	stages, unseen := t.stagesOf(p)
	for i := range stages {
		st := &stages[i]
		if unseen[st.Name] {
			continue
		}
		s := declare.SeenStage{Name: st.Name, Services: slices.Sorted(maps.Keys(t.cells.services[origin{p.id, st.Name}])), Writes: slices.DeleteFunc(slices.Clone(st.Out), func(d string) bool { return d == "" }), Instances: len(p.instances[st.Name])}
		for _, in := range st.In {
			if in.Destination == "" {
				continue
			}
			r := declare.Read{Destination: in.Destination, Group: in.Group}
			if q := t.broker.QueueFor(in.Destination, in.Group); q != nil {
				r.System, r.Cluster = q.System, q.Cluster
			}
			s.Reads = append(s.Reads, r)
		}
		t.seenKind(p, *st, &s)
		out.Stages = append(out.Stages, s)
	}
	return out
}

// seenKind finds the kind of a stage and how many records it puts out per record.
func (t *tenant) seenKind(p *pipe, st flow.Stage, s *declare.SeenStage) {
	s.Kind = declare.Map
	switch {
	case len(s.Reads) == 0:
		s.Kind = declare.Source
		return
	case st.Kind == flow.KindSink:
		s.Kind = declare.Sink
	case len(s.Reads) > 1:
		s.Kind = declare.Fanin
	}
	b := t.ledger.Get(flow.BalanceKey(p.id, st.Name, flow.Window{}))
	if b == nil || p.tally == nil {
		return
	}
	for _, v := range b.Verdicts() {
		s.KeepsIDs = s.KeepsIDs || v.Settled && v.Level == flow.L3
	}
	if len(p.tally.Ports(st.Name, cell.Filtered)) > 0 {
		h, windows := b.Hour(0)
		up, down := float64(h.Up-h.DLQ), float64(h.Down)
		if s.Kind = declare.Filter; up > 0 {
			s.Ratio, s.Windows = declare.Ratio{Value: math.Min(down/up, 1), Band: down / up / 100}, windows
		}
		return
	}
	switch r := p.tally.InferRatio(st); r.Kind {
	case flow.RatioFanout:
		s.Kind, s.Ratio.K = declare.Fanout, r.K
	case flow.RatioCovers:
		s.Kind = declare.Aggregate
	case flow.RatioLearned:
		s.Kind = declare.Aggregate
		if l, windows := b.Ratio(); l.Median > 0 {
			s.Ratio, s.Windows = declare.Ratio{Value: l.Median, Band: l.Band}, windows
		}
	case flow.RatioMap, flow.RatioFilter:
		// A declared ratio is compared with what is usual, also where the contract alone would call it a map.
		if l, windows := b.Ratio(); l.Median > 0 && math.Abs(l.Median-1) > 0.001 {
			s.Ratio, s.Windows = declare.Ratio{Value: l.Median, Band: l.Band}, windows
		}
	}
}
