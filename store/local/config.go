package local

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/weirhq/weir/store/local/docdb"
	"github.com/weirhq/weir/store/local/metricdb"
	"github.com/weirhq/weir/store/local/spandb"
)

// Config is where the engine keeps its data and how much of it.
type Config struct {
	// Dir is the folder of all data; one process at a time may use it.
	Dir string `yaml:"dir"`
	// Retention is how long samples are kept, RetentionBytes how many bytes of them per tenant (0 = no bound).
	Retention      time.Duration `yaml:"retention"`
	RetentionBytes int64         `yaml:"retention_bytes"`
	// LedgerRetention is how long audit cells, barriers and verdicts are kept.
	LedgerRetention time.Duration `yaml:"ledger_retention"`
	// OutOfOrderWindow is how far behind the newest sample of its tenant a sample may be. Collectors that
	// deliver after an outage need it to be longer than the outage.
	OutOfOrderWindow time.Duration `yaml:"out_of_order_window"`
	// FutureLimit is how far ahead of this machine's clock a sample may be.
	FutureLimit time.Duration `yaml:"future_limit"`
	// MaxSeries bounds the active series of one tenant, MaxTenants the tenants.
	MaxSeries  int `yaml:"max_series"`
	MaxTenants int `yaml:"max_tenants"`
	// MaxExemplars bounds the exemplars of one tenant; 0 keeps none.
	MaxExemplars int `yaml:"max_exemplars"`
	// MinFreeBytes of disk (at most a tenth of it) are left alone: below, appends are refused until there is room.
	MinFreeBytes int64 `yaml:"min_free_bytes"`
	// Spans bounds the span store; its dir is always the folder spans in Dir.
	Spans spandb.Config `yaml:"spans"`
}

// DefaultConfig keeps metrics for 15 days and the ledger for 30 in ./weir-data.
func DefaultConfig() Config {
	m, d := metricdb.DefaultConfig(), docdb.DefaultConfig()
	return Config{
		Dir:              "weir-data",
		Retention:        m.Retention,
		RetentionBytes:   m.RetentionBytes,
		LedgerRetention:  d.Retention,
		OutOfOrderWindow: m.OutOfOrderWindow,
		FutureLimit:      m.FutureLimit,
		MaxSeries:        m.MaxSeries,
		MaxTenants:       m.MaxTenants,
		MaxExemplars:     m.MaxExemplars,
		MinFreeBytes:     m.MinFreeBytes,
		Spans:            spandb.DefaultConfig(),
	}
}

// Validate tells the first value that cannot work.
func (c Config) Validate() error {
	if c.Dir == "" {
		return fmt.Errorf("cannot use data folder %q: name a folder in dir", c.Dir)
	}
	if err := c.metrics().Validate(); err != nil {
		return err
	}
	if err := c.docs().Validate(); err != nil {
		return err
	}
	return c.spans().Validate()
}

func (c Config) spans() spandb.Config {
	s := c.Spans
	s.Dir = filepath.Join(c.Dir, "spans")
	return s
}

func (c Config) metrics() metricdb.Config {
	m := metricdb.DefaultConfig()
	m.Dir = filepath.Join(c.Dir, "metrics")
	m.Retention = c.Retention
	m.RetentionBytes = c.RetentionBytes
	m.OutOfOrderWindow = c.OutOfOrderWindow
	m.FutureLimit = c.FutureLimit
	m.MaxSeries = c.MaxSeries
	m.MaxTenants = c.MaxTenants
	m.MaxExemplars = c.MaxExemplars
	m.MinFreeBytes = c.MinFreeBytes
	return m
}

func (c Config) docs() docdb.Config {
	d := docdb.DefaultConfig()
	d.Dir = filepath.Join(c.Dir, "ledger")
	d.Retention = c.LedgerRetention
	return d
}
