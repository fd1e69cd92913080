package alerts

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/store"
)

// notice is one due notification.
type notice struct {
	tenant store.Tenant
	alert  answer.Alert
}

// sender posts notifications one after the other and tries again until they are taken.
type sender struct {
	cfg    Webhook
	queue  chan notice
	told   func(store.Tenant, string, string)
	client *http.Client
	logger *slog.Logger
	sent   *metrics.Counter
	failed *metrics.Counter
	drops  *metrics.Counter

	givenUp *metrics.Counter
}

const maxTries = 20

// What the page says of a notification that was not taken yet; after a restart it is tried again.
const (
	waiting  = "sending"
	failedTo = "failed: "
)

func newSender(cfg Webhook, told func(store.Tenant, string, string), logger *slog.Logger, set *metrics.Set) *sender {
	return &sender{
		cfg: cfg, queue: make(chan notice, 1000), told: told, logger: logger,
		client: &http.Client{
			Timeout: cfg.Timeout,
			// A token must not follow a redirect to another host.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		sent:   set.GetOrCreateCounter("weir_alerts_notifications_sent_total"),
		failed: set.GetOrCreateCounter("weir_alerts_notification_failures_total"),
		drops:  set.GetOrCreateCounter(`weir_alerts_notifications_dropped_total{reason="queue_full"}`),

		givenUp: set.GetOrCreateCounter(`weir_alerts_notifications_dropped_total{reason="given_up"}`),
	}
}

// offer queues a notification and says what the page shows meanwhile.
func (s *sender) offer(t store.Tenant, a answer.Alert) string {
	if s.cfg.URL == "" {
		return "none configured"
	}
	select {
	case s.queue <- notice{tenant: t, alert: a}:
		return waiting
	default:
		s.drops.Inc()
		return failedTo + "too many notifications wait"
	}
}

func (s *sender) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-s.queue:
			s.deliver(ctx, n)
		}
	}
}

// deliver tries until the receiver takes it; the first failure is shown at once.
func (s *sender) deliver(ctx context.Context, n notice) {
	wait := 500 * time.Millisecond
	for try := 1; ; try++ {
		err := s.post(ctx, n)
		if err == nil {
			s.sent.Inc()
			s.told(n.tenant, n.alert.ID, "sent")
			return
		}
		if ctx.Err() != nil {
			return
		}
		s.failed.Inc()
		s.told(n.tenant, n.alert.ID, failedTo+err.Error())
		s.logger.Warn("cannot notify the webhook", "alert", n.alert.ID, "try", try, "error", err)
		if try == maxTries {
			s.givenUp.Inc()
			return
		}
		t := time.NewTimer(wait/2 + rand.N(wait))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		wait = min(2*wait, time.Minute)
	}
}

// webhookBody is Alertmanager's webhook form, version 4, so that its receivers work unchanged.
type webhookBody struct {
	Version     string            `json:"version"`
	GroupKey    string            `json:"groupKey"`
	Status      string            `json:"status"`
	Receiver    string            `json:"receiver"`
	GroupLabels map[string]string `json:"groupLabels"`
	Common      map[string]string `json:"commonLabels"`
	CommonAnn   map[string]string `json:"commonAnnotations"`
	ExternalURL string            `json:"externalURL"`
	Alerts      []webhookAlert    `json:"alerts"`
}

type webhookAlert struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
	Fingerprint  string            `json:"fingerprint"`
}

func (s *sender) body(n notice) webhookBody {
	a := n.alert
	labels := map[string]string{"alertname": a.Rule, "pipeline": a.Pipeline, "severity": a.Severity, "tenant": string(n.tenant)}
	if a.Stage != "" {
		labels["stage"] = a.Stage
	}
	ann := map[string]string{"summary": a.Summary}
	w := webhookAlert{
		Status: "firing", Labels: labels, Annotations: ann, Fingerprint: a.ID,
		StartsAt:     time.UnixMilli(a.Since).UTC(),
		GeneratorURL: strings.TrimSuffix(s.cfg.ExternalURL, "/") + "/p/" + a.Pipeline,
	}
	if a.State == resolved {
		w.Status, w.EndsAt = resolved, time.UnixMilli(a.EndedAt).UTC()
	}
	return webhookBody{
		Version: "4", GroupKey: "{}:{pipeline=" + fmt.Sprintf("%q", a.Pipeline) + "}", Status: w.Status, Receiver: "webhook",
		GroupLabels: map[string]string{"pipeline": a.Pipeline}, Common: labels, CommonAnn: ann,
		ExternalURL: s.cfg.ExternalURL, Alerts: []webhookAlert{w},
	}
}

func (s *sender) post(ctx context.Context, n notice) error {
	b, err := json.Marshal(s.body(n))
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.URL, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "weir")
	if s.cfg.TokenFile != "" {
		token, err := os.ReadFile(s.cfg.TokenFile)
		if err != nil {
			return fmt.Errorf("cannot read the webhook's token: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, 300))
	if err != nil {
		said = nil
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the webhook answered %s: %s", resp.Status, strings.TrimSpace(string(said)))
	}
	return nil
}
