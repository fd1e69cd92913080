package main

import (
	"slices"
	"testing"

	"github.com/weirhq/weir/query/answer"
)

// What a ledger says is expected where it was done, and nowhere else.
func TestExpected(t *testing.T) {
	const w = 60
	did := map[string]map[int64]int64{
		"dropped by enrich": {w: 5}, "doubled by enrich": {w: 2}, "filtered by enrich": {w: 30}, "dead-lettered by enrich": {w: 1},
		"expired by sessions": {w: 7}, "skipped by sessions": {2 * w: 8},
	}
	for _, c := range []struct {
		kind, where string
		win         int64
		want        balance
		called      []string
	}{
		{"balance", "enrich", w, balance{lost: 5, filtered: 30, dead: 1}, []string{saidLoss}},
		{"balance", "enrich", 2 * w, balance{}, []string{saidOK}},
		{"balance", "sink", w, balance{}, []string{saidOK}},
		{"transport", "producer → orders → enrich", w, balance{}, []string{saidOK}},
		{"transport", "enrich → enriched → sink", w, balance{surplus: 2}, []string{saidDuplicates}},
		{"transport", "tracker → clicks → sessions", w, balance{lost: 7}, []string{saidRetentionLoss}},
		{"transport", "tracker → clicks → sessions", 2 * w, balance{lost: 8}, []string{saidSkipped}},
		{"balance", "sessions", w, balance{}, []string{saidOK}},
	} {
		got, called := expected(&answer.LossRow{Kind: c.kind, Where: c.where}, c.win, did)
		if got != c.want || !slices.Equal(called, c.called) {
			t.Errorf("%s %s at %d: %+v %v, want %+v %v", c.kind, c.where, c.win, got, called, c.want, c.called)
		}
	}
}

// Every scene has a key and a name of its own, belongs to a pipeline that the page shows, and says where to look.
func TestScenes(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range scenes() {
		if seen[s.Key] || seen[s.Name] || s.Look == "" || s.See == "" {
			t.Errorf("scene %+v", s)
		}
		seen[s.Key], seen[s.Name] = true, true
		if !slices.ContainsFunc(pipelines(), func(p about) bool { return p.name == s.Pipeline }) {
			t.Errorf("scene %s belongs to %q, which the page does not show", s.Name, s.Pipeline)
		}
	}
}
