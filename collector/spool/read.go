package spool

import (
	"context"
	"fmt"
)

// maxReadFailures is how often a place that the disk refuses to read is tried before it counts as corrupt.
const maxReadFailures = 5

// Next returns the oldest record that was not handed out yet, and waits for one until ctx ends. The body is the caller's.
// Every record must be settled with Ack or Drop, in order. After an I/O error the same place is read again.
func (s *Spool) Next(ctx context.Context) (Record, error) {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return Record{}, ErrClosed
		}
		for s.cursor.off >= s.cursor.seg.size && s.cursor.seg != s.segs[len(s.segs)-1] {
			s.step()
		}
		seg, off, limit, notify := s.cursor.seg, s.cursor.off, s.cursor.seg.size, s.notify
		if off >= limit {
			s.mu.Unlock()
			select {
			case <-notify:
				continue
			case <-ctx.Done():
				return Record{}, ctx.Err()
			}
		}
		end := seg.end
		expect := s.cursor.position
		err := s.openFile(seg)
		if err == nil {
			seg.refs++
		}
		s.mu.Unlock()

		var r read
		if err == nil {
			r, err = seg.read(off, limit, expect, end)
		}

		s.mu.Lock()
		if err == nil {
			seg.refs--
			if seg.gone && seg.refs == 0 {
				_ = seg.close()
			}
		}
		rec, ok, err := s.took(seg, limit, r, err)
		s.mu.Unlock()
		if ok || err != nil {
			return rec, err
		}
	}
}

// read is what lies at a place of a segment.
type read struct {
	h    header
	body []byte
	next int64 // offset behind it
	lost bool  // nothing whole from here to the durable end
	bad  bool  // the body is damaged
}

func (g *segment) read(off, limit int64, expect, end position) (read, error) {
	var raw [recordHeader]byte
	if limit-off >= recordHeader {
		if _, err := g.f.ReadAt(raw[:], off); err != nil {
			return read{}, err
		}
	}
	h, ok := parseHeader(raw[:])
	if !ok || h.seq < expect.seq || h.seq >= end.seq || off+recordHeader+int64(h.size) > limit {
		var err error
		if h, off, ok, err = g.resync(off, limit, expect.seq, end.seq); err != nil {
			return read{}, err
		}
		if !ok {
			return read{next: limit, lost: true}, nil
		}
	}
	r := read{h: h, body: make([]byte, h.size), next: off + recordHeader + int64(h.size)}
	if _, err := g.f.ReadAt(r.body, off+recordHeader); err != nil {
		return read{}, err
	}
	r.bad = checksum(r.body) != h.sum
	return r, nil
}

// took moves the cursor behind what was read and counts what was damaged. The caller holds mu.
func (s *Spool) took(seg *segment, limit int64, r read, err error) (Record, bool, error) {
	if s.closed {
		return Record{}, false, ErrClosed
	}
	if seg.gone { // dropped for room while it was read, and counted there
		return Record{}, false, nil
	}
	if err != nil {
		s.readFail++
		if s.readFail < maxReadFailures {
			return Record{}, false, fmt.Errorf("cannot read spool segment %q: %w", seg.name, err)
		}
		s.log.Error("a segment of the spool cannot be read; its rest is left out and counted as corrupt", "file", seg.name, "error", err)
		r = read{next: limit, lost: true}
	}
	s.readFail = 0
	if r.lost {
		// All up to the durable end that was seen. When records were appended meanwhile, the next round finds them.
		s.cursor.off = r.next
		if seg.size == limit {
			s.corrupt(seg, seg.end)
		}
		return Record{}, false, nil
	}
	if r.h.seq > s.cursor.seq {
		s.corrupt(seg, r.h.position)
	}
	if r.bad {
		s.cursor.off = r.next
		s.corrupt(seg, r.h.after())
		return Record{}, false, nil
	}
	s.cursor.off = r.next
	s.cursor.position = r.h.after()
	s.flight = append(s.flight, flight{position: r.h.position, kind: r.h.kind, items: int(r.h.items), at: r.h.at})
	return Record{Seq: r.h.seq, Kind: r.h.kind, Encoding: r.h.enc, Items: int(r.h.items), At: r.h.at, Body: r.body}, true, nil
}

// corrupt counts everything from the cursor to pos as lost.
func (s *Spool) corrupt(seg *segment, pos position) {
	records := pos.seq - s.cursor.seq
	items := s.lose(pos, reasonCorrupt)
	s.log.Error("left out damaged records of the spool", "file", seg.name, "records", records, "items", items)
}

// lose moves the position of the cursor to pos and counts the items between as dropped. The caller holds mu.
func (s *Spool) lose(pos position, why reason) (items uint64) {
	for i := range pos.cum {
		if pos.cum[i] < s.cursor.cum[i] {
			continue
		}
		n := pos.cum[i] - s.cursor.cum[i]
		s.count.dropped[why][i] += n
		s.count.pending[i] -= int64(n)
		items += n
	}
	s.cursor.position = pos
	return items
}

// step moves the cursor from the end of a complete segment to the next. The caller holds mu.
func (s *Spool) step() {
	seg := s.cursor.seg
	if s.cursor.seq != seg.end.seq {
		s.corrupt(seg, seg.end)
	}
	if seg.refs == 0 {
		_ = seg.close()
	}
	for i, g := range s.segs {
		if g == seg {
			s.cursor = cursor{position: s.cursor.position, seg: s.segs[i+1], off: segmentHeader}
			return
		}
	}
}

// seek puts the cursor behind acked.
func (s *Spool) seek(acked position) error {
	for i, seg := range s.segs {
		if acked.seq >= seg.end.seq && i < len(s.segs)-1 {
			continue
		}
		s.cursor = cursor{position: seg.base, seg: seg, off: segmentHeader}
		if err := s.openFile(seg); err != nil {
			return err
		}
		if acked.seq == seg.end.seq {
			s.cursor.position, s.cursor.off = seg.end, seg.size
			return nil
		}
		for s.cursor.seq < acked.seq && s.cursor.off < seg.size {
			r, err := seg.read(s.cursor.off, seg.size, s.cursor.position, seg.end)
			if err != nil {
				return err
			}
			if !r.lost && r.h.seq >= acked.seq {
				break // what lies between was damaged and not acknowledged: Next counts it
			}
			s.cursor.off = r.next
			if !r.lost {
				s.cursor.position = r.h.after()
			}
		}
		s.cursor.position = acked
		return nil
	}
	return nil
}

// Ack settles every record up to seq as delivered.
func (s *Spool) Ack(seq uint64) { s.settle(seq, 0, 0) }

// Drop settles every record up to seq; of the items of record seq, items count as dropped because the server rejected them,
// the rest as delivered.
func (s *Spool) Drop(seq uint64, items int) { s.settle(seq, items, reasonRejected) }

func (s *Spool) settle(seq uint64, dropped int, why reason) {
	s.mu.Lock()
	n := 0
	for n < len(s.flight) && s.flight[n].seq <= seq {
		f := s.flight[n]
		lost := 0
		if f.seq == seq {
			lost = min(max(dropped, 0), f.items)
		}
		i := slot(f.kind)
		s.count.pending[i] -= int64(f.items)
		s.count.delivered[i] += uint64(f.items - lost)
		s.count.dropped[why][i] += uint64(lost)
		n++
	}
	s.flight = s.flight[:copy(s.flight, s.flight[n:])]
	gone := s.settled()
	s.mu.Unlock()
	s.remove(gone)
}

// settled takes the segments off the list in which everything is settled. The caller holds mu.
func (s *Spool) settled() (gone []*segment) {
	for s.cursor.off >= s.cursor.seg.size && s.cursor.seg != s.segs[len(s.segs)-1] {
		s.step()
	}
	pos := s.settledPosition()
	for len(s.segs) > 1 && s.segs[0] != s.cursor.seg && s.segs[0].end.seq <= pos.seq {
		gone = append(gone, s.detach())
	}
	return gone
}

func (s *Spool) settledPosition() position {
	if len(s.flight) > 0 {
		return s.flight[0].position
	}
	return s.cursor.position
}

func (s *Spool) trim() { s.remove(s.settled()) }

// Pending returns how many records wait or are in flight, and the age anchor of the oldest in flight (Unix ms, 0 when none).
func (s *Spool) Pending() (records uint64, oldest int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.flight) > 0 {
		oldest = s.flight[0].at
	}
	return s.end.seq - s.cursor.seq + uint64(len(s.flight)), oldest
}
