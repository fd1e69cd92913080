package spandb

import (
	"fmt"
	"time"
)

// Config says where spans lie and what bounds them.
type Config struct {
	// Dir is the folder of this database; it is made when missing. In weir it is always the folder spans in store.dir.
	Dir string `yaml:"dir"`
	// Retention is how long spans are kept after their end; 0 keeps them for ever.
	Retention time.Duration `yaml:"retention"`
	// MaxBytes bounds all blocks together; the oldest block goes first. 0 = no bound.
	MaxBytes int64 `yaml:"max_bytes"`
	// BlockAge is the age at which the head becomes a block.
	BlockAge time.Duration `yaml:"block_age"`
	// HeadBytes is the size at which the head of a tenant becomes a block. Twice this size is the
	// bound: beyond it appends are refused until a block is written.
	HeadBytes int64 `yaml:"head_bytes"`
	// MaxSpansPerTrace bounds one trace in the head; further spans are counted and left out.
	MaxSpansPerTrace int `yaml:"max_spans_per_trace"`
	// MaxAttributeBytes bounds every string of a span; longer ones are cut.
	MaxAttributeBytes int `yaml:"max_attribute_bytes"`
	// MaxAttributes bounds the attributes of a span, event, link or resource.
	MaxAttributes int `yaml:"max_attributes"`
	// MaxEvents and MaxLinks bound those of a span.
	MaxEvents int `yaml:"max_events"`
	MaxLinks  int `yaml:"max_links"`
	// MaxTenants bounds the number of tenants.
	MaxTenants int `yaml:"max_tenants"`
	// RowGroupSpans is the size of a row group of a block.
	RowGroupSpans int `yaml:"row_group_spans"`
}

// DefaultConfig keeps a week of spans.
func DefaultConfig() Config {
	return Config{
		Dir:               "data/spans",
		Retention:         7 * 24 * time.Hour,
		BlockAge:          time.Hour,
		HeadBytes:         256 << 20,
		MaxSpansPerTrace:  200_000,
		MaxAttributeBytes: 4096,
		MaxAttributes:     128,
		MaxEvents:         256,
		MaxLinks:          1024,
		MaxTenants:        1000,
		RowGroupSpans:     32 << 10,
	}
}

// Validate reports the first setting that cannot work.
func (c Config) Validate() error {
	if c.Dir == "" {
		return fmt.Errorf("cannot use spans.dir %q: name a folder", c.Dir)
	}
	if c.Retention < 0 {
		return fmt.Errorf("cannot use spans.retention %s: use 0 (for ever) or a positive duration such as 168h", c.Retention)
	}
	if c.MaxBytes < 0 {
		return fmt.Errorf("cannot use spans.max_bytes %d: use 0 (no bound) or a positive number", c.MaxBytes)
	}
	if c.BlockAge < time.Second {
		return fmt.Errorf("cannot use spans.block_age %s: use at least 1s, 1h is usual", c.BlockAge)
	}
	if c.HeadBytes < 1<<16 {
		return fmt.Errorf("cannot use spans.head_bytes %d: use at least 65536", c.HeadBytes)
	}
	for _, p := range []struct {
		name string
		v    int
	}{
		{"max_spans_per_trace", c.MaxSpansPerTrace},
		{"max_attribute_bytes", c.MaxAttributeBytes},
		{"max_attributes", c.MaxAttributes},
		{"max_events", c.MaxEvents},
		{"max_links", c.MaxLinks},
		{"max_tenants", c.MaxTenants},
		{"row_group_spans", c.RowGroupSpans},
	} {
		if p.v < 1 {
			return fmt.Errorf("cannot use spans.%s %d: use at least 1", p.name, p.v)
		}
	}
	return nil
}
