package local

import (
	"log/slog"
	"os"
	"testing"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/store"
	"github.com/weirhq/weir/store/storetest"
)

// memDir is a folder in memory where there is one: the suite opens the engine some hundred times.
func memDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "weir") //nolint:usetesting // t.TempDir is on disk
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestSuite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Place {
		t.Helper()
		cfg := DefaultConfig()
		cfg.Dir = memDir(t)
		cfg.MinFreeBytes = 1 << 20
		return func() (store.Engine, error) {
			return Open(t.Context(), cfg, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})), metrics.NewSet())
		}
	})
}
