package pipeline

import (
	"context"
	"testing"
	"time"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/store"
)

// Rows are found by every word of theirs, also by the reasons of windows that are no longer in memory, and the counts tell
// of what was found, not of what was asked for.
func TestLossesAreSearched(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.run(65)
	d.drop = true
	d.run(50)
	from, to := time.Unix(demoStart, 0), time.Unix(d.now, 0)
	all, err := d.s.Losses(context.Background(), store.DefaultTenant, answer.LossQuery{From: from, To: to})
	if err != nil {
		t.Fatal(err)
	}
	if len(all.Rows) != 4 || all.Watched != 4 || all.Found != (answer.LossCounts{All: 4, Loss: 1}) || all.Lost != all.Rows[0].Lost || all.Lost == 0 {
		t.Fatalf("all: %+v of %d, lost %d, %+v", all.Found, all.Watched, all.Lost, all.Rows)
	}
	losing := all.Rows[0]
	detail, err := d.s.LossDetail(context.Background(), store.DefaultTenant, losing.ID, from, to)
	if err != nil || len(detail.Reasons) == 0 {
		t.Fatalf("%v, reasons %q", err, detail.Reasons)
	}
	search := func(name string, ask func(answer.LossQuery) answer.Loss) {
		for what, c := range map[string]struct {
			text, verdict string
			rows, found   int
		}{
			"a stage":                   {"enrich", "", 3, 3},
			"any case, two words":       {"ORDERS dropped", "", 1, 1},
			"an edge":                   {"edge", "", 2, 2},
			"a word of the verdict":     {"loss", "", 1, 1},
			"a reason":                  {detail.Reasons[0], "", 1, 1},
			"words that are not there":  {"enrich nowhere", "", 0, 0},
			"what is lost":              {"", "loss", 1, 4},
			"what is lost among stages": {"stage", "loss", 1, 2},
			"what is unknown":           {"", "unknown", 0, 4},
		} {
			got := ask(answer.LossQuery{From: from, To: to, Text: c.text, Verdict: c.verdict})
			if len(got.Rows) != c.rows || got.Found.All != c.found || got.Watched != 4 || got.Lost != losing.Lost {
				t.Errorf("%s, %s: %d rows of %+v, want %d of %d", name, what, len(got.Rows), got.Found, c.rows, c.found)
			}
		}
	}
	search("from verdicts", func(q answer.LossQuery) answer.Loss {
		got, err := d.s.Losses(context.Background(), store.DefaultTenant, q)
		if err != nil {
			t.Fatal(err)
		}
		return got
	})
	tn := d.s.tenant(store.DefaultTenant)
	search("from the day in memory", func(q answer.LossQuery) (got answer.Loss) {
		reasons, err := d.s.reasons(context.Background(), tn, q, d.now*1000)
		if err != nil {
			t.Fatal(err)
		}
		tn.ledger.Day(&got, q, reasons)
		return got
	})
	for text, n := range map[string]int{"": 1, "enrich DROPPED": 1, "lost": 1, "nowhere": 0} {
		got, err := d.s.FindIncidents(context.Background(), store.DefaultTenant, answer.LossQuery{From: from, To: to, Text: text, Limit: 10})
		if err != nil || len(got.Incidents) != n {
			t.Errorf("%q: %d incidents, want %d, %v", text, len(got.Incidents), n, err)
		}
	}
}
