package losses

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// Incident makes the answer from one run of a balance; still says whether it goes on.
func Incident(k store.VerdictKey, r *flow.Run, still bool) answer.Incident {
	in := answer.Incident{ID: IncidentID(k, r), Pipeline: k.Pipeline, Stage: lookAt(k, r), From: r.First, To: r.End(), Windows: len(r.Verdicts), Still: still}
	in.Row = Row(k, r.Verdicts, r.First, r.End())
	var up int64
	worst := &r.Verdicts[0]
	lostBy, stateOf := map[string]int64{}, map[string]string{}
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		in.Lost += v.Lost
		if v.State == flow.Unknown {
			in.Bound += v.Epsilon
		}
		if v.Lost > 0 {
			up += v.Up
			lostBy[v.Class] += v.Lost
			stateOf[v.Class] = v.State
		}
		if v.Revision > 0 {
			in.Revised++
		}
		if flow.Severity(v.State) > flow.Severity(worst.State) || flow.Severity(v.State) == flow.Severity(worst.State) && v.Lost > worst.Lost {
			worst = v
		}
		in.Level = max(in.Level, v.Level)
	}
	in.Verdict, in.Class = worst.State, worst.Class
	for class, n := range lostBy { // most of the records decide
		if m := lostBy[in.Class]; n > m || n == m && class > in.Class {
			in.Class, in.Verdict = class, stateOf[class]
		}
	}
	if up > 0 && in.Lost > 0 {
		share := min(float64(in.Lost)/float64(up), 1)
		in.Share = &share
	}
	in.Row.Still, in.Row.Incident = in.Still && r.Kind == flow.RunLoss, in.ID
	in.Sentence = tellIncident(k, r, &in)
	return in
}

// lookAt is the stage to look at first: who gave up the records, or who did not read them.
func lookAt(k store.VerdictKey, r *flow.Run) string {
	if k.Kind == store.EdgeBalance || r.Kind == flow.RunUnknown {
		return k.To
	}
	for i := range r.Verdicts {
		if s := r.Verdicts[i].State; s == flow.RetentionLoss || s == flow.Skipped {
			return k.To
		}
	}
	from, _, _ := strings.Cut(k.From, ",")
	return cmp.Or(from, k.To)
}

func tellIncident(k store.VerdictKey, r *flow.Run, in *answer.Incident) string {
	clock := func(s int64) string { return time.Unix(s, 0).UTC().Format("2006-01-02 15:04:05") }
	when := fmt.Sprintf("from %s to %s UTC", clock(in.From), time.Unix(in.To, 0).UTC().Format("15:04:05"))
	if in.To-in.From >= 86400 {
		when = fmt.Sprintf("from %s to %s UTC", clock(in.From), clock(in.To))
	}
	if in.Still {
		when = fmt.Sprintf("since %s UTC, and it goes on", clock(in.From))
	}
	if r.Kind == flow.RunUnknown {
		return fmt.Sprintf("Up to %s records of %s cannot be judged, %s: %s.", flow.Count(in.Bound), Where(k), when, cmp.Or(in.Class, "the counting was not whole"))
	}
	what := flow.Count(in.Lost) + " records"
	if in.Lost == 0 {
		what = "records, as many as came twice,"
	}
	if in.Share != nil {
		what += " (" + flow.Percent(*in.Share) + ")"
	}
	place := "inside " + Where(k)
	if k.Kind == store.EdgeTransport {
		place = "on the way " + Where(k)
	}
	return fmt.Sprintf("Lost %s %s, %s: %s.", what, place, when, cmp.Or(in.Class, "no reason known"))
}

// SortIncidents puts the newest first.
func SortIncidents(list []answer.Incident) {
	slices.SortFunc(list, func(a, b answer.Incident) int {
		return cmp.Or(-cmp.Compare(a.To, b.To), -cmp.Compare(a.From, b.From), -cmp.Compare(a.Lost, b.Lost), cmp.Compare(a.ID, b.ID))
	})
}
