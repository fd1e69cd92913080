package access

import (
	"encoding/json"
	"net/http"
	"time"
)

// Routes are login and logout for browsers, and whoami for the UI to ask which of the two it needs.
func (g *Guard) Routes() []Route {
	return []Route{
		{Pattern: "POST /api/v1/login", Need: Public, Handler: http.HandlerFunc(g.login)},
		{Pattern: "POST /api/v1/logout", Need: Public, Handler: http.HandlerFunc(g.logout)},
		{Pattern: "GET /api/v1/whoami", Need: Public, Handler: http.HandlerFunc(g.whoami)},
	}
}

type whoamiAnswer struct {
	Name          string       `json:"name"`
	Tenant        string       `json:"tenant"`
	Permissions   []Permission `json:"permissions"`
	LoginRequired bool         `json:"login_required"` // tokens are asked for
}

// login puts a token into a cookie that scripts cannot read and other sites cannot send.
func (g *Guard) login(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Token string `json:"token"`
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		WriteError(w, http.StatusBadRequest, "bad_data", `cannot read the login: `+err.Error()+`; send {"token":"…"}`)
		return
	}
	if !g.cfg.HasAuth() {
		writeJSON(w, answerOf(anonymous(), false))
		return
	}
	id, err := g.byToken(in.Token)
	if err != nil {
		g.refuse(w, r, http.StatusUnauthorized, err)
		return
	}
	http.SetCookie(w, g.cookie(r, in.Token, int((30*24*time.Hour).Seconds())))
	writeJSON(w, answerOf(id, true))
}

func (g *Guard) logout(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, g.cookie(r, "", -1))
	w.WriteHeader(http.StatusNoContent)
}

func (g *Guard) whoami(w http.ResponseWriter, r *http.Request) {
	id, _ := From(r.Context())
	writeJSON(w, answerOf(id, g.cfg.HasAuth()))
}

func (g *Guard) cookie(r *http.Request, value string, maxAge int) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // Secure where there is TLS: on loopback there is none
		Name: CookieName, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
	}
}

func answerOf(id Identity, login bool) whoamiAnswer {
	if id.Permissions == nil {
		id.Permissions = []Permission{}
	}
	return whoamiAnswer{Name: id.Name, Tenant: id.Tenant, Permissions: id.Permissions, LoginRequired: login}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v)
}
