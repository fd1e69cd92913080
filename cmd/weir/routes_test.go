package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/prompb"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weirhq/weir/internal/access"
	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

var updateRoutes = flag.Bool("update-routes", false, "write testdata/routes.txt")

// marker is in everything that tenant alpha owns and in no request: an answer that holds it shows alpha's data.
const marker = "alphasecret"

// tenantA is itself a secret: who else uses a server is nobody's business.
const tenantA = marker + "_tenant"

const traceA = "0af7651916cd43dd8448eb211c80319c"

// house is an assembled server in this process, with a token for every kind of caller.
type house struct {
	*app
	url    string
	tokens map[string]string // caller → token
}

// newHouse runs a server on a free port; auth false asks nobody for a token.
func newHouse(t *testing.T, auth bool) *house {
	t.Helper()
	dir := t.TempDir()
	h := &house{tokens: map[string]string{"wrong": "weir_" + strings.Repeat("A", 43)}}
	cfg := defaultConfig()
	cfg.DataDir, cfg.HTTP.Listen, cfg.Collector.Enabled = filepath.Join(dir, "data"), "127.0.0.1:0", false
	cfg.HTTP.Shutdown, cfg.HTTP.OTLPGRPC = time.Second, "127.0.0.1:0"
	cfg.Pipelines.Offsets, cfg.Pipelines.Lag, cfg.Alerts.LateFor = true, time.Second, 0 // so that a backlog alone soon makes an alert
	cfg.Live.Step = 100 * time.Millisecond
	if auth {
		cfg.Auth.TokenFile = filepath.Join(dir, "tokens.yaml")
		var file strings.Builder
		for _, c := range []struct {
			name, tenant string
			may          []access.Permission
		}{
			{"ingest", tenantA, []access.Permission{access.Ingest}},
			{"query", tenantA, []access.Permission{access.Query}},
			{"admin", tenantA, []access.Permission{access.Admin}},
			{"other ingest", "beta", []access.Permission{access.Ingest}},
			{"other query", "beta", []access.Permission{access.Query}},
			{"all", tenantA, []access.Permission{access.Ingest, access.Query, access.Admin}},
		} {
			token, entry, err := access.NewToken(c.name, c.tenant, c.may...)
			if err != nil {
				t.Fatal(err)
			}
			h.tokens[c.name] = token
			file.WriteString(entry)
		}
		if err := os.WriteFile(cfg.Auth.TokenFile, []byte(file.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg.fill()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	a, err := newApp(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	h.app, h.url = a, "http://"+a.listener.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
	eventually(t, "ready", a.ready.Load)
	return h
}

// as returns the header of a caller: none for "nobody".
func (h *house) as(caller string) []string {
	if h.tokens[caller] == "" {
		return nil
	}
	return []string{"Authorization", "Bearer " + h.tokens[caller]}
}

// seed stores something of every kind as tenant alpha, with the marker in every text.
func (h *house) seed(t *testing.T) {
	t.Helper()
	send := func(path, body string, header ...string) {
		t.Helper()
		header = append(header, h.as("ingest")...)
		header = append(header, "Weir-Node", marker+"-node", "Weir-Spool", marker, "Weir-Sequence", "1", "Weir-Epoch", "1")
		if code, text := asks(t, http.MethodPost, h.url+path, body, header...); code/100 != 2 {
			t.Fatalf("%s: %d %s", path, code, text)
		}
	}
	body, header := remoteWrite(1, marker+" help", "__name__", "known", "label_"+marker, "1", "job", marker)
	send("/api/v1/write", body, header...)
	for name, ls := range map[string][]string{"end": nil, "committed": {"group", "reader"}} { // a broker tells how far the input is read
		body, header := remoteWrite(10, "", append([]string{"__name__", "weir_broker_" + name + "_offset", "system", "kafka", "destination", marker + "-in", "partition", "0"}, ls...)...)
		send("/api/v1/write", body, header...)
	}
	send("/v1/traces", otlpSpan(traceA, marker+"-service", marker+"-op", marker), "Content-Type", "application/json")
	now := time.Now()
	req := prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
		Labels:    []prompb.Label{{Name: "__name__", Value: "exemplified"}},
		Samples:   []prompb.Sample{{Value: 1, Timestamp: now.UnixMilli()}},
		Exemplars: []prompb.Exemplar{{Labels: []prompb.Label{{Name: "who", Value: marker}}, Value: 1, Timestamp: now.UnixMilli()}},
	}}}
	b, err := req.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	send("/api/v1/write", string(snappy.Encode(nil, b)), "Content-Type", "application/x-protobuf", "Content-Encoding", "snappy")
	batch := cell.Batch{Auditor: cell.Auditor{Node: marker + "-node", Epoch: 1, Seq: 1, At: now.UnixMilli(), FlushMS: 1000}}
	for i := range int64(30) {
		w := now.Unix()/60*60 - 60*i
		for n, dir := range map[uint64]cell.Dir{10: cell.In, 5: cell.Out} {
			batch.Cells = append(batch.Cells, cell.Cell{
				Key:      cell.Key{Pipeline: "known", Stage: marker + "-stage", Dir: dir, Destination: marker + "-" + string(dir), Window: w, Width: 60},
				Instance: marker, Node: marker + "-node", Epoch: 1, Seq: 1, Counts: cell.Counts{N: n, MaxTS: now.UnixMilli()},
			})
			named := batch.Cells[len(batch.Cells)-1]
			named.Pipeline = marker + "-pipeline"
			batch.Cells = append(batch.Cells, named)
		}
	}
	if b, err = json.Marshal(batch); err != nil {
		t.Fatal(err)
	}
	send("/api/v1/audit", string(b), "Content-Type", "application/json")
	eventually(t, "alpha's pipeline is evaluated", func() bool {
		_, text := asks(t, http.MethodGet, h.url+"/api/v1/pipelines", "", h.as("query")...)
		return strings.Contains(text, `"known"`)
	})
}

// lossID is the id of a row of alpha's loss ledger.
func (h *house) lossID(t *testing.T) string {
	t.Helper()
	var id string
	eventually(t, "alpha loses something", func() bool {
		_, text := asks(t, http.MethodGet, h.url+"/api/v1/loss", "", h.as("query")...)
		var a struct {
			Rows []struct {
				ID string `json:"id"`
			} `json:"rows"`
		}
		if json.Unmarshal([]byte(text), &a) != nil || len(a.Rows) == 0 {
			return false
		}
		id = a.Rows[0].ID
		return true
	})
	return id
}

// requestOf fills a pattern with names that alpha has, and asks for everything there is.
func requestOf(pattern, lossID string) (method, u string) {
	method, p, _ := strings.Cut(pattern, " ")
	switch {
	case p == "/api/v1/loss/{id}":
		p = "/api/v1/loss/" + url.PathEscape(lossID)
	case p == "/api/v1/incidents/{id}": // well-formed; there is none as early as this
		p = "/api/v1/incidents/" + url.PathEscape(lossID+"~loss~60")
	case strings.Contains(p, "/traces/{id}"):
		p = strings.Replace(p, "{id}", traceA, 1)
	case strings.HasPrefix(p, "/tempo/api/v2/search/tag/"):
		p = "/tempo/api/v2/search/tag/resource.service.name/values"
	case strings.HasPrefix(p, "/tempo/api/search/tag/"):
		p = "/tempo/api/search/tag/service.name/values"
	default:
		p = strings.NewReplacer("{id}", "known", "{name}", "job", "{schema}", "Now.json", "{stage}", marker+"-stage").Replace(p)
	}
	q := url.Values{}
	for _, kv := range queries[strings.TrimPrefix(strings.TrimPrefix(pattern, "GET "), "POST ")] {
		k, v, _ := strings.Cut(kv, "=")
		q.Add(k, v)
	}
	if len(q) > 0 {
		p += "?" + q.Encode()
	}
	return method, p
}

// queries are the parameters without which a route answers nothing.
var queries = map[string][]string{
	"/api/v1/query":           {`query=last_over_time({__name__!=""}[1h])`},
	"/api/v1/query_range":     {`query=last_over_time({__name__!=""}[1h])`, "step=60", "start=" + ago, "end=" + soon},
	"/api/v1/query_exemplars": {`query={__name__!=""}`, "start=" + ago, "end=" + soon},
	"/api/v1/series":          {`match[]={__name__!=""}`, "start=" + ago, "end=" + soon},
	"/api/v1/format_query":    {"query=known"},
	"/api/v1/parse_query":     {"query=known"},
	"/tempo/api/search":       {"q={}"},

	"/api/v1/pipelines/{id}/heat": {"destination=" + marker + "-in", "group=reader"},
	"/debug/pprof/profile":        {"seconds=1"},
	"/debug/pprof/trace":          {"seconds=0.1"},
}

var (
	ago  = fmt.Sprint(time.Now().Add(-time.Hour).Unix())
	soon = fmt.Sprint(time.Now().Add(time.Minute).Unix())
)

// A new route is written down with the permission it needs, by somebody who has thought about it.
func TestRoutesAreKnown(t *testing.T) {
	h := newHouse(t, false)
	var lines []string
	for _, r := range h.table {
		lines = append(lines, r.Pattern+" "+string(r.Need))
	}
	slices.Sort(lines)
	got := strings.Join(lines, "\n") + "\n"
	const file = "testdata/routes.txt"
	if *updateRoutes {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(file, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); d != "" {
		t.Errorf("the routes differ from %s (-want +got). Is the permission right? Then run\n\tgo test ./cmd/weir -run TestRoutesAreKnown -update-routes\n%s", file, d)
	}
}

// Every route answers every kind of caller as its permission says.
func TestEveryRouteEveryCaller(t *testing.T) {
	h := newHouse(t, true)
	h.seed(t)
	id := h.lossID(t)
	may := map[string][]access.Permission{
		"nobody": nil, "wrong": nil, "ingest": {access.Ingest}, "query": {access.Query}, "admin": {access.Admin},
		"other query": {access.Query}, "other ingest": {access.Ingest},
	}
	refused := 0
	for _, r := range h.table {
		method, p := requestOf(r.Pattern, id)
		for caller, has := range may {
			code, text := asks(t, method, h.url+p, "", h.as(caller)...)
			switch {
			case r.Need == access.Public || slices.Contains(has, r.Need):
				if code == http.StatusForbidden || code == http.StatusMethodNotAllowed || code == 0 || code >= 500 {
					t.Errorf("%s as %q: %d %.200s", r.Pattern, caller, code, text)
				}
				if r.Need != access.Public && code == http.StatusUnauthorized {
					t.Errorf("%s as %q: 401 with a good token", r.Pattern, caller)
				}
				own := !strings.HasPrefix(caller, "other")
				if method == http.MethodGet && own && code/100 != 2 && r.Pattern != "GET /api/v1/live" && r.Pattern != "GET /api/v1/incidents/{id}" {
					t.Errorf("%s as %q: %d, want 200: %.200s", r.Pattern, caller, code, text)
				}
			case has == nil:
				refused++
				if code != http.StatusUnauthorized {
					t.Errorf("%s as %q: %d, want 401: %.200s", r.Pattern, caller, code, text)
				}
			default:
				refused++
				if code != http.StatusForbidden {
					t.Errorf("%s as %q: %d, want 403: %.200s", r.Pattern, caller, code, text)
				}
			}
			if !slices.Contains(has, r.Need) && strings.Contains(text, marker) && !strings.Contains(p, marker) {
				// Only who one is, and nobody but oneself is told: the caller is of this tenant.
				if r.Pattern != "GET /api/v1/whoami" || has == nil {
					t.Errorf("%s shows %q alpha's data: %.300s", r.Pattern, caller, text)
				}
			}
		}
		// HEAD passes the same door as GET, and nothing else goes through it.
		if r.Need != access.Public && method == http.MethodGet {
			if code, _ := asks(t, http.MethodHead, h.url+p, ""); code != http.StatusUnauthorized {
				t.Errorf("HEAD of %s without a token: %d, want 401", r.Pattern, code)
			}
		}
		for _, m := range []string{http.MethodPut, http.MethodDelete, http.MethodPatch} {
			if slices.ContainsFunc(h.table, func(o access.Route) bool {
				_, q, _ := strings.Cut(r.Pattern, " ")
				return o.Pattern == m+" "+q
			}) {
				continue
			}
			if code, text := asks(t, m, h.url+p, "", h.as("all")...); code/100 == 2 || code >= 500 {
				t.Errorf("%s of %s: %d %.200s", m, r.Pattern, code, text)
			}
		}
	}
	if refused < 200 {
		t.Errorf("only %d refusals were tried", refused)
	}
	// Other spellings of a path are no way around.
	for _, p := range []string{"//api/v1/now", "/./api/v1/now", "/x/../api/v1/now", "/api/v1/now/", "/API/v1/now", "/api%2fv1%2fnow", "/api/v1/../v1/now", "/debug/pprof/heap", "/debug/pprof/goroutine"} {
		if code, text := asks(t, http.MethodGet, h.url+p, ""); strings.Contains(text, `"at"`) || strings.Contains(text, marker) || strings.Contains(text, "goroutine") {
			t.Errorf("%s without a token: %d %.200s", p, code, text)
		}
	}
}

// The gRPC door asks for the same token as the HTTP doors.
func TestGRPCDoorAsksForToken(t *testing.T) {
	h := newHouse(t, true)
	conn, err := grpc.NewClient(h.grpcL.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for caller, want := range map[string]codes.Code{
		"nobody": codes.Unauthenticated, "wrong": codes.Unauthenticated, "query": codes.PermissionDenied, "admin": codes.PermissionDenied, "ingest": codes.OK,
	} {
		ctx := t.Context()
		if hd := h.as(caller); hd != nil {
			ctx = metadata.AppendToOutgoingContext(ctx, hd...)
		}
		_, traces := ptraceotlp.NewGRPCClient(conn).Export(ctx, ptraceotlp.NewExportRequest())
		_, points := pmetricotlp.NewGRPCClient(conn).Export(ctx, pmetricotlp.NewExportRequest())
		if status.Code(traces) != want || status.Code(points) != want {
			t.Errorf("as %q: traces %v, metrics %v, want %s", caller, traces, points, want)
		}
	}
}

// Nobody is shown another tenant's data, on no route.
func TestTenantsAreApart(t *testing.T) {
	h := newHouse(t, true)
	h.seed(t)
	id := h.lossID(t)
	// A group of alpha's has not read for ten minutes.
	poll := func() {
		for name, v := range map[string]float64{
			"weir_broker_up": 1, "weir_broker_start_offset": 0, "weir_broker_end_offset": 1000, "weir_broker_committed_offset": 10, "weir_broker_delivered_offset": 10,
			"weir_broker_pending_messages": 990, "weir_broker_unacked_messages": 0, "weir_broker_committed_timestamp_seconds": float64(time.Now().Unix() - 600),
		} {
			ls := []string{"__name__", name, "system", "nats", "cluster", "c", "node", marker, "destination", marker + "-queue", "partition", "0"}
			if name != "weir_broker_start_offset" && name != "weir_broker_end_offset" {
				ls = append(ls, "group", marker+"-group")
			}
			if name == "weir_broker_up" {
				ls = []string{"__name__", name, "system", "nats", "cluster", "c", "node", marker}
			}
			body, header := remoteWrite(v, "", ls...)
			if code, text := asks(t, http.MethodPost, h.url+"/api/v1/write", body, append(header, h.as("ingest")...)...); code != http.StatusNoContent {
				t.Fatalf("%s: %d %s", name, code, text)
			}
		}
	}
	eventually(t, "alpha is alerted", func() bool {
		poll()
		_, text := asks(t, http.MethodGet, h.url+"/api/v1/alerts-list", "", h.as("query")...)
		return strings.Contains(text, marker)
	})
	shown := map[string]bool{}
	for _, r := range h.table {
		method, p := requestOf(r.Pattern, id)
		if r.Need == access.Admin || r.Need == access.Ingest {
			continue // one sees the process, the other writes
		}
		body, header := "", []string(nil)
		if base, form, ok := strings.Cut(p, "?"); ok && method == http.MethodPost {
			p, body, header = base, form, []string{"Content-Type", "application/x-www-form-urlencoded"}
		}
		_, text := asks(t, method, h.url+p, body, append(header, h.as("query")...)...)
		shown[r.Pattern] = strings.Contains(text, marker)
		for _, extra := range [][]string{nil, {"X-Scope-OrgID", tenantA}, {"Weir-Tenant", tenantA}} {
			code, text := asks(t, method, h.url+p, body, slices.Concat(header, h.as("other query"), extra)...)
			text = strings.ReplaceAll(text, id, "") // a complaint may quote what was asked for
			if i := strings.Index(text, marker); i >= 0 {
				t.Errorf("%s shows beta alpha's data (%d, header %q): …%.300s", r.Pattern, code, extra, text[max(0, i-100):])
			}
			// What is only checked need not exist.
			if strings.Contains(r.Pattern, "{id}") && !strings.HasSuffix(r.Pattern, "/check") && code != http.StatusNotFound {
				t.Errorf("%s of something that only alpha has answers beta %d, want 404", r.Pattern, code)
			}
		}
	}
	// The test can fail only where the data is shown to its owner.
	for _, pattern := range []string{
		"GET /api/v1/query", "POST /api/v1/query", "GET /api/v1/query_range", "POST /api/v1/query_range", "GET /api/v1/series", "POST /api/v1/series",
		"GET /api/v1/labels", "POST /api/v1/labels", "GET /api/v1/label/{name}/values", "GET /api/v1/metadata",
		"GET /api/v1/query_exemplars", "POST /api/v1/query_exemplars", "GET /api/v1/now", "GET /api/v1/alerts-list", "GET /api/v1/alerts", "GET /api/v1/audit/cells", "GET /api/v1/pipelines", "GET /api/v1/pipelines/{id}", "GET /api/v1/pipelines/{id}/stages/{stage}", "GET /api/v1/pipelines/{id}/whatif", "GET /api/v1/pipelines/{id}/heat", "GET /api/v1/groups", "GET /api/v1/loss", "GET /api/v1/loss/{id}", "GET /api/v1/self",
		"GET /api/v1/traces", "GET /api/v1/traces/{id}", "GET /tempo/api/traces/{id}", "GET /tempo/api/v2/traces/{id}", "GET /tempo/api/search",
		"GET /tempo/api/search/tags", "GET /tempo/api/v2/search/tags", "GET /tempo/api/search/tag/{tag}/values", "GET /tempo/api/v2/search/tag/{tag}/values",
	} {
		if !shown[pattern] {
			t.Errorf("%s does not show alpha its own data: nothing is tested there", pattern)
		}
	}
	if !slices.Contains(h.app.tenants(), "beta") {
		t.Error("beta's pipelines are on its pages, but no alert looks at them")
	}
	// What beta writes under the same names stays beta's.
	body, header := remoteWrite(2, "", "__name__", "known", "job", "beta")
	if code, text := asks(t, http.MethodPost, h.url+"/api/v1/write", body, append(header, h.as("other ingest")...)...); code != http.StatusNoContent {
		t.Fatalf("beta writes: %d %s", code, text)
	}
	for caller, want := range map[string]string{"query": marker, "other query": "beta"} {
		_, text := asks(t, http.MethodGet, h.url+"/api/v1/label/job/values", "", h.as(caller)...)
		if !strings.Contains(text, `["`+want+`"]`) {
			t.Errorf("%q sees jobs %s, want only %q", caller, text, want)
		}
	}
	for caller, own := range map[string]bool{"query": true, "other query": false} {
		text := h.listens(t, caller)
		if strings.Contains(text, marker) != own {
			t.Errorf("live data of %q holds the marker: %t, want %t", caller, !own, own)
		}
	}
}

// listens subscribes to every topic and returns the snapshots.
func (h *house) listens(t *testing.T, caller string) string {
	t.Helper()
	head := http.Header{"Authorization": {"Bearer " + h.tokens[caller]}}
	ws, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(h.url, "http")+"/api/v1/live", head)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.Close() }()
	resp.Body.Close()
	topics := []string{
		`"now"`, `"pipelines"`, `"pipeline","key":"known"`, `"loss"`, `"self"`, `"alerts"`,
		`"query","query":"last_over_time({__name__!=\"\"}[1h])","step":1000,"window":3600000`,
	}
	for i, topic := range topics {
		if err := ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"op":"sub","id":%d,"topic":%s}`, i+1, topic)); err != nil {
			t.Fatal(err)
		}
	}
	if err := ws.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	messages := 0
	for {
		_, b, err := ws.ReadMessage()
		if err != nil {
			break // the deadline
		}
		messages++
		all.Write(b)
	}
	if messages < len(topics) {
		t.Errorf("%q got %d messages for %d topics", caller, messages, len(topics))
	}
	return all.String()
}

// state is what callers can change.
func (h *house) state(t *testing.T) string {
	t.Helper()
	s, err := h.engine.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "series %d samples %d spans %d\n", s.Series, s.Samples, s.Spans)
	for _, tenant := range []store.Tenant{tenantA, "beta", store.DefaultTenant} {
		cells, err := h.engine.Ledger().Cells(t.Context(), tenant, store.CellQuery{From: time.Now().Add(-2 * time.Hour), To: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		j, err := json.Marshal(cells)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s: %s\n", tenant, j)
	}
	tokens, err := os.ReadFile(h.cfg.Auth.TokenFile)
	if err != nil {
		t.Fatal(err)
	}
	b.Write(tokens)
	return b.String()
}

// Reading changes nothing, whatever is sent along.
func TestReadingChangesNothing(t *testing.T) {
	h := newHouse(t, true)
	h.seed(t)
	id := h.lossID(t)
	before := h.state(t)
	write, header := remoteWrite(3, "", "__name__", "sneaked_in")
	for _, r := range h.table {
		method, p := requestOf(r.Pattern, id)
		if method != http.MethodGet || r.Need == access.Admin {
			continue
		}
		for _, override := range []string{http.MethodPost, http.MethodDelete} {
			hd := append([]string{"X-HTTP-Method-Override", override}, h.as("all")...)
			asks(t, method, h.url+p, "", hd...)
			asks(t, method, h.url+p, `{"token":"x"}`, append(hd, "Content-Type", "application/json")...)
		}
		asks(t, method, h.url+p, write, append(header, h.as("all")...)...)
	}
	for _, r := range h.table {
		if method, p := requestOf(r.Pattern, id); method == http.MethodPost && r.Need == access.Ingest {
			for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPut} {
				asks(t, m, h.url+p, write, append(header, h.as("all")...)...)
			}
		}
	}
	if d := cmp.Diff(before, h.state(t)); d != "" {
		t.Errorf("reading changed something (-before +after):\n%s", d)
	}
	// And writing is seen by this test.
	if code, text := asks(t, http.MethodPost, h.url+"/api/v1/write", write, append(header, h.as("all")...)...); code != http.StatusNoContent {
		t.Fatalf("write: %d %s", code, text)
	}
	if before == h.state(t) {
		t.Error("a write does not show in the state")
	}
}

// A page of another site can use neither a cookie nor a server without tokens.
func TestForeignPages(t *testing.T) {
	for name, auth := range map[string]bool{"with tokens": true, "without tokens": false} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, auth)
			cookie := []string{"Cookie", access.CookieName + "=" + h.tokens["all"]}
			tried := 0
			for _, r := range h.table {
				method, p := requestOf(r.Pattern, "x")
				upgrade := []string(nil)
				if r.Pattern == "GET /api/v1/live" {
					upgrade = []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}
				} else if method == http.MethodGet {
					continue
				}
				tried++
				for _, foreign := range [][]string{
					{"Origin", "http://evil.example"},
					{"Origin", "https://" + strings.TrimPrefix(h.url, "http://") + ".evil.example"},
					{"Origin", "null"},
					{"Sec-Fetch-Site", "cross-site"},
					{"Sec-Fetch-Site", "same-site"},
				} {
					if code, text := asks(t, method, h.url+p, "", slices.Concat(cookie, upgrade, foreign)...); code != http.StatusForbidden {
						t.Errorf("%s with %q: %d, want 403: %.200s", r.Pattern, foreign, code, text)
					}
				}
				for _, own := range [][]string{{"Origin", h.url}, {"Origin", h.url, "Sec-Fetch-Site", "same-origin"}, nil} {
					code := h.opens(t, method, p, slices.Concat(cookie, upgrade, own)...)
					if upgrade != nil && code != http.StatusSwitchingProtocols || code == http.StatusForbidden || code == 0 ||
						code == http.StatusUnauthorized && r.Need != access.Public {
						t.Errorf("%s with %q: %d", r.Pattern, own, code)
					}
				}
			}
			if tried < 10 {
				t.Errorf("only %d routes were tried", tried)
			}
			// A name that was pointed at this machine is not this machine.
			code, _ := asks(t, http.MethodGet, h.url+"/api/v1/now", "", "Host", "evil.example")
			if !auth && code != http.StatusForbidden || auth && code != http.StatusUnauthorized {
				t.Errorf("Host evil.example: %d", code)
			}
			if code, text := asks(t, http.MethodGet, h.url+"/api/v1/now", "", append(cookie, "Origin", "http://evil.example")...); code == http.StatusOK && strings.Contains(text, "Access-Control") {
				t.Errorf("a foreign page may read: %s", text)
			}
		})
	}
}

// opens returns only the status: what follows an upgrade is not HTTP.
func (h *house) opens(t *testing.T, method, p string, header ...string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, h.url+p, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		_, _ = io.Copy(io.Discard, resp.Body)
	}
	if resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%s %s lets pages of %q read", method, p, resp.Header.Get("Access-Control-Allow-Origin"))
	}
	return resp.StatusCode
}
