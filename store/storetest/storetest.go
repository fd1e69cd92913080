// Package storetest is the suite that every storage engine passes.
//
// It is called from the tests of an engine, opens that engine again and again over the same place, and compares
// random sequences of calls, with restarts between them, to trivial models in memory.
package storetest

import (
	"context"
	"sync"
	"testing"

	"github.com/weirhq/weir/store"
)

// Place opens the engine over the same data each time it is called. The one before has been closed by then:
// its Run has returned.
type Place func() (store.Engine, error)

// Run runs the whole suite. fresh makes an empty place and is called once for each part of the suite and
// for each random sequence; a factory whose engines share a server can give each place tenants or databases of its own.
func Run(t *testing.T, fresh func(t *testing.T) Place) {
	t.Helper()
	t.Run("metrics", func(t *testing.T) { testMetrics(t, fresh) })
	t.Run("ledger", func(t *testing.T) { testLedger(t, fresh) })
	t.Run("catalog", func(t *testing.T) { testCatalog(t, fresh) })
	t.Run("spans", func(t *testing.T) { testSpans(t, fresh) })
	t.Run("stats", func(t *testing.T) { testStats(t, fresh) })
}

// tb is what testing.T and rapid.T share.
type tb interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// running is an engine whose Run is running.
type running struct {
	place Place
	store.Engine
	stop func() error
}

func start(t tb, place Place) *running {
	t.Helper()
	r := &running{place: place}
	r.open(t)
	return r
}

func (r *running) open(t tb) {
	t.Helper()
	e, err := r.place()
	if err != nil {
		t.Fatalf("cannot open engine: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	r.Engine = e
	r.stop = sync.OnceValue(func() error { cancel(); return <-done })
}

// restart stops the engine in order and opens it again.
func (r *running) restart(t tb) {
	t.Helper()
	r.close(t)
	r.open(t)
}

func (r *running) close(t tb) {
	t.Helper()
	if err := r.stop(); err != nil {
		t.Fatalf("Run: %v", err)
	}
}

// opened starts an engine for a plain test and stops it at its end.
func opened(t *testing.T, fresh func(t *testing.T) Place) *running {
	t.Helper()
	r := start(t, fresh(t))
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return r
}

func testStats(t *testing.T, fresh func(t *testing.T) Place) {
	t.Helper()
	e := opened(t, fresh)
	put(t, e, "a", gauge("up", base(), 1))
	s, err := e.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Series != 1 || s.DiskTotal == 0 || s.OldestSample.UnixMilli() != base() {
		t.Errorf("stats %+v", s)
	}
}
