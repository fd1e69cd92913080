// Package access decides who a caller is and what it may do: bearer tokens to tenant and permissions.
//
// Requests come from the HTTP and gRPC doors of ingest, query and alerts; the answer is an
// Identity in the request's context. The token file is read by cmd/weir.
package access

import (
	"context"
	"net/http"
	"slices"
)

// Permission is what a route needs. Permissions do not include one another.
type Permission string

// Permissions.
const (
	Public Permission = "public" // health, static files of the UI
	Ingest Permission = "ingest" // send data
	Query  Permission = "query"  // read data
	Admin  Permission = "admin"  // change what others see; read internals
)

// Identity is an authenticated caller.
type Identity struct {
	Name        string
	Tenant      string
	Permissions []Permission
}

// May reports whether the caller has permission p.
func (id Identity) May(p Permission) bool {
	if p == Public {
		return true
	}
	return slices.Contains(id.Permissions, p)
}

type ctxKey struct{}

// With puts an identity into a context.
func With(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, ctxKey{}, id)
}

// From returns the identity of a request, ok false when there is none.
func From(ctx context.Context) (id Identity, ok bool) {
	id, ok = ctx.Value(ctxKey{}).(Identity)
	return id, ok
}

// Route is one entry of the server's route table. cmd/weir mounts every handler through it,
// so that a test can walk all routes with all kinds of callers.
type Route struct {
	Pattern string // as for http.ServeMux, with method: "POST /api/v1/write"
	Need    Permission
	Handler http.Handler
}
