// Package ship delivers the records of the spool to a server over HTTP, oldest first, and tells the spool what became of them.
//
// It tries for ever: what the server cannot take now stays in the spool, which is bounded. Only what the server calls wrong
// (4xx about the content) is given up, counted and logged with the server's words.
package ship

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/collector/signal"
)

// Record is one request body as the spool holds it.
type Record struct {
	Seq             uint64
	Kind            signal.Kind
	ContentEncoding string // of Body: zstd, snappy, gzip or empty
	Items           int
	Body            []byte
}

// Source is the spool as ship sees it. Records are settled in the order in which Next returned them.
type Source interface {
	ID() string
	Next(ctx context.Context) (Record, error) // oldest first; waits
	Ack(seq uint64)                           // delivered
	Drop(seq uint64, items int)               // items of the record's were rejected, the rest delivered
}

// Shipper delivers the records of one source.
type Shipper struct {
	cfg    Config
	node   string
	epoch  int64
	src    Source
	log    *slog.Logger
	client *http.Client
	token  *token
	doors  map[signal.Kind]string
	clock  clock

	up       atomic.Bool // the last attempt was answered with 2xx or a verdict
	retries  *metrics.Counter
	sent     *metrics.Counter
	latency  *metrics.Histogram
	requests map[signal.Kind]map[string]*metrics.Counter

	logMu      sync.Mutex
	failLogged time.Time
	rejLogged  time.Time
	rejMuted   int
}

// Classes of answers, the values of the label "answer".
var answers = [...]string{"ok", "partial", "rejected", "busy", "refused", "failed"}

// New makes a shipper. Epoch is the start of the collector in Unix milliseconds.
func New(cfg Config, node string, epoch int64, src Source, log *slog.Logger, set *metrics.Set) (*Shipper, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	tlsConfig, err := cfg.tls()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: min(cfg.Timeout, 10*time.Second), KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        tlsConfig,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    cfg.Concurrent,
		MaxConnsPerHost:        cfg.Concurrent,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  cfg.Timeout,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
	}
	s := &Shipper{
		cfg: cfg, node: node, epoch: epoch, src: src, log: log, token: &token{file: cfg.TokenFile}, doors: map[signal.Kind]string{},
		client: &http.Client{
			Transport: transport, Timeout: cfg.Timeout,
			// A redirect would carry the token to where nobody meant it to go.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		retries:  set.GetOrCreateCounter("weir_ship_retries_total"),
		sent:     set.GetOrCreateCounter("weir_ship_sent_bytes_total"),
		latency:  set.GetOrCreateHistogram("weir_ship_request_seconds"),
		requests: map[signal.Kind]map[string]*metrics.Counter{},
	}
	for _, k := range kinds {
		if s.doors[k], err = cfg.door(k); err != nil {
			return nil, err
		}
		s.requests[k] = map[string]*metrics.Counter{}
		for _, a := range answers {
			s.requests[k][a] = set.GetOrCreateCounter(fmt.Sprintf("weir_ship_requests_total{signal=%q,answer=%q}", k, a))
		}
	}
	set.GetOrCreateGauge("weir_collector_clock_offset_seconds", func() float64 {
		offset, _, ok := s.clock.estimate()
		if !ok {
			return math.NaN()
		}
		return offset.Seconds()
	})
	set.GetOrCreateGauge("weir_collector_clock_error_seconds", func() float64 {
		_, bound, ok := s.clock.estimate()
		if !ok {
			return math.NaN()
		}
		return bound.Seconds()
	})
	set.GetOrCreateGauge("weir_ship_up", func() float64 {
		if s.up.Load() {
			return 1
		}
		return 0
	})
	return s, nil
}

func (c Config) tls() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("cannot read server ca_file: %w", err)
		}
		if t.RootCAs, err = x509.SystemCertPool(); err != nil {
			t.RootCAs = x509.NewCertPool()
		}
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cannot use server ca_file %q: it holds no PEM certificate", c.CAFile)
		}
	}
	if c.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("cannot use server cert_file %q and key_file %q: %w", c.CertFile, c.KeyFile, err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

// job is a record under way.
type job struct {
	rec  Record
	done chan verdict
}

// Run delivers until ctx ends or the source closes. Requests under way are given up then; their records stay in the source.
func (s *Shipper) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer s.client.CloseIdleConnections()

	queue := make(chan *job, s.cfg.Concurrent-1)
	wg.Go(func() { // settles in order
		for j := range queue {
			select {
			case v := <-j.done:
				s.settle(j.rec, v)
			case <-ctx.Done():
				return
			}
		}
	})
	defer close(queue)
	for failures := 0; ; {
		rec, err := s.src.Next(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			failures++
			if failures > 100 {
				return fmt.Errorf("cannot read the spool: %w", err)
			}
			s.log.Error("cannot read the spool; trying again", "error", err)
			if !sleep(ctx, s.backoff(failures)) {
				return nil
			}
			continue
		}
		failures = 0
		j := &job{rec: rec, done: make(chan verdict, 1)}
		select {
		case queue <- j: // one is with the settler, Concurrent-1 wait: the bound of what is under way
		case <-ctx.Done():
			return nil
		}
		wg.Go(func() {
			if v, ok := s.deliver(ctx, j.rec); ok {
				j.done <- v
			}
		})
	}
}

func (s *Shipper) settle(r Record, v verdict) {
	if v.rejected == 0 {
		s.src.Ack(r.Seq)
		return
	}
	s.src.Drop(r.Seq, v.rejected)
	s.logMu.Lock()
	defer s.logMu.Unlock()
	if time.Since(s.rejLogged) < 10*time.Second {
		s.rejMuted++
		return
	}
	s.log.Error("the server rejected data; it is dropped and counted", "signal", r.Kind.String(), "items", r.Items, "rejected", v.rejected,
		"status", v.status, "server_says", v.words, "not_logged_since", s.rejMuted)
	s.rejLogged, s.rejMuted = time.Now(), 0
}

// deliver tries until the server has decided; false when ctx ended first.
func (s *Shipper) deliver(ctx context.Context, r Record) (verdict, bool) {
	for attempt := 1; ; attempt++ {
		v, retry, err := s.send(ctx, r)
		if ctx.Err() != nil {
			return verdict{}, false
		}
		s.requests[r.Kind][v.answer].Inc()
		if err == nil {
			if !s.up.Swap(true) {
				s.log.Info("delivering", "url", s.doors[r.Kind])
			}
			return v, true
		}
		s.retries.Inc()
		wait := max(s.backoff(attempt), retry)
		s.failed(r, attempt, wait, err)
		if !sleep(ctx, wait) {
			return verdict{}, false
		}
	}
}

func (s *Shipper) failed(r Record, attempt int, wait time.Duration, err error) {
	first := s.up.Swap(false)
	s.logMu.Lock()
	defer s.logMu.Unlock()
	if !first && time.Since(s.failLogged) < time.Minute {
		return
	}
	s.failLogged = time.Now()
	s.log.Warn("cannot deliver; the data stays in the spool and is tried again", "signal", r.Kind.String(), "sequence", r.Seq, "attempt", attempt, "next_try_in", wait.Round(time.Millisecond), "error", err)
}

// backoff is the wait after the n-th failure in a row: doubled each time, with jitter between half and all of it.
func (s *Shipper) backoff(n int) time.Duration {
	d := s.cfg.MaxBackoff
	if n < 30 {
		d = min(d, s.cfg.MinBackoff<<(n-1))
	}
	return d/2 + rand.N(d/2+1)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
