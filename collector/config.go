package collector

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/weirhq/weir/collector/audit"
	"github.com/weirhq/weir/collector/broker"
	"github.com/weirhq/weir/collector/host"
	"github.com/weirhq/weir/collector/origin"
	"github.com/weirhq/weir/collector/otlp"
	"github.com/weirhq/weir/collector/scrape"
	"github.com/weirhq/weir/collector/ship"
	"github.com/weirhq/weir/collector/spool"
	"github.com/weirhq/weir/collector/statsd"
	"github.com/weirhq/weir/internal/strictyaml"
)

// Config is everything a collector can be told.
type Config struct {
	Node         string        `yaml:"node"`          // label node of everything; empty = the host name
	DataDir      string        `yaml:"data_dir"`      // spool and audit state
	SelfInterval time.Duration `yaml:"self_interval"` // how often the collector ships its own metrics
	StopWait     time.Duration `yaml:"stop_wait"`     // how long a stopping collector goes on delivering
	// OpenDoors names the doors that other machines may reach although they ask for no token: statsd.udp, otlp.grpc, otlp.http.
	// Without being named here a door beyond loopback keeps the collector from starting.
	OpenDoors []string      `yaml:"open_doors"`
	Statsd    statsd.Config `yaml:"statsd"`
	Scrape    scrape.Config `yaml:"scrape"`
	OTLP      otlp.Config   `yaml:"otlp"`
	Host      host.Config   `yaml:"host"`
	Broker    broker.Config `yaml:"broker"`
	Origin    origin.Config `yaml:"origin"`
	Audit     audit.Config  `yaml:"audit"`
	Spool     spool.Config  `yaml:"spool"`
	Server    ship.Config   `yaml:"server"`
}

// DefaultConfig receives on this machine only and ships to a weir server on it.
func DefaultConfig() Config {
	return Config{
		DataDir: "/var/lib/weir-collector", SelfInterval: 10 * time.Second, StopWait: 5 * time.Second,
		Statsd: statsd.DefaultConfig(), Scrape: scrape.DefaultConfig(), OTLP: otlp.DefaultConfig(), Host: host.DefaultConfig(), Broker: broker.DefaultConfig(),
		Origin: origin.DefaultConfig(), Audit: audit.DefaultConfig(), Spool: spool.DefaultConfig(), Server: ship.DefaultConfig(),
	}
}

// Validate names everything that cannot work.
func (c Config) Validate() error {
	var errs []error
	if c.DataDir == "" {
		errs = append(errs, errors.New(`cannot run with data_dir "": name a folder for the spool, such as /var/lib/weir-collector`))
	}
	if c.SelfInterval < time.Second || c.SelfInterval > time.Hour {
		errs = append(errs, fmt.Errorf("cannot use self_interval %s: give 1s to 1h", c.SelfInterval))
	}
	if c.StopWait < 0 || c.StopWait > 10*time.Minute {
		errs = append(errs, fmt.Errorf("cannot use stop_wait %s: give 0s to 10m", c.StopWait))
	}
	for _, part := range []struct {
		name string
		err  error
	}{
		{"statsd", c.Statsd.Validate()},
		{"scrape", c.Scrape.Validate()},
		{"otlp", c.OTLP.Validate()},
		{"host", c.Host.Validate()},
		{"broker", c.Broker.Validate()},
		{"origin", c.Origin.Validate()},
		{"audit", c.Audit.Validate()},
		{"spool", c.Spool.Validate()},
		{"server", c.Server.Validate()},
	} {
		if part.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", part.name, part.err))
		}
	}
	for _, d := range c.open() {
		if !slices.Contains(c.OpenDoors, d.key) {
			errs = append(errs, fmt.Errorf("cannot listen with %s on %q: other machines could write there without a token; use a loopback address or a Unix socket, or add %q to open_doors when the network is yours alone", d.key, d.addr, d.key))
		}
	}
	for _, name := range c.OpenDoors {
		if !slices.ContainsFunc(c.doors(), func(d door) bool { return d.key == name }) {
			errs = append(errs, fmt.Errorf("cannot open door %q of open_doors: it must be statsd.udp, otlp.grpc or otlp.http", name))
		}
	}
	return errors.Join(errs...)
}

// door is a listener that asks for no token.
type door struct{ key, addr string }

func (c Config) doors() []door {
	return []door{{"statsd.udp", c.Statsd.UDP}, {"otlp.grpc", c.OTLP.GRPC}, {"otlp.http", c.OTLP.HTTP}}
}

// open lists the doors that other machines can reach.
func (c Config) open() []door {
	return slices.DeleteFunc(c.doors(), func(d door) bool {
		host, _, err := net.SplitHostPort(d.addr)
		if err != nil || host == "localhost" {
			return true
		}
		ip := net.ParseIP(host)
		return ip != nil && ip.IsLoopback()
	})
}

// Load reads a YAML file over the defaults and validates the result. A key that nobody knows is an error that names its
// line and the nearest known key.
func Load(file string) (Config, error) {
	raw, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return Config{}, fmt.Errorf("cannot read configuration: %w", err)
	}
	c, err := Parse(raw)
	if err != nil {
		return Config{}, fmt.Errorf("cannot use configuration %q: %w", file, err)
	}
	return c, nil
}

// Parse reads YAML over the defaults and validates the result.
func Parse(raw []byte) (Config, error) {
	c := DefaultConfig()
	if err := strictyaml.Decode(raw, &c); err != nil {
		return Config{}, err
	}
	if err := c.Validate(); err != nil {
		return Config{}, err
	}
	return c, nil
}
