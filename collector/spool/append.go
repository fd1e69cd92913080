package spool

import (
	"fmt"
	"math"
	"time"

	"github.com/weirhq/weir/collector/signal"
)

// maxGroup is how many bytes one group commit takes; later appenders wait for the next.
const maxGroup = 4 << 20

// maxSpare bounds the buffer that is kept from one group to the next.
const maxSpare = 1 << 20

// group is what several appenders write and sync together.
type group struct {
	buf     []byte
	entries []header // sequence numbers and counts are filled in when the group is written
	full    bool
	done    chan struct{}
	first   uint64 // sequence number of the first entry, after done
	err     error
}

// Append puts a compressed request of items things on disk and returns its number. When it returns an error,
// nothing of it was kept. Nothing of body is kept after the call.
func (s *Spool) Append(k signal.Kind, e Encoding, items int, body []byte) (uint64, error) {
	if slot(k) < 0 || items < 0 || int64(items) > math.MaxUint32 {
		return 0, fmt.Errorf("cannot append %d items of kind %d: give a known kind and 0 to %d items", items, k, uint32(math.MaxUint32))
	}
	if need := int64(len(body)) + recordHeader + 2*segmentHeader; need > s.cfg.MaxBytes-s.cfg.SegmentBytes || len(body) > math.MaxInt32 {
		return 0, fmt.Errorf("cannot append %d bytes: %w: send smaller batches or raise max_bytes %d", len(body), ErrTooLarge, s.cfg.MaxBytes)
	}
	h := header{size: uint32(len(body)), sum: checksum(body), items: uint32(items), kind: k, enc: e, at: time.Now().UnixMilli()}

	s.mu.Lock()
	for {
		if s.closed {
			s.mu.Unlock()
			return 0, ErrClosed
		}
		if s.filling == nil || !s.filling.full {
			break
		}
		wait := s.filling.done
		s.mu.Unlock()
		<-wait
		s.mu.Lock()
	}
	g := s.filling
	lead := g == nil
	if lead {
		g = &group{done: make(chan struct{}), buf: s.spare[:0]}
		s.filling, s.spare = g, nil
	}
	i := len(g.entries)
	g.entries = append(g.entries, h)
	var blank [recordHeader]byte
	g.buf = append(g.buf, blank[:]...)
	g.buf = append(g.buf, body...)
	g.full = int64(len(g.buf)) >= min(maxGroup, s.cfg.SegmentBytes)
	crowd := s.crowd > 1
	s.mu.Unlock()

	if lead {
		s.lead(g, crowd)
	} else {
		<-g.done
	}
	if g.err != nil {
		return 0, fmt.Errorf("cannot append to spool %q: %w", s.dir, g.err)
	}
	return g.first + uint64(i), nil
}

// lead waits for company where there is any, then writes the group.
func (s *Spool) lead(g *group, crowd bool) {
	if crowd && s.cfg.GroupCommit > 0 {
		<-time.After(s.cfg.GroupCommit)
	}
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.mu.Lock()
	s.filling = nil
	s.crowd = len(g.entries)
	s.mu.Unlock()
	g.err = s.commit(g)
	s.mu.Lock()
	if g.err != nil {
		s.count.failed += uint64(len(g.entries))
	}
	if cap(g.buf) <= maxSpare {
		s.spare = g.buf
	}
	g.buf = nil
	s.mu.Unlock()
	close(g.done)
}

// commit writes and syncs a group. The caller holds the turn.
func (s *Spool) commit(g *group) error {
	if s.broken {
		if err := s.repair(); err != nil {
			return err
		}
	}
	need := int64(len(g.buf))
	active := s.active()
	if active.size > segmentHeader && active.size+need > s.cfg.SegmentBytes {
		if err := s.rotate(); err != nil {
			return err
		}
		active = s.active()
	}
	s.makeRoom(need)

	end := s.end
	off := 0
	g.first = end.seq
	for i := range g.entries {
		h := &g.entries[i]
		h.position = end
		h.put(g.buf[off:])
		off += recordHeader + int(h.size)
		end = h.after()
	}
	_, err := active.f.WriteAt(g.buf, active.size)
	if err == nil {
		begin := time.Now()
		err = active.f.Sync()
		s.syncs.UpdateDuration(begin)
	}
	if err != nil {
		s.broken = true
		_ = s.repair() // tried again by the next append
		return err
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	active.size += need
	s.bytes += need
	for i := range end.cum {
		n := end.cum[i] - s.end.cum[i]
		s.count.appended[i] += n
		s.count.pending[i] += int64(n)
	}
	s.count.records += uint64(len(g.entries))
	s.end, active.end = end, end
	close(s.notify)
	s.notify = make(chan struct{})
	return nil
}

func (s *Spool) active() *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.segs[len(s.segs)-1]
}

// repair cuts what a failed write left behind the durable end, so that it can never be taken for acknowledged.
func (s *Spool) repair() error {
	active := s.active()
	if err := active.f.Truncate(active.size); err != nil {
		return err
	}
	if err := active.f.Sync(); err != nil {
		return err
	}
	s.broken = false
	return nil
}

// makeRoom drops the oldest segments until need more bytes fit, and counts what had not been handed out.
// What is in flight stays pending until it is acknowledged.
func (s *Spool) makeRoom(need int64) {
	s.mu.Lock()
	var gone []*segment
	var items, records uint64
	for s.bytes+need > s.cfg.MaxBytes && len(s.segs) > 1 {
		seg := s.segs[0]
		if s.cursor.seg == seg {
			records += seg.end.seq - s.cursor.seq
			items += s.lose(seg.end, reasonFull)
			s.cursor.seg, s.cursor.off = s.segs[1], segmentHeader
		}
		gone = append(gone, s.detach())
	}
	s.mu.Unlock()
	if items > 0 {
		s.log.Warn("the spool is full: dropped the oldest records", "dir", s.dir, "records", records, "items", items, "max_bytes", s.cfg.MaxBytes)
	}
	s.remove(gone)
}

// detach takes the oldest segment off the list. The caller holds mu and removes the file.
func (s *Spool) detach() *segment {
	seg := s.segs[0]
	s.segs = s.segs[1:]
	s.bytes -= seg.size
	seg.gone = true
	if seg.refs == 0 {
		_ = seg.close()
	}
	return seg
}

func (s *Spool) remove(gone []*segment) {
	for _, seg := range gone {
		if err := s.fs.Remove(seg.name); err != nil {
			s.log.Warn("cannot remove a segment of the spool; its records will be delivered again after a restart", "file", seg.name, "error", err)
		}
	}
}
