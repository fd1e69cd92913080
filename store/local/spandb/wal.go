package spandb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/s2"
)

// The log is our own rather than prometheus' wlog, for four reasons: wlog hands a full segment to a
// background fsync whose error is only logged, so the last group before a roll would be answered
// before it is on disk; it writes 32 KiB at a time with two copies, where a group of ours is one
// write; it cannot take back a half-written record when the disk is full; and its repair drops
// everything behind a damaged record, where we lose that record only.
//
// A segment is a row of frames:
//
//	magic (4) | length of payload (4) | length of record (4) | CRC-32C of both lengths and payload (4) | payload
//
// Numbers are little-endian; payload is the record, s2-compressed.
const (
	frameHead  = 16
	frameMagic = "\xf7wsp"
	maxRecord  = 1 << 30 // a frame that says more is damaged
	walSuffix  = ".wal"
)

var errWALClosed = errors.New("span log is closed")

type wal struct {
	dir   string
	disk  disk
	seq   uint64 // of the open segment
	f     *os.File
	good  int64 // bytes of the open segment that are whole frames on disk
	buf   []byte
	fault bool // the open segment must not be written any more
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) } // the standard library keeps one

// appendFrame appends the frame of a record.
func appendFrame(dst, rec []byte) []byte {
	at := len(dst)
	dst = slices.Grow(dst, frameHead+s2.MaxEncodedLen(len(rec)))
	room := dst[at+frameHead : cap(dst)]
	n := len(s2.Encode(room, rec))
	dst = dst[:at+frameHead+n]
	h := dst[at:]
	copy(h, frameMagic)
	binary.LittleEndian.PutUint32(h[4:], uint32(n))
	binary.LittleEndian.PutUint32(h[8:], uint32(len(rec)))
	binary.LittleEndian.PutUint32(h[12:], frameSum(h))
	return dst
}

// frameSum covers everything of a frame but the magic and the sum itself.
func frameSum(frame []byte) uint32 {
	t := castagnoli()
	return crc32.Update(crc32.Checksum(frame[4:12], t), t, frame[frameHead:])
}

func segmentName(dir string, seq uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%08d%s", seq, walSuffix))
}

// segments lists the numbers of the segments of dir in order.
func segments(dir string) ([]uint64, error) {
	es, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []uint64
	for _, e := range es {
		name, ok := strings.CutSuffix(e.Name(), walSuffix)
		if !ok {
			continue
		}
		if n, err := strconv.ParseUint(name, 10, 64); err == nil {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}

// openWAL starts segment seq; it must not exist.
func openWAL(d disk, dir string, seq uint64) (*wal, error) {
	w := &wal{dir: dir, disk: d}
	if err := w.start(seq); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *wal) start(seq uint64) error {
	f, err := os.OpenFile(segmentName(w.dir, seq), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("cannot start span log segment: %w", err)
	}
	if err := w.disk.syncDir(w.dir); err != nil {
		_ = f.Close()
		return err
	}
	w.f, w.seq, w.good, w.fault = f, seq, 0, false
	return nil
}

// write puts frames behind the good end with one write and one sync. After an error nothing of
// frames counts: what was half-written is cut off, or the segment is left and a new one begun.
func (w *wal) write(frames []byte) error {
	if w.f == nil {
		return errWALClosed
	}
	if w.fault {
		if _, err := w.rotate(); err != nil {
			return err
		}
	}
	_, err := w.f.WriteAt(frames, w.good)
	if err == nil {
		err = w.disk.sync(w.f)
	}
	if err == nil {
		w.good += int64(len(frames))
		return nil
	}
	// A failed fsync leaves it open which pages are on disk, so never write behind it; a segment cut
	// to its good end is clean for a replay, and if even that fails the checksum tells.
	w.fault = true
	if terr := w.f.Truncate(w.good); terr != nil {
		err = errors.Join(err, terr)
	}
	return fmt.Errorf("cannot write span log %q: %w", w.f.Name(), err)
}

// rotate starts the next segment and returns the number of the one before.
func (w *wal) rotate() (uint64, error) {
	if w.f == nil {
		return 0, errWALClosed
	}
	old, seq := w.f, w.seq
	if err := w.start(seq + 1); err != nil {
		return 0, err
	}
	_ = old.Close() // everything acknowledged in it is synced
	return seq, nil
}

func (w *wal) close() error {
	if w.f == nil {
		return nil
	}
	err := w.f.Close()
	w.f = nil
	return err
}

// damage says what a replay could not read.
type damage struct {
	bytes  int64
	places int
	torn   bool // only the tail of the last segment, as after a crash
}

// replaySegment calls fn for every whole record. What lies between is counted as damage; the tail
// of the last segment is cut off.
func replaySegment(path string, last bool, fn func(rec []byte) error) (damage, error) {
	var d damage
	b, err := os.ReadFile(path)
	if err != nil {
		return d, fmt.Errorf("cannot read span log: %w", err)
	}
	pos, good := 0, 0
	for pos < len(b) {
		rec, n := readFrame(b[pos:])
		if n > 0 {
			if err := fn(rec); err == nil {
				pos += n
				good = pos
				continue
			} else if !errors.Is(err, errRecord) {
				return d, err
			}
		}
		next := bytes.Index(b[pos+1:], []byte(frameMagic))
		for next >= 0 { // the magic may occur inside a damaged payload
			if _, n := readFrame(b[pos+1+next:]); n > 0 {
				break
			}
			step := bytes.Index(b[pos+1+next+1:], []byte(frameMagic))
			if step < 0 {
				next = -1
				break
			}
			next += 1 + step
		}
		if next < 0 {
			d.bytes += int64(len(b) - pos)
			d.places++
			break
		}
		d.bytes += int64(next + 1)
		d.places++
		pos += 1 + next
	}
	if good < len(b) && last {
		d.torn = d.places == 1
		if err := os.Truncate(path, int64(good)); err != nil {
			return d, fmt.Errorf("cannot cut torn tail of span log: %w", err)
		}
	}
	return d, nil
}

// readFrame returns the record of the frame b begins with and the frame's length, 0 when it is not whole.
func readFrame(b []byte) ([]byte, int) {
	if len(b) < frameHead || string(b[:4]) != frameMagic {
		return nil, 0
	}
	n, raw := binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[8:])
	if uint64(n) > uint64(len(b)-frameHead) || raw > maxRecord {
		return nil, 0
	}
	frame := b[:frameHead+int(n)]
	if binary.LittleEndian.Uint32(b[12:]) != frameSum(frame) {
		return nil, 0
	}
	if l, err := s2.DecodedLen(frame[frameHead:]); err != nil || l != int(raw) {
		return nil, 0
	}
	rec, err := s2.Decode(nil, frame[frameHead:])
	if err != nil {
		return nil, 0
	}
	return rec, len(frame)
}
