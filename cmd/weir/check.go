package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/weirhq/weir/query/pipeline/declared"
)

type checkCmd struct {
	File  string `arg:"" optional:"" type:"path" help:"Configuration file; without one the defaults are explained."`
	Print bool   `help:"Print the whole configuration with all defaults as YAML."`
}

// Run explains a file, or says what is wrong with it and how to mend it.
func (c *checkCmd) Run(out io.Writer) error {
	cfg, err := loadConfig(c.File)
	if err != nil {
		return err
	}
	cfg.fill()
	if err := cfg.Validate(); err != nil {
		return err
	}
	if c.Print {
		e := yaml.NewEncoder(out)
		e.SetIndent(2)
		if err := e.Encode(cfg); err != nil {
			return err
		}
		return e.Close()
	}
	good := 0
	if dir := cfg.Pipelines.Dir; dir != "" {
		if good, err = declared.CheckDir(dir); err != nil {
			return err
		}
	}
	_, err = io.WriteString(out, explain(c.File, cfg, good))
	return err
}

func explain(file string, cfg Config, declared int) string {
	var b strings.Builder
	line := func(k, format string, args ...any) { fmt.Fprintf(&b, "  %-12s %s\n", k, fmt.Sprintf(format, args...)) }
	fmt.Fprintf(&b, "%s is good.\n\nserver\n", cmp.Or(file, "the default configuration"))
	line("pages", "http://%s/", cfg.HTTP.Listen)
	if cfg.Auth.HasAuth() {
		line("callers", "need a token of %s", cfg.Auth.TokenFile)
	} else {
		line("callers", "everybody on this machine, no token; other machines cannot connect")
	}
	line("data", "%s", cfg.Store.Dir)
	line("pipelines", "late when data at the sink is older than %s or a lag exceeds %s", short(cfg.Pipelines.Freshness), short(cfg.Pipelines.Lag))
	if cfg.Pipelines.Dir != "" {
		line("declared", "%d pipelines in %s", declared, cfg.Pipelines.Dir)
	}
	if u := cfg.Alerts.Webhook.URL; u != "" {
		line("alerts", "late after %s, losing after %s, posted to %s", short(cfg.Alerts.LateFor), short(cfg.Alerts.LosingFor), u)
	} else {
		line("alerts", "late after %s, losing after %s, shown in the UI only (alerts.webhook.url is empty)", short(cfg.Alerts.LateFor), short(cfg.Alerts.LosingFor))
	}
	if !cfg.Collector.Enabled {
		b.WriteString("\nno collector in this process\n")
		return b.String()
	}
	k := cfg.Collector.Config
	b.WriteString("\ncollector in the same process\n")
	line("node", "%s", cmp.Or(k.Node, "named after the host"))
	line("spool", "%s, at most %d MiB", k.DataDir, k.Spool.MaxBytes>>20)
	line("statsd", "UDP %s, Unix %s, every %s", off(k.Statsd.UDP), off(k.Statsd.Unix), short(k.Statsd.Interval))
	line("OTLP", "gRPC %s, HTTP %s", off(k.OTLP.GRPC), off(k.OTLP.HTTP))
	line("scrape", "%d jobs", len(k.Scrape.Targets))
	line("brokers", "%s", cmp.Or(strings.Join(k.Broker.Names(), ", "), "none is asked for offsets"))
	line("ships to", "%s", k.Server.URL)
	return b.String()
}

func off(s string) string { return cmp.Or(s, "off") }

func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
