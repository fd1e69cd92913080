package pipeline

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/ledger"
	"github.com/weirhq/weir/store"
)

// lateBook follows old windows to which cells came after everybody had stopped looking: a collector was cut off, or a
// record took hours. Their verdicts are revised, as long as the ledger keeps them.
type lateBook struct {
	since   int64 // cells written up to here are known, Unix milliseconds
	windows map[string]map[int64]lateWindow
	changes map[string]*flow.Changes
}

type lateWindow struct {
	width int64
	since int64 // when it was found, Unix milliseconds
}

// Bounds of what is followed at a time; what finds no room is found again.
const (
	maxLateWindows = 5000
	maxLatePipes   = 20
	maxLateWidth   = 86_400 // seconds
	maxLateSpan    = 120    // windows of a pipeline in one evaluation
	latePatience   = 30 * 60_000
)

// readLate finds windows that got cells late, and judges them again.
func (t *tenant) readLate(ctx context.Context, now int64) error {
	b := &t.late
	if b.windows == nil {
		b.windows, b.changes = map[string]map[int64]lateWindow{}, map[string]*flow.Changes{}
		b.since = now - 3_600_000 // an earlier process may not have come to it
	}
	n := 0
	for _, ws := range b.windows {
		n += len(ws)
	}
	if n < maxLateWindows {
		list, err := t.s.engine.Ledger().Late(ctx, t.id, time.UnixMilli(b.since-2000))
		if err != nil {
			return fmt.Errorf("cannot read late windows: %w", err)
		}
		b.since = now
		for _, w := range list {
			if w.Width <= 0 || w.Width > maxLateWidth || w.Window <= 0 || w.Window > now/1000 {
				continue // nonsense, which no tally takes
			}
			for _, id := range t.declared.Belongs(w.Pipeline) {
				if w.Window >= now/1000-ledger.Followed || t.follows(id, w.Window) {
					continue // still looked at
				}
				if n >= maxLateWindows {
					t.s.overflow.Inc()
					b.since = min(b.since, now-60_000) // they are found again
					break
				}
				ws := b.windows[id]
				if ws == nil {
					ws, b.changes[id] = map[int64]lateWindow{}, &flow.Changes{}
					b.windows[id] = ws
				}
				width := max(w.Width, 1)
				if p := t.pipes[id]; p != nil && p.tally != nil {
					width = max(width, p.tally.Width)
				}
				start := w.Window - w.Window%width
				if _, known := ws[start]; !known {
					ws[start] = lateWindow{width, now}
					n++
				}
			}
		}
	}
	ids := slices.Sorted(maps.Keys(b.windows))
	for _, id := range ids[:min(len(ids), maxLatePipes)] {
		if err := t.settleLate(ctx, id, now); err != nil {
			return err
		}
		if len(b.windows[id]) == 0 {
			delete(b.windows, id)
			delete(b.changes, id)
		}
	}
	return nil
}

// follows says whether a window is read in any case, because one as old is not settled.
func (t *tenant) follows(id string, window int64) bool {
	p := t.pipes[id]
	return p != nil && p.oldest > 0 && window >= p.oldest
}

// settleLate judges the oldest late windows of one pipeline.
func (t *tenant) settleLate(ctx context.Context, id string, now int64) error {
	ws := t.late.windows[id]
	starts := slices.Sorted(maps.Keys(ws))
	first, width := starts[0], ws[starts[0]].width
	starts = slices.DeleteFunc(starts, func(w int64) bool { return w >= first+maxLateSpan*width })
	end := starts[len(starts)-1] + width
	tally, err := t.tallyOf(ctx, id, time.Unix(first-2*width, 0), time.Unix(end, 0), time.Time{})
	if err != nil {
		return err
	}
	if tally == nil {
		delete(t.late.windows, id)
		return nil
	}
	priors, err := t.s.engine.Ledger().Verdicts(ctx, t.id, store.VerdictQuery{Pipeline: id, From: time.Unix(first-2*width, 0), To: time.Unix(end, 0)})
	if err != nil {
		return fmt.Errorf("cannot read verdicts: %w", err)
	}
	prior := make(map[store.VerdictKey]store.Verdict, len(priors))
	for _, v := range priors {
		prior[v.VerdictKey] = v
	}
	auditors, err := t.s.engine.Ledger().Auditors(ctx, t.id, time.Unix(first, 0).Add(-time.Hour))
	if err != nil {
		return fmt.Errorf("cannot read auditors: %w", err)
	}
	audit := flow.NewAudit(auditors, now, t.s.cfg.rules())
	audit.Lose(t.telemetry.Lost())
	topo, queues := flow.Build(tally), map[string]*flow.Queue{}
	if p := t.pipes[id]; p != nil && len(p.counted.Stages) > 0 {
		topo = p.counted
		queues = t.queuesOf(p)
	}
	t.late.changes[id].Observe(tally, now, first-2*width)
	out := flow.Settle(flow.Settlement{
		Now: now, From: first, Tally: tally, Topology: topo, Audit: audit, Queues: queues, Changes: t.late.changes[id], Rules: t.s.cfg.rules(),
		Ratios: t.ratiosOf(id, topo, tally), KeepsIDs: t.declared.KeepsIDs(id), Counting: t.declared.Counter(id),
		Prior: func(k store.VerdictKey) (store.Verdict, bool) { v, ok := prior[k]; return v, ok },
		Known: t.ledger.First, Agreed: t.ledger.AgreedSince, Kept: t.ledger.KeptSince, ReadsSome: t.readsSome,
		FromSpans: t.spans.Stages(id), Joined: func(e flow.Edge) bool { return t.spans.Joins(id, e) },
		Latency: func(string) time.Duration { return t.s.cfg.Grace },
		Findings: func(destination, group string, w flow.Window) flow.Finding {
			return earlierFindings(priors, destination, group, w)
		},
	})
	open := map[int64]bool{}
	t.ledger.Change(func() {
		for _, v := range out.Verdicts {
			if _, late := ws[v.Window]; !late {
				continue
			}
			old, known := prior[v.VerdictKey]
			switch {
			case !v.Settled && now-ws[v.Window].since < latePatience:
				open[v.Window] = true
			case !v.Settled:
			default:
				t.ledger.Revise(old, known, v)
			}
		}
	})
	for _, w := range starts {
		if !open[w] {
			delete(ws, w)
		}
	}
	return nil
}

// queuesOf are the destinations of a pipeline that a broker tells about.
func (t *tenant) queuesOf(p *pipe) map[string]*flow.Queue {
	out := map[string]*flow.Queue{}
	for _, st := range p.topo.Stages {
		for _, in := range st.In {
			if q := t.broker.QueueFor(in.Destination, in.Group); q != nil && out[in.Destination] == nil {
				out[in.Destination] = q.Flow()
			}
		}
	}
	return out
}

// earlierFindings are what offset rules found when the window was judged first: the offsets of that time may be gone.
func earlierFindings(priors []store.Verdict, destination, group string, w flow.Window) (f flow.Finding) {
	for i := range priors {
		v := &priors[i]
		if v.Kind != store.EdgeTransport || v.Destination != destination || v.Group != group || v.Window != w.Start {
			continue
		}
		f.Redelivered += v.Redeliver
		switch {
		case v.State == flow.RetentionLoss:
			f.Retention += v.Explained
		case v.State == flow.Skipped:
			f.Skipped += v.Explained
		case v.Class == flow.ClassTruncation:
			f.Truncated += v.Explained
		}
	}
	return f
}
