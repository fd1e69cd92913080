package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/store"
)

func TestFind(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.run(20)
	for text, want := range map[string]string{
		"":              "pipeline orders",
		"ORD":           "pipeline orders, stage enrich, stage producer, stage sink, group enrich, group sink",
		"enr":           "stage enrich, group enrich, group sink",
		"enrich orders": "stage enrich, group enrich, group sink",
		"nowhere":       "",
	} {
		got, err := d.s.Find(context.Background(), store.DefaultTenant, text, 12)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, h := range got.Hits {
			names = append(names, h.Kind+" "+h.Name)
			if h.Pipeline != "orders" || h.Kind == "group" && (h.Destination == "" || h.System == "") || h.State == "" {
				t.Errorf("%q: %+v", text, h)
			}
		}
		if s := strings.Join(names, ", "); s != want || got.Left != 0 {
			t.Errorf("%q found %s and left %d; want %s", text, s, got.Left, want)
		}
	}
}

// A crowd of groups hides neither the pipeline nor the stage, and what others leave is used.
func TestNoKindCrowdsOutAnother(t *testing.T) {
	found := map[string][]ranked{
		"pipeline": {{answer.Hit{Kind: "pipeline", Name: "x", State: answer.OK}, 2}},
		"stage":    {{answer.Hit{Kind: "stage", Name: "x", State: answer.OK}, 3}},
	}
	for i := range 100 {
		found["group"] = append(found["group"], ranked{answer.Hit{Kind: "group", Name: fmt.Sprint("x", i), State: answer.OK}, 0})
	}
	found["group"][70].State = answer.Late
	got := cutHits(found, 12)
	if len(got.Hits) != 12 || got.Left != 90 || got.Hits[0].Name != "x70" || got.Hits[10].Kind != "pipeline" || got.Hits[11].Kind != "stage" {
		t.Errorf("%+v", got)
	}
}

// A source has no balance; what it handed on is what the edges from it count.
func TestStagesTellWhatTheSourceHandedOn(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.run(65)
	var source, next int64
	for _, s := range d.page().Stages {
		switch s.Stage {
		case "producer":
			source = s.Out
		case "enrich":
			next = s.In
		}
	}
	if source == 0 || source < next {
		t.Errorf("the source handed on %d, the stage behind it took %d", source, next)
	}
}

// Of a destination with several writers each tells what it put in itself.
func TestSourcesThatShareTellEachTheirOwn(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.foreign = 100
	for range 65 {
		for i := range d.foreign {
			d.count("importer", cell.Out, "orders", "", "importer-1", d.now*1000+int64(i)*10, 1)
		}
		d.second()
	}
	out := map[string]int64{}
	for _, s := range d.page().Stages {
		out[s.Stage] = s.Out
	}
	if p, i := out["producer"], out["importer"]; i == 0 || p != 10*i {
		t.Errorf("1,000 and 100 in a second handed on: %d and %d", p, i)
	}
}

// Beyond the bound a tenant's pages are empty; nothing is read or judged for them, whoever asks and however often.
func TestTenantsBeyondTheBoundAreNotEvaluated(t *testing.T) {
	s := New(DefaultConfig(), nil, slog.New(slog.DiscardHandler), metrics.NewSet(), Extras{}) // to read would panic
	for i := range maxTenants {
		s.tenant(store.Tenant(fmt.Sprint("t", i)))
	}
	got, err := s.Pipelines(t.Context(), "one more")
	if err != nil || got.Pipelines == nil || len(got.Pipelines) != 0 || s.overflow.Get() == 0 {
		t.Errorf("%+v %v", got, err)
	}
}

// Lists and pages answer from the last evaluation, so none waits while the next one runs.
func TestPagesDoNotWaitForAnEvaluation(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.run(65)
	d.drop = true
	d.run(60)
	ctx, id := t.Context(), store.DefaultTenant
	tn := d.s.tenant(id)
	from, to := time.Unix(d.now-3600, 0), time.Unix(d.now+60, 0)
	day := answer.LossQuery{From: time.Unix(d.now-86400, 0), To: to}
	list, err := d.s.FindIncidents(ctx, id, day)
	if err != nil || len(list.Incidents) == 0 {
		t.Fatalf("%d incidents, %v", len(list.Incidents), err)
	}
	incident := list.Incidents[0]
	tn.mu.Lock() // as an evaluation does
	defer tn.mu.Unlock()
	for name, ask := range map[string]func() error{
		"pipelines": func() error { _, err := d.s.Pipelines(ctx, id); return err },
		"pipeline":  func() error { _, err := d.s.Pipeline(ctx, id, "orders"); return err },
		"groups": func() error {
			g, err := d.s.Groups(ctx, id, answer.GroupQuery{Limit: 100})
			if err == nil && (len(g.Groups) == 0 || len(g.Groups[0].Lag.History) == 0) {
				err = errors.New("no group with its last hour")
			}
			return err
		},
		"find":         func() error { _, err := d.s.Find(ctx, id, "enrich", 10); return err },
		"loss":         func() error { _, err := d.s.Loss(ctx, id, from, to, ""); return err },
		"loss of days": func() error { _, err := d.s.Losses(ctx, id, day); return err },
		"search": func() error {
			q := day
			q.Text = "dropped"
			_, err := d.s.Losses(ctx, id, q)
			return err
		},
		"loss detail": func() error { _, err := d.s.LossDetail(ctx, id, incident.Row.ID, from, to); return err },
		"incidents":   func() error { _, err := d.s.FindIncidents(ctx, id, day); return err },
		"incidents of a week": func() error {
			_, err := d.s.Incidents(ctx, id, to.Add(-7*24*time.Hour), to, "", 10)
			return err
		},
		"incident":    func() error { _, err := d.s.Incident(ctx, id, incident.ID); return err },
		"annotations": func() error { _, err := d.s.Annotations(ctx, id, from, to, "orders"); return err },
		"annotate":    func() error { _, err := d.s.Annotate(ctx, id, "me", answer.Annotation{Text: "deployed"}); return err },
		"weir itself": func() error { _, err := d.s.Self(ctx, id); return err },
	} {
		done := make(chan error, 1)
		go func() { done <- ask() }()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s waits for the evaluation", name)
		}
	}
}
