package flow

import (
	"fmt"
	"math"

	"github.com/weirhq/weir/store"
)

// SpanEvidence is everything known about one edge in one window when spans are to judge it.
type SpanEvidence struct {
	SpanWindow
	Orphans, Down int64    // consumer spans around the window, and how many of them have no producer span
	Unjudged      int64    // further consumer spans around it whose producer span may have come before weir looked
	Passed        *bool    // the broker says that the group has, or has not, passed the window; nil = it does not tell
	PassedAt      int64    // when; Unix milliseconds
	Lost          []string // sentences: weir's own telemetry path lost spans in this window
	Redelivered   int64    // known redeliveries: explain doubled spans
	Explained     int64    // messages that offsets show deleted unread or jumped over; told apart, as what they are
}

// JudgeSpans says what joined spans prove about one edge in one window. ok is false when they say nothing: nothing was joined.
// Key, SettledAt, UpdatedAt and Revision are left to the caller. Up, Down and Lost are messages: adjusted where every span
// tells its probability, else those of the sample.
func JudgeSpans(e SpanEvidence, now int64, r SpanRules) (v store.Verdict, ok bool) {
	if e.Up <= 0 || e.Down <= e.Orphans {
		return v, false
	}
	v.Level = LT
	misses := sum(e.Missed, e.Expired, e.Waiting, negate(e.Dead))
	misses = max(misses, 0)
	known := max(e.Up-e.Dead, 0)
	scale := float64(e.UpMessages) / float64(e.Up)
	if n, told := e.Writers.Estimate(); told || n > float64(e.UpMessages) { // a part was joined
		scale = n / float64(e.Up)
	}
	messages := func(spans float64) int64 { return whole(math.Round(spans * scale)) }
	// atMost is of how many messages nothing is known when so many spans have no partner, for whichever reason: of a sample
	// the upper end of the interval.
	atMost := func(gone int64) int64 {
		all := add(e.Up, max(e.Overflow, 0))
		gone = min(gone, all)
		if scale > 1 {
			return messages(Wilson(gone, all).High * float64(all))
		}
		return messages(float64(gone))
	}
	v.Up, v.Down = messages(float64(e.Up)), messages(float64(e.Matched))
	v.Delta = sub(v.Up, v.Down)
	v.Examples = e.Examples

	waiting := e.Waiting - e.Dead
	quiet := sub(now, e.Changed) >= r.Grace/3
	switch {
	case now < add(e.endMS(), r.Grace), misses > 0 && now < add(e.endMS(), r.Mature), !quiet && e.Dead == 0, e.Passed != nil && !*e.Passed && e.Expired == 0, e.Passed == nil && waiting > 0:
		v.State, v.InFlight = InFlight, messages(float64(max(waiting, 0)))
		v.Confidence = 0.5
		return v, true
	case e.Passed != nil && *e.Passed && waiting > 0 && now < add(e.PassedAt, r.Grace): // the spans of what was read may still come
		v.State, v.InFlight = InFlight, messages(float64(waiting))
		v.Confidence = 0.5
		return v, true
	}
	v.Settled = true
	switch {
	case len(e.Lost) > 0:
		unjudged(&v, "telemetry lost", atMost(sum(misses, e.Dead, e.Overflow)), e.Lost...)
		return v, true
	case e.Dead > 0:
		why := []string{fmt.Sprintf("%s producer spans waited at a server that was restarted; whether they were taken in nobody knows.", Count(e.Dead))}
		if misses > 0 {
			why = append(why, fmt.Sprintf("%s of %s others have no consumer span.", Count(misses), Count(known)))
		}
		unjudged(&v, "server restarted", atMost(sum(misses, e.Dead, e.Overflow)), why...)
		return v, true
	case e.Overflow > 0:
		unjudged(&v, "too many spans", atMost(sum(misses, e.Overflow)), fmt.Sprintf("%s spans were given up because too many waited at once.", Count(e.Overflow)))
		return v, true
	case e.Expired > 0 && (e.Passed == nil || !*e.Passed):
		unjudged(&v, "given up waiting", atMost(misses), fmt.Sprintf("%s messages were not taken in for so long that their spans are no longer waited for.", Count(e.Expired)))
		return v, true
	case e.Apart:
		unjudged(&v, "sampled apart", atMost(misses), "The reader draws a sample of its own: that a span is missing says nothing. Let it follow the decision of the producer.")
		return v, true
	}
	spansVerdict(&v, &e, misses, known, messages, atMost, r)
	return v, true
}

func unjudged(v *store.Verdict, class string, bound int64, reasons ...string) {
	v.State, v.Class, v.Epsilon, v.Lost, v.Confidence = Unknown, class, bound, 0, 0
	v.Reasons = append(v.Reasons, reasons...)
	v.Reasons = append(v.Reasons, fmt.Sprintf("Up to %s messages of this window cannot be judged by spans.", Count(bound)))
}

func spansVerdict(v *store.Verdict, e *SpanEvidence, misses, known int64, messages func(float64) int64, atMost func(int64) int64, r SpanRules) {
	observed, telemetry, corrected := Wilson(misses, known), Wilson(e.Orphans, e.Down), CorrectedLoss(misses, known, e.Orphans, e.Down)
	if telemetry.Value > r.Most {
		unjudged(v, "telemetry lost", atMost(misses), fmt.Sprintf("%s of the consumer spans have no producer span: too much telemetry is lost, or the sides are sampled apart.", Percent(telemetry.Value)))
		return
	}
	// Not to know whether telemetry is lost must not make a loss: the unjudged count as if all of their producer spans were.
	worst := CorrectedLoss(misses, known, add(e.Orphans, e.Unjudged), add(e.Down, e.Unjudged))
	p := missingByChance(misses, known, add(e.Orphans, e.Unjudged), add(e.Down, e.Unjudged))
	if e.Unjudged > 0 && misses > 0 && corrected.Low > 0 && (worst.Low <= 0 || p > r.Probable) {
		unjudged(v, "telemetry not known", atMost(misses), fmt.Sprintf("%s of %s joined producer spans have no consumer span (%s), and of %s consumer spans nobody knows whether their producer span was lost: weir has not looked for long enough.",
			Count(misses), Count(known), interval(observed), Count(e.Unjudged)))
		return
	}
	corrected.Low, corrected.Value = worst.Low, (worst.Value+corrected.Value)/2
	v.State = OK
	v.Confidence = 0.95 * (1 - telemetry.Value)
	v.Reasons = append(v.Reasons, fmt.Sprintf("%s of %s joined producer spans have no consumer span (%s).", Count(misses), Count(known), interval(observed)))
	if e.Orphans > 0 {
		v.Reasons = append(v.Reasons, fmt.Sprintf("Telemetry itself is lost: %s of %s consumer spans have no producer span (%s). Without that %s are missing.",
			Count(e.Orphans), Count(e.Down), Percent(telemetry.Value), interval(corrected)))
	}
	if misses > 0 && corrected.Low > 0 && p <= r.Probable {
		v.State, v.Class = ProbableLoss, "lost in transport"
		v.Lost = max(messages(corrected.Value*float64(known)), 1)
		v.Epsilon = messages((corrected.High - corrected.Low) / 2 * float64(known))
		v.Confidence = (1 - p) * (1 - telemetry.Value)
		if p <= r.Sure && telemetry.Value <= r.MaxLoss && e.Down >= r.MinDown && !e.Biased {
			v.State = Loss
		}
		explain(v, e.Explained)
	}
	doubled := sub(messages(float64(e.Doubled)), e.Redelivered)
	if doubled > 0 {
		v.Surplus = doubled
		v.Reasons = append(v.Reasons, fmt.Sprintf("%s messages were processed more than once by the group.", Count(v.Surplus)))
		if v.State == OK {
			v.State, v.Class = Duplicates, "duplicated"
		}
	}
	if e.Biased {
		v.Confidence *= 0.5
		v.Reasons = append(v.Reasons, "The traces are chosen after the fact (tail sampling): only what happened inside kept traces is compared, and those are no fair sample.")
	}
}

// explain takes from a loss what offsets have told already.
func explain(v *store.Verdict, known int64) {
	if known <= 0 {
		return
	}
	v.Explained = min(known, v.Lost)
	v.Lost -= v.Explained
	v.Reasons = append(v.Reasons, fmt.Sprintf("Offsets show that %s messages were deleted unread or jumped over; they are told apart.", Count(known)))
	if v.Lost <= v.Epsilon {
		v.State, v.Class, v.Lost = OK, "", 0
	}
}
