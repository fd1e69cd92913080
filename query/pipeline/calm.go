package pipeline

// lateHold remembers that a pipeline is late, so that a lag that swings around its objective is one lateness,
// not twenty.
type lateHold struct {
	late bool
	calm int64 // since when it is within its objectives again, Unix milliseconds; 0 = it is not
}

// wellWithin is the share of an objective below which a lateness ends at once.
const wellWithin = 0.8

// step takes whether a pipeline is beyond an objective now, and whether it is well within all of them, and says
// whether it counts as late: once beyond, until it was within for as long as calm, milliseconds, or is well within.
func (h *lateHold) step(now int64, beyond, well bool, calm int64) bool {
	switch {
	case beyond:
		h.late, h.calm = true, 0
	case !h.late:
	case well:
		*h = lateHold{}
	case h.calm == 0:
		h.calm = now
		h.late = calm > 0
	case now-h.calm >= calm:
		*h = lateHold{}
	}
	return h.late
}
