package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// CookieName holds the token of a browser.
const CookieName = "weir_token"

var (
	errNoToken      = errors.New("no token: send Authorization: Bearer <token>, or log in")
	errUnknownToken = errors.New("the token is not known: it may have been removed from the token file")
	errExpiredToken = errors.New("the token has expired: make a new one with `weir token`")
	errForeignHost  = errors.New("the Host header names another machine: without tokens weir answers only to loopback names; add the name to auth.hosts, or use a token file")
	errForeignSite  = errors.New("a page of another origin may not do this")
)

// Guard admits or refuses callers. It is safe for concurrent use.
type Guard struct {
	cfg    Config
	log    *slog.Logger
	tokens atomic.Pointer[Tokens]
	denied map[string]*metrics.Counter
	reload struct{ ok, failed *metrics.Counter }
	stamp  fileStamp
}

type fileStamp struct {
	mod  time.Time
	size int64
}

// New reads the token file, when there is one.
func New(cfg Config, log *slog.Logger, set *metrics.Set) (*Guard, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	g := &Guard{cfg: cfg, log: log, denied: map[string]*metrics.Counter{}}
	for _, reason := range []string{"no_token", "unknown_token", "expired_token", "permission", "host", "origin"} {
		g.denied[reason] = set.NewCounter(`weir_access_denied_total{reason="` + reason + `"}`)
	}
	g.reload.ok = set.NewCounter(`weir_access_reloads_total{result="ok"}`)
	g.reload.failed = set.NewCounter(`weir_access_reloads_total{result="failed"}`)
	if cfg.HasAuth() {
		g.stamp = stampOf(cfg.TokenFile)
		ts, err := Load(cfg.TokenFile)
		if err != nil {
			return nil, err
		}
		g.tokens.Store(ts)
	}
	return g, nil
}

func stampOf(path string) fileStamp {
	fi, err := os.Stat(path)
	if err != nil {
		return fileStamp{}
	}
	return fileStamp{fi.ModTime(), fi.Size()}
}

// Run looks at the token file until ctx ends. A file that cannot be read leaves the old tokens in force.
func (g *Guard) Run(ctx context.Context) error {
	if !g.cfg.HasAuth() {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(g.cfg.Reload)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			g.lookAgain()
		}
	}
}

func (g *Guard) lookAgain() {
	s := stampOf(g.cfg.TokenFile)
	if s == g.stamp {
		return
	}
	g.stamp = s
	ts, err := Load(g.cfg.TokenFile)
	if err != nil {
		g.reload.failed.Inc()
		g.log.Error("token file not taken over, the old tokens stay in force", "file", g.cfg.TokenFile, "error", err)
		if errors.Is(err, fs.ErrNotExist) {
			g.stamp = fileStamp{}
		}
		return
	}
	g.tokens.Store(ts)
	g.reload.ok.Inc()
	g.log.Info("token file read again", "file", g.cfg.TokenFile, "tokens", ts.Len())
}

// Handler mounts routes, each behind its own check. Two equal patterns are an error.
func (g *Guard) Handler(routes []Route) (http.Handler, error) {
	mux := http.NewServeMux()
	seen := map[string]bool{}
	for _, r := range routes {
		if seen[r.Pattern] {
			return nil, fmt.Errorf("cannot mount route %q twice", r.Pattern)
		}
		if !slices.Contains([]Permission{Public, Ingest, Query, Admin}, r.Need) {
			return nil, fmt.Errorf("cannot mount route %q: permission %q is unknown", r.Pattern, r.Need)
		}
		seen[r.Pattern] = true
		mux.Handle(r.Pattern, g.Require(r.Need, r.Handler))
	}
	return mux, nil
}

// Require puts next behind the check for one permission; the caller's Identity is in the context.
func (g *Guard) Require(need Permission, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := g.sameSite(r); err != nil {
			g.refuse(w, r, http.StatusForbidden, err)
			return
		}
		if !g.cfg.HasAuth() && !g.knownHost(r.Host) {
			g.refuse(w, r, http.StatusForbidden, errForeignHost)
			return
		}
		id, err := g.identify(r)
		switch {
		case err != nil && need == Public:
			next.ServeHTTP(w, r)
			return
		case err != nil:
			g.refuse(w, r, http.StatusUnauthorized, err)
			return
		case !id.May(need):
			g.refuse(w, r, http.StatusForbidden, &permissionError{id.Name, need})
			return
		}
		next.ServeHTTP(w, r.WithContext(With(r.Context(), id)))
	})
}

type permissionError struct {
	name string
	need Permission
}

func (e *permissionError) Error() string {
	return fmt.Sprintf("%q lacks permission %q: use another token, or add the permission in the token file", e.name, e.need)
}

func (g *Guard) identify(r *http.Request) (Identity, error) {
	if !g.cfg.HasAuth() {
		return anonymous(), nil
	}
	token, ok := bearer(r.Header.Get("Authorization"))
	if !ok {
		c, err := r.Cookie(CookieName)
		if err != nil || c.Value == "" {
			return Identity{}, errNoToken
		}
		token = c.Value
	}
	return g.byToken(token)
}

func (g *Guard) byToken(token string) (Identity, error) {
	return g.tokens.Load().find(token, time.Now())
}

func anonymous() Identity {
	return Identity{Name: "anonymous", Tenant: "default", Permissions: []Permission{Ingest, Query, Admin}}
}

func bearer(h string) (token string, ok bool) {
	scheme, token, ok := strings.Cut(h, " ")
	token = strings.TrimSpace(token)
	return token, ok && strings.EqualFold(scheme, "bearer") && token != ""
}

// sameSite stops pages of other origins from using a browser's cookie, or a loopback server, to
// change data or to open a live socket. Clients that are not browsers send none of these headers.
func (g *Guard) sameSite(r *http.Request) error {
	upgrade := r.Header.Get("Upgrade") != ""
	safe := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
	if safe && !upgrade {
		return nil
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		if s := r.Header.Get("Sec-Fetch-Site"); s != "" && s != "same-origin" && s != "none" {
			return fmt.Errorf("%w: Sec-Fetch-Site is %q", errForeignSite, s)
		}
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) {
		return fmt.Errorf("%w: Origin %q is not Host %q", errForeignSite, cut(origin), cut(r.Host))
	}
	return nil
}

// knownHost is the defence against DNS rebinding: a foreign page whose name was pointed at 127.0.0.1
// still sends that name as Host.
func (g *Guard) knownHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	return loopbackName(host) || slices.ContainsFunc(g.cfg.Hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

func (g *Guard) refuse(w http.ResponseWriter, r *http.Request, code int, err error) {
	reason := reasonOf(err)
	g.denied[reason].Inc()
	g.log.Debug("request refused", "reason", reason, "method", r.Method, "path", r.URL.Path, "remote", r.RemoteAddr)
	if code == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="weir"`)
	}
	typ := "unauthorized"
	if code == http.StatusForbidden {
		typ = "forbidden"
	}
	WriteError(w, code, typ, err.Error())
}

func reasonOf(err error) string {
	var pe *permissionError
	switch {
	case errors.As(err, &pe):
		return "permission"
	case errors.Is(err, errNoToken):
		return "no_token"
	case errors.Is(err, errExpiredToken):
		return "expired_token"
	case errors.Is(err, errForeignHost):
		return "host"
	case errors.Is(err, errForeignSite):
		return "origin"
	default:
		return "unknown_token"
	}
}

// WriteError answers in the form of the Prometheus HTTP API, which all of weir's doors use.
func WriteError(w http.ResponseWriter, code int, errorType, msg string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(struct {
		Status    string `json:"status"`
		ErrorType string `json:"errorType"`
		Error     string `json:"error"`
	}{"error", errorType, msg})
}

func cut(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}
