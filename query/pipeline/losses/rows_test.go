package losses

import (
	"testing"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// A row speaks for its settled windows; what is always in flight at the end does not hide that they are good.
func TestRowShowsSettledWindowsBeforeThoseInFlight(t *testing.T) {
	v := func(w int64, state string, settled bool, lost int64, confidence float64) store.Verdict {
		return store.Verdict{VerdictKey: store.VerdictKey{Window: w, Width: 60}, State: state, Settled: settled, Up: 100, Lost: lost, Confidence: confidence}
	}
	for name, c := range map[string]struct {
		vs         []store.Verdict
		verdict    string
		confidence float64
		since      int64
		still      bool
	}{
		"good, then in flight":         {[]store.Verdict{v(0, flow.OK, true, 0, .99), v(60, flow.InFlight, false, 0, .5)}, flow.OK, .99, 0, false},
		"only in flight":               {[]store.Verdict{v(0, flow.InFlight, false, 0, .5)}, flow.InFlight, .5, 0, false},
		"lost, then in flight":         {[]store.Verdict{v(60, flow.Loss, true, 3, .9), v(120, flow.InFlight, false, 0, .5)}, flow.Loss, .9, 60, true},
		"lost, then good":              {[]store.Verdict{v(60, flow.Loss, true, 3, .9), v(120, flow.OK, true, 0, .99)}, flow.Loss, .9, 60, false},
		"unknown outweighs in flight":  {[]store.Verdict{v(0, flow.OK, true, 0, .99), v(60, flow.Unknown, true, 0, .7), v(120, flow.InFlight, false, 0, .5)}, flow.Unknown, .7, 60, false},
		"unknown since the latest run": {[]store.Verdict{v(0, flow.Unknown, true, 0, .7), v(60, flow.OK, true, 0, .9), v(120, flow.Unknown, true, 0, .7), v(180, flow.Unknown, true, 0, .6), v(240, flow.OK, true, 0, .9)}, flow.Unknown, .6, 120, false},
	} {
		r := Row(store.VerdictKey{}, c.vs, 0, 180)
		if r.Verdict != c.verdict || r.Confidence != c.confidence || r.Still != c.still {
			t.Errorf("%s: %s, confidence %g, still %v; want %s, %g, %v", name, r.Verdict, r.Confidence, r.Still, c.verdict, c.confidence, c.still)
		}
		if c.since != 0 && (r.Since == nil || *r.Since != c.since) {
			t.Errorf("%s: since %v, want %d", name, r.Since, c.since)
		}
		if len(r.Ribbon) != len(c.vs) {
			t.Errorf("%s: the ribbon shows %d of %d windows", name, len(r.Ribbon), len(c.vs))
		}
	}
}
