package main

import (
	"cmp"
	"encoding/json"
	"html/template"
	"io"
	"net/http"
	"slices"
)

var page = template.Must(template.New("").Parse(`<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><meta http-equiv="refresh" content="3">
<title>weir demo: scenes</title><link rel="stylesheet" href="/style.css">
<main><h1>Scenes</h1><p>weir is at <a href="http://{{.Weir}}/">{{.Weir}}</a>.</p>
{{range .Groups}}<h2>{{.Title}}</h2><p>{{.Text}}{{if .Now}} Now: <b>{{.Now}}</b> since {{.Since}}.{{end}}</p>
{{$now := .Now}}{{range .Scenes}}<form method="post" action="/scene"><button name="name" value="{{.Name}}"{{if eq .Name $now}} aria-current="true"{{end}}><kbd>{{.Key}}</kbd> {{.Title}}</button><span>{{.Text}} <b>{{.See}}</b> <a href="http://{{$.Weir}}{{.Look}}">show me</a></span></form>{{end}}{{end}}
<h2>What the injectors did</h2>
<table><thead><tr><th>event window (UTC)</th><th>fault</th><th>records</th></tr></thead><tbody>
{{range .Injected}}<tr><td>{{.Window}}</td><td>{{.Kind}}</td><td>{{.N}}</td></tr>{{else}}<tr><td colspan="3">nothing yet</td></tr>{{end}}</tbody></table></main></html>`))

const style = `:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:0}main{max-width:46rem;margin:2rem auto;padding:0 1rem}
form{display:grid;grid-template-columns:14rem 1fr;gap:1rem;margin:.5rem 0;align-items:center}button{text-align:left;padding:.5rem .7rem;font:inherit}
button[aria-current]{font-weight:700;outline:2px solid #0B7FAB}table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2rem .5rem;border-bottom:1px solid #8884}
@media(max-width:40rem){form{grid-template-columns:1fr;gap:.2rem}}`

// group is the scenes of one pipeline on the page.
type group struct {
	Title, Text, Now, Since string
	Scenes                  []scene
}

// groups are the scenes by pipeline, with what plays.
func (h *house) groups() []group {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []group
	for _, p := range pipelines() {
		g := group{Title: p.title, Text: p.text}
		for _, s := range scenes() {
			if s.Pipeline == p.name {
				g.Scenes = append(g.Scenes, s)
			}
		}
		if now, ok := h.playing[p.name]; ok {
			g.Now, g.Since = now.scene, now.since.UTC().Format("15:04:05 UTC")
		}
		out = append(out, g)
	}
	return out
}

type injectedRow struct {
	at           int64
	Window, Kind string
	N            int64
}

func (h *house) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		inj, err := h.injected()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		var rows []injectedRow
		for kind, windows := range inj {
			for _, win := range sortedKeys(windows) {
				rows = append(rows, injectedRow{win, clock(win), kind, windows[win]})
			}
		}
		slices.SortStableFunc(rows, func(a, b injectedRow) int { return cmp.Compare(b.at, a.at) })
		data := map[string]any{"Weir": h.opt.Listen, "Groups": h.groups(), "Injected": rows[:min(len(rows), 40)]}
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'")
		if err := page.Execute(w, data); err != nil {
			h.logger.Warn("cannot show the page", "error", err)
		}
	})
	mux.HandleFunc("GET /style.css", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/css")
		_, _ = io.WriteString(w, style) // the reader is gone or not: nothing to do
	})
	mux.HandleFunc("GET /injected", func(w http.ResponseWriter, _ *http.Request) {
		inj, err := h.injected()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(inj); err != nil {
			h.logger.Warn("cannot answer", "error", err)
		}
	})
	mux.HandleFunc("POST /scene", func(w http.ResponseWriter, r *http.Request) {
		if err := h.play(r.Context(), r.FormValue("name")); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	return http.NewCrossOriginProtection().Handler(mux)
}
