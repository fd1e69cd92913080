package local

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/store"
)

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
