package flow

// again remembers offsets that a table saw twice: the value fell and came back. If the poll between was wrong, their
// records are as old as they were before; if they were really used again, they are new. Nobody can tell from
// offsets, so what is said of their times has to allow for both.
type again struct {
	known   reach // came back soon
	pending reach // fell, and is not back yet
	polls   int   // since it fell last
}

// reach is offsets [from, to) whose records came after a time, Unix milliseconds; −far = nothing older is known.
type reach struct{ from, to, after int64 }

// After so many polls that did not come back a fall is believed.
const believed = 4

func (a *again) fell(r reach) *again {
	if a == nil {
		a = &again{}
	}
	a.pending, a.polls = a.pending.with(r), 0
	return a
}

// step takes a value that did not fall.
func (a *again) step(v int64) {
	if a.pending == (reach{}) {
		return
	}
	switch a.polls++; {
	case v >= a.pending.to:
		a.known, a.pending = a.known.with(a.pending), reach{}
	case a.polls >= believed:
		a.pending = reach{}
	}
}

// since is the time after which the record at an offset came, where that is in doubt.
func (a *again) since(offset int64) (int64, bool) {
	if a == nil {
		return 0, false
	}
	at, ok := int64(far), false
	for _, r := range [2]reach{a.known, a.pending} {
		if offset >= r.from && offset < r.to {
			at, ok = min(at, r.after), true
		}
	}
	return at, ok
}

// with is the reach of both.
func (r reach) with(o reach) reach {
	if r == (reach{}) {
		return o
	}
	return reach{min(r.from, o.from), max(r.to, o.to), min(r.after, o.after)}
}
