package world

import (
	"fmt"

	"github.com/weirhq/weir/internal/cell"
)

// Stage works on records: a source without inputs, else what its groups read.
type Stage struct {
	Name      string
	In        []Input
	Out       []*Queue
	Table     string // written besides, where nobody reads: a sink's
	Fan       bool   // every record goes to every output; else to one of them
	Instances []*Instance
	Rate      float64 // source: records per second
	Capacity  int64   // records per second and instance
	Inside    int64   // milliseconds a record stays inside, at most
	Commit    int64   // between commits, milliseconds
	Flush     int64   // of the application's counts, milliseconds
	Keep      bool    // counts are kept while the collector is away
	Hashes    bool    // message ids are known
	Uncounted bool    // it counts nothing: an uninstrumented producer
	Late      func(id uint64) int64
	Burst     int64 // source: everything of so many milliseconds at once
	Until     int64 // source: when it ends

	// faults
	Filter   float64 // declared: left out and counted
	Dead     float64 // put into a dead-letter destination and counted
	Fail     float64 // given up with a reason
	Drop     float64 // silently
	Twice    float64 // put out twice, counted once
	Doubled  float64 // put out twice and counted twice
	DropTo   *Queue  // fan-out: only this output lacks what is dropped
	Vanish   float64 // acknowledged by the broker, then gone
	Stalled  bool
	Requeue  *Queue  // a share goes this way round instead
	Around   float64 // that share
	Delay    int64   // of a retry stage: a record waits so long, milliseconds
	owed     float64
	lastRate int64
}

// Input is a queue read as a group.
type Input struct {
	Queue *Queue
	Group string
}

// Instance is one process of a stage.
type Instance struct {
	Name          string
	Node          *Node
	Epoch         int64
	Down          bool
	Dumb          bool // it counts nothing yet: the version without the client
	halted        bool
	held          []held
	buf           map[cell.Key]cell.Counts
	order         []cell.Key
	total         map[cell.Key]cell.Counts
	bound         uint64 // records, in or out, of which it says that it holds no more untold
	recent        uint64 // most that it held lately
	told          int64  // epoch of the collector that has the totals
	flush, commit int64
}

type held struct {
	stored
	p    *Part
	off  int64
	from int64
}

// AddStage makes a stage with instances on nodes, one each.
func (w *World) AddStage(name string, nodes ...*Node) *Stage {
	s := &Stage{Name: name, Capacity: 1000, Commit: Tick, Flush: Tick, Keep: true, Hashes: true}
	for i, n := range nodes {
		s.Instances = append(s.Instances, &Instance{
			Name: fmt.Sprintf("%s-%d", name, i), Node: n, Epoch: w.Now, buf: map[cell.Key]cell.Counts{}, total: map[cell.Key]cell.Counts{},
		})
	}
	w.Stages = append(w.Stages, s)
	return s
}

// Reads makes a stage read a queue as a group of its own name.
func (s *Stage) Reads(q *Queue) *Stage {
	s.In = append(s.In, Input{q, s.Name})
	return s
}

// Writes makes it write queues.
func (s *Stage) Writes(qs ...*Queue) *Stage {
	s.Out = append(s.Out, qs...)
	return s
}

func (s *Stage) step(w *World) {
	for i, in := range s.Instances {
		if in.Down {
			continue
		}
		if !s.Stalled {
			if len(s.In) == 0 {
				if i == 0 {
					s.emit(w)
				}
			} else {
				s.take(w, i, in)
			}
		}
		s.work(w, in)
		if w.Now >= in.commit {
			in.commit = w.Now + s.Commit
			s.acknowledge(i, in)
		}
		if w.Now >= in.flush {
			in.flush = w.Now + s.Flush
			in.send(w, s)
		}
	}
}

// emit makes the records of a source.
func (s *Stage) emit(w *World) {
	if s.Until > 0 && w.Now > s.Until {
		return
	}
	s.owed += s.Rate * Tick / 1000
	if s.Burst > 0 && w.Now-s.lastRate < s.Burst {
		return
	}
	s.lastRate = w.Now
	for ; s.owed >= 1; s.owed-- {
		w.nextID++
		in := s.Instances[w.Rng.IntN(len(s.Instances))]
		if in.Down {
			in = s.Instances[0]
		}
		r := Record{ID: w.nextID, Hash: hashOf(w.nextID), TS: in.Node.clock(w) - w.Rng.Int64N(Tick)}
		if s.Late != nil {
			r.TS -= s.Late(r.ID)
		}
		w.Truth.born(r)
		s.put(w, in, stored{Record: r})
	}
}

// take hands records to the code of an instance: those of the partitions that are its own.
func (s *Stage) take(w *World, i int, in *Instance) {
	left := max(1, s.Capacity*Tick/1000)
	for _, input := range s.In {
		var own []*Part
		for j, p := range input.Queue.Parts {
			if j%len(s.Instances) == i {
				own = append(own, p)
			}
		}
		for k, p := range own {
			c := p.curs[input.Group]
			if c.next < p.Start {
				c.next = p.Start // what is deleted cannot be read
			}
			for share := max(1, left/int64(len(own)-k)); share > 0 && left > 0 && c.next < p.End(); share-- {
				r := p.recs[c.next]
				in.held = append(in.held, held{r, p, c.next, w.Now + s.Delay + w.between(0, s.Inside)})
				s.count(w, in, cell.In, input.Queue.Name, input.Group, r.Record)
				w.Truth.in(s, in, input, r)
				c.next++
				c.handed++
				c.top = max(c.top, c.next)
				left--
			}
		}
	}
}

func (s *Stage) work(w *World, in *Instance) {
	kept := in.held[:0]
	for _, h := range in.held {
		if h.from > w.Now {
			kept = append(kept, h)
			continue
		}
		switch {
		case s.Filter > 0 && float64(h.Hash>>40)/(1<<24) < s.Filter:
			s.count(w, in, cell.Filtered, "", "", h.Record)
			w.Truth.decided(s, in, h.Record)
		case w.chance(s.Dead):
			s.count(w, in, cell.DLQ, "dead", "", h.Record)
			w.Truth.decided(s, in, h.Record)
		case w.chance(s.Fail):
			s.count(w, in, cell.Dropped, "", "", h.Record)
			w.Truth.gaveUp(s, in, h.Record)
		case s.DropTo == nil && w.chance(s.Drop):
		default:
			s.put(w, in, h.stored)
		}
	}
	in.held = kept
}

// put writes a record to the outputs, acknowledged at once.
func (s *Stage) put(w *World, in *Instance, r stored) {
	outs := s.Out
	switch {
	case s.Requeue != nil && w.chance(s.Around):
		outs = []*Queue{s.Requeue}
	case !s.Fan && len(outs) > 1:
		outs = outs[r.Hash%uint64(len(outs)):][:1]
	}
	for _, q := range outs {
		if q == s.DropTo && w.chance(s.Drop) {
			continue
		}
		p := q.partition(w)
		out := func(count bool) {
			if s.Vanish > 0 && w.chance(s.Vanish) {
				w.Truth.vanished++
			} else {
				q.append(w, p, r.Record, s.Uncounted || in.Dumb)
			}
			if count {
				s.count(w, in, cell.Out, q.Name, "", r.Record)
			}
			w.Truth.out(s, in, q, r.Record, count)
		}
		out(true)
		if w.chance(s.Twice) {
			out(false)
		}
		if w.chance(s.Doubled) {
			out(true)
		}
	}
	if s.Table != "" && len(outs) == 0 {
		s.count(w, in, cell.Out, s.Table, "", r.Record)
		w.Truth.decided(s, in, r.Record)
	}
}

// acknowledge commits what an instance is through with.
func (s *Stage) acknowledge(i int, in *Instance) {
	for _, input := range s.In {
		for j, p := range input.Queue.Parts {
			if j%len(s.Instances) != i {
				continue
			}
			c := p.curs[input.Group]
			to := c.next
			for _, h := range in.held {
				if h.p == p {
					to = min(to, h.off)
				}
			}
			if to > 0 || c.committed >= 0 {
				c.committed = to
			}
		}
	}
}

func (s *Stage) count(w *World, in *Instance, d cell.Dir, dst, group string, r Record) {
	if s.Uncounted || in.Dumb {
		return
	}
	k := cell.Key{Pipeline: "p", Stage: s.Name, Dir: d, Destination: dst, Group: group, Window: w.window(r.TS), Width: w.Width}
	if d == cell.Dropped {
		k.Reason = "invalid"
	}
	c := cell.Counts{N: 1, MaxTS: r.TS}
	if s.Hashes {
		c.FpSum, c.FpXor, c.Hashed = r.Hash, r.Hash, 1
	}
	if d == cell.In {
		c.LateMax = max(0, in.Node.clock(w)-(k.Window+k.Width)*1000)
	}
	old, had := in.buf[k]
	if !had {
		in.order = append(in.order, k)
	}
	old.Add(c)
	in.buf[k] = old
	if most := in.untold(); most > in.bound {
		in.bound = 2 * most
		in.Node.tell(w, s, in, false)
	}
}

// untold is how many records, in or out, are counted and not sent.
func (in *Instance) untold() uint64 {
	var took, put uint64
	for k, c := range in.buf {
		if k.Dir == cell.In {
			took += c.N
		} else {
			put += c.N
		}
	}
	return max(took, put)
}

// send gives the application's counts to the collector, and says that it lives.
func (in *Instance) send(w *World, s *Stage) {
	in.recent = max(in.recent-in.recent/8, in.untold())
	in.flushTo(w, s)
	in.bound = max(firstBound, 2*in.recent)
	in.Node.tell(w, s, in, true)
}

func (in *Instance) flushTo(w *World, s *Stage) {
	if !in.Node.Lossy && in.told != in.Node.epoch { // totals come again when the collector is a new one
		in.told = in.Node.epoch
		for k := range in.total {
			if _, had := in.buf[k]; !had {
				in.buf[k] = cell.Counts{}
				in.order = append(in.order, k)
			}
		}
	}
	left := in.order[:0]
	for _, k := range in.order {
		c := in.buf[k]
		if in.Node.Lossy {
			if in.Node.count(w, k, in.Name, 0, c) || !s.Keep {
				delete(in.buf, k)
				continue
			}
		} else {
			t := in.total[k]
			t.Add(c)
			if in.Node.count(w, k, in.Name, in.Epoch, t) {
				in.total[k] = t
				delete(in.buf, k)
				continue
			}
		}
		left = append(left, k)
	}
	in.order = left
}

// Crash ends a process as kill -9 does: what it held is handed out again. Its last counts have just been
// sent, or are gone with it.
func (s *Stage) Crash(w *World, i int, sent bool) {
	in := s.Instances[i]
	if sent {
		in.send(w, s)
	}
	w.Truth.unseen += len(in.order)
	in.buf, in.order = map[cell.Key]cell.Counts{}, nil
	in.Down = true
	in.held = nil
	for _, input := range s.In {
		for j, p := range input.Queue.Parts {
			if c := p.curs[input.Group]; j%len(s.Instances) == i {
				c.next = max(c.committed, 0)
			}
		}
	}
}

// Stop ends a process in order: it finishes what it holds, commits and flushes.
func (s *Stage) Stop(w *World, i int) {
	in := s.Instances[i]
	for j := range in.held {
		in.held[j].from = 0
	}
	s.work(w, in)
	s.acknowledge(i, in)
	in.send(w, s)
	in.Node.closes(in)
	in.Down = true
}

// Start begins a process anew.
func (s *Stage) Start(w *World, i int) {
	in := s.Instances[i]
	in.Down, in.bound, in.recent = false, firstBound, 0
	in.Epoch = max(w.Now, in.Epoch+1)
	in.total = map[cell.Key]cell.Counts{}
	in.Node.tell(w, s, in, true)
}

func (w *World) window(ts int64) int64 {
	s := ts / 1000
	return s - s%w.Width
}
