package spool

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"github.com/weirhq/weir/collector/signal"
)

// reason is why items were dropped.
type reason int

const (
	reasonFull reason = iota
	reasonCorrupt
	reasonRejected
	reasons
)

func (r reason) String() string { return [...]string{"full", "corrupt", "rejected"}[r] }

// counts are in items per signal unless they say otherwise.
type counts struct {
	appended, delivered [signals]uint64
	pending             [signals]int64
	dropped             [reasons][signals]uint64
	records             uint64 // appended
	failed              uint64 // appends that got an error
	torn                uint64 // bytes
}

// Counts are the items of one signal: Appended = Delivered + Pending + Full + Corrupt + Rejected, always.
type Counts struct {
	Appended, Delivered, Pending uint64
	Full, Corrupt, Rejected      uint64 // dropped, by reason
}

// Counts returns the figures of one signal at one moment.
func (s *Spool) Counts(k signal.Kind) Counts {
	i := slot(k)
	if i < 0 {
		return Counts{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return Counts{
		Appended: s.count.appended[i], Delivered: s.count.delivered[i], Pending: uint64(s.count.pending[i]),
		Full: s.count.dropped[reasonFull][i], Corrupt: s.count.dropped[reasonCorrupt][i], Rejected: s.count.dropped[reasonRejected][i],
	}
}

// writeMetrics writes all figures of one moment, so that the equation holds in every scrape.
func (s *Spool) writeMetrics(w io.Writer) {
	s.mu.Lock()
	c := s.count
	size, segments, records := s.bytes, len(s.segs), s.end.seq-s.cursor.seq+uint64(len(s.flight))
	oldest := int64(0)
	if len(s.flight) > 0 {
		oldest = s.flight[0].at
	}
	s.mu.Unlock()
	var b bytes.Buffer
	for i := range signals {
		k := signal.Kind(i + 1)
		fmt.Fprintf(&b, "weir_spool_appended_items_total{signal=%q} %d\n", k, c.appended[i])
		fmt.Fprintf(&b, "weir_spool_delivered_items_total{signal=%q} %d\n", k, c.delivered[i])
		fmt.Fprintf(&b, "weir_spool_pending_items{signal=%q} %d\n", k, c.pending[i])
		for r := range reasons {
			fmt.Fprintf(&b, "weir_spool_dropped_items_total{signal=%q,reason=%q} %d\n", k, r, c.dropped[r][i])
		}
	}
	age := 0.0
	if oldest > 0 {
		age = max(0, time.Since(time.UnixMilli(oldest)).Seconds())
	}
	fmt.Fprintf(&b, "weir_spool_oldest_pending_seconds %g\n", age)
	fmt.Fprintf(&b, "weir_spool_pending_records %d\n", records)
	fmt.Fprintf(&b, "weir_spool_bytes %d\n", size)
	fmt.Fprintf(&b, "weir_spool_max_bytes %d\n", s.cfg.MaxBytes)
	fmt.Fprintf(&b, "weir_spool_segments %d\n", segments)
	fmt.Fprintf(&b, "weir_spool_appended_records_total %d\n", c.records)
	fmt.Fprintf(&b, "weir_spool_append_errors_total %d\n", c.failed)
	fmt.Fprintf(&b, "weir_spool_torn_bytes_total %d\n", c.torn)
	_, _ = w.Write(b.Bytes())
}
