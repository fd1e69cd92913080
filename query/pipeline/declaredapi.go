package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/declare"
	"github.com/weirhq/weir/query/flow"
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
	held, err := s.held(ctx, t, name)
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
		c.Declared, c.Version, c.By, c.At, c.Source, c.File = held.yaml, held.version, held.by, held.at, heldCatalog, held.file
		if held.file != "" {
			c.Source, c.Editable = heldFile, false
		}
		d, fs := declare.Parse([]byte(held.yaml))
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

// held is the declaration of a pipeline as it stands now, nil for none.
func (s *Service) held(ctx context.Context, t *tenant, name string) (*declared, error) {
	if d := s.files.read(s, t.id, t.at())[name]; d != nil {
		return d, nil
	}
	cat := s.engine.Catalog()
	if cat == nil {
		return nil, nil //nolint:nilnil // nothing is declared
	}
	doc, err := cat.Get(ctx, t.id, kindPipeline, name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil //nolint:nilnil // nothing is declared
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the declaration of %q: %w", name, err)
	}
	return &declared{yaml: string(doc.Body), version: doc.Version, by: doc.By, at: doc.At.UnixMilli()}, nil
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
	d, fs := declare.Parse([]byte(text))
	if d == nil {
		return fs
	}
	if d.ID != "" && d.ID != name {
		fs = append(fs, declare.Finding{Kind: declare.Error, Line: d.Line("id"), Text: fmt.Sprintf("id is %q, but it is the declaration of %q: write that, or use the address of %q", d.ID, name, d.ID)})
	}
	if declare.Err(fs) != nil {
		return fs
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range d.Stages {
		for j, r := range d.Stages[i].Reads {
			if ref, ok := t.declared.reader(r.System, r.Cluster, r.Destination, r.Group); ok && ref.id() != name {
				fs = append(fs, declare.Finding{Kind: declare.Error, Line: d.Line("stages", i, "reads", j), Text: fmt.Sprintf(
					"%s as group %q belongs to stage %s of pipeline %q already: leave it out of one of them", r.Destination, r.Group, ref.s.Name, ref.id(),
				)})
			}
		}
	}
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
	if err := s.editable(t, name); err != nil {
		return none, err
	}
	if err := declare.Err(s.checkDeclared(t, name, text)); err != nil {
		return none, fmt.Errorf("cannot declare pipeline %q: %w: %w", name, err, store.ErrInvalid)
	}
	t.mu.Lock()
	many := len(t.declared.docs) >= s.cfg.MaxPipelines && t.declared.docs[name] == nil
	t.mu.Unlock()
	if many {
		return none, fmt.Errorf("cannot declare pipeline %q: %d are declared already (pipelines.max_pipelines): %w", name, s.cfg.MaxPipelines, store.ErrLimit)
	}
	cat := s.engine.Catalog()
	if cat == nil {
		return none, fmt.Errorf("cannot declare pipeline %q: this store keeps no documents: %w", name, store.ErrUnavailable)
	}
	if _, err := cat.Put(ctx, id, kindPipeline, name, []byte(text), max(version, 0), by); err != nil {
		return none, fmt.Errorf("cannot declare pipeline %q: %w", name, err)
	}
	t.redeclare.Store(true)
	return s.PipelineConfig(ctx, id, name)
}

func (s *Service) editable(t *tenant, name string) error {
	if d := s.files.read(s, t.id, t.at())[name]; d != nil {
		return fmt.Errorf("cannot change the declaration of pipeline %q here: it stands in the file %q; change it there: %w", name, d.file, store.ErrInvalid)
	}
	return nil
}

// DeletePipelineConfig takes a declaration back; store.ErrNotFound when there is none.
func (s *Service) DeletePipelineConfig(ctx context.Context, id store.Tenant, name string) error {
	t := s.tenant(id)
	if err := s.editable(t, name); err != nil {
		return err
	}
	cat := s.engine.Catalog()
	if cat == nil {
		return fmt.Errorf("cannot take back the declaration of %q: this store keeps no documents: %w", name, store.ErrUnavailable)
	}
	if err := cat.Delete(ctx, id, kindPipeline, name); err != nil {
		return fmt.Errorf("cannot take back the declaration of %q: %w", name, err)
	}
	t.redeclare.Store(true)
	return nil
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
	b := t.ledger.books[flow.BalanceKey(p.id, st.Name, flow.Window{})]
	if b == nil || p.tally == nil {
		return
	}
	s.KeepsIDs = slices.ContainsFunc(slices.Collect(maps.Values(b.verdicts)), func(v store.Verdict) bool { return v.Settled && v.Level == flow.L3 })
	if len(p.tally.Ports(st.Name, cell.Filtered)) > 0 {
		var up, down float64
		for _, h := range b.hour {
			up += float64(h.up - h.dlq)
			down += float64(h.down)
		}
		if s.Kind = declare.Filter; up > 0 {
			s.Ratio, s.Windows = declare.Ratio{Value: math.Min(down/up, 1), Band: down / up / 100}, len(b.hour)
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
		if l := flow.LearnRatio(b.ratios); l.Median > 0 {
			s.Ratio, s.Windows = declare.Ratio{Value: l.Median, Band: l.Band}, len(b.ratios)
		}
	case flow.RatioMap, flow.RatioFilter:
		// A declared ratio is compared with what is usual, also where the contract alone would call it a map.
		if l := flow.LearnRatio(b.ratios); l.Median > 0 && math.Abs(l.Median-1) > 0.001 {
			s.Ratio, s.Windows = declare.Ratio{Value: l.Median, Band: l.Band}, len(b.ratios)
		}
	}
}
