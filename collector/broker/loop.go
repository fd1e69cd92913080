package broker

import (
	"context"
	"log/slog"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/collector/remotewrite"
	"github.com/weirhq/weir/collector/signal"
)

// maxBackoff bounds the pause between two attempts to poll a broker that does not answer.
const maxBackoff = time.Minute

// loop polls one broker.
type loop struct {
	sys      system
	interval time.Duration
	timeout  time.Duration
	series   *seriesCache
	out      signal.Output
	acct     account
	log      *slog.Logger

	polls, fails *metrics.Counter
	took         *metrics.Summary

	batch    *remotewrite.Batch
	body     []byte
	failed   int       // polls failed in a row
	nextTry  time.Time // no question before
	wasAway  bool
	complain time.Time // no further complaint in the log before
}

// run asks at every interval. While the broker does not answer the questions become rarer,
// weir_broker_up 0 is still written at every interval: silence would look like an old value.
func (l *loop) run(ctx context.Context) {
	opened := false
	defer func() {
		if opened {
			l.sys.close()
		}
	}()
	tick := time.NewTicker(l.interval)
	defer tick.Stop()
	for {
		now := time.Now()
		if !now.Before(l.nextTry) {
			if !opened {
				if err := l.sys.open(); err != nil {
					l.fail(ctx, now, snapshot{}, err)
				} else {
					opened = true
				}
			}
			if opened {
				l.once(ctx, now)
			}
		} else {
			l.write(ctx, now, snapshot{}, false)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (l *loop) once(ctx context.Context, now time.Time) {
	l.polls.Inc()
	pctx, cancel := context.WithTimeout(ctx, l.timeout)
	snap, err := l.sys.poll(pctx)
	cancel()
	l.took.UpdateDuration(now)
	if ctx.Err() != nil {
		return // stopped in the middle: what was read is no complete picture
	}
	if err != nil {
		l.fail(ctx, now, snap, err)
		return
	}
	if l.wasAway {
		l.log.Info("broker answers again", "failed_polls", l.failed)
		l.wasAway = false
	}
	l.failed, l.nextTry = 0, time.Time{}
	l.write(ctx, now, snap, true)
}

func (l *loop) fail(ctx context.Context, now time.Time, snap snapshot, err error) {
	l.fails.Inc()
	l.wasAway = true
	l.nextTry = now.Add(backoff(l.interval, l.failed))
	l.failed++
	if now.After(l.complain) {
		l.log.Warn("cannot poll broker", "error", err, "failed_polls", l.failed)
		l.complain = now.Add(time.Minute)
	}
	l.write(ctx, now, snap, false)
}

// backoff is the pause after the failure that follows n earlier ones.
func backoff(interval time.Duration, n int) time.Duration {
	return min(interval<<min(n, 6), max(maxBackoff, interval)) - interval/2
}

// write appends one poll to the spool: all samples carry the time the poll began.
func (l *loop) write(ctx context.Context, at time.Time, snap snapshot, up bool) {
	l.batch.Reset()
	l.series.add(l.batch, at, snap, up)
	n := l.batch.Len()
	l.acct.received.Add(n)
	l.body = l.batch.AppendTo(l.body[:0])
	if err := l.out.Append(ctx, signal.Samples, n, l.body); err != nil {
		l.acct.droppedSpool.Add(n)
		if at.After(l.complain) {
			l.log.Error("cannot keep broker samples", "error", err, "samples", n)
			l.complain = at.Add(time.Minute)
		}
		return
	}
	l.acct.accepted.Add(n)
}
