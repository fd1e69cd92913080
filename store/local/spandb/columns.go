package spandb

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/parquet-go/parquet-go"

	"github.com/weirhq/weir/store"
)

// columns gathers spans as values per column and hands them to the row group's writers in batches.
// Values point into a span's strings, which live as long as the head, or into text.
type columns struct {
	writers []*parquet.ColumnWriter
	vals    [numColumns][]parquet.Value
	ids     []byte // trace, span and parent ids of the batch
	text    []byte // rendered values of the batch
	texts   [][]byte
	rows    int
}

const batchRows = 512

func (c *columns) begin(rg *parquet.ConcurrentRowGroupWriter) {
	c.writers = rg.ColumnWriters()
	c.ids = slices.Grow(c.ids[:0], batchRows*32)
	c.reset()
}

func (c *columns) reset() {
	for i := range c.vals {
		c.vals[i] = c.vals[i][:0]
	}
	c.ids, c.text, c.rows = c.ids[:0], c.text[:0], 0
}

// bytesOf is the bytes of s without a copy; parquet only reads them.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

func (c *columns) str(col int, s string) {
	c.vals[col] = append(c.vals[col], parquet.ByteArrayValue(bytesOf(s)).Level(0, 0, col))
}

func (c *columns) i32(col int, v int32) {
	c.vals[col] = append(c.vals[col], parquet.Int32Value(v).Level(0, 0, col))
}

func (c *columns) i64(col int, v int64) {
	c.vals[col] = append(c.vals[col], parquet.Int64Value(v).Level(0, 0, col))
}

// id copies b, because the span it is of will be overwritten.
func (c *columns) id(col int, b []byte) {
	at := len(c.ids)
	c.ids = append(c.ids, b...) // never grows: begin made room
	c.vals[col] = append(c.vals[col], parquet.FixedLenByteArrayValue(c.ids[at:len(c.ids):len(c.ids)]).Level(0, 0, col))
}

// add takes a span and returns the texts of its attributes, valid until the next add.
func (c *columns) add(s *store.Span, res func() resText) ([][]byte, error) {
	if c.rows == batchRows {
		if err := c.flush(); err != nil {
			return nil, err
		}
	}
	c.rows++
	c.id(colTrace, s.Trace[:])
	c.id(colSpan, s.ID[:])
	c.id(colParent, s.Parent[:])
	c.i64(colStart, s.Start)
	c.i64(colDuration, s.Duration)
	c.str(colService, s.Service)
	c.str(colName, s.Name)
	c.i32(colKind, int32(s.Kind))
	c.i32(colStatus, int32(s.Status))
	c.str(colStatusMsg, s.StatusMsg)
	c.str(colNode, s.Node)
	c.str(colContainer, s.Container)
	c.str(colScope, s.Scope)
	c.str(colTraceState, s.TraceState)
	c.i64(colDropped, int64(s.Dropped))
	r := res()
	c.str(colResource, r.object)
	c.str(colResourceTypes, r.types)
	c.str(colAttrTypes, c.render(func(b []byte) []byte { return typesOf(b, s.Attrs) }))
	c.str(colEvents, c.render(func(b []byte) []byte { return appendEvents(b, s.Events) }))
	c.str(colLinks, c.render(func(b []byte) []byte { return appendLinks(b, s.Links) }))
	if len(s.Attrs) == 0 {
		c.vals[colAttrKey] = append(c.vals[colAttrKey], parquet.Value{}.Level(0, 0, colAttrKey))
		c.vals[colAttrValue] = append(c.vals[colAttrValue], parquet.Value{}.Level(0, 0, colAttrValue))
		return nil, nil
	}
	texts := c.texts[:0]
	for i := range s.Attrs {
		a := &s.Attrs[i]
		rep := min(i, 1)
		text := bytesOf(a.Str)
		if a.Kind != store.AttrString && a.Kind != store.AttrJSON {
			text = bytesOf(c.render(func(b []byte) []byte { return appendText(b, a) }))
		}
		texts = append(texts, text)
		c.vals[colAttrKey] = append(c.vals[colAttrKey], parquet.ByteArrayValue(bytesOf(a.Key)).Level(rep, 1, colAttrKey))
		c.vals[colAttrValue] = append(c.vals[colAttrValue], parquet.ByteArrayValue(text).Level(rep, 1, colAttrValue))
	}
	c.texts = texts
	return texts, nil
}

// render appends to the batch's text and returns what f wrote. When text grows, earlier values keep
// pointing into the old array, which is right: it does not change any more.
func (c *columns) render(f func([]byte) []byte) string {
	at := len(c.text)
	c.text = f(c.text)
	return unsafe.String(unsafe.SliceData(c.text[at:]), len(c.text)-at)
}

func (c *columns) flush() error {
	for i := range c.vals {
		if len(c.vals[i]) == 0 {
			continue
		}
		if _, err := c.writers[i].WriteRowValues(c.vals[i]); err != nil {
			return fmt.Errorf("cannot write column %d: %w", i, err)
		}
	}
	c.reset()
	return nil
}
