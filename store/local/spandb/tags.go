package spandb

import (
	"slices"

	"github.com/weirhq/weir/store"
)

// Names under which the fields of a span are searched and listed beside its attributes.
const (
	tagService   = "service"
	tagName      = "name"
	tagNode      = "node"
	tagContainer = "container"
	tagStatus    = "status"
	tagKind      = "kind"
)

// fieldOf maps the names of OpenTelemetry to ours.
func fieldOf(tag string) string {
	switch tag {
	case "service.name":
		return tagService
	case "host.name":
		return tagNode
	case "container.id":
		return tagContainer
	}
	return tag
}

// tagSet gathers attribute keys and values of a block, bounded.
type tagSet map[string]map[string]struct{}

// note adds key=value; pairs holds the hashes seen in the row group, so that the usual value costs
// one look-up.
func (t tagSet) note(key, value string, pairs map[uint64]struct{}) {
	h := hashTag(key, value)
	if _, seen := pairs[h]; seen {
		return
	}
	pairs[h] = struct{}{}
	t.put(key, value)
}

func (t tagSet) put(key, value string) {
	vs, ok := t[key]
	if !ok {
		if len(t) >= maxTagKeys {
			return
		}
		vs = map[string]struct{}{}
		t[key] = vs
	}
	if len(vs) < maxTagValues {
		vs[value] = struct{}{}
	}
}

func (t tagSet) add(s *store.Span, texts [][]byte, pairs map[uint64]struct{}) {
	for i := range s.Attrs {
		h := hashTagText(s.Attrs[i].Key, texts[i])
		if _, seen := pairs[h]; seen {
			continue
		}
		pairs[h] = struct{}{}
		t.put(s.Attrs[i].Key, string(texts[i]))
	}
}

func (t tagSet) keys() []string {
	out := make([]string, 0, len(t))
	for k := range t {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func (t tagSet) values() map[string][]string {
	out := make(map[string][]string, len(t))
	for k, vs := range t {
		l := make([]string, 0, len(vs))
		for v := range vs {
			l = append(l, v)
		}
		slices.Sort(l)
		out[k] = l
	}
	return out
}
