package storetest

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

func testLedger(t *testing.T, fresh func(t *testing.T) Place) {
	t.Helper()
	t.Run("verdicts", func(t *testing.T) { testVerdicts(t, fresh) })
	t.Run("late", func(t *testing.T) { testLate(t, fresh) })
	t.Run("extremes", func(t *testing.T) { testCellExtremes(t, fresh) })
	t.Run("pairs", func(t *testing.T) { testPairs(t, fresh) })
	t.Run("random", func(t *testing.T) {
		rapid.Check(t, func(r *rapid.T) { randomLedger(r, start(r, fresh(t))) })
	})
}

// testVerdicts holds the revision rule and the filters.
func testVerdicts(t *testing.T, fresh func(t *testing.T) Place) {
	t.Helper()
	e := opened(t, fresh)
	w := base() / 1000
	v := store.Verdict{
		VerdictKey: store.VerdictKey{Pipeline: "p", Kind: store.EdgeTransport, From: "a", Destination: "d", Group: "g", To: "b", Window: w, Width: 60},
		State:      "IN_FLIGHT", Up: 10, Confidence: 0.5, Reasons: []string{"x"}, Examples: []string{"id"}, Revision: 7,
	}
	put := func(v store.Verdict) {
		t.Helper()
		for range 2 { // the second time changes nothing
			if err := e.Ledger().PutVerdicts(t.Context(), "a", []store.Verdict{v}); err != nil {
				t.Fatal(err)
			}
		}
	}
	get := func(q store.VerdictQuery) []store.Verdict {
		t.Helper()
		vs, err := e.Ledger().Verdicts(t.Context(), "a", q)
		if err != nil {
			t.Fatal(err)
		}
		return vs
	}
	want := func(n int) {
		t.Helper()
		vs := get(store.VerdictQuery{Pipeline: "p"})
		v.Revision = n
		if d := gocmp.Diff([]store.Verdict{v}, vs); d != "" {
			t.Error(d)
		}
	}
	put(v)
	want(0)
	v.Up, v.Settled = 11, true
	put(v)
	want(0)
	v.State, v.Lost = "LOSS", 3
	put(v)
	want(1)
	v.Lost = 4
	put(v)
	want(2)
	ok := v
	ok.Kind, ok.State, ok.Lost, ok.Settled = store.EdgeBalance, "OK", 0, false
	put(ok)
	if vs := get(store.VerdictQuery{OnlyNotOK: true}); len(vs) != 1 || vs[0].State != "LOSS" {
		t.Errorf("not OK: %+v", vs)
	}
	if vs := get(store.VerdictQuery{OnlySettled: true}); len(vs) != 1 || !vs[0].Settled {
		t.Errorf("settled: %+v", vs)
	}
	if vs := get(store.VerdictQuery{From: time.Unix(w, 0), To: time.Unix(w+1, 0)}); len(vs) != 2 || vs[0].Kind != store.EdgeBalance {
		t.Errorf("range and order: %+v", vs)
	}
	if vs := get(store.VerdictQuery{From: time.Unix(w+1, 0), To: time.Unix(w+60, 0)}); len(vs) != 0 {
		t.Errorf("outside the range: %+v", vs)
	}
	if vs := get(store.VerdictQuery{Pipeline: "other"}); len(vs) != 0 {
		t.Errorf("other pipeline: %+v", vs)
	}
	e.restart(t)
	if vs := get(store.VerdictQuery{}); len(vs) != 2 {
		t.Errorf("after restart: %+v", vs)
	}
}

// testCellExtremes holds that 64-bit figures come back as they went in.
func testCellExtremes(t *testing.T, fresh func(t *testing.T) Place) {
	t.Helper()
	e := opened(t, fresh)
	c := cell.Cell{
		Key:      cell.Key{Pipeline: "p", Stage: "s", Dir: cell.Out, Window: base() / 1000, Width: 60},
		Instance: "i", Service: "sv", Node: "n", Epoch: math.MaxInt64, Seq: math.MaxInt64, Lossy: true,
		Counts: cell.Counts{N: math.MaxUint64, Bytes: 1 << 63, FpSum: math.MaxUint64 - 1, FpXor: 1<<63 + 5, Hashed: 3, LateMax: -5, MaxTS: base()},
		Sample: cell.Sample{IDs: &cell.IDs{M: 4096, Of: math.MaxUint64}, Latency: &cell.Sketch{}, Corrected: &cell.Sketch{}},
	}
	for i := range uint64(1000) {
		c.IDs.IDs = append(c.IDs.IDs, cell.ID{Hash: math.MaxUint64&^4095 - (999-i)<<30, Times: uint32(i*i*i*4 + 1)})
	}
	c.Latency.Observe(cell.MaxLatency, math.MaxUint64)
	c.Latency.Observe(-cell.MaxLatency, 1)
	c.Latency.Observe(0, 1)
	if err := e.Ledger().PutCells(t.Context(), "a", cell.Batch{Cells: []cell.Cell{c}}); err != nil {
		t.Fatal(err)
	}
	got, err := e.Ledger().Cells(t.Context(), "a", store.CellQuery{From: time.Unix(0, 0), To: time.Unix(math.MaxInt32, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if d := gocmp.Diff([]cell.Cell{c}, got); d != "" {
		t.Error(d)
	}
}

type cellID struct {
	cell.Key
	instance string
	epoch    int64
}

type auditorID struct {
	node  string
	epoch int64
}

type barrierID struct {
	system, cluster, destination, partition string
	window, width                           int64
}

// ledgerModel is the ledger of one tenant.
type ledgerModel struct {
	cells    map[cellID]cell.Cell
	auditors map[auditorID]cell.Auditor
	barriers map[barrierID]store.Barrier
	verdicts map[store.VerdictKey]store.Verdict
}

func randomLedger(t *rapid.T, e *running) {
	defer e.close(t)
	w0 := base() / 1000
	tenants := []store.Tenant{"a", "b"}
	models := map[store.Tenant]*ledgerModel{}
	for _, id := range tenants {
		models[id] = &ledgerModel{map[cellID]cell.Cell{}, map[auditorID]cell.Auditor{}, map[barrierID]store.Barrier{}, map[store.VerdictKey]store.Verdict{}}
	}
	window := func(t *rapid.T) int64 { return w0 + 60*rapid.Int64Range(0, 3).Draw(t, "window") }
	pick := func(t *rapid.T, what string, of ...string) string { return rapid.SampledFrom(of).Draw(t, what) }
	newCell := rapid.Custom(func(t *rapid.T) cell.Cell {
		var ids *cell.IDs
		if n := rapid.IntRange(-1, 300).Draw(t, "ids"); n >= 0 {
			ids = &cell.IDs{}
			for i := range n {
				id := fmt.Sprint("o-", i%200)
				ids.Observe(cell.Hash(id)&^rapid.SampledFrom([]uint64{0, 63}).Draw(t, "mask"), "")
				ids.Observe(cell.Hash(id), id)
			}
		}
		var latency *cell.Sketch
		if n := rapid.IntRange(-1, 20).Draw(t, "latencies"); n >= 0 {
			latency = &cell.Sketch{}
			for range n {
				latency.Observe(rapid.Float64Range(-1e4, 1e6).Draw(t, "latency"), 1)
			}
		}
		return cell.Cell{
			Sample: cell.Sample{IDs: ids, Latency: latency},
			Key: cell.Key{
				Pipeline: pick(t, "pipeline", "orders", "Orders", "ö"), Stage: pick(t, "stage", "s1", "s2"), Dir: rapid.SampledFrom(cell.Dirs()).Draw(t, "dir"),
				Destination: pick(t, "destination", "", "topic"), Group: pick(t, "group", "", "g"), Reason: pick(t, "reason", "", "r"), Window: window(t), Width: 60,
			},
			Instance: pick(t, "instance", "i1", "i2"), Epoch: rapid.Int64Range(1, 2).Draw(t, "epoch"), Seq: rapid.Uint64Range(0, 5).Draw(t, "seq"),
			Counts: cell.Counts{N: rapid.Uint64().Draw(t, "n"), FpXor: rapid.Uint64().Draw(t, "xor")},
		}
	})
	put := func(t *rapid.T, do func(store.Tenant) error) *ledgerModel {
		id := rapid.SampledFrom(tenants).Draw(t, "tenant")
		for range rapid.IntRange(1, 3).Draw(t, "times") {
			if err := do(id); err != nil {
				t.Fatalf("put: %v", err)
			}
		}
		return models[id]
	}
	check := func(t *rapid.T) {
		for _, id := range tenants {
			checkLedger(t, e, id, models[id], w0)
		}
	}
	ctx := t.Context()
	t.Repeat(map[string]func(*rapid.T){
		"cells": func(t *rapid.T) {
			b := cell.Batch{Cells: rapid.SliceOfN(newCell, 0, 8).Draw(t, "cells")}
			b.Auditor = cell.Auditor{
				Node: pick(t, "node", "n1", "n2"), Epoch: rapid.Int64Range(1, 2).Draw(t, "epoch"),
				Seq: rapid.Uint64Range(0, 5).Draw(t, "seq"), At: base() + rapid.Int64Range(0, 1000).Draw(t, "at"), Closed: rapid.Bool().Draw(t, "closed"),
			}
			m := put(t, func(id store.Tenant) error { return e.Ledger().PutCells(ctx, id, b) })
			for _, c := range b.Cells {
				k := cellID{c.Key, c.Instance, c.Epoch}
				if old, ok := m.cells[k]; !ok || c.Seq > old.Seq {
					m.cells[k] = c
				}
			}
			k := auditorID{b.Auditor.Node, b.Auditor.Epoch}
			if old, ok := m.auditors[k]; !ok || b.Auditor.Seq > old.Seq {
				m.auditors[k] = b.Auditor
			}
		},
		"barriers": func(t *rapid.T) {
			bs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) store.Barrier {
				return store.Barrier{
					System: "kafka", Cluster: pick(t, "cluster", "c1", "c2"), Destination: "d", Partition: pick(t, "partition", "0", "1", "10"),
					Window: window(t), Width: 60, Offset: rapid.Int64().Draw(t, "offset"), At: base(),
				}
			}), 0, 5).Draw(t, "barriers")
			m := put(t, func(id store.Tenant) error { return e.Ledger().PutBarriers(ctx, id, bs) })
			for _, b := range bs {
				k := barrierID{b.System, b.Cluster, b.Destination, b.Partition, b.Window, b.Width}
				if _, ok := m.barriers[k]; !ok {
					m.barriers[k] = b
				}
			}
		},
		"verdict": func(t *rapid.T) {
			v := store.Verdict{
				VerdictKey: store.VerdictKey{Pipeline: pick(t, "pipeline", "p", "q"), Kind: store.EdgeTransport, From: "a", To: "b", Window: window(t), Width: 60},
				State:      pick(t, "state", "OK", "LOSS", "LATE"), Lost: rapid.Int64Range(0, 2).Draw(t, "lost"), Up: rapid.Int64().Draw(t, "up"),
				Reasons: []string{fmt.Sprint("r", rapid.IntRange(0, 9).Draw(t, "reason"))},
			}
			m := put(t, func(id store.Tenant) error { return e.Ledger().PutVerdicts(ctx, id, []store.Verdict{v}) })
			if old, ok := m.verdicts[v.VerdictKey]; ok {
				v.Revision = old.Revision
				if old.State != v.State || old.Lost != v.Lost {
					v.Revision++
				}
			}
			m.verdicts[v.VerdictKey] = v
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

func checkLedger(t *rapid.T, e *running, id store.Tenant, m *ledgerModel, w0 int64) {
	ctx := t.Context()
	diff := func(what string, want, got any, err error) {
		if err != nil {
			t.Fatalf("%s of %q: %v", what, id, err)
		}
		if d := gocmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("%s of %q (-want +got)\n%s", what, id, d)
		}
	}
	from, to := w0+60*rapid.Int64Range(0, 2).Draw(t, "from"), w0+60*rapid.Int64Range(1, 4).Draw(t, "to")
	in := func(w int64) bool { return w >= from && w < to }
	pipeline := rapid.SampledFrom([]string{"", "orders"}).Draw(t, "pipeline")

	cells := slices.SortedFunc(maps.Values(m.cells), func(a, b cell.Cell) int {
		return cmp.Or(a.Key.Compare(b.Key), cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Epoch, b.Epoch))
	})
	cells = slices.DeleteFunc(cells, func(c cell.Cell) bool { return !in(c.Window) || pipeline != "" && c.Pipeline != pipeline })
	q := store.CellQuery{Pipeline: pipeline, From: time.Unix(from, 0), To: time.Unix(to, 0)}
	if rapid.Bool().Draw(t, "samples of the newer") {
		q.SamplesFrom = time.Unix(w0+60*rapid.Int64Range(0, 4).Draw(t, "samples from"), 0)
		for i := range cells {
			if cells[i].Window < q.SamplesFrom.Unix() {
				cells[i].Sample = cell.Sample{}
			}
		}
	}
	gotCells, err := e.Ledger().Cells(ctx, id, q)
	diff("cells", cells, gotCells, err)

	since := base() + rapid.Int64Range(0, 1000).Draw(t, "since")
	byAuditor := func(a, b cell.Auditor) int { return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Epoch, b.Epoch)) }
	auditors := slices.SortedFunc(maps.Values(m.auditors), byAuditor)
	auditors = slices.DeleteFunc(auditors, func(a cell.Auditor) bool { return a.At < since })
	gotAuditors, err := e.Ledger().Auditors(ctx, id, time.UnixMilli(since))
	slices.SortFunc(gotAuditors, byAuditor)
	diff("auditors", auditors, gotAuditors, err)

	byBarrier := func(a, b store.Barrier) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Window, b.Window))
	}
	barriers := slices.SortedFunc(maps.Values(m.barriers), byBarrier)
	barriers = slices.DeleteFunc(barriers, func(b store.Barrier) bool { return !in(b.Window) })
	gotBarriers, err := e.Ledger().Barriers(ctx, id, time.Unix(from, 0), time.Unix(to, 0))
	slices.SortFunc(gotBarriers, byBarrier)
	diff("barriers", barriers, gotBarriers, err)

	verdicts := slices.SortedFunc(maps.Values(m.verdicts), func(a, b store.Verdict) int {
		return cmp.Or(cmp.Compare(a.Pipeline, b.Pipeline), cmp.Compare(a.Window, b.Window))
	})
	verdicts = slices.DeleteFunc(verdicts, func(v store.Verdict) bool { return !in(v.Window) })
	gotVerdicts, err := e.Ledger().Verdicts(ctx, id, store.VerdictQuery{From: time.Unix(from, 0), To: time.Unix(to, 0)})
	diff("verdicts", verdicts, gotVerdicts, err)
}
