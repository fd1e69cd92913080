package scrape

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"

	"github.com/weirhq/weir/collector/remotewrite"
	"github.com/weirhq/weir/collector/signal"
)

// maxBodySize is about the largest request body handed to the spool at once.
const maxBodySize = 1 << 20

// encoder gathers the points of all targets and hands them to the spool together: strings they have in common
// are written once per request, and the spool syncs once.
type encoder struct {
	out signal.Output
	m   *account
	log *slog.Logger

	mu    sync.Mutex // guards batch
	batch *remotewrite.Batch

	flushing sync.Mutex // held while a body is on its way; guards what follows
	body     []byte
	complain time.Time
}

// run hands over what was gathered at every interval, and at last when ctx has ended and stopped is closed.
func (e *encoder) run(ctx context.Context, interval time.Duration, stopped <-chan struct{}) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			e.flush(ctx)
		case <-stopped:
			e.flush(context.WithoutCancel(ctx))
			return
		}
	}
}

// flush hands one body to the spool. The targets may go on gathering meanwhile.
func (e *encoder) flush(ctx context.Context) {
	e.flushing.Lock()
	defer e.flushing.Unlock()
	e.mu.Lock()
	n := e.batch.Len()
	if n == 0 {
		e.mu.Unlock()
		return
	}
	e.body = e.batch.AppendTo(e.body[:0])
	e.batch.Reset()
	e.mu.Unlock()

	e.m.received.Add(n)
	if err := e.out.Append(ctx, signal.Samples, n, e.body); err != nil {
		e.m.droppedSpool.Add(n)
		if now := time.Now(); now.After(e.complain) {
			e.complain = now.Add(time.Minute)
			e.log.Error("cannot keep scraped samples", "error", err, "samples", n)
		}
		return
	}
	e.m.accepted.Add(n)
}

// add gathers the points and exemplars of one scrape. Who finds the batch full waits for the spool.
func (e *encoder) add(ctx context.Context, points []point, found *found, at int64) {
	for len(points) > 0 {
		e.mu.Lock()
		for len(points) > 0 && e.batch.Size() < maxBodySize {
			p := &points[0]
			e.batch.Add(p.rw, p.t, p.start, p.v)
			points = points[1:]
		}
		full := e.batch.Size() >= maxBodySize
		if len(points) == 0 {
			e.addExemplars(found, at)
		}
		e.mu.Unlock()
		if full {
			e.flush(ctx)
		}
	}
}

func (e *encoder) addExemplars(found *found, at int64) {
	for _, x := range found.exemplars {
		o := &found.samples[x.sample]
		if o.e.series == nil {
			continue
		}
		ts := at
		if x.x.HasTs {
			ts = x.x.Ts
		}
		e.batch.AddExemplar(o.e.series.rw, ts, x.x.Value, x.x.Labels)
	}
}

// point is what goes to the spool.
type point struct {
	rw    *remotewrite.Series
	t     int64
	start int64
	v     float64
}

// reportSeries are the series a scrape makes about itself.
type reportSeries struct{ up, duration, scraped, kept *remotewrite.Series }

func newReportSeries(target labels.Labels) reportSeries {
	make := func(name, help, unit string) *remotewrite.Series {
		b := labels.NewBuilder(target)
		b.Set(model.MetricNameLabel, name)
		return remotewrite.NewSeries(b.Labels(), metadata.Metadata{Type: model.MetricTypeGauge, Help: help, Unit: unit})
	}
	return reportSeries{
		up:       make("up", "1 when the last scrape worked.", ""),
		duration: make("scrape_duration_seconds", "Time the last scrape took.", "seconds"),
		scraped:  make("scrape_samples_scraped", "Samples the target gave.", ""),
		kept:     make("scrape_samples_post_metric_relabeling", "Samples left after relabelling.", ""),
	}
}

// collect turns an answer into points and tells staleness. A failed scrape has no answer: all live series end.
// It returns how many samples relabelling kept.
func (t *target) collect(f *found, at int64, buf *buffers) (kept int, err error) {
	c := t.cache
	n := 0 // live series that have a sample
	for i := range f.samples {
		o := &f.samples[i]
		s := o.e.series
		if s == nil {
			continue
		}
		kept++
		if kept > t.cfg.SampleLimit {
			return kept, fmt.Errorf("cannot take more than sample_limit %d samples of %q", t.cfg.SampleLimit, t.url)
		}
		if t.labelLimit > 0 && s.round == 0 && s.rw.LabelCount() > t.labelLimit {
			return kept, fmt.Errorf("cannot take series %s of %q: it has more than label_limit %d labels", s.rw.Labels(), t.url, t.labelLimit)
		}
	}
	t.duplicates = 0
	for i := range f.samples {
		o := &f.samples[i]
		s := o.e.series
		if s == nil {
			continue
		}
		p := point{rw: s.rw, t: at, v: o.v}
		if timed := o.timed && !t.cfg.IgnoreTimestamps; timed {
			p.t = o.t // the target decides when such a series ends
		} else {
			if s.round == c.round {
				t.duplicates++ // one series, one time, two values: the first counts
				continue
			}
			if s.live {
				n++
			}
		}
		s.round = c.round
		if st := o.e.start; st != nil && st.ms > 0 && st.ms <= p.t {
			p.start = st.ms
		}
		buf.points = append(buf.points, p)
	}
	t.endMissing(n, at, buf)
	for i := range f.samples {
		o := &f.samples[i]
		if s := o.e.series; s != nil && (!o.timed || t.cfg.IgnoreTimestamps) && !s.live {
			s.live = true
			t.live++
		}
	}
	return kept, nil
}

// endMissing writes a staleness marker for every live series but the n that have a sample now.
func (t *target) endMissing(n int, at int64, buf *buffers) {
	if n == t.live {
		return
	}
	for _, s := range t.cache.series {
		if s.live && s.round != t.cache.round {
			buf.points = append(buf.points, point{rw: s.rw, t: at, v: staleNaN})
			s.live = false
			t.live--
		}
	}
}

var staleNaN = math.Float64frombits(value.StaleNaN)

// report adds the series about the scrape itself.
func (t *target) report(at int64, took time.Duration, scraped, kept int, up bool, buf *buffers) {
	v := 0.0
	if up {
		v = 1
	}
	buf.points = append(buf.points,
		point{rw: t.reports.up, t: at, v: v},
		point{rw: t.reports.duration, t: at, v: took.Seconds()},
		point{rw: t.reports.scraped, t: at, v: float64(scraped)},
		point{rw: t.reports.kept, t: at, v: float64(kept)},
	)
}
