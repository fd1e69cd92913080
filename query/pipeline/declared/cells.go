package declared

import (
	"slices"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/declare"
	"github.com/weirhq/weir/query/flow"
)

// Remap gives cells to the declared pipeline and stage they belong to: those of a service that reads or writes what the
// declaration says. Pipelines that are declared themselves keep what is theirs.
func (b *Book) Remap(cells []cell.Cell) {
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
		if r, ok := b.refOf(c); ok && (r.id() != c.Pipeline || r.s.Name != c.Stage) {
			b.moved[o] = r
		}
	}
	for i := range cells {
		c := &cells[i]
		if r, ok := b.moved[origin{c.Pipeline, c.Stage}]; ok {
			c.Pipeline, c.Stage = r.id(), r.s.Name
		}
		if d := b.docs[c.Pipeline]; d != nil && d.doc != nil && c.Window > 0 {
			d.counts(c)
		}
	}
}

// refOf finds the declared stage that a cell belongs to.
func (b *Book) refOf(c *cell.Cell) (ref, bool) {
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
	return ref{}, false
}

// Moved says whether what counts as a stage belongs to another stage or pipeline.
func (b *Book) Moved(pipeline, stage string) bool {
	_, ok := b.moved[origin{pipeline, stage}]
	return ok
}

// Sources are the pipelines whose cells belong to one, itself among them, sorted.
func (b *Book) Sources(id string) []string {
	out := []string{id}
	for o, r := range b.moved {
		if r.id() == id && !slices.Contains(out, o.pipeline) {
			out = append(out, o.pipeline)
		}
	}
	slices.Sort(out)
	return out
}

// Belongs are the pipelines to which cells of a name may go, that of the name first.
func (b *Book) Belongs(pipeline string) []string {
	out := []string{pipeline}
	for o, r := range b.moved {
		if o.pipeline == pipeline && !slices.Contains(out, r.id()) {
			out = append(out, r.id())
		}
	}
	return out
}

// maxInstances bounds how many instances of a stage are told apart for expected_instances.
const maxInstances = 10_000

// counts notes that an instance counted in a window, where people say how many should.
func (d *entry) counts(c *cell.Cell) {
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
func (d *entry) counting(stage string, w flow.Window) (have, want int) {
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

// Counter tells the settlement of a pipeline how many instances of a stage counted around a window, and how many people
// expect; nil where nobody says how many there should be.
func (b *Book) Counter(id string) func(stage string, w flow.Window) (have, want int) {
	d := b.docs[id]
	if d == nil || d.doc == nil || !slices.ContainsFunc(d.doc.Stages, func(s declare.Stage) bool { return s.Instances > 0 }) {
		return nil
	}
	return d.counting
}
