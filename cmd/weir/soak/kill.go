package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// process is a server or a collector that is started, killed and started again.
type process struct {
	name    string
	command []string
	ready   func(context.Context) bool
	log     string

	kills    int
	slowest  time.Duration
	failures []string
}

// startLimit is how long a start may take until it counts as failed.
const startLimit = 60 * time.Second

// kill sends while processes are killed and restarted, then stops sending, checks, and stops them.
func (s *soak) kill(ctx context.Context) (Report, error) {
	var procs []*process
	if len(s.cfg.Command) > 0 {
		procs = append(procs, &process{name: "server", command: s.cfg.Command, log: s.cfg.Ledger + ".server.log", ready: s.serverReady})
	}
	if len(s.cfg.CollectorCommand) > 0 {
		procs = append(procs, &process{name: "collector", command: s.cfg.CollectorCommand, log: s.cfg.Ledger + ".collector.log", ready: s.collectorReady})
	}
	sending, stopSending := context.WithCancel(ctx)
	defer stopSending()
	type sent struct {
		rep Report
		err error
	}
	done := make(chan sent, 1)
	killing, stopKilling := context.WithCancel(ctx)
	defer stopKilling()
	go func() {
		rep, err := s.send(sending)
		if err != nil {
			stopKilling()
		}
		done <- sent{rep, err}
	}()

	// Every process ends with a last start that is not killed; the check runs against those.
	var wg sync.WaitGroup
	last := make([]*exec.Cmd, len(procs))
	errs := make([]error, len(procs))
	for i, p := range procs {
		wg.Go(func() { last[i], errs[i] = s.killLoop(killing, p) })
	}
	wg.Wait()
	defer func() {
		for _, c := range last {
			if c != nil {
				stop(c)
			}
		}
	}()
	// The senders get a moment with everything up, so that what they hold is delivered.
	select {
	case <-killing.Done():
	case <-time.After(time.Second):
	}
	stopSending()
	out := <-done
	if err := errors.Join(append(errs, out.err)...); err != nil {
		return out.rep, err
	}
	rep, err := s.check(ctx)
	for _, p := range procs {
		rep.Kills += p.kills
		rep.Restart = max(rep.Restart, p.slowest)
		rep.Failures = append(rep.Failures, p.failures...)
	}
	return rep, err
}

// killLoop returns the process of the last start.
func (s *soak) killLoop(ctx context.Context, p *process) (*exec.Cmd, error) {
	for {
		began := time.Now()
		c, exited, err := p.start()
		if err != nil {
			return nil, err
		}
		final := p.kills >= s.cfg.Kills
		life := time.Duration(rand.Int64N(int64(s.cfg.MaxUptime)))
		if final {
			life = startLimit
		}
		up := p.await(ctx, began, life, exited)
		if ctx.Err() != nil {
			stop(c)
			return nil, ctx.Err()
		}
		if final {
			if !up {
				stop(c)
				return nil, fmt.Errorf("the %s was not ready within %s of its last start: see %q", p.name, startLimit, p.log)
			}
			return c, nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Until(began.Add(life))):
		case <-exited:
			p.failures = append(p.failures, fmt.Sprintf("the %s ended by itself after %s, at start %d: %s; see %q", p.name, time.Since(began).Round(time.Millisecond), p.kills+1, c.ProcessState, p.log))
		}
		_ = c.Process.Kill()
		<-exited
		p.kills++
		s.cfg.Logger.Info("process killed", "process", p.name, "kills", p.kills, "lived", time.Since(began))
		if len(p.failures) > 10 {
			return nil, fmt.Errorf("the %s does not stay up: %s", p.name, p.failures[0])
		}
	}
}

// start runs the command; exited is closed when it has ended.
func (p *process) start() (*exec.Cmd, <-chan struct{}, error) {
	f, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot open log of the %s: %w", p.name, err)
	}
	// Not CommandContext: a killed process is what is tested, and the last one outlives this function.
	c := exec.Command(p.command[0], p.command[1:]...) //nolint:noctx // the command is what the user asks for
	c.Stdout, c.Stderr = f, f
	if err := c.Start(); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("cannot start the %s %q: %w", p.name, p.command, err), f.Close())
	}
	exited := make(chan struct{})
	go func() {
		_ = c.Wait() // how it ended is in ProcessState
		_ = f.Close()
		close(exited)
	}()
	return c, exited, nil
}

// await asks until the process is ready, ended, or has lived its life.
func (p *process) await(ctx context.Context, began time.Time, life time.Duration, exited <-chan struct{}) bool {
	for time.Since(began) < life {
		if p.ready(ctx) {
			p.slowest = max(p.slowest, time.Since(began))
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-exited:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false
}

// stop ends a process in order, and by force after ten seconds.
func stop(c *exec.Cmd) {
	_ = c.Process.Signal(syscall.SIGTERM)
	for range 100 {
		if c.Process.Signal(syscall.Signal(0)) != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	_ = c.Process.Kill()
}

func (s *soak) serverReady(ctx context.Context) bool {
	return s.answers(ctx, http.MethodGet, s.cfg.Server+s.cfg.Ready, func(code int) bool { return code == http.StatusOK })
}

// collectorReady posts an empty request: any answer shows that the door is open.
func (s *soak) collectorReady(ctx context.Context) bool {
	return s.answers(ctx, http.MethodPost, s.cfg.Collector+"/v1/traces", func(code int) bool { return code < http.StatusInternalServerError })
}

func (s *soak) answers(ctx context.Context, method, url string, good func(int) bool) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return false
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	resp, err := s.http.Do(r)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16))
	return good(resp.StatusCode)
}
