package spandb

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// age is the time by which a block leaves: the end of its last span, but not later than the block
// was cut, so that a clock running ahead does not keep it for ever.
func (b *block) age() int64 { return min(b.meta.MaxEnd, b.meta.Created) }

type owned struct {
	t *tenant
	b *block
}

// retain removes blocks that are too old, then the oldest while there are too many bytes.
func (db *DB) retain(now time.Time) {
	var all []owned
	var bytes int64
	for _, t := range db.list() {
		t.mu.RLock()
		for _, b := range t.blocks {
			all = append(all, owned{t, b})
			bytes += b.meta.Bytes
		}
		t.mu.RUnlock()
	}
	slices.SortFunc(all, func(a, b owned) int { return cmp.Compare(a.b.age(), b.b.age()) })
	for _, o := range all {
		var reason string
		switch {
		case db.cfg.Retention > 0 && o.b.age() < now.Add(-db.cfg.Retention).UnixNano():
			reason = "age"
		case db.cfg.MaxBytes > 0 && bytes > db.cfg.MaxBytes:
			reason = "bytes"
		default:
			continue
		}
		if err := o.t.remove(o.b); err != nil {
			db.log.Error("cannot remove span block", "block", o.b.dir, "error", err)
			continue
		}
		bytes -= o.b.meta.Bytes
		db.m.expired(reason).Add(int(o.b.meta.Spans))
		db.log.Info("span block removed", "block", o.b.dir, "reason", reason, "spans", o.b.meta.Spans)
	}
}

// remove takes a block out of the list and off the disk. It gets its temporary name first, so that
// a crash in the middle leaves no half block.
func (t *tenant) remove(b *block) error {
	t.cutting.Lock()
	defer t.cutting.Unlock()
	t.mu.Lock()
	t.blocks = slices.DeleteFunc(slices.Clone(t.blocks), func(x *block) bool { return x == b })
	t.mu.Unlock()
	b.close()
	tmp := b.dir + tmpSuffix
	if err := os.Rename(b.dir, tmp); err != nil {
		return fmt.Errorf("cannot remove block: %w", err)
	}
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("cannot remove block: %w", err)
	}
	return t.db.disk.syncDir(filepath.Dir(b.dir))
}
