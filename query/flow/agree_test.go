package flow

import (
	"testing"

	"github.com/weirhq/weir/store"
)

func TestAgreement(t *testing.T) {
	type w struct {
		up, down     int64
		state, class string
	}
	partly := func(up, down int64) w { return w{up, down, Unknown, ClassPartly} }
	ok := func(n int64) w { return w{n, n, OK, ""} }
	for name, c := range map[string]struct {
		windows []w
		since   int64 // number of the window, from 1; 0 = never
	}{
		"nothing":                       {nil, 0},
		"all of many":                   {[]w{ok(600)}, 1},
		"all of few":                    {[]w{ok(10), ok(10), ok(10)}, 0},
		"all of few, long enough":       {[]w{ok(30), ok(30), ok(30), ok(30)}, 1},
		"one of two instances":          {[]w{partly(600, 300), partly(600, 310)}, 0},
		"then both":                     {[]w{partly(600, 300), partly(600, 450), ok(600)}, 3},
		"one of eleven, by chance less": {[]w{partly(70, 64), partly(70, 68), partly(70, 63), partly(70, 68), partly(70, 64)}, 0},
		"one of a hundred is lost":      {[]w{partly(6000, 5940), {6000, 5940, Loss, "lost in transport"}}, 1},
		"one of a hundred, of few":      {[]w{partly(100, 99), partly(100, 99), partly(100, 99), partly(100, 99)}, 1},
		"more than was put in":          {[]w{{600, 700, Unknown, "uninstrumented producer"}}, 1},
		"a silent auditor":              {[]w{{600, 300, Unknown, "auditor silent"}, {600, 590, Unknown, "auditor silent"}}, 0},
		"people said how many":          {[]w{{600, 300, Loss, "lost in transport"}}, 1},
		"deleted unread":                {[]w{{600, 300, RetentionLoss, "retention"}, partly(600, 300)}, 0},
		"skipped":                       {[]w{{600, 300, Skipped, "skipped"}, partly(600, 300)}, 0},
		"truncated":                     {[]w{{600, 300, Loss, ClassTruncation}, partly(600, 300)}, 0},
		"doubled":                       {[]w{{10, 20, Duplicates, ""}}, 0},
		"nothing put in":                {[]w{{0, 50, Unknown, "uninstrumented producer"}}, 0},
	} {
		var a Agreement
		for i, x := range c.windows {
			v := store.Verdict{Settled: true, State: x.state, Class: x.class, Up: x.up, Down: x.down}
			v.Kind, v.Window = store.EdgeTransport, int64(i+1)
			if IsLoss(x.state) {
				v.Lost = x.up - x.down
			}
			a.Learn(&v)
			a.Learn(&v) // said again
			old := v
			old.Window, old.Down = 0, 0
			a.Learn(&old) // an older one that came late
			v.Kind, v.Window = store.EdgeBalance, 100
			a.Learn(&v)
		}
		if a.Since != c.since {
			t.Errorf("%s: since window %d, want %d", name, a.Since, c.since)
		}
	}
}
