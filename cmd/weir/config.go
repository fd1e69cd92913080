package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/weirhq/weir/alerts"
	"github.com/weirhq/weir/collector"
	"github.com/weirhq/weir/collector/scrape"
	"github.com/weirhq/weir/ingest"
	"github.com/weirhq/weir/internal/access"
	"github.com/weirhq/weir/internal/strictyaml"
	"github.com/weirhq/weir/query"
	"github.com/weirhq/weir/query/live"
	"github.com/weirhq/weir/query/pipeline"
	"github.com/weirhq/weir/store/local"
)

// Config is the whole configuration file. Each part is described beside its user.
type Config struct {
	DataDir   string          `yaml:"data_dir"` // folder of everything weir keeps; one process at a time
	Log       LogConfig       `yaml:"log"`
	HTTP      HTTPConfig      `yaml:"http"`
	Auth      access.Config   `yaml:"auth"`
	Store     local.Config    `yaml:"store"`
	Ingest    ingest.Config   `yaml:"ingest"`
	Query     query.Config    `yaml:"query"`
	Pipelines pipeline.Config `yaml:"pipelines"`
	Live      live.Config     `yaml:"live"`
	Alerts    alerts.Config   `yaml:"alerts"`
	Collector CollectorConfig `yaml:"collector"`
}

// LogConfig says how much is logged, and how.
type LogConfig struct {
	Level  string `yaml:"level"`  // debug, info, warn, error
	Format string `yaml:"format"` // text, json
}

// HTTPConfig says where the server listens.
type HTTPConfig struct {
	Listen string `yaml:"listen"` // pages, API and HTTP doors; beyond loopback only with auth.token_file
	// OTLPGRPC is the server's own OTLP gRPC door, for senders without a collector; empty: none.
	// In the all-in-one process the collector owns 4317.
	OTLPGRPC string        `yaml:"otlp_grpc"`
	Shutdown time.Duration `yaml:"shutdown"` // patience with open requests on stop
}

// CollectorConfig is the collector that runs inside the server's process.
type CollectorConfig struct {
	Enabled          bool `yaml:"enabled"` // false: server only, as `weir server`
	collector.Config `yaml:",inline"`
}

func defaultConfig() Config {
	return Config{
		DataDir:   "./weir-data",
		Log:       LogConfig{Level: "info", Format: "text"},
		HTTP:      HTTPConfig{Listen: "127.0.0.1:9480", Shutdown: 5 * time.Second},
		Auth:      access.DefaultConfig(),
		Store:     local.DefaultConfig(),
		Ingest:    ingest.DefaultConfig(),
		Query:     query.DefaultConfig(),
		Pipelines: pipeline.DefaultConfig(),
		Live:      live.DefaultConfig(),
		Alerts:    alerts.DefaultConfig(),
		Collector: CollectorConfig{Enabled: true, Config: collector.DefaultConfig()},
	}
}

// loadConfig reads a file over the defaults; an unknown key is an error that names its line.
func loadConfig(file string) (Config, error) {
	cfg := defaultConfig()
	if file == "" {
		return cfg, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return cfg, fmt.Errorf("cannot read the configuration: %w", err)
	}
	if err := strictyaml.Decode(b, &cfg); err != nil {
		return cfg, fmt.Errorf("cannot use %q: %w", file, err)
	}
	return cfg, nil
}

// maxSocketPath is the longest path a Unix socket can be bound to. A data folder further down than that must not
// keep everything from starting: then there is no socket, which `weir check` shows.
const maxSocketPath = 107

// fill derives what the file leaves open from what it says.
func (c *Config) fill() {
	if c.Store.Dir == "" || c.Store.Dir == local.DefaultConfig().Dir {
		c.Store.Dir = filepath.Join(c.DataDir, "store")
	}
	if !c.Collector.Enabled {
		return
	}
	k := &c.Collector.Config
	if k.DataDir == "" || k.DataDir == collector.DefaultConfig().DataDir {
		k.DataDir = filepath.Join(c.DataDir, "collector")
	}
	if k.Server.URL == "" || k.Server.URL == collector.DefaultConfig().Server.URL {
		k.Server.URL = "http://" + reachable(c.HTTP.Listen)
	}
	if sock := filepath.Join(c.DataDir, "statsd.sock"); k.Statsd.Unix == "" && len(sock) <= maxSocketPath {
		k.Statsd.Unix = sock
	}
	// weir keeps its own figures like anybody else's; with authentication that is the file's decision.
	own := slices.ContainsFunc(k.Scrape.Targets, func(t scrape.TargetConfig) bool { return t.Job == "weir" })
	if _, port, err := net.SplitHostPort(c.HTTP.Listen); err == nil && port != "0" && !own && !c.Auth.HasAuth() {
		k.Scrape.Targets = append(slices.Clone(k.Scrape.Targets), scrape.TargetConfig{
			Job: "weir", Addresses: []string{reachable(c.HTTP.Listen)}, Service: "weir", Interval: 15 * time.Second,
		})
	}
}

// reachable turns a listening address into one to dial on this machine.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// Validate reports the first thing that cannot work.
func (c Config) Validate() error {
	if c.DataDir == "" {
		return errors.New("data_dir is empty: name a folder, e.g. ./weir-data")
	}
	if f := c.Log.Format; f != "text" && f != "json" {
		return fmt.Errorf("log.format is %q: must be text or json", f)
	}
	if err := new(slog.Level).UnmarshalText([]byte(c.Log.Level)); err != nil {
		return fmt.Errorf("log.level is %q: must be debug, info, warn or error", c.Log.Level)
	}
	for _, part := range []interface{ Validate() error }{c.Auth, c.Store, c.Ingest, c.Query, c.Pipelines, c.Live, c.Alerts} {
		if err := part.Validate(); err != nil {
			return err
		}
	}
	if err := access.CheckListen(c.HTTP.Listen, c.Auth.HasAuth()); err != nil {
		return fmt.Errorf("http.listen: %w", err)
	}
	if c.HTTP.OTLPGRPC != "" {
		if err := access.CheckListen(c.HTTP.OTLPGRPC, c.Auth.HasAuth()); err != nil {
			return fmt.Errorf("http.otlp_grpc: %w", err)
		}
	}
	if c.Collector.Enabled {
		if err := c.Collector.Config.Validate(); err != nil {
			return fmt.Errorf("collector: %w", err)
		}
		if own := "http://" + reachable(c.HTTP.Listen); c.Auth.HasAuth() && c.Collector.Server.URL == own && c.Collector.Server.TokenFile == "" {
			return errors.New("collector.server.token_file is empty: with auth.token_file the collector in this process needs a token too: " +
				"make one with `weir token collector --permissions ingest` and write it alone into a file to name here, or set collector.enabled: false")
		}
	}
	return nil
}
