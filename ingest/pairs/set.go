package pairs

// idSet remembers ids for a while: two generations of at most half the bound each. It is told whether an id was there.
type idSet struct {
	now, last []uint64
	n, half   int
	began     int64 // of the present generation
}

func newIDSet(bound int) idSet { return idSet{half: max(bound/2, 256)} }

// add reports whether id is new. 0 is never new to anybody: it stands for an empty place.
func (s *idSet) add(id uint64) bool {
	if id == 0 {
		id = 1
	}
	if find(s.last, id) || find(s.now, id) {
		return false
	}
	if s.n >= s.half {
		s.turn(s.began)
	}
	if 2*(s.n+1) > len(s.now) {
		old := s.now
		s.now = make([]uint64, max(512, 2*len(old)))
		for _, v := range old {
			if v != 0 {
				put(s.now, v)
			}
		}
	}
	put(s.now, id)
	s.n++
	return true
}

// turn begins a generation.
func (s *idSet) turn(at int64) {
	s.last, s.now, s.n, s.began = s.now, nil, 0, at
}

func find(t []uint64, id uint64) bool {
	if len(t) == 0 {
		return false
	}
	mask := uint64(len(t) - 1)
	for i := id & mask; t[i] != 0; i = (i + 1) & mask {
		if t[i] == id {
			return true
		}
	}
	return false
}

func put(t []uint64, id uint64) {
	mask := uint64(len(t) - 1)
	i := id & mask
	for t[i] != 0 {
		i = (i + 1) & mask
	}
	t[i] = id
}
