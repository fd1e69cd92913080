// Command weir is the whole of weir in one binary: server and collector in one process by default.
//
// It reads one configuration file, assembles the folders of the house with dskit's modules and stops them in
// order; subcommands run parts of it (server), explain a file (check), make tokens, and test promises (soak).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/weirhq/weir/internal/access"
)

// version is set by the linker.
var version = "dev"

type cli struct {
	All     allCmd     `cmd:"" default:"withargs" help:"Server and collector in one process (the default)."`
	Server  serverCmd  `cmd:"" help:"Server without a collector."`
	Check   checkCmd   `cmd:"" help:"Read a configuration file and explain what it does, or what is wrong with it."`
	Token   tokenCmd   `cmd:"" help:"Make a token and its entry for the token file."`
	Soak    soakCmd    `cmd:"" help:"Send numbered data, kill the server, and check that nothing acknowledged is missing or doubled."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

func main() {
	var c cli
	k := kong.Parse(&c, kong.Name("weir"), kong.Description("Measures the flow of data pipelines: how late, how much, what was lost and where."), kong.UsageOnError(), kong.Exit(func(code int) { os.Exit(min(code, 1)) }))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	k.BindTo(ctx, (*context.Context)(nil))
	k.BindTo(io.Writer(os.Stdout), (*io.Writer)(nil))
	err := k.Run()
	stop()
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "weir:", err)
		os.Exit(1)
	}
}

type configFlag struct {
	Config string `short:"c" type:"path" help:"Configuration file; without one the defaults serve this machine only."`
}

type overrides struct {
	configFlag
	Listen  string `help:"HTTP address, instead of http.listen."`
	DataDir string `help:"Data folder, instead of data_dir." type:"path"`
}

func (o overrides) load() (Config, error) {
	cfg, err := loadConfig(o.Config)
	if err != nil {
		return cfg, err
	}
	if o.Listen != "" {
		cfg.HTTP.Listen = o.Listen
	}
	if o.DataDir != "" {
		cfg.DataDir = o.DataDir
	}
	return cfg, nil
}

type allCmd struct{ overrides }

// Run serves until a signal.
func (c *allCmd) Run(ctx context.Context) error { return serve(ctx, c.overrides, true) }

type serverCmd struct{ overrides }

// Run serves until a signal.
func (c *serverCmd) Run(ctx context.Context) error { return serve(ctx, c.overrides, false) }

func serve(ctx context.Context, o overrides, withCollector bool) error {
	cfg, err := o.load()
	if err != nil {
		return err
	}
	cfg.Collector.Enabled = cfg.Collector.Enabled && withCollector
	cfg.fill()
	if err := cfg.Validate(); err != nil {
		return err
	}
	a, err := newApp(ctx, cfg, newLogger(cfg.Log, os.Stderr))
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

// newLogger makes the logger of a valid configuration.
func newLogger(cfg LogConfig, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.Level)) // checked by Validate
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

type versionCmd struct{}

// Run prints the version.
func (*versionCmd) Run(out io.Writer) error {
	rev := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				rev = " " + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	_, err := fmt.Fprintf(out, "weir %s%s %s %s/%s\n", version, rev, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

type tokenCmd struct {
	Name        string              `arg:"" help:"Who will use it."`
	Tenant      string              `default:"default"`
	Permissions []access.Permission `default:"ingest,query" help:"ingest, query, admin."`
}

// Run prints a new token once, and the entry to put into the token file.
func (c *tokenCmd) Run(out io.Writer) error {
	token, entry, err := access.NewToken(c.Name, c.Tenant, c.Permissions...)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "token (shown once): %s\n\nadd to the file that auth.token_file names:\n%s", token, entry)
	return err
}
