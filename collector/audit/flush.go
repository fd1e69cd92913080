package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/weirhq/weir/collector/signal"
	"github.com/weirhq/weir/internal/cell"
)

const (
	maxBody      = 1 << 20          // bytes of one request
	maxOpenCells = 20_000           // cells gathered before they are sent, so that a snapshot needs little memory
	closeTimeout = 10 * time.Second // for the last snapshot
)

// Run sends a snapshot of the changed cells every Flush until ctx ends, then a last one that says the run is
// closed. Whoever adds must have stopped before ctx ends. It fails when the state file cannot be written.
func (c *Counter) Run(ctx context.Context) error {
	if err := c.open(); err != nil {
		return err
	}
	t := time.NewTicker(c.cfg.Flush)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return c.close(ctx)
		case <-t.C:
			if err := c.flush(ctx, false); err != nil && ctx.Err() == nil {
				c.failures.Inc()
				c.log.Error("cannot send audit snapshot", "error", err)
			}
		}
	}
}

// open begins the epoch and leaves a mark that it did.
func (c *Counter) open() error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return fmt.Errorf("cannot make the audit folder: %w", err)
	}
	before, found, err := readState(c.dir)
	if err != nil {
		return err
	}
	now := time.Now()
	epoch := now.UnixMilli()
	if found && before.Closed { // after a crash nobody knows who was there; the gap speaks
		c.lives.begin(now, before.Lives)
	} else {
		c.lives.begin(now, nil)
	}
	past := before.Unreported
	if found {
		epoch = max(epoch, before.Epoch+1) // the clock may have been set back
		past = append(past, run{before.Epoch, !before.Closed})
	}
	if len(past) > maxUnreported {
		past = past[len(past)-maxUnreported:]
	}
	c.mu.Lock()
	c.past = past
	c.auditor = cell.Auditor{Node: c.node, Epoch: epoch, At: epoch, FlushMS: c.cfg.Flush.Milliseconds()}
	c.mu.Unlock()
	return writeState(c.dir, state{Epoch: epoch, Unreported: past})
}

func (c *Counter) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	c.closed.Store(true)
	err := c.flush(ctx, true)
	for err == nil && len(c.past) > 1 { // every run before is told of, also by a short life
		err = c.flush(ctx, true)
	}
	if err != nil {
		c.failures.Inc()
		return fmt.Errorf("cannot send the last audit snapshot: %w", err)
	}
	return writeState(c.dir, state{Epoch: c.auditor.Epoch, Closed: true, Unreported: c.unreported(), Lives: c.lives.open()})
}

// sent points from a snapshot back to its cell.
type sent struct {
	shard   *shard
	entry   *entry
	version uint64
}

// flush sends what changed. Until the Auditor record of this snapshot stands on disk the one before is sent
// with every part but the last, so the server never believes in a point of time for which cells are still missing.
func (c *Counter) flush(ctx context.Context, last bool) error {
	now := time.Now()
	c.windows.turn()
	c.bury(now)
	// Drops are read before the cells: a drop that comes later belongs to the next snapshot.
	next := c.nextAuditor(now, last)
	before := c.auditor
	before.Drops, before.DropMax, before.DropFrom, before.DropTo = next.Drops, next.DropMax, next.DropFrom, next.DropTo

	w := writer{c: c, ctx: ctx, before: before}
	for i := range c.shard {
		s := &c.shard[i]
		c.collect(s, now, &w)
		for len(w.pending) >= maxOpenCells {
			if err := w.send(); err != nil {
				return err
			}
		}
	}
	if err := w.finish(next); err != nil {
		return err
	}
	c.mu.Lock()
	c.auditor = next
	reported := len(c.past) > 0 && next.Seq == 1 || len(c.past) > 1
	if next.Seq > 1 && len(c.past) > 1 {
		c.past = c.past[1:]
	}
	c.mu.Unlock()
	c.snapshots.Inc()
	if reported && !last {
		if err := writeState(c.dir, state{Epoch: next.Epoch, Unreported: c.unreported()}); err != nil {
			return err
		}
	}
	c.forget(now)
	return nil
}

// unreported are the runs that the next run still has to tell of. The first in c.past is told by every
// Auditor record of this run.
func (c *Counter) unreported() []run {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.auditor.Seq == 0 {
		return c.past
	}
	if len(c.past) < 2 {
		return nil
	}
	return c.past[1:]
}

func (c *Counter) nextAuditor(now time.Time, last bool) cell.Auditor {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.auditor
	a.Seq++
	// Senders that flush seldom may hold what they counted long ago: so far the record vouches for nothing.
	delay := c.lives.waits()
	if last {
		delay = 0
	}
	a.At = max(now.Add(-delay).UnixMilli(), a.At)
	a.FlushMS = (c.cfg.Flush + delay).Milliseconds()
	a.Closed = last
	a.Drops, a.DropMax = c.drops.Load(), c.carried.Load()
	a.ClockOffset, a.ClockError = 0, 0
	if c.clock != nil {
		if offset, bound, ok := c.clock(); ok {
			a.ClockOffset, a.ClockError = offset.Microseconds(), max(bound.Microseconds(), 1)
		}
	}
	a.DropFrom, a.DropTo = c.dropped.from, c.dropped.to
	past := c.past
	if a.Seq > 1 && len(past) > 1 {
		past = past[1:] // the first was told by the snapshot before
	}
	if len(past) > 0 {
		a.Previous, a.PreviousOpen = past[0].Epoch, past[0].Open
	}
	return a
}

// collect appends the changed cells of a shard to w.
func (c *Counter) collect(s *shard, now time.Time, w *writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, e := range s.m {
		if e.version == e.synced {
			continue
		}
		// From the clock, so that it also grows over restarts for cells that carry their sender's epoch.
		e.seq = max(e.seq+1, uint64(now.UnixMicro()))
		epoch := i.Epoch
		if epoch == 0 {
			epoch = c.auditor.Epoch
		}
		w.pending = append(w.pending, cell.Cell{
			Key: i.Key, Instance: e.instance, Service: e.service, Node: e.node, Epoch: epoch, Seq: e.seq, Counts: e.counts, Lossy: e.lossy,
			Sample: cell.Sample{IDs: e.ids.Clone(), Latency: e.latency.Clone(), Corrected: e.corrected.Clone()},
		})
		w.from = append(w.from, sent{s, e, e.version})
	}
}

// forget drops cells whose window is long over and whose last snapshot is on disk.
func (c *Counter) forget(now time.Time) {
	for i := range c.shard {
		s := &c.shard[i]
		s.mu.Lock()
		for i, e := range s.m {
			if e.version != e.synced || now.Sub(e.touched) < c.cfg.Idle {
				continue
			}
			if i.Window == 0 {
				c.forgotNotime.Store(true)
			} else if time.Unix(i.Window+i.Width, 0).Add(c.cfg.Idle).After(now) {
				continue
			}
			delete(s.m, i)
			c.samples.bytes.Add(-e.size)
			c.cells.Add(-1)
			c.evicted.Inc()
		}
		s.mu.Unlock()
	}
}

// writer turns cells into request bodies.
type writer struct {
	c       *Counter
	ctx     context.Context //nolint:containedctx // lives as long as one flush
	before  cell.Auditor
	pending []cell.Cell
	from    []sent
	body    []byte
}

// send writes one body from the front of pending, and marks its cells once it is on disk.
func (w *writer) send() error {
	n, err := w.encode(w.before, w.pending)
	if err != nil {
		return err
	}
	if err := w.c.out.Append(w.ctx, signal.Cells, n, w.body); err != nil {
		return err
	}
	w.mark(n)
	return nil
}

// finish writes what is left; the body that holds the last cells carries the new Auditor record.
func (w *writer) finish(a cell.Auditor) error {
	for {
		n, err := w.encode(a, w.pending)
		if err != nil {
			return err
		}
		if n == len(w.pending) {
			if err := w.c.out.Append(w.ctx, signal.Cells, n, w.body); err != nil {
				return err
			}
			w.mark(n)
			return nil
		}
		if err := w.send(); err != nil {
			return err
		}
	}
}

func (w *writer) mark(n int) {
	for _, f := range w.from[:n] {
		f.shard.mu.Lock()
		f.entry.synced = f.version
		f.shard.mu.Unlock()
	}
	w.c.sentCells.Add(n)
	w.pending, w.from = w.pending[n:], w.from[n:]
}

// encode puts as many cells as fit into w.body and returns how many.
func (w *writer) encode(a cell.Auditor, cells []cell.Cell) (int, error) {
	head, err := json.Marshal(a)
	if err != nil {
		return 0, fmt.Errorf("cannot encode the auditor record: %w", err)
	}
	w.body = append(w.body[:0], `{"auditor":`...)
	w.body = append(w.body, head...)
	w.body = append(w.body, `,"cells":[`...)
	n := 0
	for i := range cells {
		b, err := json.Marshal(&cells[i])
		if err != nil {
			return 0, fmt.Errorf("cannot encode a cell of pipeline %q: %w", cells[i].Pipeline, err)
		}
		if n > 0 && len(w.body)+len(b)+len(",]}") > maxBody {
			break
		}
		if n > 0 {
			w.body = append(w.body, ',')
		}
		w.body = append(w.body, b...)
		n++
	}
	if n == 0 && len(cells) > 0 {
		return 0, errors.New("cannot encode audit cells: nothing fits into a body")
	}
	w.body = append(w.body, "]}"...)
	return n, nil
}
