package declared

import (
	"context"
	"errors"
	"fmt"

	"github.com/weirhq/weir/query/declare"
	"github.com/weirhq/weir/store"
)

// Held is the declaration of a pipeline as it stands now, be it in force already or not; nil for none. now is that of the
// newest evaluation, Unix milliseconds. It needs no lock.
func (b *Book) Held(ctx context.Context, name string, now int64) (*Document, error) {
	if d := b.files.read(b.tenant, now)[name]; d != nil {
		return d, nil
	}
	cat := b.engine.Catalog()
	if cat == nil {
		return nil, nil //nolint:nilnil // nothing is declared
	}
	doc, err := cat.Get(ctx, b.tenant, kindPipeline, name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil //nolint:nilnil // nothing is declared
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the declaration of %q: %w", name, err)
	}
	return &Document{YAML: string(doc.Body), Version: doc.Version, By: doc.By, At: doc.At.UnixMilli()}, nil
}

// Parse reads the declaration of a pipeline, which must say its id. What cannot be read at all is nil.
func Parse(name, text string) (*declare.Doc, []declare.Finding) {
	d, fs := declare.Parse([]byte(text))
	if d != nil && d.ID != "" && d.ID != name {
		fs = append(fs, declare.Finding{Kind: declare.Error, Line: d.Line("id"), Text: fmt.Sprintf("id is %q, but it is the declaration of %q: write that, or use the address of %q", d.ID, name, d.ID)})
	}
	return d, fs
}

// Taken are the complaints that what a declaration reads belongs to another pipeline already.
func (b *Book) Taken(name string, d *declare.Doc) (fs []declare.Finding) {
	for i := range d.Stages {
		for j, r := range d.Stages[i].Reads {
			if pipeline, stage, ok := b.Reader(r.System, r.Cluster, r.Destination, r.Group); ok && pipeline != name {
				fs = append(fs, declare.Finding{Kind: declare.Error, Line: d.Line("stages", i, "reads", j), Text: fmt.Sprintf(
					"%s as group %q belongs to stage %s of pipeline %q already: leave it out of one of them", r.Destination, r.Group, stage, pipeline,
				)})
			}
		}
	}
	return fs
}

// Room is an error, store.ErrLimit, when one more pipeline cannot be declared.
func (b *Book) Room(name string) error {
	if len(b.docs) >= b.most && b.docs[name] == nil {
		return fmt.Errorf("cannot declare pipeline %q: %d are declared already (pipelines.max_pipelines): %w", name, b.most, store.ErrLimit)
	}
	return nil
}

// Editable is an error when the declaration of a pipeline stands in a file. now is as for Held. It needs no lock.
func (b *Book) Editable(name string, now int64) error {
	if d := b.files.read(b.tenant, now)[name]; d != nil {
		return fmt.Errorf("cannot change the declaration of pipeline %q here: it stands in the file %q; change it there: %w", name, d.File, store.ErrInvalid)
	}
	return nil
}

// Put stores a declaration in the catalog as the one after version, 0 for a new one; the next Read takes it in. It needs
// no lock.
func (b *Book) Put(ctx context.Context, by, name, text string, version int64) error {
	cat := b.engine.Catalog()
	if cat == nil {
		return fmt.Errorf("cannot declare pipeline %q: this store keeps no documents: %w", name, store.ErrUnavailable)
	}
	if _, err := cat.Put(ctx, b.tenant, kindPipeline, name, []byte(text), max(version, 0), by); err != nil {
		return fmt.Errorf("cannot declare pipeline %q: %w", name, err)
	}
	b.again.Store(true)
	return nil
}

// Delete takes a declaration out of the catalog, store.ErrNotFound when there is none; the next Read does without. It
// needs no lock.
func (b *Book) Delete(ctx context.Context, name string) error {
	cat := b.engine.Catalog()
	if cat == nil {
		return fmt.Errorf("cannot take back the declaration of %q: this store keeps no documents: %w", name, store.ErrUnavailable)
	}
	if err := cat.Delete(ctx, b.tenant, kindPipeline, name); err != nil {
		return fmt.Errorf("cannot take back the declaration of %q: %w", name, err)
	}
	b.again.Store(true)
	return nil
}
