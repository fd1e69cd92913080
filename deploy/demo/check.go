package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirhq/weir/query/answer"
)

// promptly is how long after settlement weir may take to say what happened (bar T2).
const promptly = 30 * time.Second

// checker plays scenes and compares weir's answers with the injectors' ledgers.
type checker struct {
	*house
	began time.Time

	mu      sync.Mutex
	results []*result // in the order in which the checks began
}

type result struct {
	scene, what, want, got string
	ok                     bool
	took                   time.Duration // from the time at which it could be known
}

func (r *result) after() string { return fmt.Sprintf("%.1f", max(r.took, 0).Seconds()) }

// Run plays all scenes headless; an answer that differs from what was injected is an error.
func (c *checkCmd) Run(ctx context.Context, logger *slog.Logger) error {
	if c.Short {
		c.Window, c.Grace = 10*time.Second, 5*time.Second
	}
	if c.Runs < 1 {
		return fmt.Errorf("runs is %d: must be at least 1", c.Runs)
	}
	details := io.Writer(os.Stdout)
	if c.Runs > 1 {
		details = os.Stderr
	}
	var summary strings.Builder
	summary.WriteString("\n| run | checks | as injected | slowest window after settlement | of the run |\n|---|---|---|---|---|\n")
	wrong := 0
	for run := range c.Runs {
		k, err := c.once(ctx, logger)
		if k != nil {
			k.print(details)
		}
		if err != nil {
			return err
		}
		good, slowest := k.sum()
		wrong += len(k.results) - good
		fmt.Fprintf(&summary, "| %d | %d | %d | %.1f s | %.0f s |\n", run+1, len(k.results), good, slowest.Seconds(), time.Since(k.began).Seconds())
	}
	if c.Runs > 1 {
		fmt.Println(summary.String())
	}
	if wrong > 0 {
		return errors.New("weir's answers differ from what was injected")
	}
	return nil
}

// once plays everything in a demo of its own.
func (c *checkCmd) once(ctx context.Context, logger *slog.Logger) (*checker, error) {
	addrs, err := freeAddrs(2)
	if err != nil {
		return nil, err
	}
	c.Listen, c.Control = addrs[0], addrs[1]
	h, err := newHouse(c.options, logger)
	if err != nil {
		return nil, err
	}
	k := &checker{house: h, began: time.Now()}
	defer h.stop()
	if err := h.start(ctx); err != nil {
		return nil, err
	}
	err = k.all(ctx)
	return k, err
}

// sum counts what was as injected, and finds the window that took longest.
func (k *checker) sum() (good int, slowest time.Duration) {
	for _, r := range k.results {
		if r.ok {
			good++
		}
		if strings.HasPrefix(r.what, "window") {
			slowest = max(slowest, r.took)
		}
	}
	return good, slowest
}

// all plays the pipelines side by side. What concerns all of them comes when each has been judged.
func (k *checker) all(ctx context.Context) error {
	g, side := errgroup.WithContext(ctx)
	for _, f := range []func(context.Context) error{k.orders, k.clicks, k.parcels} {
		g.Go(func() error { return f(side) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := k.kill(ctx); err != nil {
		return err
	}
	return k.self(ctx)
}

func (k *checker) print(w io.Writer) {
	passed, failed := 0, 0
	var b strings.Builder
	fmt.Fprintf(&b, "\n| scene | checked | injected or expected | weir says | seconds after settlement | |\n|---|---|---|---|---|---|\n")
	for _, r := range k.results {
		mark := "ok"
		if r.ok {
			passed++
		} else {
			failed++
			mark = "WRONG"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.scene, r.what, r.want, r.got, r.after(), mark)
	}
	fmt.Fprintf(&b, "\nscenes: %d passed, %d failed (%.0f s)\n", passed, failed, time.Since(k.began).Seconds())
	if _, err := io.WriteString(w, b.String()); err != nil {
		k.logger.Error("cannot print the results", "error", err)
	}
}

// eventually asks until the answer is as wanted or patience after since ends; the last answer is noted either way.
func (k *checker) eventually(ctx context.Context, scene, what, want string, since time.Time, patience time.Duration, ask func(context.Context) (got string, ok bool)) error {
	r := &result{scene: scene, what: what, want: want, got: "was not asked"}
	k.mu.Lock()
	k.results = append(k.results, r)
	k.mu.Unlock()
	for {
		got, ok := ask(ctx)
		if ok || time.Since(since) > patience || ctx.Err() != nil {
			r.got, r.ok, r.took = got, ok, time.Since(since)
			k.logger.Info("checked", "scene", scene, "what", what, "want", want, "got", got, "ok", ok)
			return ctx.Err()
		}
		if err := pause(ctx, 300*time.Millisecond); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (k *checker) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+k.opt.Listen+path, nil)
	if err != nil {
		return err
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s: %s", path, resp.Status, b)
	}
	return json.Unmarshal(b, into)
}

func (k *checker) pipeline(ctx context.Context, id string) (answer.Pipeline, error) {
	var p answer.Pipeline
	err := k.get(ctx, "/api/v1/pipelines/"+id, &p)
	return p, err
}

// state waits for a state of a pipeline, with the stuck node named when one is wanted.
func (k *checker) state(ctx context.Context, pipeline, scene, stuck string, patience time.Duration, state answer.State) error {
	want := string(state)
	if stuck != "" {
		want += " at " + stuck
	}
	return k.eventually(ctx, scene, "state", want, time.Now(), patience, func(ctx context.Context) (string, bool) {
		p, err := k.pipeline(ctx, pipeline)
		if err != nil {
			return err.Error(), false
		}
		at := ""
		for _, n := range p.Nodes {
			if n.Stuck {
				at = n.Name
			}
		}
		got := string(p.State)
		if at != "" {
			got += " at " + at
		}
		if p.Sentence != "" {
			got += ": " + p.Sentence
		}
		return got, p.State == state && at == stuck
	})
}

// recover ends what plays in a pipeline and waits until weir says that it is well.
func (k *checker) recover(ctx context.Context, pipeline, scene string) error {
	if err := k.heal(ctx, pipeline); err != nil {
		return err
	}
	return k.state(ctx, pipeline, scene+", mended", "", 90*time.Second, answer.OK)
}

// kill ends the collector as a crash would: windows may be unknown, but nothing may be called lost.
func (k *checker) kill(ctx context.Context) error {
	win, err := k.window(ctx, "kill")
	if err != nil {
		return err
	}
	due := time.Unix(win, 0).Add(k.opt.Window + k.opt.Grace)
	return k.eventually(ctx, "kill", "no false loss", "every window settled, OK or UNKNOWN, 0 lost", due, k.opt.Window+45*time.Second, func(ctx context.Context) (string, bool) {
		return k.harmless(ctx, "", []int64{win, win + k.width()})
	})
}

// self asks weir for its own ledger: received = stored + spooled + dropped, per door.
func (k *checker) self(ctx context.Context) error {
	return k.eventually(ctx, "self", "received = stored + spooled + dropped", "balanced at every door", time.Now(), 30*time.Second, func(ctx context.Context) (string, bool) {
		var s answer.Self
		if err := k.get(ctx, "/api/v1/self", &s); err != nil {
			return err.Error(), false
		}
		var off []string
		for _, d := range s.Doors {
			if !d.Balanced {
				off = append(off, fmt.Sprintf("%s/%s/%s by %g", d.Node, d.Part, d.Door, d.Diff))
			}
		}
		return fmt.Sprintf("%d doors, off: %v", len(s.Doors), off), s.Balanced && len(off) == 0 && len(s.Doors) > 5
	})
}
