package broker

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/gomodule/redigo/redis"
)

// RedisConfig tells how to ask one Redis or Valkey (7.0 or newer) about its streams: a server, a Redis Cluster, or masters behind Sentinel.
type RedisConfig struct {
	// Addrs of one server, or of some nodes of one Redis Cluster: host:6379. With Master, of the Sentinels.
	Addrs []string `yaml:"addrs"`
	// Master is the name under which Sentinel knows the master; empty: no Sentinel.
	Master string `yaml:"master"`
	// Cluster is the label cluster; it must be given and unique among the systems of one kind.
	Cluster string `yaml:"cluster"`
	// DB is the number of the database; a Redis Cluster has only 0.
	DB int `yaml:"db"`

	// User (empty: default) with PasswordFile or PasswordEnv, which name where the password is. The user needs
	// +xinfo +xpending +xrange +scan +ping +cluster|nodes +client|setname on the keys, and +select with DB.
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
	PasswordEnv  string `yaml:"password_env"`
	// SentinelUser (empty: default) with SentinelPasswordFile, which names where the password of the Sentinels is; they have users
	// of their own. Empty: they ask for none. The user needs +sentinel|get-master-addr-by-name +client|setname.
	SentinelUser         string `yaml:"sentinel_user"`
	SentinelPasswordFile string `yaml:"sentinel_password_file"`
	// TLS switches TLS on; CAFile, CertFile and KeyFile are PEM files for it and switch it on too.
	TLS      bool   `yaml:"tls"`
	CAFile   string `yaml:"ca_file"`
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`

	// Interval between two polls, at least 1s; 0: 10s.
	Interval time.Duration `yaml:"interval"`
	// Timeout bounds one whole poll; 0: 10s.
	Timeout time.Duration `yaml:"timeout"`
	// Owner is who polls when several collectors name this cluster: lease (empty), the one that the server picks, or always, each of them.
	Owner string `yaml:"owner"`
	// LeaseTTL is how long a collector that is not heard of any more stays the owner; 0: three intervals.
	LeaseTTL time.Duration `yaml:"lease_ttl"`
	// Scan is how often the keys are searched for new streams, which reads the whole key space a little at a time; 0: 1m.
	// With Streams nothing is searched.
	Scan time.Duration `yaml:"scan"`

	// Streams lists keys; empty: all streams are searched for.
	Streams []string `yaml:"streams"`
	// Include and Exclude are shell patterns on keys; an empty Include means all.
	Include []string `yaml:"include"`
	Exclude []string `yaml:"exclude"`
	// MaxStreams and MaxGroups bound one poll; what exceeds them is counted in weir_broker_skipped_total. 0: 1000 and 10000.
	MaxStreams int `yaml:"max_streams"`
	MaxGroups  int `yaml:"max_groups"`
}

// DefaultRedisConfig returns the defaults of one entry: a local server, all its streams.
func DefaultRedisConfig() RedisConfig {
	return RedisConfig{
		Addrs: []string{"127.0.0.1:6379"}, Cluster: "redis", Interval: 10 * time.Second, Timeout: 10 * time.Second, Owner: OwnerLease, Scan: time.Minute,
		MaxStreams: 1000, MaxGroups: 10_000,
	}
}

func (c RedisConfig) withDefaults() RedisConfig {
	d := DefaultRedisConfig()
	if c.Interval == 0 {
		c.Interval = d.Interval
	}
	if c.Owner == "" {
		c.Owner = d.Owner
	}
	if c.Timeout == 0 {
		c.Timeout = d.Timeout
	}
	if c.Scan == 0 {
		c.Scan = d.Scan
	}
	if c.MaxStreams == 0 {
		c.MaxStreams = d.MaxStreams
	}
	if c.MaxGroups == 0 {
		c.MaxGroups = d.MaxGroups
	}
	return c
}

// Validate says what is wrong with the entry. Zero values of bounds and times mean the default.
func (c RedisConfig) Validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if len(c.Addrs) == 0 {
		bad("addrs is empty; give [host:6379]")
	}
	for _, a := range c.Addrs {
		if _, _, err := net.SplitHostPort(a); err != nil {
			bad("address %q is none; give host:6379, and user, password and db by their own keys", redact(a))
		}
	}
	if c.Cluster == "" {
		bad("cluster is empty; give the cluster a name for the label cluster")
	}
	if c.DB < 0 || c.DB > 0 && len(c.Addrs) > 1 && c.Master == "" {
		bad("db %d cannot be: must be 0 or more, and 0 for a Redis Cluster", c.DB)
	}
	if c.Interval != 0 && c.Interval < time.Second {
		bad("interval %s is too short; use 1s or more", c.Interval)
	}
	if c.Timeout < 0 || c.Scan < 0 {
		bad("timeout %s and scan %s must not be negative; leave them out for the defaults", c.Timeout, c.Scan)
	}
	if c.MaxStreams < 0 || c.MaxGroups < 0 {
		bad("max_streams %d and max_groups %d must be positive; leave them out for the defaults", c.MaxStreams, c.MaxGroups)
	}
	errs = append(errs, validOwner(c.Owner, c.LeaseTTL), patterns("stream", c.Include, c.Exclude), tlsPair(c.CertFile, c.KeyFile))
	if c.PasswordFile != "" && c.PasswordEnv != "" {
		bad("password_file %q and password_env %q are both set; keep one", c.PasswordFile, c.PasswordEnv)
	}
	if c.Master == "" && (c.SentinelUser != "" || c.SentinelPasswordFile != "") {
		bad("sentinel_user and sentinel_password_file need master, the name under which Sentinel knows it; give it or leave them out")
	}
	if c.SentinelUser != "" && c.SentinelPasswordFile == "" {
		bad("sentinel_user %q has no password; give sentinel_password_file", c.SentinelUser)
	}
	return errors.Join(errs...)
}

// options are those of a connection to a server. The password is read at each one, so that a rotated file is seen.
func (c RedisConfig) options() ([]redis.DialOption, error) {
	password, err := secret("password", c.PasswordFile, c.PasswordEnv)
	if err != nil {
		return nil, err
	}
	return c.dialOptions(redis.DialDatabase(c.DB), redis.DialUsername(c.User), redis.DialPassword(password))
}

// sentinelOptions are those of a connection to a Sentinel, which has users of its own and no databases.
func (c RedisConfig) sentinelOptions() ([]redis.DialOption, error) {
	password, err := secret("sentinel_password", c.SentinelPasswordFile, "")
	if err != nil {
		return nil, err
	}
	return c.dialOptions(redis.DialUsername(c.SentinelUser), redis.DialPassword(password))
}

func (c RedisConfig) dialOptions(more ...redis.DialOption) ([]redis.DialOption, error) {
	t, err := tlsConfig(c.CAFile, c.CertFile, c.KeyFile)
	if err != nil {
		return nil, err
	}
	return append(more,
		redis.DialConnectTimeout(c.Timeout), redis.DialReadTimeout(c.Timeout), redis.DialWriteTimeout(c.Timeout), redis.DialClientName("weir-collector"),
		redis.DialUseTLS(c.TLS || t != nil), redis.DialTLSConfig(t),
	), nil
}
