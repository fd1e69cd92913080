package statsd

import (
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"time"
)

// Config of a Listener.
type Config struct {
	UDP                string        `yaml:"udp"`                   // address, 127.0.0.1:8125; empty: no UDP
	Readers            int           `yaml:"readers"`               // UDP sockets that share the address, one reader each
	ReceiveBuffer      int           `yaml:"receive_buffer"`        // bytes asked of the kernel for each socket
	Unix               string        `yaml:"unix"`                  // path of a Unix datagram socket; empty: none
	UnixStream         string        `yaml:"unix_stream"`           // path of a Unix stream socket; empty: none
	UnixMode           string        `yaml:"unix_mode"`             // permissions of the sockets, octal
	MaxStreams         int           `yaml:"max_streams"`           // connections to the stream socket
	Interval           time.Duration `yaml:"interval"`              // between samples; they are aligned to the wall clock
	Expiry             time.Duration `yaml:"expiry"`                // a series that got nothing for so long is no longer sent
	MaxSeries          int           `yaml:"max_series"`            // series in memory
	MaxSeriesPerOrigin int           `yaml:"max_series_per_origin"` // series of one service and container
	MaxSetMembers      int           `yaml:"max_set_members"`       // different members of one set in one interval
	MaxTimed           int           `yaml:"max_timed"`             // values with a timestamp of their own, per interval and reader
	GaugeDeltas        bool          `yaml:"gauge_deltas"`          // a gauge value with a sign is added to the gauge
}

// DefaultConfig listens on the loopback interface and sends every ten seconds.
func DefaultConfig() Config {
	return Config{
		UDP: "127.0.0.1:8125", Readers: 1, ReceiveBuffer: 4 << 20, UnixMode: "0666", MaxStreams: 256,
		Interval: 10 * time.Second, Expiry: 5 * time.Minute,
		MaxSeries: 200_000, MaxSeriesPerOrigin: 50_000, MaxSetMembers: 10_000, MaxTimed: 50_000, GaugeDeltas: true,
	}
}

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	if c.UDP != "" {
		if _, port, err := net.SplitHostPort(c.UDP); err != nil || port == "" {
			return fmt.Errorf("cannot use statsd.udp %q: write host:port, as in 127.0.0.1:8125, or leave it empty for no UDP", c.UDP)
		}
	}
	if _, err := c.mode(); err != nil {
		return err
	}
	if c.Interval < time.Second {
		return fmt.Errorf("cannot use statsd.interval %s: it must be at least 1s", c.Interval)
	}
	if c.Expiry < c.Interval {
		return fmt.Errorf("cannot use statsd.expiry %s: it must be at least statsd.interval (%s)", c.Expiry, c.Interval)
	}
	for _, b := range []struct {
		name     string
		v        int
		min, max int
	}{
		{"readers", c.Readers, 1, 64},
		{"receive_buffer", c.ReceiveBuffer, 64 << 10, 1 << 30},
		{"max_streams", c.MaxStreams, 1, 65536},
		{"max_series", c.MaxSeries, 1, 10_000_000},
		{"max_series_per_origin", c.MaxSeriesPerOrigin, 1, 10_000_000},
		{"max_set_members", c.MaxSetMembers, 1, 10_000_000},
		{"max_timed", c.MaxTimed, 1, 10_000_000},
	} {
		if b.v < b.min || b.v > b.max {
			return fmt.Errorf("cannot use statsd.%s %d: it must be between %d and %d", b.name, b.v, b.min, b.max)
		}
	}
	return nil
}

func (c Config) mode() (fs.FileMode, error) {
	m, err := strconv.ParseUint(c.UnixMode, 8, 32)
	if err != nil || m > 0o777 {
		return 0, fmt.Errorf("cannot use statsd.unix_mode %q: write octal permissions, as in 0666", c.UnixMode)
	}
	return fs.FileMode(m), nil
}
