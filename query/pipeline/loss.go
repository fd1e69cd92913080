package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/pipeline/losses"
	"github.com/weirhq/weir/store"
)

// verdicts reads what the store holds and adds the windows that are open now.
func (s *Service) verdicts(ctx context.Context, t *tenant, from, to time.Time, pipeline string) (losses.Verdicts, error) {
	width := int64(0)
	if v := t.view.Load(); v != nil {
		width = v.width
	}
	r, err := t.ledger.Read(ctx, from, to, pipeline, t.ledger.Many(from, to, pipeline, width))
	if err != nil {
		return nil, err
	}
	return t.ledger.Join(r), nil
}

// Loss answers the ledger of [from, to], worst first.
func (s *Service) Loss(ctx context.Context, id store.Tenant, from, to time.Time, pipeline string) (answer.Loss, error) {
	return s.Losses(ctx, id, answer.LossQuery{From: from, To: to, Pipeline: pipeline})
}

// Losses answers the rows of the ledger that are looked for, worst first.
func (s *Service) Losses(ctx context.Context, id store.Tenant, q answer.LossQuery) (answer.Loss, error) {
	v, err := s.viewOf(ctx, id)
	if err != nil {
		return answer.Loss{}, err
	}
	t := s.tenant(id)
	l := answer.Loss{At: v.at, From: q.From.UnixMilli(), To: q.To.UnixMilli(), Completeness: v.completeness}
	if q.From.UnixMilli() >= v.at-86400_000-60_000 && t.ledger.Many(q.From, q.To, q.Pipeline, v.width) {
		var reasons map[string][]string
		if len(losses.NewSearch(q.Text)) > 0 {
			if reasons, err = s.reasons(ctx, t, q, v.at); err != nil {
				return answer.Loss{}, err
			}
		}
		t.ledger.Day(&l, q, reasons)
		return l, nil
	}
	vs, err := s.verdicts(ctx, t, q.From, q.To, q.Pipeline)
	if err != nil {
		return answer.Loss{}, err
	}
	t.ledger.Rows(&l, q, vs)
	return l, nil
}

// reasons are why windows of a range are not OK, by the id of their row.
func (s *Service) reasons(ctx context.Context, t *tenant, q answer.LossQuery, now int64) (map[string][]string, error) {
	r, whole := t.ledger.Reasons(q, now)
	if whole {
		return r.By, nil
	}
	vs, err := t.ledger.ReadReasons(ctx, q)
	if err != nil {
		return nil, err
	}
	t.ledger.AddReasons(r, vs)
	return r.By, nil
}

// LossDetail answers one row with its windows, newest first; store.ErrNotFound for an unknown id.
func (s *Service) LossDetail(ctx context.Context, id store.Tenant, row string, from, to time.Time) (answer.LossDetail, error) {
	k, ok := losses.KeyOf(row)
	if !ok {
		return answer.LossDetail{}, fmt.Errorf("cannot read the id %q: take it from a row of /api/v1/loss: %w", row, store.ErrInvalid)
	}
	if _, err := s.viewOf(ctx, id); err != nil {
		return answer.LossDetail{}, err
	}
	vs, err := s.verdicts(ctx, s.tenant(id), from, to, k.Pipeline)
	if err != nil {
		return answer.LossDetail{}, err
	}
	if _, ok := vs[k]; !ok {
		return answer.LossDetail{}, fmt.Errorf("cannot find the balance %q: %w", row, store.ErrNotFound)
	}
	return vs.Detail(k, from.Unix(), to.Unix()), nil
}
