package ingest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

func cellAt(i int, window int64) cell.Cell {
	return cell.Cell{
		Key:      cell.Key{Pipeline: "orders", Stage: fmt.Sprintf("s%d", i), Dir: cell.Out, Destination: "d", Window: window, Width: 60},
		Instance: "n1/c1", Node: "n1", Epoch: 1_700_000_000_000, Seq: 3, Counts: cell.Counts{N: 10, FpSum: 1 << 63, FpXor: 5, Hashed: 10},
	}
}

func batchJSON(tb testing.TB, b cell.Batch) []byte {
	tb.Helper()
	out, err := json.Marshal(b)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func thisMinute() int64 { return time.Now().Unix() / 60 * 60 }

func TestAudit(t *testing.T) {
	r := newRig(t)
	w0 := thisMinute()
	b := cell.Batch{Auditor: cell.Auditor{Node: "n1", Epoch: 5, Seq: 1, At: 9, FlushMS: 1000, Drops: 2}, Cells: []cell.Cell{cellAt(0, w0), cellAt(1, 0)}}
	for _, enc := range []string{"", "zstd"} {
		body := batchJSON(t, b)
		if enc == "zstd" {
			body = zstdOf(t, body)
		}
		if w := r.post("/api/v1/audit", body, "Content-Encoding", enc); w.Code != 204 {
			t.Fatalf("%q: %d %s", enc, w.Code, w.Body)
		}
	}
	// An empty batch still brings the auditor's record.
	if w := r.post("/api/v1/audit", batchJSON(t, cell.Batch{Auditor: b.Auditor})); w.Code != 204 || len(r.e.auditors) != 3 {
		t.Errorf("empty batch: %d %s, %d auditors", w.Code, w.Body, len(r.e.auditors))
	}
	if diff := cmp.Diff(b.Cells, r.e.cells[:2]); diff != "" {
		t.Error(diff)
	}
	req := httptest.NewRequest(http.MethodGet, fmt.Sprintf("/api/v1/audit/cells?pipeline=orders&from=%d&to=%d", w0*1000, w0*1000+1000), nil)
	req.Host = "localhost"
	w := httptest.NewRecorder()
	r.h.ServeHTTP(w, req)
	var got cellsAnswer
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || len(got.Cells) == 0 || got.Cells[0] != b.Cells[0] {
		t.Errorf("read back: %v %s", err, w.Body)
	}
	r.books("audit")
}

func TestAuditRefusals(t *testing.T) {
	w0 := thisMinute()
	edit := func(f func(*cell.Cell)) []byte {
		c := cellAt(0, w0)
		f(&c)
		return batchJSON(t, cell.Batch{Cells: []cell.Cell{cellAt(1, w0), c}})
	}
	for name, c := range map[string]struct {
		body   []byte
		want   string
		stored int
	}{
		"unknown field":      {[]byte(`{"auditor":{},"cells":[{"pipeline":"a","colour":1}]}`), `unknown field \"colour\"`, 0},
		"unknown top field":  {[]byte(`{"sells":[]}`), `unknown field \"sells\"`, 0},
		"unknown in auditor": {[]byte(`{"auditor":{"nod":"x"}}`), `unknown field \"nod\"`, 0},
		"no JSON":            {[]byte(`hello`), "byte 0", 0},
		"empty":              {nil, "unexpected EOF", 0},
		"cut off":            {[]byte(`{"cells":[{"pipeline":"a"}`), "unexpected EOF", 0},
		"two batches":        {[]byte(`{} {}`), "something follows", 0},
		"not a list":         {[]byte(`{"cells":{}}`), "want a list", 0},
		"too many":           {[]byte(`{"cells":[{},{},{},{}]}`), "more than 3 cells", 0},
		"dir":                {edit(func(c *cell.Cell) { c.Dir = "sideways" }), `dir \"sideways\"`, 1},
		"no pipeline":        {edit(func(c *cell.Cell) { c.Pipeline = "" }), "cells[1]: pipeline is missing", 1},
		"long stage":         {edit(func(c *cell.Cell) { c.Stage = strings.Repeat("x", 201) }), "201 bytes", 1},
		"group on out":       {edit(func(c *cell.Cell) { c.Group = "g" }), "belongs to dir in", 1},
		"reason on out":      {edit(func(c *cell.Cell) { c.Reason = "r" }), "belongs to dir dropped", 1},
		"epoch":              {edit(func(c *cell.Cell) { c.Epoch = 0 }), "epoch 0", 1},
		"width":              {edit(func(c *cell.Cell) { c.Width = 0 }), "width 0", 1},
		"crooked window":     {edit(func(c *cell.Cell) { c.Window++ }), "not a multiple", 1},
		"old window":         {edit(func(c *cell.Cell) { c.Window = 60 }), "ago", 1},
		"future window":      {edit(func(c *cell.Cell) { c.Window += 48 * 3600 }), "ahead", 1},
		"large seq":          {edit(func(c *cell.Cell) { c.Seq = 1 << 63 }), "larger than", 1},
		"hashed":             {edit(func(c *cell.Cell) { c.Hashed = 11 }), "hashed 11", 1},
	} {
		r := newRig(t, func(c *Config) { c.MaxCells = 3 })
		w := r.post("/api/v1/audit", c.body)
		if w.Code != 400 || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %s, want %q", name, w.Code, w.Body, c.want)
		}
		if len(r.e.cells) != c.stored {
			t.Errorf("%s: %d cells stored, want %d", name, len(r.e.cells), c.stored)
		}
		r.books("audit")
	}
}

// Ids and latencies that make no sense cost themselves, are counted and named; the counts of their cells are stored.
func TestAuditSamples(t *testing.T) {
	r := newRig(t)
	good, bad := cellAt(0, thisMinute()), cellAt(1, thisMinute())
	good.IDs, good.Latency = &cell.IDs{}, &cell.Sketch{}
	for i := range 500 {
		id := fmt.Sprint("o-", i)
		good.IDs.Observe(cell.Hash(id), id)
		good.Latency.Observe(float64(i)-2, 1)
	}
	body := batchJSON(t, cell.Batch{Cells: []cell.Cell{good, bad}})
	// The second cell, which has no samples, gets some that nobody can read.
	cut := bytes.LastIndex(body, []byte(`"seq":`))
	body = slices.Insert(body, cut, []byte(`"ids":{"m":65,"of":1},"latency":{"count":1e300},"corrected":[],`)...)
	w := r.post("/api/v1/audit", body)
	if w.Code != 204 || len(r.e.cells) != 2 {
		t.Fatalf("%d %s, %d cells", w.Code, w.Body, len(r.e.cells))
	}
	if d := cmp.Diff([]cell.Cell{good, bad}, r.e.cells); d != "" {
		t.Error(d)
	}
	for kind, n := range map[string]uint64{"ids": 1, "latency": 2} {
		if got := r.set.GetOrCreateCounter(`weir_ingest_samples_left_out_total{door="audit",kind="` + kind + `"}`).Get(); got != n {
			t.Errorf("%s: %d left out, want %d", kind, got, n)
		}
	}
	came, went, ok := strings.Cut(w.Header().Get("Weir-Time"), ",")
	a, _ := strconv.ParseInt(came, 10, 64)
	b, _ := strconv.ParseInt(went, 10, 64)
	if !ok || b < a || time.Since(time.UnixMicro(a)).Abs() > time.Minute {
		t.Errorf("Weir-Time %q", w.Header().Get("Weir-Time"))
	}
	r.books("audit")
}

func TestAuditBooks(t *testing.T) {
	r := newRig(t)
	rnd := rand.New(rand.NewPCG(2, 2))
	for range 300 {
		var b cell.Batch
		for i := range rnd.IntN(6) {
			c := cellAt(i, thisMinute())
			if rnd.IntN(3) == 0 {
				c.Dir = "x"
			}
			b.Cells = append(b.Cells, c)
		}
		r.e.fail = nil
		if rnd.IntN(4) == 0 {
			r.e.fail = store.ErrUnavailable
		}
		body := batchJSON(t, b)
		if rnd.IntN(4) == 0 {
			body[rnd.IntN(len(body))] ^= 1 << rnd.IntN(7)
		}
		r.post("/api/v1/audit", body)
	}
	if rec, st, dr := r.books("audit"); rec == 0 || st != len(r.e.cells) || dr == 0 {
		t.Errorf("received %d stored %d (%d in the ledger) dropped %d", rec, st, len(r.e.cells), dr)
	}
}

func FuzzAudit(f *testing.F) {
	f.Add(batchJSON(f, cell.Batch{Cells: []cell.Cell{cellAt(0, 60), cellAt(1, 0)}}))
	f.Add([]byte(`{"cells":null}`))
	f.Add([]byte(`{"cells":[null]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := newRig(t)
		if w := r.post("/api/v1/audit", body); w.Code != 204 && w.Code != 400 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		r.books("audit")
		for _, c := range r.e.cells {
			if reason, err := r.in.checkCell(&c, time.Now()); err != nil {
				t.Errorf("stored although %s: %v", reason, err)
			}
		}
	})
}
