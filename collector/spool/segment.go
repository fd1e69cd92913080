package spool

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// segment is one file of records. All but the last are complete and never written again.
type segment struct {
	name string // full path
	f    file   // nil until needed
	base position
	end  position // behind the last durable record
	size int64    // durable bytes
	refs int      // reads under way
	gone bool     // dropped or removed; close when refs is 0
}

func (g *segment) close() error {
	if g.f == nil {
		return nil
	}
	err := g.f.Close()
	g.f = nil
	return err
}

func segmentName(dir string, seq uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%020d.seg", seq))
}

// openID reads the name of the spool, or makes one.
func (s *Spool) openID() (string, error) {
	name := filepath.Join(s.dir, "id")
	if f, err := s.fs.Open(name, false); err == nil {
		var raw [32]byte
		n, err := f.ReadAt(raw[:], 0)
		_ = f.Close()
		if n == len(raw) {
			if _, err := hex.DecodeString(string(raw[:])); err == nil {
				return string(raw[:]), nil
			}
		} else if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		s.log.Warn("the id of the spool cannot be read; it gets a new one", "file", name)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	var raw [16]byte
	rand.Read(raw[:])
	id := hex.EncodeToString(raw[:])
	f, err := s.fs.Open(name+".tmp", true)
	if err != nil {
		return "", err
	}
	_, err = f.WriteAt([]byte(id), 0)
	if err == nil {
		err = f.Truncate(int64(len(id)))
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = s.fs.Rename(name+".tmp", name)
	}
	if err == nil {
		err = s.fs.SyncDir(s.dir)
	}
	return id, err
}

// openSegments finds the segments, cuts the torn end of the last one, and begins reading behind acked.
func (s *Spool) openSegments(acked position) error {
	if err := s.loadSegments(); err != nil {
		return err
	}
	acked.seq = max(acked.seq, 1)
	s.end = acked
	n := len(s.segs)
	if n > 0 && s.segs[n-1].end.seq >= acked.seq {
		s.end = s.segs[n-1].end
	}
	// Append behind the last segment, or in a new one when there is none or its end lies before what was acknowledged.
	if n == 0 || s.segs[n-1].end.seq < s.end.seq {
		if err := s.rotate(); err != nil {
			return err
		}
	}
	if first := s.segs[0]; acked.seq < first.base.seq {
		acked = first.base
	}
	if err := s.seek(acked); err != nil {
		return err
	}
	for i, n := range s.end.cum {
		s.count.appended[i] = n - min(n, s.cursor.cum[i])
		s.count.pending[i] = int64(s.count.appended[i])
	}
	s.trim()
	return nil
}

// loadSegments reads the headers of all segments and the record headers of the last.
func (s *Spool) loadSegments() error {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		digits, ok := strings.CutSuffix(name, ".seg")
		seq, err := strconv.ParseUint(digits, 10, 64)
		if !ok || err != nil || len(digits) != 20 {
			continue
		}
		if err := s.loadSegment(filepath.Join(s.dir, name), seq); err != nil {
			return err
		}
	}
	if len(s.segs) == 0 {
		return nil
	}
	last := s.segs[len(s.segs)-1]
	off, err := s.findEnd(last)
	if err != nil {
		return err
	}
	if torn := last.size - off; torn > 0 {
		s.log.Warn("cut what a crash left half written at the end of the spool; it was never acknowledged", "file", last.name, "bytes", torn)
		s.count.torn += uint64(torn)
		s.bytes -= torn
		last.size = off
		if err := errors.Join(last.f.Truncate(off), last.f.Sync()); err != nil {
			return err
		}
	}
	return nil
}

// loadSegment reads the header of a segment and appends it to the list; the one before ends where it begins.
func (s *Spool) loadSegment(name string, seq uint64) error {
	seg := &segment{name: name}
	err := s.openFile(seg)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = seg.close()
		}
	}()
	if seg.size, err = seg.f.Size(); err != nil {
		return err
	}
	var raw [segmentHeader]byte
	n, err := seg.f.ReadAt(raw[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	base, known := parsePosition(raw[:n], segmentMagic)
	if !known || base.seq != seq || n < segmentHeader {
		if base, known, err = s.guessBase(seg, seq); err != nil {
			return err
		}
		if !known { // made just before a crash, or nothing in it can be read
			s.log.Warn("removed a segment of the spool that holds no readable record", "file", name, "bytes", seg.size)
			s.count.torn += uint64(seg.size)
			_ = seg.close()
			return s.fs.Remove(name)
		}
	}
	seg.base, seg.end = base, base
	if n := len(s.segs); n > 0 {
		s.segs[n-1].end = base
		_ = s.segs[n-1].close() // nothing was written to it
	}
	s.segs = append(s.segs, seg)
	s.bytes += seg.size
	return nil
}

// guessBase finds where a segment with a damaged header begins: where the one before ends, else at its first whole record.
func (s *Spool) guessBase(seg *segment, seq uint64) (position, bool, error) {
	h, _, ok, err := seg.resync(0, seg.size, seq, math.MaxUint64)
	if !ok || err != nil {
		return position{}, false, err
	}
	if n := len(s.segs); n > 0 {
		prev := s.segs[n-1]
		if _, err := s.findEnd(prev); err != nil {
			return position{}, false, err
		}
		if prev.end.seq == seq {
			return prev.end, true, nil
		}
	}
	h.position.seq = seq
	return h.position, true, nil
}

// findEnd walks the records of a segment and returns where the last whole one ends. A damaged header in the middle is
// jumped over; a record whose body is damaged stays, so that the reader counts it.
func (s *Spool) findEnd(seg *segment) (int64, error) {
	if err := s.openFile(seg); err != nil {
		return 0, err
	}
	seg.end = seg.base
	off := int64(segmentHeader)
	var raw [recordHeader]byte
	for off < seg.size {
		n, err := seg.f.ReadAt(raw[:], off)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		h, ok := parseHeader(raw[:n])
		if !ok || h.seq < seg.end.seq || off+recordHeader+int64(h.size) > seg.size {
			var at int64
			if h, at, ok, err = seg.resync(off, seg.size, seg.end.seq, math.MaxUint64); err != nil {
				return 0, err
			}
			if !ok {
				return off, nil
			}
			off = at
		}
		seg.end = h.after()
		off += recordHeader + int64(h.size)
	}
	return min(off, seg.size), nil
}

func (s *Spool) openFile(seg *segment) (err error) {
	if seg.f == nil {
		seg.f, err = s.fs.Open(seg.name, false)
	}
	return err
}

// resync looks from off on for the next whole record with a number in [from, to).
func (g *segment) resync(off, limit int64, from, to uint64) (header, int64, bool, error) {
	var magic [4]byte
	binary.LittleEndian.PutUint32(magic[:], recordMagic)
	window := make([]byte, 64<<10)
	for off < limit {
		n, err := g.f.ReadAt(window[:min(int64(len(window)), limit-off)], off)
		if err != nil && !errors.Is(err, io.EOF) {
			return header{}, 0, false, err
		}
		p := window[:n]
		for i := 0; ; i++ {
			j := bytes.Index(p[i:], magic[:])
			if j < 0 {
				break
			}
			i += j
			h, ok, err := g.wholeAt(off+int64(i), limit)
			if err != nil {
				return header{}, 0, false, err
			}
			if ok && h.seq >= from && h.seq < to {
				return h, off + int64(i), true, nil
			}
		}
		if n <= len(magic) {
			break
		}
		off += int64(n - len(magic) + 1)
	}
	return header{}, 0, false, nil
}

// wholeAt says whether a record with a right header and a right body begins at off.
func (g *segment) wholeAt(off, limit int64) (header, bool, error) {
	var raw [recordHeader]byte
	if off+recordHeader > limit {
		return header{}, false, nil
	}
	if _, err := g.f.ReadAt(raw[:], off); err != nil {
		return header{}, false, err
	}
	h, ok := parseHeader(raw[:])
	if !ok || off+recordHeader+int64(h.size) > limit {
		return header{}, false, nil
	}
	body := make([]byte, h.size)
	if _, err := g.f.ReadAt(body, off+recordHeader); err != nil {
		return header{}, false, err
	}
	return h, checksum(body) == h.sum, nil
}

// rotate makes a new segment at the end and appends to it from now on. The one before is durable and complete.
// On failure nothing has changed.
func (s *Spool) rotate() error {
	name := segmentName(s.dir, s.end.seq)
	f, err := s.fs.Open(name, true)
	if err != nil {
		return fmt.Errorf("cannot make segment %q: %w", name, err)
	}
	var raw [segmentHeader]byte
	putPosition(raw[:], segmentMagic, s.end)
	if err = f.Truncate(0); err == nil {
		_, err = f.WriteAt(raw[:], 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = s.fs.SyncDir(s.dir)
	}
	if err != nil {
		_ = f.Close()
		_ = s.fs.Remove(name)
		return fmt.Errorf("cannot make segment %q: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.segs); n > 0 && s.segs[n-1] != s.cursor.seg && s.segs[n-1].refs == 0 {
		_ = s.segs[n-1].close()
	}
	s.segs = append(s.segs, &segment{name: name, f: f, base: s.end, end: s.end, size: segmentHeader})
	s.bytes += segmentHeader
	return nil
}
