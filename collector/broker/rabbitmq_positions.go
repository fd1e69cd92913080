package broker

import "math"

// rabbitPosition is how far a queue has come since it was first seen. The broker's counter begins anew when its node does.
type rabbitPosition struct {
	base, published float64
	held            float64 // at the poll before
	counts          bool    // it counted what was published, and nothing came since that it did not count
	round           uint64
}

// still says whether a queue that tells no counter stands where it stood: one that counted before its node began anew, and
// to which nothing came since.
func (r *rabbitSystem) still(name string, backlog float64) bool {
	p := r.positions[name]
	if p == nil {
		return false
	}
	p.counts = p.counts && backlog <= p.held
	p.held, p.round = backlog, r.round // it may count again
	return p.counts
}

// end is how far a queue has come: what was published since it was first seen, after what it held then. Of a stream that does
// not count, what it holds tells: that falls only where retention deletes, never by reading.
func (r *rabbitSystem) end(name string, publish number, backlog float64) float64 {
	p := r.positions[name]
	if p == nil {
		// What waited before the counter began went in too.
		p = &rabbitPosition{base: math.Max(0, backlog-publish.v), held: backlog}
		r.positions[name] = p
	}
	switch {
	case !publish.known:
		p.base += math.Max(0, backlog-p.held)
	case publish.v < p.published: // the counter began anew
		p.base, p.published = p.base+p.published, publish.v
	default:
		p.published = publish.v
	}
	p.counts = p.counts || publish.known
	p.held, p.round = backlog, r.round
	return math.Max(p.base+p.published, backlog)
}
