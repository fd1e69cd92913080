package access

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newToken(t *testing.T, name, tenant string, p ...Permission) (token, entry string) {
	t.Helper()
	token, entry, err := NewToken(name, tenant, p...)
	if err != nil {
		t.Fatal(err)
	}
	return token, entry
}

func withFile(t *testing.T, entries ...string) (*Guard, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	if err := os.WriteFile(path, []byte(strings.Join(entries, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.TokenFile = path
	g, err := New(cfg, quiet(), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	return g, path
}

func open(t *testing.T) *Guard {
	t.Helper()
	g, err := New(DefaultConfig(), quiet(), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

var who = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	id, _ := From(r.Context())
	_, _ = fmt.Fprintf(w, "%s@%s", id.Name, id.Tenant)
})

func do(h http.Handler, method, target string, hdr ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(hdr); i += 2 {
		if hdr[i] == "Host" {
			r.Host = hdr[i+1]
			continue
		}
		r.Header.Set(hdr[i], hdr[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestMatrix walks every permission of a route with every kind of caller.
func TestMatrix(t *testing.T) {
	tokens, entries := map[string]string{}, []string(nil)
	for _, p := range []Permission{Ingest, Query, Admin} {
		tok, e := newToken(t, string(p), "acme", p)
		tokens[string(p)], entries = tok, append(entries, e)
	}
	old, e := newToken(t, "old", "acme", Ingest, Query, Admin)
	entries = append(entries, strings.TrimRight(e, "\n")+"\n  expires: 2020-01-01T00:00:00Z\n")
	tokens["old"], tokens["none"], tokens["foreign"] = old, "", "weir_AAAA"
	g, _ := withFile(t, entries...)
	var routes []Route
	for _, p := range []Permission{Public, Ingest, Query, Admin} {
		routes = append(routes, Route{"GET /" + string(p), p, who})
	}
	h, err := g.Handler(routes)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		path := strings.TrimPrefix(r.Pattern, "GET ")
		for caller, tok := range tokens {
			want := http.StatusUnauthorized
			switch {
			case r.Need == Public || caller == string(r.Need):
				want = http.StatusOK
			case caller == "ingest" || caller == "query" || caller == "admin":
				want = http.StatusForbidden
			}
			for _, by := range []string{"bearer", "cookie"} {
				var hdr []string
				if tok != "" && by == "bearer" {
					hdr = []string{"Authorization", "Bearer " + tok}
				} else if tok != "" {
					hdr = []string{"Cookie", CookieName + "=" + tok}
				}
				w := do(h, "GET", path, hdr...)
				if w.Code != want {
					t.Errorf("%s by %s with %s: %d, want %d: %s", path, by, caller, w.Code, want, w.Body)
				}
				if want == http.StatusOK && r.Need != Public && w.Body.String() != caller+"@acme" {
					t.Errorf("%s: identity %s", path, w.Body)
				}
				if want != http.StatusOK && !strings.HasPrefix(w.Body.String(), `{"status":"error","errorType":"`) {
					t.Errorf("%s: body %s", path, w.Body)
				}
				if tok != "" && strings.Contains(w.Body.String(), tok) {
					t.Errorf("%s: the answer holds the token", path)
				}
			}
		}
	}
}

func TestAnonymousHosts(t *testing.T) {
	h := open(t).Require(Query, who)
	for host, want := range map[string]int{
		"localhost": 200, "localhost:9480": 200, "127.0.0.1:9480": 200, "[::1]:9480": 200, "127.9.9.9": 200, "LOCALHOST.:1": 200, "weir.localhost": 200,
		"evil.example": 403, "evil.example:9480": 403, "127.0.0.1.evil.example": 403, "10.0.0.1:9480": 403, "": 403, "0.0.0.0": 403, "localhost.evil.example": 403,
	} {
		if w := do(h, "GET", "/", "Host", host); w.Code != want {
			t.Errorf("host %q: %d, want %d", host, w.Code, want)
		}
	}
}

func TestOtherOrigins(t *testing.T) {
	h := open(t).Require(Query, who)
	for _, c := range []struct {
		method string
		hdr    []string
		want   int
	}{
		{"POST", nil, 200},
		{"POST", []string{"Origin", "http://localhost:9480"}, 200},
		{"POST", []string{"Origin", "http://localhost:9999"}, 403},
		{"POST", []string{"Origin", "https://evil.example"}, 403},
		{"POST", []string{"Origin", "null"}, 403},
		{"POST", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"POST", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"POST", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"DELETE", []string{"Origin", "https://evil.example"}, 403},
		{"GET", []string{"Origin", "https://evil.example"}, 200}, // reads are kept back by the browser itself
		{"GET", []string{"Origin", "https://evil.example", "Upgrade", "websocket"}, 403},
		{"GET", []string{"Origin", "http://localhost:9480", "Upgrade", "websocket"}, 200},
	} {
		if w := do(h, c.method, "/", append([]string{"Host", "localhost:9480"}, c.hdr...)...); w.Code != c.want {
			t.Errorf("%s %v: %d, want %d: %s", c.method, c.hdr, w.Code, c.want, w.Body)
		}
	}
}

func TestCheckListen(t *testing.T) {
	for addr, ok := range map[string]bool{
		"127.0.0.1:9480": true, "localhost:0": true, "[::1]:1": true, "unix:/run/weir.sock": true, "/run/weir.sock": true,
		":9480": false, "0.0.0.0:9480": false, "[::]:9480": false, "10.1.2.3:9480": false, "weir.example:80": false, "nonsense": false,
	} {
		if err := CheckListen(addr, false); (err == nil) != ok {
			t.Errorf("%q without authentication: %v", addr, err)
		}
		if err := CheckListen(addr, true); err != nil {
			t.Errorf("%q with authentication: %v", addr, err)
		}
	}
	if err := CheckListen(":9480", false); !strings.Contains(err.Error(), "weir token") {
		t.Errorf("no way out in %q", err)
	}
}

func TestBadFiles(t *testing.T) {
	_, good := newToken(t, "a", "", Query)
	for name, c := range map[string]struct{ body, want string }{
		"empty":      {"", "nobody could enter"},
		"no list":    {"[]", "nobody could enter"},
		"unknown":    {strings.Replace(good, "tenant:", "tenand:", 1), "tenand"},
		"permission": {strings.Replace(good, "query", "root", 1), `"root"`},
		"short hash": {"- {name: x, permissions: [query], sha256: abc}", "64 hex digits"},
		"twice":      {good + good, "twice"},
		"same token": {good + strings.Replace(good, "name: a", "name: b", 1), "same token"},
		"nameless":   {strings.Replace(good, "name: a", `name: ""`, 1), "without name"},
	} {
		if _, err := parse([]byte(c.body)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, c.want)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "absent")); err == nil || !strings.Contains(err.Error(), "weir token") {
		t.Errorf("absent file: %v", err)
	}
}

func TestReload(t *testing.T) {
	one, e1 := newToken(t, "one", "", Query)
	two, e2 := newToken(t, "two", "", Query)
	g, path := withFile(t, e1)
	h := g.Require(Query, who)
	code := func(tok string) int { return do(h, "GET", "/", "Authorization", "Bearer "+tok).Code }
	if code(one) != 200 || code(two) != 401 {
		t.Fatalf("before: %d %d", code(one), code(two))
	}
	rewrite := func(body string, at time.Time) {
		if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		g.lookAgain()
	}
	rewrite("- nonsense", time.Now().Add(time.Minute))
	if code(one) != 200 {
		t.Fatal("a broken file took the old tokens away")
	}
	rewrite(e2, time.Now().Add(2*time.Minute))
	if code(one) != 401 || code(two) != 200 {
		t.Fatalf("after: %d %d", code(one), code(two))
	}
}

func TestLogin(t *testing.T) {
	tok, e := newToken(t, "ui", "", Query)
	g, _ := withFile(t, e)
	h, err := g.Handler(append(g.Routes(), Route{"GET /x", Query, who}))
	if err != nil {
		t.Fatal(err)
	}
	post := func(body string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/api/v1/login", strings.NewReader(body)))
		return w
	}
	if w := post(`{"token":"weir_wrong"}`); w.Code != 401 || w.Header().Get("Set-Cookie") != "" {
		t.Fatalf("wrong token: %d %s", w.Code, w.Header())
	}
	if w := post(`{"token":"` + strings.Repeat("x", 5000) + `"}`); w.Code != 400 {
		t.Fatalf("long body: %d", w.Code)
	}
	w := post(`{"token":"` + tok + `"}`)
	res := w.Result()
	defer res.Body.Close()
	if w.Code != 200 || len(res.Cookies()) != 1 {
		t.Fatalf("login: %d %s", w.Code, w.Body)
	}
	c := res.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" {
		t.Errorf("cookie %+v", c)
	}
	if w := do(h, "GET", "/x", "Cookie", c.Name+"="+c.Value); w.Code != 200 || w.Body.String() != "ui@default" {
		t.Errorf("with cookie: %d %s", w.Code, w.Body)
	}
	if w := do(h, "GET", "/api/v1/whoami"); !strings.Contains(w.Body.String(), `"login_required":true`) {
		t.Errorf("whoami: %s", w.Body)
	}
	if w := do(h, "POST", "/api/v1/logout", "Cookie", c.Name+"="+c.Value); !strings.Contains(w.Header().Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("logout: %s", w.Header())
	}
}

func TestGRPC(t *testing.T) {
	tok, e := newToken(t, "agent", "acme", Ingest)
	viewer, e2 := newToken(t, "viewer", "acme", Query)
	g, _ := withFile(t, e, e2)
	call := func(token string) (string, codes.Code) {
		ctx := t.Context()
		if token != "" {
			ctx = metadata.NewIncomingContext(ctx, metadata.Pairs("authorization", "Bearer "+token))
		}
		out, err := g.UnaryInterceptor(Ingest)(ctx, nil, nil, func(ctx context.Context, _ any) (any, error) {
			id, _ := From(ctx)
			return id.Name + "@" + id.Tenant, nil
		})
		s, _ := out.(string)
		return s, status.Code(err)
	}
	for token, want := range map[string]codes.Code{tok: codes.OK, viewer: codes.PermissionDenied, "": codes.Unauthenticated, "weir_x": codes.Unauthenticated} {
		s, code := call(token)
		if code != want {
			t.Errorf("token %q: %v, want %v", token, code, want)
		}
		if code == codes.OK && s != "agent@acme" {
			t.Errorf("identity %q", s)
		}
	}
}

func TestHandlerRefusesDoubles(t *testing.T) {
	g := open(t)
	if _, err := g.Handler([]Route{{"GET /a", Query, who}, {"GET /a", Query, who}}); err == nil {
		t.Error("a doubled pattern was mounted")
	}
	if _, err := g.Handler([]Route{{"GET /a", "", who}}); err == nil {
		t.Error("a route without permission was mounted")
	}
}

func TestConfigs(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for want, c := range map[string]Config{
		"nobody could enter": {},
		"too short":          {TokenFile: "x"},
		"bare host name":     {Anonymous: true, Hosts: []string{"a:1"}},
	} {
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
