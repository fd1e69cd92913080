package pipeline

import (
	"fmt"

	"github.com/weirhq/weir/query/flow"
)

// rewindBook tells groups that went back: what they read again is no loss and no surprise downstream.
type rewindBook struct {
	next int64
	told map[rewindKey]int64 // newest rewind that was told, time of the poll
	open map[rewindKey]int64 // offset at which it is over
}

type rewindKey struct {
	in        flow.Input
	partition string
}

const (
	rewindEvery = 5000
	maxRewinds  = 10_000
)

// noteRewinds tells rewinds, and when a group is again where it was, among the changes of its pipeline.
func (t *tenant) noteRewinds(now int64) {
	b := &t.rewinds
	if now < b.next || len(b.open) == 0 && now-t.broker.FoundAt() > 120_000 { // nothing was found lately
		return
	}
	b.next = now + rewindEvery
	if b.told == nil {
		b.told, b.open = map[rewindKey]int64{}, map[rewindKey]int64{}
	}
	for _, p := range t.pipes {
		for i := range p.topo.Stages {
			for _, in := range p.topo.Stages[i].In {
				t.noteRewind(p, in, p.topo.Stages[i].Name, now)
			}
		}
		for _, in := range p.offsets {
			t.noteRewind(p, in, t.stageName(p, in), now)
		}
	}
	for k, at := range b.told {
		if now-at > 86400_000 {
			delete(b.told, k)
			delete(b.open, k)
		}
	}
}

func (t *tenant) noteRewind(p *pipe, in flow.Input, stage string, now int64) {
	b := &t.rewinds
	q := t.broker.QueueFor(in.Destination, in.Group)
	if q == nil {
		return
	}
	for part, pos := range q.Positions(in.Group) {
		k := rewindKey{in, part.Name}
		for _, e := range pos.Events() {
			if e.Kind != flow.EventRewind || e.T <= b.told[k] || now-e.T > 3_600_000 || len(b.told) >= maxRewinds {
				continue
			}
			b.told[k] = e.T
			b.open[k] = max(b.open[k], e.To)
			p.note(e.T, changeRewind, e.Sentence(in.Destination, part.Name, stage))
		}
		committed, at := pos.Committed()
		if to, ok := b.open[k]; ok && int64(committed) >= to {
			delete(b.open, k)
			p.note(at, changeRewind, fmt.Sprintf("%s is again where it was on %s partition %s.", stage, in.Destination, part.Name))
		}
	}
}
