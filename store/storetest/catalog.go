package storetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirhq/weir/store"
)

func testCatalog(t *testing.T, fresh func(t *testing.T) Place) {
	t.Helper()
	t.Run("history", func(t *testing.T) { testHistory(t, fresh) })
	t.Run("conflict", func(t *testing.T) { testConflict(t, fresh) })
	t.Run("random", func(t *testing.T) {
		rapid.Check(t, func(r *rapid.T) { randomCatalog(r, start(r, fresh(t))) })
	})
}

// testHistory holds that old versions are kept, newest first, and not for ever.
func testHistory(t *testing.T, fresh func(t *testing.T) Place) {
	t.Helper()
	e := opened(t, fresh)
	const n = 300
	for i := range n {
		if _, err := e.Catalog().Put(t.Context(), "a", "dashboard", "d", []byte(strconv.Itoa(i)), int64(i), "me"); err != nil {
			t.Fatal(err)
		}
	}
	h, err := e.Catalog().History(t.Context(), "a", "dashboard", "d")
	if err != nil {
		t.Fatal(err)
	}
	if len(h) < 2 || len(h) >= n {
		t.Errorf("%d versions kept of %d: some, not all", len(h), n)
	}
	for i, d := range h {
		if d.Version != int64(n-i) || string(d.Body) != strconv.Itoa(n-i-1) || d.By != "me" || d.At.IsZero() {
			t.Fatalf("version %d: %+v", n-i, d)
		}
	}
}

// testConflict holds that of writers who read the same version one wins.
func testConflict(t *testing.T, fresh func(t *testing.T) Place) {
	t.Helper()
	e := opened(t, fresh)
	const n = 8
	errs := make(chan error, n)
	for i := range n {
		go func() {
			_, err := e.Catalog().Put(t.Context(), "a", "rule", "r", []byte{byte(i)}, 0, "")
			errs <- err
		}()
	}
	won := 0
	for range n {
		switch err := <-errs; {
		case err == nil:
			won++
		case !errors.Is(err, store.ErrConflict):
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d writers won", won, n)
	}
}

type docID struct{ kind, name string }

type doc struct {
	version int64
	body    string
}

func randomCatalog(t *rapid.T, e *running) {
	defer e.close(t)
	ctx := t.Context()
	tenants := []store.Tenant{"a", "b"}
	model := map[store.Tenant]map[docID]doc{"a": {}, "b": {}}
	last := map[store.Tenant]map[docID]int64{"a": {}, "b": {}}
	draw := func(t *rapid.T) (store.Tenant, docID) {
		return rapid.SampledFrom(tenants).Draw(t, "tenant"),
			docID{rapid.SampledFrom([]string{"rule", "token"}).Draw(t, "kind"), rapid.SampledFrom([]string{"x", "X", "a/b", "ö"}).Draw(t, "name")}
	}
	check := func(t *rapid.T) {
		for _, id := range tenants {
			for _, kind := range []string{"rule", "token"} {
				ds, err := e.Catalog().List(ctx, id, kind)
				if err != nil {
					t.Fatalf("list: %v", err)
				}
				var want []string
				for _, k := range slices.SortedFunc(maps.Keys(model[id]), func(a, b docID) int { return cmpString(a.name, b.name) }) {
					if k.kind == kind {
						want = append(want, fmt.Sprint(k.name, " ", model[id][k]))
					}
				}
				var got []string
				for _, d := range ds {
					if d.Kind != kind {
						t.Errorf("kind %q in list of %q", d.Kind, kind)
					}
					got = append(got, fmt.Sprint(d.Name, " ", doc{d.Version, string(d.Body)}))
				}
				if !slices.Equal(want, got) {
					t.Fatalf("%s of %q: want %v, got %v", kind, id, want, got)
				}
			}
		}
	}
	t.Repeat(map[string]func(*rapid.T){
		"put": func(t *rapid.T) {
			id, k := draw(t)
			body := rapid.StringN(0, 8, -1).Draw(t, "body")
			current := model[id][k].version
			expect := rapid.SampledFrom([]int64{-1, 0, current, current + 1}).Draw(t, "expect")
			d, err := e.Catalog().Put(ctx, id, k.kind, k.name, []byte(body), expect, "me")
			if expect >= 0 && expect != current {
				if !errors.Is(err, store.ErrConflict) {
					t.Fatalf("expected version %d, is %d: %v", expect, current, err)
				}
				return
			}
			if err != nil || d.Version <= last[id][k] || string(d.Body) != body {
				t.Fatalf("put after version %d: %+v %v", last[id][k], d, err)
			}
			model[id][k] = doc{d.Version, body}
			last[id][k] = d.Version
		},
		"get": func(t *rapid.T) {
			id, k := draw(t)
			d, err := e.Catalog().Get(ctx, id, k.kind, k.name)
			want, ok := model[id][k]
			if !ok {
				if !errors.Is(err, store.ErrNotFound) {
					t.Fatalf("get: %v", err)
				}
				return
			}
			if err != nil || d.Version != want.version || string(d.Body) != want.body {
				t.Fatalf("get: %+v %v, want %+v", d, err, want)
			}
		},
		"delete": func(t *rapid.T) {
			id, k := draw(t)
			err := e.Catalog().Delete(ctx, id, k.kind, k.name)
			if _, ok := model[id][k]; ok != (err == nil) || err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Fatalf("delete of %v, there: %v: %v", k, ok, err)
			}
			delete(model[id], k)
		},
		"restart": func(t *rapid.T) {
			if rapid.IntRange(0, 7).Draw(t, "seldom") == 0 {
				e.restart(t)
			}
		},
		"check": check,
	})
	check(t)
}
