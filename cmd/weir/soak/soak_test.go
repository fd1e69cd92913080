package soak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/ingest"
	"github.com/weirhq/weir/internal/access"
	"github.com/weirhq/weir/query"
	"github.com/weirhq/weir/query/prom"
	"github.com/weirhq/weir/query/trace"
	"github.com/weirhq/weir/store"
	"github.com/weirhq/weir/store/local"
)

// TestMain makes the test binary a server when it is told so: something real to kill.
func TestMain(m *testing.M) {
	if addr := os.Getenv("WEIR_SOAK_TEST_LISTEN"); addr != "" {
		if err := serve(context.Background(), addr, os.Getenv("WEIR_SOAK_TEST_DIR")); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

// forgetful loses what it acknowledged, in one way each; the check must notice.
type forgetful struct {
	store.Engine
	loses string
}

func (f forgetful) Metrics() store.Metrics {
	return forgetfulMetrics{f.Engine.Metrics(), f.loses == Samples}
}
func (f forgetful) Spans() store.Spans { return forgetfulSpans{f.Engine.Spans(), f.loses == Spans} }

type forgetfulMetrics struct {
	store.Metrics
	on bool
}

func (m forgetfulMetrics) Append(ctx context.Context, t store.Tenant, b *store.MetricBatch) (store.AppendResult, error) {
	if m.on && len(b.Series) > 0 {
		b.Series = b.Series[1:]
	}
	return m.Metrics.Append(ctx, t, b)
}

type forgetfulSpans struct {
	store.Spans
	on bool
}

func (s forgetfulSpans) Append(ctx context.Context, t store.Tenant, spans []store.Span) error {
	if s.on {
		spans = spans[1:]
	}
	return s.Spans.Append(ctx, t, spans)
}

// serve is a server of the parts a soak run talks to.
func serve(ctx context.Context, addr, dir string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	set := metrics.NewSet()
	cfg := local.DefaultConfig()
	cfg.Dir = dir
	real, err := local.Open(ctx, cfg, log, set)
	if err != nil {
		return err
	}
	var engine store.Engine = real
	if loses := os.Getenv("WEIR_SOAK_TEST_LOSES"); loses != "" {
		engine = forgetful{real, loses}
	}
	in := ingest.New(ingest.DefaultConfig(), engine, log, set)
	q := query.New(query.DefaultConfig(), engine.Metrics(), log, set)
	guard, err := access.New(access.DefaultConfig(), log, set)
	if err != nil {
		return err
	}
	routes := append(in.Routes(), prom.New(q, engine.Metrics(), nil, "test", log).Routes()...)
	traces := trace.New(engine.Spans())
	routes = append(routes,
		access.Route{Pattern: "GET /-/ready", Need: access.Public, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})},
		access.Route{Pattern: "GET /api/v1/traces/{id}", Need: access.Query, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			tr, err := traces.Trace(r.Context(), store.DefaultTenant, r.PathValue("id"))
			if errors.Is(err, store.ErrNotFound) {
				http.NotFound(w, r)
				return
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			_ = json.NewEncoder(w).Encode(tr)
		})},
	)
	h, err := guard.Handler(routes)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	runErr := make(chan error, 2)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { runErr <- real.Run(ctx) }()
	go func() { runErr <- in.Run(ctx) }()
	return errors.Join((&http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}).Serve(l), <-runErr)
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func killConfig(t *testing.T, kills int) Config {
	t.Helper()
	dir, addr := t.TempDir(), freeAddr(t)
	t.Setenv("WEIR_SOAK_TEST_LISTEN", addr)
	t.Setenv("WEIR_SOAK_TEST_DIR", filepath.Join(dir, "data"))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Mode, cfg.Server, cfg.Ledger = ModeKill, "http://"+addr, filepath.Join(dir, "ledger")
	cfg.Command, cfg.Kills, cfg.MaxUptime, cfg.Rate = []string{self}, kills, 700*time.Millisecond, 40
	cfg.Logger = slog.New(slog.DiscardHandler)
	return cfg
}

func serverLog(cfg Config) string {
	b, _ := os.ReadFile(cfg.Ledger + ".server.log")
	return string(b[max(0, len(b)-3000):])
}

// TestKill kills a real server and wants everything acknowledged to be there once.
func TestKill(t *testing.T) {
	cfg := killConfig(t, 5)
	rep, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatalf("%v\n%s", err, serverLog(cfg))
	}
	t.Logf("\n%s", rep)
	if !rep.OK() || rep.Kills != 5 || len(rep.Lines) != 3 {
		t.Errorf("%s\n%s", rep, serverLog(cfg))
	}
	for _, l := range rep.Lines {
		if l.Acknowledged == 0 {
			t.Errorf("%s: nothing was acknowledged", l.Kind)
		}
	}
}

// TestCheckNotices: an oracle that cannot fail proves nothing.
func TestCheckNotices(t *testing.T) {
	for _, loses := range []string{Samples, Spans} {
		t.Run(loses, func(t *testing.T) {
			t.Setenv("WEIR_SOAK_TEST_LOSES", loses)
			cfg := killConfig(t, 1)
			rep, err := Run(t.Context(), cfg)
			if err != nil {
				t.Fatalf("%v\n%s", err, serverLog(cfg))
			}
			if rep.OK() {
				t.Errorf("lost %s were not noticed:\n%s", loses, rep)
			}
			for _, l := range rep.Lines {
				if want := map[bool]int{true: l.Batches}[l.Kind == loses]; l.Missing != want {
					t.Errorf("%s: %d missing, want %d", l.Kind, l.Missing, want)
				}
			}
			if !strings.Contains(rep.String(), "is missing") {
				t.Errorf("no example in\n%s", rep)
			}
		})
	}
}

// TestCheckCells compares acknowledged snapshots with what a server claims to have.
func TestCheckCells(t *testing.T) {
	head := entry{Run: "r", Size: 10, Epoch: 5}
	entries := []entry{{Kind: Cells, Batch: 1, T: 60, N: 10}, {Kind: Cells, Batch: 2, T: 60, N: 20}}
	for name, c := range map[string]struct {
		cells string
		want  Line
	}{
		"there":         {`{"stage":"stage-0","window":60,"seq":2,"n":20}`, Line{Present: 2}},
		"a later one":   {`{"stage":"stage-0","window":60,"seq":3,"n":30}`, Line{Present: 2}},
		"missing":       {``, Line{Missing: 2}},
		"older":         {`{"stage":"stage-0","window":60,"seq":1,"n":10}`, Line{Present: 1, Missing: 1}},
		"doubled":       {`{"stage":"stage-0","window":60,"seq":2,"n":20},{"stage":"stage-0","window":60,"seq":2,"n":20}`, Line{Doubled: 2}},
		"another count": {`{"stage":"stage-0","window":60,"seq":2,"n":19}`, Line{Wrong: 2}},
		"later, less":   {`{"stage":"stage-0","window":60,"seq":3,"n":19}`, Line{Wrong: 2}},
	} {
		s := &soak{cfg: DefaultConfig(), http: &http.Client{Transport: answer(`{"cells":[` + c.cells + `]}`)}}
		got, err := s.checkCells(t.Context(), head, entries)
		if err != nil {
			t.Fatal(err)
		}
		if got.Acknowledged != 2 || got.Present != c.want.Present || got.Missing != c.want.Missing || got.Doubled != c.want.Doubled || got.Wrong != c.want.Wrong {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestCheckSamplesDoubled: the store never doubles, so the answer is made up.
func TestCheckSamplesDoubled(t *testing.T) {
	head := entry{Run: "r", Size: 10}
	var series []string
	for i := range 10 {
		v := `[1,"7"]`
		switch i {
		case 3:
			v += `,[1,"7"]`
		case 4:
			v = `[1,"8"]`
		case 5:
			v = `[1.001,"7"]`
		}
		series = append(series, fmt.Sprintf(`{"metric":{"series":"%d"},"values":[%s]}`, i, v))
	}
	s := &soak{cfg: DefaultConfig(), http: &http.Client{Transport: answer(`{"data":{"resultType":"matrix","result":[` + strings.Join(series, ",") + `]}}`)}}
	got, err := s.checkSamples(t.Context(), head, []entry{{Kind: Samples, Batch: 7, T: 1000, N: 10}})
	if err != nil || got.Present != 7 || got.Doubled != 1 || got.Wrong != 1 || got.Missing != 1 {
		t.Errorf("%+v %v", got, err)
	}
}

type answer string

func (a answer) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(string(a)))}, nil
}

func TestLedgerSurvivesTornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	head := entry{Run: "r", Size: 50, Epoch: 1}
	l, _, err := openLedger(path, head)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := l.add(entry{Kind: Samples, Batch: i + 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b[:len(b)-4], 0o600); err != nil {
		t.Fatal(err)
	}
	l, next, err := openLedger(path, entry{Run: "other", Size: 50})
	if err != nil || next[Samples] != 2 || l.head.Run != "r" {
		t.Fatalf("%v %v %+v", err, next, l)
	}
	if err := errors.Join(l.add(entry{Kind: Spans, Batch: 1}), l.close()); err != nil {
		t.Fatal(err)
	}
	c, err := readLedger(path)
	if err != nil || len(c.entries) != 3 || c.entries[2].Kind != Spans {
		t.Errorf("%v %+v", err, c.entries)
	}
	if _, _, err := openLedger(path, entry{Run: "x", Size: 60}); err == nil {
		t.Error("another batch size went on with an old ledger")
	}
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	kill := DefaultConfig()
	kill.Mode = ModeKill
	if _, err := Run(t.Context(), kill); err == nil || !strings.Contains(err.Error(), "needs a command") {
		t.Errorf("kill without a command: %v", err)
	}
	for want, f := range map[string]func(*Config){
		"mode":              func(c *Config) { c.Mode = "x" },
		"not a URL":         func(c *Config) { c.Server = "localhost" },
		"rate":              func(c *Config) { c.Rate = -1 },
		"batch":             func(c *Config) { c.Batch = 1 },
		"collector command": func(c *Config) { c.CollectorCommand = []string{"x"} },
	} {
		c := DefaultConfig()
		f(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
