package audit

import (
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/internal/cell"
)

// sampleMeters follow what ids and latencies take and what had to be left out. Counts are never touched by any of it.
type sampleMeters struct {
	bytes                                  *atomic.Int64
	coarser, void, refused, badIDs, badLat *metrics.Counter
}

func newSampleMeters(set *metrics.Set) sampleMeters {
	m := sampleMeters{
		bytes:   &atomic.Int64{},
		coarser: set.NewCounter(`weir_audit_samples_limited_total{kind="ids",how="coarser"}`),
		void:    set.NewCounter(`weir_audit_samples_limited_total{kind="ids",how="given_up"}`),
		refused: set.NewCounter(`weir_audit_samples_limited_total{kind="latency",how="refused"}`),
		badIDs:  set.NewCounter(`weir_audit_samples_bad_total{kind="ids"}`),
		badLat:  set.NewCounter(`weir_audit_samples_bad_total{kind="latency"}`),
	}
	set.NewGauge("weir_audit_sample_bytes", func() float64 { return float64(m.bytes.Load()) })
	return m
}

// UseClock tells how to learn how far the server's clock is ahead of this node's, and the bound of that. Latencies are then counted
// as if this node had the server's clock. To be called before anything is counted.
func (c *Counter) UseClock(f func() (offset, bound time.Duration, ok bool)) { c.clock = f }

// minOffset is how far clocks must be known to differ before latencies are kept by both.
const minOffset = 10 * time.Millisecond

// correction is what to add to latencies measured on this node to have them by the server's clock, milliseconds; false while that
// is not known.
func (c *Counter) correction() (ms float64, differs, ok bool) {
	if c.clock == nil {
		return 0, false, false
	}
	offset, bound, ok := c.clock()
	return float64(offset) / float64(time.Millisecond), ok && offset.Abs() > max(bound, minOffset), ok
}

// full says whether the memory for samples is used up.
func (c *Counter) full() bool { return c.samples.bytes.Load() >= int64(c.cfg.MaxSampleBytes) }

// addSamples merges the samples of an increment into a cell; its shard is locked.
func (c *Counter) addSamples(e *entry, inc *Increment) {
	if inc.IDs == nil && inc.Latency == nil && len(inc.Values) == 0 {
		return
	}
	if inc.IDs != nil {
		c.addIDs(e, inc.IDs)
	}
	if inc.Latency != nil || len(inc.Values) > 0 {
		c.addLatency(e, inc)
	}
	c.weigh(e)
}

func (c *Counter) addIDs(e *entry, ids *cell.IDs) {
	if ids.Bad() != nil {
		c.samples.badIDs.Inc()
		return
	}
	if e.ids == nil {
		e.ids = &cell.IDs{}
	}
	was := e.ids.Void()
	e.ids.Merge(ids)
	if c.full() && len(e.ids.IDs) > 0 { // a coarser sample of this cell pays for what is new
		e.ids.Raise()
		c.samples.coarser.Inc()
	}
	if e.ids.Void() && !was {
		c.samples.void.Inc()
	}
}

func (c *Counter) addLatency(e *entry, inc *Increment) {
	if inc.Latency != nil && inc.Latency.Bad() != nil {
		c.samples.badLat.Inc()
		return
	}
	shift, differs, known := c.correction()
	if e.latency == nil {
		if c.full() {
			c.samples.refused.Inc()
			return
		}
		e.latency = &cell.Sketch{}
		if differs && inc.Latency == nil {
			e.corrected = &cell.Sketch{} // from the first one: half of a cell would prove nothing
		}
	}
	e.latency.Merge(inc.Latency)
	for _, v := range inc.Values {
		if !e.latency.Observe(v, max(inc.Weight, 1)) {
			c.samples.badLat.Inc()
		} else if e.corrected != nil && known {
			e.corrected.Observe(v+shift, max(inc.Weight, 1))
		}
	}
}

// setSamples replaces the samples of a cell by newer totals of the same epoch and says whether anything changed; its shard is locked.
func (c *Counter) setSamples(e *entry, inc *Increment) bool {
	changed := false
	if ids := inc.IDs; ids != nil {
		switch {
		case ids.Bad() != nil:
			c.samples.badIDs.Inc()
		case e.ids == nil || ids.Of >= e.ids.Of && !ids.Equal(e.ids):
			e.ids, changed = ids.Clone(), true
			if c.full() && len(e.ids.IDs) > 0 {
				e.ids.Raise()
				c.samples.coarser.Inc()
			}
		}
	}
	if l := inc.Latency; l != nil {
		switch {
		case l.Bad() != nil:
			c.samples.badLat.Inc()
		case e.latency == nil && c.full():
			c.samples.refused.Inc()
		case e.latency == nil || l.Count >= e.latency.Count && !l.Equal(e.latency):
			e.latency, changed = l.Clone(), true
		}
	}
	if changed {
		c.weigh(e)
	}
	return changed
}

// weigh brings the memory of all samples up to date.
func (c *Counter) weigh(e *entry) {
	size := int64(e.ids.Size() + e.latency.Size() + e.corrected.Size())
	c.samples.bytes.Add(size - e.size)
	e.size = size
}
