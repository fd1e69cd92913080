package broker

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/internal/lease"
)

// Who polls a broker that several collectors are configured with.
const (
	OwnerLease  = "lease"  // the one that has the server's lease
	OwnerAlways = "always" // each of them
)

const (
	// leaseIntervals is the default life of a lease, in polls.
	leaseIntervals = 3
	// maxLeaseTTL is the longest life the server gives.
	maxLeaseTTL = time.Hour
	// asideAfter is how many polls in a row may fail before another collector is let try.
	asideAfter = 3
)

// LeaseFunc asks the server for the lease of a broker.
type LeaseFunc func(ctx context.Context, r lease.Request) (lease.Answer, error)

func validOwner(owner string, ttl time.Duration) error {
	switch {
	case owner != "" && owner != OwnerLease && owner != OwnerAlways:
		return fmt.Errorf("owner %q is unknown; use %q or %q", owner, OwnerLease, OwnerAlways)
	case ttl != 0 && (ttl < time.Second || ttl > maxLeaseTTL):
		return fmt.Errorf("lease_ttl %s is out of bounds; use 1s to %s, or leave it out for %d intervals", ttl, maxLeaseTTL, leaseIntervals)
	}
	return nil
}

// lessee knows whether this collector is the one to poll a broker. Polling twice does no harm, not polling does: so who
// never got an answer polls, and who held the lease when the server became unreachable goes on.
type lessee struct {
	ask     LeaseFunc // nil = polls in any case
	req     lease.Request
	timeout time.Duration
	log     *slog.Logger

	heard  bool // the server answered once
	held   bool // and this is what it said last
	holder string
	silent bool // the server did not answer the last question

	answers map[string]*metrics.Counter
	changes *metrics.Counter
}

func newLessee(ask LeaseFunc, node string, epoch int64, system, cluster string, interval, ttl time.Duration, set *metrics.Set, log *slog.Logger) *lessee {
	if ttl == 0 {
		ttl = leaseIntervals * interval
	}
	l := &lessee{
		ask: ask, log: log, timeout: min(interval/2, 2*time.Second), answers: map[string]*metrics.Counter{},
		req: lease.Request{System: system, Cluster: cluster, Node: node, Epoch: epoch, TTL: min(ttl, maxLeaseTTL).Milliseconds()},
	}
	if ask == nil {
		return l
	}
	for _, a := range []string{"held", "other", "failed"} {
		l.answers[a] = set.GetOrCreateCounter(fmt.Sprintf(`weir_broker_lease_requests_total{system=%q,cluster=%q,answer=%q}`, system, cluster, a))
	}
	l.changes = set.GetOrCreateCounter(fmt.Sprintf(`weir_broker_lease_changes_total{system=%q,cluster=%q}`, system, cluster))
	return l
}

// leased tells whether it is a lease that decides.
func (l *lessee) leased() bool { return l.ask != nil }

// mine asks and says whether to poll. failed is how many polls in a row read nothing: after some, another collector may try.
func (l *lessee) mine(ctx context.Context, failed int) bool {
	if l.ask == nil {
		return true
	}
	r := l.req
	r.Aside = failed >= asideAfter
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	a, err := l.ask(ctx, r)
	if err != nil {
		l.answers["failed"].Inc()
		if !l.silent {
			l.log.Info("cannot ask the server who polls this broker", "error", err, "polls", l.polls())
			l.silent = true
		}
		return l.polls()
	}
	l.silent = false
	held := a.Held || r.Aside && a.Node == "" // nobody else wants it
	if !l.heard || held != l.held || a.Node != l.holder && !held {
		l.changes.Inc()
		if held {
			l.log.Info("this collector polls the broker", "fence", a.Fence)
		} else {
			l.log.Info("another collector polls the broker", "holder", a.Node, "fence", a.Fence)
		}
	}
	l.heard, l.held, l.holder = true, held, a.Node
	if held {
		l.answers["held"].Inc()
	} else {
		l.answers["other"].Inc()
	}
	return held
}

// polls is what follows from the last answer.
func (l *lessee) polls() bool { return !l.heard || l.held }

// release gives the lease back, so that the next collector need not wait for its end.
func (l *lessee) release(ctx context.Context) {
	if l.ask == nil || !l.heard || !l.held {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.timeout)
	defer cancel()
	r := l.req
	r.TTL = 0
	if _, err := l.ask(ctx, r); err != nil {
		l.log.Debug("cannot give back the lease of this broker; it ends by itself", "error", err)
	}
}
