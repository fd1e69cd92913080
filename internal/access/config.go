package access

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Config says who may enter.
type Config struct {
	// TokenFile is a YAML list of tokens; with it, every caller needs one. It is read again when it changes.
	TokenFile string `yaml:"token_file"`
	// Anonymous admits every caller on this machine to tenant "default" while there is no token file.
	Anonymous bool `yaml:"anonymous"`
	// Hosts are further names under which anonymous callers may reach the server; loopback names always count.
	Hosts []string `yaml:"hosts"`
	// Reload is how often the token file is looked at.
	Reload time.Duration `yaml:"reload"`
}

// DefaultConfig admits everybody on this machine.
func DefaultConfig() Config {
	return Config{Anonymous: true, Reload: 5 * time.Second}
}

// Validate checks the values, not the token file.
func (c Config) Validate() error {
	if c.TokenFile == "" && !c.Anonymous {
		return errors.New("access: nobody could enter: name a token_file (entries are made with `weir token`) or set anonymous: true")
	}
	if c.TokenFile != "" && c.Reload < 100*time.Millisecond {
		return fmt.Errorf("access: reload %q is too short: use 100ms or more, for example 5s", c.Reload)
	}
	for _, h := range c.Hosts {
		if h == "" || strings.ContainsAny(h, "/ :") {
			return fmt.Errorf("access: hosts entry %q must be a bare host name, without port or scheme", h)
		}
	}
	return nil
}

// HasAuth reports whether callers are asked for a token.
func (c Config) HasAuth() bool { return c.TokenFile != "" }

// CheckListen refuses an address that other machines can reach when callers are not asked for a token.
// Unix sockets ("unix:…" or a path) count as local.
func CheckListen(addr string, hasAuth bool) error {
	if hasAuth || strings.HasPrefix(addr, "unix:") || strings.HasPrefix(addr, "/") {
		return nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("cannot listen on %q: %w; write host:port, for example 127.0.0.1:9480", addr, err)
	}
	if loopbackName(host) {
		return nil
	}
	return fmt.Errorf("cannot listen on %q without authentication, because other machines could read and write everything: "+
		"make a token with `weir token` and name its file as auth.token_file, or listen on 127.0.0.1", addr)
}

// loopbackName does not ask DNS: a name that resolves to loopback today may not tomorrow.
func loopbackName(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && a.Unmap().IsLoopback()
}
