package statsd

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/weirhq/weir/collector/signal"
)

const (
	mergeChunk = 4096    // entries merged before the reader gets its lock back
	maxBody    = 1 << 20 // bytes of one request, about
	stepBack   = 60_000  // milliseconds that the clock may be set back before its new time is believed
)

// flush merges what the readers hold and sends a sample of every series at time t, Unix ms.
func (l *Listener) flush(ctx context.Context, t int64) {
	if l.last-t > stepBack {
		l.rewind(t)
	}
	if t <= l.last {
		return // what came in waits until the clock has caught up
	}
	begin := time.Now()
	l.reg.mu.Lock()
	l.reg.tick = max(l.reg.tick, t)
	l.reg.mu.Unlock()
	sweep := l.dead > 0
	for _, s := range l.sockets {
		s.kernelDrops()
	}
	if e := l.auditDoor.badID.Swap(nil); e != nil {
		l.log.Warn("id samples of audit counts left out; the counts stand", "error", *e)
	}
	for _, r := range l.allReaders() {
		l.merge(r, t, sweep)
	}
	if sweep {
		l.dead = 0
	}
	l.sendTimed(ctx, t)
	l.reg.mu.Lock()
	all := slices.Clip(l.reg.all) // readers append behind it
	l.reg.mu.Unlock()
	died := 0
	for _, s := range all {
		if t-s.touched >= l.cfg.Expiry.Milliseconds() {
			l.end(s, t)
			died++
		} else if s.started {
			l.sample(s, t)
		}
		if l.batch.Size() >= maxBody {
			l.send(ctx)
		}
	}
	l.send(ctx)
	l.last = t
	if died > 0 {
		l.reg.sweep()
		l.dead += died
		l.expired.Add(died)
	}
	l.live.Set(float64(len(all) - died))
	l.flushes.Inc()
	l.flushSeconds.UpdateDuration(begin)
}

// rewind goes on with a clock that was set back far: waiting for it to catch up would be silence for as long.
func (l *Listener) rewind(t int64) {
	l.log.Warn("the clock was set back: samples go on at the new time", "milliseconds", l.last-t)
	l.last = t - 1
	l.reg.mu.Lock()
	defer l.reg.mu.Unlock()
	l.reg.tick = l.last
	for _, s := range l.reg.all {
		s.last, s.touched = 0, min(s.touched, t)
		s.start = min(s.start, t-l.cfg.Interval.Milliseconds())
	}
}

func (l *Listener) allReaders() []*reader {
	if l.streams == nil {
		return l.readers
	}
	return append(slices.Clone(l.readers), l.streams.reader)
}

// merge brings what one reader has gathered into the series.
func (l *Listener) merge(r *reader, t int64, sweep bool) {
	r.mu.Lock()
	dirty := r.dirty
	r.dirty = r.spare[:0]
	r.spare = dirty
	for len(dirty) > mergeChunk {
		l.mergeEntries(r, dirty[:mergeChunk], t)
		dirty = dirty[mergeChunk:]
		r.mu.Unlock() // let the reader in between: its socket fills
		r.mu.Lock()
	}
	l.mergeEntries(r, dirty, t)
	l.timed = append(l.timed, r.timed...)
	r.timed = r.timed[:0]
	if sweep {
		r.forget()
	}
	r.mu.Unlock()
}

func (l *Listener) mergeEntries(r *reader, indexes []uint32, t int64) {
	for _, i := range indexes {
		e := &r.table.entries[i]
		e.dirty = false
		s := e.series
		if s.dead {
			if s = l.reg.revive(s); s == nil {
				l.conflicts.Inc()
				e.value, e.stamp, e.hist, e.members = 0, 0, nil, nil
				continue
			}
			e.series = s
		}
		s.touched, s.started = t, true
		switch e.kind {
		case counter:
			s.value += e.value
			e.value = 0
		case gauge:
			if e.stamp == 0 {
				s.delta += e.value
			} else if e.stamp >= s.setStamp {
				s.setStamp, s.setValue = e.stamp, e.value
			}
			e.value, e.stamp = 0, 0
		case histo:
			s.hist.merge(e.hist)
		case set:
			if s.members == nil {
				s.members = e.members
			} else {
				for m := range e.members {
					s.members[m] = struct{}{}
				}
			}
			e.members = nil
		}
	}
}

// sample adds the sample of s at t to the batch.
func (l *Listener) sample(s *series, t int64) {
	switch s.kind {
	case counter:
		if s.start >= t {
			return // made after the tick; its first sample is the next
		}
		l.total(s, t)
	case histo:
		if s.start >= t {
			return
		}
		if !s.sent {
			l.batch.AddHistogram(s.rw, s.start, s.start, &histogram.Histogram{Schema: s.hist.schema, ZeroThreshold: zeroThreshold})
		}
		s.hist.fill(&l.native)
		l.batch.AddHistogram(s.rw, t, s.start, &l.native)
	case gauge:
		if s.setStamp != 0 {
			s.value = s.setValue
		}
		s.value += s.delta
		s.setStamp, s.delta = 0, 0
		l.batch.Add(s.rw, t, 0, s.value)
	case set:
		l.batch.Add(s.rw, t, 0, float64(len(s.members)))
		s.members = nil
	}
	l.mark(s, t)
}

// total adds a sample of a counter at t, and before the first one a zero: the increase from nothing must be
// visible to stores that do not know start times.
func (l *Listener) total(s *series, t int64) {
	if !s.sent && !s.backdated {
		l.batch.Add(s.rw, s.start, s.start, 0)
	}
	l.batch.Add(s.rw, t, s.start, s.value)
}

func (l *Listener) mark(s *series, t int64) {
	s.last = max(s.last, t)
	if !s.sent {
		s.sent = true
		l.first = append(l.first, s)
	}
}

// end marks s as no longer sent, for stores that know staleness.
func (l *Listener) end(s *series, t int64) {
	s.dead = true
	if !s.sent || !s.started {
		return
	}
	stale := math.Float64frombits(value.StaleNaN)
	if s.kind == histo {
		l.batch.AddHistogram(s.rw, t, 0, &histogram.Histogram{Sum: stale})
		return
	}
	l.batch.Add(s.rw, t, 0, stale)
}

// sendTimed sends the values that came with a time of their own. A gauge's value stands at that time. A count
// raises the series' total, which is sampled at that time when nothing later was sent yet, and else at the tick.
func (l *Listener) sendTimed(ctx context.Context, t int64) {
	slices.SortStableFunc(l.timed, func(a, b timedValue) int {
		return cmp.Or(cmp.Compare(a.series.hash, b.series.hash), cmp.Compare(a.time, b.time))
	})
	for i, v := range l.timed {
		s := v.series
		if s.dead {
			if s = l.reg.revive(s); s == nil {
				l.conflicts.Inc()
				continue
			}
		}
		s.touched = t
		later := i+1 < len(l.timed) && l.timed[i+1].series == v.series && l.timed[i+1].time == v.time
		if s.kind == gauge {
			if !later { // of several values of one moment the last stands
				l.batch.Add(s.rw, v.time, 0, v.value)
				l.mark(s, v.time)
			}
			continue
		}
		s.value += v.value
		if !s.sent && !s.started && v.time <= s.start {
			s.start, s.backdated = v.time-l.cfg.Interval.Milliseconds(), true
		}
		if v.time <= s.last || v.time <= s.start || v.time >= t {
			s.started = true
			continue
		}
		if !later {
			l.total(s, v.time)
			l.mark(s, v.time)
		}
	}
	l.timed = l.timed[:0]
	l.send(ctx)
}

// send gives the batch to the output. What cannot be sent is counted; totals are whole again with the next flush.
func (l *Listener) send(ctx context.Context) {
	n := l.batch.Len()
	if n == 0 {
		return
	}
	l.body = l.batch.AppendTo(l.body[:0])
	l.batch.Reset()
	if err := l.out.Append(ctx, signal.Samples, n, l.body); err != nil {
		l.failures.Inc()
		l.unsent.Add(n)
		for _, s := range l.first {
			s.sent = false // its beginning is still to be told
		}
		l.log.Error("cannot send statsd samples", "samples", n, "error", err)
	}
	l.first = l.first[:0]
}
