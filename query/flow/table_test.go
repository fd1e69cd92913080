package flow

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// Of a flat run only the ends are kept; a time within it is answered with that time, not with the newest poll,
// else nothing after it would ever settle.
func TestTableFlatRun(t *testing.T) {
	var tb Table
	for at := int64(1000); at <= 100_000; at += 1000 {
		tb.Add(at, min(at, 5000))
	}
	if tb.Len() > 7 {
		t.Errorf("%d points", tb.Len())
	}
	if p, ok := tb.After(50_500); !ok || p.T != 50_500 || p.V != 5000 {
		t.Errorf("%+v %v", p, ok)
	}
	if _, ok := tb.After(100_001); ok {
		t.Error("no poll yet")
	}
}

// A table of 14 days stays small, and every estimate lies within its bound of the truth.
func TestTableBoundsAndSize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tb Table
		step := rapid.Int64Range(1000, 15_000).Draw(t, "poll")
		rates := rapid.SliceOfN(rapid.Int64Range(0, 50), 1, 6).Draw(t, "rates")
		type append1 struct{ at, upto int64 }
		var truth []append1 // records up to an offset were there at a time
		v := int64(0)
		for i := range int64(20_000) {
			v += rates[int(i/300)%len(rates)] * step / 1000
			truth = append(truth, append1{i * step, v})
			tb.Add(i*step, v)
		}
		if tb.Len() > 5000 {
			t.Fatalf("%d points", tb.Len())
		}
		for _, k := range []int{5000, 15_000, 19_000, 19_990} {
			off := truth[k].upto
			if k == 0 || off == truth[k-1].upto || off >= v {
				continue
			}
			at, bound, known := tb.TimeOf(off - 1) // appended between polls k-1 and k
			if !known {
				continue
			}
			lo, hi := float64(truth[k-1].at), float64(truth[k].at)
			if at < lo-bound || at > hi+bound {
				t.Fatalf("offset %d: %g ± %g, truth %g to %g", off-1, at, bound, lo, hi)
			}
		}
	})
}

// An end that falls for one poll and comes back may have been a wrong poll or a truncation: the time of the records
// between is stated so that both can be (random worlds, -truth.kind="absurd offsets" -truth.seed=32).
func TestTimeOfOffsetsSeenTwice(t *testing.T) {
	var table Table
	for i := range int64(60) { // ten records a second
		v := 10 * i
		if i == 40 {
			v = 200
		}
		table.Add(1000*i, v)
	}
	at, bound, known := table.TimeOf(300) // came at 30 s, or at 41 s if it came anew
	if !known || at-bound > 30_000 || at+bound < 41_000 {
		t.Errorf("offset 300: %v ± %v, %v; want 30,000 and 41,000 within", at, bound, known)
	}
	if at, bound, known = table.TimeOf(455); !known || bound > 1000 || at < 45_000 || at > 46_000 {
		t.Errorf("offset 455, seen once: %v ± %v, %v", at, bound, known)
	}
	// Nothing older is left: the poll after is the latest that it can have been.
	table = Table{}
	for i, v := range []int64{50, 60, 0, 70} {
		table.Add(1000*int64(i), v)
	}
	if at, bound, known = table.TimeOf(55); !known || at != 3000 || !math.IsInf(bound, 1) {
		t.Errorf("offset 55: %v ± %v, %v", at, bound, known)
	}
	// A fall that does not come back is one.
	table = Table{}
	for i, v := range []int64{500, 600, 10, 20, 30, 40, 50, 60} {
		table.Add(1000*int64(i), v)
	}
	if at, bound, known = table.TimeOf(45); !known || bound > 1000 || at < 5000 || at > 6000 {
		t.Errorf("offset 45 of a topic made anew: %v ± %v, %v", at, bound, known)
	}
}
