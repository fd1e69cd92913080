package docdb

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// Rows that an earlier version wrote have no samples, and are read as such.
func TestCellsOfBeforeSamplesAreRead(t *testing.T) {
	dir := t.TempDir()
	raw, err := sql.Open("sqlite", filepath.Join(dir, "weir.db"))
	if err != nil {
		t.Fatal(err)
	}
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, raw, sub, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	w := time.Now().Truncate(time.Minute).Unix()
	if _, err := raw.ExecContext(t.Context(), `INSERT INTO cells (tenant, window_start, pipeline, stage, dir, destination, consumer_group, reason, width, instance, epoch,
  seq, service, node, n, bytes, fp_sum, fp_xor, hashed, late_max, max_ts, lossy, updated) VALUES ('a',?,'p','s','in','d','g','',60,'i',1,1,'','',7,0,0,0,0,0,0,0,?)`, w, w); err != nil {
		t.Fatal(err)
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
	db := openTest(t, dir)
	got, err := db.Cells(t.Context(), "a", store.CellQuery{})
	if err != nil || len(got) != 1 || got[0].N != 7 || got[0].IDs != nil || got[0].Latency != nil {
		t.Fatalf("%+v, %v", got, err)
	}
	// The next snapshot brings samples to the same row.
	c := got[0]
	c.Seq, c.IDs = 2, &cell.IDs{}
	c.IDs.Observe(0, "")
	if err := db.PutCells(t.Context(), "a", cell.Batch{Cells: []cell.Cell{c}}); err != nil {
		t.Fatal(err)
	}
	if got, err = db.Cells(t.Context(), "a", store.CellQuery{}); err != nil || !cmp.Equal([]cell.Cell{c}, got) {
		t.Fatalf("%v %s", err, cmp.Diff([]cell.Cell{c}, got))
	}
	// A damaged blob costs the samples and not the counts.
	if err := db.commit(t.Context(), "damage", func(ctx context.Context, w *writer) error {
		_, err := w.exec(ctx, `UPDATE cells SET sample=x'0103ffffff'`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if got, err = db.Cells(t.Context(), "a", store.CellQuery{}); err != nil || len(got) != 1 || got[0].N != 7 || got[0].IDs != nil {
		t.Fatalf("%+v, %v", got, err)
	}
}

// BenchmarkSamples reads and writes cells that hold as much as they may.
func BenchmarkSamples(b *testing.B) {
	db := openTest(b, b.TempDir())
	batch := cells(200, 1)
	for i := range batch.Cells {
		c := &batch.Cells[i]
		c.IDs, c.Latency = &cell.IDs{}, &cell.Sketch{}
		for k := range 60_000 {
			id := fmt.Sprint(i, "-", k)
			c.IDs.Observe(cell.Hash(id), id)
			c.Latency.Observe(float64(k%997), 1)
		}
	}
	ctx := context.Background()
	b.Run("put", func(b *testing.B) {
		for seq := uint64(2); b.Loop(); seq++ {
			for i := range batch.Cells {
				batch.Cells[i].Seq = seq
			}
			if err := db.PutCells(ctx, "a", batch); err != nil {
				b.Fatal(err)
			}
		}
	})
	for what, from := range map[string]time.Time{"read": {}, "read counts": time.Now().Add(time.Hour)} {
		b.Run(what, func(b *testing.B) {
			for b.Loop() {
				if cs, err := db.Cells(ctx, "a", store.CellQuery{SamplesFrom: from}); err != nil || len(cs) != 200 {
					b.Fatal(err)
				}
			}
		})
	}
}
