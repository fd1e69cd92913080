package spandb

import "github.com/VictoriaMetrics/metrics"

// counters are the metrics of a DB.
type counters struct {
	set           *metrics.Set
	appended      *metrics.Counter
	overTrace     *metrics.Counter
	clipped       *metrics.Counter
	leftOut       *metrics.Counter
	duplicates    *metrics.Counter
	groups        *metrics.Counter
	logBytes      *metrics.Counter
	logErrors     *metrics.Counter
	busy          *metrics.Counter
	full          *metrics.Counter
	blocksCut     *metrics.Counter
	cutErrors     *metrics.Counter
	damagedBlocks *metrics.Counter
	damagedReads  *metrics.Counter
	damagedLog    *metrics.Counter
	commit        *metrics.Histogram
}

func newCounters(set *metrics.Set, db *DB) *counters {
	if set == nil {
		set = metrics.NewSet()
	}
	gauge := func(name string, f func(Stats) uint64) {
		set.GetOrCreateGauge(name, func() float64 { return float64(f(db.Stats())) })
	}
	gauge("weir_spans_head_spans", func(s Stats) uint64 { return s.HeadSpans })
	gauge("weir_spans_head_bytes", func(s Stats) uint64 { return s.HeadBytes })
	gauge("weir_spans_blocks", func(s Stats) uint64 { return s.Blocks })
	gauge("weir_spans_block_bytes", func(s Stats) uint64 { return s.BlockBytes })
	c := set.GetOrCreateCounter
	return &counters{
		set:           set,
		appended:      c("weir_spans_appended_total"),
		overTrace:     c(`weir_spans_dropped_total{reason="trace_too_large"}`),
		clipped:       c("weir_spans_texts_clipped_total"),
		leftOut:       c("weir_spans_attributes_left_out_total"),
		duplicates:    c("weir_spans_duplicates_removed_total"),
		groups:        c("weir_spans_log_groups_total"),
		logBytes:      c("weir_spans_log_bytes_total"),
		logErrors:     c("weir_spans_log_errors_total"),
		busy:          c(`weir_spans_refused_total{reason="disk_busy"}`),
		full:          c(`weir_spans_refused_total{reason="head_full"}`),
		blocksCut:     c("weir_spans_blocks_cut_total"),
		cutErrors:     c("weir_spans_cut_errors_total"),
		damagedBlocks: c("weir_spans_damaged_blocks_total"),
		damagedReads:  c("weir_spans_damaged_reads_total"),
		damagedLog:    c("weir_spans_log_damaged_bytes_total"),
		commit:        set.GetOrCreateHistogram("weir_spans_commit_seconds"),
	}
}

func (c *counters) expired(reason string) *metrics.Counter {
	if reason == "age" {
		return c.set.GetOrCreateCounter(`weir_spans_expired_total{reason="age"}`)
	}
	return c.set.GetOrCreateCounter(`weir_spans_expired_total{reason="bytes"}`)
}
