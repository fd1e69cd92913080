package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// testLate holds that windows whose cells came late are told, also after a restart, and no others.
func testLate(t *testing.T, fresh func(t *testing.T) Place) {
	t.Helper()
	e := opened(t, fresh)
	now := time.Now()
	put := func(pipeline string, window int64, seq uint64) {
		t.Helper()
		b := cell.Batch{Auditor: cell.Auditor{Node: "n", Epoch: 1, Seq: seq, At: now.UnixMilli()}}
		for _, stage := range []string{"a", "b"} {
			b.Cells = append(b.Cells, cell.Cell{
				Key: cell.Key{Pipeline: pipeline, Stage: stage, Dir: cell.In, Window: window, Width: 60}, Instance: "i", Epoch: 1, Seq: seq, Counts: cell.Counts{N: seq},
			})
		}
		if err := e.Ledger().PutCells(t.Context(), "a", b); err != nil {
			t.Fatal(err)
		}
	}
	fresh1 := now.Unix() / 60 * 60
	late := fresh1 - 3600
	put("p", fresh1, 1)
	put("p", 0, 1) // records without an event time are never late
	put("p", late, 2)
	put("q", late-86400, 3)
	want := fmt.Sprint([]store.LateWindow{{Pipeline: "p", Window: late, Width: 60}, {Pipeline: "q", Window: late - 86400, Width: 60}})
	for range 2 {
		got, err := e.Ledger().Late(t.Context(), "a", now.Add(-2*time.Second))
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("late: %v %v, want %s", got, err, want)
		}
		e.restart(t)
	}
	if got, err := e.Ledger().Late(t.Context(), "a", now.Add(time.Hour)); err != nil || len(got) != 0 {
		t.Errorf("later: %v %v", got, err)
	}
	if got, err := e.Ledger().Late(t.Context(), "other", now.Add(-time.Hour)); err != nil || len(got) != 0 {
		t.Errorf("other tenant: %v %v", got, err)
	}
}
