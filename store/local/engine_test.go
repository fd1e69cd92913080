package local

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/store"
)

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Config){
		"data folder \"\"":      func(c *Config) { c.Dir = "" },
		"retention 1m0s":        func(c *Config) { c.Retention = time.Minute },
		"retention_bytes -1":    func(c *Config) { c.RetentionBytes = -1 },
		"out_of_order_window 0": func(c *Config) { c.OutOfOrderWindow = 0 },
		"out_of_order_window 9": func(c *Config) { c.OutOfOrderWindow = 9000 * time.Hour },
		"future_limit 0":        func(c *Config) { c.FutureLimit = 0 },
		"max_series 0":          func(c *Config) { c.MaxSeries = 0 },
		"max_tenants 0":         func(c *Config) { c.MaxTenants = 0 },
		"max_exemplars -1":      func(c *Config) { c.MaxExemplars = -1 },
		"min_free_bytes -1":     func(c *Config) { c.MinFreeBytes = -1 },
		"ledger retention 1s":   func(c *Config) { c.LedgerRetention = time.Second },
		"spans.head_bytes 1":    func(c *Config) { c.Spans.HeadBytes = 1 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want a complaint with %q, got %v", name, err)
		}
	}
}

func TestLockNamesFolder(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Dir = t.TempDir()
	e, err := Open(t.Context(), cfg, slog.New(slog.DiscardHandler), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), cfg, slog.New(slog.DiscardHandler), metrics.NewSet())
	if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), cfg.Dir) || !strings.Contains(err.Error(), "another weir process") {
		t.Fatalf("second open: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := e.Ledger().PutBarriers(t.Context(), "a", nil); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("after close: %v", err)
	}
	e, err = Open(t.Context(), cfg, slog.New(slog.DiscardHandler), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}
