package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weirhq/weir/cmd/weir/soak"
)

type soakCmd struct {
	soak.Config  `embed:""`
	Verbose      bool   `help:"Log what happens."`
	Markdown     bool   `help:"Print the report as a Markdown table."`
	CollectorBin string `type:"path" help:"weir-collector binary: without commands of your own, mode kill also starts and kills a collector."`
}

// Run sends, kills or checks, and fails when something acknowledged is missing or doubled.
// In mode kill without a command it starts this binary on free ports with data in a temporary folder.
func (c *soakCmd) Run(ctx context.Context, out io.Writer) error {
	cfg := c.Config
	if c.Verbose {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	if cfg.Mode == soak.ModeKill && len(cfg.Command) == 0 && len(cfg.CollectorCommand) == 0 {
		dir, err := os.MkdirTemp("", "weir-soak-")
		if err != nil {
			return err
		}
		if err := c.selfContained(&cfg, dir); err != nil {
			return err
		}
		defer func() {
			if err := os.RemoveAll(dir); err != nil {
				fmt.Fprintln(os.Stderr, "weir: cannot remove", dir, err)
			}
		}()
	}
	report, err := soak.Run(ctx, cfg)
	text := report.String()
	if c.Markdown {
		text = markdown(report)
	}
	if _, werr := io.WriteString(out, text); werr != nil {
		return werr
	}
	if err != nil {
		return err
	}
	if !report.OK() {
		return errors.New("soak: not everything acknowledged is there exactly once")
	}
	return nil
}

func (c *soakCmd) selfContained(cfg *soak.Config, dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	addrs := make([]string, 3)
	for i := range addrs {
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
		if err != nil {
			return err
		}
		addrs[i] = l.Addr().String()
		l.Close()
	}
	cfg.Ledger = filepath.Join(dir, "ledger")
	cfg.Server = "http://" + addrs[0]
	cfg.Command = []string{self, "server", "--listen", addrs[0], "--data-dir", filepath.Join(dir, "server")}
	if c.CollectorBin == "" {
		return nil
	}
	file := filepath.Join(dir, "collector.yaml")
	err = os.WriteFile(file, fmt.Appendf(nil, `node: soak
data_dir: %q
server:
  url: http://%s
statsd:
  udp: ""
  unix: %q
otlp:
  grpc: %s
  http: %s
`, filepath.Join(dir, "collector"), addrs[0], filepath.Join(dir, "statsd.sock"), addrs[1], addrs[2]), 0o600)
	if err != nil {
		return err
	}
	cfg.Collector = "http://" + addrs[2]
	cfg.CollectorCommand = []string{c.CollectorBin, "--config", file, "--listen", ""}
	return nil
}

func markdown(r soak.Report) string {
	var b strings.Builder
	b.WriteString("| kind | batches | acknowledged | present | missing | doubled | wrong | kills | slowest restart |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, l := range r.Lines {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %d | %d | %s |\n", l.Kind, l.Batches, l.Acknowledged, l.Present, l.Missing, l.Doubled, l.Wrong, r.Kills, r.Restart.Round(10*time.Millisecond))
	}
	return b.String()
}
