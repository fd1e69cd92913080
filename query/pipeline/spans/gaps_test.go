package spans

import (
	"fmt"
	"slices"
	"testing"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/query/flow"
)

// A counter of drops that falls began anew with its collector: what it says then was dropped since.
func TestDropsAcrossARestart(t *testing.T) {
	b := New(&engine{}, "t", nil, new(metrics.Counter))
	const begin = int64(1_732_334_400_000)
	for i, v := range []float64{500, 500, 0, 0, 7, 7, 3} {
		b.dropped("k", "n", begin+int64(i)*600_000, v)
	}
	b.dropped("k", "n", begin, 900) // read again
	want := []string{"The collector of n had to drop 7 spans.", "The collector of n had to drop 3 spans."}
	var got []string
	for _, g := range b.gaps {
		got = append(got, g.text)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := b.LostIn(flow.Window{Start: begin/1000 + 2340, Width: 60}, flow.SpanRules{}); !slices.Equal(got, want[:1]) {
		t.Errorf("in the window: %q", got)
	}
}

// Beyond the bound new gaps take the place of old ones and are counted; counters that fell silent are forgotten.
func TestGapsAreBounded(t *testing.T) {
	over := new(metrics.Counter)
	b := New(&engine{}, "t", nil, over)
	const now = int64(1_732_334_400_000)
	for i := range int64(maxGaps + 3) {
		b.gap(now+i*1000-60_000, now+i*1000, fmt.Sprint(i))
	}
	if len(b.gaps) != maxGaps || over.Get() != 3 || b.gaps[0].text != "3" || b.gaps[maxGaps-1].text != fmt.Sprint(maxGaps+2) {
		t.Errorf("%d gaps from %s, %d counted", len(b.gaps), b.gaps[0].text, over.Get())
	}
	b.dropped("old", "n", now, 1)
	b.dropped("young", "n", now+1, 1)
	b.forget(now + 3_600_001)
	if _, ok := b.gapAt["young"]; !ok || len(b.gapAt) != 1 {
		t.Errorf("remembered: %v", b.gapAt)
	}
}
