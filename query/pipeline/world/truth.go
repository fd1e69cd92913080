package world

import (
	"slices"

	"github.com/weirhq/weir/query/flow"
	"github.com/weirhq/weir/store"
)

// Truth is the ledger of what really happened, by record.
type Truth struct {
	world    *World
	ts       []int64 // event time by id
	edges    map[*Queue]*edgeTruth
	stages   map[*Stage]*stageTruth
	unseen   int // counts that no collector got
	vanished int // records gone after the acknowledgement
	early    []store.Verdict
}

// tally counts something per record.
type tally []uint8

func (t *tally) add(id uint64) {
	for uint64(len(*t)) <= id {
		*t = append(*t, make([]uint8, 4096)...)
	}
	if (*t)[id] < 255 {
		(*t)[id]++
	}
}

func (t tally) at(id int) int {
	if id < len(t) {
		return int(t[id])
	}
	return 0
}

type edgeTruth struct {
	outs    tally // put in and counted
	copies  tally // put in again without a count
	foreign tally // put in by who counts nothing
	ins     map[string]*tally
	blind   map[string]*tally // of ins, those of instances that count nothing
}

type stageTruth struct {
	ins, decided, gaveUp tally
	outs                 map[*Queue]*tally
}

func (t *Truth) born(r Record) {
	for uint64(len(t.ts)) <= r.ID {
		t.ts = append(t.ts, 0)
	}
	t.ts[r.ID] = r.TS
}

func (t *Truth) edge(q *Queue) *edgeTruth {
	if t.edges == nil {
		t.edges = map[*Queue]*edgeTruth{}
	}
	e := t.edges[q]
	if e == nil {
		e = &edgeTruth{ins: map[string]*tally{}, blind: map[string]*tally{}}
		for _, g := range q.Groups {
			e.ins[g], e.blind[g] = &tally{}, &tally{}
		}
		t.edges[q] = e
	}
	return e
}

func (t *Truth) stage(s *Stage) *stageTruth {
	if t.stages == nil {
		t.stages = map[*Stage]*stageTruth{}
	}
	x := t.stages[s]
	if x == nil {
		x = &stageTruth{outs: map[*Queue]*tally{}}
		t.stages[s] = x
	}
	return x
}

// in notes that a record was taken; of what becomes of it inside an instance that counts nothing nobody can tell.
func (t *Truth) in(s *Stage, in *Instance, input Input, r stored) {
	e := t.edge(input.Queue)
	e.ins[input.Group].add(r.ID)
	if in.Dumb {
		e.blind[input.Group].add(r.ID)
		return
	}
	t.stage(s).ins.add(r.ID)
}

func (t *Truth) out(s *Stage, in *Instance, q *Queue, r Record, counted bool) {
	e := t.edge(q)
	switch {
	case s.Uncounted || in.Dumb:
		e.foreign.add(r.ID)
	case counted:
		e.outs.add(r.ID)
	default:
		e.copies.add(r.ID)
	}
	if !counted || in.Dumb {
		return
	}
	x := t.stage(s)
	o := x.outs[q]
	if o == nil {
		o = &tally{}
		x.outs[q] = o
	}
	o.add(r.ID)
}

func (t *Truth) decided(s *Stage, in *Instance, r Record) {
	if !in.Dumb {
		t.stage(s).decided.add(r.ID)
	}
}

func (t *Truth) gaveUp(s *Stage, in *Instance, r Record) {
	if !in.Dumb {
		t.stage(s).gaveUp.add(r.ID)
	}
}

// said notes what weir says on the way.
func (t *Truth) said(v store.Verdict) {
	if v.Lost > 0 || flow.IsLoss(v.State) || v.State == flow.Duplicates || v.State == flow.Anomaly {
		t.early = append(t.early, v)
	}
}

// Fate is what really became of the records of one window at one balance.
type Fate struct {
	Up, Down int64
	Lost     int64 // never arrived
	Missing  int64 // deliveries less than there should be, at most: records taken twice may have vanished twice
	Twice    int64 // arrivals too many
	Again    int64 // of Twice, those that were handed out anew: rewinds, restarts
	Foreign  int64 // of records nobody counted the origin of
	GaveUp   int64 // by the stage, with a reason
	Blind    int64 // of Down, taken by instances that count nothing: they hide as many that came twice or from elsewhere
}

func (f *Fate) net() int64 { return f.Missing - f.Twice }

// Fates are the truth of every balance, by key with the window.
func (t *Truth) Fates() map[store.VerdictKey]*Fate {
	out := map[store.VerdictKey]*Fate{}
	w := t.world
	at := func(k store.VerdictKey, id int) *Fate {
		k.Window, k.Width = w.window(t.ts[id]), w.Width
		f := out[k]
		if f == nil {
			f = &Fate{}
			out[k] = f
		}
		return f
	}
	for _, s := range w.Stages {
		for _, in := range s.In {
			t.transport(in, s, at)
		}
		if len(s.In) > 0 && (len(s.Out) > 0 || s.Table != "") {
			t.balance(s, at)
		}
	}
	for k, f := range out {
		if f.Up+f.Down == 0 { // everything was lost before: nothing was counted there
			delete(out, k)
		}
	}
	return out
}

func (t *Truth) transport(in Input, s *Stage, at func(store.VerdictKey, int) *Fate) {
	e := t.edge(in.Queue)
	edge := flow.Edge{Destination: in.Queue.Name, Group: in.Group, To: s.Name, From: t.world.writers(in.Queue)}
	if len(edge.From) == 0 {
		return
	}
	key := edge.Key("p", flow.Window{})
	ins := *e.ins[in.Group]
	for id := 1; id < len(t.ts); id++ {
		u, d := e.outs.at(id), ins.at(id)
		if u == 0 && d == 0 {
			continue
		}
		f := at(key, id)
		f.Up += int64(u)
		f.Down += int64(d)
		f.Blind += int64(e.blind[in.Group].at(id))
		switch x := int64(d - u); {
		case e.foreign.at(id) > 0:
			f.Foreign += x
		case x < 0:
			f.Missing -= x
			f.Lost -= x
		case x > 0:
			f.Twice += x
			f.Again += max(0, x-int64(e.copies.at(id)))
		}
	}
}

func (t *Truth) balance(s *Stage, at func(store.VerdictKey, int) *Fate) {
	x := t.stage(s)
	key := flow.BalanceKey("p", s.Name, flow.Window{})
	for id := 1; id < len(t.ts); id++ {
		n := x.ins.at(id)
		if n == 0 {
			continue
		}
		f := at(key, id)
		f.Up += int64(n)
		gave := x.gaveUp.at(id)
		f.GaveUp += int64(gave)
		gone := x.decided.at(id) + gave
		outs := s.Out
		if s.Requeue != nil {
			outs = append(slices.Clip(outs), s.Requeue)
		}
		if s.Fan {
			for _, q := range outs {
				f.through(n, gone+x.outs[q].of(id))
			}
			continue
		}
		for _, q := range outs {
			gone += x.outs[q].of(id)
		}
		f.through(n, gone)
	}
}

func (t *tally) of(id int) int {
	if t == nil {
		return 0
	}
	return t.at(id)
}

// through notes a record that was taken n times and came out so often.
func (f *Fate) through(n, out int) {
	f.Down += int64(out)
	switch {
	case out == 0:
		f.Lost++
		f.Missing += int64(n)
	case out < n:
		f.Missing += int64(n - out)
	default:
		f.Twice += int64(out - n)
	}
}

// writers are the counting stages that write a queue, sorted.
func (w *World) writers(q *Queue) []string {
	var out []string
	for _, s := range w.Stages {
		if s.Uncounted {
			continue
		}
		if s.Requeue == q || slices.Contains(s.Out, q) {
			out = append(out, s.Name)
		}
	}
	slices.Sort(out)
	return out
}
