package pairs

import (
	"fmt"
	"time"
)

// Config bounds what is remembered of messaging spans.
type Config struct {
	// Enabled joins producer and consumer spans; else spans are only stored.
	Enabled bool `yaml:"enabled"`
	// Window is the width of the event windows.
	Window time.Duration `yaml:"window"`
	// Age is how long a producer span waits for its consumer spans.
	Age time.Duration `yaml:"age"`
	// Arrival is how long a consumer span waits for its producer span, which may be sent later but was made before.
	Arrival time.Duration `yaml:"arrival"`
	// Overtake is by how much later messages must have been taken in before an earlier one counts as missing.
	Overtake time.Duration `yaml:"overtake"`
	// Flush is the time between two snapshots to the ledger.
	Flush time.Duration `yaml:"flush"`
	// MaxPending bounds the spans of one tenant that are remembered. Beyond it only every second, fourth … is joined.
	MaxPending int `yaml:"max_pending"`
	// MaxEdges bounds edges, their sides and stages of one tenant; what is beyond is counted and not joined.
	MaxEdges int `yaml:"max_edges"`
}

// DefaultConfig joins spans for ten minutes and takes some 50 MB per tenant at most.
func DefaultConfig() Config {
	return Config{
		Enabled: true, Window: time.Minute, Age: 10 * time.Minute, Arrival: time.Minute, Overtake: time.Minute, Flush: 5 * time.Second,
		MaxPending: 100_000, MaxEdges: 5000,
	}
}

// Validate names the first value that cannot work.
func (c Config) Validate() error {
	for _, d := range []struct {
		name     string
		v        time.Duration
		min, max time.Duration
	}{
		{"window", c.Window, time.Second, time.Hour},
		{"age", c.Age, 10 * time.Second, time.Hour},
		{"arrival", c.Arrival, time.Second, time.Hour},
		{"overtake", c.Overtake, time.Second, time.Hour},
		{"flush", c.Flush, 100 * time.Millisecond, time.Minute},
	} {
		if d.v < d.min || d.v > d.max {
			return fmt.Errorf("ingest: pairs.%s is %s: use %s to %s", d.name, d.v, d.min, d.max)
		}
	}
	if c.Window%time.Second != 0 || c.Arrival > c.Age {
		return fmt.Errorf("ingest: pairs.window is %s and pairs.arrival %s: a window takes whole seconds, arrival is not longer than age (%s)", c.Window, c.Arrival, c.Age)
	}
	if c.MaxPending < 1000 || c.MaxPending > 50_000_000 || c.MaxEdges < 10 || c.MaxEdges > 1_000_000 {
		return fmt.Errorf("ingest: pairs.max_pending is %d and pairs.max_edges %d: use 1000 to 50000000 and 10 to 1000000", c.MaxPending, c.MaxEdges)
	}
	return nil
}
