// Command weir-demo runs a real pipeline beside weir: a JetStream broker, producers, three enrichers and a
// sink as processes of their own, with faults on a switch. Their data goes to a weir collector and from there
// to a weir server; what the injectors really did stays in ledgers of their own, to hold weir's answers against.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/weirhq/weir/deploy/demo/stage"
)

type runCmd struct {
	options
	NoOpen bool `help:"Do not open a browser."`
}

type checkCmd struct {
	options
	Short bool `help:"Ten-second windows and short scenes, for CI."`
}

type stageCmd struct {
	Service  string        `arg:"" help:"producer, enrich or sink."`
	Name     string        `required:""`
	NATS     string        `name:"nats" required:""`
	Statsd   string        `required:""`
	OTLP     string        `name:"otlp" required:""`
	Listen   string        `required:""`
	Dir      string        `required:""`
	Rate     int           `default:"1000"`
	Window   time.Duration `default:"60s"`
	Sampling float64       `default:"0.02"`
}

type brokerCmd struct {
	Listen string `required:"" help:"host:port."`
	Dir    string `required:""`
}

func main() {
	var cli struct {
		Run    runCmd    `cmd:"" default:"withargs" help:"Start everything and wait for Ctrl-C."`
		Check  checkCmd  `cmd:"" help:"Play all scenes without a browser and hold weir's answers against the injectors' ledgers."`
		Stage  stageCmd  `cmd:"" hidden:""`
		Broker brokerCmd `cmd:"" hidden:""`
	}
	k := kong.Parse(&cli, kong.Name("weir-demo"), kong.Description("A real pipeline with faults on a switch."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	k.BindTo(ctx, (*context.Context)(nil))
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	k.Bind(logger)
	err := k.Run()
	stop()
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "weir-demo:", err)
		os.Exit(1)
	}
}

// Run starts one application.
func (c *stageCmd) Run(ctx context.Context, logger *slog.Logger) error {
	return stage.Run(ctx, stage.Config{
		Name: c.Name, Service: c.Service, NATS: c.NATS, Statsd: c.Statsd, OTLP: c.OTLP, Listen: c.Listen, Dir: c.Dir,
		Rate: c.Rate, Window: c.Window, Sampling: c.Sampling,
	}, logger)
}
