package live

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// Any answer can be turned into any other by its patch.
func TestPatchTurnsOneAnswerIntoTheOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		am, bm := drawObject(t, 3), drawObject(t, 3)
		patch, changed := diff(am, bm)
		if !changed {
			if d := cmp.Diff(am, bm); d != "" {
				t.Fatalf("said to be equal:\n%s", d)
			}
			return
		}
		got := apply(am, roundTrip(t, patch))
		if d := cmp.Diff(withoutNulls(roundTrip(t, bm)), withoutNulls(got)); d != "" {
			t.Fatalf("patch %v:\n%s", patch, d)
		}
	})
}

func drawTree(t *rapid.T, depth int) any {
	kinds := 3
	if depth > 0 {
		kinds = 6
	}
	switch rapid.IntRange(0, kinds).Draw(t, "kind") {
	case 0:
		return rapid.StringN(0, 3, 6).Draw(t, "s")
	case 1:
		return float64(rapid.IntRange(0, 3).Draw(t, "n"))
	case 2:
		return rapid.Bool().Draw(t, "b")
	case 3:
		return nil
	case 4:
		n := rapid.IntRange(0, 4).Draw(t, "rows")
		rows := []any{}
		seen := map[string]bool{}
		for range n {
			k := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "id")
			if !seen[k] {
				seen[k] = true
				rows = append(rows, map[string]any{"id": k, "v": drawTree(t, 0)})
			}
		}
		return rows
	default:
		return drawObject(t, depth)
	}
}

func drawObject(t *rapid.T, depth int) map[string]any {
	m := map[string]any{}
	for range rapid.IntRange(0, 4).Draw(t, "keys") {
		m[rapid.SampledFrom([]string{"x", "y", "z", "rows"}).Draw(t, "key")] = drawTree(t, depth-1)
	}
	return m
}

func roundTrip(t *rapid.T, v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// A null member and an absent one mean the same to a reader (RFC 7396).
func withoutNulls(v any) any {
	switch x := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range x {
			if e != nil {
				out[k] = withoutNulls(e)
			}
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = withoutNulls(e)
		}
		return out
	default:
		return v
	}
}
