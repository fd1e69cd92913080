package ship

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// clock estimates how far the server's clock is ahead of ours from the times in its answers (Cristian's exchange): the answer with
// the shortest time on the way bounds it best.
type clock struct {
	mu     sync.Mutex
	offset time.Duration
	bound  time.Duration
	at     time.Time // of the estimate; zero = none
}

const (
	// drift is how much two clocks may part: an old estimate gets worse, until a new one is better.
	drift = 100e-6
	// clockMemory is how old an estimate may be.
	clockMemory = time.Hour
)

// observe takes in an answer that was asked for at sent and began to arrive at got.
func (c *clock) observe(h http.Header, sent, got time.Time) {
	came, went, resolution, ok := serverTimes(h)
	way := got.Sub(sent) - went.Sub(came)
	if !ok || way < 0 || got.Sub(sent) > time.Minute {
		return
	}
	// The server's clock less ours, at the way there and at the way back; the truth lies between.
	offset := (came.Sub(sent.Round(0)) + went.Sub(got.Round(0))) / 2
	bound := way/2 + resolution + time.Microsecond
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() || bound <= c.worn(got) || (offset-c.offset).Abs() > bound+c.worn(got) { // the last: somebody set a clock
		c.offset, c.bound, c.at = offset, bound, got
	}
}

// worn is the bound of the estimate now.
func (c *clock) worn(now time.Time) time.Duration {
	return c.bound + time.Duration(drift*float64(now.Sub(c.at)))
}

func (c *clock) estimate() (offset, bound time.Duration, ok bool) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() || now.Sub(c.at) > clockMemory {
		return 0, 0, false
	}
	return c.offset, c.worn(now), true
}

// serverTimes reads when a request came and when its answer went: weir's own header, to the microsecond, or the Date that every
// server sends, to the second.
func serverTimes(h http.Header) (came, went time.Time, resolution time.Duration, ok bool) {
	if v := h.Get("Weir-Time"); v != "" {
		a, b, found := strings.Cut(v, ",")
		t1, err1 := strconv.ParseInt(a, 10, 64)
		t2, err2 := strconv.ParseInt(b, 10, 64)
		if !found || err1 != nil || err2 != nil || t1 <= 0 || t2 < t1 || t2 > 1<<53 {
			return came, went, 0, false
		}
		return time.UnixMicro(t1), time.UnixMicro(t2), 0, true
	}
	t, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return came, went, 0, false
	}
	t = t.Add(500 * time.Millisecond) // it is cut to the second
	return t, t, 500 * time.Millisecond, true
}

// Clock says how far the server's clock is ahead of this machine's and the bound of that; false while nothing is known.
func (s *Shipper) Clock() (offset, bound time.Duration, ok bool) { return s.clock.estimate() }
