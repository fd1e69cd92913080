package audit

import "sync"

// span is a range [from, to) of event time, Unix seconds; the zero span is empty.
type span struct{ from, to int64 }

func (s span) union(o span) span {
	switch {
	case o == span{}:
		return s
	case s == span{}:
		return o
	}
	return span{min(s.from, o.from), max(s.to, o.to)}
}

// windowRange remembers which event windows were counted since the snapshot before the last.
type windowRange struct {
	mu        sync.Mutex
	now, last span
}

func (w *windowRange) see(from, to int64) {
	w.mu.Lock()
	w.now = w.now.union(span{from, to})
	w.mu.Unlock()
}

func (w *windowRange) span() span {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now.union(w.last)
}

func (w *windowRange) turn() {
	w.mu.Lock()
	w.last, w.now = w.now, span{}
	w.mu.Unlock()
}
