package flow

import "github.com/weirhq/weir/store"

// Agreement learns from the verdicts of an edge whether all who take from it count. It is never told how many there are; as
// long as some do not, what they take is missing in every window. The zero value has learned nothing.
type Agreement struct {
	// Since is the first window from which on nearly all that was put in was counted as taken, Unix seconds; 0 = not seen yet.
	Since int64

	begun, last int64 // windows of the present run
	up, missing int64 // records in it
}

// shareOfOne is the least share of an edge that an instance is expected to take: one of thirty.
const shareOfOne = 1.0 / 30

// Learn takes the next verdict. Windows are taken in their order, each once; others are left out.
func (a *Agreement) Learn(v *store.Verdict) {
	if a.Since != 0 || v.Kind != store.EdgeTransport || !v.Settled || v.Up <= 0 || v.Window <= a.last {
		return
	}
	missing := max(sub(v.Up, v.Down), 0)
	switch {
	case v.State == Loss && v.Class != ClassTruncation: // counts alone said so: it had agreed before, or people said how many count
		a.Since = v.Window
		return
	case v.State != Unknown && v.Lost > 0: // offsets show where it is, and nothing of who counts
		return
	case v.State == Unknown && missing > 0 && v.Class != ClassPartly && v.Class != ClassBegan:
		return // for another reason
	}
	a.last = v.Window
	if missing >= 3 && float64(missing) > shareOfOne*float64(v.Up) {
		a.begun, a.up, a.missing = 0, 0, 0
		return
	}
	if a.begun == 0 {
		a.begun = v.Window
	}
	a.up, a.missing = add(a.up, v.Up), add(a.missing, missing)
	if Wilson(a.missing, a.up).High < shareOfOne {
		a.Since = a.begun
	}
}

// Mapping learns from the verdicts of a stage whose ratio nobody declared whether it puts out what it takes in. A filter that does not
// count what it leaves out looks like a loss in every window. The zero value has learned nothing.
type Mapping struct {
	// Since is the first window from which on exactly what was taken in was put out, Unix seconds; 0 = not seen yet.
	Since int64

	begun, last int64 // windows of the present run
	up          int64 // records in it
}

// enough is how many records have to come out, and none missing, before a stage is taken for one that keeps all: of a filter that
// leaves out one of thirty, so many pass together once in thirty times.
const enough = 100

// Learn takes the next verdict. Windows are taken in their order, each once; others are left out.
func (m *Mapping) Learn(v *store.Verdict) {
	if m.Since != 0 || v.Kind != store.EdgeBalance || !v.Settled || v.Up <= 0 || v.Window <= m.last {
		return
	}
	switch {
	case v.State == Loss && v.Lost > v.Dropped: // it had kept all before, or people said so
		m.Since = v.Window
		return
	case v.State == Unknown && v.Class != "ratio not declared":
		return
	}
	m.last = v.Window
	if sub(sub(v.Up, sum(v.Filtered, v.DLQ, v.Dropped)), v.Down) != 0 {
		m.begun, m.up = 0, 0
		return
	}
	if m.begun == 0 {
		m.begun = v.Window
	}
	if m.up = add(m.up, v.Up); m.up >= enough {
		m.Since = m.begun
	}
}
