package spandb

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/parquet-go/parquet-go"

	"github.com/weirhq/weir/store"
)

// errBlock is a block whose files are damaged.
var errBlock = errors.New("damaged span block")

// block is a block on disk. Its meta and trace filter are in memory; files are opened at the first
// use and closed when the block goes.
type block struct {
	dir   string
	meta  *blockMeta
	bloom bloom

	mu    sync.Mutex
	refs  int  // readers, plus one while the block is listed
	gone  bool // no longer listed
	spans *os.File
	index *os.File
	pq    *parquet.File
}

// openBlock reads the meta and filter of a block.
func openBlock(dir string) (*block, error) {
	raw, err := os.ReadFile(filepath.Join(dir, fileMeta))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBlock, err)
	}
	b := &block{dir: dir, meta: &blockMeta{}}
	if err := json.Unmarshal(raw, b.meta); err != nil {
		return nil, fmt.Errorf("%w: %q: %w", errBlock, filepath.Join(dir, fileMeta), err)
	}
	m := b.meta
	if m.Version != blockVersion {
		return nil, fmt.Errorf("%w: %q has version %d, this weir reads %d", errBlock, dir, m.Version, blockVersion)
	}
	f, err := os.Open(filepath.Join(dir, fileIndex))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBlock, err)
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBlock, err)
	}
	for _, s := range []section{m.TraceBloom, m.TraceIndex} {
		if s.At < 0 || s.Len < 0 || s.At > st.Size() || s.Len > st.Size()-s.At {
			return nil, fmt.Errorf("%w: %q is too short", errBlock, f.Name())
		}
	}
	b.bloom = make(bloom, m.TraceBloom.Len)
	if _, err := f.ReadAt(b.bloom, m.TraceBloom.At); err != nil {
		return nil, fmt.Errorf("%w: %w", errBlock, err)
	}
	if xxhash.Sum64(b.bloom) != m.BloomSum {
		b.bloom = nil // answers yes to everything: slower, not wrong
	}
	return b, nil
}

// use opens the files when needed and keeps them open until release.
func (b *block) use() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone {
		return os.ErrNotExist
	}
	if b.pq == nil {
		if err := b.open(); err != nil {
			return fmt.Errorf("%w: %q: %w", errBlock, b.dir, err)
		}
	}
	b.refs++
	return nil
}

func (b *block) open() (err error) {
	defer recoverTo(&err)
	spans, err := os.Open(filepath.Join(b.dir, fileSpans))
	if err != nil {
		return err
	}
	index, err := os.Open(filepath.Join(b.dir, fileIndex))
	if err != nil {
		return errors.Join(err, spans.Close())
	}
	st, err := spans.Stat()
	if err == nil {
		b.pq, err = parquet.OpenFile(spans, st.Size(), parquet.SkipBloomFilters(true), parquet.ReadBufferSize(32<<10))
	}
	if err == nil {
		err = b.check()
	}
	if err != nil {
		b.pq = nil
		return errors.Join(err, spans.Close(), index.Close())
	}
	b.spans, b.index = spans, index
	return nil
}

// check compares the shape of the file with the meta.
func (b *block) check() error {
	gs := b.pq.RowGroups()
	if len(gs) != len(b.meta.RowGroups) {
		return fmt.Errorf("%d row groups, %d expected", len(gs), len(b.meta.RowGroups))
	}
	for i, g := range gs {
		if g.NumRows() != b.meta.RowGroups[i].Rows || len(g.ColumnChunks()) != numColumns {
			return fmt.Errorf("row group %d has another shape than its meta", i)
		}
	}
	return nil
}

func (b *block) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refs--
	b.closeIfIdle()
}

// close closes the files when the last reader is done.
func (b *block) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone = true
	b.closeIfIdle()
}

// idle closes the files of a block nobody reads, to bound open files.
func (b *block) idle() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refs == 0 {
		b.shut()
	}
}

func (b *block) closeIfIdle() {
	if b.gone && b.refs == 0 {
		b.shut()
	}
}

func (b *block) shut() {
	if b.pq != nil {
		_ = b.spans.Close()
		_ = b.index.Close()
		b.pq, b.spans, b.index = nil, nil, nil
	}
}

// recoverTo turns a panic of the Parquet reader over damaged bytes into an error.
func recoverTo(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %v", errBlock, p)
	}
}

// mayHold reports whether the trace may be in the block.
func (b *block) mayHold(h uint64) bool { return b.bloom.has(h) }

// info returns the index entry of a trace. The block must be in use.
func (b *block) info(id store.TraceID) (traceInfo, bool, error) {
	t, ok, err := findTrace(b.index, b.meta.TraceIndex, id)
	if err != nil || !ok {
		return t, false, err
	}
	if int(t.set) >= len(b.meta.Sets) || int(t.root) > len(b.meta.Roots) || int64(t.row)+int64(t.rows) > b.meta.Spans {
		return t, false, fmt.Errorf("%w: trace index of %q", errBlock, b.dir)
	}
	return t, true, nil
}

// trace reads all spans of a trace. The block must be in use.
func (b *block) trace(id store.TraceID) (out []store.Span, err error) {
	defer recoverTo(&err)
	t, ok, err := b.info(id)
	if err != nil || !ok {
		return nil, err
	}
	return b.read(&t)
}

// tagValues reads tags.json.
func (b *block) tagValues() (map[string][]string, error) {
	raw, err := os.ReadFile(filepath.Join(b.dir, fileTags))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBlock, err)
	}
	var out map[string][]string
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, fmt.Errorf("%w: %q: %w", errBlock, filepath.Join(b.dir, fileTags), err)
	}
	return out, nil
}

func (b *block) isGone() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.gone
}
