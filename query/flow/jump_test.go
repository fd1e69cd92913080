package flow

import (
	"fmt"
	"testing"
)

func TestJumps(t *testing.T) {
	for name, c := range map[string]struct {
		v    []float64 // by step
		want string
	}{
		"steady":           {[]float64{0, 1000, 2000, 3000}, "[]"},
		"jump":             {[]float64{0, 1000, 2000, 9000, 10_000}, "[{30 2000 9000}]"},
		"in two steps":     {[]float64{0, 1000, 2000, 6000, 12_000, 13_000}, "[{40 2000 12000}]"},
		"at the end":       {[]float64{0, 1000, 2000, 9000}, "[{30 2000 9000}]"},
		"catching up":      {[]float64{0, 1000, 3500, 6000}, "[]"},
		"caught up before": {[]float64{0, 1000, 1000, 4500, 5500, 6500, 7500, 14_000, 15_000}, "[{30 1000 4500} {70 7500 14000}]"},
		"caught up slower": {[]float64{0, 1000, 1000, 3500, 4500, 5500, 6500, 13_000, 14_000}, "[{70 6500 13000}]"},
		"one step":         {[]float64{0, 0, 9000, 9000}, "[]"},
		"few records":      {[]float64{0, 10, 20, 100}, "[]"},
		"nothing known":    {[]float64{0}, "[]"},
		"back":             {[]float64{5000, 1000, 2000, 3000}, "[]"},
	} {
		got := fmt.Sprint(Jumps(func(at int64) (float64, bool) { return c.v[at/10], true }, 0, int64(len(c.v)-1)*10, 10))
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if Jumps(func(int64) (float64, bool) { return 0, false }, 0, 1<<60, 1) != nil || Jumps(nil, 0, 10, 0) != nil {
		t.Error("bounds")
	}
}

// What is read in the same step before and after a jump is no part of it: else as many as were skipped do not seem to be missing.
func TestJumpsAreNarrow(t *testing.T) {
	// A hundred a second; it stands still from 27 to 46, jumps to where it would be, and reads on.
	value := func(at int64) (float64, bool) {
		switch s := float64(at) / 1000; {
		case s <= 27:
			return s * 100, true
		case s < 46:
			return 2700, true
		default:
			return s * 100, true
		}
	}
	got := Jumps(value, 0, 60_000, 5000)
	if len(got) != 1 || got[0].T != 50_000 || got[0].From != 2700 || got[0].To != 4600 {
		t.Errorf("%+v, want [2700, 4600)", got)
	}
	// Where the offsets are only known at the steps, the whole step is the jump.
	coarse := func(at int64) (float64, bool) {
		lo, _ := value(at / 5000 * 5000)
		hi, _ := value(at/5000*5000 + 5000)
		return lo + (hi-lo)*float64(at%5000)/5000, true
	}
	got = Jumps(coarse, 0, 60_000, 5000)
	if len(got) != 1 || got[0].From != 2700 || got[0].To != 5000 {
		t.Errorf("%+v, want [2700, 5000)", got)
	}
}
