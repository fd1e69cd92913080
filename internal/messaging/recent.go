package messaging

// Recent remembers ids for a while: two generations of at most half the bound each.
type Recent struct {
	now, last []uint64
	n, half   int
	began     int64 // of the present generation
}

// NewRecent remembers at most bound ids. It takes memory as they come.
func NewRecent(bound int) Recent { return Recent{half: max(bound/2, 256)} }

// Began is when the present generation began, as told by Turn.
func (s *Recent) Began() int64 { return s.began }

// Add reports whether id is new. 0 is never new to anybody: it stands for an empty place.
func (s *Recent) Add(id uint64) bool {
	if id == 0 {
		id = 1
	}
	if find(s.last, id) || find(s.now, id) {
		return false
	}
	if s.n >= s.half {
		s.Turn(s.began)
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

// Turn begins a generation.
func (s *Recent) Turn(at int64) {
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
