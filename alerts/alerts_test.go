package alerts

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/store"
)

// lateAndLosing stands for a pipeline whose state says that it loses while it is late as well.
const lateAndLosing answer.State = "LATE AND LOSING"

func row(s answer.State) []answer.PipelineRow {
	if s == lateAndLosing {
		return []answer.PipelineRow{{ID: "orders", State: answer.Losing, Late: true, Slowest: "enrich", Sentence: "enrich loses 1 %. Late as well: enrich takes 6.9 k/s of 8.1 k/s.", LateWhy: "enrich takes 6.9 k/s of 8.1 k/s."}}
	}
	return []answer.PipelineRow{{ID: "orders", State: s, Slowest: "enrich", Sentence: "enrich takes 6.9 k/s of 8.1 k/s."}}
}

// A case is a sequence of states, one evaluation every five seconds, and the alerts after each.
func TestRulesFollowTheStateOfThePipeline(t *testing.T) {
	cfg := DefaultConfig() // late_for 10s, losing_for 0
	for name, steps := range map[string][]struct {
		state  answer.State
		alerts string // rule:state, in the order of the page
		notify string
	}{
		"late waits, fires, ends": {
			{answer.OK, "", ""},
			{answer.Late, "late:pending", ""},
			{answer.Late, "late:pending", ""},
			{answer.Late, "late:firing", "late:firing"},
			{answer.Late, "late:firing", ""},
			{answer.OK, "late:resolved", "late:resolved"},
			{answer.OK, "late:resolved", ""},
		},
		"a short lateness pages nobody": {
			{answer.Late, "late:pending", ""},
			{answer.OK, "", ""},
		},
		"loss fires at once": {
			{answer.Losing, "losing:firing", "losing:firing"},
			{answer.OK, "losing:resolved", "losing:resolved"},
		},
		"unknown neither fires nor ends anything": {
			{answer.Unknown, "", ""},
			{answer.Losing, "losing:firing", "losing:firing"},
			{answer.Unknown, "losing:firing", ""},
			{answer.Losing, "losing:firing", ""},
		},
		"draining is still late": {
			{answer.Late, "late:pending", ""},
			{answer.Draining, "late:pending", ""},
			{answer.Draining, "late:firing", "late:firing"},
			{answer.OK, "late:resolved", "late:resolved"},
		},
		"losing while late keeps the late alert": {
			{answer.Late, "late:pending", ""},
			{answer.Late, "late:pending", ""},
			{answer.Late, "late:firing", "late:firing"},
			{lateAndLosing, "losing:firing late:firing", "losing:firing"},
			{answer.Losing, "losing:firing late:resolved", "late:resolved"}, // it caught up and goes on losing
		},
		"idle is quiet": {
			{answer.Idle, "", ""},
		},
		"it can come again": {
			{answer.Losing, "losing:firing", "losing:firing"},
			{answer.OK, "losing:resolved", "losing:resolved"},
			{answer.Losing, "losing:firing", "losing:firing"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := &book{}
			now := time.Unix(1_700_000_000, 0)
			for i, s := range steps {
				notify, _, _ := b.step(cfg, row(s.state), now)
				if got := words(b.list()); got != s.alerts {
					t.Errorf("step %d (%s): alerts %q, want %q", i, s.state, got, s.alerts)
				}
				if got := words(notify); got != s.notify {
					t.Errorf("step %d (%s): notified %q, want %q", i, s.state, got, s.notify)
				}
				now = now.Add(5 * time.Second)
			}
		})
	}
}

func words(as []answer.Alert) string {
	var out []string
	for _, a := range as {
		out = append(out, a.Rule+":"+a.State)
	}
	return strings.Join(out, " ")
}

// An alert says what it is about, whatever else is wrong.
func TestLateAlertOfALosingPipelineTellsTheLateness(t *testing.T) {
	cfg := DefaultConfig()
	cfg.LateFor = 0
	b := &book{}
	b.step(cfg, row(lateAndLosing), time.Unix(1_700_000_000, 0))
	for _, a := range b.list() {
		if late := a.Rule == "late"; late != (a.Summary == "enrich takes 6.9 k/s of 8.1 k/s.") || a.State != firing {
			t.Errorf("%s %s: %s", a.Rule, a.State, a.Summary)
		}
	}
}

func TestResolvedAlertsAreForgottenAndTheBookIsBounded(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxAlerts = 1
	b := &book{}
	now := time.Unix(1_700_000_000, 0)
	_, _, left := b.step(cfg, append(row(answer.Losing), answer.PipelineRow{ID: "other", State: answer.Losing}), now)
	if n := len(b.Alerts); n != 1 || left != 1 {
		t.Fatalf("%d alerts are kept and %d counted as left out, the bound is 1", n, left)
	}
	b.step(cfg, row(answer.OK), now.Add(time.Second))
	b.step(cfg, row(answer.OK), now.Add(time.Second+cfg.KeepResolved+time.Millisecond))
	if n := len(b.Alerts); n != 0 {
		t.Fatalf("%d alerts are kept long after they ended", n)
	}
}

type memCatalog struct {
	store.Catalog
	mu   sync.Mutex
	body []byte
}

func (c *memCatalog) Get(context.Context, store.Tenant, string, string) (store.Document, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.body == nil {
		return store.Document{}, store.ErrNotFound
	}
	return store.Document{Body: c.body}, nil
}

func (c *memCatalog) Put(_ context.Context, _ store.Tenant, _, _ string, b []byte, _ int64, _ string) (store.Document, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.body = append([]byte(nil), b...)
	return store.Document{Body: b}, nil
}

type fixed struct{ rows []answer.PipelineRow }

func (f *fixed) Pipelines(context.Context, store.Tenant) (answer.Pipelines, error) {
	return answer.Pipelines{Pipelines: f.rows}, nil
}

func manager(cfg Config, src Pipelines, cat store.Catalog) *Manager {
	return New(cfg, src, cat, func() []store.Tenant { return []store.Tenant{"default"} }, slog.New(slog.DiscardHandler), metrics.NewSet())
}

// What fires before a restart neither ends nor fires again by it.
func TestRestartDoesNotPageAgain(t *testing.T) {
	cat, src := &memCatalog{}, &fixed{rows: row(answer.Losing)}
	now := time.Unix(1_700_000_000, 0)
	first := manager(DefaultConfig(), src, cat)
	if err := first.evaluate(t.Context(), "default", now); err != nil {
		t.Fatal(err)
	}
	second := manager(DefaultConfig(), src, cat)
	if err := second.evaluate(t.Context(), "default", now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	got, err := second.Alerts(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Alerts) != 1 || got.Alerts[0].FiredAt != now.UnixMilli() {
		t.Errorf("after the restart %+v, want one alert fired at %d", got.Alerts, now.UnixMilli())
	}
}

// What the webhook had not taken before a stop is sent after the next start.
func TestUnsentNotificationsSurviveARestart(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Webhook.URL = "http://127.0.0.1:1/" // nobody there; the first manager never runs its sender
	cat, src := &memCatalog{}, &fixed{rows: row(answer.Losing)}
	now := time.Unix(1_700_000_000, 0)
	if err := manager(cfg, src, cat).evaluate(t.Context(), "default", now); err != nil {
		t.Fatal(err)
	}
	second := manager(cfg, src, cat)
	if _, err := second.Alerts(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	if n := len(second.sender.queue); n != 1 {
		t.Errorf("%d notifications wait after the restart, want the one that was not sent", n)
	}
	third := manager(cfg, src, cat)
	if _, err := third.Alerts(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	third.delivered("default", "losing/orders", "sent")
	if err := third.evaluate(t.Context(), "default", now.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	fourth := manager(cfg, src, cat)
	if _, err := fourth.Alerts(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	if n := len(fourth.sender.queue); n != 0 {
		t.Errorf("%d notifications wait though it was sent", n)
	}
}

func TestWebhookIsToldUntilItTakesIt(t *testing.T) {
	var mu sync.Mutex
	var bodies []webhookBody
	fails := 2
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if fails > 0 {
			fails--
			http.Error(w, "try later", http.StatusServiceUnavailable)
			return
		}
		var b webhookBody
		if err := json.NewDecoder(r.Body).Decode(&b); err != nil {
			t.Error(err)
		}
		bodies = append(bodies, b)
	}))
	defer srv.Close()
	cfg := DefaultConfig()
	cfg.Interval = 100 * time.Millisecond
	cfg.Webhook.URL = srv.URL
	m := manager(cfg, &fixed{rows: row(answer.Losing)}, &memCatalog{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = m.Run(ctx) }()
	deadline := time.Now().Add(15 * time.Second)
	for {
		as, err := m.Alerts(ctx, "default")
		if err != nil {
			t.Fatal(err)
		}
		if len(as.Alerts) == 1 && as.Alerts[0].Notified == "sent" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not sent: %+v", as.Alerts)
		}
		time.Sleep(10 * time.Millisecond) //nolint:forbidigo // polls a condition with a deadline
	}
	cancel()
	<-done
	mu.Lock()
	defer mu.Unlock()
	if len(bodies) != 1 {
		t.Fatalf("the webhook took %d notifications, want 1", len(bodies))
	}
	b := bodies[0]
	if b.Status != "firing" || b.Version != "4" || len(b.Alerts) != 1 || b.Alerts[0].Labels["alertname"] != "losing" ||
		b.Alerts[0].GeneratorURL != cfg.Webhook.ExternalURL+"/p/orders" || b.Alerts[0].Annotations["summary"] == "" {
		t.Errorf("body %+v", b)
	}
}

func TestWebhookGivesUpInTheEndAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last string
		s := newSender(Webhook{URL: "http://127.0.0.1:1/", TokenFile: "/does/not/exist", Timeout: time.Second},
			func(_ store.Tenant, _, result string) { last = result }, slog.New(slog.DiscardHandler), metrics.NewSet())
		s.deliver(t.Context(), notice{tenant: "default", alert: answer.Alert{ID: "x"}})
		if !strings.Contains(last, "cannot read the webhook's token") {
			t.Errorf("the page says %q", last)
		}
		if n := s.failed.Get(); n != maxTries {
			t.Errorf("%d tries, want %d", n, maxTries)
		}
	})
}

func TestBadConfigIsExplained(t *testing.T) {
	for want, change := range map[string]func(*Config){
		`alerts.webhook.url is "ftp://x"`: func(c *Config) { c.Webhook.URL = "ftp://x" },
		"alerts.interval is 1ms":          func(c *Config) { c.Interval = time.Millisecond },
		"alerts.max_alerts is 0":          func(c *Config) { c.MaxAlerts = 0 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate() = %v, want %q", err, want)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}
