package brokers

import (
	"maps"
	"slices"
)

// Discard says why a broker itself gave up records.
type Discard struct {
	Reason       string
	DeadLettered bool // they went to a dead-letter destination
}

// GivenUp is false where the broker deletes records that may well have been read: the offsets tell whether they were.
func (d Discard) GivenUp() bool {
	return d.DeadLettered || d.Reason != "trimmed" && d.Reason != "retention"
}

// discardKey names a count of records that a broker itself gave up, as one collector reports it.
type discardKey struct {
	Discard
	node string
}

// discards follows such a count.
type discards struct {
	last    sample
	windows map[int64]float64 // minute → how many
	dirty   bool
}

// DiscardWidth is the width of the windows in which discards are told, seconds.
const DiscardWidth = 60

// take counts the growth in the window of the poll; a fall is a restart of the broker, and all of the new count is new.
func (d *discards) take(at int64, v float64) {
	if at <= d.last.at {
		return
	}
	n := v - d.last.v
	if n < 0 {
		n = v
	}
	if d.last.at > 0 && n > 0 {
		if d.windows == nil {
			d.windows = map[int64]float64{}
		}
		d.windows[at/1000/DiscardWidth*DiscardWidth] += n
		d.dirty = true
		for w := range d.windows {
			if w < at/1000-2*3600 {
				delete(d.windows, w)
			}
		}
	}
	d.last = sample{at, v}
}

func (q *Queue) discard(k discardKey) *discards {
	d := q.discards[k]
	if d == nil {
		d = &discards{}
		q.discards[k] = d
	}
	return d
}

// DiscardsGrew says whether the broker gave up records of this queue since the last call.
func (q *Queue) DiscardsGrew() bool {
	dirty := false
	for _, d := range q.discards {
		dirty = dirty || d.dirty
		d.dirty = false
	}
	return dirty
}

// counts says whether this is no destination but a cluster as a whole, which told since a time, Unix milliseconds, what it gave up.
func (q *Queue) counts(since int64) bool {
	if q.Destination != "" {
		return false
	}
	for _, d := range q.discards {
		if d.last.at >= since {
			return true
		}
	}
	return false
}

// DiscardWindows are the beginnings of the windows of which discards are known, Unix seconds, oldest first.
func (q *Queue) DiscardWindows() []int64 {
	seen := map[int64]bool{}
	for _, d := range q.discards {
		for w := range d.windows {
			seen[w] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// DiscardsIn is how many records the broker gave up in a window, by reason.
func (q *Queue) DiscardsIn(w int64) map[Discard]float64 {
	counts := map[Discard]float64{} // of several collectors the one that saw most
	for k, d := range q.discards {
		counts[k.Discard] = max(counts[k.Discard], d.windows[w])
	}
	return counts
}

// discardedSince is how many records the broker says that it gave up since a time, Unix seconds, and why most of them.
func (q *Queue) discardedSince(since int64) (total int64, reason string) {
	counts := map[string]float64{} // of several collectors the one that saw most
	for k, d := range q.discards {
		n := 0.0
		if k.GivenUp() {
			for w, x := range d.windows {
				if w+DiscardWidth > since {
					n += x
				}
			}
		}
		why := k.Reason
		if k.DeadLettered {
			why = "moved to a dead-letter destination: " + k.Reason
		}
		counts[why] = max(counts[why], n)
	}
	most := 0.0
	for why, n := range counts {
		total += int64(n)
		if n > most || n == most && n > 0 && why < reason {
			most, reason = n, why
		}
	}
	return total, reason
}
