package ingest

import (
	"slices"
	"sort"
)

// interval is a run of sequence numbers, both ends included.
type interval struct {
	From uint64 `json:"f"`
	To   uint64 `json:"t"`
}

// maxIntervals bounds the memory for one spool. Beyond it the oldest hole is given up for lost.
const maxIntervals = 1000

// seen is a set of sequence numbers from which the missing ones between them are counted exactly.
type seen struct {
	Runs []interval `json:"runs,omitempty"` // sorted, with holes between them
	Lost uint64     `json:"lost,omitempty"` // numbers in holes that are no longer followed
}

// add notes n; false when it was there already.
func (s *seen) add(n uint64) bool {
	i := sort.Search(len(s.Runs), func(i int) bool { return s.Runs[i].To >= n }) // first run that ends at n or later
	if i < len(s.Runs) && s.Runs[i].From <= n {
		return false
	}
	joinsLeft := i > 0 && s.Runs[i-1].To+1 == n
	joinsRight := i < len(s.Runs) && n+1 == s.Runs[i].From
	switch {
	case joinsLeft && joinsRight:
		s.Runs[i-1].To = s.Runs[i].To
		s.Runs = slices.Delete(s.Runs, i, i+1)
	case joinsLeft:
		s.Runs[i-1].To = n
	case joinsRight:
		s.Runs[i].From = n
	default:
		s.Runs = slices.Insert(s.Runs, i, interval{n, n})
	}
	if len(s.Runs) > maxIntervals {
		s.Lost += s.Runs[1].From - s.Runs[0].To - 1
		s.Runs[0].To = s.Runs[1].To
		s.Runs = slices.Delete(s.Runs, 1, 2)
	}
	return true
}

// max is the highest number seen, 0 when there is none.
func (s *seen) max() uint64 {
	if len(s.Runs) == 0 {
		return 0
	}
	return s.Runs[len(s.Runs)-1].To
}

// missing counts the numbers between the lowest and the highest that were not seen.
func (s *seen) missing() uint64 {
	n := s.Lost
	for i := 1; i < len(s.Runs); i++ {
		n += s.Runs[i].From - s.Runs[i-1].To - 1
	}
	return n
}

// jump marks everything from the highest number up to n as not to be judged, and returns how many that are.
func (s *seen) jump(n uint64) uint64 {
	last := len(s.Runs) - 1
	if last < 0 || n <= s.Runs[last].To+1 {
		return 0
	}
	skipped := n - s.Runs[last].To - 1
	s.Runs[last].To = n - 1
	return skipped
}
