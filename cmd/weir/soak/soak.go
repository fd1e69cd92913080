// Package soak is the oracle behind `weir soak`: it sends numbered samples, spans and audit cells, writes down
// in an fsynced ledger what was acknowledged, kills processes if asked to, and checks afterwards that everything
// acknowledged is there exactly once.
//
// It talks to a server (and a collector) over HTTP only, as any sender and reader would.
package soak

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"
)

// Modes of Run.
const (
	ModeSend  = "send"  // send until Duration or Count
	ModeCheck = "check" // compare the ledger with what the server has
	ModeKill  = "kill"  // start, kill and restart processes while sending, then check
)

// Kinds of data.
const (
	Samples        = "samples"
	Spans          = "spans"
	Cells          = "cells"
	CollectorSpans = "collector_spans" // spans sent to a collector's OTLP/HTTP door
)

// Config of a run. Zero values of the figures take those of DefaultConfig.
type Config struct {
	Mode   string `enum:"send,check,kill" default:"send" help:"send, check or kill."`
	Server string `default:"http://127.0.0.1:9480" help:"URL of the server."`
	Token  string `env:"WEIR_TOKEN" help:"Token with permissions ingest and query."`
	Ledger string `default:"weir-soak.ledger" help:"File of what was acknowledged; send appends to it, check reads it."`

	Duration time.Duration `help:"How long to send (send, 0 = until Count or interrupted)."`
	Count    int           `help:"How many batches of each kind to send (send, 0 = no limit)."`
	Rate     float64       `default:"20" help:"Batches per second and kind."`
	Batch    int           `default:"50" help:"Samples of a batch; spans are a fifth of it, cells a tenth."`

	Collector string `help:"URL of a collector's OTLP/HTTP door: spans are sent there too."`

	Command          []string      `help:"Command that starts the server (kill)."`
	CollectorCommand []string      `help:"Command that starts the collector (kill); it is killed too."`
	Kills            int           `default:"20" help:"How often to kill each process (kill)."`
	MaxUptime        time.Duration `default:"5s" help:"A process is killed at a random time before this (kill)."`
	Ready            string        `default:"/-/ready" help:"Path that answers 200 when the server can be used."`
	Settle           time.Duration `default:"30s" help:"How long the check waits for data that is still in a collector's spool."`

	Logger *slog.Logger `kong:"-"`
}

// DefaultConfig sends twenty batches of fifty a second to a server on this machine.
func DefaultConfig() Config {
	return Config{
		Mode: ModeSend, Server: "http://127.0.0.1:9480", Ledger: "weir-soak.ledger", Rate: 20, Batch: 50,
		Kills: 20, MaxUptime: 5 * time.Second, Ready: "/-/ready", Settle: 30 * time.Second,
	}
}

// Validate names the first value that cannot work. What to start is looked at by Run: a caller may fill it in.
func (c Config) Validate() error {
	switch {
	case c.Mode != ModeSend && c.Mode != ModeCheck && c.Mode != ModeKill:
		return fmt.Errorf("soak: mode %q is unknown: use send, check or kill", c.Mode)
	case len(c.CollectorCommand) > 0 && c.Collector == "":
		return errors.New("soak: a collector command without the URL of the collector's OTLP/HTTP door")
	case c.Rate <= 0 || c.Rate > 10_000:
		return fmt.Errorf("soak: rate %v is out of bounds: use up to 10000 batches per second", c.Rate)
	case c.Batch < 10 || c.Batch > 10_000:
		return fmt.Errorf("soak: batch %d is out of bounds: use 10 to 10000", c.Batch)
	case c.Ledger == "":
		return errors.New("soak: name a ledger file")
	}
	for _, u := range []string{c.Server, c.Collector} {
		if p, err := url.Parse(u); u != "" && (err != nil || p.Host == "" || p.Scheme != "http" && p.Scheme != "https") {
			return fmt.Errorf("soak: %q is not a URL like http://127.0.0.1:9480", u)
		}
	}
	if c.Server == "" {
		return errors.New("soak: name the URL of the server")
	}
	return nil
}

// Line is the outcome for one kind, in items: samples, spans, cells.
type Line struct {
	Kind         string
	Batches      int
	Acknowledged int
	Present      int
	Missing      int
	Doubled      int
	Wrong        int // there, with another value
	Examples     []string
}

// Report is the outcome of a run.
type Report struct {
	Run      string
	Lines    []Line
	Checked  bool
	Kills    int           // of all processes
	Failures []string      // starts that failed, refusals that must not be
	Restart  time.Duration // slowest time from start to ready
}

// OK reports whether everything acknowledged is there exactly once and nothing failed on the way.
func (r Report) OK() bool {
	for _, l := range r.Lines {
		if l.Missing+l.Doubled+l.Wrong > 0 || r.Checked && l.Present != l.Acknowledged {
			return false
		}
	}
	return len(r.Failures) == 0
}

// String is a table for people.
func (r Report) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "kind\tbatches\tacknowledged\tpresent\tmissing\tdoubled\twrong\t")
	for _, l := range r.Lines {
		if !r.Checked {
			_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t-\t-\t-\t-\t\n", l.Kind, l.Batches, l.Acknowledged)
			continue
		}
		_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t\n", l.Kind, l.Batches, l.Acknowledged, l.Present, l.Missing, l.Doubled, l.Wrong)
	}
	_ = w.Flush()
	if r.Kills > 0 {
		fmt.Fprintf(&b, "kills: %d, slowest start until ready: %s\n", r.Kills, r.Restart.Round(time.Millisecond))
	}
	for _, l := range r.Lines {
		for _, e := range l.Examples {
			fmt.Fprintf(&b, "%s: %s\n", l.Kind, e)
		}
	}
	for _, f := range r.Failures {
		fmt.Fprintln(&b, "failed:", f)
	}
	return b.String()
}

// Run does what cfg.Mode says. The error is about the run itself; data that is missing is in the report.
func Run(ctx context.Context, cfg Config) (Report, error) {
	def := DefaultConfig()
	cfg.Mode, cfg.Ready = cmp.Or(cfg.Mode, def.Mode), cmp.Or(cfg.Ready, def.Ready)
	cfg.Server, cfg.Ledger = strings.TrimRight(cmp.Or(cfg.Server, def.Server), "/"), cmp.Or(cfg.Ledger, def.Ledger)
	cfg.Collector = strings.TrimRight(cfg.Collector, "/")
	cfg.Rate, cfg.Batch = cmp.Or(cfg.Rate, def.Rate), cmp.Or(cfg.Batch, def.Batch)
	cfg.Kills, cfg.MaxUptime, cfg.Settle = cmp.Or(cfg.Kills, def.Kills), cmp.Or(cfg.MaxUptime, def.MaxUptime), cmp.Or(cfg.Settle, def.Settle)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := cfg.Validate(); err != nil {
		return Report{}, err
	}
	s := &soak{cfg: cfg, http: &http.Client{Timeout: 30 * time.Second}}
	switch cfg.Mode {
	case ModeCheck:
		return s.check(ctx)
	case ModeKill:
		if len(cfg.Command) == 0 && len(cfg.CollectorCommand) == 0 {
			return Report{}, errors.New("soak: mode kill needs a command that starts the server or the collector")
		}
		return s.kill(ctx)
	default:
		return s.sendOnly(ctx)
	}
}

type soak struct {
	cfg  Config
	http *http.Client
}
