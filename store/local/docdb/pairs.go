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

const putPair = `INSERT INTO pairs (tenant, window_start, kind, pipeline, from_stage, system, destination, consumer_group, to_stage, width,
  instance, epoch, seq, body) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)
ON CONFLICT DO UPDATE SET seq=excluded.seq, body=excluded.body WHERE excluded.seq > pairs.seq`

// PutPairs takes what joined spans say as a whole; see store.Ledger.
func (db *DB) PutPairs(ctx context.Context, t store.Tenant, ps []cell.Pair) error {
	if len(ps) == 0 {
		return nil
	}
	bodies := make([]string, len(ps))
	for i := range ps {
		p := &ps[i]
		if p.Seq > math.MaxInt64 {
			return fmt.Errorf("cannot put pair of destination %q: seq %d is too large: %w", p.Destination, p.Seq, store.ErrInvalid)
		}
		b, err := json.Marshal(p)
		if err != nil {
			return fmt.Errorf("cannot encode pair of destination %q: %w: %w", p.Destination, err, store.ErrInvalid)
		}
		bodies[i] = string(b)
	}
	return db.commit(ctx, "put pairs", func(ctx context.Context, w *writer) error {
		for i := range ps {
			p := &ps[i]
			if _, err := w.exec(ctx, putPair, string(t), p.Window, string(p.Kind), p.Pipeline, p.From, p.System, p.Destination, p.Group, p.To,
				p.Width, p.Instance, p.Epoch, int64(p.Seq), bodies[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// Pairs returns those of windows that start in [from, to), sorted by key, instance and epoch; see store.Ledger.
func (db *DB) Pairs(ctx context.Context, t store.Tenant, from, to time.Time) ([]cell.Pair, error) {
	lo, hi := bounds(from, to)
	return query(ctx, db, "read pairs", func(r *sql.Rows) (p cell.Pair, err error) {
		var body string
		if err := r.Scan(&body); err != nil {
			return p, err
		}
		err = json.Unmarshal([]byte(body), &p)
		return p, err
	}, `SELECT body FROM pairs WHERE tenant=? AND window_start>=? AND window_start<?
ORDER BY kind, pipeline, from_stage, system, destination, consumer_group, to_stage, window_start, width, instance, epoch`, string(t), lo, hi)
}
