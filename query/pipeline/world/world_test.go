package world

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

var (
	runs  = flag.Int("truth.runs", 150, "how many random worlds TestTruth plays")
	seed  = flag.Uint64("truth.seed", 0, "play only the world of this seed and tell its story")
	first = flag.Uint64("truth.first", 1, "the first seed")
	kind  = flag.String("truth.kind", "", "only this fault, once in each world")
)

// Random pipelines with random faults: weir never says that something was lost or doubled when it was not, and
// never misses a loss beyond the bound it states.
func TestTruth(t *testing.T) {
	make := func(seed uint64) *World {
		if *kind != "" {
			return MakeWith(seed, *kind)
		}
		return Make(seed)
	}
	if *seed != 0 {
		w := make(*seed)
		r := w.Play()
		fmt.Println(strings.Join(w.Story, "\n"))
		fmt.Println(strings.Join(r.Still, "\n"))
		for _, s := range append(r.False, r.Missed...) {
			t.Error(s)
		}
		return
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	next := make2(*first, uint64(*runs))
	total := Report{Classes: map[string]int{}}
	bad := 0
	for range 2 {
		wg.Go(func() {
			for s := range next {
				r := make(s).Play()
				mu.Lock()
				total.Windows += r.Windows
				total.Exact += r.Exact
				total.Hidden += r.Hidden
				total.Unknown += r.Unknown
				total.Open += r.Open
				total.Touched += r.Touched
				total.Found += r.Found
				total.FoundUnknown += r.FoundUnknown
				for k, n := range r.Classes {
					total.Classes[k] += n
				}
				if r.Open > 0 && testing.Verbose() {
					fmt.Println("seed", s, "open", r.Open)
				}
				if len(r.False)+len(r.Missed) > 0 {
					bad++
					total.False = append(total.False, r.False...)
					total.Missed = append(total.Missed, r.Missed...)
					t.Errorf("seed %d: %d false, %d missed; -truth.seed=%d tells the story", s, len(r.False), len(r.Missed), s)
					for i, x := range append(r.False, r.Missed...) {
						if i < 2 {
							t.Log(x)
						}
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	fmt.Fprintf(os.Stderr, "%d runs, %d bad: windows %d exact %d hidden %d unknown %d open %d touched %d found %d foundunknown %d classes %v false %d missed %d\n", *runs, bad, total.Windows, total.Exact, total.Hidden, total.Unknown, total.Open, total.Touched, total.Found, total.FoundUnknown, total.Classes, len(total.False), len(total.Missed))
}

func make2(first, n uint64) chan uint64 {
	c := make(chan uint64)
	go func() {
		for i := range n {
			c <- first + i
		}
		close(c)
	}()
	return c
}
