package flow

import (
	"fmt"
	"math"
	"slices"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// ClassKilled is the class of windows of which an application may have counted records without telling.
const ClassKilled = "application ended without its last counts"

// ClassFolded is the class of windows of which an application counted records without saying of what: its SDK folded the keys away.
const ClassFolded = "counts beyond the SDK's cardinality limit"

// unflushed is the end of an application that may have counted more than it told.
type unflushed struct {
	n        int64 // records, in or out, at most
	told     int64 // when it had last told everything, Unix milliseconds by its node's clock; 0 = not known
	silent   bool  // it never says when it stops
	folded   bool  // it goes on, but what it counts comes without keys
	instance string
}

// end notes an end.
func (t *Tally) end(c *cell.Cell) {
	if c.N == 0 {
		return // alive after all
	}
	ws := t.unflushed[c.Stage]
	if ws == nil {
		if t.unflushed == nil {
			t.unflushed = map[string]map[int64][]unflushed{}
		}
		ws = map[int64][]unflushed{}
		t.unflushed[c.Stage] = ws
	}
	start := c.Window - c.Window%t.Width
	u := unflushed{num(c.N), max(c.MaxTS, 0), c.Reason == cell.Silent, c.Reason == cell.Folded, c.Instance}
	// Of an end in several windows that are folded into one the records are the same ones.
	if i := slices.IndexFunc(ws[start], func(o unflushed) bool { return o.instance == u.instance }); i >= 0 {
		ws[start][i].n = max(ws[start][i].n, u.n)
		return
	}
	ws[start] = append(ws[start], u)
}

// killed says what of a balance may be missing because applications ended without their last counts.
type killed struct {
	up, down int64 // records of each side, at most
	hard     bool  // some of them tell when they stop: even equal counts prove nothing without fingerprints
	folded   bool  // some go on, and their counts come without keys
	told     int64 // when the last of them had told everything, at least
}

func (s *settler) killedOf(v *view) (k killed) {
	side := func(stage string) (n int64) {
		for _, u := range s.Tally.unflushed[stage][s.w.Start] {
			n = add(n, u.n)
			k.hard = k.hard || !u.silent
			k.folded = k.folded || u.folded
			if u.told == 0 {
				u.told = far
			}
			k.told = max(k.told, u.told)
		}
		return n
	}
	if v.kind == store.EdgeBalance {
		n := side(v.stage.Name)
		k.up = times(n, v.ratio)
		// What it took in, did not tell and took again hides among the records it put out once.
		k.down = add(n, k.up)
		return k
	}
	for _, from := range v.edge.From {
		k.up = add(k.up, side(from))
	}
	k.down = side(v.edge.To)
	return k
}

func (k killed) any() bool { return k.up > 0 || k.down > 0 }

// standing says whether a verdict stands although an application ended: it was settled when all its counts had arrived.
func (k killed) standing(prior *store.Verdict, margin int64) bool {
	return !k.any() || prior.SettledAt > 0 && add(prior.SettledAt, margin) < k.told || prior.State == OK && prior.Level == L3 && prior.Epsilon >= add(k.up, k.down)
}

// times is how much is expected out of n records in.
func times(n int64, r Ratio) int64 {
	switch {
	case r.Kind == RatioFanout && r.K > 1:
		return product(n, int64(r.K))
	case r.Kind == RatioLearned && r.Median > 1:
		return whole(math.Ceil(float64(n) * r.Median))
	}
	return n
}

// killedUnknown says UNKNOWN of a difference that what ended applications left untold may explain. A larger one is judged,
// by what is certain of it.
func killedUnknown(e *Evidence, v *store.Verdict, hashed, equal bool) bool {
	k := e.Killed
	if !k.any() || hashed && equal || !e.Settled {
		return false
	}
	bound := k.down
	if v.Delta < 0 {
		bound = k.up
	}
	bound = add(bound, v.Epsilon)
	switch {
	case v.Delta == 0 && !k.hard && !hashed: // most of them stopped in order
		return false
	case v.Delta > bound || v.Delta < negate(bound):
		v.Epsilon = bound
		return false
	}
	v.State, v.Class = Unknown, ClassKilled
	v.Epsilon = max(v.Epsilon, v.Delta, negate(v.Delta), add(v.Delta, k.up), sub(k.down, v.Delta))
	if e.Kind == store.EdgeBalance {
		v.Lost = v.Dropped // counted and arrived: certain
	}
	said := "An application ended without its last counts, up to %s records of this window."
	if k.folded {
		v.Class, said = ClassFolded, "The SDK of an application has reached its cardinality limit: up to %s records of this window were counted without saying of what."
	}
	v.Reasons = append(v.Reasons, fmt.Sprintf(said, Count(max(k.up, k.down))))
	return true
}

// widen states how much more or less than said it may be: of what was counted and not told, also what was lost or came
// twice is not told.
func (k killed) widen(v *store.Verdict) {
	switch {
	case !k.any():
	case v.State == Unknown:
		v.Epsilon = max(v.Epsilon, add(v.Delta, k.up), sub(k.down, v.Delta))
	default:
		v.Epsilon = max(v.Epsilon, add(k.up, k.down))
	}
}
