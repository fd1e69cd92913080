package pipeline

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/declare"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// kindPipeline is the kind of declarations in the catalog; their name is the pipeline's id, their body YAML.
const kindPipeline = "pipeline"

// declared is one declaration with where it stands.
type declared struct {
	doc     *declare.Doc
	yaml    string
	version int64
	by      string
	at      int64  // Unix milliseconds
	file    string // empty: in the catalog
	err     error  // it cannot be used; doc is nil
	seen    map[string]map[string]span
}

// span is the first and the last window in which an instance counted, Unix seconds.
type span struct{ first, last int64 }

// stageRef is a stage of a declared pipeline.
type stageRef struct {
	d *declared
	s *declare.Stage
}

func (r stageRef) id() string { return r.d.doc.ID }

// origin is a stage as applications or spans named it.
type origin struct{ pipeline, stage string }

// declaredBook holds the declarations of a tenant and what follows from them.
type declaredBook struct {
	docs    map[string]*declared
	next    int64
	readers map[string][]stageRef  // by destination read
	service map[string][]stageRef  // by service, and by name of a stage
	touches map[string][]*declared // by destination read or written
	moved   map[origin]stageRef    // stages that count under another name or pipeline
}

// readDeclared brings declarations up to date: at once after a change here, else every few seconds.
func (t *tenant) readDeclared(ctx context.Context, now int64) error {
	b := &t.declared
	if now < b.next && !t.redeclare.Swap(false) {
		return nil
	}
	b.next = now + 5000
	docs := map[string]*declared{}
	maps.Copy(docs, t.s.files.read(t.s, t.id, now))
	if cat := t.s.engine.Catalog(); cat != nil {
		list, err := cat.List(ctx, t.id, kindPipeline)
		if err != nil {
			return fmt.Errorf("cannot read declared pipelines: %w", err)
		}
		for i := range list {
			if docs[list[i].Name] != nil { // the file wins
				continue
			}
			if len(docs) >= t.s.cfg.MaxPipelines {
				t.s.overflow.Inc()
				break
			}
			if old := b.docs[list[i].Name]; old != nil && old.file == "" && old.version == list[i].Version {
				docs[list[i].Name] = old
				continue
			}
			d := parseDeclared(string(list[i].Body))
			d.version, d.by, d.at = list[i].Version, list[i].By, list[i].At.UnixMilli()
			docs[list[i].Name] = d
		}
	}
	if maps.Equal(docs, b.docs) {
		return nil
	}
	t.declare(docs)
	return nil
}

func parseDeclared(text string) *declared {
	d := &declared{yaml: text, seen: map[string]map[string]span{}}
	doc, fs := declare.Parse([]byte(text))
	if d.err = declare.Err(fs); d.err == nil {
		d.doc = doc
	}
	return d
}

// declare puts a new set of declarations in force.
func (t *tenant) declare(docs map[string]*declared) {
	b := &t.declared
	for id, d := range docs { // what can no longer be read stays in force as it was
		if old := b.docs[id]; d.doc == nil && old != nil && old.doc != nil {
			d.doc, d.seen = old.doc, old.seen
		}
	}
	changed := map[string]bool{}
	for id, d := range docs {
		if old := b.docs[id]; old == nil || !sameShape(old.doc, d.doc) {
			changed[id] = true
		} else {
			d.seen = old.seen
		}
	}
	for id := range b.docs {
		if docs[id] == nil {
			changed[id] = true
		}
	}
	for o, ref := range b.moved {
		if changed[ref.id()] {
			changed[o.pipeline] = true
		}
	}
	b.docs, b.moved = docs, map[origin]stageRef{}
	b.readers, b.service, b.touches = map[string][]stageRef{}, map[string][]stageRef{}, map[string][]*declared{}
	for _, id := range slices.Sorted(maps.Keys(docs)) {
		d := docs[id]
		if d.doc == nil {
			continue
		}
		for i := range d.doc.Stages {
			s := &d.doc.Stages[i]
			ref := stageRef{d, s}
			touch := func(dst string) {
				if !slices.Contains(b.touches[dst], d) {
					b.touches[dst] = append(b.touches[dst], d)
				}
			}
			for _, r := range s.Reads {
				b.readers[r.Destination] = append(b.readers[r.Destination], ref)
				touch(r.Destination)
			}
			for _, w := range s.Writes {
				touch(w)
			}
			b.service[s.Name] = append(b.service[s.Name], ref)
			for _, v := range s.Services {
				if v != s.Name {
					b.service[v] = append(b.service[v], ref)
				}
			}
		}
	}
	for id := range changed {
		t.renew(id)
	}
}

// sameShape says whether two declarations differ in nothing that decides which stages a pipeline has.
func sameShape(a, b *declare.Doc) bool {
	if a == nil || b == nil {
		return a == b
	}
	return slices.EqualFunc(a.Stages, b.Stages, func(x, y declare.Stage) bool {
		return x.Name == y.Name && slices.Equal(x.Services, y.Services) && slices.Equal(x.Reads, y.Reads) && slices.Equal(x.Writes, y.Writes)
	}) && slices.Equal(a.Ignore.Groups, b.Ignore.Groups)
}

// renew forgets what stages a pipeline has; the next reading finds them again. Its history stays.
func (t *tenant) renew(id string) {
	old := t.pipes[id]
	if old == nil {
		return
	}
	delete(t.pipes, id)
	if p := t.pipe(id); p != nil {
		p.oldest, p.heard, p.state, p.since, p.sparks, p.log, p.nodes, p.changes = old.oldest, old.heard, old.state, old.since, old.sparks, old.log, old.nodes, old.changes
	}
	t.nextSettle = 0
}

// remap gives cells to the declared pipeline and stage they belong to: those of a service that reads or writes what the
// declaration says. Pipelines that are declared themselves keep what is theirs.
func (t *tenant) remap(cells []cell.Cell) {
	b := &t.declared
	if len(b.service) == 0 {
		return
	}
	for i := range cells {
		c := &cells[i]
		if c.Dir != cell.In && c.Dir != cell.Out {
			continue
		}
		o := origin{c.Pipeline, c.Stage}
		if _, ok := b.moved[o]; ok {
			continue
		}
		if ref, ok := b.refOf(c); ok && (ref.id() != c.Pipeline || ref.s.Name != c.Stage) {
			b.moved[o] = ref
		}
	}
	for i := range cells {
		c := &cells[i]
		if ref, ok := b.moved[origin{c.Pipeline, c.Stage}]; ok {
			c.Pipeline, c.Stage = ref.id(), ref.s.Name
		}
		if d := b.docs[c.Pipeline]; d != nil && d.doc != nil && c.Window > 0 {
			d.counts(c)
		}
	}
}

// refOf finds the declared stage that a cell belongs to.
func (b *declaredBook) refOf(c *cell.Cell) (stageRef, bool) {
	for _, name := range [2]string{c.Stage, c.Service} {
		if name == "" {
			continue
		}
		for _, ref := range b.service[name] {
			if own := b.docs[c.Pipeline]; own != nil && own.doc != nil && (own != ref.d || own.doc.Stage(c.Stage) != nil) {
				continue // its own declaration names it
			}
			if c.Dir == cell.Out && c.Destination != "" && slices.Contains(ref.s.Writes, c.Destination) ||
				c.Dir == cell.In && slices.ContainsFunc(ref.s.Reads, func(r declare.Read) bool {
					return r.Destination == c.Destination && (r.Group == c.Group || c.Group == "")
				}) {
				return ref, true
			}
		}
	}
	return stageRef{}, false
}

// maxInstances bounds how many instances of a stage are told apart for expected_instances.
const maxInstances = 10_000

// counts notes that an instance counted in a window, where people say how many should.
func (d *declared) counts(c *cell.Cell) {
	s := d.doc.Stage(c.Stage)
	if s == nil || s.Instances == 0 {
		return
	}
	m := d.seen[s.Name]
	if m == nil {
		m = map[string]span{}
		d.seen[s.Name] = m
	}
	x, ok := m[c.Instance]
	if !ok {
		if len(m) >= maxInstances {
			return
		}
		x = span{c.Window, c.Window}
	}
	m[c.Instance] = span{min(x.first, c.Window), max(x.last, c.Window)}
}

// absentAfter is how long an instance that counts nothing is still taken to be there, seconds: a partition may be quiet.
const absentAfter = 600

// counting tells how many instances of a stage counted around a window, and how many people expect.
func (d *declared) counting(stage string, w flow.Window) (have, want int) {
	s := d.doc.Stage(stage)
	if s == nil || s.Instances == 0 {
		return 0, 0
	}
	for in, x := range d.seen[stage] {
		switch {
		case x.last < w.Start-2*86400:
			delete(d.seen[stage], in)
		case x.first < w.Start && x.last >= w.Start-absentAfter: // it began before the window, so it counted all of it
			have++
		}
	}
	return have, s.Instances
}

// sources are the pipelines whose cells belong to one.
func (b *declaredBook) sources(id string) []string {
	out := []string{id}
	for o, ref := range b.moved {
		if ref.id() == id && !slices.Contains(out, o.pipeline) {
			out = append(out, o.pipeline)
		}
	}
	slices.Sort(out)
	return out
}

// cellsOf reads the cells of one pipeline, wherever they were counted; ids and latencies only of windows from samples on.
func (t *tenant) cellsOf(ctx context.Context, id string, from, to, samples time.Time) ([]cell.Cell, error) {
	var out []cell.Cell
	for _, src := range t.declared.sources(id) {
		cells, err := t.s.engine.Ledger().Cells(ctx, t.id, store.CellQuery{Pipeline: src, From: from, To: to, SamplesFrom: samples})
		if err != nil {
			return nil, fmt.Errorf("cannot read cells of %q: %w", src, err)
		}
		t.remap(cells)
		out = append(out, slices.DeleteFunc(cells, func(c cell.Cell) bool { return c.Pipeline != id })...)
	}
	return out, nil
}

// release takes stages that belong to declared pipelines from those that counted them.
func (t *tenant) release() {
	for id, p := range t.pipes {
		changed := false
		for port := range p.ports {
			if _, ok := t.declared.moved[origin{id, port.Stage}]; ok {
				delete(p.ports, port)
				delete(p.instances, port.Stage)
				changed = true
			}
		}
		if !changed {
			continue
		}
		p.rebuild()
		if len(p.ports) == 0 && t.declared.docs[id] == nil {
			delete(t.pipes, id)
		}
	}
}

// reader is the declared stage that reads a destination as a group.
func (b *declaredBook) reader(system, cluster, destination, group string) (stageRef, bool) {
	for _, ref := range b.readers[destination] {
		for _, r := range ref.s.Reads {
			if r.Matches(system, cluster, destination, group) {
				return ref, true
			}
		}
	}
	return stageRef{}, false
}

// ignored says whether a group is declared not to belong to what reads and writes a destination.
func (b *declaredBook) ignored(destination, group string) bool {
	return slices.ContainsFunc(b.touches[destination], func(d *declared) bool { return d.doc.Ignores(group) })
}

// of is the declaration in force of a pipeline, nil for none.
func (b *declaredBook) of(id string) *declare.Doc {
	if d := b.docs[id]; d != nil {
		return d.doc
	}
	return nil
}

// objective of a pipeline, in seconds: what is declared, else what the configuration says.
func (t *tenant) objective(id string) (lag, freshness float64) {
	lag, freshness = t.s.cfg.objective(id)
	if d := t.declared.of(id); d != nil {
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
func (t *tenant) stageName(p *pipe, in flow.Input) string {
	if ref, ok := t.declared.reader("", "", in.Destination, in.Group); ok && ref.id() == p.id {
		return ref.s.Name
	}
	return in.Group
}

// stagesOf are the stages of a pipeline: those that count, those that only offsets tell about, and those that are only
// declared, which are unseen.
func (t *tenant) stagesOf(p *pipe) (stages []flow.Stage, unseen map[string]bool) {
	stages = slices.Clone(p.topo.Stages)
	doc := t.declared.of(p.id)
	for _, in := range p.offsets {
		name := t.stageName(p, in)
		i := slices.IndexFunc(stages, func(s flow.Stage) bool { return s.Name == name })
		if i < 0 || doc == nil {
			stages = append(stages, flow.Stage{Name: name, Kind: flow.KindSink, In: []flow.Input{in}})
			continue
		}
		stages[i].In = append(slices.Clip(stages[i].In), in)
	}
	if doc == nil {
		return stages, nil
	}
	unseen = map[string]bool{}
	var ports []flow.Port
	instances := map[string][]string{}
	for i := range stages {
		s := &stages[i]
		instances[s.Name] = s.Instances
		for _, in := range s.In {
			ports = append(ports, flow.Port{Stage: s.Name, Dir: cell.In, Destination: in.Destination, Group: in.Group})
		}
		for _, d := range s.Out {
			ports = append(ports, flow.Port{Stage: s.Name, Dir: cell.Out, Destination: d})
		}
	}
	for i := range doc.Stages {
		s := &doc.Stages[i]
		known := slices.IndexFunc(stages, func(o flow.Stage) bool { return o.Name == s.Name })
		if known >= 0 && len(stages[known].Instances) > 0 { // it counts: what it writes is known
			continue
		}
		for _, w := range s.Writes {
			ports = append(ports, flow.Port{Stage: s.Name, Dir: cell.Out, Destination: w})
		}
		if known < 0 {
			unseen[s.Name] = true
			for _, r := range s.Reads {
				ports = append(ports, flow.Port{Stage: s.Name, Dir: cell.In, Destination: r.Destination, Group: r.Group})
			}
		}
	}
	slices.SortFunc(ports, func(a, b flow.Port) int {
		return strings.Compare(a.Stage+"\x00"+string(a.Dir)+"\x00"+a.Destination+"\x00"+a.Group, b.Stage+"\x00"+string(b.Dir)+"\x00"+b.Destination+"\x00"+b.Group)
	})
	return flow.BuildPorts(p.id, slices.Compact(ports), instances).Stages, unseen
}

// absent says what a declaration expects and nobody hears of.
func (t *tenant) absent(p *pipe, looks []stageLook) []string {
	doc := t.declared.of(p.id)
	if doc == nil {
		return nil
	}
	unseen := map[string]bool{}
	for i := range looks {
		unseen[looks[i].Name] = looks[i].unseen
	}
	var out []string
	for i := range doc.Stages {
		s := &doc.Stages[i]
		n := len(p.instances[s.Name])
		switch {
		case unseen[s.Name] && s.Kind == declare.Source && n == 0 && !p.cells:
			// Where nothing counts, a source cannot be seen.
		case unseen[s.Name]:
			out = append(out, fmt.Sprintf("Stage %s is declared, and nothing is heard of it.", s.Name))
		case s.Instances > 0 && n < s.Instances:
			out = append(out, fmt.Sprintf("%d of %d expected instances of %s count.", n, s.Instances, s.Name))
		}
	}
	return out
}

// ratioOf turns what is declared of a stage into a balance; ok is false where nothing is.
func ratioOf(s *declare.Stage, tally *flow.Tally, learned func() flow.Ratio) (flow.Ratio, bool) {
	counts := func(d cell.Dir) bool { return len(tally.Ports(s.Name, d)) > 0 }
	free := func() flow.Ratio {
		if s.Ratio.Value > 0 {
			return flow.Ratio{Kind: flow.RatioLearned, Median: s.Ratio.Value, Band: s.Ratio.BandOr(), Declared: true}
		}
		return learned()
	}
	switch s.KindOr() {
	case declare.Fanout:
		k := s.Ratio.K
		if k == 0 {
			k = max(len(s.Writes), 1)
		}
		return flow.Ratio{Kind: flow.RatioFanout, K: k, Declared: true}, true
	case declare.Filter:
		if counts(cell.Filtered) {
			return flow.Ratio{Kind: flow.RatioFilter, Median: s.Ratio.Value, Band: s.Ratio.BandOr(), Declared: true}, true
		}
		return free(), true
	case declare.Aggregate:
		if counts(cell.Covers) {
			return flow.Ratio{Kind: flow.RatioCovers, Declared: true}, true
		}
		return free(), true
	case declare.Map, declare.Fanin:
		return flow.Ratio{Kind: flow.RatioMap, Declared: true}, true
	case declare.Source, declare.Sink:
	}
	return flow.Ratio{}, false
}

// keepsIDs are the stages that are declared to pass on the ids of their messages.
func (b *declaredBook) keepsIDs(id string) map[string]bool {
	out := map[string]bool{}
	if doc := b.of(id); doc != nil {
		for i := range doc.Stages {
			if k := doc.Stages[i].KeepsIDs; k != nil {
				out[doc.Stages[i].Name] = *k
			}
		}
	}
	return out
}

// counter is the count of instances for the settlement, nil where nobody says how many there should be.
func (b *declaredBook) counter(id string) func(string, flow.Window) (int, int) {
	d := b.docs[id]
	if d == nil || d.doc == nil || !slices.ContainsFunc(d.doc.Stages, func(s declare.Stage) bool { return s.Instances > 0 }) {
		return nil
	}
	return d.counting
}
