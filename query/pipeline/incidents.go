package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// Bounds of what one request reads about incidents, in verdicts, and how far back the begin of one is looked for.
const (
	maxIncidentVerdicts = 200_000
	maxIncidentReach    = 30 * 24 * time.Hour
)

// incidentBook keeps the incidents of the last day as long as no verdict changes.
type incidentBook struct {
	changed uint64
	minute  int64
	list    []answer.Incident // newest first
}

// incidentID names a run: its balance, its kind and its first window.
func incidentID(k store.VerdictKey, r *flow.Run) string {
	return idOf(k) + "~" + string(r.Kind) + "~" + strconv.FormatInt(r.First, 10)
}

func incidentKey(id string) (k store.VerdictKey, kind flow.RunKind, first int64, ok bool) {
	head, last, ok1 := cutLast(id)
	head, what, ok2 := cutLast(head)
	k, ok3 := idKey(head)
	first, err := strconv.ParseInt(last, 10, 64)
	kind = flow.RunKind(what)
	return k, kind, first, ok1 && ok2 && ok3 && err == nil && (kind == flow.RunLoss || kind == flow.RunUnknown)
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '~')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// badVerdicts are the bad windows of a balance that are in memory, in brief.
func (b *book) badVerdicts() []store.Verdict {
	out := make([]store.Verdict, 0, len(b.bad))
	for w, x := range b.bad {
		v, ok := b.verdicts[w]
		if !ok {
			v = store.Verdict{
				VerdictKey: b.key, State: x.state, Class: x.class, Level: x.level, Settled: x.settled, Lost: x.lost, Up: x.up,
				Epsilon: x.bound, Revision: x.revision, SettledAt: x.settle,
			}
			v.Window, v.Width = w, x.width
		}
		out = append(out, v)
	}
	return out
}

// newestSettled is the start of the newest settled window of a balance that is known; 0 for none.
func (b *book) newestSettled() (w int64) {
	for s, v := range b.verdicts {
		if v.Settled {
			w = max(w, s)
		}
	}
	return w
}

// incident makes the answer from one run.
func (t *tenant) incident(k store.VerdictKey, r *flow.Run, now int64) answer.Incident {
	in := answer.Incident{ID: incidentID(k, r), Pipeline: k.Pipeline, Stage: lookAt(k, r), From: r.First, To: r.End(), Windows: len(r.Verdicts)}
	in.Row = lossRow(k, r.Verdicts, r.First, r.End())
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
	last := &r.Verdicts[len(r.Verdicts)-1]
	if b := t.ledger.books[bare(k)]; b != nil {
		told := cmp.Or(last.SettledAt, last.UpdatedAt)
		in.Still = b.newestSettled() <= r.Last && now-told < 300_000+2*r.Width*1000 && now/1000-r.Last < 86400
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
		return fmt.Sprintf("Up to %s records of %s cannot be judged, %s: %s.", flow.Count(in.Bound), where(k), when, cmp.Or(in.Class, "the counting was not whole"))
	}
	what := flow.Count(in.Lost) + " records"
	if in.Lost == 0 {
		what = "records, as many as came twice,"
	}
	if in.Share != nil {
		what += " (" + flow.Percent(*in.Share) + ")"
	}
	place := "inside " + where(k)
	if k.Kind == store.EdgeTransport {
		place = "on the way " + where(k)
	}
	return fmt.Sprintf("Lost %s %s, %s: %s.", what, place, when, cmp.Or(in.Class, "no reason known"))
}

// incidentsOfDay are the incidents that ended in the last day or go on, newest first; made once per change.
func (t *tenant) incidentsOfDay(now int64) []answer.Incident {
	b := &t.incidents
	if b.list != nil && b.changed == t.ledger.changed && b.minute == now/60_000 {
		return b.list
	}
	list := []answer.Incident{}
	for k, bk := range t.ledger.books {
		if len(bk.bad) == 0 {
			continue
		}
		runs := flow.Runs(bk.badVerdicts())
		for i := range runs {
			if runs[i].End() > now/1000-86400 {
				list = append(list, t.incident(k, &runs[i], now))
			}
		}
	}
	sortIncidents(list)
	b.list, b.changed, b.minute = list, t.ledger.changed, now/60_000
	return list
}

func sortIncidents(list []answer.Incident) {
	slices.SortFunc(list, func(a, b answer.Incident) int {
		return cmp.Or(-cmp.Compare(a.To, b.To), -cmp.Compare(a.From, b.From), -cmp.Compare(a.Lost, b.Lost), cmp.Compare(a.ID, b.ID))
	})
}

// Incidents answers what was lost in [from, to] as runs of windows, newest first.
func (s *Service) Incidents(ctx context.Context, id store.Tenant, from, to time.Time, pipeline string, limit int) (answer.Incidents, error) {
	return s.FindIncidents(ctx, id, answer.LossQuery{From: from, To: to, Pipeline: pipeline, Limit: limit})
}

// FindIncidents answers the incidents that are looked for, newest first.
func (s *Service) FindIncidents(ctx context.Context, id store.Tenant, q answer.LossQuery) (answer.Incidents, error) {
	from, to, words := q.From, q.To, newSearch(q.Text)
	v, err := s.viewOf(ctx, id)
	if err != nil {
		return answer.Incidents{}, err
	}
	t := s.tenant(id)
	out := answer.Incidents{At: v.at, From: from.UnixMilli(), To: to.UnixMilli(), Incidents: []answer.Incident{}}
	var list []answer.Incident
	if from.UnixMilli() >= v.at-86400_000-60_000 {
		t.mu.Lock()
		list = t.incidentsOfDay(v.at)
		t.mu.Unlock()
	} else if list, err = s.storedIncidents(ctx, t, from, to, q.Pipeline, v.at); err != nil {
		return out, err
	}
	for i := range list {
		in := list[i]
		if q.Pipeline != "" && in.Pipeline != q.Pipeline || in.To <= from.Unix() || in.From >= to.Unix() || !picks(q.Verdict, in.Verdict) || !words.incident(&in) {
			continue
		}
		if q.Limit > 0 && len(out.Incidents) >= q.Limit {
			out.Left++
			continue
		}
		in.Now = v.completeness
		out.Incidents = append(out.Incidents, in)
	}
	return out, nil
}

// storedIncidents reads bad verdicts of a range and as far before it as its first incidents reach.
func (s *Service) storedIncidents(ctx context.Context, t *tenant, from, to time.Time, pipeline string, now int64) ([]answer.Incident, error) {
	byKey := map[store.VerdictKey][]store.Verdict{}
	n := 0
	read := func(q store.VerdictQuery) error {
		vs, err := s.engine.Ledger().Verdicts(ctx, t.id, q)
		if err != nil {
			return fmt.Errorf("cannot read verdicts: %w", err)
		}
		for _, v := range vs {
			k := bare(v.VerdictKey)
			byKey[k] = append(byKey[k], v)
		}
		if n += len(vs); n > maxIncidentVerdicts {
			return fmt.Errorf("cannot list the incidents from %s to %s: more than %s windows are bad; ask for a shorter time or one pipeline: %w",
				from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339), flow.Count(maxIncidentVerdicts), store.ErrLimit)
		}
		return nil
	}
	for hi := to; hi.After(from); hi = hi.Add(-24 * time.Hour) {
		lo := hi.Add(-24 * time.Hour)
		if lo.Before(from) {
			lo = from
		}
		if err := read(store.VerdictQuery{Pipeline: pipeline, From: lo, To: hi, OnlyNotOK: true}); err != nil {
			return nil, err
		}
	}
	for lo := from; from.Sub(lo) < maxIncidentReach; lo = lo.Add(-24 * time.Hour) {
		open := map[string]bool{}
		for k, vs := range byKey {
			if reaches(vs, lo.Unix()) {
				open[k.Pipeline] = true
			}
		}
		if len(open) == 0 {
			break
		}
		for id := range open {
			if err := read(store.VerdictQuery{Pipeline: id, From: lo.Add(-24 * time.Hour), To: lo, OnlyNotOK: true}); err != nil {
				return nil, err
			}
		}
	}
	for hi := to; hi.UnixMilli() < now && hi.Sub(to) < maxIncidentReach; hi = hi.Add(24 * time.Hour) {
		open := map[string]bool{}
		for k, vs := range byKey {
			if goesOn(vs, hi.Unix()) {
				open[k.Pipeline] = true
			}
		}
		if len(open) == 0 {
			break
		}
		for id := range open {
			if err := read(store.VerdictQuery{Pipeline: id, From: hi, To: hi.Add(24 * time.Hour), OnlyNotOK: true}); err != nil {
				return nil, err
			}
		}
	}
	list := []answer.Incident{}
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, vs := range byKey {
		runs := flow.Runs(vs)
		for i := range runs {
			if runs[i].End() > from.Unix() && runs[i].First < to.Unix() {
				list = append(list, t.incident(k, &runs[i], now))
			}
		}
	}
	sortIncidents(list)
	return list, nil
}

// reaches says whether the earliest bad window is so near a time that the incident may have begun before it.
func reaches(vs []store.Verdict, at int64) bool {
	for i := range vs {
		v := &vs[i]
		if _, bad := flow.BadWindow(v); bad && v.Window <= at+flow.RunGap*max(v.Width, 1) {
			return true
		}
	}
	return false
}

// goesOn says whether the latest bad window is so near a time that the incident may go on after it.
func goesOn(vs []store.Verdict, at int64) bool {
	for i := range vs {
		v := &vs[i]
		if _, bad := flow.BadWindow(v); bad && v.Window+(flow.RunGap+1)*max(v.Width, 1) >= at {
			return true
		}
	}
	return false
}

// reachBack reads bad windows before a time for balances whose incident may have begun there, so that it keeps its name.
func (t *tenant) reachBack(ctx context.Context, from time.Time) error {
	for lo := from; from.Sub(lo) < maxIncidentReach; lo = lo.Add(-24 * time.Hour) {
		open := map[string]bool{}
		for _, b := range t.ledger.books {
			for w, x := range b.bad {
				if w <= lo.Unix()+flow.RunGap*max(x.width, 1) {
					open[b.key.Pipeline] = true
				}
			}
		}
		if len(open) == 0 {
			return nil
		}
		found := false
		for id := range open {
			vs, err := t.s.engine.Ledger().Verdicts(ctx, t.id, store.VerdictQuery{Pipeline: id, From: lo.Add(-24 * time.Hour), To: lo, OnlyNotOK: true})
			if err != nil {
				return fmt.Errorf("cannot read verdicts: %w", err)
			}
			for i := range vs {
				b := t.ledger.book(vs[i].VerdictKey)
				b.mark(&vs[i])
				b.begin(&vs[i])
				found = true
			}
		}
		for _, b := range t.ledger.books {
			b.forget(from.Unix())
		}
		if !found {
			return nil
		}
	}
	return nil
}
