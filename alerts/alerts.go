// Package alerts turns the states of pipelines into alerts and tells a webhook.
//
// States come from query/pipeline through the small Pipelines interface, on the same evaluation the
// pages show; alerts go to the UI (api.Source.Alerts) and, in Alertmanager's webhook form, to on-call.
// Which alerts are active survives a restart in store.Catalog.
package alerts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/store"
)

// Config of the two built-in rules and the webhook.
type Config struct {
	Interval     time.Duration `yaml:"interval"`      // between evaluations, at least 100ms
	LateFor      time.Duration `yaml:"late_for"`      // a pipeline must be late this long before it pages
	LosingFor    time.Duration `yaml:"losing_for"`    // a settled loss is a fact: no wait by default
	KeepResolved time.Duration `yaml:"keep_resolved"` // how long an alert that has ended is still listed
	MaxAlerts    int           `yaml:"max_alerts"`    // per tenant, of all states; no further alert begins beyond it
	Webhook      Webhook       `yaml:"webhook"`
}

// Webhook is where notifications go; an empty URL means nowhere.
type Webhook struct {
	URL       string        `yaml:"url"`        // takes POSTs in Alertmanager's webhook form; empty: nobody is told
	TokenFile string        `yaml:"token_file"` // bearer token for the webhook, read for each request; empty: none
	Timeout   time.Duration `yaml:"timeout"`    // of one request, at least 100ms
	// ExternalURL is where people reach this server; notifications link to it.
	ExternalURL string `yaml:"external_url"`
}

// DefaultConfig evaluates every second and sends to nobody.
func DefaultConfig() Config {
	return Config{
		Interval: time.Second, LateFor: 10 * time.Second, KeepResolved: time.Hour, MaxAlerts: 10_000,
		Webhook: Webhook{Timeout: 10 * time.Second, ExternalURL: "http://127.0.0.1:9480"},
	}
}

// Validate reports the first setting that cannot work.
func (c Config) Validate() error {
	if c.Interval < 100*time.Millisecond {
		return fmt.Errorf("alerts.interval is %s: must be at least 100ms", c.Interval)
	}
	if c.LateFor < 0 || c.LosingFor < 0 {
		return fmt.Errorf("alerts.late_for %s and losing_for %s must not be negative", c.LateFor, c.LosingFor)
	}
	if c.MaxAlerts < 1 {
		return fmt.Errorf("alerts.max_alerts is %d: must be at least 1", c.MaxAlerts)
	}
	if c.Webhook.URL == "" {
		return nil
	}
	u, err := url.Parse(c.Webhook.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fmt.Errorf("alerts.webhook.url is %q: must be like https://host/path", c.Webhook.URL)
	}
	if c.Webhook.Timeout < 100*time.Millisecond {
		return fmt.Errorf("alerts.webhook.timeout is %s: must be at least 100ms", c.Webhook.Timeout)
	}
	return nil
}

// Pipelines gives the states to judge; query/pipeline.Service is one.
type Pipelines interface {
	Pipelines(ctx context.Context, t store.Tenant) (answer.Pipelines, error)
}

// Manager evaluates the rules. It is safe for concurrent use.
type Manager struct {
	cfg     Config
	source  Pipelines
	catalog store.Catalog
	tenants func() []store.Tenant
	logger  *slog.Logger
	sender  *sender
	failed  *metrics.Counter
	over    *metrics.Counter

	mu    sync.Mutex
	books map[store.Tenant]*book
	told  map[store.Tenant]bool // a notification's fate changed since the book was saved
}

// New builds a manager; tenants lists whose pipelines are judged.
func New(cfg Config, source Pipelines, catalog store.Catalog, tenants func() []store.Tenant, logger *slog.Logger, set *metrics.Set) *Manager {
	m := &Manager{
		cfg: cfg, source: source, catalog: catalog, tenants: tenants, logger: logger,
		books:  map[store.Tenant]*book{},
		told:   map[store.Tenant]bool{},
		failed: set.GetOrCreateCounter("weir_alerts_evaluation_failures_total"),
		over:   set.GetOrCreateCounter("weir_alerts_limit_exceeded_total"),
	}
	m.sender = newSender(cfg.Webhook, m.delivered, logger, set)
	set.GetOrCreateGauge("weir_alerts_firing", func() float64 {
		m.mu.Lock()
		defer m.mu.Unlock()
		n := 0
		for _, b := range m.books {
			for _, a := range b.Alerts {
				if a.State == firing {
					n++
				}
			}
		}
		return float64(n)
	})
	return m
}

// Run evaluates until ctx ends; notifications that wait then are sent after the next start.
func (m *Manager) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { m.sender.run(ctx) })
	defer wg.Wait()
	t := time.NewTicker(m.cfg.Interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			for _, tenant := range m.tenants() {
				if err := m.evaluate(ctx, tenant, time.Now()); err != nil && ctx.Err() == nil {
					m.failed.Inc()
					m.logger.Warn("cannot evaluate alerts", "tenant", string(tenant), "error", err)
				}
			}
		}
	}
}

// Alerts answers GET /api/v1/alerts-list.
func (m *Manager) Alerts(ctx context.Context, t store.Tenant) (answer.Alerts, error) {
	b, err := m.book(ctx, t)
	if err != nil {
		return answer.Alerts{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return answer.Alerts{At: time.Now().UnixMilli(), Alerts: b.list()}, nil
}

func (m *Manager) evaluate(ctx context.Context, t store.Tenant, now time.Time) error {
	rows, err := m.source.Pipelines(ctx, t)
	if err != nil {
		return err
	}
	b, err := m.book(ctx, t)
	if err != nil {
		return err
	}
	m.mu.Lock()
	notify, changed, left := b.step(m.cfg, rows.Pipelines, now)
	m.over.Add(left)
	for _, a := range notify {
		a.Notified = m.sender.offer(t, a)
		b.Alerts[a.ID] = a
	}
	changed = changed || m.told[t]
	delete(m.told, t)
	var body []byte
	if changed {
		body, err = json.Marshal(b)
	}
	m.mu.Unlock()
	if err != nil || !changed {
		return err
	}
	return m.save(ctx, t, body)
}

// delivered notes what became of a notification, so that the page can say so.
func (m *Manager) delivered(t store.Tenant, id, result string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b := m.books[t]; b != nil {
		if a, ok := b.Alerts[id]; ok {
			a.Notified = result
			b.Alerts[id] = a
			m.told[t] = true
		}
	}
}

const catalogKind, catalogName = "alert_state", "builtin"

// book returns the tenant's alerts, read from the catalog the first time.
func (m *Manager) book(ctx context.Context, t store.Tenant) (*book, error) {
	m.mu.Lock()
	b := m.books[t]
	m.mu.Unlock()
	if b != nil {
		return b, nil
	}
	b = &book{Alerts: map[string]answer.Alert{}}
	doc, err := m.catalog.Get(ctx, t, catalogKind, catalogName)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return nil, fmt.Errorf("cannot read the alerts of tenant %q: %w", t, err)
	default:
		if err := json.Unmarshal(doc.Body, b); err != nil {
			m.logger.Error("cannot read the saved alerts, beginning with none", "tenant", string(t), "error", err)
			b.Alerts = map[string]answer.Alert{}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if had := m.books[t]; had != nil {
		return had, nil
	}
	b.Alerts = maps.Clone(b.Alerts)
	if b.Alerts == nil {
		b.Alerts = map[string]answer.Alert{}
	}
	for id, a := range b.Alerts {
		if a.Notified == waiting || strings.HasPrefix(a.Notified, failedTo) {
			a.Notified = m.sender.offer(t, a)
			b.Alerts[id] = a
		}
	}
	m.books[t] = b
	return b, nil
}

func (m *Manager) save(ctx context.Context, t store.Tenant, body []byte) error {
	if _, err := m.catalog.Put(ctx, t, catalogKind, catalogName, body, -1, "weir"); err != nil {
		return fmt.Errorf("cannot save the alerts of tenant %q: %w", t, err)
	}
	return nil
}
