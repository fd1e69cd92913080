package spandb

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/weirhq/weir/store"
)

// blockWriter turns a head into the files of a block, one row group at a time.
type blockWriter struct {
	disk    disk
	v       view
	meta    blockMeta
	infos   []traceInfo
	index   []byte // tag filters of the row groups, then the trace filter, then the entries
	roots   map[[2]string]uint32
	sets    map[string]uint32
	service map[string]struct{}
	names   map[string]struct{}
	tags    tagSet
	pq      *parquet.GenericWriter[row]
	rg      *parquet.ConcurrentRowGroupWriter
	cols    columns
	res     map[resKey]resText // of the row group
}

type resKey struct{ rec, res uint32 }

type resText struct {
	object, types string
}

// traceRef is a trace of the head on its way into the block.
type traceRef struct {
	id    store.TraceID
	start int64
	spans []*entry
}

// writeBlock writes the files of a block into dir, which must be empty, and syncs them.
func writeBlock(d disk, dir string, v view, through uint64, groupSpans int, now int64) (*blockMeta, error) {
	f, err := os.OpenFile(filepath.Join(dir, fileSpans), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("cannot write block: %w", err)
	}
	defer func() { _ = f.Close() }()
	buf := bufio.NewWriterSize(f, 1<<20)
	w := &blockWriter{
		disk:  d,
		v:     v,
		meta:  blockMeta{Version: blockVersion, Through: through, Created: now},
		roots: map[[2]string]uint32{}, sets: map[string]uint32{},
		service: map[string]struct{}{}, names: map[string]struct{}{}, tags: tagSet{},
	}
	w.pq = parquet.NewGenericWriter[row](buf,
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault}),
		parquet.BloomFilters(parquet.SplitBlockFilter(10, "trace_id")),
		parquet.PageBufferSize(pageBytes),
		parquet.WriteBufferSize(0),
		parquet.SkipPageBounds("attributes", "key_value", "value"),
		parquet.SkipPageBounds("events"), parquet.SkipPageBounds("links"),
		parquet.SkipPageBounds("span_id"), parquet.SkipPageBounds("parent_span_id"),
		parquet.SortingWriterConfig(parquet.SortingColumns(parquet.Ascending("trace_id"), parquet.Ascending("start_time"))),
		parquet.KeyValueMetadata("weir.spans", "1"),
		parquet.CreatedBy("weir", "1", ""),
	)
	w.rg = w.pq.BeginRowGroup()
	if err := w.groups(groupSpans); err != nil {
		return nil, err
	}
	if err := errors.Join(w.pq.Close(), buf.Flush(), d.sync(f)); err != nil {
		return nil, fmt.Errorf("cannot write block: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("cannot write block: %w", err)
	}
	return w.finish(dir, st.Size())
}

const pageBytes = 64 << 10

// groups writes all traces, earliest first, in row groups of about groupSpans.
func (w *blockWriter) groups(groupSpans int) error {
	w.v.h.mu.RLock()
	refs := make([]traceRef, 0, len(w.v.h.traces))
	for id, c := range w.v.h.traces {
		refs = append(refs, traceRef{id: id, spans: w.v.walkFrozen(c)})
	}
	w.v.h.mu.RUnlock()
	for i := range refs {
		r := &refs[i]
		slices.SortFunc(r.spans, func(a, b *entry) int {
			return cmp.Or(cmp.Compare(a.start, b.start), bytes.Compare(a.id[:], b.id[:]))
		})
		r.start = r.spans[0].start
		w.meta.Spans += int64(len(r.spans))
	}
	w.meta.Duplicates = int64(w.v.n) - w.meta.Spans
	w.meta.Traces = int64(len(refs))
	slices.SortFunc(refs, func(a, b traceRef) int { return cmp.Compare(a.start, b.start) })
	for len(refs) > 0 {
		n, spans := 0, 0
		for n < len(refs) && (n == 0 || spans+len(refs[n].spans) <= groupSpans) {
			spans += len(refs[n].spans)
			n++
		}
		if err := w.group(refs[:n]); err != nil {
			return err
		}
		refs = refs[n:]
	}
	return nil
}

// walkFrozen is walk for a head nobody appends to; the caller holds its lock.
func (v *view) walkFrozen(c chain) []*entry { return v.walk(c) }

func (w *blockWriter) group(refs []traceRef) error {
	slices.SortFunc(refs, func(a, b traceRef) int { return bytes.Compare(a.id[:], b.id[:]) })
	g := groupMeta{MinStart: refs[0].start, MaxStart: refs[0].start, FirstStart: refs[0].start}
	if n := len(w.meta.RowGroups); n > 0 {
		last := &w.meta.RowGroups[n-1]
		g.Row = last.Row + last.Rows
	}
	w.res = map[resKey]resText{}
	w.cols.begin(w.rg)
	pairs := map[uint64]struct{}{}
	var s store.Span
	var arena []store.Attr
	var svcs []string
	for i := range refs {
		r := &refs[i]
		info := traceInfo{id: r.id, start: r.start, end: r.start, row: uint32(g.Row + g.Rows), rows: uint32(len(r.spans))}
		g.FirstStart = max(g.FirstStart, r.start)
		g.MinStart = min(g.MinStart, r.start)
		svcs = svcs[:0]
		for _, e := range r.spans {
			arena = arena[:0]
			rec := w.v.recs[e.rec]
			rec.decode(e.off, &s, &arena)
			info.end = max(info.end, spanEnd(s.Start, s.Duration))
			g.MaxStart = max(g.MaxStart, s.Start)
			g.MaxDuration = max(g.MaxDuration, s.Duration)
			if s.Status == store.StatusError {
				info.errors++
				g.Errors++
			}
			if s.Parent == (store.SpanID{}) && info.root == 0 {
				info.root = w.root(s.Service, s.Name) + 1
			}
			if !slices.Contains(svcs, s.Service) {
				svcs = append(svcs, s.Service)
			}
			w.service[s.Service] = struct{}{}
			w.names[s.Name] = struct{}{}
			text, err := w.cols.add(&s, func() resText { return w.resource(resKey{e.rec, e.res}, &s, pairs) })
			if err != nil {
				return err
			}
			w.tags.add(&s, text, pairs)
			g.Rows++
		}
		info.set = w.set(svcs)
		w.infos = append(w.infos, info)
		w.meta.MaxEnd = max(w.meta.MaxEnd, info.end)
	}
	if err := w.cols.flush(); err != nil {
		return err
	}
	if _, err := w.rg.Commit(); err != nil {
		return fmt.Errorf("cannot write row group: %w", err)
	}
	f := newBloom(len(pairs))
	for h := range pairs {
		f.add(h)
	}
	g.Tags = section{At: int64(len(w.index)), Len: int64(len(f))}
	w.index = append(w.index, f...)
	if len(w.meta.RowGroups) == 0 {
		w.meta.MinStart, w.meta.MaxStart = g.MinStart, g.MaxStart
	}
	w.meta.MinStart = min(w.meta.MinStart, g.MinStart)
	w.meta.MaxStart = max(w.meta.MaxStart, g.MaxStart)
	w.meta.RowGroups = append(w.meta.RowGroups, g)
	return nil
}

func (w *blockWriter) root(service, name string) uint32 {
	k := [2]string{service, name}
	i, ok := w.roots[k]
	if !ok {
		i = uint32(len(w.meta.Roots))
		w.roots[k] = i
		w.meta.Roots = append(w.meta.Roots, k)
	}
	return i
}

func (w *blockWriter) set(svcs []string) uint32 {
	slices.Sort(svcs)
	var key []byte
	for _, s := range svcs {
		key = append(append(key, s...), 0)
	}
	i, ok := w.sets[string(key)]
	if !ok {
		i = uint32(len(w.meta.Sets))
		w.sets[string(key)] = i
		w.meta.Sets = append(w.meta.Sets, slices.Clone(svcs))
	}
	return i
}

// resource renders a resource once per row group and notes its tags.
func (w *blockWriter) resource(k resKey, s *store.Span, pairs map[uint64]struct{}) resText {
	t, ok := w.res[k]
	if !ok {
		t = resText{object: string(appendObject(nil, s.Resource)), types: string(typesOf(nil, s.Resource))}
		w.res[k] = t
		if s.Node != "" {
			w.tags.note(tagNode, s.Node, pairs)
		}
		if s.Container != "" {
			w.tags.note(tagContainer, s.Container, pairs)
		}
		var text []byte
		for i := range s.Resource {
			text = appendText(text[:0], &s.Resource[i])
			w.tags.note(s.Resource[i].Key, string(text), pairs)
		}
	}
	return t
}

// finish writes the files beside the spans.
func (w *blockWriter) finish(dir string, spanBytes int64) (*blockMeta, error) {
	m := &w.meta
	slices.SortFunc(w.infos, func(a, b traceInfo) int { return bytes.Compare(a.id[:], b.id[:]) })
	tb := newBloom(len(w.infos))
	for i := range w.infos {
		tb.add(hashTrace(w.infos[i].id))
	}
	m.TraceBloom = section{At: int64(len(w.index)), Len: int64(len(tb))}
	m.BloomSum = xxhash.Sum64(tb)
	w.index = append(w.index, tb...)
	m.TraceIndex = section{At: int64(len(w.index)), Len: int64(len(w.infos) * traceEntry)}
	w.index = slices.Grow(w.index, len(w.infos)*traceEntry)
	for i := range w.infos {
		w.index = w.infos[i].append(w.index)
	}
	m.Services, m.Names = keysUpTo(w.service, maxNames), keysUpTo(w.names, maxNames)
	m.Keys = w.tags.keys()
	tags, err := json.Marshal(w.tags.values())
	if err != nil {
		return nil, fmt.Errorf("cannot write tags of block: %w", err)
	}
	m.Bytes = spanBytes + int64(len(w.index)) + int64(len(tags))
	meta, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("cannot write meta of block: %w", err)
	}
	for _, x := range []struct {
		name string
		body []byte
	}{{fileIndex, w.index}, {fileTags, tags}, {fileMeta, meta}} {
		if err := w.disk.writeFile(filepath.Join(dir, x.name), x.body); err != nil {
			return nil, fmt.Errorf("cannot write %s of block: %w", x.name, err)
		}
	}
	return m, w.disk.syncDir(dir)
}

// keysUpTo returns the first n sorted keys of m; fewer than n are all of them.
func keysUpTo(m map[string]struct{}, n int) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out[:min(n, len(out))]
}
