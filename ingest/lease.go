package ingest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/internal/access"
	"github.com/weirhq/weir/internal/lease"
	"github.com/weirhq/weir/store"
)

const (
	maxLeaseTTL = time.Hour
	// maxLeases bounds the brokers of one tenant, maxLeaseTenants how many tenants have any.
	maxLeases       = 1000
	maxLeaseTenants = 1000
	maxLeaseBody    = 4 << 10
)

// leases knows which collector polls which broker. They live in memory only: after a restart the first one that asks gets it,
// and at worst two collectors poll the same broker for one interval, which does no harm.
type leases struct {
	mu    sync.Mutex
	by    map[store.Tenant]map[leaseKey]*held
	fence uint64 // of the last grant, of any broker
	count map[string]*metrics.Counter
}

type leaseKey struct{ system, cluster string }

type held struct {
	node    string
	epoch   int64
	fence   uint64
	expires time.Time
}

func newLeases(now time.Time, set *metrics.Set) *leases {
	l := &leases{
		by: map[store.Tenant]map[leaseKey]*held{}, count: map[string]*metrics.Counter{},
		fence: uint64(now.UnixMilli()), // beyond all that an earlier run of the server gave
	}
	for _, a := range []string{"granted", "renewed", "other", "aside", "released", "refused"} {
		l.count[a] = set.NewCounter(fmt.Sprintf("weir_ingest_lease_requests_total{answer=%q}", a))
	}
	set.NewGauge("weir_ingest_leases", func() float64 {
		l.mu.Lock()
		defer l.mu.Unlock()
		n := 0
		for _, m := range l.by {
			n += len(m)
		}
		return float64(n)
	})
	return l
}

// ask decides one request.
func (l *leases) ask(now time.Time, t store.Tenant, r lease.Request) (lease.Answer, error) {
	if err := validLease(r); err != nil {
		l.count["refused"].Inc()
		return lease.Answer{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	k := leaseKey{r.System, r.Cluster}
	h := l.by[t][k]
	if h != nil && !now.Before(h.expires) {
		l.drop(t, k)
		h = nil
	}
	mine := h != nil && h.node == r.Node && h.epoch == r.Epoch
	switch {
	case h != nil && !mine && h.node == r.Node && r.Epoch > h.epoch && !r.Aside && r.TTL > 0:
		// The holder was started again: its earlier life does not come back.
	case h != nil && !mine:
		l.count["other"].Inc()
		return h.answer(false), nil
	case r.TTL == 0 || r.Aside:
		if mine {
			l.drop(t, k)
		}
		if r.Aside {
			l.count["aside"].Inc()
		} else {
			l.count["released"].Inc()
		}
		return lease.Answer{Fence: l.fence}, nil
	case mine:
		h.expires = now.Add(time.Duration(r.TTL) * time.Millisecond)
		l.count["renewed"].Inc()
		return h.answer(true), nil
	}
	if !l.room(now, t) {
		l.count["refused"].Inc()
		return lease.Answer{}, &refusal{http.StatusTooManyRequests, "too_many_leases", fmt.Sprintf("there are leases for %d brokers already: every collector polls the others", maxLeases), time.Minute}
	}
	l.fence++
	h = &held{node: r.Node, epoch: r.Epoch, fence: l.fence, expires: now.Add(time.Duration(r.TTL) * time.Millisecond)}
	l.by[t][k] = h
	l.count["granted"].Inc()
	return h.answer(true), nil
}

func (h *held) answer(mine bool) lease.Answer {
	return lease.Answer{Held: mine, Node: h.node, Epoch: h.epoch, Fence: h.fence, Expires: h.expires.UnixMilli()}
}

func (l *leases) drop(t store.Tenant, k leaseKey) {
	delete(l.by[t], k)
	if len(l.by[t]) == 0 {
		delete(l.by, t)
	}
}

// room makes it, if need be by forgetting what has ended.
func (l *leases) room(now time.Time, t store.Tenant) bool {
	if len(l.by[t]) >= maxLeases || l.by[t] == nil && len(l.by) >= maxLeaseTenants {
		for t, m := range l.by {
			for k, h := range m {
				if !now.Before(h.expires) {
					l.drop(t, k)
				}
			}
		}
	}
	if len(l.by[t]) >= maxLeases || l.by[t] == nil && len(l.by) >= maxLeaseTenants {
		return false
	}
	if l.by[t] == nil {
		l.by[t] = map[leaseKey]*held{}
	}
	return true
}

func validLease(r lease.Request) error {
	for _, f := range []struct{ name, v string }{{"system", r.System}, {"cluster", r.Cluster}, {"node", r.Node}} {
		switch {
		case f.v == "":
			return badData("%s is missing", f.name)
		case len(f.v) > maxName:
			return badData("%s has %d bytes, more than %d", f.name, len(f.v), maxName)
		}
	}
	switch {
	case r.Epoch <= 0:
		return badData("epoch %d is not a time in Unix milliseconds", r.Epoch)
	case r.TTL < 0 || r.TTL > maxLeaseTTL.Milliseconds():
		return badData("ttl_ms %d is out of bounds: use 1 to %d, or 0 to give the lease back", r.TTL, maxLeaseTTL.Milliseconds())
	}
	return nil
}

func (in *Ingest) brokerLease(w http.ResponseWriter, r *http.Request) {
	var req lease.Request
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxLeaseBody))
	if err := d.Decode(&req); err != nil {
		access.WriteError(w, http.StatusBadRequest, "bad_data", "cannot read the request: "+err.Error())
		return
	}
	a, err := in.leases.ask(time.Now(), tenantOf(r.Context()), req)
	var re *refusal
	if errors.As(err, &re) {
		typ := "bad_data"
		if re.code == http.StatusTooManyRequests {
			typ = "too_many_requests"
		}
		access.WriteError(w, re.code, typ, re.msg)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a)
}
