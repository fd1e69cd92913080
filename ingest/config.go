package ingest

import (
	"fmt"
	"time"

	"github.com/weirhq/weir/ingest/pairs"
	"github.com/weirhq/weir/ingest/promwrite"
)

// Config bounds what senders may do. Every figure is a bound with a counter at it.
type Config struct {
	// MaxBody is the largest body after decompression, in bytes.
	MaxBody int `yaml:"max_body"`
	// MaxRatio is the largest decompressed : compressed ratio of bodies above 1 MiB.
	MaxRatio int `yaml:"max_ratio"`
	// MaxInFlight bounds the bytes of all bodies being worked on, compressed and not; beyond it senders get 503.
	MaxInFlight int64 `yaml:"max_in_flight"`
	// ReadTimeout is how long a sender may take for one body.
	ReadTimeout time.Duration `yaml:"read_timeout"`

	MaxLabels     int `yaml:"max_labels"`      // of one series
	MaxLabelName  int `yaml:"max_label_name"`  // bytes
	MaxLabelValue int `yaml:"max_label_value"` // bytes
	MaxSeries     int `yaml:"max_series"`      // of one request
	MaxSamples    int `yaml:"max_samples"`     // of one request
	MaxSpans      int `yaml:"max_spans"`       // of one request
	MaxCells      int `yaml:"max_cells"`       // of one request

	// SamplesPerSecond, SpansPerSecond and CellsPerSecond are per tenant; 0 is without limit. Bursts of two seconds pass.
	SamplesPerSecond float64 `yaml:"samples_per_second"`
	SpansPerSecond   float64 `yaml:"spans_per_second"`
	CellsPerSecond   float64 `yaml:"cells_per_second"`

	// CellMaxAge and CellMaxAhead bound the event windows of audit cells around now.
	CellMaxAge   time.Duration `yaml:"cell_max_age"`
	CellMaxAhead time.Duration `yaml:"cell_max_ahead"`

	// MaxSpools bounds how many spools' sequence numbers are followed; the longest silent is forgotten.
	MaxSpools int `yaml:"max_spools"`
	// SequenceFlush is how often sequence numbers are written to the catalog.
	SequenceFlush time.Duration `yaml:"sequence_flush"`

	// Pairs joins producer and consumer spans.
	Pairs pairs.Config `yaml:"pairs"`
}

// DefaultConfig is right for a server with some gigabytes of memory.
func DefaultConfig() Config {
	return Config{
		MaxBody: 20 << 20, MaxRatio: 100, MaxInFlight: 256 << 20, ReadTimeout: 30 * time.Second,
		MaxLabels: 30, MaxLabelName: 200, MaxLabelValue: 2 << 10, MaxSeries: 200_000, MaxSamples: 1_000_000,
		MaxSpans: 50_000, MaxCells: 50_000,
		SamplesPerSecond: 2_000_000, SpansPerSecond: 200_000, CellsPerSecond: 200_000,
		CellMaxAge: 30 * 24 * time.Hour, CellMaxAhead: 24 * time.Hour,
		MaxSpools: 10_000, SequenceFlush: 30 * time.Second,
		Pairs: pairs.DefaultConfig(),
	}
}

// Validate names the first value that cannot work.
func (c Config) Validate() error {
	for _, f := range []struct {
		name     string
		v        int64
		min, max int64
	}{
		{"max_body", int64(c.MaxBody), 1 << 10, 1 << 30},
		{"max_ratio", int64(c.MaxRatio), 2, 100_000},
		{"max_in_flight", c.MaxInFlight, int64(c.MaxBody) * 2, 1 << 40},
		{"max_labels", int64(c.MaxLabels), 2, 1000},
		{"max_label_name", int64(c.MaxLabelName), 8, 64 << 10},
		{"max_label_value", int64(c.MaxLabelValue), 8, 1 << 20},
		{"max_series", int64(c.MaxSeries), 1, 10_000_000},
		{"max_samples", int64(c.MaxSamples), 1, 50_000_000},
		{"max_spans", int64(c.MaxSpans), 1, 10_000_000},
		{"max_cells", int64(c.MaxCells), 1, 10_000_000},
		{"max_spools", int64(c.MaxSpools), 1, 1_000_000},
	} {
		if f.v < f.min || f.v > f.max {
			return fmt.Errorf("ingest: %s %d is out of bounds: use %d to %d", f.name, f.v, f.min, f.max)
		}
	}
	for _, f := range []struct {
		name string
		v    time.Duration
	}{{"read_timeout", c.ReadTimeout}, {"cell_max_age", c.CellMaxAge}, {"cell_max_ahead", c.CellMaxAhead}, {"sequence_flush", c.SequenceFlush}} {
		if f.v < 100*time.Millisecond {
			return fmt.Errorf("ingest: %s %q is too short: use 100ms or more", f.name, f.v)
		}
	}
	for _, f := range []struct {
		name string
		v    float64
	}{{"samples_per_second", c.SamplesPerSecond}, {"spans_per_second", c.SpansPerSecond}, {"cells_per_second", c.CellsPerSecond}} {
		if f.v < 0 {
			return fmt.Errorf("ingest: %s %v is negative: use 0 for no limit", f.name, f.v)
		}
	}
	return c.Pairs.Validate()
}

func (c Config) writeLimits() promwrite.Limits {
	l := promwrite.DefaultLimits()
	l.Labels, l.Name, l.Value, l.Series, l.Samples = c.MaxLabels, c.MaxLabelName, c.MaxLabelValue, c.MaxSeries, c.MaxSamples
	return l
}
