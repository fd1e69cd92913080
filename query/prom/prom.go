// Package prom serves the Prometheus HTTP API, so that Grafana and other Prometheus clients read weir unchanged.
//
// Requests come from Explore, Grafana and scripts; expressions go to query.Engine; the handlers are
// Prometheus' own, of which only the reading ones are mounted.
package prom

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/grafana/regexp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	v1 "github.com/prometheus/prometheus/web/api/v1"

	"github.com/weirhq/weir/internal/access"
	"github.com/weirhq/weir/query"
	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/store"
)

// Alerts tells the alerts of a tenant.
type Alerts func(context.Context, store.Tenant) (answer.Alerts, error)

// API is the Prometheus HTTP API over one engine.
type API struct {
	engine  *query.Engine
	metrics store.Metrics
	alerts  Alerts
	version string
	prom    http.Handler
}

// New builds the API; without alerts there are none.
func New(e *query.Engine, m store.Metrics, alerts Alerts, version string, logger *slog.Logger) *API {
	qe, parser, q := e.PromQL()
	api := v1.NewAPI(
		qe, q, nil, nil, q,
		nil, nil, nil,
		func() config.Config { return config.Config{} },
		map[string]string{}, v1.GlobalURLOptions{},
		func(f http.HandlerFunc) http.HandlerFunc { return f },
		nil, "", false, false, 0, logger, nil, 0, 1, 0, false,
		regexp.MustCompile(`^$`), // no other origin
		nil, &v1.PrometheusVersion{Version: version},
		nil, nil, nil, prometheus.NewRegistry(), nil,
		false, nil, false, false, false, false, 5*time.Minute, false, false, nil, nil,
		v1.OpenAPIOptions{}, parser,
	)
	r := route.New().WithPrefix("/api/v1")
	api.Register(r)
	return &API{engine: e, metrics: m, alerts: alerts, version: version, prom: r}
}

// Routes lists what is served: reading only.
func (a *API) Routes() []access.Route {
	read := []string{
		"GET /api/v1/query", "POST /api/v1/query", "GET /api/v1/query_range", "POST /api/v1/query_range",
		"GET /api/v1/query_exemplars", "POST /api/v1/query_exemplars",
		"GET /api/v1/series", "POST /api/v1/series", "GET /api/v1/labels", "POST /api/v1/labels",
		"GET /api/v1/label/{name}/values",
		"GET /api/v1/format_query", "POST /api/v1/format_query", "GET /api/v1/parse_query", "POST /api/v1/parse_query",
	}
	var out []access.Route
	for _, p := range read {
		out = append(out, access.Route{Pattern: p, Need: access.Query, Handler: a.bounded(a.prom)})
	}
	return append(out,
		access.Route{Pattern: "GET /api/v1/metadata", Need: access.Query, Handler: http.HandlerFunc(a.metadata)},
		access.Route{Pattern: "GET /api/v1/status/buildinfo", Need: access.Query, Handler: http.HandlerFunc(a.buildinfo)},
		// Grafana asks for rules of a Prometheus source; weir's own are no expressions and have their own page.
		access.Route{Pattern: "GET /api/v1/rules", Need: access.Query, Handler: constant(map[string]any{"groups": []any{}})},
		access.Route{Pattern: "GET /api/v1/alerts", Need: access.Query, Handler: http.HandlerFunc(a.active)},
	)
}

// bounded refuses expressions and forms that are too long before anything parses them.
func (a *API) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, int64(a.engine.MaxLength())+4096)
		if err := r.ParseForm(); err != nil {
			fail(w, http.StatusBadRequest, "bad_data", fmt.Sprintf("cannot read the form: %s", err))
			return
		}
		if n := len(r.Form.Get("query")); n > a.engine.MaxLength() {
			fail(w, http.StatusUnprocessableEntity, "execution", fmt.Sprintf("the expression has %d bytes, at most %d are taken", n, a.engine.MaxLength()))
			return
		}
		next.ServeHTTP(w, r)
	})
}

type metadataEntry struct {
	Type string `json:"type"`
	Help string `json:"help"`
	Unit string `json:"unit"`
}

func (a *API) metadata(w http.ResponseWriter, r *http.Request) {
	limit := 0
	if s := r.FormValue("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			fail(w, http.StatusBadRequest, "bad_data", fmt.Sprintf("limit is %q: must be a whole number from 0", s))
			return
		}
		limit = n
	}
	all, err := a.metrics.Metadata(r.Context(), query.Tenant(r.Context()), r.FormValue("metric"), limit)
	if err != nil {
		fail(w, http.StatusServiceUnavailable, "unavailable", err.Error())
		return
	}
	out := make(map[string][]metadataEntry, len(all))
	for name, m := range all {
		out[name] = []metadataEntry{{Type: string(m.Type), Help: m.Help, Unit: m.Unit}}
	}
	succeed(w, out)
}

type activeAlert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	State       string            `json:"state"`
	ActiveAt    time.Time         `json:"activeAt"`
	Value       string            `json:"value"`
}

// active lists what is pending or firing, with the labels of the webhook.
func (a *API) active(w http.ResponseWriter, r *http.Request) {
	out := []activeAlert{}
	if a.alerts != nil {
		t := query.Tenant(r.Context())
		all, err := a.alerts(r.Context(), t)
		if err != nil {
			fail(w, http.StatusServiceUnavailable, "unavailable", err.Error())
			return
		}
		for _, al := range all.Alerts {
			if al.EndedAt != 0 {
				continue
			}
			labels := map[string]string{"alertname": al.Rule, "pipeline": al.Pipeline, "severity": al.Severity, "tenant": string(t)}
			if al.Stage != "" {
				labels["stage"] = al.Stage
			}
			out = append(out, activeAlert{
				Labels: labels, Annotations: map[string]string{"summary": al.Summary}, State: al.State, ActiveAt: time.UnixMilli(al.Since).UTC(), Value: "1e+00",
			})
		}
	}
	succeed(w, map[string]any{"alerts": out})
}

// buildinfo names a Prometheus version beside weir's own: Grafana chooses features by it.
func (a *API) buildinfo(w http.ResponseWriter, _ *http.Request) {
	succeed(w, map[string]string{
		"version": "3.5.0", "revision": "weir-" + a.version, "branch": "", "buildUser": "", "buildDate": "", "goVersion": "",
		"application": "weir", "weirVersion": a.version,
	})
}

func constant(v any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { succeed(w, v) })
}

func succeed(w http.ResponseWriter, data any) {
	write(w, http.StatusOK, map[string]any{"status": "success", "data": data})
}

func fail(w http.ResponseWriter, code int, kind, msg string) {
	write(w, code, map[string]any{"status": "error", "errorType": kind, "error": msg})
}

func write(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		return // the client is gone
	}
}
