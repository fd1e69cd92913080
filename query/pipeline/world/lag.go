package world

import (
	"context"
	"fmt"
	"strconv"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/store"
)

// LagCheck compares the lags of pages with the truth: the age of the oldest record at the time of the poll that
// is not committed and can still be read; what was deleted before is lost and late no more.
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
	s := p.lines["weir_broker_end_offset"]
	o := p.lines["weir_broker_committed_offset"+row.Group]
	b := p.lines["weir_broker_start_offset"]
	if b == nil || len(b.v) == 0 || row.Start == nil || *row.Start != b.v[len(b.v)-1] {
		return // not of the newest poll
	}
	c := int64(*row.Committed)
	if s == nil || o == nil || len(s.t) == 0 || len(o.t) == 0 || o.t[len(o.t)-1] != s.t[len(s.t)-1] || s.t[len(s.t)-1] > w.Now || q.Poller.jumped || s.v[len(s.v)-1] != *row.End || c < 0 || c > p.End() || q.fell > w.Now-90_000 {
		return
	}
	at := s.t[len(s.t)-1] - q.Poller.Skew // of the poll, by the server's clock
	truth := 0.0
	c = max(c, int64(*row.Start))
	if c < int64(*row.End) {
		truth = max(0, float64(at-p.recs[c].at)/1000)
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
