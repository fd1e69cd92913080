package spandb

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weirhq/weir/store"
)

// tenant has the log, heads and blocks of one tenant.
type tenant struct {
	name store.Tenant
	dir  string
	db   *DB

	queue   sync.Mutex // guards pending
	pending []*commit
	waiting int64 // bytes of pending

	write sync.Mutex // held by who writes the log, rotates it, or swaps the head
	log   *wal

	cutting sync.Mutex // held by who cuts a block or removes one
	retryAt time.Time  // when Run may cut again after an error; only Run uses it

	mu     sync.RWMutex
	head   *head
	frozen []frozen // heads on their way into blocks, oldest first
	blocks []*block // oldest first
}

// frozen is a head nobody appends to; through is the last segment of the log with its spans.
type frozen struct {
	h       *head
	through uint64
}

// commit is what one Append waits for.
type commit struct {
	recs    []*record
	entries [][]entry
	frames  []byte
	done    bool
	err     error
}

func (c *commit) add(data []byte, entries []entry) {
	if len(data) > maxRecord && c.err == nil {
		c.err = fmt.Errorf("%w: a span of %d bytes is over %d", store.ErrInvalid, len(data), maxRecord)
		return
	}
	rec, _, err := parseRecord(data)
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("cannot read back a record of ours: %w", err)
	}
	c.recs = append(c.recs, rec)
	c.entries = append(c.entries, entries)
	c.frames = appendFrame(c.frames, data)
}

// maxPending bounds what waits for the disk, per tenant.
const maxPending = 128 << 20

// commit writes c to the log and then into the head. Those who arrive while the disk is busy wait
// together: the first to get the write lock writes for all.
func (t *tenant) commit(c *commit) error {
	if c.err != nil {
		return c.err
	}
	t.queue.Lock()
	if t.waiting+int64(len(c.frames)) > maxPending && t.waiting > 0 {
		t.queue.Unlock()
		t.db.m.busy.Inc()
		return fmt.Errorf("%w: %d bytes of spans wait for the disk", store.ErrUnavailable, maxPending)
	}
	t.waiting += int64(len(c.frames))
	t.pending = append(t.pending, c)
	t.queue.Unlock()

	t.write.Lock()
	defer t.write.Unlock()
	if c.done {
		return c.err
	}
	t.queue.Lock()
	group := t.pending
	t.pending, t.waiting = nil, 0
	t.queue.Unlock()
	err := t.room()
	if err == nil {
		err = t.writeGroup(group)
	}
	for _, g := range group {
		g.done, g.err = true, err
	}
	return err
}

// room refuses spans while the heads hold twice what they should.
func (t *tenant) room() error {
	_, bytes, _ := t.headSize()
	full := bytes
	for _, f := range t.frozenHeads() {
		_, b, _ := f.h.size()
		full += b
	}
	if bytes >= t.db.cfg.HeadBytes {
		select {
		case t.db.wake <- struct{}{}:
		default:
		}
	}
	if full >= 2*t.db.cfg.HeadBytes+maxPending {
		t.db.m.full.Inc()
		return fmt.Errorf("%w: %d bytes of spans wait to become a block; is the disk full or slow?", store.ErrUnavailable, full)
	}
	return nil
}

func (t *tenant) writeGroup(group []*commit) error {
	begin := time.Now()
	buf := group[0].frames
	if len(group) > 1 {
		buf = t.log.buf[:0]
		for _, c := range group {
			buf = append(buf, c.frames...)
		}
		if t.log.buf = buf; cap(buf) > 16<<20 {
			t.log.buf = nil
		}
	}
	if err := t.log.write(buf); err != nil {
		t.db.m.logErrors.Inc()
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	t.db.m.logBytes.Add(len(buf))
	t.db.m.groups.Inc()
	t.db.m.commit.UpdateDuration(begin)
	now := begin.UnixNano()
	for _, c := range group {
		for i, r := range c.recs {
			if over := t.head.add(r, c.entries[i], t.db.cfg.MaxSpansPerTrace, now); over > 0 {
				t.db.m.overTrace.Add(over)
			}
		}
	}
	return nil
}

const (
	dirWAL    = "wal"
	dirBlocks = "blocks"
	tmpSuffix = ".tmp"
)

// openTenant reads blocks and log.
func openTenant(db *DB, name store.Tenant, dir string) (*tenant, error) {
	t := &tenant{name: name, dir: dir, db: db, head: newHead()}
	for _, d := range []string{dirWAL, dirBlocks} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o750); err != nil {
			return nil, fmt.Errorf("cannot make span folder: %w", err)
		}
	}
	if err := t.db.disk.syncDir(dir); err != nil {
		return nil, err
	}
	through, named, err := t.loadBlocks()
	if err != nil {
		return nil, err
	}
	next, err := t.replay(through)
	if err != nil {
		return nil, err
	}
	next = max(next, named+1)
	t.log, err = openWAL(db.disk, filepath.Join(dir, dirWAL), next)
	return t, err
}

// loadBlocks opens what is whole; a damaged block is left where it is and counted. named is the
// highest number that a folder has, through the highest that a whole block has.
func (t *tenant) loadBlocks() (through, named uint64, err error) {
	root := filepath.Join(t.dir, dirBlocks)
	es, err := os.ReadDir(root)
	if err != nil {
		return 0, 0, fmt.Errorf("cannot list span blocks: %w", err)
	}
	for _, e := range es {
		dir := filepath.Join(root, e.Name())
		if strings.HasSuffix(e.Name(), tmpSuffix) { // cut short by a crash; its spans are in the log
			if err := os.RemoveAll(dir); err != nil {
				return 0, 0, fmt.Errorf("cannot remove unfinished span block: %w", err)
			}
			continue
		}
		if n, err := strconv.ParseUint(e.Name(), 10, 64); err == nil {
			named = max(named, n)
		}
		b, err := openBlock(dir)
		if err != nil {
			t.db.m.damagedBlocks.Inc()
			t.db.log.Error("cannot open span block", "block", dir, "error", err)
			continue
		}
		through = max(through, b.meta.Through)
		t.blocks = append(t.blocks, b)
	}
	slices.SortFunc(t.blocks, func(a, b *block) int { return strings.Compare(a.dir, b.dir) })
	return through, named, nil
}

// replay reads the segments that are not in blocks and returns the number of the next segment.
func (t *tenant) replay(through uint64) (next uint64, err error) {
	dir := filepath.Join(t.dir, dirWAL)
	segs, err := segments(dir)
	if err != nil {
		return 0, fmt.Errorf("cannot list span log: %w", err)
	}
	next = through + 1
	now := time.Now().UnixNano()
	for i, seq := range segs {
		path := segmentName(dir, seq)
		if seq <= through {
			if err := os.Remove(path); err != nil {
				return 0, fmt.Errorf("cannot remove span log segment: %w", err)
			}
			continue
		}
		next = max(next, seq+1)
		spans := 0
		d, err := replaySegment(path, i == len(segs)-1, func(data []byte) error {
			rec, entries, err := replayRecord(data)
			if err != nil {
				return err
			}
			spans += len(entries)
			if over := t.head.add(rec, entries, t.db.cfg.MaxSpansPerTrace, now); over > 0 {
				t.db.m.overTrace.Add(over)
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
		if d.places > 0 {
			if !d.torn {
				t.db.m.damagedLog.Add(int(d.bytes))
			}
			t.db.log.Warn("span log has unreadable bytes", "segment", path, "bytes", d.bytes, "places", d.places, "torn_tail", d.torn)
		}
		if spans == 0 { // nothing in it: do not gather empty files over restarts
			if err := os.Remove(path); err != nil {
				return 0, fmt.Errorf("cannot remove span log segment: %w", err)
			}
		}
	}
	return next, nil
}

// cut freezes the head when asked and writes all frozen heads as blocks.
func (t *tenant) cut(freeze bool) error {
	t.cutting.Lock()
	defer t.cutting.Unlock()
	if freeze {
		if err := t.freeze(); err != nil {
			return err
		}
	}
	for _, f := range t.frozenHeads() {
		if err := t.cutFrozen(f); err != nil {
			return err
		}
	}
	return nil
}

func (t *tenant) freeze() error {
	t.write.Lock()
	defer t.write.Unlock()
	if n, _, _ := t.head.size(); n == 0 {
		return nil
	}
	through, err := t.log.rotate()
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.frozen = append(t.frozen, frozen{h: t.head, through: through})
	t.head = newHead()
	return nil
}

// cutFrozen writes one block: temporary folder, sync, rename, sync, then the log is cut.
func (t *tenant) cutFrozen(f frozen) error {
	begin := time.Now()
	name := filepath.Join(t.dir, dirBlocks, fmt.Sprintf("%012d", f.through))
	tmp := name + tmpSuffix
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("cannot clear %q: %w", tmp, err)
	}
	if err := os.Mkdir(tmp, 0o750); err != nil {
		return fmt.Errorf("cannot make block folder: %w", err)
	}
	m, err := writeBlock(t.db.disk, tmp, f.h.view(), f.through, t.db.cfg.RowGroupSpans, begin.UnixNano())
	if err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	if err := os.Rename(tmp, name); err != nil {
		return fmt.Errorf("cannot name block: %w", err)
	}
	if err := t.db.disk.syncDir(filepath.Dir(name)); err != nil {
		return err
	}
	b, err := openBlock(name)
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.blocks = append(t.blocks, b)
	t.frozen = slices.DeleteFunc(t.frozen, func(x frozen) bool { return x.h == f.h })
	t.mu.Unlock()
	t.db.m.blocksCut.Inc()
	t.db.m.duplicates.Add(int(m.Duplicates))
	t.db.log.Info("span block cut", "tenant", string(t.name), "block", name, "spans", m.Spans, "bytes", m.Bytes, "took", time.Since(begin))
	return t.truncate(f.through)
}

// truncate removes the segments up to through. One that stays is removed by the next Open.
func (t *tenant) truncate(through uint64) error {
	dir := filepath.Join(t.dir, dirWAL)
	segs, err := segments(dir)
	if err != nil {
		return fmt.Errorf("cannot list span log: %w", err)
	}
	for _, s := range segs {
		if s <= through {
			if err := os.Remove(segmentName(dir, s)); err != nil {
				return fmt.Errorf("cannot remove span log segment: %w", err)
			}
		}
	}
	return nil
}

func (t *tenant) headSize() (spans int, bytes, born int64) {
	t.mu.RLock()
	h := t.head
	t.mu.RUnlock()
	return h.size()
}

func (t *tenant) frozenHeads() []frozen {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Clone(t.frozen)
}

func (t *tenant) hasFrozen() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.frozen) > 0
}

// snapshot returns the heads, frozen ones first, and the blocks; done gives them back.
func (t *tenant) snapshot() (views []view, blocks []*block, done func()) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, f := range t.frozen {
		views = append(views, f.h.view())
	}
	views = append(views, t.head.view())
	blocks = slices.Clone(t.blocks)
	return views, blocks, func() {
		for _, b := range blocks[:max(0, len(blocks)-maxOpenBlocks)] {
			b.idle()
		}
	}
}

// maxOpenBlocks is how many of a tenant's newest blocks keep their files open between queries.
const maxOpenBlocks = 64

func (t *tenant) close() error {
	t.write.Lock()
	err := t.log.close()
	t.write.Unlock()
	t.cutting.Lock()
	defer t.cutting.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range t.blocks {
		b.close()
	}
	return err
}

func (t *tenant) stats(s *Stats, oldest *int64) {
	views, blocks, done := t.snapshot()
	defer done()
	see := func(at int64) {
		if *oldest == 0 || at < *oldest {
			*oldest = at
		}
	}
	for i := range views {
		n, b, _ := views[i].h.size()
		s.HeadSpans += uint64(n)
		s.HeadBytes += uint64(b)
		s.Spans += uint64(n)
		if n > 0 {
			see(views[i].minT)
		}
	}
	for _, b := range blocks {
		s.Blocks++
		s.Spans += uint64(b.meta.Spans)
		s.BlockBytes += uint64(b.meta.Bytes)
		see(b.meta.MinStart)
	}
	dir := filepath.Join(t.dir, dirWAL)
	segs, err := segments(dir)
	if err != nil {
		return
	}
	for _, seq := range segs {
		if st, err := os.Stat(segmentName(dir, seq)); err == nil {
			s.LogBytes += uint64(st.Size())
		}
	}
}
