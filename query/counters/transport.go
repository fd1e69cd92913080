package counters

import (
	"github.com/weirhq/weir/query/flow"
)

// Transport follows one half of the way over a broker: what producers counted against the growth of the end
// offsets, or the growth of the committed offset against what consumers counted. It is judged only after both
// sides agreed for three minutes: where only some of the producers or consumers count, they never do.
type Transport struct {
	begun    bool
	up, down float64 // totals at the last step
	at       int64
	res      flow.Residual
	sent     meter
	agreed   int64 // since when both sides agree, 0 = they do not
	moved    float64
	claimed  float64
	breaks   int64
	edge     *edge
}

// proof is how long both sides must have agreed, milliseconds.
const proof = 3 * 60_000

// Transport finds or makes a half; from or to is empty on the broker's side.
func (b *Book) Transport(pipeline, from, destination, group, to string) *Transport {
	k := edgeKey{pipeline, from, destination, group, to}
	if b.transports == nil {
		b.transports = map[edgeKey]*Transport{}
	}
	t := b.transports[k]
	if t == nil {
		if len(b.transports) >= b.limits.Stages {
			b.refused++
			return nil
		}
		t = &Transport{}
		b.transports[k] = t
	}
	t.edge = b.edgeOf(k)
	return t
}

// Step takes both totals at a time. slack is how far apart, in milliseconds, the two sides may have been read; breaks
// changes when a side began anew.
func (t *Transport) Step(b *Book, at int64, up, down float64, slack, breaks int64) {
	if at <= t.at && t.begun {
		return
	}
	if !t.begun || breaks != t.breaks || up < t.up || down < t.down || at-t.at > maxGap {
		*t = Transport{begun: true, up: up, down: down, at: at, breaks: breaks, edge: t.edge}
		return
	}
	u, d := up-t.up, down-t.down
	t.up, t.down, t.at = up, down, at
	t.sent.add(at, u)
	t.moved += u
	tolerance := max(t.sent.since(at-slack), u)
	missing := t.res.Step(u, d, 0, tolerance)
	low := t.res.Surplus()
	if t.agreed == 0 {
		t.agreed = at
	}
	proven := at-t.agreed >= proof && t.moved > 0
	switch {
	case !proven && (missing != 0 || low > tolerance), low > 10*tolerance && low > 0.05*t.moved:
		// They do not agree: somebody is not counted, or offsets are not records here.
		t.res, t.sent, t.agreed, t.moved, t.claimed = flow.Residual{}, meter{}, 0, 0, 0
		return
	case !proven:
		return
	}
	w := t.edge.at(b.told(at))
	w.judged = true
	w.up += u
	w.down += d
	if high := t.res.Missing(); high < t.claimed {
		w.lost -= t.claimed - high
		t.claimed = high
	}
	if missing > t.claimed {
		t.edge.lose(b.told(at), missing-t.claimed, confidence(missing+tolerance, tolerance))
		t.claimed = missing
	}
}
