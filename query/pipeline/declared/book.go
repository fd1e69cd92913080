// Package declared holds the declarations of pipelines that are in force, and what follows from them: which stage reads
// a destination as a group, to which pipeline cells belong, how many instances should count, which ratio is to be held.
//
// Declarations come from the catalog of the store, where the API puts them, and from files in a folder, which win;
// package declare reads them. query/pipeline brings a Book up to date with each evaluation and asks it with the tenant's
// lock held; only what is said to need no lock may be called without.
package declared

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/query/declare"
	"github.com/weirhq/weir/store"
)

// kindPipeline is the kind of declarations in the catalog; their name is the pipeline's id, their body YAML.
const kindPipeline = "pipeline"

// Document is one declaration with where it stands. Once made it is not changed any more: all who read the same file
// get the same one.
type Document struct {
	YAML    string
	Version int64  // in the catalog; 0 in a file
	By      string // who put it into the catalog
	At      int64  // when it was written, Unix milliseconds
	File    string // empty: in the catalog

	doc *declare.Doc
	err error // it cannot be used; doc is nil, or that of the last one that could
}

// entry is a document in a book, with what its tenant's evaluations know.
type entry struct {
	of   *Document
	doc  *declare.Doc // in force: that of the document, else of the last one that could be used; nil for none
	seen map[string]map[string]span
}

// span is the first and the last window in which an instance counted, Unix seconds.
type span struct{ first, last int64 }

// ref is a stage of a declared pipeline.
type ref struct {
	d *entry
	s *declare.Stage
}

func (r ref) id() string { return r.d.doc.ID }

// origin is a stage as applications or spans named it.
type origin struct{ pipeline, stage string }

// Book holds the declarations of a tenant and what follows from them.
type Book struct {
	engine store.Engine // asked for its catalog when needed: an engine may open its parts late
	tenant store.Tenant
	files  *Files
	most   int // pipelines
	over   *metrics.Counter
	again  atomic.Bool // to be read at once

	docs    map[string]*entry
	next    int64
	readers map[string][]ref    // by destination read
	service map[string][]ref    // by service, and by name of a stage
	touches map[string][]*entry // by destination read or written
	moved   map[origin]ref      // stages that count under another name or pipeline
}

// New builds an empty book of a tenant over the catalog of an engine and the files of all tenants. At most so many
// documents are in force; those of the catalog above that are left out, which over counts.
func New(engine store.Engine, tenant store.Tenant, files *Files, most int, over *metrics.Counter) *Book {
	return &Book{engine: engine, tenant: tenant, files: files, most: most, over: over}
}

// Read brings declarations up to date: at once after a change here, else every few seconds. changed are the pipelines
// whose stages may be others than before. now is in Unix milliseconds.
func (b *Book) Read(ctx context.Context, now int64) (changed map[string]bool, err error) {
	if now < b.next && !b.again.Swap(false) {
		return nil, nil
	}
	b.next = now + 5000
	docs := map[string]*Document{}
	maps.Copy(docs, b.files.read(b.tenant, now))
	if cat := b.engine.Catalog(); cat != nil {
		list, err := cat.List(ctx, b.tenant, kindPipeline)
		if err != nil {
			return nil, fmt.Errorf("cannot read declared pipelines: %w", err)
		}
		for i := range list {
			if docs[list[i].Name] != nil { // the file wins
				continue
			}
			if len(docs) >= b.most {
				b.over.Inc()
				break
			}
			if old := b.docs[list[i].Name]; old != nil && old.of.File == "" && old.of.Version == list[i].Version {
				docs[list[i].Name] = old.of
				continue
			}
			d := parse(string(list[i].Body))
			d.Version, d.By, d.At = list[i].Version, list[i].By, list[i].At.UnixMilli()
			docs[list[i].Name] = d
		}
	}
	if maps.EqualFunc(docs, b.docs, func(d *Document, e *entry) bool { return d == e.of }) {
		return nil, nil
	}
	return b.declare(docs), nil
}

func parse(text string) *Document {
	d := &Document{YAML: text}
	doc, fs := declare.Parse([]byte(text))
	if d.err = declare.Err(fs); d.err == nil {
		d.doc = doc
	}
	return d
}

// declare puts a new set of declarations in force and tells which pipelines that changes.
func (b *Book) declare(docs map[string]*Document) map[string]bool {
	entries, changed := make(map[string]*entry, len(docs)), map[string]bool{}
	for id, d := range docs {
		e, old := &entry{of: d, doc: d.doc, seen: map[string]map[string]span{}}, b.docs[id]
		if e.doc == nil && old != nil { // what can no longer be read stays in force as it was
			e.doc = old.doc
		}
		if old == nil || !sameShape(old.doc, e.doc) {
			changed[id] = true
		} else {
			e.seen = old.seen
		}
		entries[id] = e
	}
	for id := range b.docs {
		if docs[id] == nil {
			changed[id] = true
		}
	}
	for o, r := range b.moved {
		if changed[r.id()] {
			changed[o.pipeline] = true
		}
	}
	b.docs, b.moved = entries, map[origin]ref{}
	b.readers, b.service, b.touches = map[string][]ref{}, map[string][]ref{}, map[string][]*entry{}
	for _, id := range slices.Sorted(maps.Keys(entries)) {
		d := entries[id]
		if d.doc == nil {
			continue
		}
		for i := range d.doc.Stages {
			b.index(d, &d.doc.Stages[i])
		}
	}
	return changed
}

// index notes where a stage is found.
func (b *Book) index(d *entry, s *declare.Stage) {
	touch := func(dst string) {
		if !slices.Contains(b.touches[dst], d) {
			b.touches[dst] = append(b.touches[dst], d)
		}
	}
	for _, r := range s.Reads {
		b.readers[r.Destination] = append(b.readers[r.Destination], ref{d, s})
		touch(r.Destination)
	}
	for _, w := range s.Writes {
		touch(w)
	}
	b.service[s.Name] = append(b.service[s.Name], ref{d, s})
	for _, v := range s.Services {
		if v != s.Name {
			b.service[v] = append(b.service[v], ref{d, s})
		}
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

// Of is the declaration in force of a pipeline, nil for none.
func (b *Book) Of(id string) *declare.Doc {
	if d := b.docs[id]; d != nil {
		return d.doc
	}
	return nil
}

// Has says whether there is a document of a pipeline, be it one that cannot be used.
func (b *Book) Has(id string) bool { return b.docs[id] != nil }

// IDs are the pipelines of which there is a document, in any order.
func (b *Book) IDs() iter.Seq[string] { return maps.Keys(b.docs) }

// Touched are the destinations that declared pipelines read or write, each with the pipeline's id, in any order.
func (b *Book) Touched() iter.Seq2[string, string] {
	return func(yield func(destination, id string) bool) {
		for destination, ds := range b.touches {
			for _, d := range ds {
				if !yield(destination, d.doc.ID) {
					return
				}
			}
		}
	}
}

// Reader is the declared stage that reads a destination as a group, and its pipeline. Empty arguments match anything.
func (b *Book) Reader(system, cluster, destination, group string) (pipeline, stage string, ok bool) {
	for _, ref := range b.readers[destination] {
		for _, r := range ref.s.Reads {
			if r.Matches(system, cluster, destination, group) {
				return ref.id(), ref.s.Name, true
			}
		}
	}
	return "", "", false
}

// Ignored says whether a group is declared not to belong to what reads and writes a destination.
func (b *Book) Ignored(destination, group string) bool {
	return slices.ContainsFunc(b.touches[destination], func(d *entry) bool { return d.doc.Ignores(group) })
}
