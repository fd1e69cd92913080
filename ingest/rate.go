package ingest

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/weirhq/weir/store"
)

// rates holds one token bucket per tenant. Tenants come from the token file, so they are few.
type rates struct {
	perSecond float64
	unit      string
	mu        sync.Mutex
	by        map[store.Tenant]*bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newRates(perSecond float64, unit string) *rates {
	return &rates{perSecond: perSecond, unit: unit, by: map[store.Tenant]*bucket{}}
}

// take admits n items while the bucket is not in debt, so that one large request passes and is paid for afterwards.
func (r *rates) take(t store.Tenant, n int) error {
	if r.perSecond <= 0 || n == 0 {
		return nil
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.by[t]
	if b == nil {
		b = &bucket{tokens: 2 * r.perSecond, at: now}
		r.by[t] = b
	}
	b.tokens = min(2*r.perSecond, b.tokens+now.Sub(b.at).Seconds()*r.perSecond)
	b.at = now
	if b.tokens <= 0 {
		wait := time.Duration(-b.tokens / r.perSecond * float64(time.Second))
		return &refusal{
			http.StatusTooManyRequests, "rate_limited",
			fmt.Sprintf("tenant %q sends more than %.0f %s per second: keep the data and send again", t, r.perSecond, r.unit), max(wait, time.Second),
		}
	}
	b.tokens -= float64(n)
	return nil
}
