package telemetry

import (
	"cmp"
	"slices"

	"github.com/weirhq/weir/query/answer"
)

// door is one row with what it was at earlier moments: counters are read while records pass, so a
// difference that comes and goes is what is just being handled, one that stays is a leak.
type door struct {
	received, stored, spooled map[int64]float64 // by time of reading
	dropped                   map[int64]map[string]float64
}

func newDoor() *door {
	return &door{received: map[int64]float64{}, stored: map[int64]float64{}, spooled: map[int64]float64{}, dropped: map[int64]map[string]float64{}}
}

func (d *door) drop(at int64, reason string, v float64) {
	if d.dropped[at] == nil {
		d.dropped[at] = map[string]float64{}
	}
	d.dropped[at][reason] += v
}

func (d *door) forget(before int64) {
	for _, m := range []map[int64]float64{d.received, d.stored, d.spooled} {
		for at := range m {
			if at < before {
				delete(m, at)
			}
		}
	}
	for at := range d.dropped {
		if at < before {
			delete(d.dropped, at)
		}
	}
}

// row makes the answer from the newest exact reading of the last minute, or, when there is none, from the
// newest: then something is missing. Readings between two counters of a busy door need not be exact.
func (d *door) row(k doorKey, unit string) (answer.DoorRow, bool) {
	r := answer.DoorRow{Node: k.node, Part: k.part, Door: k.door, Unit: unit, Dropped: []answer.DropRow{}}
	var first, last int64
	for at := range d.received {
		if first == 0 || at < first {
			first = at
		}
		last = max(last, at)
	}
	if last == 0 {
		return r, false
	}
	diff := func(at int64) float64 {
		x := d.received[at] - d.stored[at] - d.spooled[at]
		for _, n := range d.dropped[at] {
			x -= n
		}
		return x
	}
	exact := int64(0)
	for at := range d.received {
		if at > exact && diff(at) == 0 {
			exact = at
		}
	}
	if r.Balanced = exact > 0; r.Balanced {
		last = exact
	}
	r.Received, r.Stored, r.Spooled, r.Diff = d.received[last], d.stored[last], d.spooled[last], diff(last)
	for reason, n := range d.dropped[last] {
		if n != 0 {
			r.Dropped = append(r.Dropped, answer.DropRow{Reason: reason, Count: n})
		}
	}
	slices.SortFunc(r.Dropped, func(a, b answer.DropRow) int { return cmp.Compare(a.Reason, b.Reason) })
	if last > first {
		rate := max(0, (d.received[last]-d.received[first])/(float64(last-first)/1000))
		r.Rate = &rate
	}
	return r, true
}
