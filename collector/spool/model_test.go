package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/VictoriaMetrics/metrics"
	"pgregory.net/rapid"

	"github.com/weirhq/weir/collector/signal"
)

func smallConfig() Config {
	c := DefaultConfig()
	c.SegmentBytes, c.MaxBytes = 4096, 16384
	return c
}

type modelRecord struct {
	kind  signal.Kind
	items int
	body  []byte
}

// model knows what the spool promised: records on disk by number, and what it may have kept although it returned an error.
type model struct {
	t       *rapid.T
	disk    *simFS
	spool   *Spool
	kept    map[uint64]modelRecord
	ghosts  map[uint64][]modelRecord
	next    uint64 // number of the next append, when nothing failed
	read    uint64 // last number handed out by this process
	settled uint64
	saved   uint64 // settled as far as it is known to be durable
	flight  []uint64
	since   struct{ delivered, rejected [signals + 1]uint64 }
}

func (m *model) open() {
	s, err := open(m.disk, "/spool", smallConfig(), slog.New(slog.DiscardHandler), metrics.NewSet())
	if err != nil {
		m.t.Fatalf("cannot open: %v", err)
	}
	m.spool, m.flight = s, nil
	m.since.delivered, m.since.rejected = [signals + 1]uint64{}, [signals + 1]uint64{}
	m.read = 0
}

func (m *model) check() {
	for k := signal.Samples; k <= signal.Cells; k++ {
		c := m.spool.Counts(k)
		if c.Appended != c.Delivered+c.Pending+c.Full+c.Corrupt+c.Rejected {
			m.t.Fatalf("%s: equation broken: %+v", k, c)
		}
		if c.Corrupt != 0 {
			m.t.Fatalf("%s: %d items called corrupt, nothing was flipped", k, c.Corrupt)
		}
		if c.Delivered != m.since.delivered[k] || c.Rejected != m.since.rejected[k] {
			m.t.Fatalf("%s: counts %+v, settled were %d delivered and %d rejected", k, c, m.since.delivered[k], m.since.rejected[k])
		}
	}
	if m.spool.bytes > m.spool.cfg.MaxBytes {
		m.t.Fatalf("%d bytes on disk, bound is %d", m.spool.bytes, m.spool.cfg.MaxBytes)
	}
	onDisk := int64(0)
	names, _ := m.disk.List("/spool")
	for _, n := range names {
		if len(n) == 24 {
			f, _ := m.disk.Open("/spool/"+n, false)
			size, _ := f.Size()
			onDisk += size
		}
	}
	if !m.disk.crashed && !m.spool.broken && onDisk != m.spool.bytes {
		m.t.Fatalf("%d bytes in segments, accounted are %d", onDisk, m.spool.bytes)
	}
}

func (m *model) append() {
	r := modelRecord{
		kind:  signal.Kind(rapid.IntRange(1, signals).Draw(m.t, "kind")),
		items: rapid.IntRange(0, 1000).Draw(m.t, "items"),
		body:  bytes.Repeat([]byte(rapid.StringN(1, 4, -1).Draw(m.t, "body")), rapid.IntRange(0, 500).Draw(m.t, "times")),
	}
	seq, err := m.spool.Append(r.kind, Identity, r.items, r.body)
	if err != nil {
		if !m.disk.crashed && !m.disk.full && !m.disk.noSync {
			m.t.Fatalf("append failed on a healthy disk: %v", err)
		}
		m.ghosts[m.next] = append(m.ghosts[m.next], r)
		return
	}
	if m.disk.crashed {
		m.t.Fatalf("append returned nil on a dead disk")
	}
	if seq != m.next {
		m.t.Fatalf("append got number %d, want %d", seq, m.next)
	}
	m.kept[seq] = r
	delete(m.ghosts, seq)
	m.next++
}

// take reads one record, when there must be one.
func (m *model) take() bool {
	records, _ := m.spool.Pending()
	if records == uint64(len(m.flight)) {
		return false
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // Next must have one at hand
	rec, err := m.spool.Next(ctx)
	if err != nil {
		m.t.Fatalf("Next: %v", err)
	}
	if rec.Seq <= m.read {
		m.t.Fatalf("record %d after %d", rec.Seq, m.read)
	}
	if rec.Seq <= m.saved {
		m.t.Fatalf("record %d came again, the position %d was durable", rec.Seq, m.saved)
	}
	want, ok := m.kept[rec.Seq]
	if !ok {
		m.t.Fatalf("record %d was never kept", rec.Seq)
	}
	if rec.Kind != want.kind || rec.Items != want.items || !bytes.Equal(rec.Body, want.body) {
		m.t.Fatalf("record %d: got %s %d items %d bytes, want %s %d items %d bytes", rec.Seq, rec.Kind, rec.Items, len(rec.Body), want.kind, want.items, len(want.body))
	}
	m.read = rec.Seq
	m.flight = append(m.flight, rec.Seq)
	return true
}

func (m *model) settle(drop bool) {
	if len(m.flight) == 0 {
		return
	}
	n := rapid.IntRange(1, len(m.flight)).Draw(m.t, "n")
	last := m.flight[n-1]
	for _, seq := range m.flight[:n] {
		r := m.kept[seq]
		m.since.delivered[r.kind] += uint64(r.items)
	}
	if drop {
		r := m.kept[last]
		lost := rapid.IntRange(0, r.items).Draw(m.t, "lost")
		m.since.delivered[r.kind] -= uint64(lost)
		m.since.rejected[r.kind] += uint64(lost)
		m.spool.Drop(last, lost)
	} else {
		m.spool.Ack(last)
	}
	m.settled = last
	m.flight = m.flight[n:]
}

// reopen opens after a stop or a crash and takes over what survived of unacknowledged appends.
func (m *model) reopen() {
	dropped := m.firstKept()
	m.open()
	if m.spool.end.seq < m.next {
		m.t.Fatalf("the spool ends at %d, %d was acknowledged", m.spool.end.seq, m.next-1)
	}
	for seq := m.next; seq < m.spool.end.seq; seq++ { // returned an error, survived all the same
		found := false
		for _, g := range m.ghosts[m.next] {
			if int(m.spool.end.seq-m.next) == 1 {
				m.kept[seq], found = g, true
				if m.matches(seq, g) {
					break
				}
			}
		}
		if !found {
			m.t.Fatalf("record %d exists, nobody appended it", seq)
		}
	}
	m.next = m.spool.end.seq
	m.ghosts = map[uint64][]modelRecord{}
	first := m.spool.cursor.seq
	if first > max(dropped, m.settled+1) {
		m.t.Fatalf("reading begins at %d, but %d was settled and %d is the oldest on disk", first, m.settled, dropped)
	}
	var pending [signals + 1]uint64
	for seq := first; seq < m.next; seq++ {
		pending[m.kept[seq].kind] += uint64(m.kept[seq].items)
	}
	for k := signal.Samples; k <= signal.Cells; k++ {
		if c := m.spool.Counts(k); c.Pending != pending[k] || c.Appended != pending[k] {
			m.t.Fatalf("%s: after opening %+v, %d items lie behind the read position", k, c, pending[k])
		}
	}
	m.settled = first - 1
}

func (m *model) matches(seq uint64, g modelRecord) bool {
	seg := m.spool.segs[len(m.spool.segs)-1]
	off := int64(segmentHeader)
	for off < seg.size {
		h, ok, err := seg.wholeAt(off, seg.size)
		if err != nil || !ok {
			return false
		}
		if h.seq == seq {
			return h.kind == g.kind && int(h.items) == g.items && h.sum == checksum(g.body)
		}
		off += recordHeader + int64(h.size)
	}
	return false
}

// firstKept is the oldest number the process still held.
func (m *model) firstKept() uint64 { return m.spool.segs[0].base.seq }

func (m *model) save() {
	if err := m.spool.saveAck(); err == nil {
		m.saved = max(m.saved, m.settled)
	} else if !m.disk.crashed && !m.disk.noSync && !m.disk.full {
		m.t.Fatalf("saveAck: %v", err)
	}
}

// TestModel runs random histories with crashes at random operations against the model.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{t: t, disk: newSimFS(), kept: map[uint64]modelRecord{}, ghosts: map[uint64][]modelRecord{}, next: 1}
		m.open()
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			switch op := rapid.IntRange(0, 15).Draw(t, "op"); op {
			default:
				m.append()
			case 6, 7:
				m.take()
			case 8, 9:
				m.settle(op == 9)
			case 10:
				m.save()
			case 11:
				m.disk.full = !m.disk.full
			case 12:
				m.disk.noSync = !m.disk.noSync
			case 13:
				m.disk.fuse = rapid.IntRange(1, 12).Draw(t, "fuse")
			case 14: // stop in order
				if m.disk.crashed {
					continue
				}
				m.disk.full, m.disk.noSync, m.disk.fuse = false, false, 0
				m.append() // repairs what a failed write left
				if err := m.spool.Close(); err != nil {
					t.Fatalf("Close: %v", err)
				}
				m.saved = max(m.saved, m.settled)
				if _, err := m.spool.Append(signal.Samples, Identity, 1, nil); !errors.Is(err, ErrClosed) {
					t.Fatalf("append after Close: %v", err)
				}
				m.reopen()
			case 15:
				m.disk.crash(func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") })
				m.reopen()
			}
			m.check()
		}
		if m.disk.crashed {
			m.disk.crash(func(n int) int { return 0 })
			m.reopen()
		}
		for m.take() {
		}
		if n := m.spool.end.seq - 1; m.read != n && m.settled != n {
			t.Fatalf("read to the end stopped at %d, the last record is %d", m.read, n)
		}
		m.check()
	})
}

// TestFlip flips every byte of a small spool, one at a time: what is not damaged arrives, what is damaged is counted.
func TestFlip(t *testing.T) {
	disk := newSimFS()
	cfg := smallConfig()
	quiet := slog.New(slog.DiscardHandler)
	s, err := open(disk, "/spool", cfg, quiet, metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	const records = 9
	for i := range records {
		// Bodies of 700 bytes: two segments, five records in the first.
		if _, err := s.Append(signal.Kind(i%signals+1), Identity, 10+i, bytes.Repeat([]byte{byte('a' + i)}, 700)); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.segs) != 2 {
		t.Fatalf("%d segments, the test wants 2", len(s.segs))
	}
	names := []string{s.segs[0].name, s.segs[1].name}
	firstInSecond := int(s.segs[1].base.seq)
	for which, name := range names {
		size := len(disk.now[name].now)
		for at := range size {
			if at%3 != 0 && at > 400 { // every third byte is enough behind the headers
				continue
			}
			node := disk.now[name]
			node.now[at] ^= 0x40
			got, c := drain(t, disk, cfg, quiet)
			node.now[at] ^= 0x40

			damaged := 0 // the record the byte belongs to; 0 = a segment header
			if at >= segmentHeader {
				damaged = 1 + (at-segmentHeader)/(recordHeader+700)
				if which == 1 {
					damaged += firstInSecond - 1
				}
			}
			inHeader := at >= segmentHeader && (at-segmentHeader)%(recordHeader+700) < recordHeader
			torn := damaged == records && inHeader // cannot be told from a write a crash tore
			for i := 1; i <= records; i++ {
				if !got[uint64(i)] && i != damaged {
					t.Fatalf("byte %d of %s flipped: record %d is missing, it was not damaged", at, name, i)
				}
				if got[uint64(i)] && i == damaged {
					t.Fatalf("byte %d of %s flipped: record %d was delivered although damaged", at, name, i)
				}
			}
			var want uint64
			if damaged > 0 && !torn {
				want = uint64(10 + damaged - 1)
			}
			if c != want {
				t.Fatalf("byte %d of %s flipped: %d items counted as corrupt, want %d", at, name, c, want)
			}
		}
	}
}

// drain opens a copy of the disk, reads everything and returns the numbers seen and the items called corrupt.
func drain(t *testing.T, from *simFS, cfg Config, log *slog.Logger) (map[uint64]bool, uint64) {
	t.Helper()
	disk := newSimFS()
	for name, n := range from.now {
		disk.now[name] = &inode{now: append([]byte(nil), n.now...)}
	}
	s, err := open(disk, "/spool", cfg, log, metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // Next returns what there is and does not wait
	got := map[uint64]bool{}
	for {
		r, err := s.Next(ctx)
		if err != nil {
			break
		}
		got[r.Seq] = true
		if want := byte('a' + r.Seq - 1); len(r.Body) != 700 || r.Body[0] != want || r.Body[699] != want {
			t.Fatalf("record %d arrived with a wrong body", r.Seq)
		}
		s.Ack(r.Seq)
	}
	var corrupt uint64
	for k := signal.Samples; k <= signal.Cells; k++ {
		c := s.Counts(k)
		if c.Appended != c.Delivered+c.Corrupt || c.Pending != 0 {
			t.Fatalf("equation broken after draining: %s %s", k, fmt.Sprintf("%+v", c))
		}
		corrupt += c.Corrupt
	}
	return got, corrupt
}
