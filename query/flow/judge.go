package flow

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// Ratio says how the output of a stage relates to its input.
type Ratio struct {
	Kind   RatioKind
	K      int     // copies per input, for RatioFanout
	Median float64 // learned or declared out/in, for RatioLearned and RatioFilter; 0 = still learning, or not declared
	Band   float64 // what out/in may deviate by
	// Declared: Median and Band are what people said, not what was learned.
	Declared bool
}

// RatioKind is the kind of a stage's balance.
type RatioKind uint8

// Kinds of balances (3.4).
const (
	RatioMap     RatioKind = iota // out = in − filtered − dropped − dlq; the contract
	RatioFanout                   // out = K·(…)
	RatioCovers                   // batches: covers counts the members
	RatioLearned                  // undeclared: the usual ratio is learned, deviations are ANOMALY
	RatioFilter                   // declared filter that counts what it filters: a map whose selectivity is told
)

// Evidence is everything known about one balance in one window.
type Evidence struct {
	Kind store.EdgeKind
	// Up is U: put out upstream, or the input of a stage. Down is D: taken in downstream, or the output.
	Up, Down                       cell.Counts
	Filtered, DLQ, Dropped, Covers int64
	Reasons                        map[string]int64 // of Dropped
	Ratio                          Ratio

	Retention, Skipped, Truncated int64 // losses that offsets show, at most so many in this window
	Jumped, JumpBlur              int64 // records that the group passed over quickly: skipped, if about as many are missing; how many of them may have been read
	SkipGoesOn                    bool  // the window before was skipped as well
	Explained                     int64 // other losses with a known cause
	// Discarded is how many records the broker says that it gave up since the window began: they explain what is missing,
	// and Discard says why.
	Discarded   int64
	Discard     string
	Redelivered int64 // known redeliveries: at most so many of D come twice
	// Interrupted is how many records of the window were deleted, passed over or lost before the stage, beyond what is usual: as
	// many may have been taken twice without showing, when it crashed.
	Interrupted int64
	// Strangers: around this window more was taken in than known producers and redeliveries account for, so what is too many
	// of need not be repetitions.
	Strangers bool
	EndDelta  int64 // records the broker took in this window; −1 = not known
	EndError  int64 // error of EndDelta

	Settled  bool
	InTime   bool  // the grace period has passed and offsets have passed the barrier: what is out is late
	InFlight int64 // records of the window that wait in the queue, where offsets tell; −1 = not known

	Beginning bool // counting began within or after this window on one side
	Doubts    []Doubt
	Killed    killed
	// UnseenUp and UnseenDown are how many records of each side the doubts concern, at most.
	UnseenUp, UnseenDown int64
	NoTime               float64 // share of records without event time
	Telemetry            float64 // share of telemetry known lost
	IDsKept              bool    // message ids are known to pass the stage unchanged
	IDs                  *IDSample
}

// ClassBegan is the class of windows in which one side began to count.
const ClassBegan = "counting began"

// ClassPartly is the class of windows of an edge whose readers were never seen to count all that they take.
const ClassPartly = "counted in part"

// ClassTruncation is the class of a loss of which offsets show that the broker lost what it had acknowledged.
const ClassTruncation = "truncation"

// ClassLost is the class of windows of which weir itself lost counts.
const ClassLost = "telemetry lost"

// Doubt is a reason not to believe a count.
type Doubt struct {
	Hard     bool
	Drops    bool  // audit datagrams dropped: an exact balance with equal fingerprints still stands
	Bound    int64 // records concerned
	Class    string
	Sentence string
}

// Judge applies the arithmetic of one edge or stage (3.4) and says what follows. Key, SettledAt,
// UpdatedAt and Revision of the result are left to the caller.
//
// Lost holds what is gone without a reason plus what the stage gave up with one; Dropped tells how much
// of Lost has a reason. For UNKNOWN, Epsilon is how many records may be concerned.
func Judge(e Evidence) store.Verdict {
	v := store.Verdict{
		Settled: e.Settled, Up: num(e.Up.N), Down: num(e.Down.N),
		Filtered: max(e.Filtered, 0), DLQ: max(e.DLQ, 0), Dropped: max(e.Dropped, 0), Level: L2,
	}
	v.Delta = sub(expectedOf(&e, v), v.Down)
	if e.Kind == store.EdgeBalance && e.Ratio.Kind == RatioCovers {
		v.Delta = sub(expectedOf(&e, v), max(e.Covers, 0))
	}
	if e.Kind == store.EdgeTransport {
		v.Explained = max(e.Explained, 0)
		v.Delta = sub(v.Delta, v.Explained)
	}
	switch {
	case e.Redelivered <= 0 && e.Interrupted <= 0:
	case e.Kind == store.EdgeTransport && e.Strangers:
	case e.Kind == store.EdgeTransport && v.Delta < 0:
		v.Redeliver = min(e.Redelivered, negate(v.Delta))
		v.Delta = add(v.Delta, v.Redeliver)
	case e.Kind == store.EdgeBalance && v.Delta != 0:
		// A record taken in twice may have come out once or twice; nobody can tell from counts.
		v.Epsilon = add(max(e.Redelivered, 0), max(e.Interrupted, 0))
		if k := int64(e.Ratio.K); e.Ratio.Kind == RatioFanout && k > 1 {
			v.Epsilon = min(v.Epsilon, math.MaxInt64/k) * k
		}
	}
	equal, hashed := sameMessages(&e)
	if hashed && equal {
		v.Level = L3
	}
	if e.Killed.any() {
		e.IDs = nil // of ids that somebody counted and did not tell nothing can be said
	}
	if e.IDs != nil {
		v.Level = L3
		v.Examples = e.IDs.Examples
	}
	decide(&e, &v, hashed, equal)
	if e.Kind == store.EdgeTransport && v.State != Unknown {
		// Redeliveries that did not happen would make as large a loss look exact.
		v.Epsilon = max(v.Epsilon, sub(max(e.Redelivered, 0), v.Redeliver))
	}
	if e.Settled {
		e.Killed.widen(&v)
	}
	v.Confidence = confidence(&e, &v)
	return v
}

func expectedOf(e *Evidence, v store.Verdict) int64 {
	if e.Kind == store.EdgeTransport {
		return v.Up
	}
	left := sub(v.Up, sum(v.Filtered, v.DLQ, v.Dropped))
	switch e.Ratio.Kind {
	case RatioFanout:
		k := int64(max(e.Ratio.K, 1))
		if left > math.MaxInt64/k {
			return math.MaxInt64
		}
		return left * k
	case RatioLearned:
		if e.Ratio.Median > 0 {
			return whole(math.Round(float64(left) * e.Ratio.Median))
		}
	case RatioMap, RatioCovers, RatioFilter:
	}
	return left
}

func negate(a int64) int64 { return sub(0, a) }

// sameMessages compares fingerprints; hashed is false where they prove nothing: not every record was
// hashed, or some are left out or repeated on purpose.
func sameMessages(e *Evidence) (equal, hashed bool) {
	if e.Up.N == 0 || e.Up.Hashed != e.Up.N || e.Down.Hashed != e.Down.N {
		return false, false
	}
	if e.Explained > 0 || e.Filtered > 0 || e.DLQ > 0 || e.Dropped > 0 || e.Redelivered > 0 {
		return false, false
	}
	if e.Kind == store.EdgeBalance && e.Ratio.Kind != RatioMap {
		return false, false
	}
	equal = e.Up.N == e.Down.N && e.Up.FpSum == e.Down.FpSum && e.Up.FpXor == e.Down.FpXor
	if e.Kind == store.EdgeBalance && !equal && !e.IDsKept { // a stage may give new ids
		return false, false
	}
	return equal, true
}

func decide(e *Evidence, v *store.Verdict, hashed, equal bool) {
	if unknown(e, v, hashed && equal) || killedUnknown(e, v, hashed, equal) {
		return
	}
	if !e.Settled {
		open(e, v)
		return
	}
	v.State = OK
	known := sum(max(e.Retention, 0), max(e.Skipped, 0), max(e.Truncated, 0))
	switch {
	case e.Kind == store.EdgeBalance && e.Ratio.Kind == RatioLearned:
		anomaly(e, v)
	case v.Delta > v.Epsilon:
		v.Lost = sub(v.Delta, v.Epsilon)
		lost(e, v, known)
	case v.Delta < negate(v.Epsilon):
		surplus(e, v)
	case v.Delta > 0 && v.Delta > e.Redelivered:
		v.State, v.Class = Unknown, "interrupted"
		v.Reasons = append(v.Reasons, fmt.Sprintf("%s in without an out may have been taken twice: as many and more are missing before the stage (up to %s).", Count(v.Delta), Count(v.Epsilon)))
	case v.Delta > 0:
		v.State, v.Class = Unknown, "redelivered"
		v.Reasons = append(v.Reasons, fmt.Sprintf("%s in without an out may be redeliveries (up to %s).", Count(v.Delta), Count(v.Epsilon)))
	case v.Delta == 0 && e.IDs != nil && e.IDs.Missing > 0 && (!hashed || !equal):
		v.State, v.Class = Mixed, "lost and duplicated"
		v.Reasons = append(v.Reasons, fmt.Sprintf("Counts agree, but %s of %s sampled ids are missing downstream (%s).", Count(e.IDs.Missing), Count(e.IDs.Upstream), interval(e.IDs.Loss)))
		repeated(e, v)
	case v.Delta == 0 && hashed && !equal:
		v.State, v.Class = Mixed, "equal counts, different messages"
		v.Reasons = append(v.Reasons, "Counts agree, fingerprints differ: some records were lost and as many came twice.")
	case v.Delta == 0 && hashed:
		v.Reasons = append(v.Reasons, "Counts and fingerprints agree: the same records on both sides.")
	}
	if e.Kind == store.EdgeBalance && v.Dropped > 0 {
		reason := topReason(e.Reasons)
		v.Lost = add(v.Lost, v.Dropped)
		if v.State == OK || v.State == Duplicates {
			v.State = Loss
		}
		if v.Class == "" || v.Lost-v.Dropped < v.Dropped {
			v.Class = reason
		}
		v.Reasons = append(v.Reasons, fmt.Sprintf("The stage itself gave up %s records: %s.", Count(v.Dropped), reason))
	}
	if e.Kind == store.EdgeBalance && e.Ratio.Kind == RatioFilter && v.State == OK {
		selected(e, v)
	}
	if v.State == OK && v.DLQ > 0 {
		v.Class = "dead letters"
		v.Reasons = append(v.Reasons, fmt.Sprintf("%s records went to the dead-letter destination.", Count(v.DLQ)))
	}
	if v.Redeliver > 0 {
		v.Reasons = append(v.Reasons, fmt.Sprintf("%s of the surplus are known redeliveries.", Count(v.Redeliver)))
	}
}

// unknown decides whether doubts forbid a verdict.
func unknown(e *Evidence, v *store.Verdict, proved bool) bool {
	doubts := slices.Clone(e.Doubts)
	if e.Beginning {
		doubts = append(doubts, Doubt{Class: ClassBegan, Sentence: "Counting began within this window."})
	}
	hard, soft := false, false
	for _, d := range doubts {
		v.Epsilon = add(v.Epsilon, max(d.Bound, 0))
		hard = hard || d.Hard
		soft = soft || !d.Hard && (v.Delta != 0 || d.Drops && !proved)
	}
	// A soft doubt waits for the settlement; a hard one is told at once.
	if !hard && (!soft || !e.Settled) {
		if len(doubts) > 0 && v.Delta == 0 {
			v.Epsilon = 0
		}
		return false
	}
	v.State = Unknown
	// What one side did not count adds to what the other has too many of.
	v.Epsilon = max(v.Epsilon, v.Delta, negate(v.Delta), add(v.Delta, e.UnseenUp), sub(e.UnseenDown, v.Delta))
	v.Lost = 0
	if e.Kind == store.EdgeBalance {
		v.Lost = v.Dropped // counted and arrived: certain
	}
	for _, d := range doubts {
		if d.Hard || !hard {
			v.Class = d.Class
			break
		}
	}
	for _, d := range doubts {
		v.Reasons = append(v.Reasons, d.Sentence)
	}
	v.Reasons = append(v.Reasons, fmt.Sprintf("Up to %s records of this window cannot be judged.", Count(v.Epsilon)))
	return true
}

// open is the provisional state of a window that is not settled.
func open(e *Evidence, v *store.Verdict) {
	out := max(v.Delta, 0)
	v.State = InFlight
	v.InFlight = out
	if e.InTime && out > 0 && !e.Beginning { // of one side's first window nobody knows what was on its way
		v.State, v.Class = Late, "on its way"
		if e.InFlight >= 0 {
			v.InFlight = max(out, 0)
		}
		v.Reasons = append(v.Reasons, fmt.Sprintf("%s records are still on their way.", Count(out)))
	}
}

func lost(e *Evidence, v *store.Verdict, known int64) {
	v.State = Loss
	share := ""
	if v.Up > 0 {
		share = fmt.Sprintf(" (%s)", Percent(float64(v.Lost)/float64(v.Up)))
	}
	// In the step in which a jump begins or ends the group reads as well. Where the window before was skipped, all of that may be.
	slack := e.JumpBlur
	if !e.SkipGoesOn {
		slack = min(slack, v.Lost/2)
	}
	slack = max(slack, e.Jumped/4)
	if known < v.Lost/2 && e.Jumped >= v.Lost-v.Lost/4 && e.Jumped-slack <= v.Lost {
		e.Skipped, known = v.Lost, v.Lost
	}
	told := min(known, v.Lost)
	switch {
	case known > 0 && known >= v.Lost/2:
		switch {
		case e.Retention >= e.Skipped && e.Retention >= e.Truncated:
			v.State, v.Class = RetentionLoss, "retention"
			v.Reasons = append(v.Reasons, fmt.Sprintf("Retention deleted %s records before they were read.", Count(told)))
		case e.Skipped >= e.Truncated:
			v.State, v.Class = Skipped, "skipped by the reader"
			v.Reasons = append(v.Reasons, fmt.Sprintf("The reader jumped over %s records.", Count(told)))
		default:
			v.Class = ClassTruncation
			v.Reasons = append(v.Reasons, "The broker's end offset went back: acknowledged records are gone.")
		}
		if rest := v.Lost - told; rest > 0 {
			v.Reasons = append(v.Reasons, fmt.Sprintf("%s more vanished without a reason.", Count(rest)))
		}
		v.Explained = add(v.Explained, told)
	case e.Kind == store.EdgeTransport && e.Discarded > 0 && e.Discarded >= v.Lost/2:
		v.Class = e.Discard
		v.Explained = add(v.Explained, min(e.Discarded, v.Lost))
		v.Reasons = append(v.Reasons, fmt.Sprintf("The broker says that it gave up %s records since: %s.", Count(e.Discarded), e.Discard))
	case e.Kind == store.EdgeBalance:
		v.Class = "dropped in stage"
		v.Reasons = append(v.Reasons, fmt.Sprintf("%s in, %s out: %s%s vanished inside the stage without a reason.", Count(v.Up), Count(v.Down), Count(v.Lost), share))
	default:
		v.Class = "lost in transport"
		v.Reasons = append(v.Reasons, fmt.Sprintf("%s put out, %s taken in: %s%s vanished on the way.", Count(v.Up), Count(v.Down), Count(v.Lost), share))
	}
	if e.IDs != nil && e.IDs.Upstream > 0 {
		v.Reasons = append(v.Reasons, fmt.Sprintf("%s of %s sampled ids are missing downstream (%s).", Count(e.IDs.Missing), Count(e.IDs.Upstream), interval(e.IDs.Loss)))
		repeated(e, v)
	}
}

// repeated adds what the id sample knows of duplicates and of records of nobody.
func repeated(e *Evidence, v *store.Verdict) {
	if e.IDs.Extra > 0 {
		v.Reasons = append(v.Reasons, fmt.Sprintf("%s of %s sampled ids came more than once (%s).", Count(e.IDs.Extra), Count(e.IDs.Upstream), interval(e.IDs.Dup)))
	}
	if e.IDs.Foreign > 0 {
		v.Reasons = append(v.Reasons, fmt.Sprintf("%s sampled ids downstream are known to no producer.", Count(e.IDs.Foreign)))
	}
}

func surplus(e *Evidence, v *store.Verdict) {
	v.Surplus = sub(negate(v.Delta), v.Epsilon)
	if e.Kind == store.EdgeTransport && (v.Surplus > v.Up/20 || e.Strangers) {
		stranger(e, v)
		return
	}
	if e.Kind == store.EdgeTransport && e.IDs != nil && e.IDs.Foreign > e.IDs.Extra {
		v.State, v.Class = Unknown, "uninstrumented producer"
		v.Epsilon = max(v.Surplus, v.Epsilon)
		v.Reasons = append(v.Reasons, fmt.Sprintf("%s more than the known producers put out; %s sampled ids are known to none of them: an uninstrumented producer.", Count(v.Surplus), Count(e.IDs.Foreign)))
		return
	}
	v.State, v.Class = Duplicates, "duplicated"
	v.Reasons = append(v.Reasons, fmt.Sprintf("%s more than expected.", Count(v.Surplus)))
	if e.IDs != nil && e.IDs.Upstream > 0 {
		repeated(e, v)
	}
}

// stranger says of a surplus that it may come from a producer that nobody counts: up to a twentieth more are taken for
// repetitions, more are not.
func stranger(e *Evidence, v *store.Verdict) {
	v.State, v.Class = Unknown, "uninstrumented producer"
	v.Epsilon = max(add(v.Surplus, v.Redeliver), v.Epsilon)
	if e.EndDelta >= 0 && sub(sub(e.EndDelta, max(e.EndError, 0)), v.Up) >= v.Surplus/2 {
		v.Reasons = append(v.Reasons, fmt.Sprintf("The queue took %s records but the known producers put out %s: an uninstrumented producer %s.", Count(e.EndDelta), Count(v.Up), Count(sub(e.EndDelta, v.Up))))
		return
	}
	v.Reasons = append(v.Reasons, fmt.Sprintf("%s more were taken in than the known producers put out: an uninstrumented producer, or repetitions.", Count(v.Surplus)))
}

func anomaly(e *Evidence, v *store.Verdict) {
	if e.Ratio.Median <= 0 {
		v.State, v.Class = Unknown, "ratio not declared"
		v.Epsilon = max(v.Delta, negate(v.Delta))
		v.Reasons = append(v.Reasons, "How many records this stage puts out per record is not declared and not yet learned.")
		return
	}
	left := sub(v.Up, sum(v.Filtered, v.DLQ, v.Dropped))
	if math.Abs(float64(v.Delta)) <= e.Ratio.Band*float64(max(left, 0)) {
		v.Delta = 0
		return
	}
	v.State, v.Class = Anomaly, "unusual ratio"
	usually := "usually"
	if e.Ratio.Declared {
		usually = "declared as"
	}
	v.Reasons = append(v.Reasons, fmt.Sprintf("Out/in is %s %s; this window is %s records off.", usually, ratio(e.Ratio.Median), Count(v.Delta)))
}

// selected tells how much a declared filter let through, of a balance that is exact. Another share than the declared
// one is an anomaly: every record is accounted for, and still something changed.
func selected(e *Evidence, v *store.Verdict) {
	judged := sub(v.Up, v.DLQ)
	if judged <= 0 {
		return
	}
	pass := float64(v.Down) / float64(judged)
	said := ""
	if e.Ratio.Median > 0 {
		said = ", declared " + Percent(e.Ratio.Median)
		if math.Abs(float64(v.Down)-e.Ratio.Median*float64(judged)) > e.Ratio.Band*float64(judged) {
			v.State, v.Class = Anomaly, "unusual ratio"
			off := sub(whole(math.Round(e.Ratio.Median*float64(judged))), v.Down)
			v.Reasons = append(v.Reasons, fmt.Sprintf("%s of %s passed the filter (%s%s): %s records off.", Count(v.Down), Count(judged), Percent(pass), said, Count(max(off, negate(off)))))
			return
		}
	}
	if v.Filtered == 0 {
		return
	}
	v.State, v.Class = Filtered, "filtered"
	v.Reasons = append(v.Reasons, fmt.Sprintf("%s of %s passed the filter (%s%s).", Count(v.Down), Count(judged), Percent(pass), said))
}

// ratio writes out/in with as many digits as it needs.
func ratio(r float64) string { return strconv.FormatFloat(math.Round(r*10_000)/10_000, 'f', -1, 64) }

// confidence is that of the evidence level times what weakens it (3.6).
func confidence(e *Evidence, v *store.Verdict) float64 {
	c := 0.99
	if v.Level == L3 {
		c = 0.999
	}
	if !e.Settled {
		c *= 0.5
	}
	if slices.ContainsFunc(e.Doubts, func(d Doubt) bool { return d.Hard }) {
		c *= 0.7
	}
	c *= 1 - min(max(e.NoTime, 0), 1)
	c *= 1 - min(max(e.Telemetry, 0), 1)
	return c
}

func topReason(rs map[string]int64) string {
	names := make([]string, 0, len(rs))
	for r := range rs {
		names = append(names, r)
	}
	slices.SortFunc(names, func(a, b string) int {
		if rs[a] != rs[b] {
			if rs[a] > rs[b] {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	if len(names) == 0 || names[0] == "" {
		return "no reason given"
	}
	return names[0]
}

func interval(s Share) string {
	return fmt.Sprintf("%.2f %%, %.2f to %.2f", s.Value*100, s.Low*100, s.High*100)
}
