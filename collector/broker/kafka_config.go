package broker

import (
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Ways to prove to Kafka who asks.
const (
	SASLNone      = ""
	SASLPlain     = "plain"
	SASLScram256  = "scram-sha-256"
	SASLScram512  = "scram-sha-512"
	SASLOAuth     = "oauthbearer"
	SASLAWSMSKIAM = "aws-msk-iam"
)

// KafkaConfig tells how to ask one Kafka cluster, or anything that speaks its protocol.
type KafkaConfig struct {
	// Brokers are host:port of some brokers; the others are found.
	Brokers []string `yaml:"brokers"`
	// Cluster is the label cluster; it must be given and unique among the systems of one kind.
	Cluster string `yaml:"cluster"`

	// SASL is empty, plain, scram-sha-256, scram-sha-512, oauthbearer or aws-msk-iam.
	SASL string `yaml:"sasl"`
	// User with PasswordFile or PasswordEnv, which name where the password is: plain and scram.
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
	PasswordEnv  string `yaml:"password_env"`
	// TokenFile and TokenEnv name where the token is: oauthbearer.
	TokenFile string `yaml:"token_file"`
	TokenEnv  string `yaml:"token_env"`
	// AWSCredentialsFile and AWSProfile are for aws-msk-iam; without them the variables AWS_ACCESS_KEY_ID,
	// AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN are read.
	AWSCredentialsFile string `yaml:"aws_credentials_file"`
	AWSProfile         string `yaml:"aws_profile"`
	// TLS encrypts; it is on, too, when one of the files is given. CAFile, CertFile and KeyFile are PEM.
	TLS        bool   `yaml:"tls"`
	CAFile     string `yaml:"ca_file"`
	CertFile   string `yaml:"cert_file"`
	KeyFile    string `yaml:"key_file"`
	ServerName string `yaml:"server_name"` // in the brokers' certificates, when it is not the host

	// Interval between two polls, at least 1s; 0: 10s.
	Interval time.Duration `yaml:"interval"`
	// Timeout bounds one whole poll; 0: 10s.
	Timeout time.Duration `yaml:"timeout"`
	// Owner is who polls when several collectors name this cluster: lease (empty), the one that the server picks, or always, each of them.
	Owner string `yaml:"owner"`
	// LeaseTTL is how long a collector that is not heard of any more stays the owner; 0: three intervals.
	LeaseTTL time.Duration `yaml:"lease_ttl"`

	// Topics and ExcludeTopics, Groups and ExcludeGroups are shell patterns; an empty list of the former means all.
	// Kafka's internal topics are left out unless Internal is true.
	Topics        []string `yaml:"topics"`
	ExcludeTopics []string `yaml:"exclude_topics"`
	Groups        []string `yaml:"groups"`
	ExcludeGroups []string `yaml:"exclude_groups"`
	Internal      bool     `yaml:"internal"`
	// MaxPartitions, MaxGroups and MaxCommits (offsets of a group on a partition) bound one poll; what exceeds them is
	// counted in weir_broker_skipped_total. 0: 20000, 10000 and 400000.
	MaxPartitions int `yaml:"max_partitions"`
	MaxGroups     int `yaml:"max_groups"`
	MaxCommits    int `yaml:"max_commits"`
	// RecordReads is how many records one poll reads at most to learn how old the first unread one is; each costs the broker one
	// batch. 0: 200; -1: none, the age is then worked out from the offsets of earlier polls.
	RecordReads int `yaml:"record_reads"`
}

// DefaultKafkaConfig returns the defaults of one entry: a local broker, every topic that is not internal, every group.
func DefaultKafkaConfig() KafkaConfig {
	return KafkaConfig{
		Brokers: []string{"127.0.0.1:9092"}, Cluster: "kafka", Interval: 10 * time.Second, Timeout: 10 * time.Second, Owner: OwnerLease,
		MaxPartitions: 20_000, MaxGroups: 10_000, MaxCommits: 400_000, RecordReads: 200,
	}
}

// withDefaults fills what an entry of the list left out.
func (c KafkaConfig) withDefaults() KafkaConfig {
	d := DefaultKafkaConfig()
	for _, f := range []struct{ v, or *time.Duration }{{&c.Interval, &d.Interval}, {&c.Timeout, &d.Timeout}} {
		if *f.v == 0 {
			*f.v = *f.or
		}
	}
	for _, f := range []struct{ v, or *int }{
		{&c.MaxPartitions, &d.MaxPartitions},
		{&c.MaxGroups, &d.MaxGroups},
		{&c.MaxCommits, &d.MaxCommits},
		{&c.RecordReads, &d.RecordReads},
	} {
		if *f.v == 0 {
			*f.v = *f.or
		}
	}
	if c.Owner == "" {
		c.Owner = d.Owner
	}
	c.RecordReads = max(c.RecordReads, 0)
	return c
}

// Validate says what is wrong with the entry. Zero values of bounds and times mean the default.
func (c KafkaConfig) Validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if len(c.Brokers) == 0 {
		bad("brokers is empty; give host:9092 of one or more")
	}
	for _, b := range c.Brokers {
		host, port, err := net.SplitHostPort(b)
		n, perr := strconv.ParseUint(port, 10, 16)
		switch {
		case strings.Contains(b, "@"):
			bad("broker %q carries a secret; use user with password_file", redact(b))
		case err != nil || perr != nil || host == "" || n == 0:
			bad("cannot read broker %q; give host:9092", b)
		}
	}
	if c.Cluster == "" {
		bad("cluster is empty; give the cluster a name for the label cluster")
	}
	if c.Interval != 0 && c.Interval < time.Second {
		bad("interval %s is too short; use 1s or more", c.Interval)
	}
	if c.Timeout != 0 && c.Timeout < 100*time.Millisecond {
		bad("timeout %s is too short; use a time such as 10s", c.Timeout)
	}
	if err := validOwner(c.Owner, c.LeaseTTL); err != nil {
		errs = append(errs, err)
	}
	if c.MaxPartitions < 0 || c.MaxGroups < 0 || c.MaxCommits < 0 {
		bad("max_partitions %d, max_groups %d and max_commits %d must be positive; leave them out for the defaults", c.MaxPartitions, c.MaxGroups, c.MaxCommits)
	}
	if c.RecordReads < -1 || c.RecordReads > 100_000 {
		bad("record_reads %d is out of bounds; use -1 for none, or 1 to 100000", c.RecordReads)
	}
	for _, p := range slices.Concat(c.Topics, c.ExcludeTopics, c.Groups, c.ExcludeGroups) {
		if _, err := path.Match(p, ""); err != nil {
			bad("cannot read pattern %q; use * ? and [a-z]", p)
		}
	}
	return errors.Join(append(errs, c.validAuth())...)
}

func (c KafkaConfig) validAuth() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	password, token := c.PasswordFile != "" || c.PasswordEnv != "", c.TokenFile != "" || c.TokenEnv != ""
	switch c.SASL {
	case SASLNone:
		if c.User != "" || password || token {
			bad("user, password or token is given, but sasl is empty; set it to %s, %s, %s or %s", SASLPlain, SASLScram256, SASLScram512, SASLOAuth)
		}
	case SASLPlain, SASLScram256, SASLScram512:
		if c.User == "" || !password {
			bad("sasl %q needs user and password_file or password_env", c.SASL)
		}
	case SASLOAuth:
		if !token {
			bad("sasl %q needs token_file or token_env", c.SASL)
		}
	case SASLAWSMSKIAM:
		if !c.encrypted() {
			bad("sasl %q needs tls: true", c.SASL)
		}
	default:
		bad("sasl %q is unknown; use %s, %s, %s, %s or %s", c.SASL, SASLPlain, SASLScram256, SASLScram512, SASLOAuth, SASLAWSMSKIAM)
	}
	if c.PasswordFile != "" && c.PasswordEnv != "" {
		bad("password_file %q and password_env %q are both set; keep one", c.PasswordFile, c.PasswordEnv)
	}
	if c.TokenFile != "" && c.TokenEnv != "" {
		bad("token_file %q and token_env %q are both set; keep one", c.TokenFile, c.TokenEnv)
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		bad("cert_file %q and key_file %q belong together; set both", c.CertFile, c.KeyFile)
	}
	if c.ServerName != "" && !c.encrypted() {
		bad("server_name %q is given without tls; set tls: true", c.ServerName)
	}
	return errors.Join(errs...)
}

func (c KafkaConfig) encrypted() bool { return c.TLS || c.CAFile != "" || c.CertFile != "" }

func (c KafkaConfig) wantsTopic(name string, internal bool) bool {
	return (c.Internal || !internal && !strings.HasPrefix(name, "__")) && matches(name, c.Topics, c.ExcludeTopics)
}

func (c KafkaConfig) wantsGroup(name string) bool { return matches(name, c.Groups, c.ExcludeGroups) }

// matches tells whether a name fits one of the patterns, or there are none, and no excluding one.
func matches(name string, include, exclude []string) bool {
	fits := func(p string) bool { ok, _ := path.Match(p, name); return ok }
	return !slices.ContainsFunc(exclude, fits) && (len(include) == 0 || slices.ContainsFunc(include, fits))
}
