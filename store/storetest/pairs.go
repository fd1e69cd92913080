package storetest

import (
	"cmp"
	"maps"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

type pairID struct {
	cell.PairKey
	instance string
	epoch    int64
}

// testPairs holds that of each sum the newest snapshot stays, in any order, per tenant and over restarts.
func testPairs(t *testing.T, fresh func(t *testing.T) Place) {
	t.Helper()
	rapid.Check(t, func(t2 *rapid.T) { randomPairs(t2, start(t2, fresh(t))) })
}

func randomPairs(t *rapid.T, e *running) {
	defer e.close(t)
	w0 := base() / 1000
	pick := func(t *rapid.T, what string, of ...string) string { return rapid.SampledFrom(of).Draw(t, what) }
	models := map[store.Tenant]map[pairID]cell.Pair{"a": {}, "b": {}}
	one := rapid.Custom(func(t *rapid.T) cell.Pair {
		wait := &cell.Sketch{}
		wait.Observe(float64(rapid.IntRange(0, 5000).Draw(t, "wait")), 1)
		return cell.Pair{
			PairKey: cell.PairKey{
				Kind: rapid.SampledFrom([]cell.PairKind{cell.PairEdge, cell.PairWriter, cell.PairReader, cell.PairWork}).Draw(t, "kind"), Pipeline: pick(t, "pipeline", "", "ö"),
				From: pick(t, "from", "", "a"), System: "kafka", Destination: pick(t, "destination", "", "topic"), Group: pick(t, "group", "", "g"), To: pick(t, "to", "", "b"),
				Window: w0 + 60*rapid.Int64Range(0, 3).Draw(t, "window"), Width: 60,
			},
			Instance: pick(t, "instance", "i", "i~1"), Epoch: rapid.Int64Range(1, 2).Draw(t, "epoch"), Seq: rapid.Uint64Range(0, 5).Draw(t, "seq"),
			PairCounts: cell.PairCounts{
				Up: rapid.Int64().Draw(t, "up"), Adjusted: rapid.Float64Range(0, 1e12).Draw(t, "adjusted"), Wait: wait, Examples: []string{"x"}, Biased: rapid.Bool().Draw(t, "biased"),
				Calls: []cell.Dependency{{Name: "sql", N: 3, MS: 1.5, Time: wait}},
			},
		}
	})
	check := func(t *rapid.T) {
		from, to := w0+60*rapid.Int64Range(0, 2).Draw(t, "from"), w0+60*rapid.Int64Range(1, 4).Draw(t, "to")
		for id, m := range models {
			want := slices.SortedFunc(maps.Values(m), func(a, b cell.Pair) int {
				return cmp.Or(a.Compare(b.PairKey), cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Epoch, b.Epoch))
			})
			want = slices.DeleteFunc(want, func(p cell.Pair) bool { return p.Window < from || p.Window >= to })
			got, err := e.Ledger().Pairs(t.Context(), id, time.Unix(from, 0), time.Unix(to, 0))
			if err != nil {
				t.Fatal(err)
			}
			if d := gocmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
				t.Fatalf("pairs of %q (-want +got)\n%s", id, d)
			}
		}
	}
	t.Repeat(map[string]func(*rapid.T){
		"put": func(t *rapid.T) {
			id := rapid.SampledFrom([]store.Tenant{"a", "b"}).Draw(t, "tenant")
			ps := rapid.SliceOfN(one, 0, 6).Draw(t, "pairs")
			for range rapid.IntRange(1, 2).Draw(t, "times") {
				if err := e.Ledger().PutPairs(t.Context(), id, ps); err != nil {
					t.Fatal(err)
				}
			}
			for _, p := range ps {
				k := pairID{p.PairKey, p.Instance, p.Epoch}
				if old, ok := models[id][k]; !ok || p.Seq > old.Seq {
					models[id][k] = p
				}
			}
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
