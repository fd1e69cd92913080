package world

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
)

var (
	runs  = flag.Int("truth.runs", 150, "how many random worlds TestTruth plays")
	seed  = flag.Uint64("truth.seed", 0, "play only the world of this seed and tell its story")
	first = flag.Uint64("truth.first", 1, "the first seed")
	kind  = flag.String("truth.kind", "", "only this fault, once in each world; 'each' = each kind for itself")
	table = flag.Bool("truth.table", false, "print a row for docs/benchmarks.md")
)

// Random pipelines with random faults: weir never says that something was lost or doubled when it was not, and
// never misses a loss beyond the bound it states. A seed that fails is played again with -truth.seed (and
// -truth.kind when that was given), which tells its story.
func TestTruth(t *testing.T) {
	if *seed != 0 {
		story(t, *kind, *seed)
		return
	}
	if *table {
		_, _ = fmt.Fprintln(os.Stdout, "\n| fault | worlds | windows | with a loss or doubles | exact | UNKNOWN, bound holds | other UNKNOWN | open | false | missed | lags within bound |\n|---|---|---|---|---|---|---|---|---|---|---|")
	}
	if *kind == "each" {
		for _, k := range Kinds() {
			play(t, k, *first, *runs)
		}
		return
	}
	r := play(t, *kind, *first, *runs)
	if *kind != "" || *runs < 100 {
		return
	}
	// Knowing nothing is honest and useless.
	if share := float64(r.Unknown) / float64(r.Windows); share > 0.06 {
		t.Errorf("%.1f %% of the windows are UNKNOWN", share*100)
	}
	if share := float64(r.Open) / float64(r.Windows); share > 0.005 {
		t.Errorf("%.2f %% of the windows were never settled", share*100)
	}
	if share := float64(r.Found) / float64(r.Touched); share < 0.75 {
		t.Errorf("%.1f %% of the windows with a loss are found exactly", share*100)
	}
	if share := float64(r.Lag.Within) / float64(r.Lag.Points); r.Lag.Points < 10_000 || share < 0.999 {
		t.Errorf("%d of %d lags within their bound; worst: seed %s", r.Lag.Within, r.Lag.Points, r.Lag.At)
	}
}

// Seeds that once found a bug.
func TestTruthOfOldSeeds(t *testing.T) {
	for _, c := range []struct {
		kind    string
		seeds   []uint64
		settled bool // every window has to be
	}{
		{"", []uint64{32, 103, 1008, 1065, 1144, 1255, 1269, 1285, 1398, 1437, 1514, 1640, 1722, 1915, 10558, 20428, 20557}, false},
		{"stall", []uint64{38, 50}, false},
		{"application crash", []uint64{14, 32}, false},
		{"uninstrumented producer", []uint64{9, 43}, false},
		{"rewind", []uint64{2, 11, 20}, false},
		{"retention", []uint64{20}, true},
		{"topic made anew", []uint64{33}, true},
	} {
		for _, s := range c.seeds {
			r := of(c.kind, s).Play()
			for _, x := range append(r.False, r.Missed...) {
				t.Errorf("seed %d %s: %s", s, c.kind, x)
			}
			if c.settled {
				for _, x := range r.Still {
					t.Errorf("seed %d %s: %s", s, c.kind, x)
				}
			}
		}
	}
}

func of(kind string, seed uint64) *World {
	if kind != "" {
		return MakeWith(seed, kind)
	}
	return Make(seed)
}

func story(t *testing.T, kind string, seed uint64) {
	t.Helper()
	w := of(kind, seed)
	r := w.Play()
	_, _ = fmt.Fprintln(os.Stdout, strings.Join(w.Story, "\n"))
	for _, s := range r.Still {
		_, _ = fmt.Fprintln(os.Stdout, s)
	}
	for _, s := range append(r.False, r.Missed...) {
		t.Error(s)
	}
	_, _ = fmt.Fprintf(os.Stdout, "%d windows, %d exact, %d UNKNOWN %v, %d open; %d of %d lags within their bound %s\n", r.Windows, r.Exact, r.Unknown, r.Classes, r.Open, r.Lag.Within, r.Lag.Points, r.Lag.At)
}

// play plays worlds of so many seeds and adds them up.
func play(t *testing.T, kind string, first uint64, n int) *Report {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	total := &Report{Classes: map[string]int{}}
	next := make(chan uint64)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for s := range next {
				r := of(kind, s).Play()
				mu.Lock()
				total.add(s, r)
				if len(r.False)+len(r.Missed) > 0 {
					t.Errorf("%s world %d: %d false, %d missed; play it with -truth.seed=%d -truth.kind=%q\n%s", kind, s, len(r.False), len(r.Missed), s, kind,
						append(r.False, r.Missed...)[0])
				}
				mu.Unlock()
			}
		})
	}
	for i := range n {
		next <- first + uint64(i)
	}
	close(next)
	wg.Wait()
	name := kind
	if name == "" {
		name = "up to three of all"
	}
	if *table {
		_, _ = fmt.Fprintf(os.Stdout, "| %s | %d | %d | %d | %d | %d | %d | %d | %d | %d | %.2f %% of %d |\n", name, n, total.Windows, total.Touched, total.Exact, total.FoundUnknown,
			total.Unknown-total.FoundUnknown, total.Open, len(total.False), len(total.Missed), 100*float64(total.Lag.Within)/float64(max(total.Lag.Points, 1)), total.Lag.Points)
	} else {
		fmt.Fprintf(os.Stderr, "%s: %d worlds from seed %d: %d windows, %d exact, %d UNKNOWN %v, %d open; %d lost or doubled something, %d of them exact, %d UNKNOWN; %d false, %d missed; %d of %d lags within their bound\n",
			name, n, first, total.Windows, total.Exact, total.Unknown, total.Classes, total.Open, total.Touched, total.Found, total.FoundUnknown, len(total.False), len(total.Missed), total.Lag.Within, total.Lag.Points)
	}
	return total
}

func (r *Report) add(seed uint64, o *Report) {
	r.Windows += o.Windows
	r.Exact += o.Exact
	r.Hidden += o.Hidden
	r.Unknown += o.Unknown
	r.Open += o.Open
	r.Touched += o.Touched
	r.Found += o.Found
	r.FoundUnknown += o.FoundUnknown
	r.False = append(r.False, o.False...)
	r.Missed = append(r.Missed, o.Missed...)
	for k, n := range o.Classes {
		r.Classes[k] += n
	}
	r.Lag.Points += o.Lag.Points
	r.Lag.Within += o.Lag.Within
	if o.Lag.Worst > r.Lag.Worst {
		r.Lag.Worst, r.Lag.At = o.Lag.Worst, fmt.Sprintf("%d, %s", seed, o.Lag.At)
	}
}
