package world

import (
	"fmt"
	"strings"
)

// Make builds a random world: a topology, its applications, collectors and brokers, and what will go wrong.
func Make(seed uint64) *World { return make_(seed, "") }

// MakeWith builds a random world in which a fault of a kind happens, and nothing else.
func MakeWith(seed uint64, kind string) *World { return make_(seed, kind) }

func make_(seed uint64, only string) *World {
	w := New(seed, 10, Config())
	w.Watching = true
	w.nodes()
	traffic := w.between(120, 180) * 1000
	w.topology(Begin + traffic)
	for _, s := range w.Stages {
		w.tell("%s", s.describe())
	}
	for _, q := range w.Queues {
		w.tell("%s", q.describe())
	}
	for _, n := range w.Nodes {
		w.tell("%s: a snapshot every %.1f s, clock %+.2f s, lossy %v, again %v", n.Name, float64(n.Every)/1000, float64(n.Skew)/1000, n.Lossy, n.Again)
	}
	from, to := int64(Begin+35_000), Begin+traffic-30_000
	if only != "" {
		w.add(only, from, to)
		return w
	}
	kinds := mixed()
	for range w.Rng.IntN(4) {
		w.add(kinds[w.Rng.IntN(len(kinds))], from, to)
	}
	if seed%16 == 3 { // beside the others, so that the worlds of old seeds stay what they were
		w.add(oneByOne, from, to)
	}
	return w
}

// mixed are the faults that come together: all but polls that are nonsense, which only go with a healthy pipeline, and
// instances that do not count at first.
func mixed() (out []string) {
	for _, k := range Kinds() {
		if k != "absurd offsets" && k != "none" && k != oneByOne {
			out = append(out, k)
		}
	}
	return out
}

func (w *World) nodes() {
	far := w.chance(0.15)
	for i := range 1 + w.Rng.IntN(3) {
		n := w.AddNode(fmt.Sprint("n", i), w.between(4, 20)*Tick)
		n.Delay = w.between(0, 3000)
		n.Lossy = w.chance(0.7)
		if w.chance(0.4) {
			n.Again = 0.1
		}
		n.Skew = w.between(-400, 400)
		if far {
			n.Skew = w.between(-4000, 4000)
		}
	}
}

func (w *World) node() *Node { return w.Nodes[w.Rng.IntN(len(w.Nodes))] }

// on draws the nodes of n instances.
func (w *World) on(n int) []*Node {
	out := make([]*Node, n)
	for i := range out {
		out[i] = w.node()
	}
	return out
}

// queue makes a random queue; one of six is a direct call without offsets.
func (w *World) queue(name string, groups ...string) *Queue {
	q := w.AddQueue(name, 1+w.Rng.IntN(4), w.chance(0.85), groups...)
	if !q.Offsets {
		q.Parts = q.Parts[:1]
		return q
	}
	q.Poller = w.node()
	q.Every, q.Jitter, q.Delay = w.between(4, 20)*Tick, w.between(0, 300), w.between(0, 2000)
	q.Handed = w.chance(0.3)
	q.Stamps = w.chance(0.3)
	if q.Handed {
		q.System = "nats"
	}
	if len(q.Parts) > 1 && w.chance(0.2) {
		q.Weights = make([]int, len(q.Parts))
		for i := range q.Weights {
			q.Weights[i] = 1
		}
		q.Weights[0] = 8
	}
	return q
}

func (w *World) app(name string, instances int) *Stage {
	s := w.AddStage(name, w.on(instances)...)
	s.Inside = w.between(0, 1500)
	s.Commit = w.between(1, 8) * Tick
	s.Flush = w.between(1, 4) * Tick
	s.Hashes = true
	return s
}

// topology makes sources → q0 → st0 → q1 → … and some of: a second source, a filter, two outputs, two groups, a way round.
func (w *World) topology(until int64) {
	hashes := w.chance(0.7)
	length := 1 + w.Rng.IntN(3)
	shape := w.Rng.IntN(6)
	rate := float64(w.between(3, 40))
	names := func(i int) []string {
		if shape == 1 && i == length-1 { // two groups on the last queue
			return []string{fmt.Sprint("st", i), "other"}
		}
		return []string{fmt.Sprint("st", i)}
	}
	qs := make([]*Queue, length)
	for i := range qs {
		qs[i] = w.queue(fmt.Sprint("q", i), names(i)...)
	}
	sources := 1
	if w.chance(0.3) {
		sources = 2
	}
	for i := range sources {
		s := w.app(fmt.Sprint("src", i), 1+w.Rng.IntN(2)).Writes(qs[0])
		s.Rate, s.Until = rate, until
		if w.chance(0.1) {
			s.Burst = 10_000
		}
	}
	for i, q := range qs {
		s := w.app(fmt.Sprint("st", i), 1+w.Rng.IntN(3)).Reads(q)
		s.Capacity = int64(rate*float64(sources)) + w.between(5, 60)
		if i < length-1 {
			s.Writes(qs[i+1])
			if w.chance(0.25) {
				s.Filter = 0.3
			}
			continue
		}
		switch shape {
		case 2, 3: // fan-out: every record to each, or each to one
			for j := range 2 + w.Rng.IntN(2) {
				name := fmt.Sprint("leaf", j)
				leaf := w.queue(fmt.Sprint("out", j), name)
				s.Writes(leaf)
				w.app(name, 1).Reads(leaf).Capacity = s.Capacity * 2
			}
			s.Fan = shape == 2
		case 4: // a share goes a slower way
			retry := w.queue("retry", "retry")
			last := w.queue("last", "last")
			s.Writes(last)
			s.Requeue, s.Around = retry, 0.05
			r := w.app("retry", 1).Reads(retry).Writes(last)
			r.Delay = w.between(5_000, 30_000)
			w.app("last", 1).Reads(last).Capacity = s.Capacity * 2
		case 5:
			s.Table = "table"
		}
	}
	if shape == 1 {
		w.app("other", 1).Reads(qs[length-1]).Capacity = int64(rate*float64(sources)) + 20
	}
	for _, s := range w.Stages {
		s.Hashes = hashes
	}
}

// Play lets the traffic flow, ends what is still wrong, drains the queues and waits until everything can be settled.
func (w *World) Play() *Report {
	until := int64(Begin)
	for _, s := range w.Stages {
		until = max(until, s.Until)
	}
	for _, f := range w.Faults {
		until = max(until, f.Until)
	}
	for _, s := range w.Stages {
		if s.Uncounted {
			s.Until = until
		}
	}
	w.Run((until - w.Now) / 1000)
	for range 300 {
		w.Run(2)
		if w.drained() {
			break
		}
	}
	w.tell("all is read")
	w.Run(60)
	r := w.Compare()
	for i := 0; i < 15 && r.Open > 0; i++ { // edges that learned a lateness wait twice as long
		w.Run(20)
		r = w.Compare()
	}
	return r
}

// drained says whether every group has committed everything.
func (w *World) drained() bool {
	for _, s := range w.Stages {
		for _, in := range s.Instances {
			if len(in.held) > 0 {
				return false
			}
		}
		for _, in := range s.In {
			for _, p := range in.Queue.Parts {
				if c := p.curs[in.Group]; c.committed < p.End() && p.End() > 0 {
					return false
				}
			}
		}
	}
	return true
}

func (s *Stage) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:", s.Name)
	for _, in := range s.In {
		fmt.Fprintf(&b, " reads %s as %s", in.Queue.Name, in.Group)
	}
	if s.Rate > 0 {
		fmt.Fprintf(&b, " makes %.0f/s", s.Rate)
		if s.Burst > 0 {
			fmt.Fprintf(&b, " in bursts each %d ms", s.Burst)
		}
	} else {
		fmt.Fprintf(&b, ", %d/s", s.Capacity)
	}
	for _, q := range s.Out {
		fmt.Fprintf(&b, " → %s", q.Name)
	}
	if s.Table != "" {
		fmt.Fprintf(&b, " → table %s", s.Table)
	}
	if s.Filter > 0 {
		fmt.Fprintf(&b, ", filters %.2g", s.Filter)
	}
	if s.Requeue != nil {
		fmt.Fprintf(&b, ", %.2g by %s", s.Around, s.Requeue.Name)
	}
	if s.Delay > 0 {
		fmt.Fprintf(&b, ", waits %.1f s", float64(s.Delay)/1000)
	}
	fmt.Fprintf(&b, "; commits every %d ms, counts every %d ms, inside %d ms, hashes %v, on", s.Commit, s.Flush, s.Inside, s.Hashes)
	for _, in := range s.Instances {
		fmt.Fprintf(&b, " %s", in.Node.Name)
	}
	return b.String()
}

func (q *Queue) describe() string {
	if !q.Offsets {
		return fmt.Sprintf("%s: a direct call, no offsets", q.Name)
	}
	return fmt.Sprintf("%s: %d partitions %v, polled by %s every %d±%d ms, late by %d, handed %v, stamps %v", q.Name, len(q.Parts), q.Weights, q.Poller.Name, q.Every, q.Jitter, q.Delay, q.Handed, q.Stamps)
}
