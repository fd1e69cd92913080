package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weirhq/weir/internal/access"
	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// maxName is the longest name of a pipeline, stage, destination …, in bytes.
const maxName = 200

func (in *Ingest) audit(w http.ResponseWriter, r *http.Request) {
	d := in.doors.audit
	b, err := in.bodies.read(w, r, "identity")
	if err != nil {
		in.finish(r, d.refuse(w, err))
		return
	}
	defer b.free()
	batch, err := decodeBatch(b.data, in.cfg.MaxCells)
	if err != nil {
		in.finish(r, d.refuse(w, badData("cannot read audit batch: %v", err)))
		return
	}
	received := len(batch.Cells)
	d.received.Add(received)
	t := tenantOf(r.Context())
	if err := in.rates.cells.take(t, received); err != nil {
		d.drop("rate_limited", received, "tenant "+string(t))
		in.finish(r, d.refuse(w, err))
		return
	}
	var why []string
	why, batch.Cells = in.cleanCells(d, batch.Cells)
	if err := in.engine.Ledger().PutCells(r.Context(), t, batch); err != nil {
		d.drop(refusalOf(err).kind, len(batch.Cells), err.Error())
		in.finish(r, d.refuse(w, err))
		return
	}
	d.stored.Add(len(batch.Cells))
	if len(why) > 0 {
		in.finish(r, d.refuse(w, &refusal{
			http.StatusBadRequest, "partial",
			fmt.Sprintf("%d cells were stored; not stored: %s", len(batch.Cells), strings.Join(why, "; ")), 0,
		}))
		return
	}
	w.WriteHeader(http.StatusNoContent)
	d.request(http.StatusNoContent)
	in.finish(r, nil)
}

// cleanCells takes out the cells that cannot be kept and counts them; why names the first ten.
func (in *Ingest) cleanCells(d *door, cells []cell.Cell) (why []string, good []cell.Cell) {
	now := time.Now()
	good = cells[:0]
	for i := range cells {
		reason, err := in.checkCell(&cells[i], now)
		if err == nil {
			d.cleanSamples(&cells[i])
			good = append(good, cells[i])
			continue
		}
		d.drop(reason, 1, err.Error())
		if len(why) < 10 {
			why = append(why, fmt.Sprintf("cells[%d]: %v", i, err))
		}
	}
	return why, good
}

// cleanSamples takes out ids and latencies that make no sense: the counts of the cell stand.
func (d *door) cleanSamples(c *cell.Cell) {
	if c.IDs != nil && c.IDs.Bad() != nil {
		d.sampleLeftOut("ids", 1, c.IDs.Bad())
		c.IDs = nil
	}
	for _, l := range [...]**cell.Sketch{&c.Latency, &c.Corrected} {
		if *l != nil && (*l).Bad() != nil {
			d.sampleLeftOut("latency", 1, (*l).Bad())
			*l = nil
		}
	}
}

// sampleLeftOut counts and names what was left out of cells that were stored.
func (d *door) sampleLeftOut(kind string, n int, why error) {
	d.set.GetOrCreateCounter(`weir_ingest_samples_left_out_total{door="` + d.name + `",kind="` + kind + `"}`).Add(n)
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := time.Now(); now.Sub(d.said[kind]) >= time.Minute {
		d.said[kind] = now
		d.log.Warn("sample left out of a count that stands", "kind", kind, "error", why)
	}
}

func (in *Ingest) checkCell(c *cell.Cell, now time.Time) (reason string, err error) {
	for _, f := range []struct {
		name, v string
		need    bool
	}{
		{"pipeline", c.Pipeline, true},
		{"stage", c.Stage, true},
		{"instance", c.Instance, true},
		{"destination", c.Destination, false},
		{"group", c.Group, false},
		{"reason", c.Reason, false},
		{"service", c.Service, false},
		{"node", c.Node, false},
	} {
		switch {
		case f.need && f.v == "":
			return "bad_name", fmt.Errorf("%s is missing", f.name)
		case len(f.v) > maxName:
			return "bad_name", fmt.Errorf("%s has %d bytes, more than %d: %q", f.name, len(f.v), maxName, cutTo(f.v, 80))
		case !utf8.ValidString(f.v):
			return "bad_name", fmt.Errorf("%s is not UTF-8: %q", f.name, cutTo(f.v, 80))
		}
	}
	switch {
	case !slices.Contains(cell.Dirs(), c.Dir) && !slices.Contains(cell.SpanDirs(), c.Dir) && c.Dir != cell.Unflushed:
		return "bad_dir", fmt.Errorf("dir %q is unknown: use one of %v", cutTo(string(c.Dir), 40), cell.Dirs())
	case c.Group != "" && c.Dir != cell.In && c.Dir != cell.SpanIn && c.Dir != cell.SpanReceived && c.Dir != cell.SpanAcked:
		return "bad_key", fmt.Errorf("group %q belongs to dir in, not to %s", c.Group, c.Dir)
	case c.Reason != "" && c.Dir != cell.Dropped && c.Dir != cell.Unflushed:
		return "bad_key", fmt.Errorf("reason %q belongs to dir dropped, not to %s", c.Reason, c.Dir)
	case c.Epoch <= 0:
		return "bad_epoch", fmt.Errorf("epoch %d is not a time in Unix milliseconds", c.Epoch)
	case c.Width < 1 || c.Width > 86_400:
		return "bad_window", fmt.Errorf("width %d is out of bounds: use 1 to 86400 seconds", c.Width)
	case c.Seq > math.MaxInt64:
		return "bad_counts", fmt.Errorf("seq %d is larger than 2^63-1", c.Seq)
	case c.Hashed > c.N:
		return "bad_counts", fmt.Errorf("hashed %d is more than n %d", c.Hashed, c.N)
	case c.Window == 0:
		return "", nil // no event time
	case c.Window%c.Width != 0:
		return "bad_window", fmt.Errorf("window %d is not a multiple of width %d", c.Window, c.Width)
	case c.Window < now.Add(-in.cfg.CellMaxAge).Unix():
		return "too_old", fmt.Errorf("window %d is more than %s ago", c.Window, in.cfg.CellMaxAge)
	case c.Window > now.Add(in.cfg.CellMaxAhead).Unix():
		return "too_new", fmt.Errorf("window %d is more than %s ahead", c.Window, in.cfg.CellMaxAhead)
	}
	return "", nil
}

// decodeBatch reads cell by cell, so that a small body of empty cells cannot unfold into much memory.
func decodeBatch(b []byte, maxCells int) (cell.Batch, error) {
	var batch cell.Batch
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := delim(d, '{'); err != nil {
		return batch, err
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return batch, at(d, err)
		}
		switch key {
		case "auditor":
			if err := d.Decode(&batch.Auditor); err != nil {
				return batch, fmt.Errorf("auditor: %w", at(d, err))
			}
		case "cells":
			if batch.Cells, err = decodeCells(d, maxCells); err != nil {
				return batch, err
			}
		default:
			return batch, fmt.Errorf("unknown field %q: auditor and cells are known", cutTo(fmt.Sprint(key), 80))
		}
	}
	if err := delim(d, '}'); err != nil {
		return batch, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return batch, fmt.Errorf("something follows the batch at byte %d", d.InputOffset())
	}
	a := &batch.Auditor
	if len(a.Node) > maxName || !utf8.ValidString(a.Node) {
		return batch, fmt.Errorf("auditor: node has %d bytes or is not UTF-8; at most %d bytes are taken", len(a.Node), maxName)
	}
	if a.Epoch < 0 || a.At < 0 || a.FlushMS < 0 || a.Seq > math.MaxInt64 {
		return batch, errors.New("auditor: epoch, at and flush_ms cannot be negative, nor seq beyond 2^63-1")
	}
	return batch, nil
}

func decodeCells(d *json.Decoder, maxCells int) ([]cell.Cell, error) {
	tok, err := d.Token()
	if err != nil {
		return nil, fmt.Errorf("cells: %w", at(d, err))
	}
	if tok == nil {
		return nil, nil
	}
	if tok != json.Delim('[') {
		return nil, fmt.Errorf("cells: want a list at byte %d", d.InputOffset())
	}
	var cells []cell.Cell
	for d.More() {
		if len(cells) == maxCells {
			return nil, fmt.Errorf("more than %d cells: send smaller batches", maxCells)
		}
		cells = append(cells, cell.Cell{})
		if err := d.Decode(&cells[len(cells)-1]); err != nil {
			return nil, fmt.Errorf("cells[%d]: %w", len(cells)-1, at(d, err))
		}
	}
	return cells, delim(d, ']')
}

func delim(d *json.Decoder, want json.Delim) error {
	tok, err := d.Token()
	if err != nil {
		return at(d, err)
	}
	if tok != want {
		return fmt.Errorf("want %q at byte %d, found %v", want, d.InputOffset(), cutTo(fmt.Sprint(tok), 40))
	}
	return nil
}

func at(d *json.Decoder, err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("before byte %d: %w", d.InputOffset(), err)
}

// cellsAnswer is the body of GET /api/v1/audit/cells.
type cellsAnswer struct {
	Cells []cell.Cell `json:"cells"`
}

// auditCells gives cells back as they are stored; weir soak checks with it, people debug with it.
func (in *Ingest) auditCells(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	to, err := timeParam(q.Get("to"), time.Now().Add(in.cfg.CellMaxAhead))
	if err != nil {
		access.WriteError(w, http.StatusBadRequest, "bad_data", "parameter to: "+err.Error())
		return
	}
	from, err := timeParam(q.Get("from"), to.Add(-in.cfg.CellMaxAhead-time.Hour))
	if err != nil {
		access.WriteError(w, http.StatusBadRequest, "bad_data", "parameter from: "+err.Error())
		return
	}
	cells, err := in.engine.Ledger().Cells(r.Context(), tenantOf(r.Context()), store.CellQuery{Pipeline: q.Get("pipeline"), From: from, To: to})
	if err != nil {
		re := refusalOf(err)
		access.WriteError(w, re.code, "unavailable", re.msg)
		return
	}
	if cells == nil {
		cells = []cell.Cell{}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(cellsAnswer{cells})
}

func timeParam(s string, def time.Time) (time.Time, error) {
	if s == "" {
		return def, nil
	}
	ms, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a time in Unix milliseconds", cutTo(s, 40))
	}
	return time.UnixMilli(ms), nil
}
