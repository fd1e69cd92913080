package metricdb

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// tsdbCounters is handed to a TSDB as its metrics registry and keeps the few counters that tell
// what became of samples: the TSDB reports them nowhere else.
type tsdbCounters struct {
	appended  prometheus.Collector // samples that are new in the head, by type
	wblFailed prometheus.Collector // out-of-order log writes that failed; the TSDB only logs them
	corrupted prometheus.Collector // logs found torn at opening
}

// Register keeps the collectors of interest and forgets the rest.
func (c *tsdbCounters) Register(m prometheus.Collector) error {
	ch := make(chan *prometheus.Desc, 64)
	go func() { m.Describe(ch); close(ch) }()
	for d := range ch {
		switch s := d.String(); {
		case strings.Contains(s, `"prometheus_tsdb_head_samples_appended_total"`):
			c.appended = m
		case strings.Contains(s, `"prometheus_tsdb_out_of_order_wbl_writes_failed_total"`):
			c.wblFailed = m
		case strings.Contains(s, `"prometheus_tsdb_wal_corruptions_total"`):
			c.corrupted = m
		}
	}
	return nil
}

// MustRegister is Register for several.
func (c *tsdbCounters) MustRegister(ms ...prometheus.Collector) {
	for _, m := range ms {
		_ = c.Register(m)
	}
}

// Unregister does nothing.
func (c *tsdbCounters) Unregister(prometheus.Collector) bool { return false }

// total adds up a counter over its labels.
func total(c prometheus.Collector) uint64 {
	if c == nil {
		return 0
	}
	ch := make(chan prometheus.Metric, 8) // wider than any of the three
	c.Collect(ch)
	close(ch)
	n := 0.0
	for m := range ch {
		var d dto.Metric
		if m.Write(&d) == nil {
			n += d.GetCounter().GetValue()
		}
	}
	return uint64(n)
}
