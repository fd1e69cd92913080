// Package metricdb keeps samples: one Prometheus TSDB per tenant.
//
// Batches come from store/local's Metrics (and so from ingest); samples go out to PromQL through queriers.
// An append is answered after the WAL segments that hold it are on disk. Nothing is written outside Config.Dir.
package metricdb

import (
	"fmt"
	"time"
)

// Config bounds the metric store. Durations and sizes of zero mean what the field says.
type Config struct {
	// Dir holds one folder per tenant.
	Dir string `yaml:"-"`
	// Retention is how long samples are kept; older ones are refused as too_old.
	Retention time.Duration `yaml:"retention"`
	// RetentionBytes bounds the blocks of one tenant; 0 means no bound.
	RetentionBytes int64 `yaml:"retention_bytes"`
	// OutOfOrderWindow is how far behind the newest sample of the tenant a sample may be.
	OutOfOrderWindow time.Duration `yaml:"out_of_order_window"`
	// FutureLimit is how far ahead of this machine's clock a sample may be.
	FutureLimit time.Duration `yaml:"future_limit"`
	// MaxSeries bounds the active series of one tenant.
	MaxSeries int `yaml:"max_series"`
	// MaxTenants bounds the tenants of this engine.
	MaxTenants int `yaml:"max_tenants"`
	// MaxExemplars bounds the exemplars of one tenant; 0 keeps none.
	MaxExemplars int `yaml:"max_exemplars"`
	// MaxLabels, MaxNameBytes and MaxValueBytes bound the labels of a series.
	MaxLabels     int `yaml:"max_labels"`
	MaxNameBytes  int `yaml:"max_label_name_bytes"`
	MaxValueBytes int `yaml:"max_label_value_bytes"`
	// MinFreeBytes of disk are left alone (at most a tenth of the disk): below, appends are refused for the time being.
	MinFreeBytes int64 `yaml:"min_free_bytes"`
	// BlockDuration is the time range of the smallest block.
	BlockDuration time.Duration `yaml:"block_duration"`

	walSegment int // bytes; 0 is the TSDB's own size. Tests want small ones.
}

// DefaultConfig keeps 15 days and two million series for each of at most 64 tenants.
func DefaultConfig() Config {
	return Config{
		Retention:        15 * 24 * time.Hour,
		OutOfOrderWindow: 3 * time.Hour,
		FutureLimit:      10 * time.Minute,
		MaxSeries:        2_000_000,
		MaxTenants:       64,
		MaxExemplars:     100_000,
		MaxLabels:        40,
		MaxNameBytes:     256,
		MaxValueBytes:    2048,
		MinFreeBytes:     128 << 20,
		BlockDuration:    2 * time.Hour,
	}
}

// Validate tells the first value that cannot work.
func (c Config) Validate() error {
	switch {
	case c.Dir == "":
		return fmt.Errorf("cannot open metric store: dir is %q; name a folder", c.Dir)
	case c.BlockDuration < time.Minute:
		return fmt.Errorf("cannot use block_duration %s: give at least 1m", c.BlockDuration)
	case c.Retention < c.BlockDuration:
		return fmt.Errorf("cannot use retention %s: give at least block_duration %s", c.Retention, c.BlockDuration)
	case c.RetentionBytes < 0:
		return fmt.Errorf("cannot use retention_bytes %d: give 0 for no bound, or a size", c.RetentionBytes)
	case c.OutOfOrderWindow <= 0 || c.OutOfOrderWindow > c.Retention:
		return fmt.Errorf("cannot use out_of_order_window %s: give more than 0 and at most retention %s", c.OutOfOrderWindow, c.Retention)
	case c.FutureLimit <= 0:
		return fmt.Errorf("cannot use future_limit %s: give more than 0, such as 10m", c.FutureLimit)
	case c.MaxSeries < 1 || c.MaxTenants < 1 || c.MaxLabels < 1 || c.MaxNameBytes < 1 || c.MaxValueBytes < 1:
		return fmt.Errorf("cannot use max_series %d, max_tenants %d, max_labels %d, max_label_name_bytes %d, max_label_value_bytes %d: each must be at least 1",
			c.MaxSeries, c.MaxTenants, c.MaxLabels, c.MaxNameBytes, c.MaxValueBytes)
	case c.MaxExemplars < 0 || c.MinFreeBytes < 0:
		return fmt.Errorf("cannot use max_exemplars %d and min_free_bytes %d: neither may be negative", c.MaxExemplars, c.MinFreeBytes)
	}
	return nil
}
