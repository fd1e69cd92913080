package audit

import (
	"fmt"
	"time"

	"github.com/weirhq/weir/internal/cell"
)

// Folded says that a sender, whose counts were whole when it last told (the zero time: not known), counted n more records since a
// time of which only their number came: its SDK folded their keys into one. Every window they may belong to gets a cell with that
// bound, and more with each call: those that any stage of the pipeline counted in since, and from the newest two that the stage itself
// counted in up to the next one, 64 at most.
func (c *Counter) Folded(t Life, n uint64, since, told time.Time) error {
	if t.Pipeline == "" || t.Stage == "" || len(t.ID) > maxID || max(len(t.Pipeline), len(t.Stage), len(t.Instance)+2+maxID, len(t.Service)) > maxKey {
		c.refusedKey.Inc()
		return fmt.Errorf("cannot note folded counts of instance %q of pipeline %q stage %q: both must be given, and shorter than %d bytes: %w", t.Instance, t.Pipeline, t.Stage, maxKey, ErrKey)
	}
	now := time.Now()
	for _, k := range c.folded(t, since, now) {
		c.fold(t, k, n, told, now)
	}
	return nil
}

// fold adds to the bound of one window.
func (c *Counter) fold(t Life, k cell.Key, n uint64, told, now time.Time) {
	i := id{Key: k, Instance: t.Instance + "~~" + t.ID} // two: not the end of the same run
	s := c.shardOf(i)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := c.entry(s, i, now)
	if err != nil {
		return // told as a drop
	}
	e.service, e.node, e.touched = t.Service, t.Node, now
	e.counts.N += n
	if e.counts.MaxTS == 0 { // 1: no verdict was settled before
		e.counts.MaxTS = max(told.UnixMilli(), 1)
	}
	e.version++
}

// folded are the windows that records without a key may belong to.
func (c *Counter) folded(t Life, since, now time.Time) (out []cell.Key) {
	k := cell.Key{Pipeline: t.Pipeline, Stage: t.Stage, Dir: cell.Unflushed, Reason: cell.Folded, Width: int64(c.cfg.Width / time.Second)}
	next := int64(0)
	ws := map[int64]bool{}
	for i := range c.shard {
		s := &c.shard[i]
		s.mu.Lock()
		for i, e := range s.m {
			if i.Pipeline != t.Pipeline || i.Window == 0 || i.Dir == cell.Unflushed {
				continue
			}
			if end := i.Window + i.Width; i.Stage == t.Stage && end > next {
				next, k.Width = end, i.Width
			}
			if !e.changed.Before(since.Add(-reach)) {
				ws[i.Window] = true
			}
		}
		s.mu.Unlock()
	}
	last := now.Unix() - now.Unix()%k.Width + k.Width
	if next == 0 {
		next = last - k.Width
	}
	for at := max(next-next%k.Width-2*k.Width, last-(ahead-1)*k.Width); at <= last; at += k.Width {
		ws[at] = true
	}
	seen := map[int64]bool{}
	for at := range ws {
		if at -= at % k.Width; seen[at] {
			continue
		}
		seen[at] = true
		k.Window = at
		out = append(out, k)
	}
	return out
}
