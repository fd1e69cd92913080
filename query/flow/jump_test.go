package flow

import (
	"fmt"
	"testing"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

func TestJumps(t *testing.T) {
	for name, c := range map[string]struct {
		v    []float64 // by step
		want string
	}{
		"steady":           {[]float64{0, 1000, 2000, 3000}, "[]"},
		"jump":             {[]float64{0, 1000, 2000, 9000, 10_000}, "[{30 2000 9000 1000}]"},
		"in two steps":     {[]float64{0, 1000, 2000, 6000, 12_000, 13_000}, "[{40 2000 12000 1000}]"},
		"at the end":       {[]float64{0, 1000, 2000, 9000}, "[{30 2000 9000 1000}]"},
		"catching up":      {[]float64{0, 1000, 3500, 6000}, "[]"},
		"caught up before": {[]float64{0, 1000, 1000, 4500, 5500, 6500, 7500, 14_000, 15_000}, "[{30 1000 4500 1000} {70 7500 14000 1000}]"},
		"caught up slower": {[]float64{0, 1000, 1000, 3500, 4500, 5500, 6500, 13_000, 14_000}, "[{70 6500 13000 1000}]"},
		"one step":         {[]float64{0, 0, 9000, 9000}, "[]"},
		"few records":      {[]float64{0, 10, 20, 100}, "[]"},
		"nothing known":    {[]float64{0}, "[]"},
		"back":             {[]float64{5000, 1000, 2000, 3000}, "[]"},
	} {
		line := func(at int64) (float64, bool) {
			i := at / 10
			if at < 0 || i >= int64(len(c.v)-1) {
				return c.v[len(c.v)-1], at == int64(len(c.v)-1)*10
			}
			return c.v[i] + (c.v[i+1]-c.v[i])*float64(at%10)/10, true
		}
		got := fmt.Sprint(Jumps(line, 0, int64(len(c.v)-1)*10, 10))
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if Jumps(func(int64) (float64, bool) { return 0, false }, 0, 1<<60, 1) != nil || Jumps(nil, 0, 10, 0) != nil {
		t.Error("bounds")
	}
}

// Wherever in a window a skip lands, whenever polls come, however little was seen before and after: all windows that lack
// records because of it are named.
func TestSkipIsNamedWhereverItLands(t *testing.T) {
	for land := int64(60_000); land < 70_000; land += 370 {
		for phase := int64(0); phase < 1000; phase += 210 {
			for _, stops := range []int64{25_300, 26_100, 27_000, 29_400} {
				for _, begun := range []int64{-300_000, 12_000, 19_000, 22_300} {
					for _, after := range []int64{1200, 4000, 50_000} {
						skipLandsAt(t, stops, land, phase, begun, after)
					}
				}
			}
		}
	}
}

// skipLandsAt lets a group that reads a hundred a second stand still at stops, jump at land to where it would be, and read on.
// It is polled once a second from begun on, until so long after the jump. Windows have ten seconds.
func skipLandsAt(t *testing.T, stops, land, phase, begun, after int64) {
	t.Helper()
	truth := func(at int64) float64 {
		if at >= stops && at < land {
			return float64(stops) / 10
		}
		return float64(at) / 10
	}
	polled := func(at int64) (float64, bool) { // straight lines between
		lo := (at+300_000-phase)/1000*1000 + phase - 300_000
		if at < begun || lo < begun {
			return 0, false
		}
		a, b := truth(lo), truth(lo+1000)
		return a + (b-a)*float64(at-lo)/1000, true
	}
	before := false
	for w := int64(20); w < 70; w += 10 {
		lo, hi := float64(w*100), float64(w*100+1000)
		lost := int64(max(0, min(float64(land)/10, hi)-max(float64(stops)/10, lo)))
		if lost == 0 {
			before = false
			continue
		}
		ev := Evidence{Kind: store.EdgeTransport, Settled: true, EndDelta: -1, InFlight: -1, Up: cell.Counts{N: 1000}, Down: cell.Counts{N: uint64(1000 - lost)}, SkipGoesOn: before}
		for _, j := range Jumps(polled, (w-300)*1000, land+after, 5000) {
			in := min(j.To, hi) - max(j.From, lo)
			if in <= 0 {
				continue
			}
			ev.Jumped += int64(in)
			if j.From > lo {
				ev.JumpBlur += int64(j.Blur)
			}
			if j.To < hi {
				ev.JumpBlur += int64(j.Blur)
			}
		}
		v := Judge(ev)
		before = v.State == Skipped
		if v.State != Skipped || v.Lost != lost {
			t.Errorf("stopped at %d, landed at %d, polls at %d from %d until %d after: window %d %s, lost %d of %d, jumped %d ± %d", stops, land, phase, begun, after, w, v.State, v.Lost, lost, ev.Jumped, ev.JumpBlur)
		}
	}
}

// A loss beside a jump is no skip: what lacks is far fewer than were passed over.
func TestLossBesideACatchUpIsNoSkip(t *testing.T) {
	for _, lost := range []int64{10, 300, 1000} {
		v := Judge(Evidence{Kind: store.EdgeTransport, Settled: true, EndDelta: -1, InFlight: -1, Up: cell.Counts{N: 5000}, Down: cell.Counts{N: uint64(5000 - lost)}, Jumped: 3000, JumpBlur: 2500})
		if v.State != Loss || v.Lost != lost {
			t.Errorf("%d missing, 3,000 passed quickly: %s %d", lost, v.State, v.Lost)
		}
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
