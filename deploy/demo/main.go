// Command weir-demo runs real pipelines beside weir: brokers, and producers, stages and sinks as processes of their own, with
// faults on a switch. Their data goes to a weir collector and from there
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

	"github.com/weirhq/weir/deploy/demo/clicks"
	"github.com/weirhq/weir/deploy/demo/stage"
)

type runCmd struct {
	options
	NoOpen bool `help:"Do not open a browser."`
}

type checkCmd struct {
	options
	Short bool `help:"Ten-second windows and short scenes, for CI."`
	Runs  int  `default:"1" help:"Play everything so often; more than one prints a line for each."`
}

type stageCmd struct {
	Service  string        `arg:"" help:"producer, enrich or sink."`
	Name     string        `required:""`
	NATS     string        `name:"nats" required:""`
	Kafka    string        `required:""`
	Statsd   string        `required:""`
	OTLP     string        `name:"otlp" required:""`
	Listen   string        `required:""`
	Dir      string        `required:""`
	Rate     int           `default:"1000"`
	Window   time.Duration `default:"60s"`
	Sampling float64       `default:"0.02"`
}

// clicksCmd is an application of the second pipeline.
type clicksCmd struct{ stageCmd }

type kafkaCmd struct {
	Listen string `required:"" help:"host:port."`
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
		Clicks clicksCmd `cmd:"" hidden:""`
		Broker brokerCmd `cmd:"" hidden:""`
		Kafka  kafkaCmd  `cmd:"" hidden:""`
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

// Run starts one application of the pipeline clicks.
func (c *clicksCmd) Run(ctx context.Context, logger *slog.Logger) error {
	return clicks.Run(ctx, clicks.Config{
		Name: c.Name, Service: c.Service, Kafka: c.Kafka, Statsd: c.Statsd, Listen: c.Listen, Dir: c.Dir, Rate: c.Rate, Window: c.Window,
	}, logger)
}
