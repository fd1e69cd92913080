package live

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// tree turns an answer into the generic JSON values that are compared and patched.
func tree(v any) (any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var out any
	if err := d.Decode(&out); err != nil {
		return nil, err
	}
	return out, nil
}

// diff returns the patch that turns a into b, changed false when they are equal.
// Objects follow RFC 7396; arrays of objects with an id become {"set","del","order"}; other arrays are replaced.
func diff(a, b any) (patch any, changed bool) {
	switch bv := b.(type) {
	case map[string]any:
		av, ok := a.(map[string]any)
		if !ok {
			return b, true
		}
		return diffObject(av, bv)
	case []any:
		av, ok := a.([]any)
		if ok && reflect.DeepEqual(av, bv) {
			return nil, false
		}
		if ok && len(bv) > 0 && hasIDs(av) && hasIDs(bv) {
			return diffRows(av, bv), true
		}
		return b, true
	default:
		return b, !reflect.DeepEqual(a, b)
	}
}

func diffObject(a, b map[string]any) (any, bool) {
	out := map[string]any{}
	for k, bv := range b {
		av, had := a[k]
		if !had {
			out[k] = bv
			continue
		}
		if p, ch := diff(av, bv); ch {
			out[k] = p
		}
	}
	for k := range a {
		if _, still := b[k]; !still {
			out[k] = nil
		}
	}
	return out, len(out) > 0
}

func hasIDs(rows []any) bool {
	for _, r := range rows {
		if id(r) == "" {
			return false
		}
	}
	return true
}

func id(row any) string {
	m, ok := row.(map[string]any)
	if !ok {
		return ""
	}
	s, ok := m["id"].(string)
	if !ok {
		return ""
	}
	return s
}

// diffRows sends whole rows that changed: a row is small, and a reader needs no base to apply it.
func diffRows(a, b []any) any {
	old := make(map[string]any, len(a))
	order := make([]string, 0, len(a))
	for _, r := range a {
		old[id(r)] = r
		order = append(order, id(r))
	}
	set := []any{}
	now := make([]string, 0, len(b))
	seen := make(map[string]bool, len(b))
	for _, r := range b {
		k := id(r)
		now = append(now, k)
		seen[k] = true
		if o, ok := old[k]; !ok || !reflect.DeepEqual(o, r) {
			set = append(set, r)
		}
	}
	del := []string{}
	for _, k := range order {
		if !seen[k] {
			del = append(del, k)
		}
	}
	out := map[string]any{"set": set, "del": del}
	if !reflect.DeepEqual(order, now) {
		out["order"] = now
	}
	return out
}
