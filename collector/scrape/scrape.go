// Package scrape pulls metrics from listed targets over HTTP (OpenMetrics 1.0 and the text format 0.0.4),
// relabels them, tells staleness, and hands remote-write requests to the collector's spool.
//
// The answer of a target hardly changes but for its values, so each target has a cache of lines: labels are
// parsed and relabelled once per series, not once per sample.
package scrape

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/collector/remotewrite"
	"github.com/weirhq/weir/collector/signal"
)

// Scraper scrapes all configured targets.
type Scraper struct {
	targets []*target
	enc     *encoder
	flush   time.Duration
	log     *slog.Logger
	m       account
	slots   chan struct{} // requests under way
	idle    chan *buffers // kept when the garbage collector empties the pool
	buffers sync.Pool
}

// keptBuffers is how many buffers are kept between scrapes; a spread of targets seldom needs more at once.
const keptBuffers = 2

// account is the equation of docs/wire.md for door scrape (samples), and what failed.
type account struct {
	received, accepted                            *metrics.Counter
	droppedSpool, droppedRelabel, droppedDouble   *metrics.Counter
	droppedLimit                                  *metrics.Counter
	scrapes, failedFetch, failedParse, failedRest *metrics.Counter
	skipped                                       *metrics.Counter
}

// target is scraped by one goroutine.
type target struct {
	cfg        TargetConfig
	url        string
	labels     labels.Labels
	client     *http.Client
	asked      *http.Request // nil = made anew for each scrape
	direct     *direct       // instead of client where that does; nil = it does not
	gzip       bool
	offset     time.Duration
	labelLimit int

	cache      *cache
	reports    reportSeries
	live       int // series with a sample that nothing has ended
	duplicates int
	complain   time.Time

	mu     sync.Mutex
	status TargetStatus
}

// TargetStatus tells how the last scrape of a target went.
type TargetStatus struct {
	Job      string        `json:"job"`
	URL      string        `json:"url"`
	Labels   labels.Labels `json:"labels"`
	Up       bool          `json:"up"`
	Error    string        `json:"error,omitempty"`
	At       time.Time     `json:"at"` // zero = not yet scraped
	Duration time.Duration `json:"duration"`
	Samples  int           `json:"samples"`
}

// buffers are used by one scrape at a time.
type buffers struct {
	body   []byte
	found  found
	points []point
	gzip   *gzip.Reader
	wire   wire
}

// maxKeptBuffer bounds what a buffer may hold when it is put back.
const maxKeptBuffer = 4 << 20

// New builds a Scraper; nothing is asked before Run. node is the label node of every series.
func New(cfg Config, node string, out signal.Output, set *metrics.Set, log *slog.Logger) (*Scraper, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := func(name string) *metrics.Counter { return set.GetOrCreateCounter(name) }
	s := &Scraper{
		flush: cfg.flush(), log: log, slots: make(chan struct{}, cfg.MaxConcurrent),
		idle: make(chan *buffers, keptBuffers), buffers: sync.Pool{New: func() any { return new(buffers) }},
		m: account{
			received:       c(`weir_collector_received_total{door="scrape"}`),
			accepted:       c(`weir_collector_accepted_total{door="scrape"}`),
			droppedSpool:   c(`weir_collector_dropped_total{door="scrape",reason="spool"}`),
			droppedRelabel: c(`weir_collector_dropped_total{door="scrape",reason="relabel"}`),
			droppedDouble:  c(`weir_collector_dropped_total{door="scrape",reason="duplicate"}`),
			droppedLimit:   c(`weir_collector_dropped_total{door="scrape",reason="limit"}`),
			scrapes:        c(`weir_scrape_total`),
			failedFetch:    c(`weir_scrape_failures_total{reason="fetch"}`),
			failedParse:    c(`weir_scrape_failures_total{reason="parse"}`),
			failedRest:     c(`weir_scrape_failures_total{reason="limit"}`),
			skipped:        c(`weir_scrape_skipped_total`),
		},
	}
	for i, t := range cfg.Targets {
		list, err := t.withDefaults(cfg).targets(node)
		if err != nil {
			return nil, fmt.Errorf("scrape.targets[%d] (job %q): %w", i, t.Job, err)
		}
		s.targets = append(s.targets, list...)
	}
	s.enc = &encoder{out: out, m: &s.m, log: log, batch: remotewrite.NewBatch()}
	for _, t := range s.targets {
		t.reports = newReportSeries(t.labels)
		t.labelLimit = cfg.LabelLimit
		t.status = TargetStatus{Job: t.cfg.Job, URL: t.url, Labels: t.labels}
	}
	set.GetOrCreateGauge(`weir_scrape_targets`, func() float64 { return float64(len(s.targets)) })
	return s, nil
}

// Targets tells how the last scrape of every target went.
func (s *Scraper) Targets() []TargetStatus {
	list := make([]TargetStatus, 0, len(s.targets))
	for _, t := range s.targets {
		t.mu.Lock()
		list = append(list, t.status)
		t.mu.Unlock()
	}
	return list
}

// Run scrapes until ctx ends and returns when no request is under way any more. It never fails: a target
// that does not answer is told by up 0.
func (s *Scraper) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, t := range s.targets {
		wg.Go(func() { s.run(ctx, t) })
	}
	stopped, flushed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(flushed)
		s.enc.run(ctx, s.flush, stopped)
	}()
	wg.Wait()
	close(stopped)
	<-flushed
	for _, t := range s.targets {
		t.client.CloseIdleConnections()
		if t.direct != nil {
			t.direct.close()
		}
	}
	return nil
}

// run scrapes t on its schedule: at multiples of the interval plus the target's own offset, so that
// a restart or another collector keeps the rhythm.
func (s *Scraper) run(ctx context.Context, t *target) {
	interval := t.cfg.Interval
	next := nextTime(time.Now(), interval, t.offset)
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		s.once(ctx, t, next)
		<-s.slots
		due := next.Add(interval)
		if next = nextTime(time.Now(), interval, t.offset); next.After(due) {
			s.m.skipped.Add(int(next.Sub(due) / interval))
		}
		timer.Reset(time.Until(next))
	}
}

// nextTime is the first time of the schedule after now.
func nextTime(now time.Time, interval, offset time.Duration) time.Time {
	n := now.UnixNano()
	since := (n - int64(offset)) % int64(interval)
	return time.Unix(0, n-since+int64(interval))
}

// timestamp is the time of the samples: the scheduled one, unless the scrape began late.
func timestamp(scheduled, now time.Time, interval time.Duration) int64 {
	if late := now.Sub(scheduled); late > min(interval/100, 10*time.Millisecond) || late < 0 {
		return now.UnixMilli()
	}
	return scheduled.UnixMilli()
}

// once scrapes t. The samples carry the scheduled time.
func (s *Scraper) once(ctx context.Context, t *target, scheduled time.Time) {
	buf := s.borrow()
	defer s.release(buf)
	began := time.Now()
	at := timestamp(scheduled, began, t.cfg.Interval)
	s.m.scrapes.Inc()
	buf.points = buf.points[:0]
	buf.found.reset()

	scraped, kept, err := s.pull(ctx, t, at, buf)
	if ctx.Err() != nil {
		return // stopped in the middle: no word about the target
	}
	took := time.Since(began)
	if err != nil {
		buf.points = buf.points[:0]
		buf.found.reset()
		t.cache.round++ // nothing has a sample in this round
		t.endMissing(0, at, buf)
	} else {
		t.cache.forget()
	}
	t.report(at, took, scraped, kept, err == nil, buf)
	s.enc.add(ctx, buf.points, &buf.found, at)
	if err != nil {
		s.complain(t, began, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.status.Up, t.status.At, t.status.Duration, t.status.Samples, t.status.Error = err == nil, began, took, scraped, ""
	if err != nil {
		t.status.Error = err.Error()
	}
}

// pull asks, parses and collects. Its points are void when it fails.
func (s *Scraper) pull(ctx context.Context, t *target, at int64, buf *buffers) (scraped, kept int, err error) {
	fctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	om, err := t.fetch(fctx, buf)
	cancel()
	if err != nil {
		s.m.failedFetch.Inc()
		return 0, 0, err
	}
	if err := t.cache.parse(buf.body, om, &buf.found); err != nil {
		s.m.failedParse.Inc()
		return 0, 0, fmt.Errorf("cannot read the answer of %q: %w", t.url, err)
	}
	scraped = len(buf.found.samples)
	kept, err = t.collect(&buf.found, at, buf)
	if err != nil {
		s.m.failedRest.Inc()
		s.m.received.Add(scraped)
		s.m.droppedLimit.Add(scraped)
		return scraped, kept, err
	}
	s.m.received.Add(scraped - kept + t.duplicates)
	s.m.droppedRelabel.Add(scraped - kept)
	s.m.droppedDouble.Add(t.duplicates)
	return scraped, kept, nil
}

// complain tells the log about a target, at most once a minute each.
func (s *Scraper) complain(t *target, now time.Time, err error) {
	if now.Before(t.complain) {
		return
	}
	t.complain = now.Add(time.Minute)
	s.log.Warn("scrape failed", "job", t.cfg.Job, "target", t.url, "error", err)
}

func (s *Scraper) borrow() *buffers {
	select {
	case b := <-s.idle:
		return b
	default:
		return s.buffers.Get().(*buffers)
	}
}

func (s *Scraper) release(b *buffers) {
	if cap(b.body) > maxKeptBuffer {
		return
	}
	clear(b.points)
	b.points = b.points[:0]
	b.found.reset()
	select {
	case s.idle <- b:
	default:
		s.buffers.Put(b)
	}
}
