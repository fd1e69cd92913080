package flow

import "math"

// TimeLag is the age of the oldest record a group has not acknowledged, at the time of the poll.
type TimeLag struct {
	Seconds float64
	Bound   float64 // stated error of Seconds, plus or minus; +Inf when Seconds is only a lower bound
	Known   bool
}

// LagOf is the time lag of one partition. end and committed come from one poll at time now;
// record is the timestamp of the record at the committed offset, 0 when it was not read; table holds
// the end offsets of the partition. A group that has read everything has lag 0, however long ago that was.
func LagOf(now, end, committed, record int64, table *Table) TimeLag {
	if committed >= end {
		return TimeLag{Known: true}
	}
	at, bound, known := table.TimeOf(committed)
	if record > 0 {
		// A record's own time is exact, if it can be: not before or after the polls between which the record came,
		// but for what clocks may differ. Producers write what they like there.
		early, late := 0.0, float64(now)
		if known {
			early, late = at-bound, at+bound
		}
		off := math.Max(early-float64(record), float64(record)-late)
		if off <= clockSlack && (known || sub(now, record) < oldest) {
			return TimeLag{Seconds: math.Max(0, float64(sub(now, record))/1000), Bound: math.Max(0, off/1000), Known: true}
		}
	}
	if known {
		return TimeLag{Seconds: math.Max(0, (float64(now)-at)/1000), Bound: bound / 1000, Known: true}
	}
	if first, ok := table.First(); ok && committed < first.V {
		return TimeLag{Seconds: math.Max(0, float64(sub(now, first.T))/1000), Bound: math.Inf(1), Known: true}
	}
	return TimeLag{}
}

// How far the clock of a producer or broker may be off until a record's time is not believed, and how old a
// record can be of which nothing else is known; milliseconds.
const (
	clockSlack = 60_000
	oldest     = 400 * 86_400_000
)

// Worst is the lag of the partition that is furthest behind; unknown when any partition's is.
func Worst(lags []TimeLag) TimeLag {
	out := TimeLag{Known: len(lags) > 0}
	for _, l := range lags {
		if !l.Known {
			return TimeLag{}
		}
		if l.Seconds > out.Seconds || l.Seconds == out.Seconds && l.Bound > out.Bound {
			out.Seconds, out.Bound = l.Seconds, l.Bound
		}
	}
	return out
}

// Messages is the backlog of one partition: what can still be read, and what the group has not acknowledged.
func Messages(start, end, committed int64) (readable, nominal int64) {
	return max(0, sub(end, max(committed, start))), max(0, sub(end, committed))
}

// TransactionalLag corrects the backlog of a transactional topic: control records have offsets
// but nobody reads them. When neither end nor committed moved and no more is open than there are
// markers, nothing waits.
func TransactionalLag(end, committed, prevEnd, prevCommitted, markers int64) int64 {
	lag := max(0, sub(end, committed))
	if end == prevEnd && committed == prevCommitted && lag <= markers {
		return 0
	}
	return lag
}

// Freshness states.
const (
	Fresh = "FRESH"
	Idle  = "IDLE"
	Stale = "STALE"
)

// Freshness is the age of the newest event at the sink, seconds, and what it means: IDLE when the
// source is just as old (nothing new exists), STALE when the sink is older than the objective
// and the source is not, FRESH else. Times are Unix milliseconds of the newest events; tolerance in seconds.
func Freshness(now, sourceTS, sinkTS int64, objective, idleAfter, tolerance float64) (age float64, state string) {
	age = math.Max(0, float64(sub(now, sinkTS))/1000)
	source := math.Max(0, float64(sub(now, sourceTS))/1000)
	switch {
	case source >= idleAfter && age-source <= tolerance:
		return age, Idle
	case age > objective:
		return age, Stale
	default:
		return age, Fresh
	}
}
