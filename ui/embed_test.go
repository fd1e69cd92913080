package ui

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

func TestHandler(t *testing.T) {
	files := fstest.MapFS{
		"index.html":          {Data: []byte("<title>weir</title>")},
		"weir.svg":            {Data: []byte("<svg/>")},
		"assets/main-4f2a.js": {Data: []byte("export {}")},
		".vite/manifest.json": {Data: []byte("{}")},
	}
	const forever = "public, max-age=31536000, immutable"
	for _, c := range []struct {
		method, path string
		code         int
		body, cache  string
	}{
		{"GET", "/", 200, "<title>weir</title>", "no-cache"},
		{"GET", "/p/orders", 200, "<title>weir</title>", "no-cache"},
		{"GET", "/p/a%2Fb?from=now-1h", 200, "<title>weir</title>", "no-cache"},
		{"GET", "/index.html", 200, "<title>weir</title>", "no-cache"},
		{"GET", "/weir.svg", 200, "<svg/>", "no-cache"},
		{"GET", "/assets/main-4f2a.js", 200, "export {}", forever},
		{"GET", "/assets/gone-0000.js", 404, "404", ""},
		{"GET", "/assets", 200, "<title>weir</title>", "no-cache"},
		{"GET", "/.vite/manifest.json", 200, "<title>weir</title>", "no-cache"},
		{"GET", "/api/v1/none", 404, "404", ""},
		{"GET", "/api", 404, "404", ""},
		{"GET", "/x/../api/v1/none", 404, "404", ""},
		{"POST", "/", 405, "cannot POST", ""},
		{"HEAD", "/", 200, "", "no-cache"},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			rec := httptest.NewRecorder()
			handler{files: files}.ServeHTTP(rec, httptest.NewRequest(c.method, c.path, http.NoBody))
			if rec.Code != c.code {
				t.Fatalf("code = %d, want %d", rec.Code, c.code)
			}
			if !strings.Contains(rec.Body.String(), c.body) {
				t.Errorf("body = %q, want it to contain %q", rec.Body, c.body)
			}
			if got := rec.Header().Get("Cache-Control"); got != c.cache {
				t.Errorf("Cache-Control = %q, want %q", got, c.cache)
			}
			policy := rec.Header().Get("Content-Security-Policy")
			if c.code == http.StatusOK && (policy == "" || strings.Contains(policy, "unsafe")) {
				t.Errorf("policy = %q, want one without unsafe sources", policy)
			}
		})
	}
}

// The committed placeholder makes a binary built without Node answer with a page that says so.
func TestEmbeddedFilesAnswer(t *testing.T) {
	rec := httptest.NewRecorder()
	Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/pipelines", http.NoBody))
	if rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), "weir") {
		t.Fatalf("answer = %d %q, want a page", rec.Code, rec.Body)
	}
	if got := rec.Header().Get("Content-Type"); !strings.HasPrefix(got, "text/html") {
		t.Errorf("Content-Type = %q, want text/html", got)
	}
}
