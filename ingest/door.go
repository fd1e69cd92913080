package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/internal/access"
	"github.com/weirhq/weir/store"
)

// door keeps the books of one way in: received = stored + Σ dropped{reason}, in the door's unit.
// What was refused with 429 or 503 is dropped here and received again when the sender comes back.
type door struct {
	name     string
	set      *metrics.Set
	log      *slog.Logger
	received *metrics.Counter
	stored   *metrics.Counter
	seconds  *metrics.Histogram

	mu      sync.Mutex
	dropped map[string]*metrics.Counter
	said    map[string]time.Time // when a reason was last logged
}

// maxReasons bounds the label; the store may bring reasons this package does not know.
const maxReasons = 40

func newDoor(name string, set *metrics.Set, log *slog.Logger) *door {
	l := `{door="` + name + `"}`
	return &door{
		name: name, set: set, log: log.With("door", name),
		received: set.NewCounter("weir_ingest_received_total" + l),
		stored:   set.NewCounter("weir_ingest_stored_total" + l),
		seconds:  set.NewHistogram("weir_ingest_append_seconds" + l),
		dropped:  map[string]*metrics.Counter{},
		said:     map[string]time.Time{},
	}
}

// drop counts n items that were not stored and says so in the log, at most once a minute per reason.
func (d *door) drop(reason string, n int, example string) {
	if n <= 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c, ok := d.dropped[reason]
	if !ok {
		if len(d.dropped) >= maxReasons {
			reason = "other"
		}
		if c, ok = d.dropped[reason]; !ok {
			c = d.set.NewCounter(fmt.Sprintf("weir_ingest_dropped_total{door=%q,reason=%q}", d.name, reason))
			d.dropped[reason] = c
		}
	}
	c.Add(n)
	if now := time.Now(); now.Sub(d.said[reason]) >= time.Minute {
		d.said[reason] = now
		d.log.Warn("items not stored", "reason", reason, "items", n, "example", example)
	}
}

func (d *door) request(code int) {
	d.set.GetOrCreateCounter(`weir_ingest_requests_total{door="` + d.name + `",code="` + strconv.Itoa(code) + `"}`).Inc()
}

// refused counts a request of which nothing was looked at.
func (d *door) refused(kind string) {
	d.set.GetOrCreateCounter(`weir_ingest_refused_total{door="` + d.name + `",reason="` + kind + `"}`).Inc()
}

// refusalOf turns an error of the store into an answer; the one place where kinds become codes.
func refusalOf(err error) *refusal {
	var re *refusal
	switch {
	case errors.As(err, &re):
		return re
	case errors.Is(err, store.ErrUnavailable):
		return &refusal{http.StatusServiceUnavailable, "unavailable", err.Error(), 5 * time.Second}
	case errors.Is(err, store.ErrLimit):
		return &refusal{http.StatusTooManyRequests, "store_limit", err.Error(), 5 * time.Second}
	case errors.Is(err, store.ErrInvalid):
		return &refusal{http.StatusBadRequest, "invalid", err.Error(), 0}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &refusal{http.StatusServiceUnavailable, "canceled", "the request was given up before its data was on disk: " + err.Error(), time.Second}
	default:
		return &refusal{http.StatusInternalServerError, "store_error", err.Error(), 5 * time.Second}
	}
}

// permanent reports whether sending the same bytes again can never help.
func (e *refusal) permanent() bool {
	return e.code >= 400 && e.code < 500 && e.code != http.StatusTooManyRequests && e.code != http.StatusRequestTimeout
}

// refuse writes the answer for err.
func (d *door) refuse(w http.ResponseWriter, err error) *refusal {
	re := refusalOf(err)
	if re.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(re.retry.Seconds()))))
	}
	typ := "bad_data"
	switch {
	case re.code == http.StatusTooManyRequests:
		typ = "too_many_requests"
	case re.code >= http.StatusInternalServerError:
		typ = "unavailable"
	}
	if re.code == http.StatusInternalServerError {
		d.log.Error("request failed", "error", err)
	}
	access.WriteError(w, re.code, typ, re.msg)
	d.request(re.code)
	d.refused(re.kind)
	return re
}

func tenantOf(ctx context.Context) store.Tenant {
	if id, ok := access.From(ctx); ok && id.Tenant != "" {
		return store.Tenant(id.Tenant)
	}
	return store.DefaultTenant
}
