package ship

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/weirhq/weir/collector/signal"
)

// Config says where the records go. The defaults are weir's own doors; URL and Paths name any other store that takes
// remote write 2.0 or OTLP over HTTP.
type Config struct {
	URL        string            `yaml:"url"`         // base, such as https://weir.example.org
	Paths      Paths             `yaml:"paths"`       // appended to url; a full URL goes elsewhere
	TokenFile  string            `yaml:"token_file"`  // bearer token; read again when the file changes
	Headers    map[string]string `yaml:"headers"`     // added to every request
	CAFile     string            `yaml:"ca_file"`     // certificates to trust besides the system's
	CertFile   string            `yaml:"cert_file"`   // client certificate
	KeyFile    string            `yaml:"key_file"`    // and its key
	Timeout    time.Duration     `yaml:"timeout"`     // of one request
	MinBackoff time.Duration     `yaml:"min_backoff"` // first wait after a failure; doubles
	MaxBackoff time.Duration     `yaml:"max_backoff"` // longest wait, unless the server asks for more with Retry-After
	// Concurrent is how many requests are under way at once. One keeps the order of samples, which some stores insist on, and
	// drains a backlog 20 times as fast as 50,000 samples/s come in when a request takes 6 ms; raise it for servers far away.
	Concurrent int `yaml:"concurrent"`
}

// Paths are the doors by kind.
type Paths struct {
	Samples string `yaml:"samples"` // remote write 2.0
	Spans   string `yaml:"spans"`   // OTLP traces
	Points  string `yaml:"points"`  // OTLP metrics
	Cells   string `yaml:"cells"`   // audit cells, which only weir takes
	Leases  string `yaml:"leases"`  // who polls which broker, which only weir knows; empty = every collector polls
}

// DefaultConfig ships to a weir server on this machine.
func DefaultConfig() Config {
	return Config{
		URL:   "http://127.0.0.1:9480",
		Paths: Paths{Samples: "/api/v1/write", Spans: "/v1/traces", Points: "/v1/metrics", Cells: "/api/v1/audit", Leases: "/api/v1/broker-leases"},

		Timeout: 30 * time.Second, MinBackoff: 250 * time.Millisecond, MaxBackoff: 30 * time.Second, Concurrent: 1,
	}
}

// Validate names the first setting that cannot work.
func (c Config) Validate() error {
	for _, k := range kinds {
		if _, err := c.door(k); err != nil {
			return err
		}
	}
	if c.Paths.Leases != "" {
		if _, err := c.address(c.Paths.Leases, "leases"); err != nil {
			return err
		}
	}
	for name := range c.Headers {
		if strings.EqualFold(name, "Authorization") {
			return fmt.Errorf("cannot use server header %q: put the token into a file and name it in token_file", name)
		}
	}
	switch {
	case (c.CertFile == "") != (c.KeyFile == ""):
		return fmt.Errorf("cannot use server cert_file %q with key_file %q: give both or none", c.CertFile, c.KeyFile)
	case c.Timeout < 100*time.Millisecond || c.Timeout > 10*time.Minute:
		return fmt.Errorf("cannot use server timeout %s: give 100ms to 10m", c.Timeout)
	case c.MinBackoff < time.Millisecond || c.MaxBackoff < c.MinBackoff || c.MaxBackoff > time.Hour:
		return fmt.Errorf("cannot use server min_backoff %s and max_backoff %s: give 1ms <= min_backoff <= max_backoff <= 1h", c.MinBackoff, c.MaxBackoff)
	case c.Concurrent < 1 || c.Concurrent > 64:
		return fmt.Errorf("cannot use server concurrent %d: give 1 to 64", c.Concurrent)
	}
	return nil
}

var kinds = [...]signal.Kind{signal.Samples, signal.Spans, signal.Points, signal.Cells}

// door returns the URL for one kind.
func (c Config) door(k signal.Kind) (string, error) {
	path := map[signal.Kind]string{signal.Samples: c.Paths.Samples, signal.Spans: c.Paths.Spans, signal.Points: c.Paths.Points, signal.Cells: c.Paths.Cells}[k]
	return c.address(path, k.String())
}

// address returns the URL of a path for what it serves.
func (c Config) address(path, k string) (string, error) {
	full := path
	if !strings.Contains(path, "://") {
		full = strings.TrimRight(c.URL, "/") + "/" + strings.TrimLeft(path, "/")
	}
	u, err := url.Parse(full)
	if err != nil {
		return "", fmt.Errorf("cannot use server url %q for %s: %w", full, k, err)
	}
	if u.User != nil {
		return "", fmt.Errorf("cannot use server url %q for %s: it holds a password; put a token into a file and name it in token_file", u.Redacted(), k)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return "", fmt.Errorf("cannot use server url %q for %s: give http://host:port or https://host", full, k)
	}
	return full, nil
}
