package prom

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/metadata"

	"github.com/weirhq/weir/internal/access"
	"github.com/weirhq/weir/query"
	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/store"
	"github.com/weirhq/weir/store/local"
)

// serve starts the API over a real engine; the header Tenant stands for authentication.
func serve(t *testing.T) (url string, m store.Metrics) {
	t.Helper()
	cfg := local.DefaultConfig()
	cfg.Dir = t.TempDir()
	logger := slog.New(slog.DiscardHandler)
	eng, err := local.Open(t.Context(), cfg, logger, metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := eng.Close(); err != nil {
			t.Error(err)
		}
	})
	qc := query.DefaultConfig()
	qc.MaxLength = 2000
	qc.MaxSamples = 5000
	mux := http.NewServeMux()
	for _, r := range New(query.New(qc, eng.Metrics(), logger, metrics.NewSet()), eng.Metrics(), alerts, "test", logger).Routes() {
		if r.Need != access.Query {
			t.Errorf("%s needs %q, want query", r.Pattern, r.Need)
		}
		mux.Handle(r.Pattern, r.Handler)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := access.Identity{Tenant: r.Header.Get("Tenant"), Permissions: []access.Permission{access.Query}}
		mux.ServeHTTP(w, r.WithContext(access.With(r.Context(), id)))
	}))
	t.Cleanup(srv.Close)
	return srv.URL, eng.Metrics()
}

// alerts are one that fires and one that has ended, both of tenant a.
func alerts(_ context.Context, t store.Tenant) (answer.Alerts, error) {
	if t != "a" {
		return answer.Alerts{}, nil
	}
	return answer.Alerts{Alerts: []answer.Alert{
		{Rule: "losing", Pipeline: "orders", Stage: "enrich", State: "firing", Severity: "critical", Summary: "enrich loses 1 %.", Since: 1000},
		{Rule: "late", Pipeline: "clicks", State: "resolved", Severity: "warning", Since: 1000, EndedAt: 2000},
	}}, nil
}

func TestAlertsAreThoseThatFire(t *testing.T) {
	url, _ := serve(t)
	for tenant, want := range map[string]int{"a": 1, "b": 0} {
		c, err := api.NewClient(api.Config{Address: url, RoundTripper: tenantTransport{tenant}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := v1.NewAPI(c).Alerts(t.Context())
		if err != nil || len(got.Alerts) != want {
			t.Fatalf("tenant %s: %+v, %v; want %d alerts", tenant, got, err, want)
		}
		if want == 0 {
			continue
		}
		al := got.Alerts[0]
		if al.State != v1.AlertStateFiring || al.Labels["alertname"] != "losing" || al.Labels["pipeline"] != "orders" || al.Labels["stage"] != "enrich" ||
			al.Annotations["summary"] == "" || al.ActiveAt.UnixMilli() != 1000 {
			t.Errorf("alert = %+v", al)
		}
	}
}

func put(t *testing.T, m store.Metrics, tenant store.Tenant, name, service string, at time.Time, n int, step time.Duration) {
	t.Helper()
	b := store.MetricBatch{Symbols: []string{"", "__name__", name, "service", service}}
	s := store.BatchSeries{LabelRefs: []uint32{1, 2, 3, 4}, Meta: metadata.Metadata{Type: model.MetricTypeCounter, Help: "Orders.", Unit: "orders"}}
	for i := range n {
		s.Samples = append(s.Samples, store.Sample{T: at.Add(time.Duration(i) * step).UnixMilli(), V: float64(10 * i)})
	}
	b.Series = append(b.Series, s)
	r, err := m.Append(t.Context(), tenant, &b)
	if err != nil || r.Samples != n {
		t.Fatalf("appended %+v, %v; want %d samples", r, err, n)
	}
}

type tenantTransport struct{ tenant string }

func (tt tenantTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Tenant", tt.tenant)
	return http.DefaultTransport.RoundTrip(r) //nolint:forbidigo // a test's client
}

func client(t *testing.T, url, tenant string) v1.API {
	t.Helper()
	c, err := api.NewClient(api.Config{Address: url, RoundTripper: tenantTransport{tenant}})
	if err != nil {
		t.Fatal(err)
	}
	return v1.NewAPI(c)
}

// Prometheus' own client reads weir unchanged, and each tenant only its own data.
func TestPrometheusClientReadsItsTenant(t *testing.T) {
	addr, m := serve(t)
	at := time.Now().Add(-10 * time.Minute).Truncate(time.Minute)
	put(t, m, "a", "orders", "shop", at, 41, 15*time.Second)
	put(t, m, "b", "visits", "web", at, 41, 15*time.Second)
	ctx, end := t.Context(), at.Add(10*time.Minute)
	a, b := client(t, addr, "a"), client(t, addr, "b")

	v, _, err := a.Query(ctx, `rate(orders{service="shop"}[5m])`, end)
	if err != nil {
		t.Fatal(err)
	}
	vec, ok := v.(model.Vector)
	if !ok || len(vec) != 1 || float64(vec[0].Value) < 0.66 || float64(vec[0].Value) > 0.67 {
		t.Errorf("rate is %v, want 10 per 15 s", v)
	}
	v, _, err = a.QueryRange(ctx, `orders`, v1.Range{Start: at, End: end, Step: time.Minute})
	if mat, ok := v.(model.Matrix); err != nil || !ok || len(mat) != 1 || len(mat[0].Values) != 11 || mat[0].Values[10].Value != 400 {
		t.Errorf("range is %v, %v", v, err)
	}
	names, _, err := a.LabelValues(ctx, "__name__", nil, at, end)
	if err != nil || len(names) != 1 || names[0] != "orders" {
		t.Errorf("names of a are %v, %v", names, err)
	}
	labels, _, err := b.LabelNames(ctx, nil, at, end)
	if err != nil || len(labels) != 2 || labels[1] != "service" {
		t.Errorf("labels of b are %v, %v", labels, err)
	}
	series, _, err := b.Series(ctx, []string{`{__name__=~".+"}`}, at, end)
	if err != nil || len(series) != 1 || series[0]["service"] != "web" {
		t.Errorf("series of b are %v, %v", series, err)
	}
	if v, _, err = b.Query(ctx, `orders`, end); err != nil || len(v.(model.Vector)) != 0 {
		t.Errorf("b reads a's orders: %v, %v", v, err)
	}
	meta, err := a.Metadata(ctx, "", "")
	if err != nil || len(meta["orders"]) != 1 || meta["orders"][0].Help != "Orders." || len(meta["visits"]) != 0 {
		t.Errorf("metadata of a is %v, %v", meta, err)
	}
	info, err := a.Buildinfo(ctx)
	if err != nil || info.Version == "" {
		t.Errorf("build information %+v, %v", info, err)
	}
}

func TestBadQueriesAreExplained(t *testing.T) {
	addr, m := serve(t)
	at := time.Now().Add(-10 * time.Minute)
	put(t, m, "a", "orders", "shop", at, 600, time.Second)
	for _, c := range []struct {
		path, query string
		code        int
		want        string
	}{
		{"/api/v1/query", "query=" + url.QueryEscape("sum(("), 400, "parse error"},
		{"/api/v1/query", "query=" + strings.Repeat("a", 3000), 422, "at most 2000"},
		{"/api/v1/query_range", "query=orders&start=0&end=100000&step=0.001", 400, "exceeded maximum resolution"},
		{"/api/v1/query_range", fmt.Sprintf("query=%s&start=%d&end=%d&step=1", url.QueryEscape("orders[10m:1s]"), at.Unix(), at.Unix()+600), 400, "invalid"},
		{"/api/v1/query", "query=" + url.QueryEscape("max_over_time(orders[10m:1ms])"), 422, "too many samples"},
		{"/api/v1/metadata", "limit=-1", 400, `limit is "-1"`},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, addr+c.path+"?"+c.query, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Tenant", "a")
		resp, err := (&http.Client{}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		var e struct{ Status, ErrorType, Error string }
		if err := json.Unmarshal(b, &e); err != nil {
			t.Fatalf("%s: %s", b, err)
		}
		if resp.StatusCode != c.code || e.Status != "error" || !strings.Contains(e.Error, c.want) {
			t.Errorf("%s?%.60s: %d %s, want %d with %q", c.path, c.query, resp.StatusCode, b, c.code, c.want)
		}
	}
}

func TestWritingRoutesOfPrometheusAreNotServed(t *testing.T) {
	addr, _ := serve(t)
	for _, p := range []string{"/api/v1/admin/tsdb/delete_series", "/api/v1/write", "/api/v1/read", "/api/v1/otlp/v1/metrics", "/api/v1/status/config"} {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, addr+p, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("POST %s answered %d, want 404", p, resp.StatusCode)
		}
	}
}
