package pipeline

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// fakeSpans answers searches with one trace per service, and remembers what was asked.
type fakeSpans struct {
	store.Spans
	asked []store.SpanQuery
	spans map[store.TraceID][]store.Span
}

func (s *fakeSpans) Search(_ context.Context, _ store.Tenant, q store.SpanQuery) ([]store.TraceSummary, error) {
	s.asked = append(s.asked, q)
	if q.Status != store.StatusError || q.Service != "enrich" {
		return nil, nil
	}
	return []store.TraceSummary{{Trace: store.TraceID{1}, RootService: "producer", Start: demoStart * 1e9, Spans: 3, Errors: 1, Services: []string{"enrich", "producer"}}}, nil
}

func (s *fakeSpans) Trace(_ context.Context, _ store.Tenant, id store.TraceID) ([]store.Span, error) {
	if list := s.spans[id]; list != nil {
		return list, nil
	}
	return nil, store.ErrNotFound
}

func (d *demo) incidents(from, to int64) []answer.Incident {
	d.t.Helper()
	l, err := d.s.Incidents(context.Background(), store.DefaultTenant, time.Unix(from, 0), time.Unix(to, 0), "", 100)
	if err != nil {
		d.t.Fatal(err)
	}
	return l.Incidents
}

func TestIncidents(t *testing.T) {
	d := newDemo(t, demoConfig())
	spans := &fakeSpans{}
	d.e.spans = spans
	d.run(65)
	d.drop = true
	d.run(50)
	list := d.incidents(demoStart, d.now)
	if len(list) != 1 || !list[0].Still || list[0].Stage != "enrich" || list[0].From != demoStart+60 || list[0].Class != "dropped in stage" {
		t.Fatalf("%+v", list)
	}
	id := list[0].ID
	if !strings.Contains(list[0].Sentence, "it goes on") {
		t.Error(list[0].Sentence)
	}
	d.run(20)
	if list = d.incidents(demoStart, d.now); len(list) != 1 || list[0].ID != id || list[0].Windows < 5 {
		t.Errorf("the name changed: %+v", list)
	}
	d.drop = false
	d.run(60)
	list = d.incidents(demoStart, d.now)
	in := list[0]
	if len(list) != 1 || in.ID != id || in.Still || in.Lost != total(d.dropped) || in.Share == nil || *in.Share < 0.008 || *in.Share > 0.011 || in.Verdict != flow.Loss || in.Row.Where != "enrich" || in.Row.Incident != id {
		t.Errorf("%+v, dropped %d", in, total(d.dropped))
	}
	if !strings.HasPrefix(in.Sentence, "Lost 700 records (") || !strings.Contains(in.Sentence, "inside enrich, from 2024-11-23 04:01:00 to ") {
		t.Error(in.Sentence)
	}
	det, err := d.s.Incident(context.Background(), store.DefaultTenant, id)
	if err != nil {
		t.Fatal(err)
	}
	if det.Lost != in.Lost || len(det.Balances) != in.Windows+4 || det.Balances[0].Window < det.Balances[1].Window || len(det.Reasons) == 0 || len(det.Around) != 3 {
		t.Errorf("%d balances, %d reasons, %d around", len(det.Balances), len(det.Reasons), len(det.Around))
	}
	for _, r := range det.Around {
		if r.Lost != 0 || r.Verdict != flow.OK {
			t.Errorf("nothing was lost at %s: %+v", r.Where, r)
		}
	}
	if len(det.Traces) != 1 || det.Traces[0].ID != "01000000000000000000000000000000" || spans.asked[0].Status != store.StatusError {
		t.Errorf("traces %+v", det.Traces)
	}
	if det.Query != `sum by (pipeline, edge) (increase(weir_pipeline_lost_total{pipeline="orders",edge="enrich"}[5m]))` {
		t.Error(det.Query)
	}
	if len(det.Changes) == 0 || det.Changes[len(det.Changes)-1].Kind == "" {
		t.Errorf("changes %+v", det.Changes)
	}
	l, err := d.s.Loss(context.Background(), store.DefaultTenant, time.Unix(demoStart, 0), time.Unix(d.now, 0), "")
	if err != nil || l.Rows[0].Incident != id {
		t.Errorf("the row links to %q, %v", l.Rows[0].Incident, err)
	}
	// Another process, and a range that cuts the incident in two: the same name.
	d.s = New(demoConfig(), d.e, slog.New(slog.DiscardHandler), metrics.NewSet(), Extras{})
	d.run(1)
	if list = d.incidents(d.now-3600, d.now); len(list) != 1 || list[0].ID != id || list[0].Lost != in.Lost {
		t.Errorf("after a restart: %+v", list)
	}
	d.now += 2 * 86400 // out of memory, still in the ledger
	d.s = New(demoConfig(), d.e, slog.New(slog.DiscardHandler), metrics.NewSet(), Extras{})
	d.run(1)
	if list = d.incidents(in.From+30, in.From+35); len(list) != 1 || list[0].ID != id || list[0].Lost != in.Lost {
		t.Errorf("days later: %+v", list)
	}
	if det, err = d.s.Incident(context.Background(), store.DefaultTenant, id); err != nil || det.ID != id {
		t.Errorf("days later: %+v %v", det, err)
	}
	for _, bad := range []string{"", "x", id + "1", strings.Replace(id, "loss", "lost", 1), strings.Replace(id, "enrich", "sink", 2)} {
		if _, err := d.s.Incident(context.Background(), store.DefaultTenant, bad); !errors.Is(err, store.ErrInvalid) && !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// What cannot be judged is an incident of its own kind, and no loss.
func TestUnknownIncident(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.run(67)
	d.crash()
	d.run(8)
	if list := d.incidents(demoStart, d.now); len(list) == 0 || list[0].Verdict != flow.Unknown {
		t.Errorf("while the auditor is silent: %+v", list)
	}
	d.restart()
	d.run(60)
	list := d.incidents(demoStart, d.now)
	if len(list) != 4 {
		t.Errorf("%d incidents, want one per balance", len(list))
	}
	for _, in := range list {
		if in.Verdict != flow.Unknown || in.Lost != 0 || in.Bound == 0 || in.Still || !strings.Contains(in.Sentence, "cannot be judged") || !strings.Contains(in.ID, "~unknown~") {
			t.Errorf("%+v", in)
		}
	}
}

func TestTracesOfLostMessages(t *testing.T) {
	d := newDemo(t, demoConfig())
	trace := store.TraceID{7}
	d.e.spans = &fakeSpans{spans: map[store.TraceID][]store.Span{trace: {{Trace: trace, Service: "producer", Name: "send", Start: 5e9, Duration: 1e9, Status: store.StatusError}, {Trace: trace, Service: "enrich", Start: 6e9, Duration: 3e9}}}}
	run := flow.Runs([]store.Verdict{{VerdictKey: store.VerdictKey{Window: demoStart, Width: 60}, State: flow.Loss, Settled: true, Lost: 1}})
	got := d.s.tracesOf(context.Background(), store.DefaultTenant, []string{"enrich"}, &run[0], []string{"order-1", hex.EncodeToString(trace[:]), strings.Repeat("ab", 16)})
	if len(got) != 2 || got[0].ID != hex.EncodeToString(trace[:]) || got[0].Errors != 1 || got[0].Duration != 4 || len(got[0].Services) != 2 {
		t.Errorf("%+v", got)
	}
}

func TestReadersOfIncidentsBesideTheLoop(t *testing.T) {
	d := newDemo(t, demoConfig())
	d.rate, d.drop = 100, true
	d.run(90)
	done := make(chan struct{})
	to := time.Unix(d.now+600, 0)
	go func() {
		defer close(done)
		for range 50 {
			l, err := d.s.Incidents(context.Background(), store.DefaultTenant, time.Unix(demoStart, 0), to, "", 10)
			if err != nil || len(l.Incidents) == 0 {
				t.Error(err)
				return
			}
			if _, err := d.s.Incident(context.Background(), store.DefaultTenant, l.Incidents[0].ID); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for range 30 {
		d.second()
	}
	<-done
}
