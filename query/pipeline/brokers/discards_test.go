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

// What a cluster gave up while nobody polled it is counted when it is polled again, unless it was forgotten meanwhile.
func TestDiscardsOfAClusterOverAGap(t *testing.T) {
	for name, c := range map[string]struct {
		gap  int64 // milliseconds
		want float64
	}{"a gap": {1_200_000, 5}, "forgotten": {2 * 3_600_000, 0}} {
		p := newPolls(t)
		tell := func(v float64) func(int, int64) {
			return func(_ int, at int64) { p.put(at, "discarded_total", v, "reason", "unroutable", "node", "n1") }
		}
		p.run(began, 60, tell(10))
		for at := began + int64(100_000); at < began+c.gap; at += 100_000 {
			p.run(at, 1, func(int, int64) {})
		}
		p.run(began+c.gap, 60, tell(15))
		q := p.b.Queue(QueueKey{ClusterKey: ClusterKey{"kafka", "c"}})
		n := 0.0
		for _, w := range q.DiscardWindows() {
			n += q.DiscardsIn(w)[Discard{Reason: "unroutable"}]
		}
		if n != c.want {
			t.Errorf("%s: %g, want %g", name, n, c.want)
		}
	}
}

// The first figure is the beginning: the first records given up of a stream count when a 0 was told before them.
func TestFirstDiscardsGrowFromNone(t *testing.T) {
	const at = 1_732_334_400
	for _, c := range []struct {
		told []float64
		want int64
	}{{[]float64{0, 3}, 3}, {[]float64{3, 3}, 0}} {
		q := &Queue{discards: map[discardKey]*discards{}}
		for i, v := range c.told {
			q.discard(discardKey{Discard{"max_deliveries", false}, "n1"}).take((at+int64(i)*60)*1000, v)
		}
		if n, _ := q.discardedSince(at); n != c.want || q.DiscardsGrew() != (c.want > 0) {
			t.Errorf("%v: %d, want %d", c.told, n, c.want)
		}
	}
}
