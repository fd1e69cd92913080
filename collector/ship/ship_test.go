package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/collector/signal"
)

// fakeSource hands out records and checks that they are settled in order, each once.
type fakeSource struct {
	mu      sync.Mutex
	t       *testing.T
	records []Record
	next    int
	settled int
	dropped map[uint64]int
	done    chan struct{} // closed when all are settled
}

func newSource(t *testing.T, records ...Record) *fakeSource {
	t.Helper()
	for i := range records {
		records[i].Seq = uint64(i + 1)
	}
	return &fakeSource{t: t, records: records, dropped: map[uint64]int{}, done: make(chan struct{})}
}

func (s *fakeSource) ID() string { return "spool-1" }

func (s *fakeSource) Next(ctx context.Context) (Record, error) {
	s.mu.Lock()
	if s.next < len(s.records) {
		defer s.mu.Unlock()
		s.next++
		return s.records[s.next-1], nil
	}
	s.mu.Unlock()
	<-ctx.Done()
	return Record{}, ctx.Err()
}

func (s *fakeSource) Ack(seq uint64) { s.Drop(seq, 0) }

func (s *fakeSource) Drop(seq uint64, items int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq != uint64(s.settled+1) || int(seq) > s.next {
		s.t.Errorf("record %d settled after %d, %d were handed out", seq, s.settled, s.next)
	}
	s.settled = int(seq)
	if items > 0 {
		s.dropped[seq] = items
	}
	if s.settled == len(s.records) {
		close(s.done)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(code int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: code, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

func newShipper(t *testing.T, cfg Config, src Source, rt http.RoundTripper) *Shipper {
	t.Helper()
	s, err := New(cfg, "node-1", 1700000000000, src, slog.New(slog.DiscardHandler), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	if rt != nil {
		s.client.Transport = rt
	}
	return s
}

// runUntilDone runs the shipper until the source is settled.
func runUntilDone(t *testing.T, s *Shipper, src *fakeSource) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	<-src.done
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func samples(n int) Record {
	return Record{Kind: signal.Samples, ContentEncoding: "zstd", Items: n, Body: []byte("body")}
}

// TestBackoffGrowsToTheCap lets a server refuse for an hour of virtual time.
func TestBackoffGrowsToTheCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var at []time.Duration
		src := newSource(t, samples(1))
		s := newShipper(t, DefaultConfig(), src, roundTrip(func(*http.Request) (*http.Response, error) {
			at = append(at, time.Since(begin))
			if time.Since(begin) < time.Hour {
				return nil, errors.New("connection refused")
			}
			return answer(204, ""), nil
		}))
		runUntilDone(t, s, src)
		for i := 1; i < len(at); i++ {
			gap, limit := at[i]-at[i-1], min(250*time.Millisecond<<min(i-1, 20), 30*time.Second)
			if gap < limit/2 || gap > limit {
				t.Fatalf("wait %d was %s, want between half and all of %s", i, gap, limit)
			}
		}
		if last := at[len(at)-1]; last > time.Hour+30*time.Second {
			t.Errorf("delivered at %s, the server was back after an hour", last)
		}
		if len(at) < 120 || len(at) > 300 {
			t.Errorf("%d attempts in an hour, want one every 15 to 30 seconds", len(at))
		}
	})
}

func TestRetryAfterIsRespected(t *testing.T) {
	for _, code := range []int{429, 503} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			n := 0
			src := newSource(t, samples(1))
			runUntilDone(t, newShipper(t, DefaultConfig(), src, roundTrip(func(*http.Request) (*http.Response, error) {
				if n++; n == 1 {
					return answer(code, "busy", "Retry-After", "90"), nil
				}
				return answer(200, ""), nil
			})), src)
			if took := time.Since(begin); took < 90*time.Second || took > 91*time.Second {
				t.Errorf("%d: tried again after %s, the server asked for 90s", code, took)
			}
		})
	}
}

// TestVerdicts: what each answer means for the items of a record; -1 = tried again.
func TestVerdicts(t *testing.T) {
	written := func(n int) []string { return []string{"X-Prometheus-Remote-Write-Samples-Written", fmt.Sprint(n)} }
	proto := []string{"Content-Type", "application/x-protobuf"}
	for _, c := range []struct {
		name     string
		kind     signal.Kind
		code     int
		body     string
		header   []string
		rejected int
	}{
		{"stored", signal.Samples, 204, "", written(10), 0},
		{"stored, store of version 1", signal.Samples, 204, "", nil, 0},
		{"2xx that wrote less", signal.Samples, 200, "", written(7), 3},
		{"2xx that wrote more", signal.Samples, 200, "", written(70), 0},
		{"bad request", signal.Samples, 400, "no name", nil, 10},
		{"partial write", signal.Samples, 400, "3 too old", written(7), 3},
		{"partial write with histograms", signal.Samples, 400, "1 too old", append(written(5), "X-Prometheus-Remote-Write-Histograms-Written", "4"), 1},
		{"nothing written", signal.Samples, 400, "", written(0), 10},
		{"too large", signal.Spans, 413, "", nil, 10},
		{"media type", signal.Cells, 415, "", nil, 10},
		{"spans", signal.Spans, 200, "", proto, 0},
		{"spans, partial success", signal.Spans, 200, "\x0a\x09\x08\x04\x12\x05short", proto, 4},
		{"points, partial success beyond the record", signal.Points, 200, "\x0a\x03\x08\xc8\x01", proto, 10},
		{"spans, torn answer", signal.Spans, 200, "\x0a\x09\x08", proto, 0},
		{"unauthorised", signal.Samples, 401, "", nil, -1},
		{"forbidden", signal.Samples, 403, "", nil, -1},
		{"wrong path", signal.Samples, 404, "", nil, -1},
		{"redirect", signal.Samples, 302, "", []string{"Location", "http://evil.example"}, -1},
		{"slow down", signal.Samples, 429, "", nil, -1},
		{"broken", signal.Samples, 500, "", nil, -1},
		{"away", signal.Samples, 503, "", nil, -1},
	} {
		r := samples(10)
		r.Kind = c.kind
		v, _, err := judge(r, answer(c.code, "", c.header...), []byte(c.body))
		got := v.rejected
		if err != nil {
			got = -1
		}
		if got != c.rejected {
			t.Errorf("%s: %d items rejected, want %d (error %v)", c.name, got, c.rejected, err)
		}
	}
}

// TestServer drives the real client against a real server that is away, restarts, is slow, and loses its answers.
func TestServer(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		mu.Lock()
		requests++
		n := requests
		mu.Unlock()
		switch {
		case n <= 2: // just started
			w.Header().Set("Retry-After", "0")
			http.Error(w, "starting", http.StatusServiceUnavailable)
			return
		case n%7 == 3: // slower than the timeout; stored or not, nobody knows
			<-r.Context().Done()
			return
		}
		mu.Lock()
		seen[string(body)]++
		mu.Unlock()
		if n%7 == 5 { // stored, and the answer is lost
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				conn.Close()
			}
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	cfg := DefaultConfig()
	cfg.URL, cfg.Timeout, cfg.MinBackoff, cfg.MaxBackoff, cfg.Concurrent = server.URL, 100*time.Millisecond, 2*time.Millisecond, 10*time.Millisecond, 4
	records := make([]Record, 40)
	for i := range records {
		records[i] = Record{Kind: signal.Kind(i%4 + 1), Items: 1, Body: fmt.Appendf(nil, "record-%d", i)}
	}
	src := newSource(t, records...)
	runUntilDone(t, newShipper(t, cfg, src, nil), src)
	for i := range records {
		if seen[fmt.Sprintf("record-%d", i)] == 0 {
			t.Errorf("record %d was settled and never stored", i)
		}
	}
	if len(src.dropped) > 0 {
		t.Errorf("dropped %v, the server rejected nothing", src.dropped)
	}
}

func TestRequest(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "token")
	if err := os.WriteFile(file, []byte("first\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	type got struct{ URL, Auth, Type, Encoding, Version, Node, Spool, Seq, Epoch, Org string }
	var all []got
	cfg := DefaultConfig()
	cfg.URL, cfg.TokenFile, cfg.Headers, cfg.Concurrent = "https://store.example/base/", file, map[string]string{"X-Scope-OrgID": "7"}, 1
	cfg.Paths.Points = "http://other.example/otlp"
	src := newSource(t, samples(1), Record{Kind: signal.Points}, Record{Kind: signal.Cells, ContentEncoding: "snappy"})
	runUntilDone(t, newShipper(t, cfg, src, roundTrip(func(r *http.Request) (*http.Response, error) {
		h := r.Header
		all = append(all, got{
			r.URL.String(), h.Get("Authorization"), h.Get("Content-Type"), h.Get("Content-Encoding"), h.Get("X-Prometheus-Remote-Write-Version"),
			h.Get("Weir-Node"), h.Get("Weir-Spool"), h.Get("Weir-Sequence"), h.Get("Weir-Epoch"), h.Get("X-Scope-OrgID"),
		})
		if len(all) == 1 {
			return answer(204, ""), os.WriteFile(file, []byte("second token"), 0o600)
		}
		return answer(204, ""), nil
	})), src)
	want := []got{
		{"https://store.example/base/api/v1/write", "Bearer first", "application/x-protobuf;proto=io.prometheus.write.v2.Request", "zstd", "2.0.0", "node-1", "spool-1", "1", "1700000000000", "7"},
		{"http://other.example/otlp", "Bearer second token", "application/x-protobuf", "", "", "node-1", "spool-1", "2", "1700000000000", "7"},
		{"https://store.example/base/api/v1/audit", "Bearer second token", "application/json", "snappy", "", "node-1", "spool-1", "3", "1700000000000", "7"},
	}
	if d := cmp.Diff(want, all); d != "" {
		t.Error(d)
	}
}

// TestNoRedirect: the token must not follow a redirect, not even to the same host.
func TestNoRedirect(t *testing.T) {
	var elsewhere int
	mux := http.NewServeMux()
	n := 0
	mux.HandleFunc("/api/v1/write", func(w http.ResponseWriter, r *http.Request) {
		if n++; n == 1 {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("/elsewhere", func(http.ResponseWriter, *http.Request) { elsewhere++ })
	server := httptest.NewServer(mux)
	defer server.Close()
	cfg := DefaultConfig()
	cfg.URL, cfg.MinBackoff = server.URL, time.Millisecond
	src := newSource(t, samples(1))
	runUntilDone(t, newShipper(t, cfg, src, nil), src)
	if elsewhere != 0 {
		t.Error("a redirect was followed")
	}
}

func TestConfigComplaints(t *testing.T) {
	for want, change := range map[string]func(*Config){
		`"ftp://x/api/v1/write"`: func(c *Config) { c.URL = "ftp://x" },
		"password":               func(c *Config) { c.URL = "http://me:secret@x" },
		"token_file":             func(c *Config) { c.Headers = map[string]string{"authorization": "Bearer x"} },
		"key_file":               func(c *Config) { c.CertFile = "a.pem" },
		"timeout 1ns":            func(c *Config) { c.Timeout = 1 },
		"min_backoff 2h":         func(c *Config) { c.MinBackoff = 2 * time.Hour },
		"concurrent 0":           func(c *Config) { c.Concurrent = 0 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("complaint %q, want one about %s", err, want)
		}
	}
}

func FuzzPartialSuccess(f *testing.F) {
	f.Add([]byte("\x0a\x09\x08\x04\x12\x05short"))
	f.Add([]byte("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, p []byte) {
		if n, w := partialSuccess("application/x-protobuf", p); n < 0 || len(w) > 3*maxWords {
			t.Errorf("rejected %d, %d bytes of words", n, len(w))
		}
	})
}
