package spandb

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"

	"github.com/weirhq/weir/store"
)

// blockMay tells from the meta alone whether a block can hold a match.
func (q *query) blockMay(m *blockMeta) bool {
	if m.MaxStart < q.from || m.MinStart >= q.to {
		return false
	}
	if q.service != "" && len(m.Services) < maxNames && !has(m.Services, q.service) {
		return false
	}
	if q.name != "" && len(m.Names) < maxNames && !has(m.Names, q.name) {
		return false
	}
	for i := range q.attrs {
		c := &q.attrs[i]
		if c.field == "" && len(m.Keys) < maxTagKeys && !has(m.Keys, c.key) {
			return false
		}
	}
	return true
}

func has(sorted []string, s string) bool {
	_, ok := slices.BinarySearch(sorted, s)
	return ok
}

func (q *query) groupMay(m *groupMeta) bool {
	return m.MaxStart >= q.from && m.MinStart < q.to && m.MaxDuration >= q.minDur &&
		(q.status != store.StatusError || m.Errors > 0)
}

// search returns the matching traces of a row group. The block must be in use.
func (b *block) search(q *query, group int) (hits []hit, err error) {
	defer recoverTo(&err)
	m := &b.meta.RowGroups[group]
	for i := range q.attrs {
		c := &q.attrs[i]
		if c.field == "" && !bloomOnDisk(b.index, m.Tags, c.hash) {
			return nil, nil
		}
	}
	sc := scan{cols: b.pq.RowGroups()[group].ColumnChunks(), rows: int(m.Rows)}
	sc.keep = make([]bool, sc.rows)
	for i := range sc.keep {
		sc.keep[i] = true
	}
	sc.left = sc.rows
	if err := sc.run(q, m); err != nil || sc.left == 0 {
		return nil, err
	}
	return sc.hits()
}

// scan narrows the rows of a row group, cheapest column first.
type scan struct {
	cols []parquet.ColumnChunk
	rows int
	keep []bool
	left int
}

func (sc *scan) run(q *query, m *groupMeta) error {
	steps := []func() error{
		func() error { return sc.text(q.service, colService) },
		func() error { return sc.text(q.name, colName) },
		func() error {
			if q.status == store.StatusUnset {
				return nil
			}
			return sc.dict(colStatus, func(v parquet.Value) bool { return v.Int32() == int32(q.status) })
		},
		func() error {
			if q.minDur <= 0 && q.maxDur <= 0 {
				return nil
			}
			return sc.int64s(colDuration, func(v int64) bool { return v >= q.minDur && (q.maxDur <= 0 || v <= q.maxDur) })
		},
		func() error {
			if m.MinStart >= q.from && m.MaxStart < q.to {
				return nil
			}
			return sc.int64s(colStart, func(v int64) bool { return v >= q.from && v < q.to })
		},
	}
	for _, f := range steps {
		if err := f(); err != nil || sc.left == 0 {
			return err
		}
	}
	if len(q.attrs) == 0 {
		return nil
	}
	return sc.attrs(q)
}

func (sc *scan) text(want string, col int) error {
	if want == "" {
		return nil
	}
	return sc.dict(col, func(v parquet.Value) bool { return string(v.ByteArray()) == want })
}

// pages calls fn with every page of a column and the row it begins at.
func (sc *scan) pages(col int, fn func(p parquet.Page, row int) error) error {
	pages := sc.cols[col].Pages()
	defer func() { _ = pages.Close() }()
	row := 0
	for {
		p, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			if row != sc.rows {
				return fmt.Errorf("%w: column %d has %d rows of %d", errBlock, col, row, sc.rows)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: column %d: %w", errBlock, col, err)
		}
		n := int(p.NumRows())
		if row+n > sc.rows {
			parquet.Release(p)
			return fmt.Errorf("%w: column %d has too many rows", errBlock, col)
		}
		err = fn(p, row)
		parquet.Release(p)
		if err != nil {
			return err
		}
		row += n
	}
}

// matches tests every entry of a dictionary once.
func matches(d parquet.Dictionary, test func(parquet.Value) bool) []bool {
	ok := make([]bool, d.Len())
	for i := range ok {
		ok[i] = test(d.Index(int32(i)))
	}
	return ok
}

// each calls fn for every row of a dictionary column with whether test holds.
func (sc *scan) each(col int, test func(parquet.Value) bool, fn func(row int, ok bool)) error {
	var ok []bool
	return sc.pages(col, func(p parquet.Page, row int) error {
		d := p.Dictionary()
		if d == nil {
			return fmt.Errorf("%w: column %d has no dictionary", errBlock, col)
		}
		if ok == nil {
			ok = matches(d, test)
		}
		data := p.Data()
		for i, v := range data.Int32() {
			fn(row+i, ok[v])
		}
		return nil
	})
}

func (sc *scan) dict(col int, test func(parquet.Value) bool) error {
	return sc.each(col, test, func(row int, ok bool) { sc.and(row, ok) })
}

func (sc *scan) and(row int, ok bool) {
	if !ok && sc.keep[row] {
		sc.keep[row] = false
		sc.left--
	}
}

func (sc *scan) int64s(col int, test func(int64) bool) error {
	return sc.pages(col, func(p parquet.Page, row int) error {
		data := p.Data()
		for i, v := range data.Int64() {
			sc.and(row+i, test(v))
		}
		return nil
	})
}

// attrs tests every condition against fields, resources and attributes.
func (sc *scan) attrs(q *query) error {
	var own *attrRows
	for i := range q.attrs {
		c := &q.attrs[i]
		hit := make([]bool, sc.rows)
		or := func(row int, ok bool) { hit[row] = hit[row] || ok }
		if err := sc.field(c, or); err != nil {
			return err
		}
		if err := sc.resource(c, or); err != nil {
			return err
		}
		if own == nil {
			var err error
			if own, err = sc.attrRows(); err != nil {
				return err
			}
		}
		own.match(c, sc.keep, hit)
		for row, ok := range hit {
			sc.and(row, ok)
		}
		if sc.left == 0 {
			return nil
		}
	}
	return nil
}

func (sc *scan) field(c *attrCond, or func(int, bool)) error {
	text := func(v parquet.Value) bool { return string(v.ByteArray()) == c.value }
	switch c.field {
	case tagService:
		return sc.each(colService, text, or)
	case tagName:
		return sc.each(colName, text, or)
	case tagNode:
		return sc.each(colNode, text, or)
	case tagContainer:
		return sc.each(colContainer, text, or)
	case tagStatus:
		return sc.each(colStatus, func(v parquet.Value) bool { return store.SpanStatus(v.Int32()).String() == c.value }, or)
	case tagKind:
		return sc.each(colKind, func(v parquet.Value) bool { return store.SpanKind(v.Int32()).String() == c.value }, or)
	}
	return nil
}

// resource tests the resource objects, each once.
func (sc *scan) resource(c *attrCond, or func(int, bool)) error {
	var bad error
	err := sc.each(colResource, func(v parquet.Value) bool {
		ok, err := objectHas(v.ByteArray(), c.key, c.value)
		bad = errors.Join(bad, err)
		return ok
	}, or)
	return errors.Join(err, bad)
}

// attrRows are the attributes of a row group: row i has keys[first[i]:first[i+1]] and the same of values.
type attrRows struct {
	first []uint32
	keys  []int32
	dict  []string
	blob  []byte
	ends  []uint32
}

func (sc *scan) attrRows() (*attrRows, error) {
	a := &attrRows{first: make([]uint32, 0, sc.rows+1)}
	err := sc.pages(colAttrKey, func(p parquet.Page, _ int) error {
		d := p.Dictionary()
		if d == nil {
			return fmt.Errorf("%w: attribute keys have no dictionary", errBlock)
		}
		if a.dict == nil {
			a.dict = make([]string, d.Len())
			for i := range a.dict {
				a.dict[i] = string(d.Index(int32(i)).ByteArray())
			}
		}
		rep, def := p.RepetitionLevels(), p.DefinitionLevels()
		at := uint32(len(a.keys))
		for i := range rep {
			if rep[i] == 0 {
				a.first = append(a.first, at)
			}
			if def[i] > 0 {
				at++
			}
		}
		data := p.Data()
		a.keys = append(a.keys, data.Int32()...)
		if int(at) != len(a.keys) {
			return fmt.Errorf("%w: attribute levels", errBlock)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	a.first = append(a.first, uint32(len(a.keys)))
	if len(a.first) != sc.rows+1 {
		return nil, fmt.Errorf("%w: attributes of %d rows, %d expected", errBlock, len(a.first)-1, sc.rows)
	}
	err = sc.pages(colAttrValue, func(p parquet.Page, _ int) error {
		if p.Dictionary() != nil {
			return fmt.Errorf("%w: attribute values have a dictionary", errBlock)
		}
		data := p.Data()
		blob, offs := data.ByteArray()
		base := uint32(len(a.blob))
		if len(offs) == 0 {
			return nil
		}
		a.blob = append(a.blob, blob[offs[0]:offs[len(offs)-1]]...)
		for _, o := range offs[1:] {
			a.ends = append(a.ends, base+o-offs[0])
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(a.ends) != len(a.keys) {
		return nil, fmt.Errorf("%w: %d attribute keys, %d values", errBlock, len(a.keys), len(a.ends))
	}
	return a, nil
}

// match sets hit for the rows of keep that have the attribute.
func (a *attrRows) match(c *attrCond, keep, hit []bool) {
	key := int32(slices.Index(a.dict, c.key))
	if key < 0 {
		return
	}
	for row := range keep {
		if !keep[row] || hit[row] {
			continue
		}
		for i := a.first[row]; i < a.first[row+1]; i++ {
			if a.keys[i] != key {
				continue
			}
			var from uint32
			if i > 0 {
				from = a.ends[i-1]
			}
			if string(a.blob[from:a.ends[i]]) == c.value {
				hit[row] = true
				break
			}
		}
	}
}

// hits names the traces of the kept rows, each with its first start in the row group.
func (sc *scan) hits() ([]hit, error) {
	starts := make([]int64, 0, sc.rows)
	err := sc.pages(colStart, func(p parquet.Page, _ int) error {
		data := p.Data()
		starts = append(starts, data.Int64()...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []hit
	last, first, taken := int32(-1), 0, false
	err = sc.pages(colTrace, func(p parquet.Page, row int) error {
		d := p.Dictionary()
		if d == nil {
			return fmt.Errorf("%w: trace ids have no dictionary", errBlock)
		}
		data := p.Data()
		for i, id := range data.Int32() {
			if id != last {
				last, first, taken = id, row+i, false
			}
			if sc.keep[row+i] && !taken {
				taken = true
				h := hit{start: starts[first]} // rows of a trace are sorted by start
				copy(h.id[:], d.Index(id).ByteArray())
				out = append(out, h)
			}
		}
		return nil
	})
	return out, err
}
