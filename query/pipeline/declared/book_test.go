package declared

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
	"github.com/weirhq/weir/store/storetest"
)

const shop = `id: shop
ignore: {groups: [debug-*]}
stages:
  - {name: web, kind: source, writes: [orders]}
  - {name: enrich, kind: map, reads: [{destination: orders, group: g}], writes: [enriched], expected_instances: 2}
`

// What is declared is in force with the next reading, steers cells, and is gone when it is taken back.
func TestBook(t *testing.T) {
	dir := t.TempDir()
	over, bad := new(metrics.Counter), new(metrics.Counter)
	b := New(storetest.CatalogOnly{Docs: storetest.Memory{}}, "t", NewFiles(dir, slog.New(slog.DiscardHandler), bad), 1, over)
	now := int64(1_732_334_400_000)
	read := func(want ...string) {
		t.Helper()
		changed, err := b.Read(t.Context(), now)
		for _, id := range want {
			if !changed[id] {
				t.Errorf("%s is not said to be changed", id)
			}
		}
		if err != nil || len(changed) != len(want) {
			t.Errorf("changed %v, want %v; %v", changed, want, err)
		}
	}
	read()
	if err := b.Put(t.Context(), "me", "shop", shop, 0); err != nil {
		t.Fatal(err)
	}
	read("shop")
	if p, s, ok := b.Reader("kafka", "", "orders", "g"); !ok || p != "shop" || s != "enrich" {
		t.Errorf("read by %s %s", p, s)
	}
	if !b.Ignored("orders", "debug-7") || b.Ignored("orders", "g") || b.Ignored("other", "debug-7") {
		t.Error("ignored groups")
	}
	start := now / 1000
	var cells []cell.Cell
	for _, in := range []string{"1", "2"} {
		for _, at := range []int64{start, start + 60} {
			cells = append(cells, cell.Cell{Key: cell.Key{Pipeline: "p", Stage: "old", Dir: cell.In, Destination: "orders", Group: "g", Window: at}, Service: "enrich", Instance: in})
		}
	}
	b.Remap(cells)
	if c := cells[0]; c.Pipeline != "shop" || c.Stage != "enrich" || !b.Moved("p", "old") {
		t.Errorf("%+v", c)
	}
	if got := b.Sources("shop"); !slices.Equal(got, []string{"p", "shop"}) {
		t.Errorf("sources %v", got)
	}
	if got := b.Belongs("p"); !slices.Equal(got, []string{"p", "shop"}) {
		t.Errorf("belongs to %v", got)
	}
	if have, want := b.Counter("shop")("enrich", flow.Window{Start: start + 60, Width: 60}); have != 2 || want != 2 {
		t.Errorf("%d of %d instances", have, want)
	}
	d, fs := Parse("thief", strings.Replace(shop, "id: shop", "id: thief", 1))
	if fs = append(fs, b.Taken("thief", d)...); len(fs) != 1 || !strings.Contains(fs[0].Text, "belongs to stage enrich") {
		t.Errorf("%+v", fs)
	}
	if err := b.Room("thief"); !errors.Is(err, store.ErrLimit) || b.Room("shop") != nil {
		t.Errorf("%v", err)
	}
	if err := b.Delete(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	read("shop", "p")
	if b.Moved("p", "old") || b.Has("shop") {
		t.Error("taken back and in force")
	}
	// A file of another tenant is not one of this.
	if err := os.WriteFile(filepath.Join(dir, "shop.yaml"), []byte(shop), 0o600); err != nil {
		t.Fatal(err)
	}
	now += time.Minute.Milliseconds()
	read()
	if err := os.Mkdir(filepath.Join(dir, "t"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "shop.yaml"), filepath.Join(dir, "t", "shop.yaml")); err != nil {
		t.Fatal(err)
	}
	now += time.Minute.Milliseconds()
	read("shop")
	if err := b.Editable("shop", now); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("%v", err)
	}
	if h, err := b.Held(t.Context(), "shop", now); err != nil || h == nil || h.File == "" || over.Get()+bad.Get() != 0 {
		t.Errorf("%+v %v", h, err)
	}
}

// Whoever reads the same file has the same document; what a book knows of it is its own.
func TestBooksShareFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "shop.yaml")
	put := func(text string) { // never half a file
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Error(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Error(err)
		}
	}
	files := NewFiles(dir, slog.New(slog.DiscardHandler), new(metrics.Counter))
	book := func(tenant store.Tenant) *Book {
		return New(storetest.CatalogOnly{Docs: storetest.Memory{}}, tenant, files, 10, new(metrics.Counter))
	}
	read := func(b *Book, now int64) {
		t.Helper()
		if _, err := b.Read(t.Context(), now); err != nil {
			t.Error(err)
		}
	}
	count := func(b *Book) {
		var cells []cell.Cell
		for _, at := range []int64{0, 60, 120} {
			cells = append(cells, cell.Cell{Key: cell.Key{Pipeline: "shop", Stage: "enrich", Dir: cell.In, Destination: "orders", Group: "g", Window: 60_000 + at}, Instance: "1"})
		}
		b.Remap(cells)
	}
	counted := func(b *Book) int {
		have, _ := b.Counter("shop")("enrich", flow.Window{Start: 60_060, Width: 60})
		return have
	}
	put(shop)
	a, b := book(store.DefaultTenant), book(store.DefaultTenant)
	read(a, 1)
	read(b, 1)
	count(a)
	if x, y := counted(a), counted(b); x != 1 || y != 0 {
		t.Errorf("one book heard of an instance: %d, the other of none: %d", x, y)
	}
	// What cannot be used any more stays in force with what was counted, and files know nothing of that.
	put(shop + "stages: no\n")
	read(b, 10_000)
	read(a, 10_000)
	if x, y := counted(a), counted(b); x != 1 || y != 0 {
		t.Errorf("with a file that cannot be used: %d and %d", x, y)
	}
	// Another tenant asks while a file changes; the race detector looks on. Who writes files must not be who reads the book: for the
	// detector all that went before a write of a file went before a read of one.
	other := book("other")
	done := make(chan struct{})
	var wg sync.WaitGroup
	again := func(f func(i int)) {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
					f(i)
				}
			}
		})
	}
	again(func(i int) {
		text := shop + strings.Repeat("#", i%100+1) + "\n"
		if i%2 == 1 {
			text += "stages: no\n"
		}
		put(text)
	})
	again(func(i int) {
		if err := other.Editable("shop", 20_000+int64(i)*10_000); err != nil {
			t.Error(err)
		}
	})
	for i := range int64(500) {
		read(a, 20_000+i*10_000)
		count(a)
	}
	close(done)
	wg.Wait()
	if x := counted(a); x != 1 {
		t.Errorf("in the end %d", x)
	}
}
