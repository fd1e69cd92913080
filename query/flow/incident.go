package flow

import (
	"cmp"
	"slices"

	"github.com/weirhq/weir/store"
)

// RunGap is how many good windows, or windows without a verdict, may lie within one incident.
const RunGap = 2

// RunKind says what a run of windows has in common.
type RunKind string

// Kinds of runs. Records whose fate is not known are not lost: they are incidents of their own kind.
const (
	RunLoss    RunKind = "loss"
	RunUnknown RunKind = "unknown"
)

// BadWindow says whether a verdict belongs into an incident, and of which kind. A loss that is not settled is none:
// the records may still come. Nor are windows before counting was complete: nothing happened to them.
func BadWindow(v *store.Verdict) (RunKind, bool) {
	switch {
	case v.Settled && (v.Lost > 0 || IsLoss(v.State)):
		return RunLoss, true
	case v.State == Unknown && v.Class != ClassBegan:
		return RunUnknown, true
	}
	return "", false
}

// Run is a run of bad windows of one balance. Its first window names it: it stays as more windows are added.
type Run struct {
	Kind     RunKind
	First    int64 // start of the first window, Unix seconds
	Last     int64 // start of the last window
	Width    int64 // of the last window
	Verdicts []store.Verdict
}

// End is when the last window ends.
func (r *Run) End() int64 { return add(r.Last, r.Width) }

// Reach is the latest start of a window that would still belong to the run.
func (r *Run) Reach() int64 { return add(r.Last, (RunGap+1)*max(r.Width, 1)) }

// Runs splits the bad windows of one balance into runs, oldest first, the loss of two that begin together first. Every
// bad window is in exactly one run, runs of a kind do not touch, and between two windows of a run lie at most RunGap
// others. Of several verdicts of a window the last one counts.
func Runs(vs []store.Verdict) []Run {
	bad := make([]store.Verdict, 0, len(vs))
	bad = append(bad, vs...)
	slices.SortStableFunc(bad, func(a, b store.Verdict) int { return cmp.Compare(a.Window, b.Window) })
	at := map[RunKind]int{}
	var out []Run
	for i := range bad {
		v := &bad[i]
		if i+1 < len(bad) && bad[i+1].Window == v.Window {
			continue
		}
		kind, ok := BadWindow(v)
		if !ok {
			continue
		}
		if j, ok := at[kind]; ok && v.Window <= add(out[j].Last, (RunGap+1)*max(out[j].Width, v.Width, 1)) {
			r := &out[j]
			r.Last, r.Width = v.Window, v.Width
			r.Verdicts = append(r.Verdicts, *v)
			continue
		}
		at[kind] = len(out)
		out = append(out, Run{Kind: kind, First: v.Window, Last: v.Window, Width: v.Width, Verdicts: []store.Verdict{*v}})
	}
	slices.SortStableFunc(out, func(a, b Run) int { return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Kind, b.Kind)) })
	return out
}
