package trace

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/internal/access"
	"github.com/weirhq/weir/store"
)

// tempo answers Tempo's HTTP API. Durations of a search are those of spans, not of traces.
type tempo struct {
	s      *Service
	tenant func(context.Context) store.Tenant
}

// Routes are those of Tempo's HTTP API under /tempo, for Grafana's Tempo data source with the URL
// http://…/tempo. tenant finds the tenant of a request.
func Routes(spans store.Spans, tenant func(context.Context) store.Tenant) []access.Route {
	t := &tempo{s: New(spans), tenant: tenant}
	route := func(path string, h func(http.ResponseWriter, *http.Request) error) access.Route {
		return access.Route{Pattern: "GET /tempo/api" + path, Need: access.Query, Handler: handler(h)}
	}
	return []access.Route{
		route("/echo", t.echo),
		route("/status/buildinfo", t.buildinfo),
		route("/traces/{id}", t.trace),
		route("/v2/traces/{id}", t.traceV2),
		route("/search", t.search),
		route("/search/tags", t.tags),
		route("/v2/search/tags", t.tagsV2),
		route("/search/tag/{tag}/values", t.values),
		route("/v2/search/tag/{tag}/values", t.valuesV2),
	}
}

func handler(h func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), maxTime)
		defer cancel()
		if err := slow(h(w, r.WithContext(ctx))); err != nil {
			http.Error(w, err.Error(), codeOf(err))
		}
	})
}

// codeOf is the one place where kinds of errors become HTTP codes for this API.
func codeOf(err error) int {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, store.ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, store.ErrLimit):
		return http.StatusUnprocessableEntity
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, context.Canceled):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

func writeJSON(w http.ResponseWriter, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot encode answer: %w", err)
	}
	write(w, "application/json", b)
	return nil
}

// write sends an answer; when the client has gone there is nobody to tell.
func write(w http.ResponseWriter, kind string, b []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(b)
}

func (*tempo) echo(w http.ResponseWriter, _ *http.Request) error {
	write(w, "text/plain; charset=utf-8", []byte("echo"))
	return nil
}

// apiLevel is the version of Tempo whose HTTP API this is; Grafana chooses its requests by it.
const apiLevel = "2.6.0"

func (*tempo) buildinfo(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, map[string]string{"version": apiLevel, "revision": "weir", "branch": "", "buildDate": "", "buildUser": "", "goVersion": ""})
}

func (t *tempo) spansOf(r *http.Request) ([]store.Span, int, error) {
	id, err := ParseID(r.PathValue("id"))
	if err != nil {
		return nil, 0, err
	}
	return t.s.fetch(r.Context(), t.tenant(r.Context()), id)
}

// wantsProtobuf reads the Accept header; JSON is the default.
func wantsProtobuf(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		kind, _, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		switch kind {
		case "application/protobuf", "application/x-protobuf":
			return true
		case "application/json":
			return false
		}
	}
	return false
}

const protobufType = "application/protobuf"

func (t *tempo) trace(w http.ResponseWriter, r *http.Request) error {
	spans, _, err := t.spansOf(r)
	if err != nil {
		return err
	}
	groups := grouped(spans)
	if wantsProtobuf(r) {
		write(w, protobufType, appendTrace(nil, groups))
		return nil
	}
	return writeJSON(w, struct {
		Batches []resourceSpans `json:"batches"`
	}{otlpJSON(groups)})
}

func (t *tempo) traceV2(w http.ResponseWriter, r *http.Request) error {
	from, to, err := timeRange(r.URL.Query())
	if err != nil {
		return err
	}
	spans, cut, err := t.spansOf(r)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err != nil || !touches(spans, from, to) {
		return fmt.Errorf("trace %s: %w", r.PathValue("id"), store.ErrNotFound)
	}
	status, message := "COMPLETE", ""
	if cut > 0 {
		status, message = "PARTIAL", fmt.Sprintf("%d spans left out: an answer holds %d", cut, maxSpans)
	}
	groups := grouped(spans)
	if wantsProtobuf(r) {
		write(w, protobufType, appendTraceByID(nil, groups, cut > 0, message))
		return nil
	}
	type traceJSON struct {
		ResourceSpans []resourceSpans `json:"resourceSpans"`
	}
	return writeJSON(w, struct {
		Trace   traceJSON `json:"trace"`
		Metrics struct{}  `json:"metrics"`
		Status  string    `json:"status"`
		Message string    `json:"message,omitempty"`
	}{Trace: traceJSON{otlpJSON(groups)}, Status: status, Message: message})
}

// touches reports whether a span lies in the range; a zero bound is none.
func touches(spans []store.Span, from, to time.Time) bool {
	for i := range spans {
		s := &spans[i]
		if (from.IsZero() || s.Start+s.Duration >= from.UnixNano()) && (to.IsZero() || s.Start <= to.UnixNano()) {
			return true
		}
	}
	return false
}

// maxSecond keeps times inside what nanoseconds can say.
const maxSecond = 9_000_000_000

// timeRange reads start and end, Unix seconds.
func timeRange(v url.Values) (from, to time.Time, err error) {
	for _, p := range []struct {
		name string
		dst  *time.Time
	}{{"start", &from}, {"end", &to}} {
		s := v.Get(p.name)
		if s == "" || s == "0" {
			continue
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 || n > maxSecond {
			return from, to, fmt.Errorf("%w: cannot use %s=%q: give Unix seconds", store.ErrInvalid, p.name, s)
		}
		*p.dst = time.Unix(n, 0)
	}
	if !from.IsZero() && !to.IsZero() && to.Before(from) {
		return from, to, fmt.Errorf("%w: cannot use end=%q: it is before start", store.ErrInvalid, v.Get("end"))
	}
	return from, to, nil
}

func number(v url.Values, name string, def, most int) (int, error) {
	s := v.Get(name)
	if s == "" {
		return def, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%w: cannot use %s=%q: give a positive number", store.ErrInvalid, name, s)
	}
	if n == 0 {
		return def, nil
	}
	return min(n, most), nil
}

// searchQuery reads the parameters of a search.
func searchQuery(v url.Values) (store.SpanQuery, error) {
	var q store.SpanQuery
	var err error
	if s := v.Get("q"); s != "" {
		if v.Get("tags") != "" {
			return q, fmt.Errorf("%w: cannot use q and tags together: put all into q", store.ErrInvalid)
		}
		q, err = ParseTraceQL(s)
	} else {
		q, err = ParseTags(v.Get("tags"))
	}
	if err != nil {
		return q, err
	}
	if q.From, q.To, err = timeRange(v); err != nil {
		return q, err
	}
	for _, p := range []struct {
		name string
		op   string
	}{{"minDuration", ">="}, {"maxDuration", "<="}} {
		if s := v.Get(p.name); s != "" {
			if err := duration(&q, p.op, s); err != nil {
				return q, fmt.Errorf("%w: cannot use %s: %w", store.ErrInvalid, p.name, err)
			}
		}
	}
	q.Limit, err = number(v, "limit", defaultFind, maxTraces)
	return q, err
}

// traceSearchJSON is one trace of Tempo's search answer.
type traceSearchJSON struct {
	ID       string                 `json:"traceID"`
	Service  string                 `json:"rootServiceName,omitempty"`
	Name     string                 `json:"rootTraceName,omitempty"`
	Start    string                 `json:"startTimeUnixNano"`
	Duration int64                  `json:"durationMs,omitempty"`
	Stats    map[string]serviceStat `json:"serviceStats,omitempty"`
}

type serviceStat struct {
	Spans  int `json:"spanCount"`
	Errors int `json:"errorCount,omitempty"`
}

func (t *tempo) search(w http.ResponseWriter, r *http.Request) error {
	q, err := searchQuery(r.URL.Query())
	if err != nil {
		return err
	}
	sums, err := t.s.search(r.Context(), t.tenant(r.Context()), q)
	if err != nil {
		return err
	}
	out := make([]traceSearchJSON, 0, len(sums))
	for i := range sums {
		s := &sums[i]
		j := traceSearchJSON{
			ID: hex.EncodeToString(s.Trace[:]), Service: s.RootService, Name: s.RootName,
			Start: strconv.FormatInt(s.Start, 10), Duration: s.Duration / 1e6,
		}
		if len(s.Services) == 1 { // a summary counts per trace, so only then per service
			j.Stats = map[string]serviceStat{s.Services[0]: {Spans: s.Spans, Errors: s.Errors}}
		}
		out = append(out, j)
	}
	return writeJSON(w, struct {
		Traces  []traceSearchJSON `json:"traces"`
		Metrics struct{}          `json:"metrics"`
	}{Traces: out})
}

func (t *tempo) names(r *http.Request) ([]string, error) {
	v := r.URL.Query()
	from, to, err := timeRange(v)
	if err != nil {
		return nil, err
	}
	limit, err := number(v, "limit", maxTags, maxTags)
	if err != nil {
		return nil, err
	}
	return t.s.spans.TagNames(r.Context(), t.tenant(r.Context()), from, to, limit)
}

// otelName maps the names of weir's fields to those of OpenTelemetry; intrinsic ones are TraceQL's own.
func otelName(tag string) (name string, intrinsic bool) {
	switch tag {
	case "service":
		return "service.name", false
	case "node":
		return "host.name", false
	case "container":
		return "container.id", false
	case "name", "status", "kind", "duration":
		return tag, true
	}
	return tag, false
}

func (t *tempo) tags(w http.ResponseWriter, r *http.Request) error {
	names, err := t.names(r)
	if err != nil {
		return err
	}
	out := make([]string, 0, len(names))
	for _, n := range names {
		n, _ = otelName(n)
		out = append(out, n)
	}
	return writeJSON(w, struct {
		Names   []string `json:"tagNames"`
		Metrics struct{} `json:"metrics"`
	}{Names: out})
}

type scopeJSON struct {
	Name string   `json:"name"`
	Tags []string `json:"tags"`
}

// tagsV2 lists names by scope. The store does not keep scopes apart, and a search looks into both, so
// what is known to be of the resource stands there and the rest under span.
func (t *tempo) tagsV2(w http.ResponseWriter, r *http.Request) error {
	names, err := t.names(r)
	if err != nil {
		return err
	}
	scopes := []scopeJSON{{"resource", []string{}}, {"span", []string{}}, {"intrinsic", []string{"duration", "name", "status"}}}
	for _, n := range names {
		name, intrinsic := otelName(n)
		switch {
		case intrinsic:
		case name != n:
			scopes[0].Tags = append(scopes[0].Tags, name)
		default:
			scopes[1].Tags = append(scopes[1].Tags, name)
		}
	}
	if want := r.URL.Query().Get("scope"); want != "" && want != "none" {
		kept := scopes[:0]
		for _, s := range scopes {
			if s.Name == want {
				kept = append(kept, s)
			}
		}
		scopes = kept
	}
	return writeJSON(w, struct {
		Scopes  []scopeJSON `json:"scopes"`
		Metrics struct{}    `json:"metrics"`
	}{Scopes: scopes})
}

func (t *tempo) valuesOf(r *http.Request, tag string) ([]string, error) {
	v := r.URL.Query()
	from, to, err := timeRange(v)
	if err != nil {
		return nil, err
	}
	limit, err := number(v, "limit", maxTags, maxTags)
	if err != nil {
		return nil, err
	}
	switch tag { // the store's own names
	case "service.name":
		tag = "service"
	case "host.name":
		tag = "node"
	case "container.id":
		tag = "container"
	case "status":
		return []string{"error", "ok", "unset"}, nil
	}
	return t.s.spans.TagValues(r.Context(), t.tenant(r.Context()), tag, from, to, limit)
}

func (t *tempo) values(w http.ResponseWriter, r *http.Request) error {
	vs, err := t.valuesOf(r, r.PathValue("tag"))
	if err != nil {
		return err
	}
	if vs == nil {
		vs = []string{}
	}
	return writeJSON(w, struct {
		Values  []string `json:"tagValues"`
		Metrics struct{} `json:"metrics"`
	}{Values: vs})
}

type valueJSON struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

func (t *tempo) valuesV2(w http.ResponseWriter, r *http.Request) error {
	tag := r.PathValue("tag")
	if key, ok := attribute(tag); ok {
		tag = key
	}
	vs, err := t.valuesOf(r, tag)
	if err != nil {
		return err
	}
	kind := "string"
	if tag == "status" {
		kind = "keyword"
	}
	out := make([]valueJSON, 0, len(vs))
	for _, v := range vs {
		out = append(out, valueJSON{kind, v})
	}
	return writeJSON(w, struct {
		Values  []valueJSON `json:"tagValues"`
		Metrics struct{}    `json:"metrics"`
	}{Values: out})
}
