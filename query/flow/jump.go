package flow

import (
	"math"
	"slices"
)

// Jump is a stretch [From, To) that a group passed over much faster than it usually reads.
type Jump struct {
	T        int64 // time, Unix milliseconds
	From, To float64
}

// Jumps looks for stretches of a committed offset that were passed more than three times faster than the group usually
// reads, and more than a hundred records at once. Usual is the median of the steps in which it read anything, so that it
// once caught up hides nothing. Offsets alone do not prove a skip: a group that catches up jumps as well. Counts that lack
// about as many records do. value tells the offset at a time; times are in milliseconds.
func Jumps(value func(int64) (float64, bool), from, to, step int64) []Jump {
	if step <= 0 || to <= from || to-from > 2000*step {
		return nil
	}
	type advance struct {
		before, at   int64
		last, passed float64
	}
	var steps []advance
	var reads []float64
	var last float64
	begun := false
	before := from
	for at := from; ; at = min(at+step, to) {
		v, ok := value(at)
		ok = ok && !math.IsNaN(v)
		if begun && ok {
			steps = append(steps, advance{before, at, last, v - last})
			if v > last {
				reads = append(reads, v-last)
			}
		}
		begun, last, before = ok, v, at
		if at >= to {
			break
		}
	}
	if len(reads) < 2 {
		return nil
	}
	slices.Sort(reads)
	usual := reads[(len(reads)-1)/2]
	var out []Jump
	for _, s := range steps {
		if s.passed <= 100 || s.passed <= 3*usual {
			continue
		}
		begin, end := narrow(value, s.before, s.at, s.last, s.last+s.passed, usual)
		if n := len(out); n > 0 && out[n-1].T == s.before {
			out[n-1].T, out[n-1].To = s.at, end
		} else {
			out = append(out, Jump{T: s.at, From: begin, To: end})
		}
	}
	return out
}

// narrow takes from a step that holds a jump what was read before and after it, as far as the offsets are known more finely.
func narrow(value func(int64) (float64, bool), from, to int64, last, v, usual float64) (begin, end float64) {
	const parts = 5
	begin, end = last, v
	found := false
	for i := int64(1); i <= parts; i++ {
		x, ok := value(from + (to-from)*i/parts)
		if !ok || math.IsNaN(x) {
			return begin, v
		}
		if x-last > 3*usual/parts {
			if !found {
				found, begin = true, last
			}
			end = x
		}
		last = x
	}
	return begin, end
}
