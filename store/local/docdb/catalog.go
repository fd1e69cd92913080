package docdb

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/weirhq/weir/store"
)

// Catalog is the store.Catalog of a DB.
type Catalog struct{ db *DB }

var _ store.Catalog = Catalog{}

// Catalog returns the catalog of the file.
func (db *DB) Catalog() Catalog { return Catalog{db} }

const selectDocuments = `SELECT d.kind, d.name, d.version, d.body, d.author, d.at FROM documents d
JOIN heads h ON h.tenant=d.tenant AND h.kind=d.kind AND h.name=d.name AND NOT h.deleted
WHERE d.tenant=? AND d.kind=? `

func scanDocument(r *sql.Rows) (d store.Document, err error) {
	var at int64
	err = r.Scan(&d.Kind, &d.Name, &d.Version, &d.Body, &d.By, &at)
	d.At = time.UnixMilli(at).UTC()
	return d, err
}

// Get returns the newest version, store.ErrNotFound when there is none.
func (c Catalog) Get(ctx context.Context, t store.Tenant, kind, name string) (store.Document, error) {
	ds, err := query(ctx, c.db, "read document", scanDocument, selectDocuments+`AND d.name=? AND d.version=h.version`, string(t), kind, name)
	if err != nil {
		return store.Document{}, err
	}
	if len(ds) == 0 {
		return store.Document{}, notFound(kind, name)
	}
	return ds[0], nil
}

func notFound(kind, name string) error {
	return fmt.Errorf("cannot find %s %q: %w", kind, name, store.ErrNotFound)
}

// List returns the newest version of every document of a kind, by name.
func (c Catalog) List(ctx context.Context, t store.Tenant, kind string) ([]store.Document, error) {
	return query(ctx, c.db, "list documents", scanDocument, selectDocuments+`AND d.version=h.version ORDER BY d.name`, string(t), kind)
}

// History returns all kept versions, newest first; store.ErrNotFound when there is no such document.
func (c Catalog) History(ctx context.Context, t store.Tenant, kind, name string) ([]store.Document, error) {
	ds, err := query(ctx, c.db, "read history", scanDocument, selectDocuments+`AND d.name=? ORDER BY d.version DESC`, string(t), kind, name)
	if err == nil && len(ds) == 0 {
		err = notFound(kind, name)
	}
	return ds, err
}

// Put stores body as the next version; see store.Catalog. Versions go on counting after a delete.
func (c Catalog) Put(ctx context.Context, t store.Tenant, kind, name string, body []byte, expect int64, by string) (store.Document, error) {
	if kind == "" || name == "" {
		return store.Document{}, fmt.Errorf("cannot put document %q of kind %q: both must be given: %w", name, kind, store.ErrInvalid)
	}
	if len(body) > c.db.cfg.MaxDocument {
		return store.Document{}, fmt.Errorf("cannot put %s %q: %d bytes, %d are allowed (max_document_bytes): %w", kind, name, len(body), c.db.cfg.MaxDocument, store.ErrLimit)
	}
	d := store.Document{Kind: kind, Name: name, Body: bytes.Clone(body), By: by, At: time.UnixMilli(time.Now().UnixMilli()).UTC()}
	if d.Body == nil {
		d.Body = []byte{}
	}
	err := c.db.commit(ctx, fmt.Sprintf("put %s %q", kind, name), func(ctx context.Context, w *writer) error {
		var last int64
		var deleted bool
		err := w.row(ctx, `SELECT version, deleted FROM heads WHERE tenant=? AND kind=? AND name=?`, []any{string(t), kind, name}, &last, &deleted)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		current := last
		if deleted {
			current = 0
		}
		if expect >= 0 && expect != current {
			return fmt.Errorf("version %d was expected, %d is the newest; read it and try again: %w", expect, current, store.ErrConflict)
		}
		d.Version = last + 1
		if _, err := w.exec(ctx, `INSERT INTO documents (tenant, kind, name, version, body, author, at) VALUES (?,?,?,?,?,?,?)`,
			string(t), kind, name, d.Version, d.Body, by, d.At.UnixMilli()); err != nil {
			return err
		}
		if _, err := w.exec(ctx, `INSERT INTO heads (tenant, kind, name, version, deleted) VALUES (?,?,?,?,0)
ON CONFLICT DO UPDATE SET version=excluded.version, deleted=0`, string(t), kind, name, d.Version); err != nil {
			return err
		}
		_, err = w.exec(ctx, `DELETE FROM documents WHERE tenant=? AND kind=? AND name=? AND version<=?`, string(t), kind, name, d.Version-int64(c.db.cfg.History))
		return err
	})
	if err != nil {
		return store.Document{}, err
	}
	return d, nil
}

// Delete removes a document with its history, store.ErrNotFound when there is none.
func (c Catalog) Delete(ctx context.Context, t store.Tenant, kind, name string) error {
	return c.db.commit(ctx, fmt.Sprintf("delete %s %q", kind, name), func(ctx context.Context, w *writer) error {
		res, err := w.exec(ctx, `UPDATE heads SET deleted=1 WHERE tenant=? AND kind=? AND name=? AND NOT deleted`, string(t), kind, name)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			if err != nil {
				return err
			}
			return notFound(kind, name)
		}
		_, err = w.exec(ctx, `DELETE FROM documents WHERE tenant=? AND kind=? AND name=?`, string(t), kind, name)
		return err
	})
}
