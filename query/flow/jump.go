package flow

import (
	"math"
	"slices"
)

// Jump is a stretch [From, To) that a group passed over much faster than it usually reads.
type Jump struct {
	T        int64 // time, Unix milliseconds
	From, To float64
	Blur     float64 // records around each end of which nobody can say whether they were read: those usually read in one step
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
	if len(reads) < fewReads { // most may be of a step in which the group stood still for a part
		usual = usualOf(value, from, to, step)
	}
	var out []Jump
	for i := 0; i < len(steps); i++ {
		if s := steps[i]; s.passed <= 100 || s.passed <= 3*usual {
			continue
		}
		first := steps[i]
		for i+1 < len(steps) && steps[i+1].before == steps[i].at && steps[i+1].passed > 100 && steps[i+1].passed > 3*usual {
			i++
		}
		j := Jump{T: steps[i].at, From: first.last, To: steps[i].last + steps[i].passed, Blur: usual}
		j.narrow(value, first.before, steps[i].at, step, usual)
		out = append(out, j)
	}
	return out
}

// parts is into how many a step is divided, and fewReads how many steps of reading are too few for their median.
const (
	parts    = 5
	fewReads = 8
)

// usualOf is what a group reads in a step, by the median of the parts of steps in which it read anything.
func usualOf(value func(int64) (float64, bool), from, to, step int64) float64 {
	var reads []float64
	last, begun := 0.0, false
	for i := int64(0); from+step*i/parts <= to; i++ {
		v, ok := value(from + step*i/parts)
		ok = ok && !math.IsNaN(v)
		if begun && ok && v > last {
			reads = append(reads, parts*(v-last))
		}
		begun, last = ok, v
	}
	if len(reads) == 0 {
		return math.Inf(1)
	}
	slices.Sort(reads)
	return reads[len(reads)/2]
}

// narrow takes from the steps that hold a jump what was read before and after it, as far as the offsets are known more
// finely, and adds what of it lies in the steps beside them: polls that see it lie on both sides of a step's end.
func (j *Jump) narrow(value func(int64) (float64, bool), from, to, step int64, usual float64) {
	at := func(i int64) int64 { return from + step*i/parts }
	fast := func(i int64) bool { // the part from i to i+1
		a, ok1 := value(at(i))
		b, ok2 := value(at(i + 1))
		return ok1 && ok2 && b-a > 3*usual/parts
	}
	n := (to - from) * parts / step
	first, last := int64(-1), int64(-1)
	for i := range n {
		if fast(i) {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	if first < 0 {
		return
	}
	for first > -parts && first <= 0 && fast(first-1) {
		first--
	}
	for last < n+parts-1 && last >= n-1 && fast(last+1) {
		last++
	}
	j.From, _ = value(at(first))
	j.To, _ = value(at(last + 1))
}
