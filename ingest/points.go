package ingest

import (
	"context"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/weirhq/weir/ingest/otlp"
	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// putPoints stores metric points and audit points and keeps the books of the door, in points.
func (in *Ingest) putPoints(ctx context.Context, req pmetricotlp.ExportRequest) (partialSuccess, error) {
	d := in.doors.metrics
	m := otlp.Translate(req.Metrics(), otlp.Limits{Labels: in.cfg.MaxLabels, Name: in.cfg.MaxLabelName, Value: in.cfg.MaxLabelValue, Series: in.cfg.MaxSeries})
	d.received.Add(m.Received)
	in.exemplarsIn.Add(m.Exemplars)
	t := tenantOf(ctx)
	if err := in.rates.samples.take(t, m.Received); err != nil {
		d.drop("rate_limited", m.Received, "tenant "+string(t))
		return partialSuccess{}, err
	}
	p := &pointBooks{in: in, t: t, rejected: m.Rejected}
	start := time.Now()
	in.versions.hearMetrics(t, req.Metrics(), start.UnixMilli())
	err := p.single(ctx, m)
	if err == nil {
		err = p.multi(ctx, m)
	}
	if err == nil {
		if m.BadIDs > 0 {
			p.in.doors.metrics.sampleLeftOut("ids", m.BadIDs, m.BadID)
		}
		err = p.cells(ctx, m.Cells)
	}
	for _, r := range p.rejected {
		d.drop(r.Reason, r.Count, r.Example)
		p.counted += r.Count
	}
	d.stored.Add(p.stored)
	if err != nil {
		// What was stored already is sent again and changes nothing.
		d.drop(refusalOf(err).kind, m.Received-p.stored-p.counted, err.Error())
		return partialSuccess{}, err
	}
	d.seconds.UpdateDuration(start)
	var ps partialSuccess
	ps.add(p.rejected)
	return ps, nil
}

type pointBooks struct {
	in       *Ingest
	t        store.Tenant
	stored   int
	counted  int
	rejected []store.Rejection
	tries    int
}

func (p *pointBooks) append(ctx context.Context, b *store.MetricBatch) (store.AppendResult, error) {
	res, err := p.in.engine.Metrics().Append(ctx, p.t, b)
	p.in.exemplars.Add(res.Exemplars)
	return res, err
}

func (p *pointBooks) single(ctx context.Context, m *otlp.Metrics) error {
	if m.SinglePoints() == 0 {
		return nil
	}
	res, err := p.append(ctx, &m.Single)
	if err != nil {
		return err
	}
	p.stored += res.Samples + res.Histograms
	p.rejected = append(p.rejected, res.Rejected...)
	return nil
}

// multi stores points that are many samples. The store counts samples; a point is stored when all of
// its samples are. When some were rejected, halves are appended again (which changes nothing in the
// store) until the points concerned are found, at most maxTries times.
func (p *pointBooks) multi(ctx context.Context, m *otlp.Metrics) error {
	if len(m.MultiFrom) == 0 {
		return nil
	}
	return p.some(ctx, m, 0, len(m.MultiFrom))
}

const maxTries = 64

func (p *pointBooks) some(ctx context.Context, m *otlp.Metrics, from, to int) error {
	end := len(m.Multi.Series)
	if to < len(m.MultiFrom) {
		end = m.MultiFrom[to]
	}
	p.tries++
	res, err := p.append(ctx, &store.MetricBatch{Symbols: m.Multi.Symbols, Series: m.Multi.Series[m.MultiFrom[from]:end]})
	switch {
	case err != nil:
		return err
	case len(res.Rejected) == 0:
		p.stored += to - from
		return nil
	case to-from == 1 || res.Samples == 0 || p.tries >= maxTries:
		// Past the bound, points are called dropped of which a part may be stored: never the other way round.
		p.rejected = append(p.rejected, store.Rejection{Reason: res.Rejected[0].Reason, Count: to - from, Example: res.Rejected[0].Example})
		return nil
	}
	mid := (from + to) / 2
	if err := p.some(ctx, m, from, mid); err != nil {
		return err
	}
	return p.some(ctx, m, mid, to)
}

// cells puts audit points into the ledger. There is no collector in between, so no auditor record either.
func (p *pointBooks) cells(ctx context.Context, list []otlp.AuditCell) error {
	if len(list) == 0 {
		return nil
	}
	now := time.Now()
	var b cell.Batch
	n := 0
	for i := range list {
		c := &list[i]
		if reason, err := p.in.checkCell(&c.Cell, now); err != nil {
			p.rejected = append(p.rejected, store.Rejection{Reason: reason, Count: c.Points, Example: err.Error()})
			continue
		}
		b.Cells = append(b.Cells, c.Cell)
		n += c.Points
	}
	if len(b.Cells) == 0 {
		return nil
	}
	if err := p.in.engine.Ledger().PutCells(ctx, p.t, b); err != nil {
		return err
	}
	p.in.otlpCells.Add(len(b.Cells))
	p.stored += n
	return nil
}
