package spandb

import (
	"context"
	"slices"
	"time"

	"github.com/weirhq/weir/store"
)

// fields are the tags every span has.
var fields = [...]string{tagService, tagName, tagNode, tagContainer, tagStatus, tagKind}

// TagNames lists attribute keys of spans and resources, and the fields. Time selects by block.
func (db *DB) TagNames(ctx context.Context, t store.Tenant, from, to time.Time, limit int) ([]string, error) {
	tn, err := db.reading(ctx, t)
	if tn == nil {
		return nil, err
	}
	q := makeQuery(store.SpanQuery{From: from, To: to})
	views, blocks, done := tn.snapshot()
	defer done()
	out, some := map[string]struct{}{}, false
	for _, b := range blocks {
		if q.blockMay(b.meta) {
			some = true
			for _, k := range b.meta.Keys {
				out[k] = struct{}{}
			}
		}
	}
	for i := range views {
		err := eachSpan(ctx, &q, &views[i], func(s *store.Span) {
			some = true
			for j := range s.Attrs {
				out[s.Attrs[j].Key] = struct{}{}
			}
			for j := range s.Resource {
				out[s.Resource[j].Key] = struct{}{}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	if some {
		for _, f := range fields {
			out[f] = struct{}{}
		}
	}
	return sorted(out, limit), nil
}

// TagValues lists values of a tag. A block remembers 500 values of an attribute and 2000 services or names.
func (db *DB) TagValues(ctx context.Context, t store.Tenant, tag string, from, to time.Time, limit int) ([]string, error) {
	tn, err := db.reading(ctx, t)
	if tn == nil {
		return nil, err
	}
	q := makeQuery(store.SpanQuery{From: from, To: to})
	views, blocks, done := tn.snapshot()
	defer done()
	out := map[string]struct{}{}
	put := func(s string) {
		if s != "" {
			out[s] = struct{}{}
		}
	}
	field := fieldOf(tag)
	for _, b := range blocks {
		if !q.blockMay(b.meta) {
			continue
		}
		switch field {
		case tagService:
			each(b.meta.Services, put)
		case tagName:
			each(b.meta.Names, put)
		case tagStatus:
			each([]string{"error", "ok", "unset"}, put)
		case tagKind:
			each([]string{"client", "consumer", "internal", "producer", "server", "unspecified"}, put)
		}
		if !has(b.meta.Keys, tag) && !has(b.meta.Keys, field) {
			continue
		}
		vs, err := b.tagValues()
		if err != nil {
			if err := db.damaged(b, err); err != nil {
				return nil, err
			}
			continue
		}
		each(vs[tag], put)
		each(vs[field], put)
	}
	for i := range views {
		if err := eachSpan(ctx, &q, &views[i], func(s *store.Span) { valuesOf(s, tag, field, put) }); err != nil {
			return nil, err
		}
	}
	return sorted(out, limit), nil
}

func each(list []string, f func(string)) {
	for _, s := range list {
		f(s)
	}
}

func valuesOf(s *store.Span, tag, field string, put func(string)) {
	switch field {
	case tagService:
		put(s.Service)
	case tagName:
		put(s.Name)
	case tagNode:
		put(s.Node)
	case tagContainer:
		put(s.Container)
	case tagStatus:
		put(s.Status.String())
	case tagKind:
		put(s.Kind.String())
	}
	for _, as := range [...][]store.Attr{s.Attrs, s.Resource} {
		for i := range as {
			if as[i].Key == tag {
				put(string(appendText(nil, &as[i])))
			}
		}
	}
}

// eachSpan decodes the spans of a head that begin in the range of q.
func eachSpan(ctx context.Context, q *query, v *view, f func(*store.Span)) error {
	var s store.Span
	var arena []store.Attr
	for i := range v.n {
		if i&0xfff == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		e := v.at(uint32(i))
		if e.start < q.from || e.start >= q.to {
			continue
		}
		arena = arena[:0]
		v.recs[e.rec].decode(e.off, &s, &arena)
		f(&s)
	}
	return nil
}

func sorted(m map[string]struct{}, limit int) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	if limit > 0 && len(out) > limit {
		out = out[:limit]
	}
	return out
}
