package collector

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"

	"github.com/weirhq/weir/collector/remotewrite"
	"github.com/weirhq/weir/collector/signal"
)

// maxOwn bounds the collector's own series.
const maxOwn = 10_000

// self ships the collector's own metrics.
type self struct {
	node     string
	interval time.Duration
	set      *metrics.Set
	out      signal.Output
	log      *slog.Logger
	series   map[string]*remotewrite.Series // by name and labels as rendered
	batch    *remotewrite.Batch
	buf      bytes.Buffer
	body     []byte
	failed   *metrics.Counter
}

func newSelf(node string, interval time.Duration, set *metrics.Set, out signal.Output, log *slog.Logger) *self {
	return &self{
		node: node, interval: interval, set: set, out: out, log: log, series: map[string]*remotewrite.Series{}, batch: remotewrite.NewBatch(),
		failed: set.GetOrCreateCounter("weir_collector_self_errors_total"),
	}
}

// Run ships every interval, and a last time when the receivers have stopped.
func (s *self) Run(ctx context.Context) error {
	tick := time.NewTicker(s.interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			s.ship(context.WithoutCancel(ctx), time.Now())
			return nil
		case now := <-tick.C:
			s.ship(ctx, now)
		}
	}
}

func (s *self) ship(ctx context.Context, now time.Time) {
	s.buf.Reset()
	s.set.WritePrometheus(&s.buf)
	own := s.buf.Len()
	metrics.WriteProcessMetrics(&s.buf)
	t := now.UnixMilli()
	s.batch.Reset()
	text := s.buf.String()
	for line := range strings.Lines(text[:own]) {
		s.add(line, t)
	}
	for line := range strings.Lines(text[own:]) {
		if wanted(line) {
			s.add(line, t)
		}
	}
	if s.batch.Len() == 0 {
		return
	}
	s.body = s.batch.AppendTo(s.body[:0])
	if err := s.out.Append(ctx, signal.Samples, s.batch.Len(), s.body); err != nil {
		s.failed.Inc()
		s.log.Warn("cannot spool the collector's own metrics", "error", err)
	}
}

// wanted picks from the process metrics, of which there are many.
func wanted(line string) bool {
	for _, p := range [...]string{"process_resident_memory_bytes ", "process_cpu_seconds_total ", "process_open_fds ", "go_goroutines ", "process_start_time_seconds "} {
		if strings.HasPrefix(line, p) {
			return true
		}
	}
	return false
}

func (s *self) add(line string, t int64) {
	line = strings.TrimSpace(line)
	cut := strings.LastIndexByte(line, ' ')
	// Buckets in VictoriaMetrics' own form say nothing to PromQL; their sum and count stay.
	if cut < 0 || line[0] == '#' || strings.Contains(line, `vmrange="`) {
		return
	}
	v, err := strconv.ParseFloat(line[cut+1:], 64)
	if err != nil || math.IsNaN(v) { // not known is no sample
		return
	}
	key := line[:cut]
	series := s.series[key]
	if series == nil {
		ls, err := parseLabels(key)
		if err != nil {
			s.log.Debug("left out an own metric", "metric", key, "error", err)
			return
		}
		if len(s.series) >= maxOwn {
			return
		}
		b := labels.NewBuilder(ls)
		if !ls.Has("node") {
			b.Set("node", s.node)
		}
		if !ls.Has("service") {
			b.Set("service", "weir-collector")
		}
		kind := model.MetricTypeGauge
		if name := ls.Get(model.MetricNameLabel); strings.HasSuffix(name, "_total") || strings.HasSuffix(name, "_count") || strings.HasSuffix(name, "_sum") {
			kind = model.MetricTypeCounter
		}
		series = remotewrite.NewSeries(b.Labels(), metadata.Metadata{Type: kind})
		s.series[strings.Clone(key)] = series
	}
	s.batch.Add(series, t, 0, v)
}

// parseLabels reads name{a="b",c="d"} as metrics.Set renders it: values are Go-quoted.
func parseLabels(s string) (labels.Labels, error) {
	name, rest, ok := strings.Cut(s, "{")
	b := labels.NewScratchBuilder(4)
	b.Add(model.MetricNameLabel, name)
	if ok {
		rest = strings.TrimSuffix(rest, "}")
	}
	for rest != "" {
		k, after, ok := strings.Cut(rest, "=")
		quoted, err := strconv.QuotedPrefix(after)
		if !ok || err != nil {
			return labels.EmptyLabels(), fmt.Errorf("cannot read labels of %q", s)
		}
		v, err := strconv.Unquote(quoted)
		if err != nil {
			return labels.EmptyLabels(), fmt.Errorf("cannot read labels of %q: %w", s, err)
		}
		b.Add(strings.TrimSpace(k), v)
		rest = strings.TrimLeft(after[len(quoted):], ", ")
	}
	b.Sort()
	return b.Labels(), nil
}
