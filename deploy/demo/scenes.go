package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// scene is one state of the demo.
type scene struct {
	Key, Name, Title, Text string
	Look                   string // page of weir that shows it
	apply                  func(context.Context, *house) error
}

func scenes() []scene {
	return []scene{
		{"1", "healthy", "Healthy", "1,000 orders a second, all of them arrive.", "/", nil},
		{"2", "slow", "Slow stage", "enrich takes 600 of 1,000 a second: its queue grows, the data ages.", "/p/orders", func(ctx context.Context, h *house) error {
			return h.fault(ctx, "enrich", "slow", h.opt.Rate/5)
		}},
		{"3", "stall", "Stalled sink", "The sink takes nothing any more; everything waits before it.", "/p/orders", func(ctx context.Context, h *house) error {
			return h.fault(ctx, "sink", "stall", 0)
		}},
		{"4", "drop", "enrich drops 1 %", "Every hundredth order is acknowledged and never passed on; nothing logs it.", "/loss", func(ctx context.Context, h *house) error {
			return h.fault(ctx, "enrich", "drop", 100)
		}},
		{"5", "double", "Duplicates", "Every two-hundredth order is written twice.", "/loss", func(ctx context.Context, h *house) error {
			return h.fault(ctx, "enrich", "double", 200)
		}},
		{"6", "kill", "Killed collector", "The collector is killed without warning and comes back after five seconds.", "/self", func(_ context.Context, h *house) error {
			return h.killCollector(5 * time.Second)
		}},
	}
}

// killCollector ends the collector as a crash would and starts it again after pause.
func (h *house) killCollector(pause time.Duration) error {
	h.end("collector", syscall.SIGKILL, time.Second)
	time.AfterFunc(pause, func() {
		h.mu.Lock()
		stopping := h.stopping
		h.mu.Unlock()
		if stopping {
			return
		}
		if err := h.startCollector(); err != nil {
			h.logger.Error("the collector does not come back", "error", err)
		}
	})
	return nil
}

// play ends the faults of the scene before and begins those of the next.
func (h *house) play(ctx context.Context, name string) error {
	for _, s := range scenes() {
		if s.Name != name && s.Key != name {
			continue
		}
		if err := h.fault(ctx, "", "none", 0); err != nil {
			return err
		}
		if s.apply != nil {
			if err := s.apply(ctx, h); err != nil {
				return err
			}
		}
		h.mu.Lock()
		h.scene, h.since = s.Name, time.Now()
		h.mu.Unlock()
		h.logger.Info("scene", "title", s.Title, "look_at", "http://"+h.opt.Listen+s.Look)
		return nil
	}
	return fmt.Errorf("scene is %q: must be healthy, slow, stall, drop, double or kill", name)
}

// Run starts the demo and plays scenes on demand until ctx ends.
func (c *runCmd) Run(ctx context.Context, logger *slog.Logger) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Control)
	if err != nil {
		return fmt.Errorf("cannot listen on %q for the scenes: is another demo running? choose another address with --control: %w", c.Control, err)
	}
	defer l.Close()
	h, err := newHouse(c.options, logger)
	if err != nil {
		return err
	}
	defer h.stop()
	if err := h.start(ctx); err != nil {
		return err
	}
	srv := &http.Server{Handler: h.control(), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("the scenes' page is gone", "error", err)
		}
	}()
	defer srv.Close()
	fmt.Printf("\n  weir    http://%s/\n  scenes  http://%s/   (or press 1 to 6 and Enter here)\n\n", c.Listen, c.Control)
	for _, s := range scenes() {
		fmt.Printf("  %s  %-18s %s\n", s.Key, s.Title, s.Text)
	}
	fmt.Print("\n  Ctrl-C ends everything.\n\n")
	if !c.NoOpen {
		openBrowser("http://" + c.Listen + "/")
	}
	go h.keys(ctx)
	<-ctx.Done()
	fmt.Println("ending …")
	return nil
}

// openBrowser tries, and says nothing when there is no desktop: the address is printed anyway.
func openBrowser(url string) {
	if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
		return
	}
	if bin, err := exec.LookPath("xdg-open"); err == nil {
		cmd := exec.Command(bin, url) //nolint:noctx // the browser outlives the demo
		if cmd.Start() == nil {
			go func() { _ = cmd.Wait() }() // its end is of no interest
		}
	}
}

func (h *house) keys(ctx context.Context) {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if in.Text() == "" {
			continue
		}
		if err := h.play(ctx, in.Text()); err != nil {
			h.logger.Warn("cannot play", "error", err)
		}
	}
}

var page = template.Must(template.New("").Parse(`<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><meta http-equiv="refresh" content="3">
<title>weir demo: scenes</title><link rel="stylesheet" href="/style.css">
<main><h1>Scenes</h1><p>weir is at <a href="http://{{.Weir}}/">{{.Weir}}</a>. Now: <b>{{.Scene}}</b> since {{.Since}}.</p>
{{range .Scenes}}<form method="post" action="/scene"><button name="name" value="{{.Name}}"{{if eq .Name $.Scene}} aria-current="true"{{end}}><kbd>{{.Key}}</kbd> {{.Title}}</button><span>{{.Text}} <a href="http://{{$.Weir}}{{.Look}}">show me</a></span></form>{{end}}
<h2>What the injectors did</h2>
<table><thead><tr><th>event window (UTC)</th><th>fault</th><th>records</th></tr></thead><tbody>
{{range .Injected}}<tr><td>{{.Window}}</td><td>{{.Kind}}</td><td>{{.N}}</td></tr>{{else}}<tr><td colspan="3">nothing yet</td></tr>{{end}}</tbody></table></main></html>`))

const style = `:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:0}main{max-width:46rem;margin:2rem auto;padding:0 1rem}
form{display:grid;grid-template-columns:14rem 1fr;gap:1rem;margin:.5rem 0;align-items:center}button{text-align:left;padding:.5rem .7rem;font:inherit}
button[aria-current]{font-weight:700;outline:2px solid #0B7FAB}table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2rem .5rem;border-bottom:1px solid #8884}
@media(max-width:40rem){form{grid-template-columns:1fr;gap:.2rem}}`

type injectedRow struct {
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
				rows = append(rows, injectedRow{time.Unix(win, 0).UTC().Format("15:04:05"), kind, windows[win]})
			}
		}
		h.mu.Lock()
		data := map[string]any{"Weir": h.opt.Listen, "Scene": h.scene, "Since": h.since.Format("15:04:05"), "Scenes": scenes(), "Injected": rows}
		h.mu.Unlock()
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
