package flow

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirhq/weir/store"
)

func window(w int64, state string, lost int64) store.Verdict {
	return store.Verdict{VerdictKey: store.VerdictKey{Window: w * 60, Width: 60}, State: state, Settled: true, Lost: lost}
}

func TestRuns(t *testing.T) {
	late := window(5, Loss, 3)
	late.Settled = false
	for name, c := range map[string]struct {
		vs   []store.Verdict
		want string
	}{
		"none":            {nil, "[]"},
		"good":            {[]store.Verdict{window(1, OK, 0), window(2, Duplicates, 0), window(3, Filtered, 0)}, "[]"},
		"one":             {[]store.Verdict{window(1, Loss, 1)}, "[loss 1-1 1]"},
		"gap of two":      {[]store.Verdict{window(1, Loss, 1), window(2, OK, 0), window(3, OK, 0), window(4, Skipped, 1)}, "[loss 1-4 2]"},
		"gap of three":    {[]store.Verdict{window(1, Loss, 1), window(5, Loss, 1)}, "[loss 1-1 1 loss 5-5 1]"},
		"unknown is none": {[]store.Verdict{window(1, Loss, 1), window(2, Unknown, 0), window(3, Loss, 1)}, "[loss 1-3 2 unknown 2-2 1]"},
		"certain drops":   {[]store.Verdict{window(1, Unknown, 7)}, "[loss 1-1 1]"},
		"mixed":           {[]store.Verdict{window(1, Mixed, 0)}, "[loss 1-1 1]"},
		"open":            {[]store.Verdict{late}, "[]"},
		"revised":         {[]store.Verdict{window(1, Loss, 1), window(1, OK, 0)}, "[]"},
		"counting began":  {[]store.Verdict{{State: Unknown, Class: ClassBegan, Settled: true}}, "[]"},
	} {
		var got []string
		for _, r := range Runs(c.vs) {
			got = append(got, fmt.Sprintf("%s %d-%d %d", r.Kind, r.First/60, r.Last/60, len(r.Verdicts)))
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%s: %v, want %s", name, got, c.want)
		}
	}
}

// Every bad window is in exactly one run, runs of a kind do not touch, the order of the verdicts does not matter, and
// the names of runs stay as windows are added.
func TestRunsPartitionBadWindows(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		states := []string{OK, Loss, Unknown, Duplicates, Mixed, Filtered, RetentionLoss, Anomaly}
		width := int64(60)
		var vs []store.Verdict
		names := map[string]int64{}
		for w := range int64(rapid.IntRange(0, 60).Draw(r, "windows")) {
			if rapid.IntRange(0, 9).Draw(r, "there") == 0 {
				continue
			}
			v := window(w, rapid.SampledFrom(states).Draw(r, "state"), 0)
			if IsLoss(v.State) && v.State != Mixed {
				v.Lost = 1
			}
			vs = append(vs, v)
			runs := Runs(vs)
			now := map[string]int64{}
			for i := range runs {
				id := fmt.Sprint(runs[i].Kind, runs[i].First)
				now[id] = runs[i].Last
			}
			for id, last := range names {
				if now[id] < last {
					r.Fatalf("window %d: the incident %s is gone or shorter", w, id)
				}
			}
			names = now
		}
		runs := Runs(vs)
		in := map[int64]int{}
		last := map[RunKind]*Run{}
		for i := range runs {
			run := &runs[i]
			if p := last[run.Kind]; p != nil && run.First-p.Last <= (RunGap+1)*width {
				r.Fatalf("runs %v and %v touch", p, run)
			}
			last[run.Kind] = run
			for j := range run.Verdicts {
				v := &run.Verdicts[j]
				in[v.Window]++
				if k, bad := BadWindow(v); !bad || k != run.Kind {
					r.Fatalf("%+v is in a run of %s", v, run.Kind)
				}
				if j > 0 && v.Window-run.Verdicts[j-1].Window > (RunGap+1)*width {
					r.Fatalf("a hole in %+v", run)
				}
			}
			if run.Verdicts[0].Window != run.First || run.Verdicts[len(run.Verdicts)-1].Window != run.Last {
				r.Fatalf("borders of %+v", run)
			}
		}
		for i := range vs {
			want := 0
			if _, bad := BadWindow(&vs[i]); bad {
				want = 1
			}
			if in[vs[i].Window] != want {
				r.Fatalf("window %d is in %d runs, want %d", vs[i].Window, in[vs[i].Window], want)
			}
		}
		mixed := rapid.Permutation(vs).Draw(r, "order")
		if !slices.EqualFunc(Runs(mixed), runs, func(a, b Run) bool {
			return a.Kind == b.Kind && a.First == b.First && a.Last == b.Last && len(a.Verdicts) == len(b.Verdicts)
		}) {
			r.Fatal("the order matters")
		}
	})
}
