package pipeline

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// The sentence tells the whole run of a loss: its beginning stands still and its number only grows, also when
// the first windows were settled longer ago than the hold time.
func TestLosingSentenceTellsTheWholeRun(t *testing.T) {
	c := demoConfig()
	c.Losing = 20 * time.Second
	d := newDemo(t, c)
	d.run(65)
	d.drop = true
	begin := time.Unix(d.now-d.now%10, 0).UTC().Format("15:04:05 UTC")
	var last string
	for i := range 200 {
		if i == 150 {
			d.drop = false
		}
		d.second()
		p := d.page()
		if p.State != answer.Losing {
			continue
		}
		last = p.Sentence
		if !strings.HasSuffix(last, "since "+begin+".") {
			t.Fatalf("t+%d: %q, the loss began %s", i, last, begin)
		}
	}
	want := flow.Count(total(d.dropped)) + " records since " + begin
	if !strings.Contains(last, want) || !strings.Contains(last, "0.94 %") {
		t.Errorf("at last %q, want 0.94 %% and %q", last, want)
	}
	d.run(60)
	d.want(answer.OK, "")
}

func TestLateHold(t *testing.T) {
	var h lateHold
	for i, c := range []struct {
		s            int64
		beyond, well bool
		want         bool
	}{
		{0, false, false, false},
		{1, true, false, true},
		{2, false, false, true},  // just within
		{10, true, false, true},  // and beyond again: the quiet time begins anew
		{11, false, false, true}, // within
		{25, false, false, true},
		{26, false, false, false}, // for 15 s
		{27, false, false, false},
		{30, true, false, true},
		{31, false, true, false}, // well within: at once
	} {
		if got := h.step(c.s*1000, c.beyond, c.well, 15_000); got != c.want {
			t.Errorf("%d: late %v at %d s", i, got, c.s)
		}
	}
	h = lateHold{late: true}
	if h.step(1000, false, false, 0) {
		t.Error("calm 0 waits for nothing")
	}
}

// A lag that swings around its objective is one lateness, not one per swing.
func TestLagAroundItsObjectiveIsOneLateness(t *testing.T) {
	d := newDemo(t, demoConfig()) // 10 s
	d.run(60)
	d.enrich = 0
	d.run(9)
	flips, above := 0, false
	for i := range 60 { // around 10 s
		d.enrich = 300 + 1398*(i/2%2)
		d.second()
		if p := d.page(); p.Lag.Seconds != nil && *p.Lag.Seconds > 10 != above {
			above = !above
			flips++
		}
	}
	if flips < 10 {
		t.Fatalf("the lag crossed its objective %d times", flips)
	}
	changes := 0
	p, err := d.s.Pipeline(context.Background(), store.DefaultTenant, d.name)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range p.Changes {
		if strings.HasPrefix(c.Text, "orders: ") {
			changes++
		}
	}
	if changes != 1 {
		t.Errorf("%d changes of state: %v", changes, p.Changes)
	}
}
