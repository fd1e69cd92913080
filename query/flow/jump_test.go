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
		"steady":        {[]float64{0, 1000, 2000, 3000}, "[]"},
		"jump":          {[]float64{0, 1000, 2000, 9000, 10_000}, "[{30 2000 9000}]"},
		"in two steps":  {[]float64{0, 1000, 2000, 6000, 12_000, 13_000}, "[{40 2000 12000}]"},
		"at the end":    {[]float64{0, 1000, 2000, 9000}, "[{30 2000 9000}]"},
		"catching up":   {[]float64{0, 1000, 3500, 6000}, "[]"},
		"few records":   {[]float64{0, 10, 20, 100}, "[]"},
		"nothing known": {[]float64{0}, "[]"},
		"back":          {[]float64{5000, 1000, 2000, 3000}, "[]"},
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
