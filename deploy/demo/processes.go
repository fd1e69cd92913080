package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func (h *house) spawn(name, bin string, args ...string) error {
	log, err := os.OpenFile(h.path("logs/"+name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	cmd := exec.Command(bin, args...) //nolint:noctx // ended by stop, in order
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = "."
	// A group of its own, so that Ctrl-C reaches only the demo, which then ends the others in order;
	// and no process outlives the demo when that is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		log.Close()
		return fmt.Errorf("cannot start %s: %w", name, err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	h.mu.Lock()
	h.processes[name] = p
	h.mu.Unlock()
	go func() {
		err := cmd.Wait()
		log.Close()
		h.mu.Lock()
		expected := h.stopping || h.processes[name] != p
		h.mu.Unlock()
		if !expected {
			h.logger.Error("a process of the demo ended", "name", name, "error", err, "log", log.Name())
		}
		close(p.done)
	}()
	return nil
}

// await asks url until it answers 200 or the process has ended.
func (h *house) await(ctx context.Context, name, url string) error {
	h.mu.Lock()
	p := h.processes[name]
	h.mu.Unlock()
	deadline := time.Now().Add(30 * time.Second)
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := h.client.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended at once: %s", name, lastLines(h.path("logs/"+name+".log")))
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not become ready: %s", name, lastLines(h.path("logs/"+name+".log")))
		}
	}
}

func (h *house) awaitSocket(ctx context.Context) error {
	deadline := time.Now().Add(15 * time.Second)
	for {
		if conn, err := net.Dial("unixgram", h.socket); err == nil { //nolint:noctx // answers at once
			conn.Close()
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the collector does not become ready: %s", lastLines(h.path("logs/collector.log")))
		}
	}
}

func lastLines(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], " | ")
}

func (h *house) end(name string, sig syscall.Signal, patience time.Duration) {
	h.mu.Lock()
	p := h.processes[name]
	delete(h.processes, name)
	h.mu.Unlock()
	if p == nil {
		return
	}
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		h.logger.Warn("cannot signal", "name", name, "error", err)
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		h.logger.Warn("does not end, killing it", "name", name)
		if err := p.cmd.Process.Kill(); err == nil {
			<-p.done
		}
	}
}
