package flow

import "math"

// Jump is a stretch [From, To) that a group passed over faster than it ever read.
type Jump struct {
	T        int64 // time, Unix milliseconds
	From, To float64
}

// Jumps looks for stretches of a committed offset that were passed more than three times faster than anything before,
// and more than a hundred records at once. Offsets alone do not prove a skip: a group that catches up jumps as well.
// Counts that lack about as many records do. value tells the offset at a time; times are in milliseconds.
func Jumps(value func(int64) (float64, bool), from, to, step int64) []Jump {
	if step <= 0 || to <= from || to-from > 2000*step {
		return nil
	}
	var out []Jump
	var last, most float64
	begun, rates := false, 0
	before := from
	for at := from; ; at = min(at+step, to) {
		v, ok := value(at)
		d := v - last
		switch n := len(out); {
		case !ok || math.IsNaN(v):
			begun = false
		case !begun:
			begun, last = true, v
		case d > 100 && rates > 0 && d > 3*most:
			begin, end := narrow(value, before, at, last, v, most)
			if n > 0 && out[n-1].T == before {
				out[n-1].T, out[n-1].To = at, end
			} else {
				out = append(out, Jump{T: at, From: begin, To: end})
			}
			last = v
		default:
			most, last = math.Max(most, d), v
			if d >= 0 {
				rates++
			}
		}
		if at >= to {
			return out
		}
		before = at
	}
}

// narrow takes from a step that holds a jump what was read before and after it, as far as the offsets are known more finely.
func narrow(value func(int64) (float64, bool), from, to int64, last, v, most float64) (begin, end float64) {
	const parts = 5
	begin, end = last, v
	found := false
	for i := int64(1); i <= parts; i++ {
		x, ok := value(from + (to-from)*i/parts)
		if !ok || math.IsNaN(x) {
			return begin, v
		}
		if x-last > 3*most/parts {
			if !found {
				found, begin = true, last
			}
			end = x
		}
		last = x
	}
	return begin, end
}
