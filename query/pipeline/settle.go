package pipeline

import (
	"context"
	"slices"
	"time"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/query/pipeline/brokers"
	"github.com/weirhq/weir/store"
)

// settle judges the windows of all pipelines and writes what is new.
func (t *tenant) settle(ctx context.Context, now int64) error {
	t.ledger.Change(func() {
		for _, p := range t.pipes {
			if p.cells && p.tally != nil && !t.cells.old[p.id] && (t.cells.sampled || !p.samplesToRead(now)) {
				t.settlePipe(p, now)
			}
		}
		t.offsetLosses(now)
		t.discardLosses(now)
		t.noteRewinds(now)
		t.settleSpans(now)
	})
	if err := t.readLate(ctx, now); err != nil {
		return err
	}
	if err := t.ledger.Write(ctx); err != nil {
		return err
	}
	t.ledger.Prune(now, int64(t.s.cfg.Lookback/time.Second))
	return nil
}

func (t *tenant) settlePipe(p *pipe, now int64) {
	l := t.ledger
	queues := t.queuesOf(p)
	rules := t.s.cfg.rules()
	rules.Margin += t.cells.apart.spread()
	lookback := now/1000 - int64(t.s.cfg.Lookback/time.Second)
	out := flow.Settle(flow.Settlement{
		Now: now, From: lookback, Tally: p.tally, Topology: p.counted, Audit: t.cells.audit, Queues: queues,
		Barriers: l.Barriers(), Changes: &p.changes, Rules: rules, Ratios: t.ratiosOf(p.id, p.counted, p.tally),
		Prior: l.Verdict, Known: l.First, Agreed: l.AgreedSince, Kept: l.KeptSince, Began: p.firstOf, ReadsSome: t.readsSome,
		Lateness: func(e flow.Edge) time.Duration { return l.Lateness(e.Key(p.id, flow.Window{})) },
		Latency: func(d string) time.Duration {
			ms, ok := p.tally.Lateness(d)
			if !ok {
				return t.s.cfg.MaxLatency
			}
			return max(t.s.cfg.Grace, 2*time.Duration(ms)*time.Millisecond)
		},
		Findings: t.broker.Findings, Jumped: t.broker.Jumped, KeepsIDs: t.declared.KeepsIDs(p.id), Counting: t.declared.Counter(p.id),
		FromSpans: t.spans.Stages(p.id), Joined: func(e flow.Edge) bool { return t.spans.Joins(p.id, e) },
	})
	t.s.overflow.Add(l.AddBarriers(out.Barriers))
	p.oldest = 0
	for _, v := range out.Verdicts {
		l.Say(v, now)
		if !v.Settled && v.Window >= lookback && (p.oldest == 0 || v.Window < p.oldest) {
			p.oldest = v.Window
		}
		l.Learn(v)
		p.handed.keep(&v, p.tally)
	}
}

// ratiosOf are the ratios that are declared or learned; of other stages they follow from the counts.
func (t *tenant) ratiosOf(id string, topo *flow.Topology, tally *flow.Tally) map[string]flow.Ratio {
	out := map[string]flow.Ratio{}
	for _, st := range topo.Stages {
		learned := func() flow.Ratio {
			return t.ledger.Ratio(flow.BalanceKey(id, st.Name, flow.Window{}))
		}
		if r, ok := t.declared.Ratio(id, st.Name, tally, learned); ok {
			out[st.Name] = r
			continue
		}
		if len(st.In) == 0 {
			continue
		}
		switch tally.InferRatio(st).Kind {
		case flow.RatioLearned:
			out[st.Name] = learned()
		case flow.RatioMap:
			if _, kept := t.ledger.KeptSince(flow.BalanceKey(id, st.Name, flow.Window{})); kept {
				continue
			}
			if b := t.ledger.Get(flow.BalanceKey(id, st.Name, flow.Window{})); b != nil {
				if r, _ := b.Ratio(); r.Median > 0 { // it never put out what it takes in, but always about the same share
					out[st.Name] = r
				}
			}
		default:
		}
	}
	return out
}

// readsSome says whether a group reads only some of a destination's records, as its broker tells.
func (t *tenant) readsSome(destination, group string) bool {
	q := t.broker.QueueFor(destination, group)
	return q != nil && q.ReadsSome(group)
}

// offsetLosses turns what offsets alone show into verdicts, for groups that no application counts for.
func (t *tenant) offsetLosses(now int64) {
	if now-t.broker.FoundAt() > 60_000 { // what was found is told by now, or belongs to no pipeline
		return
	}
	news := map[*brokers.Position][]flow.Event{} // several pipelines may read the same
	for _, p := range t.pipes {
		tell := func(in flow.Input, to string, share func(flow.Event, *brokers.Partition) flow.Event) {
			q := t.broker.QueueFor(in.Destination, in.Group)
			if q == nil {
				return
			}
			for part, pos := range q.Positions(in.Group) {
				events, taken := news[pos]
				if !taken {
					events = pos.NewEvents()
					news[pos] = events
				}
				for _, e := range events {
					if e.Kind == flow.EventRewind || e.Kind == flow.EventRecreated {
						continue
					}
					if e = share(e, part); e.N > 0 {
						t.ledger.Say(t.offsetVerdict(p.id, in, to, part.Name, e, now), now)
					}
				}
			}
		}
		all := func(e flow.Event, _ *brokers.Partition) flow.Event { return e }
		for _, in := range slices.Concat(p.offsets, p.spanReads) {
			tell(in, in.Group, all)
		}
		if !p.cells {
			continue
		}
		for _, st := range p.counted.Stages {
			for _, in := range st.In {
				if p.judges(in) {
					tell(in, st.Name, t.older(now))
				} else { // nobody counts what is put in: counts alone prove nothing
					tell(in, st.Name, all)
				}
			}
		}
	}
}

// firstOf is the first window of a port where it was seen to begin; 0 = it was there when we came.
func (p *pipe) firstOf(port flow.Port) (window int64, ok bool) {
	if _, known := p.ports[port]; !known {
		return 0, false
	}
	return p.began[port], true
}

// judges says whether the windows of what is read are judged by counts.
func (p *pipe) judges(in flow.Input) bool {
	return slices.ContainsFunc(p.counted.Edges, func(e flow.Edge) bool { return e.Destination == in.Destination && e.Group == in.Group })
}

// older leaves of what offsets show the part that lies in windows which are followed no more: a reader was behind for longer.
func (t *tenant) older(now int64) func(flow.Event, *brokers.Partition) flow.Event {
	return func(e flow.Event, part *brokers.Partition) flow.Event {
		first, ok := part.End.Value(now - t.s.cfg.Lookback.Milliseconds())
		if to := int64(first); ok && e.Kind != flow.EventTruncation {
			e.To = min(e.To, to)
			e.N = e.To - e.From
			return e
		}
		e.N = 0
		return e
	}
}

func (t *tenant) offsetVerdict(id string, in flow.Input, to, part string, e flow.Event, now int64) store.Verdict {
	const width = 60
	k := store.VerdictKey{
		Pipeline: id, Kind: store.EdgeTransport, Destination: in.Destination, Group: in.Group, To: to,
		Window: e.T / 1000 / width * width, Width: width,
	}
	v, _ := t.ledger.Verdict(k) // several findings in one minute add up
	v.VerdictKey = k
	v.Settled, v.Level, v.Confidence, v.SettledAt, v.UpdatedAt = true, flow.L0, 0.95, now, now
	v.Lost += e.N
	v.Delta += e.N
	v.Explained += e.N
	switch e.Kind {
	case flow.EventSkip:
		v.State, v.Class = flow.Skipped, "skipped by the reader"
	case flow.EventTruncation:
		v.State, v.Class = flow.Loss, flow.ClassTruncation
	default:
		v.State, v.Class = flow.RetentionLoss, "retention"
	}
	if len(v.Reasons) < 20 {
		v.Reasons = append(slices.Clip(v.Reasons), e.Sentence(in.Destination, part, in.Group))
	}
	return v
}
