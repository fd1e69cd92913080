package docdb

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

var _ store.Ledger = (*DB)(nil)

const putCell = `INSERT INTO cells (tenant, window_start, pipeline, stage, dir, destination, consumer_group, reason, width, instance, epoch,
  seq, service, node, n, bytes, fp_sum, fp_xor, hashed, late_max, max_ts, lossy, updated, sample)
VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
ON CONFLICT DO UPDATE SET seq=excluded.seq, service=excluded.service, node=excluded.node, n=excluded.n, bytes=excluded.bytes,
  fp_sum=excluded.fp_sum, fp_xor=excluded.fp_xor, hashed=excluded.hashed, late_max=excluded.late_max, max_ts=excluded.max_ts,
  lossy=excluded.lossy, updated=excluded.updated, sample=excluded.sample
WHERE excluded.seq > cells.seq`

const putAuditor = `INSERT INTO auditors (tenant, node, epoch, seq, at, body) VALUES (?,?,?,?,?,?)
ON CONFLICT DO UPDATE SET seq=excluded.seq, at=excluded.at, body=excluded.body WHERE excluded.seq > auditors.seq`

// PutCells takes a batch as a whole; see store.Ledger.
func (db *DB) PutCells(ctx context.Context, t store.Tenant, b cell.Batch) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("cannot put cells: %w", err)
	}
	for i := range b.Cells {
		// SQLite compares signed numbers; no counter gets there.
		if c := &b.Cells[i]; c.Seq > math.MaxInt64 {
			return fmt.Errorf("cannot put cell of pipeline %q: seq %d is too large: %w", c.Pipeline, c.Seq, store.ErrInvalid)
		}
	}
	if b.Auditor.Seq > math.MaxInt64 {
		return fmt.Errorf("cannot put cells of node %q: seq %d is too large: %w", b.Auditor.Node, b.Auditor.Seq, store.ErrInvalid)
	}
	now := time.Now().Unix()
	err := db.commit(ctx, "put cells", func(ctx context.Context, w *writer) error {
		for i := range b.Cells {
			c := &b.Cells[i]
			sample := c.AppendBinary(nil) // nil is NULL
			if _, err := w.exec(ctx, putCell, string(t), c.Window, c.Pipeline, c.Stage, string(c.Dir), c.Destination, c.Group, c.Reason, c.Width, c.Instance, c.Epoch,
				int64(c.Seq), c.Service, c.Node, int64(c.N), int64(c.Bytes), int64(c.FpSum), int64(c.FpXor), int64(c.Hashed), c.LateMax, c.MaxTS, c.Lossy, now, sample); err != nil {
				return err
			}
		}
		if b.Auditor.Node == "" {
			return nil
		}
		body, err := json.Marshal(b.Auditor)
		if err != nil {
			return err
		}
		_, err = w.exec(ctx, putAuditor, string(t), b.Auditor.Node, b.Auditor.Epoch, int64(b.Auditor.Seq), b.Auditor.At, string(body))
		return err
	})
	if err == nil {
		db.meters.cells.Add(len(b.Cells))
	}
	return err
}

// bounds turns [from, to) into Unix seconds of window starts; the zero time means no bound.
func bounds(from, to time.Time) (lo, hi int64) {
	lo, hi = math.MinInt64, math.MaxInt64
	if !from.IsZero() {
		lo = ceilSecond(from)
	}
	if !to.IsZero() {
		hi = ceilSecond(to)
	}
	return lo, hi
}

func ceilSecond(t time.Time) int64 {
	if t.Nanosecond() > 0 {
		return t.Unix() + 1
	}
	return t.Unix()
}

// Cells returns cells sorted by key, instance and epoch; see store.Ledger.
func (db *DB) Cells(ctx context.Context, t store.Tenant, q store.CellQuery) ([]cell.Cell, error) {
	lo, hi := bounds(q.From, q.To)
	return query(ctx, db, "read cells", func(r *sql.Rows) (cell.Cell, error) {
		var c cell.Cell
		var seq, n, bytes, sum, xor, hashed int64
		var sample sql.RawBytes
		err := r.Scan(&c.Window, &c.Pipeline, &c.Stage, &c.Dir, &c.Destination, &c.Group, &c.Reason, &c.Width, &c.Instance, &c.Epoch,
			&seq, &c.Service, &c.Node, &n, &bytes, &sum, &xor, &hashed, &c.LateMax, &c.MaxTS, &c.Lossy, &sample)
		if err != nil {
			return c, err
		}
		c.Seq, c.N, c.Bytes, c.FpSum, c.FpXor, c.Hashed = uint64(seq), uint64(n), uint64(bytes), uint64(sum), uint64(xor), uint64(hashed)
		if c.Sample, err = cell.ParseSample(sample); err != nil {
			db.meters.badSamples.Inc() // the counts are what a verdict needs
		}
		return c, nil
	}, `SELECT window_start, pipeline, stage, dir, destination, consumer_group, reason, width, instance, epoch,
  seq, service, node, n, bytes, fp_sum, fp_xor, hashed, late_max, max_ts, lossy,
  CASE WHEN window_start>=? THEN sample END
FROM cells WHERE tenant=? AND window_start>=? AND window_start<? AND (?='' OR pipeline=?)
ORDER BY pipeline, stage, dir, destination, consumer_group, reason, window_start, width, instance, epoch`,
		samplesFrom(q), string(t), lo, hi, q.Pipeline, q.Pipeline)
}

func samplesFrom(q store.CellQuery) int64 {
	lo, _ := bounds(q.SamplesFrom, time.Time{})
	return lo
}

// Late returns the windows that got cells since a time, long after they began; see store.Ledger.
func (db *DB) Late(ctx context.Context, t store.Tenant, since time.Time) ([]store.LateWindow, error) {
	// The last term is that of the index cells_late, to the letter.
	return query(ctx, db, "read late windows", func(r *sql.Rows) (l store.LateWindow, err error) {
		err = r.Scan(&l.Pipeline, &l.Window, &l.Width)
		return l, err
	}, `SELECT DISTINCT pipeline, window_start, width FROM cells INDEXED BY cells_late WHERE tenant=? AND updated>=? AND window_start>0 AND updated-window_start>900
ORDER BY pipeline, window_start, width`, string(t), since.Unix())
}

// Auditors returns the newest record of every (node, epoch) that was heard of since, sorted by both.
func (db *DB) Auditors(ctx context.Context, t store.Tenant, since time.Time) ([]cell.Auditor, error) {
	lo := int64(math.MinInt64)
	if !since.IsZero() {
		lo = since.UnixMilli()
	}
	return query(ctx, db, "read auditors", func(r *sql.Rows) (a cell.Auditor, err error) {
		var body string
		if err := r.Scan(&body); err != nil {
			return a, err
		}
		err = json.Unmarshal([]byte(body), &a)
		return a, err
	}, `SELECT body FROM auditors WHERE tenant=? AND at>=? ORDER BY node, epoch`, string(t), lo)
}

// PutBarriers keeps the first barrier of each key.
func (db *DB) PutBarriers(ctx context.Context, t store.Tenant, bs []store.Barrier) error {
	return db.commit(ctx, "put barriers", func(ctx context.Context, w *writer) error {
		for _, b := range bs {
			if _, err := w.exec(ctx, `INSERT INTO barriers (tenant, window_start, system, cluster, destination, partition, width, end_offset, at)
VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING`, string(t), b.Window, b.System, b.Cluster, b.Destination, b.Partition, b.Width, b.Offset, b.At); err != nil {
				return err
			}
		}
		return nil
	})
}

// Barriers returns those of windows that start in [from, to), sorted by system, cluster, destination, partition, window and width.
func (db *DB) Barriers(ctx context.Context, t store.Tenant, from, to time.Time) ([]store.Barrier, error) {
	lo, hi := bounds(from, to)
	return query(ctx, db, "read barriers", func(r *sql.Rows) (b store.Barrier, err error) {
		err = r.Scan(&b.Window, &b.System, &b.Cluster, &b.Destination, &b.Partition, &b.Width, &b.Offset, &b.At)
		return b, err
	}, `SELECT window_start, system, cluster, destination, partition, width, end_offset, at FROM barriers
WHERE tenant=? AND window_start>=? AND window_start<? ORDER BY system, cluster, destination, partition, window_start, width`, string(t), lo, hi)
}

const putVerdict = `INSERT INTO verdicts (tenant, window_start, pipeline, kind, from_stage, destination, consumer_group, to_stage, width,
  state, settled, lost, revision, body) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,0,?)
ON CONFLICT DO UPDATE SET revision=revision+(state<>excluded.state OR lost<>excluded.lost),
  state=excluded.state, settled=excluded.settled, lost=excluded.lost, body=excluded.body`

// PutVerdicts replaces verdicts of the same key. A new verdict has revision 0, whatever the caller wrote there.
func (db *DB) PutVerdicts(ctx context.Context, t store.Tenant, vs []store.Verdict) error {
	return db.commit(ctx, "put verdicts", func(ctx context.Context, w *writer) error {
		for i := range vs {
			v := &vs[i]
			body, err := json.Marshal(v)
			if err != nil {
				return fmt.Errorf("cannot encode verdict of pipeline %q: %w: %w", v.Pipeline, err, store.ErrInvalid)
			}
			if _, err := w.exec(ctx, putVerdict, string(t), v.Window, v.Pipeline, string(v.Kind), v.From, v.Destination, v.Group, v.To, v.Width,
				v.State, v.Settled, v.Lost, string(body)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Verdicts returns those of windows that start in [From, To), sorted by key and window.
func (db *DB) Verdicts(ctx context.Context, t store.Tenant, q store.VerdictQuery) ([]store.Verdict, error) {
	lo, hi := bounds(q.From, q.To)
	from, only := `verdicts`, ``
	if q.OnlyNotOK { // the term of the index, to the letter
		from, only = `verdicts INDEXED BY verdicts_bad`, ` AND state NOT IN ('OK', 'FILTERED')`
	}
	stmt := `SELECT revision, body FROM ` + from + ` WHERE tenant=? AND window_start>=? AND window_start<? AND (?='' OR pipeline=?) AND (NOT ? OR settled)` + only
	return query(ctx, db, "read verdicts", func(r *sql.Rows) (v store.Verdict, err error) {
		var body []byte
		var revision int
		if err := r.Scan(&revision, &body); err != nil {
			return v, err
		}
		err = json.Unmarshal(body, &v)
		v.Revision = revision
		return v, err
	}, stmt+` ORDER BY pipeline, kind, from_stage, destination, consumer_group, to_stage, window_start, width`,
		string(t), lo, hi, q.Pipeline, q.Pipeline, q.OnlySettled)
}

// expiry drops one table's old rows of a tenant, a bounded number at a time so that writers wait little.
// Both start at the tenant, so that the primary key leads to the rows.
type expiry struct {
	next string // the tenant after one
	drop string // of a tenant, before a time
}

var expiries = []expiry{
	{
		// A cell without event time has window 0: it goes by the time it was written.
		`SELECT coalesce(min(tenant), '') FROM cells WHERE tenant > ?`,
		`DELETE FROM cells WHERE (tenant, window_start, pipeline, stage, dir, destination, consumer_group, reason, width, instance, epoch) IN
(SELECT tenant, window_start, pipeline, stage, dir, destination, consumer_group, reason, width, instance, epoch FROM cells
 WHERE tenant = ?1 AND window_start < ?2 AND updated < ?2 LIMIT 1000)`,
	},
	{
		`SELECT coalesce(min(tenant), '') FROM verdicts WHERE tenant > ?`,
		`DELETE FROM verdicts WHERE (tenant, window_start, pipeline, kind, from_stage, destination, consumer_group, to_stage, width) IN
(SELECT tenant, window_start, pipeline, kind, from_stage, destination, consumer_group, to_stage, width FROM verdicts
 WHERE tenant = ?1 AND window_start < ?2 LIMIT 1000)`,
	},
	{
		`SELECT coalesce(min(tenant), '') FROM barriers WHERE tenant > ?`,
		`DELETE FROM barriers WHERE (tenant, window_start, system, cluster, destination, partition, width) IN
(SELECT tenant, window_start, system, cluster, destination, partition, width FROM barriers WHERE tenant = ?1 AND window_start < ?2 LIMIT 1000)`,
	},
	{
		`SELECT coalesce(min(tenant), '') FROM pairs WHERE tenant > ?`,
		`DELETE FROM pairs WHERE (tenant, window_start, kind, pipeline, from_stage, system, destination, consumer_group, to_stage, width, instance, epoch) IN
(SELECT tenant, window_start, kind, pipeline, from_stage, system, destination, consumer_group, to_stage, width, instance, epoch FROM pairs
 WHERE tenant = ?1 AND window_start < ?2 LIMIT 1000)`,
	},
	{
		`SELECT coalesce(min(tenant), '') FROM auditors WHERE tenant > ?`,
		`DELETE FROM auditors WHERE (tenant, node, epoch) IN (SELECT tenant, node, epoch FROM auditors WHERE tenant = ?1 AND at < ?2 * 1000 LIMIT 1000)`,
	},
}

// Expire drops what is past retention.
func (db *DB) Expire(ctx context.Context, now time.Time) error {
	limit := now.Add(-db.cfg.Retention).Unix()
	for _, x := range expiries {
		for tenant := ""; ; {
			next, err := query(ctx, db, "list tenants", func(r *sql.Rows) (s string, err error) { err = r.Scan(&s); return s, err }, x.next, tenant)
			if err != nil {
				return err
			}
			if tenant = next[0]; tenant == "" {
				break
			}
			if err := db.expire(ctx, x.drop, tenant, limit); err != nil {
				return err
			}
		}
	}
	return nil
}

func (db *DB) expire(ctx context.Context, drop, tenant string, limit int64) error {
	for n := int64(1); n > 0; {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("cannot finish retention: %w", err)
		}
		err := db.commit(ctx, "apply retention", func(ctx context.Context, w *writer) error {
			res, err := w.exec(ctx, drop, tenant, limit)
			if err != nil {
				return err
			}
			n, err = res.RowsAffected()
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
