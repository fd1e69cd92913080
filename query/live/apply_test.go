package live

import "maps"

// apply is the reader's side of diff, as the UI has it in TypeScript.
func apply(a, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	if rows, isRows := a.([]any); isRows {
		if set, ok := p["set"].([]any); ok {
			return applyRows(rows, set, p)
		}
	}
	obj, ok := a.(map[string]any)
	if !ok {
		return patch
	}
	out := make(map[string]any, len(obj))
	maps.Copy(out, obj)
	for k, v := range p {
		if v == nil {
			delete(out, k)
			continue
		}
		out[k] = apply(out[k], v)
	}
	return out
}

func applyRows(rows, set []any, p map[string]any) any {
	byID := make(map[string]any, len(rows))
	var order []string
	for _, r := range rows {
		byID[id(r)] = r
		order = append(order, id(r))
	}
	for _, r := range set {
		if _, had := byID[id(r)]; !had {
			order = append(order, id(r))
		}
		byID[id(r)] = r
	}
	if del, ok := p["del"].([]any); ok {
		for _, k := range del {
			if s, ok := k.(string); ok {
				delete(byID, s)
			}
		}
	}
	if o, ok := p["order"].([]any); ok {
		order = order[:0]
		for _, k := range o {
			if s, ok := k.(string); ok {
				order = append(order, s)
			}
		}
	}
	out := make([]any, 0, len(order))
	for _, k := range order {
		if r, ok := byID[k]; ok {
			out = append(out, r)
		}
	}
	return out
}
