package broker

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// What an ephemeral consumer (no durable name) becomes.
const (
	EphemeralSkip = "skip" // left out: its name changes with every start
	EphemeralMark = "mark" // a group with the label ephemeral="true"
)

// NATSConfig tells how to ask one NATS JetStream cluster (one account of it).
type NATSConfig struct {
	// URL lists servers, comma separated: nats://a:4222,nats://b:4222.
	URL string `yaml:"url"`
	// Cluster is the label cluster; it must be given and unique among the systems of one kind.
	Cluster string `yaml:"cluster"`
	// Domain of JetStream, when the account reaches it through a leaf node.
	Domain string `yaml:"domain"`

	// CredsFile is a NATS credentials file (JWT and seed).
	CredsFile string `yaml:"creds_file"`
	// TokenFile and TokenEnv name where the token is; it never stands in the configuration.
	TokenFile string `yaml:"token_file"`
	TokenEnv  string `yaml:"token_env"`
	// User with PasswordFile or PasswordEnv, which name where the password is.
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
	PasswordEnv  string `yaml:"password_env"`
	// CAFile, CertFile and KeyFile are PEM files for TLS.
	CAFile   string `yaml:"ca_file"`
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`

	// Interval between two polls, at least 1s; 0: 5s.
	Interval time.Duration `yaml:"interval"`
	// Timeout bounds one whole poll; 0: 10s.
	Timeout time.Duration `yaml:"timeout"`
	// Owner is who polls when several collectors name this cluster: lease (empty), the one that the server picks, or always, each of them.
	Owner string `yaml:"owner"`
	// LeaseTTL is how long a collector that is not heard of any more stays the owner; 0: three intervals.
	LeaseTTL time.Duration `yaml:"lease_ttl"`

	// Include and Exclude are shell patterns on stream names; an empty Include means all, no Exclude
	// means KV_*, OBJ_* and $MQTT_*.
	Include []string `yaml:"include"`
	Exclude []string `yaml:"exclude"`
	// MaxStreams and MaxGroups bound one poll; what exceeds them is counted in weir_broker_skipped_total.
	// 0: 1000 and 10000.
	MaxStreams int `yaml:"max_streams"`
	MaxGroups  int `yaml:"max_groups"`
	// Ephemeral is what becomes of consumers without a durable name: skip (empty), or mark, a group labelled ephemeral="true".
	Ephemeral string `yaml:"ephemeral"`
}

// DefaultNATSConfig returns the defaults of one entry: a local server, every stream that is not the inside of something else.
func DefaultNATSConfig() NATSConfig {
	return NATSConfig{
		URL: nats.DefaultURL, Cluster: "nats", Interval: 5 * time.Second, Timeout: 10 * time.Second,
		Exclude: []string{"KV_*", "OBJ_*", "$MQTT_*"}, MaxStreams: 1000, MaxGroups: 10000, Ephemeral: EphemeralSkip, Owner: OwnerLease,
	}
}

// withDefaults fills what an entry of the list left out.
func (c NATSConfig) withDefaults() NATSConfig {
	d := DefaultNATSConfig()
	if c.Interval == 0 {
		c.Interval = d.Interval
	}
	if c.Timeout == 0 {
		c.Timeout = d.Timeout
	}
	if c.Exclude == nil {
		c.Exclude = d.Exclude
	}
	if c.MaxStreams == 0 {
		c.MaxStreams = d.MaxStreams
	}
	if c.MaxGroups == 0 {
		c.MaxGroups = d.MaxGroups
	}
	if c.Ephemeral == "" {
		c.Ephemeral = d.Ephemeral
	}
	if c.Owner == "" {
		c.Owner = d.Owner
	}
	return c
}

// Validate says what is wrong with the entry. Zero values of bounds and times mean the default.
func (c NATSConfig) Validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if c.URL == "" {
		bad("url is empty; give nats://host:4222")
	}
	for u := range strings.SplitSeq(c.URL, ",") {
		p, err := url.Parse(strings.TrimSpace(u))
		switch {
		case err != nil:
			bad("cannot read url %q; give nats://host:4222", redact(u))
		case p.User != nil:
			bad("url %q carries a secret; use user, password_file, token_file or creds_file", redact(u))
		}
	}
	if c.Cluster == "" {
		bad("cluster is empty; give the cluster a name for the label cluster")
	}
	if c.Interval != 0 && c.Interval < time.Second {
		bad("interval %s is too short; use 1s or more", c.Interval)
	}
	if c.Timeout < 0 {
		bad("timeout %s is negative; use a time such as 10s", c.Timeout)
	}
	if err := validOwner(c.Owner, c.LeaseTTL); err != nil {
		errs = append(errs, err)
	}
	if c.MaxStreams < 0 || c.MaxGroups < 0 {
		bad("max_streams %d and max_groups %d must be positive; leave them out for the defaults", c.MaxStreams, c.MaxGroups)
	}
	if c.Ephemeral != "" && c.Ephemeral != EphemeralSkip && c.Ephemeral != EphemeralMark {
		bad("ephemeral %q is unknown; use %q or %q", c.Ephemeral, EphemeralSkip, EphemeralMark)
	}
	for _, p := range append(append([]string{}, c.Include...), c.Exclude...) {
		if _, err := path.Match(p, ""); err != nil {
			bad("cannot read stream pattern %q; use * ? and [a-z]", p)
		}
	}
	if c.TokenFile != "" && c.TokenEnv != "" {
		bad("token_file %q and token_env %q are both set; keep one", c.TokenFile, c.TokenEnv)
	}
	if c.PasswordFile != "" && c.PasswordEnv != "" {
		bad("password_file %q and password_env %q are both set; keep one", c.PasswordFile, c.PasswordEnv)
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		bad("cert_file %q and key_file %q belong together; set both", c.CertFile, c.KeyFile)
	}
	return errors.Join(errs...)
}

// wants tells whether a stream is to be asked about.
func (c NATSConfig) wants(stream string) bool {
	for _, p := range c.Exclude {
		if ok, _ := path.Match(p, stream); ok {
			return false
		}
	}
	for _, p := range c.Include {
		if ok, _ := path.Match(p, stream); ok {
			return true
		}
	}
	return len(c.Include) == 0
}

// options are the connection's options. Tokens and passwords are read again at each reconnect, so that a
// rotated file is seen; complain hears of one that has become unreadable.
func (c NATSConfig) options(complain func(error)) ([]nats.Option, error) {
	var o []nats.Option
	if c.CredsFile != "" {
		if _, err := os.Stat(c.CredsFile); err != nil {
			return nil, fmt.Errorf("cannot read creds_file %q: %w", c.CredsFile, err)
		}
		o = append(o, nats.UserCredentials(c.CredsFile))
	}
	read := func(what, file, env string) string {
		v, err := secret(what, file, env)
		if err != nil {
			complain(err)
		}
		return v
	}
	if c.TokenFile != "" || c.TokenEnv != "" {
		if _, err := secret("token", c.TokenFile, c.TokenEnv); err != nil {
			return nil, err
		}
		o = append(o, nats.TokenHandler(func() string { return read("token", c.TokenFile, c.TokenEnv) }))
	}
	if c.User != "" {
		if _, err := secret("password", c.PasswordFile, c.PasswordEnv); err != nil {
			return nil, err
		}
		o = append(o, nats.UserInfoHandler(func() (string, string) {
			return c.User, read("password", c.PasswordFile, c.PasswordEnv)
		}))
	}
	if c.CAFile != "" {
		o = append(o, nats.RootCAs(c.CAFile))
	}
	if c.CertFile != "" {
		o = append(o, nats.ClientCert(c.CertFile, c.KeyFile))
	}
	return o, nil
}

func secret(what, file, env string) (string, error) {
	switch {
	case file != "":
		b, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("cannot read %s_file %q: %w", what, file, err)
		}
		return strings.TrimSpace(string(b)), nil
	case env != "":
		v, ok := os.LookupEnv(env)
		if !ok {
			return "", fmt.Errorf("%s_env names %q, which is not set; set it or use %s_file", what, env, what)
		}
		return v, nil
	default:
		return "", nil
	}
}

// redact takes what may be a password out of an address before it is shown.
func redact(u string) string {
	if i := strings.LastIndexByte(u, '@'); i >= 0 {
		if j := strings.Index(u, "://"); j >= 0 && j < i {
			return u[:j+3] + "…" + u[i:]
		}
		return "…" + u[i:]
	}
	return u
}
