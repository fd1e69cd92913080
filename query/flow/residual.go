package flow

// Residual follows the conservation of counters that have no event windows (3.6): what was sent,
// minus what was taken, minus the growth of the backlog. It is a two-sided CUSUM; its verdict never
// goes beyond PROBABLE_LOSS. The zero value is ready.
type Residual struct{ sum, high, low float64 }

// Step takes the increases since the last scrape and the tolerance, rate × scrape interval. It returns how
// many records are missing beyond the tolerance since the residual was last near 0, negative for a surplus.
func (r *Residual) Step(sent, taken, backlog, tolerance float64) float64 {
	d := sent - taken - backlog
	r.sum += d
	r.high = max(0, r.high+d)
	r.low = min(0, r.low+d)
	switch {
	case r.high > tolerance && r.high >= -r.low:
		return r.high - tolerance
	case -r.low > tolerance:
		return r.low + tolerance
	}
	return 0
}

// Counter turns a raw counter into increases: a fall, or another start time, is a restart and the
// whole new value is new. The first sample is a baseline unless its start is known. The zero value is ready.
type Counter struct {
	start int64
	last  float64
	begun bool
}

// Step takes the next value of a counter that began at start (0 = unknown).
func (c *Counter) Step(start int64, v float64) float64 {
	prev, begun, prevStart := c.last, c.begun, c.start
	c.start, c.last, c.begun = start, v, true
	switch {
	case !begun && start == 0:
		return 0
	case !begun, v < prev, start != prevStart && start != 0:
		return v
	}
	return v - prev
}

// Missing is how many records are missing since the residual was last near 0, tolerance and all.
func (r *Residual) Missing() float64 { return r.high }

// Surplus is how many records are too many since the residual was last near 0.
func (r *Residual) Surplus() float64 { return -r.low }
