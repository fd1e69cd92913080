package storetest

import (
	"context"

	"github.com/weirhq/weir/store"
)

// CatalogOnly is an engine that has a catalog and nothing else, for tests of what keeps documents.
type CatalogOnly struct {
	store.Engine
	Docs Memory
}

// Catalog is the memory.
func (e CatalogOnly) Catalog() store.Catalog { return e.Docs }

// Memory is a catalog of one tenant and kind, without versions: it takes every write.
type Memory map[string]store.Document

// List gives all documents, in any order.
func (m Memory) List(context.Context, store.Tenant, string) (out []store.Document, err error) {
	for _, d := range m {
		out = append(out, d)
	}
	return out, nil
}

// Get gives one, or store.ErrNotFound.
func (m Memory) Get(_ context.Context, _ store.Tenant, _, name string) (store.Document, error) {
	d, ok := m[name]
	if !ok {
		return d, store.ErrNotFound
	}
	return d, nil
}

// Put stores one, whatever version was expected.
func (m Memory) Put(_ context.Context, _ store.Tenant, kind, name string, body []byte, _ int64, by string) (store.Document, error) {
	m[name] = store.Document{Kind: kind, Name: name, Version: m[name].Version + 1, Body: body, By: by}
	return m[name], nil
}

// Delete forgets one.
func (m Memory) Delete(_ context.Context, _ store.Tenant, _, name string) error {
	if _, ok := m[name]; !ok {
		return store.ErrNotFound
	}
	delete(m, name)
	return nil
}

// History knows nothing.
func (m Memory) History(context.Context, store.Tenant, string, string) ([]store.Document, error) {
	return nil, nil
}
