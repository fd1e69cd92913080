package metricdb

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
)

// unmark prepares the log of out-of-order samples for replay: it takes out the marks "the samples before are in chunk x
// of the head", and a torn tail. The TSDB takes a mark for true when the number of the chunk is not above the newest it
// finds; but chunks are neither synced nor flushed, and after one crash their numbers are given to other chunks. So
// after the next crash acknowledged samples would be left out. Without marks all are replayed; those that are in a
// chunk as well are read once.
func unmark(dir string, logger *slog.Logger) (changed int, err error) {
	segs, err := segments(dir)
	if err != nil {
		return 0, err
	}
	tmp := dir + ".rewrite"
	if err := os.RemoveAll(tmp); err != nil {
		return 0, fmt.Errorf("cannot remove %q: %w", tmp, err)
	}
	for _, n := range segs {
		marks, torn, err := inspect(dir, n)
		if err != nil {
			return changed, err
		}
		if marks == 0 && torn == nil {
			continue
		}
		if torn != nil {
			logger.Warn("the log of out-of-order samples is torn, what is behind was not acknowledged", "dir", dir, "segment", n, "error", torn)
		}
		if err := rewrite(dir, tmp, n); err != nil {
			return changed, errors.Join(fmt.Errorf("cannot rewrite segment %d of %q: %w", n, dir, err), os.RemoveAll(tmp))
		}
		changed++
	}
	return changed, nil
}

// each calls do for the records of a segment and returns what is wrong with its tail.
func each(dir string, n int, do func(rec []byte) error) (torn, err error) {
	f, err := os.Open(wlog.SegmentName(dir, n))
	if err != nil {
		return nil, fmt.Errorf("cannot open segment %d of %q: %w", n, dir, err)
	}
	defer func() { _ = f.Close() }()
	r := wlog.NewReader(bufio.NewReaderSize(f, 1<<16))
	for r.Next() {
		if err := do(r.Record()); err != nil {
			return nil, err
		}
	}
	return r.Err(), nil
}

func isMark(rec []byte) bool { return len(rec) > 0 && record.Type(rec[0]) == record.MmapMarkers }

func inspect(dir string, n int) (marks int, torn, err error) {
	torn, err = each(dir, n, func(rec []byte) error {
		if isMark(rec) {
			marks++
		}
		return nil
	})
	return marks, torn, err
}

// rewrite replaces a segment by one without marks, at once or not at all.
func rewrite(dir, tmp string, n int) error {
	st, err := os.Stat(wlog.SegmentName(dir, n))
	if err != nil {
		return err
	}
	const page = 32 << 10
	// Compressed anew a record may be a little longer.
	size := (int(st.Size())*2/page + 16) * page
	w, err := wlog.NewSize(slog.New(slog.DiscardHandler), nil, tmp, size, compression.Snappy)
	if err != nil {
		return err
	}
	_, err = each(dir, n, func(rec []byte) error {
		if isMark(rec) {
			return nil
		}
		return w.Log(rec)
	})
	// Close syncs the file.
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	if segs, err := segments(tmp); err != nil || len(segs) != 1 {
		return fmt.Errorf("%d segments made of one: %w", len(segs), err)
	}
	if err := os.Rename(wlog.SegmentName(tmp, 0), wlog.SegmentName(dir, n)); err != nil {
		return err
	}
	return errors.Join(syncDir(dir), os.RemoveAll(tmp), syncDir(filepath.Dir(dir)))
}
