// Package ui serves the web interface from inside the binary.
//
// The files come from ui/dist, where `npm run build` puts them; a committed placeholder page stands
// there until then. They go to the browser over the server's own door, beside the API.
package ui

import (
	"bytes"
	"embed"
	"errors"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed all:dist
var embedded embed.FS

// contentSecurityPolicy allows this server's own files and nothing else: no inline script or style,
// no other host. The live line (ws: to the same host) is part of connect-src 'self'.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; " +
	"img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// Handler serves the interface: files by their name, and index.html for every other path that is not
// under /api/, because paths like /p/orders belong to the page. Files with a hash in their name are
// kept by the browser for a year, index.html is asked for each time. It needs no configuration and
// is safe for concurrent use.
func Handler() http.Handler {
	files, err := fs.Sub(embedded, "dist")
	if err != nil {
		// Sub fails only for an invalid path, and this one is a constant.
		panic("cannot open the embedded interface: " + err.Error())
	}
	// The build has its own folder so that it never touches the committed placeholder.
	if app, err := fs.Sub(files, "app"); err == nil {
		if _, err := fs.Stat(app, "index.html"); err == nil {
			files = app
		}
	}
	return handler{files: files}
}

type handler struct{ files fs.FS }

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "cannot "+r.Method+" a page: only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	if name == "api" || strings.HasPrefix(name, "api/") {
		http.NotFound(w, r)
		return
	}
	body, err := h.read(name)
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist) && !strings.HasPrefix(name, "assets/"):
		name = "index.html"
		if body, err = h.read(name); err != nil {
			http.Error(w, "cannot find the interface in this binary: build it with `make ui`", http.StatusNotFound)
			return
		}
	default:
		http.NotFound(w, r)
		return
	}
	head := w.Header()
	head.Set("Content-Security-Policy", contentSecurityPolicy)
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "same-origin")
	if strings.HasPrefix(name, "assets/") {
		head.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		head.Set("Cache-Control", "no-cache")
	}
	// Embedded files have no time of change: the zero time leaves Last-Modified out.
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(body))
}

// read gives a file of the interface; folders and the build's own manifest do not exist for it.
func (h handler) read(name string) ([]byte, error) {
	if name == "" || strings.HasPrefix(name, ".") {
		return nil, fs.ErrNotExist
	}
	info, err := fs.Stat(h.files, name)
	if err != nil {
		return nil, fs.ErrNotExist
	}
	if info.IsDir() {
		return nil, fs.ErrNotExist
	}
	return fs.ReadFile(h.files, name)
}
