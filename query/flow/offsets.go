package flow

import "fmt"

// Offsets is one poll of one partition as one group reads it. Committed −1 means never committed.
type Offsets struct {
	T                     int64
	Start, End, Committed int64
}

// EventKind is what an offset rule found.
type EventKind string

// Findings that need nothing but offsets.
const (
	EventRetention  EventKind = "retention"  // records deleted before the group read them
	EventTruncation EventKind = "truncation" // the end went back: acknowledged records are gone
	EventRewind     EventKind = "rewind"     // the group went back: records come again
	EventSkip       EventKind = "skip"       // the group jumped over records
	EventRecreated  EventKind = "recreated"  // start and end went back: the destination was made anew; no loss is told
)

// Event is a finding of Watch. From and To are offsets [From, To); N records are concerned, at
// least for truncation, at most for a rewind.
type Event struct {
	Kind     EventKind
	T        int64 // time of the poll
	From, To int64
	N        int64
}

// Sentence says what happened.
func (e Event) Sentence(destination, partition, group string) string {
	where := destination
	if partition != "" {
		where += " partition " + partition
	}
	switch e.Kind {
	case EventRetention:
		return fmt.Sprintf("Retention of %s deleted %s records that %s had not read.", where, Count(e.N), group)
	case EventTruncation:
		return fmt.Sprintf("The end of %s went back by %s: acknowledged records are gone.", where, Count(e.N))
	case EventRecreated:
		return fmt.Sprintf("%s was deleted and created again.", where)
	case EventSkip:
		return fmt.Sprintf("%s jumped over %s records of %s.", group, Count(e.N), where)
	default:
		return fmt.Sprintf("%s went back on %s: up to %s records come again.", group, where, Count(e.N))
	}
}

// Watch follows one partition as one group reads it and finds losses from offsets alone (3.5).
// The zero value is ready. It holds the floor below which losses were already counted.
//
// Offsets that cannot be are not believed: a poll with a negative figure or an end before the start is
// left out, and so is one whose end leaps further than Leap allows until the next poll confirms it;
// then both are a new beginning, without a finding.
type Watch struct {
	// Loose says that offsets are no count of records (compacted): only rewinds are told.
	Loose bool

	prev   Offsets
	begun  bool
	polls  int
	leapt  int64 // end of the poll that was not believed; 0 = none
	gone   int64 // last poll that showed a commit before it vanished; 0 = it has not
	goneC  int64 // that commit
	floor  int64
	high   int64   // highest committed offset: a rewind is recovered when it is reached again
	passed int64   // delivered position of the poll before; 0 = not told
	rate   float64 // largest consumption seen, records per second
	Lost   int64   // by retention, all told
	Rewind int64   // by rewinds, all told
}

// NoCommit says whether a poll shows a group that never committed: its lag is neither 0 nor the end offset.
func (o Offsets) NoCommit() bool { return o.Committed < 0 }

// Rewound says whether the group still reads what it had read before.
func (w *Watch) Rewound() bool { return w.begun && w.prev.Committed >= 0 && w.prev.Committed < w.high }

// Step takes the next poll and returns what it shows. Polls that are not newer are ignored.
// delivered is how many records the group was handed since the last poll, −1 when not known:
// committing further than that is a skip.
func (w *Watch) Step(o Offsets, delivered int64) []Event { return w.StepAt(o, delivered, 0) }

// StepAt is Step for brokers that tell up to where they handed out records, as an offset like Committed; 0 = not told. Where they do,
// going further there than was delivered is a skip: what is acknowledged may wait for one record and then leap.
func (w *Watch) StepAt(o Offsets, delivered, position int64) []Event {
	var out []Event
	if w.begun && o.T <= w.prev.T {
		return nil
	}
	if o.Start < 0 || o.End < o.Start {
		return nil
	}
	if w.begun && sub(o.End, w.prev.End) > Leap(sub(o.T, w.prev.T)) {
		if leapt := w.leapt; leapt == 0 || o.End < leapt || sub(o.End, leapt) > Leap(sub(o.T, w.prev.T)) {
			w.leapt = o.End
			return nil
		}
		w.reset()
	}
	w.leapt = 0
	o.Committed = min(o.Committed, o.End) // a commit beyond the end is of older polls, or garbage
	if w.begun && o.End < w.prev.End && (o.Start < w.prev.Start || w.polls < 2 && sub(w.prev.End, o.End) > Leap(0)) {
		known := w.polls > 1
		w.reset()
		if known {
			out = append(out, Event{EventRecreated, o.T, o.End, w.prev.End, 0})
		}
	}
	prev, begun := w.prev, w.begun
	w.prev, w.begun = o, true
	passed := w.passed
	w.passed = position
	w.polls++
	if !begun {
		w.floor = max(o.Start, 0)
		if o.Committed >= 0 {
			w.high = o.Committed
			if o.Start > o.Committed { // already behind when we came: when and how much is for others to say
				w.floor = o.Start
			}
		}
		return out
	}
	if o.End < prev.End && !w.Loose {
		out = append(out, Event{EventTruncation, o.T, o.End, prev.End, sub(prev.End, o.End)})
		w.high = min(w.high, o.End)
		w.floor = min(w.floor, o.End)
	}
	if o.NoCommit() {
		if !prev.NoCommit() {
			w.gone, w.goneC = prev.T, prev.Committed
		}
		return out
	}
	gone := int64(0)
	if from := max(o.Committed, w.floor); o.Start > from && !w.Loose {
		gone = sub(o.Start, from)
		w.Lost = add(w.Lost, gone)
		out = append(out, Event{EventRetention, o.T, from, o.Start, gone})
		w.floor = o.Start
	}
	if w.gone > 0 { // its offsets had expired: where it begins anew tells what it passed over
		dc, dt := sub(o.Committed, w.goneC), float64(sub(o.T, w.gone))/1000
		n := sub(dc, gone)
		if n > max(100, whole(3*w.rate*dt)) && !w.Loose {
			out = append(out, Event{EventSkip, o.T, o.Committed - n, o.Committed, n})
		} else if dc < 0 {
			out = append(out, Event{EventRewind, o.T, o.Committed, w.goneC, -dc})
			w.Rewind = add(w.Rewind, -dc)
		}
		w.gone = 0
	}
	if !prev.NoCommit() {
		dt := float64(sub(o.T, prev.T)) / 1000
		dc := sub(o.Committed, prev.Committed)
		switch {
		case dc < 0 && o.End >= prev.End:
			out = append(out, Event{EventRewind, o.T, o.Committed, prev.Committed, -dc})
			w.Rewind = add(w.Rewind, -dc)
		case position > 0 || passed > 0:
			if position == 0 || passed == 0 || delivered < 0 || w.Loose {
				break
			}
			if n := sub(Skip(sub(position, passed), delivered, dt, w.rate), gone); n > 0 {
				out = append(out, Event{EventSkip, o.T, position - n, position, n})
			}
		case dc > 0 && delivered >= 0 && !w.Loose:
			if n := sub(Skip(dc, delivered, dt, w.rate), gone); n > 0 {
				out = append(out, Event{EventSkip, o.T, o.Committed - n, o.Committed, n})
			}
		}
		if got := max(delivered, 0); got > 0 && dt > 0 {
			w.rate = max(w.rate, float64(got)/dt)
		} else if delivered < 0 && dc > 0 && dt > 0 { // nobody counts deliveries: what it committed
			w.rate = max(w.rate, float64(dc)/dt)
		}
	}
	w.high = max(w.high, o.Committed)
	return out
}

// reset makes the next poll a new beginning; what was found so far stays counted.
func (w *Watch) reset() {
	*w = Watch{Loose: w.Loose, prev: w.prev, Lost: w.Lost, Rewind: w.Rewind, rate: w.rate}
}

// Leap is how far the end of one partition may go in dt milliseconds to be believed at once: ten million
// records a second, more than any partition takes.
func Leap(dt int64) int64 { return add(10_000_000, whole(float64(max(dt, 0))*10_000)) }

// Skip is how many records a group passed over: it committed dc further in dt seconds but was handed
// only delivered, and dc is more than three times what it ever took. 0 when that is within the tolerance.
func Skip(dc, delivered int64, dt, maxRate float64) int64 {
	missing := sub(dc, max(delivered, 0))
	tolerance := max(int64(100), whole(maxRate*dt))
	if missing > tolerance && float64(dc) > 3*maxRate*dt {
		return missing
	}
	return 0
}

// StreamSkip is the rule for brokers that count positions and deliveries (JetStream): records passed
// over while the delivered position went forward. Redeliveries that are not known make it a lower bound.
func StreamSkip(dPosition, dDelivered, redelivered int64) int64 {
	return max(0, sub(dPosition, sub(dDelivered, redelivered)))
}
