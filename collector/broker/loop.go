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
	lease    *lessee
	out      signal.Output
	acct     account
	log      *slog.Logger

	polls, fails *metrics.Counter
	took         *metrics.Summary

	batch    *remotewrite.Batch
	body     []byte
	opened   bool
	failed   int       // polls in a row that read nothing
	nextTry  time.Time // no question before
	wasAway  bool
	complain time.Time // no further complaint in the log before
}

// run asks at every interval, if it is this collector that asks. While the broker does not answer the questions become rarer,
// weir_broker_up 0 is still written at every interval: silence would look like an old value.
func (l *loop) run(ctx context.Context) {
	defer l.lease.release(ctx)
	defer l.shut()
	tick := time.NewTicker(l.interval)
	defer tick.Stop()
	for {
		l.turn(ctx, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// turn is what is done at one tick.
func (l *loop) turn(ctx context.Context, now time.Time) {
	switch {
	case !l.lease.mine(ctx, l.failed):
		l.shut() // a hundred collectors that wait need no hundred connections
		l.failed, l.nextTry, l.wasAway = 0, time.Time{}, false
		l.write(ctx, now, snapshot{}, state{known: true})
		return
	case now.Before(l.nextTry):
		l.write(ctx, now, snapshot{}, l.state(false, false))
		return
	case !l.opened:
		if err := l.sys.open(); err != nil {
			l.fail(ctx, now, snapshot{}, err)
			return
		}
		l.opened = true
	}
	l.once(ctx, now)
}

func (l *loop) shut() {
	if l.opened {
		l.sys.close()
		l.opened = false
	}
}

func (l *loop) state(up, part bool) state {
	return state{owner: true, known: l.lease.leased(), up: up, part: part}
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
	l.write(ctx, now, snap, l.state(true, false))
}

// fail takes note of a poll that did not work, or only in part: then the next one is not put off.
func (l *loop) fail(ctx context.Context, now time.Time, snap snapshot, err error) {
	l.fails.Inc()
	l.wasAway = true
	part := !snap.empty()
	if part {
		l.failed, l.nextTry = 0, time.Time{}
	} else {
		l.nextTry = now.Add(backoff(l.interval, l.failed))
		l.failed++
	}
	if now.After(l.complain) {
		msg := "cannot poll broker"
		if part {
			msg = "cannot read everything from broker"
		}
		l.log.Warn(msg, "error", err, "failed_polls", l.failed)
		l.complain = now.Add(time.Minute)
	}
	l.write(ctx, now, snap, l.state(part, part))
}

// backoff is the pause after the failure that follows n earlier ones.
func backoff(interval time.Duration, n int) time.Duration {
	return min(interval<<min(n, 6), max(maxBackoff, interval)) - interval/2
}

// write appends one poll to the spool: all samples carry the time the poll began.
func (l *loop) write(ctx context.Context, at time.Time, snap snapshot, is state) {
	l.batch.Reset()
	l.series.full = func() { l.append(ctx, at) }
	l.series.add(l.batch, at, snap, is)
	l.append(ctx, at)
}

// append puts what the batch holds into the spool and empties it.
func (l *loop) append(ctx context.Context, at time.Time) {
	n := l.batch.Len()
	if n == 0 {
		return
	}
	l.acct.received.Add(n)
	l.body = l.batch.AppendTo(l.body[:0])
	l.batch.Reset()
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
