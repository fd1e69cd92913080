package spool

import (
	"errors"
	"io"
	"path/filepath"
)

// The read position lies in two slots that are written in turn, so that a torn write leaves the other.
const (
	ackMagic = "weirack1"
	ackSlots = 4096 // distance of the slots
)

func (s *Spool) openAck() (position, error) {
	f, err := s.fs.Open(filepath.Join(s.dir, "ack"), true)
	if err != nil {
		return position{}, err
	}
	s.ackFile = f
	var best position
	for i := range int64(2) {
		var raw [segmentHeader]byte
		n, err := f.ReadAt(raw[:], i*ackSlots)
		if err != nil && !errors.Is(err, io.EOF) {
			return position{}, err
		}
		if pos, ok := parsePosition(raw[:n], ackMagic); ok && pos.seq > best.seq {
			best, s.ackSlot = pos, 1-i
		}
	}
	s.ackSaved = best
	return best, nil
}

// saveAck makes the read position durable when it has moved.
func (s *Spool) saveAck() error {
	s.ackMu.Lock()
	defer s.ackMu.Unlock()
	s.mu.Lock()
	pos := s.settledPosition()
	s.mu.Unlock()
	if pos.seq == s.ackSaved.seq {
		return nil
	}
	var raw [segmentHeader]byte
	putPosition(raw[:], ackMagic, pos)
	if _, err := s.ackFile.WriteAt(raw[:], s.ackSlot*ackSlots); err != nil {
		return err
	}
	if err := s.ackFile.Sync(); err != nil {
		return err
	}
	s.ackSaved = pos
	s.ackSlot = 1 - s.ackSlot
	return nil
}
