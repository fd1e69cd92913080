package world

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/store"
)

// LagCheck compares the lags of pages with the truth: the age of the oldest record not committed at the time of the poll.
type LagCheck struct {
	Points, Within int
	Worst          float64 // most beyond the stated bound, seconds
	At             string
}

// compare takes every partition of the page whose newest poll has just arrived.
func (l *LagCheck) compare(w *World) {
	p, err := w.Service.Pipeline(context.Background(), store.DefaultTenant, "p")
	if err != nil {
		return
	}
	for i := range p.Partitions {
		row := &p.Partitions[i]
		for _, q := range w.Queues {
			if q.Name == row.Destination && q.Absurd == 0 {
				l.one(w, q, row)
			}
		}
	}
}

func (l *LagCheck) one(w *World, q *Queue, row *answer.PartitionRow) {
	n, err := strconv.Atoi(row.Partition)
	if err != nil || n >= len(q.Parts) || row.Lag.Seconds == nil || row.Committed == nil || row.End == nil {
		return
	}
	p := q.Parts[n]
	// What the page can know: polls up to now, by a clock that may be ahead.
	last := func(name string) (at int64, v float64) {
		s := p.lines[name]
		if s == nil {
			return 0, 0
		}
		i, found := slices.BinarySearch(s.t, w.Now)
		if !found {
			i--
		}
		if i < 0 {
			return 0, 0
		}
		return s.t[i], s.v[i]
	}
	at, end := last("weir_broker_end_offset")
	at2, _ := last("weir_broker_committed_offset" + row.Group)
	_, start := last("weir_broker_start_offset")
	c := int64(*row.Committed)
	if at == 0 || at2 != at || end != *row.End || q.Poller.jumped || c < 0 || c > p.End() || q.fell > w.Now-90_000 {
		return
	}
	at -= q.Poller.Skew                     // of the poll, by the server's clock
	if q.nonsense > 0 && at <= q.nonsense { // made while its figures were nonsense, and came later
		return
	}
	truth := 0.0
	if c < int64(*row.End) { // what is deleted does not wait
		truth = max(0, float64(at-p.recs[min(max(c, int64(start)), p.End()-1)].at)/1000)
	}
	off := *row.Lag.Seconds - truth
	l.Points++
	if row.Lag.Bound == nil { // at least so much
		if off <= 0.26 {
			l.Within++
		}
		return
	}
	if off = max(off, -off) - *row.Lag.Bound; off <= 0.26 { // a tick, since records of one tick have no order
		l.Within++
	} else if off > l.Worst {
		l.Worst, l.At = off, fmt.Sprintf("t+%d %s/%s as %s: %.2f ± %.2f s, in truth %.2f", (w.Now-Begin)/1000, row.Destination, row.Partition, row.Group, *row.Lag.Seconds, *row.Lag.Bound, truth)
	}
}
