package query

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/internal/access"
	"github.com/weirhq/weir/store"
	"github.com/weirhq/weir/store/local"
)

func engine(t *testing.T, cfg Config) (*Engine, store.Metrics) {
	t.Helper()
	lc := local.DefaultConfig()
	lc.Dir = t.TempDir()
	logger := slog.New(slog.DiscardHandler)
	eng, err := local.Open(t.Context(), lc, logger, metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := eng.Close(); err != nil {
			t.Error(err)
		}
	})
	return New(cfg, eng.Metrics(), logger, metrics.NewSet()), eng.Metrics()
}

func TestInstantAndRangeReadTheTenantOfTheContext(t *testing.T) {
	e, m := engine(t, DefaultConfig())
	at := time.Now().Truncate(time.Second).Add(-time.Minute)
	for tenant, v := range map[store.Tenant]float64{"a": 1, "b": 2} {
		b := store.MetricBatch{Symbols: []string{"", "__name__", "x"}, Series: []store.BatchSeries{{LabelRefs: []uint32{1, 2}}}}
		for i := range 3 {
			b.Series[0].Samples = append(b.Series[0].Samples, store.Sample{T: at.Add(time.Duration(i) * time.Second).UnixMilli(), V: v})
		}
		if _, err := m.Append(t.Context(), tenant, &b); err != nil {
			t.Fatal(err)
		}
	}
	for tenant, want := range map[store.Tenant]float64{"a": 1, "b": 2} {
		ctx := As(t.Context(), tenant)
		v, err := e.Instant(ctx, "x", at)
		if err != nil || len(v) != 1 || v[0].F != want {
			t.Errorf("tenant %s: %v, %v; want %g", tenant, v, err, want)
		}
		r, err := e.Range(ctx, "x", at, at.Add(2*time.Second), time.Second)
		if err != nil || len(r) != 1 || len(r[0].Floats) != 3 || r[0].Floats[2].F != want {
			t.Errorf("tenant %s: %v, %v; want 3 points of %g", tenant, r, err, want)
		}
	}
	if v, err := e.Instant(As(t.Context(), "c"), "x", at); err != nil || len(v) != 0 {
		t.Errorf("a tenant without data reads %v, %v", v, err)
	}
	if v, err := e.Instant(t.Context(), "1+1", at); err != nil || len(v) != 1 || v[0].F != 2 {
		t.Errorf("a scalar is %v, %v", v, err)
	}
}

func TestErrorsHaveAKind(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxLength = 100
	e, _ := engine(t, cfg)
	for expr, kind := range map[string]error{"sum((": store.ErrInvalid, `"text"`: store.ErrInvalid, strings.Repeat("a", 101): store.ErrLimit} {
		if _, err := e.Instant(t.Context(), expr, time.Now()); !errors.Is(err, kind) {
			t.Errorf("%.20s: %v, want %v", expr, err, kind)
		}
	}
}

func TestFurtherQueriesWaitForASlot(t *testing.T) {
	tr := newTracker(1, metrics.NewSet())
	if _, err := tr.Insert(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tr.Insert(ctx, "b"); !errors.Is(err, context.Canceled) {
		t.Errorf("a query without a slot: %v", err)
	}
	tr.Delete(0)
	if _, err := tr.Insert(t.Context(), "c"); err != nil {
		t.Error(err)
	}
	if n := tr.queued.Get(); n != 1 {
		t.Errorf("%d queries waited, want 1", n)
	}
}

func TestTenantComesFromTheIdentity(t *testing.T) {
	if got := Tenant(t.Context()); got != store.DefaultTenant {
		t.Errorf("without an identity the tenant is %q", got)
	}
	if got := Tenant(access.With(t.Context(), access.Identity{Tenant: "x"})); got != "x" {
		t.Errorf("tenant is %q, want x", got)
	}
}

func TestBadConfigIsExplained(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"query.timeout is 1ms":   func(c *Config) { c.Timeout = time.Millisecond },
		"query.max_samples is 1": func(c *Config) { c.MaxSamples = 1 },
		"query.concurrency is 0": func(c *Config) { c.Concurrency = 0 },
		"query.lookback is 1ms":  func(c *Config) { c.Lookback = time.Millisecond },
		"query.max_length is 1":  func(c *Config) { c.MaxLength = 1 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate() = %v, want %q", err, want)
		}
	}
}
