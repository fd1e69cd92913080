package pipeline

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/pipeline/telemetry"
	"github.com/weirhq/weir/store"
)

// Self answers weir's own ledger.
func (s *Service) Self(ctx context.Context, id store.Tenant) (answer.Self, error) {
	t := s.tenant(id)
	now := time.Now().UnixMilli()
	v := t.view.Load()
	if v == nil {
		v = &view{at: now}
	}
	now = max(v.at, 0)
	out := answer.Self{At: now, Balanced: true, Doors: []answer.DoorRow{}, Collectors: []answer.CollectorRow{}, Store: []answer.StoreRow{}, Version: s.extras.Version}
	doors, versions, err := s.doors.Rows(ctx, t.querier, now)
	if err != nil {
		return out, err
	}
	out.Doors = doors
	for i := range doors {
		out.Balanced = out.Balanced && doors[i].Balanced
	}
	out.Collectors = telemetry.CollectorRows(t.collectors(), v.silent, v.epochs, versions, now)
	st, err := s.engine.Stats(ctx)
	if err != nil {
		return out, fmt.Errorf("cannot read the sizes of the store: %w", err)
	}
	out.Store = telemetry.StoreRows(st, now)
	return out, nil
}

// auditors are the nodes whose auditor is silent, and when each began last, Unix milliseconds.
func (t *tenant) auditors() (silent map[string]bool, epochs map[string]int64) {
	silent = map[string]bool{}
	if a := t.cells.audit; a != nil {
		for _, g := range a.Silent() {
			silent[g.Node] = true
		}
	}
	return silent, maps.Clone(t.cells.epochs)
}

// collectors are those that ingest heard of, for all tenants or this one.
func (t *tenant) collectors() []telemetry.Collector {
	if t.s.extras.Collectors == nil {
		return nil
	}
	var out []telemetry.Collector
	for _, c := range t.s.extras.Collectors() {
		if c.Tenant == "" || c.Tenant == t.id {
			out = append(out, c)
		}
	}
	return out
}
