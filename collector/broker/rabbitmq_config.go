package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"time"
)

// RabbitMQConfig tells how to ask one RabbitMQ cluster. Its management plugin tells queues, its Prometheus plugin
// what the cluster as a whole gave up.
type RabbitMQConfig struct {
	// URL of the management API: http://host:15672.
	URL string `yaml:"url"`
	// MetricsURL of the Prometheus plugin: http://host:15692/metrics. Empty: dead-lettered and unroutable messages are not told.
	// Of a cluster, list every node: each tells its own.
	MetricsURL []string `yaml:"metrics_url"`
	// Cluster is the label cluster; it must be given and unique among the systems of one kind.
	Cluster string `yaml:"cluster"`

	// User (tag monitoring) with PasswordFile or PasswordEnv, which name where the password is.
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
	PasswordEnv  string `yaml:"password_env"`
	// CAFile, CertFile and KeyFile are PEM files for TLS.
	CAFile   string `yaml:"ca_file"`
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`

	// Interval between two polls, at least 5s, because the management plugin's own figures are not newer; 0: 10s.
	Interval time.Duration `yaml:"interval"`
	// Timeout bounds one whole poll; 0: 10s.
	Timeout time.Duration `yaml:"timeout"`
	// Owner is who polls when several collectors name this cluster: lease (empty), the one that the server picks, or always, each of them.
	Owner string `yaml:"owner"`
	// LeaseTTL is how long a collector that is not heard of any more stays the owner; 0: three intervals.
	LeaseTTL time.Duration `yaml:"lease_ttl"`

	// Include and Exclude are shell patterns on queue names (vhost/name outside of the vhost "/"); an empty Include means all,
	// no Exclude means amq.gen-*, the queues that clients name by chance.
	Include []string `yaml:"include"`
	Exclude []string `yaml:"exclude"`
	// MaxQueues bounds one poll; what exceeds it is counted in weir_broker_skipped_total. 0: 10000.
	MaxQueues int `yaml:"max_queues"`
}

// DefaultRabbitMQConfig returns the defaults of one entry: a local server.
func DefaultRabbitMQConfig() RabbitMQConfig {
	return RabbitMQConfig{
		URL: "http://127.0.0.1:15672", Cluster: "rabbitmq", Interval: 10 * time.Second, Timeout: 10 * time.Second, Owner: OwnerLease,
		Exclude: []string{"amq.gen-*"}, MaxQueues: 10_000,
	}
}

func (c RabbitMQConfig) withDefaults() RabbitMQConfig {
	d := DefaultRabbitMQConfig()
	if c.Interval == 0 {
		c.Interval = d.Interval
	}
	if c.Owner == "" {
		c.Owner = d.Owner
	}
	if c.Timeout == 0 {
		c.Timeout = d.Timeout
	}
	if c.Exclude == nil {
		c.Exclude = d.Exclude
	}
	if c.MaxQueues == 0 {
		c.MaxQueues = d.MaxQueues
	}
	return c
}

// Validate says what is wrong with the entry. Zero values of bounds and times mean the default.
func (c RabbitMQConfig) Validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	for _, u := range append([]string{c.URL}, c.MetricsURL...) {
		p, err := url.Parse(u)
		switch {
		case err != nil || p.Host == "" || p.Scheme != "http" && p.Scheme != "https":
			bad("cannot read url %q; give the management API as http://host:15672", redact(u))
		case p.User != nil:
			bad("url %q carries a secret; use user with password_file or password_env", redact(u))
		}
	}
	if c.Cluster == "" {
		bad("cluster is empty; give the cluster a name for the label cluster")
	}
	if c.Interval != 0 && c.Interval < 5*time.Second {
		bad("interval %s is too short; use 5s or more: the management plugin's own figures are not newer", c.Interval)
	}
	if c.Timeout < 0 {
		bad("timeout %s is negative; use a time such as 10s", c.Timeout)
	}
	if c.MaxQueues < 0 {
		bad("max_queues %d must be positive; leave it out for the default", c.MaxQueues)
	}
	errs = append(errs, validOwner(c.Owner, c.LeaseTTL), patterns("queue", c.Include, c.Exclude), tlsPair(c.CertFile, c.KeyFile))
	if c.PasswordFile != "" && c.PasswordEnv != "" {
		bad("password_file %q and password_env %q are both set; keep one", c.PasswordFile, c.PasswordEnv)
	}
	return errors.Join(errs...)
}

// patterns complains of shell patterns that cannot be read.
func patterns(what string, lists ...[]string) error {
	var errs []error
	for _, l := range lists {
		for _, p := range l {
			if _, err := path.Match(p, ""); err != nil {
				errs = append(errs, fmt.Errorf("cannot read %s pattern %q; use * ? and [a-z]", what, p))
			}
		}
	}
	return errors.Join(errs...)
}

// wanted tells whether a name passes the patterns. "/" is a letter like others: names of queues and keys hold it.
func wanted(name string, include, exclude []string) bool {
	hit := func(ps []string) bool {
		for _, p := range ps {
			if ok, _ := path.Match(slashless(p), slashless(name)); ok {
				return true
			}
		}
		return false
	}
	return !hit(exclude) && (len(include) == 0 || hit(include))
}

// slashless makes path.Match treat "/" as any other letter.
func slashless(s string) string {
	b := []byte(s)
	for i := range b {
		if b[i] == '/' {
			b[i] = 0
		}
	}
	return string(b)
}

func tlsPair(cert, key string) error {
	if (cert == "") != (key == "") {
		return fmt.Errorf("cert_file %q and key_file %q belong together; set both", cert, key)
	}
	return nil
}

func newTLS() *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS12} }

// tlsConfig reads PEM files; nil when none is named.
func tlsConfig(ca, cert, key string) (*tls.Config, error) {
	if ca == "" && cert == "" {
		return nil, nil //nolint:nilnil // no file named is no TLS of its own
	}
	t := newTLS()
	if ca != "" {
		pem, err := os.ReadFile(filepath.Clean(ca))
		if err != nil {
			return nil, fmt.Errorf("cannot read ca_file: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cannot use ca_file %q: it holds no PEM certificate", ca)
		}
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("cannot use cert_file %q with key_file %q: %w", cert, key, err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

// client makes the HTTP client of one cluster. Credentials are never sent to where a redirect points.
func (c RabbitMQConfig) client() (*http.Client, error) {
	t, err := tlsConfig(c.CAFile, c.CertFile, c.KeyFile)
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Transport:     &http.Transport{TLSClientConfig: t, MaxIdleConnsPerHost: 2, IdleConnTimeout: 2 * time.Minute, Proxy: http.ProxyFromEnvironment},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}
