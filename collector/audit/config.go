package audit

import (
	"fmt"
	"time"
)

// Config of a Counter.
type Config struct {
	Width     time.Duration `yaml:"width"`     // length of an event window
	Flush     time.Duration `yaml:"flush"`     // time between snapshots; what a crash can lose
	MaxCells  int           `yaml:"max_cells"` // cells in memory
	Retention time.Duration `yaml:"retention"` // older event windows are refused
	Idle      time.Duration `yaml:"idle"`      // a delivered cell leaves memory so long after its window and its last change
	// MaxSampleBytes bounds the memory of sampled ids and latencies, bytes; beyond it samples become coarser, counts never.
	MaxSampleBytes int `yaml:"max_sample_bytes"`
}

// DefaultConfig returns windows of a minute, sent every ten seconds.
func DefaultConfig() Config {
	return Config{Width: time.Minute, Flush: 10 * time.Second, MaxCells: 200_000, Retention: 7 * 24 * time.Hour, Idle: 15 * time.Minute, MaxSampleBytes: 64 << 20}
}

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	if c.Width < time.Second || c.Width%time.Second != 0 || c.Width > 24*time.Hour {
		return fmt.Errorf("cannot use audit.width %s: it must be whole seconds between 1s and 24h", c.Width)
	}
	if c.Flush < 100*time.Millisecond || c.Flush > 10*time.Minute {
		return fmt.Errorf("cannot use audit.flush %s: it must be between 100ms and 10m", c.Flush)
	}
	if c.MaxCells < 1 || c.MaxCells > 10_000_000 {
		return fmt.Errorf("cannot use audit.max_cells %d: it must be between 1 and 10000000", c.MaxCells)
	}
	if c.MaxSampleBytes < 0 {
		return fmt.Errorf("cannot use audit.max_sample_bytes %d: it must be 0 (no samples) or more", c.MaxSampleBytes)
	}
	if c.Retention < c.Width {
		return fmt.Errorf("cannot use audit.retention %s: it must be at least one window (audit.width %s)", c.Retention, c.Width)
	}
	if c.Idle < c.Flush {
		return fmt.Errorf("cannot use audit.idle %s: it must be at least audit.flush %s", c.Idle, c.Flush)
	}
	return nil
}
