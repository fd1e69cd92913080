package scrape

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/relabel"
)

// When to ask a target for a compressed answer.
const (
	CompressionAuto = "auto" // not from this machine: there it costs both sides CPU for nothing
	CompressionOn   = "on"
	CompressionOff  = "off"
)

// Config lists what is scraped, and the defaults of the entries.
type Config struct {
	Targets []TargetConfig `yaml:"targets"` // empty: nothing is scraped

	Interval time.Duration `yaml:"interval"` // between scrapes of a target, at least 1s, where its entry gives none
	Timeout  time.Duration `yaml:"timeout"`  // of one scrape, where the entry gives none; never longer than its interval
	// FlushInterval is how long samples are gathered before they go to the spool together. 0: a fifth of the shortest
	// interval of all targets, at least 200ms and at most 1s; each time costs a write to disk and a request.
	FlushInterval time.Duration `yaml:"flush_interval"`
	// BodySizeLimit bounds an answer after decompression, in bytes; SampleLimit its samples after relabelling;
	// LabelLimit the labels of one series. An answer beyond a limit fails as a whole.
	BodySizeLimit int64 `yaml:"body_size_limit"`
	SampleLimit   int   `yaml:"sample_limit"`
	LabelLimit    int   `yaml:"label_limit"`
	// MaxTargets bounds the targets of all entries together.
	MaxTargets int `yaml:"max_targets"`
	// MaxConcurrent bounds the requests under way at once, and with body_size_limit the memory for answers.
	MaxConcurrent int `yaml:"max_concurrent"`
}

// TargetConfig is one entry: targets that are scraped alike. Zero values mean the defaults of Config.
type TargetConfig struct {
	Job       string   `yaml:"job"`       // label job; must be given
	URLs      []string `yaml:"urls"`      // full addresses, such as https://host:port/path?query
	Addresses []string `yaml:"addresses"` // host:port, short for http://host:port/metrics

	Labels    map[string]string `yaml:"labels"`    // added to every series
	Service   string            `yaml:"service"`   // label service; empty: none
	Container string            `yaml:"container"` // label container; empty: none

	Interval time.Duration `yaml:"interval"` // at least 1s; 0: scrape.interval
	Timeout  time.Duration `yaml:"timeout"`  // no longer than the interval; 0: the shorter of scrape.timeout and the interval
	// Relabel works on the target's labels, __address__, __scheme__, __metrics_path__ and __param_… among them;
	// MetricRelabel on those of each series.
	Relabel       []*relabel.Config `yaml:"relabel"`
	MetricRelabel []*relabel.Config `yaml:"metric_relabel"`
	// HonorLabels lets a series keep a label that the target has too; else it becomes exported_….
	HonorLabels bool `yaml:"honor_labels"`
	// IgnoreTimestamps overrides times that the target gives.
	IgnoreTimestamps bool   `yaml:"ignore_timestamps"`
	Compression      string `yaml:"compression"`     // on, off, or auto (empty): asked for unless the target is on this machine
	BodySizeLimit    int64  `yaml:"body_size_limit"` // bytes; 0: scrape.body_size_limit
	SampleLimit      int    `yaml:"sample_limit"`    // 0: scrape.sample_limit

	// BearerTokenFile, or Username with PasswordFile; read again for each request.
	BearerTokenFile string    `yaml:"bearer_token_file"`
	Username        string    `yaml:"username"`
	PasswordFile    string    `yaml:"password_file"`
	TLS             TLSConfig `yaml:"tls"`
}

// TLSConfig is for targets with https.
type TLSConfig struct {
	CAFile             string `yaml:"ca_file"`              // PEM, trusted instead of the system's certificates; empty: those
	CertFile           string `yaml:"cert_file"`            // client certificate, PEM; together with key_file
	KeyFile            string `yaml:"key_file"`             // its key
	ServerName         string `yaml:"server_name"`          // name the certificate must have; empty: the host of the address
	InsecureSkipVerify bool   `yaml:"insecure_skip_verify"` // true: believe any certificate
}

// DefaultConfig returns the defaults without a target.
func DefaultConfig() Config {
	return Config{
		Interval: 15 * time.Second, Timeout: 10 * time.Second,
		BodySizeLimit: 64 << 20, SampleLimit: 200_000, LabelLimit: 64, MaxTargets: 10_000, MaxConcurrent: 64,
	}
}

// withDefaults fills what an entry left out.
func (t TargetConfig) withDefaults(c Config) TargetConfig {
	if t.Interval == 0 {
		t.Interval = c.Interval
	}
	if t.Timeout == 0 {
		t.Timeout = min(c.Timeout, t.Interval)
	}
	if t.BodySizeLimit == 0 {
		t.BodySizeLimit = c.BodySizeLimit
	}
	if t.SampleLimit == 0 {
		t.SampleLimit = c.SampleLimit
	}
	if t.Compression == "" {
		t.Compression = CompressionAuto
	}
	return t
}

// flush is how long samples are gathered.
func (c Config) flush() time.Duration {
	if c.FlushInterval > 0 {
		return c.FlushInterval
	}
	shortest := 5 * time.Second
	for _, t := range c.Targets {
		shortest = min(shortest, t.withDefaults(c).Interval)
	}
	return max(shortest/5, 200*time.Millisecond)
}

// Validate says what cannot work, entry by entry.
func (c Config) Validate() error {
	var errs []error
	if c.Interval < time.Second || c.Timeout <= 0 {
		errs = append(errs, fmt.Errorf("scrape: interval %s must be 1s or more and timeout %s positive", c.Interval, c.Timeout))
	}
	if c.FlushInterval != 0 && (c.FlushInterval < time.Millisecond || c.FlushInterval > 10*time.Second) {
		errs = append(errs, fmt.Errorf("scrape: flush_interval %s must lie between 1ms and 10s, or be 0 to follow the targets", c.FlushInterval))
	}
	if c.BodySizeLimit <= 0 || c.SampleLimit <= 0 || c.LabelLimit <= 0 || c.MaxTargets <= 0 || c.MaxConcurrent <= 0 {
		errs = append(errs, fmt.Errorf("scrape: body_size_limit %d, sample_limit %d, label_limit %d, max_targets %d and max_concurrent %d must be positive; leave them out for the defaults",
			c.BodySizeLimit, c.SampleLimit, c.LabelLimit, c.MaxTargets, c.MaxConcurrent))
	}
	n := 0
	for i, t := range c.Targets {
		n += len(t.URLs) + len(t.Addresses)
		if err := t.withDefaults(c).validate(); err != nil {
			errs = append(errs, fmt.Errorf("scrape.targets[%d] (job %q): %w", i, t.Job, err))
		}
	}
	if n > c.MaxTargets {
		errs = append(errs, fmt.Errorf("scrape: %d targets are more than max_targets %d; raise it", n, c.MaxTargets))
	}
	return errors.Join(errs...)
}

func (t TargetConfig) validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if t.Job == "" {
		bad("job is empty; give the entry a name for the label job")
	}
	if len(t.URLs)+len(t.Addresses) == 0 {
		bad("neither urls nor addresses are given; name at least one target")
	}
	for _, u := range t.URLs {
		p, err := url.Parse(u)
		switch {
		case err != nil || p.Host == "" || (p.Scheme != "http" && p.Scheme != "https"):
			bad("cannot use url %q; give http://host:port/path", u)
		case p.User != nil:
			bad("url of %q carries a secret; use username and password_file", p.Host)
		}
	}
	for _, a := range t.Addresses {
		if p, err := url.Parse("http://" + a); err != nil || p.Host != a {
			bad("cannot use address %q; give host:port, or a full address under urls", a)
		}
	}
	if t.Interval < time.Second {
		bad("interval %s is too short; use 1s or more", t.Interval)
	}
	if t.Timeout <= 0 || t.Timeout > t.Interval {
		bad("timeout %s must be positive and no longer than the interval %s", t.Timeout, t.Interval)
	}
	if t.BodySizeLimit < 0 || t.SampleLimit < 0 {
		bad("body_size_limit %d and sample_limit %d must be positive", t.BodySizeLimit, t.SampleLimit)
	}
	if !slices.Contains([]string{CompressionAuto, CompressionOn, CompressionOff}, t.Compression) {
		bad("compression %q is unknown; use auto, on or off", t.Compression)
	}
	for name := range t.Labels {
		if !model.UTF8Validation.IsValidLabelName(name) || name == model.MetricNameLabel {
			bad("cannot use label name %q", name)
		}
	}
	for i, r := range slices.Concat(t.Relabel, t.MetricRelabel) {
		if r == nil {
			bad("relabel rule %d is empty", i)
			continue
		}
		if err := r.Validate(model.UTF8Validation); err != nil {
			bad("relabel rule %d: %w", i, err)
		}
	}
	if t.BearerTokenFile != "" && t.Username != "" {
		bad("bearer_token_file %q and username %q are both set; keep one", t.BearerTokenFile, t.Username)
	}
	if (t.TLS.CertFile == "") != (t.TLS.KeyFile == "") {
		bad("tls.cert_file %q and tls.key_file %q belong together; set both", t.TLS.CertFile, t.TLS.KeyFile)
	}
	return errors.Join(errs...)
}
