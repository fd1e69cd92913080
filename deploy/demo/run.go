package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"
)

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
	fmt.Printf("\n  weir    http://%s/\n  scenes  http://%s/   (or type the name of a scene and Enter here)\n\n", c.Listen, c.Control)
	for _, s := range scenes() {
		fmt.Printf("  %2s %-10s %s: %s\n", s.Key, s.Name, s.Title, s.Text)
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
