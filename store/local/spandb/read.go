package spandb

import (
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/weirhq/weir/store"
)

// groupOf finds the row group of a row of the file.
func (b *block) groupOf(row int64) int {
	gs := b.meta.RowGroups
	return sort.Search(len(gs), func(i int) bool { return gs[i].Row > row }) - 1
}

// eachValue calls fn with the values of rows [from, from+n) of a column, in order. A value and its
// bytes are valid during the call.
func eachValue(cc parquet.ColumnChunk, from, n int64, fn func(v *parquet.Value) error) error {
	pages := cc.Pages()
	defer func() { _ = pages.Close() }()
	if err := pages.SeekToRow(from); err != nil {
		return fmt.Errorf("%w: %w", errBlock, err)
	}
	var buf [256]parquet.Value
	for n > 0 {
		p, err := pages.ReadPage()
		if err != nil {
			return fmt.Errorf("%w: %w", errBlock, err)
		}
		rows := p.NumRows()
		if rows > n {
			p = p.Slice(0, n)
			rows = n
		}
		n -= rows
		vals := p.Values()
		for {
			k, rerr := vals.ReadValues(buf[:])
			for i := range buf[:k] {
				if err := fn(&buf[i]); err != nil {
					parquet.Release(p)
					return err
				}
			}
			if rerr != nil {
				if !errors.Is(rerr, io.EOF) {
					err = fmt.Errorf("%w: %w", errBlock, rerr)
				}
				break
			}
		}
		parquet.Release(p)
		if err != nil {
			return err
		}
	}
	return nil
}

// read decodes the rows of a trace.
func (b *block) read(t *traceInfo) ([]store.Span, error) {
	gi := b.groupOf(int64(t.row))
	if gi < 0 || int64(t.row)+int64(t.rows) > b.meta.RowGroups[gi].Row+b.meta.RowGroups[gi].Rows {
		return nil, fmt.Errorf("%w: trace index of %q points outside", errBlock, b.dir)
	}
	r := rowReader{
		cols: b.pq.RowGroups()[gi].ColumnChunks(), from: int64(t.row) - b.meta.RowGroups[gi].Row,
		out: make([]store.Span, t.rows), seen: map[string]string{},
	}
	if err := r.read(); err != nil {
		return nil, fmt.Errorf("%q: %w", b.dir, err)
	}
	for i := range r.out {
		if r.out[i].Trace != t.id {
			return nil, fmt.Errorf("%w: trace index of %q points to another trace", errBlock, b.dir)
		}
	}
	return r.out, nil
}

// rowReader fills out from rows of a row group, column by column.
type rowReader struct {
	cols []parquet.ColumnChunk
	from int64
	out  []store.Span
	seen map[string]string // every text once
}

func (r *rowReader) text(v *parquet.Value) string {
	b := v.ByteArray()
	if s, ok := r.seen[string(b)]; ok {
		return s
	}
	s := string(b)
	r.seen[s] = s
	return s
}

// col reads a column that has one value per row.
func (r *rowReader) col(c int, set func(i int, v *parquet.Value) error) error {
	i := 0
	err := eachValue(r.cols[c], r.from, int64(len(r.out)), func(v *parquet.Value) error {
		if i == len(r.out) {
			return fmt.Errorf("%w: too many values", errBlock)
		}
		i++
		return set(i-1, v)
	})
	if err == nil && i != len(r.out) {
		err = fmt.Errorf("%w: too few values", errBlock)
	}
	if err != nil {
		return fmt.Errorf("column %d: %w", c, err)
	}
	return nil
}

func (r *rowReader) texts(c int, set func(s *store.Span, text string)) error {
	return r.col(c, func(i int, v *parquet.Value) error {
		set(&r.out[i], r.text(v))
		return nil
	})
}

// plain reads texts into a list of their own.
func (r *rowReader) plain(c int) ([]string, error) {
	out := make([]string, len(r.out))
	err := r.col(c, func(i int, v *parquet.Value) error {
		out[i] = r.text(v)
		return nil
	})
	return out, err
}

func (r *rowReader) id(c int, dst func(s *store.Span) []byte) error {
	return r.col(c, func(i int, v *parquet.Value) error {
		d := dst(&r.out[i])
		if copy(d, v.ByteArray()) != len(d) {
			return fmt.Errorf("%w: short id", errBlock)
		}
		return nil
	})
}

func (r *rowReader) read() error {
	objects, err1 := r.plain(colResource)
	types, err2 := r.plain(colResourceTypes)
	err := errors.Join(err1, err2,
		r.id(colTrace, func(s *store.Span) []byte { return s.Trace[:] }),
		r.id(colSpan, func(s *store.Span) []byte { return s.ID[:] }),
		r.id(colParent, func(s *store.Span) []byte { return s.Parent[:] }),
		r.col(colStart, func(i int, v *parquet.Value) error { r.out[i].Start = v.Int64(); return nil }),
		r.col(colDuration, func(i int, v *parquet.Value) error { r.out[i].Duration = v.Int64(); return nil }),
		r.texts(colService, func(s *store.Span, t string) { s.Service = t }),
		r.texts(colName, func(s *store.Span, t string) { s.Name = t }),
		r.col(colKind, func(i int, v *parquet.Value) error { r.out[i].Kind = store.SpanKind(v.Int32()); return nil }),
		r.col(colStatus, func(i int, v *parquet.Value) error { r.out[i].Status = store.SpanStatus(v.Int32()); return nil }),
		r.texts(colStatusMsg, func(s *store.Span, t string) { s.StatusMsg = t }),
		r.texts(colNode, func(s *store.Span, t string) { s.Node = t }),
		r.texts(colContainer, func(s *store.Span, t string) { s.Container = t }),
		r.texts(colScope, func(s *store.Span, t string) { s.Scope = t }),
		r.texts(colTraceState, func(s *store.Span, t string) { s.TraceState = t }),
		r.col(colDropped, func(i int, v *parquet.Value) error { r.out[i].Dropped = uint32(v.Int64()); return nil }),
		r.col(colEvents, func(i int, v *parquet.Value) (err error) {
			r.out[i].Events, err = parseEvents(v.ByteArray())
			return err
		}),
		r.col(colLinks, func(i int, v *parquet.Value) (err error) { r.out[i].Links, err = parseLinks(v.ByteArray()); return err }),
	)
	if err != nil {
		return err
	}
	known := map[[2]string][]store.Attr{}
	for i := range r.out {
		k := [2]string{objects[i], types[i]}
		as, ok := known[k]
		if !ok {
			if as, err = parseObject([]byte(k[0]), k[1]); err != nil {
				return err
			}
			known[k] = as
		}
		r.out[i].Resource = as
	}
	return r.attrs()
}

// attrs reads the attributes: keys and values have the same levels.
func (r *rowReader) attrs() error {
	types, err := r.plain(colAttrTypes)
	if err != nil {
		return err
	}
	total := 0
	for _, t := range types {
		total += len(t)
	}
	keys := make([]string, 0, total)
	err = eachValue(r.cols[colAttrKey], r.from, int64(len(r.out)), func(v *parquet.Value) error {
		if !v.IsNull() {
			keys = append(keys, r.text(v))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(keys) != total {
		return fmt.Errorf("%w: %d attribute keys, %d types", errBlock, len(keys), total)
	}
	letters := strings.Join(types, "")
	all := make([]store.Attr, 0, total)
	err = eachValue(r.cols[colAttrValue], r.from, int64(len(r.out)), func(v *parquet.Value) error {
		if v.IsNull() {
			return nil
		}
		n := len(all)
		if n == total {
			return fmt.Errorf("%w: too many attribute values", errBlock)
		}
		a, err := fromText(keys[n], r.text(v), letters[n])
		all = append(all, a)
		return err
	})
	if err != nil {
		return err
	}
	if len(all) != total {
		return fmt.Errorf("%w: too few attribute values", errBlock)
	}
	for i, t := range types {
		if n := len(t); n > 0 {
			r.out[i].Attrs, all = all[:n:n], all[n:]
		}
	}
	return nil
}
