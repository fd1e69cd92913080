package brokers

import (
	"testing"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// What a broker gave up is known by minute, of the collector that saw most, and names what is missing of a counted edge.
func TestDiscardsExplainALoss(t *testing.T) {
	const at = 1_732_334_400
	q := &Queue{discards: map[discardKey]*discards{}}
	grow := func(k discardKey, vs ...float64) {
		for i, v := range vs {
			q.discard(k).take((at+int64(i)*60)*1000, v)
		}
	}
	grow(discardKey{Discard{"expired", false}, "n1"}, 100, 110, 150)
	grow(discardKey{Discard{"expired", false}, "n2"}, 100, 110, 145)
	grow(discardKey{Discard{"delivery_limit", true}, "n1"}, 0, 0, 5)
	grow(discardKey{Discard{"trimmed", false}, "n1"}, 0, 0, 500) // may well have been read
	for _, c := range []struct {
		since, want int64
		reason      string
	}{{at, 55, "expired"}, {at + 120, 45, "expired"}, {at + 179, 45, "expired"}, {at + 180, 0, ""}} {
		if n, why := q.discardedSince(c.since); n != c.want || why != c.reason {
			t.Errorf("since +%d: %d %q, want %d %q", c.since-at, n, why, c.want, c.reason)
		}
	}
	judge := func(discarded, retention int64) store.Verdict {
		ev := flow.Evidence{Kind: store.EdgeTransport, Settled: true, InFlight: -1, EndDelta: -1, Discarded: discarded, Discard: "expired", Retention: retention}
		ev.Up.N, ev.Down.N = 1000, 950
		return flow.Judge(ev)
	}
	for name, c := range map[string]struct {
		discarded, retention int64
		class, state         string
		explained            int64
	}{
		"as many":             {50, 0, "expired", flow.Loss, 50},
		"more":                {500, 0, "expired", flow.Loss, 50},
		"a few":               {20, 0, "lost in transport", flow.Loss, 0},
		"none":                {0, 0, "lost in transport", flow.Loss, 0},
		"offsets know better": {50, 50, "retention", flow.RetentionLoss, 50},
	} {
		if v := judge(c.discarded, c.retention); v.Class != c.class || v.State != c.state || v.Lost != 50 || v.Explained != c.explained {
			t.Errorf("%s: %s %q lost %d explained %d, want %s %q 50 %d", name, v.State, v.Class, v.Lost, v.Explained, c.state, c.class, c.explained)
		}
	}
}
