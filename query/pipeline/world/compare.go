package world

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// Report compares what weir says with the truth.
type Report struct {
	Windows int // balances times windows in which something was counted
	Exact   int // settled, the numbers right
	Hidden  int // settled, within the stated bound
	Unknown int // UNKNOWN with a bound that holds
	Open    int // never settled
	// Of the windows in which something was lost or doubled:
	Touched, Found, FoundUnknown int
	// Reasons of what is UNKNOWN, by class.
	Classes map[string]int
	Still   []string // what is open
	// False are verdicts that should never have been said, Missed losses beyond a stated bound.
	False, Missed []string
	Lag           LagCheck
}

// Compare holds every verdict against the truth.
func (w *World) Compare() *Report {
	r := &Report{Classes: map[string]int{}, Lag: w.lag}
	fates := map[store.VerdictKey]*Fate{}
	for k, f := range w.Truth.Fates() {
		fates[loose(k)] = f
	}
	final := map[store.VerdictKey]store.Verdict{}
	for k, v := range w.Engine.Verdicts {
		k := loose(k)
		if old, ok := final[k]; !ok || strings.Count(v.From, ",") > strings.Count(old.From, ",") || v.UpdatedAt > old.UpdatedAt && len(v.From) == len(old.From) {
			final[k] = v
		}
	}
	keys := make([]store.VerdictKey, 0, len(final))
	for k := range final {
		keys = append(keys, k)
	}
	for k := range fates {
		if _, ok := final[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b store.VerdictKey) int {
		return cmp.Or(cmp.Compare(a.Window, b.Window), cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.To, b.To), cmp.Compare(a.Kind, b.Kind))
	})
	for _, k := range keys {
		f := fates[k]
		if f == nil {
			f = &Fate{}
		}
		v, said := final[k]
		r.judge(k, v, said, f)
	}
	for _, v := range w.Truth.early {
		f := fates[loose(v.VerdictKey)]
		if f == nil {
			f = &Fate{}
		}
		if why := wrong(v, f); why != "" {
			r.False = append(r.False, fmt.Sprintf("%s, said at t+%d", describe(v, f, why), (v.UpdatedAt-Begin)/1000))
		}
	}
	slices.Sort(r.False)
	r.False = slices.Compact(r.False)
	return r
}

// loose leaves the writers out of the key: they become known one after another.
func loose(k store.VerdictKey) store.VerdictKey {
	if k.Kind == store.EdgeTransport {
		k.From = ""
	}
	return k
}

func (r *Report) judge(k store.VerdictKey, v store.Verdict, said bool, f *Fate) {
	r.Windows++
	touched := f.Lost+f.Twice+f.GaveUp > 0
	if touched {
		r.Touched++
	}
	if !said || !v.Settled && v.State != flow.Unknown {
		r.Open++
		if !said {
			v.VerdictKey = k
		}
		r.Still = append(r.Still, describe(v, f, "open"))
		return
	}
	why := wrong(v, f)
	if why != "" {
		r.False = append(r.False, describe(v, f, why))
		return
	}
	if why := short(v, f); why != "" {
		r.Missed = append(r.Missed, describe(v, f, why))
		return
	}
	switch {
	case v.State == flow.Unknown:
		r.Unknown++
		r.Classes[v.Class]++
		if touched {
			r.FoundUnknown++
		}
	case v.Lost-f.GaveUp-v.Surplus-v.Redeliver != f.net():
		r.Hidden++
	default:
		r.Exact++
		if touched {
			r.Found++
		}
	}
}

// wrong says what is false about a verdict: a loss or duplicates that never were, or more than there were.
func wrong(v store.Verdict, f *Fate) string {
	switch v.State {
	case flow.Loss, flow.RetentionLoss, flow.Skipped, flow.ProbableLoss:
		if f.Lost+f.GaveUp == 0 {
			return "nothing was lost"
		}
	case flow.Mixed:
		if f.Lost == 0 || f.Twice == 0 {
			return "not mixed"
		}
	case flow.Duplicates:
		if f.Twice == 0 {
			return "nothing was doubled"
		}
	case flow.Anomaly:
		return "nothing is unusual"
	}
	if v.Lost > f.Missing+f.GaveUp {
		return "more than was lost"
	}
	if v.State != flow.Unknown && v.Surplus > f.Twice+f.Foreign {
		return "more than was doubled"
	}
	return ""
}

// short says what a settled verdict leaves out beyond its bound.
func short(v store.Verdict, f *Fate) string {
	// What counts can show: what strangers put in makes up for losses, what is known to be read again is no surplus.
	net := f.Lost - f.Foreign - max(0, f.Twice-v.Redeliver)
	switch {
	case v.State == flow.Unknown:
		if max(net, -net-f.Blind) > v.Epsilon+v.Lost {
			return "the bound is too small"
		}
	case net+f.GaveUp > v.Lost+v.Epsilon:
		return "less than was lost"
	case net == 0 && f.Lost > 0 && f.Lost == f.Twice && v.State == flow.OK && v.Level == flow.L3:
		return "called the same records"
	case -net-f.Blind > v.Surplus+v.Epsilon:
		return "less than was doubled"
	}
	return ""
}

func describe(v store.Verdict, f *Fate, why string) string {
	where := v.To
	if v.Kind == store.EdgeTransport {
		where = v.Destination + " → " + v.To
	}
	return fmt.Sprintf("%s %s window t+%d: %s %s lost %d surplus %d δ %d ε %d R %d (up %d, down %d, %s, level %s, revision %d); in truth up %d, down %d, lost %d (missing %d), twice %d (again %d), foreign %d, given up %d: %s",
		v.Kind, where, v.Window-Begin/1000, v.State, v.Class, v.Lost, v.Surplus, v.Delta, v.Epsilon, v.Redeliver, v.Up, v.Down, settledWord(v), v.Level, v.Revision,
		f.Up, f.Down, f.Lost, f.Missing, f.Twice, f.Again, f.Foreign, f.GaveUp, why)
}

func settledWord(v store.Verdict) string {
	if !v.Settled {
		return "open"
	}
	return "settled " + time.UnixMilli(v.SettledAt).UTC().Format("t+04:05")
}
