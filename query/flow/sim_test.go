package flow

import (
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// sim is a small pipeline in steps of one second: sources write queues, stages read them, collectors
// count into cells and flush them to a ledger, a broker is polled, and Settle is asked all the time.
type sim struct {
	now       int64 // Unix seconds
	width     int64
	rules     Rules
	queues    map[string]*simQueue
	stages    []*simStage
	nodes     map[string]*simNode
	ledger    map[cellID]cell.Cell
	auditors  map[auditorID]cell.Auditor
	transit   []delivery
	lost      map[string]int64 // by stage, injected
	changes   Changes
	barriers  map[BarrierKey]store.Barrier
	verdicts  map[store.VerdictKey]store.Verdict
	seen      map[string]int // state → times a verdict had it at any evaluation
	known     map[store.VerdictKey]int64
	polls     map[string]*Queue
	findings  func(destination, group string, w Window) Finding
	shuffle   *rand.Rand // nil = deliver in order
	old       bool       // the pipeline was audited before
	forward   bool       // a record goes all the way within a second
	pollEvery int64
	nextID    uint64
	prefix    string // of message ids
	ids       bool   // stages sample ids
	noPrints  bool   // and send no fingerprints
}

type cellID struct {
	cell.Key
	instance string
	epoch    int64
}

type auditorID struct {
	node  string
	epoch int64
}

type delivery struct {
	at int64
	b  cell.Batch
}

type record struct {
	ts, from int64 // origin stamp; when it may be processed
	id, hash uint64
}

type simQueue struct {
	name       string
	partitions [][]record
	committed  map[string][]int64
	next       map[string][]int64
	lose       func(record) bool // after the acknowledgement
}

type simStage struct {
	name, in, group, out string
	rate                 int64 // source: records per second
	capacity             int64 // per second
	delay                int64 // seconds a record stays inside
	node                 string
	stopped              func(now int64) bool
	drop                 func(i int64) bool // silently
	dropID               func(id uint64) bool
	twice                func(i int64) bool // put out twice
	held                 []record
	n                    int64
	late                 func(i int64) int64 // source: event time is so many seconds ago
}

type simNode struct {
	name   string
	epoch  int64 // ms
	seq    uint64
	flush  int64 // s
	delay  int64 // s until the server has it
	cells  map[cell.Key]*cell.Cell
	sent   map[cell.Key]uint64
	down   bool
	closed bool
	prev   int64
	open   bool
}

func newSim(width int64) *sim {
	return &sim{
		now: 1_732_334_400, width: width, rules: DefaultRules(), pollEvery: 1,
		queues: map[string]*simQueue{}, nodes: map[string]*simNode{}, ledger: map[cellID]cell.Cell{}, auditors: map[auditorID]cell.Auditor{},
		lost: map[string]int64{}, barriers: map[BarrierKey]store.Barrier{}, verdicts: map[store.VerdictKey]store.Verdict{},
		seen: map[string]int{}, known: map[store.VerdictKey]int64{}, polls: map[string]*Queue{},
	}
}

func (s *sim) queue(name string, partitions int, groups ...string) {
	q := &simQueue{name: name, partitions: make([][]record, partitions), committed: map[string][]int64{}, next: map[string][]int64{}}
	p := &Queue{System: "kafka", Cluster: "c", Destination: name}
	for i := range partitions {
		p.Partitions = append(p.Partitions, &QueuePartition{Name: fmt.Sprint(i), Groups: map[string]*Table{}})
	}
	for _, g := range groups {
		q.committed[g], q.next[g] = make([]int64, partitions), make([]int64, partitions)
		for i := range partitions {
			p.Partitions[i].Groups[g] = &Table{}
		}
	}
	s.queues[name], s.polls[name] = q, p
}

func (s *sim) node(name string, flush int64) {
	s.nodes[name] = &simNode{name: name, epoch: (s.now - 600) * 1000, flush: flush, cells: map[cell.Key]*cell.Cell{}, sent: map[cell.Key]uint64{}}
}

func (s *sim) count(st *simStage, d cell.Dir, dst, group string, r record) {
	n := s.nodes[st.node]
	if n.down {
		return
	}
	k := cell.Key{Pipeline: "p", Stage: st.name, Dir: d, Destination: dst, Group: group, Window: r.ts - r.ts%s.width, Width: s.width}
	c := n.cells[k]
	if c == nil {
		c = &cell.Cell{Key: k, Instance: n.name + "/" + st.name, Node: n.name, Epoch: n.epoch, Lossy: true}
		n.cells[k] = c
	}
	counts := cell.Counts{N: 1, FpSum: r.hash, FpXor: r.hash, Hashed: 1, MaxTS: r.ts * 1000}
	if s.noPrints {
		counts.FpSum, counts.FpXor, counts.Hashed = 0, 0, 0
	}
	c.Add(counts)
	if s.ids {
		if c.IDs == nil {
			c.IDs = &cell.IDs{}
		}
		text := ""
		if r.hash%cell.MinM == 0 {
			text = s.prefix + strconv.FormatUint(r.id, 10)
		}
		c.IDs.Observe(r.hash, text)
	}
}

func (n *simNode) snapshot(now int64, closed bool) cell.Batch {
	n.seq++
	b := cell.Batch{Auditor: cell.Auditor{
		Node: n.name, Epoch: n.epoch, Seq: n.seq, At: now * 1000, FlushMS: n.flush * 1000, Closed: closed,
		Previous: n.prev, PreviousOpen: n.open,
	}}
	for k, c := range n.cells {
		if n.sent[k] == c.N {
			continue
		}
		n.sent[k] = c.N
		c.Seq = n.seq
		snap := *c
		snap.IDs = c.IDs.Clone()
		b.Cells = append(b.Cells, snap)
	}
	return b
}

// crash loses what the collector holds; restart begins a new epoch.
func (s *sim) crash(name string) { s.nodes[name].down = true }

func (s *sim) stop(name string) {
	n := s.nodes[name]
	s.send(n, n.snapshot(s.now, true))
	n.down, n.closed = true, true
}

func (s *sim) restart(name string) {
	n := s.nodes[name]
	n.prev, n.open = n.epoch, !n.closed
	n.epoch, n.seq, n.down, n.closed = s.now*1000, 0, false, false
	n.cells, n.sent = map[cell.Key]*cell.Cell{}, map[cell.Key]uint64{}
}

func (s *sim) send(n *simNode, b cell.Batch) {
	s.transit = append(s.transit, delivery{s.now + n.delay, b})
}

func (s *sim) step() {
	s.now++
	for i := range s.stages {
		if !s.forward {
			i = len(s.stages) - 1 - i
		}
		s.run(s.stages[i])
	}
	for _, n := range s.nodes {
		if !n.down && s.now%n.flush == 0 {
			s.send(n, n.snapshot(s.now, false))
		}
	}
	if s.now%s.pollEvery == 0 {
		s.poll()
	}
	s.deliver()
}

func (s *sim) run(st *simStage) {
	if st.in == "" {
		for range st.rate {
			if st.stopped != nil && st.stopped(s.now) {
				return
			}
			s.nextID++
			r := record{ts: s.now, id: s.nextID, hash: cell.Hash(s.prefix + strconv.FormatUint(s.nextID, 10))}
			if st.late != nil {
				r.ts -= st.late(int64(s.nextID))
			}
			s.put(st, r)
		}
		return
	}
	q := s.queues[st.in]
	if st.stopped == nil || !st.stopped(s.now) {
		left := st.capacity
		for i := range 2 * len(q.partitions) { // twice, so that what one does not need goes to the others
			p := i % len(q.partitions)
			share := left
			if i < len(q.partitions) {
				share = max(1, left/int64(len(q.partitions)-p))
			}
			for share > 0 && left > 0 && q.next[st.group][p] < int64(len(q.partitions[p])) {
				r := q.partitions[p][q.next[st.group][p]]
				q.next[st.group][p]++
				share--
				left--
				s.count(st, cell.In, st.in, st.group, r)
				r.from = s.now + st.delay
				st.held = append(st.held, r)
			}
		}
	}
	kept := st.held[:0]
	for _, r := range st.held {
		if r.from > s.now {
			kept = append(kept, r)
			continue
		}
		st.n++
		if st.drop != nil && st.drop(st.n) || st.dropID != nil && st.dropID(r.id) {
			s.lost[st.name]++
			continue
		}
		if st.out != "" {
			s.put(st, r)
		}
	}
	st.held = kept
	if len(st.held) == 0 { // acknowledges when everything taken is through
		copy(q.committed[st.group], q.next[st.group])
	}
}

func (s *sim) put(st *simStage, r record) {
	s.count(st, cell.Out, st.out, "", r)
	q := s.queues[st.out]
	if q == nil {
		return
	}
	p := int(r.id) % len(q.partitions)
	if q.lose == nil || !q.lose(r) {
		q.partitions[p] = append(q.partitions[p], r)
	}
	if st.twice != nil && st.twice(int64(r.id)) {
		q.partitions[p] = append(q.partitions[p], r)
	}
}

func (s *sim) poll() {
	for name, q := range s.queues {
		for i, p := range s.polls[name].Partitions {
			p.Start.Add(s.now*1000, 0)
			p.End.Add(s.now*1000, int64(len(q.partitions[i])))
			for g, c := range q.committed {
				p.Groups[g].Add(s.now*1000, c[i])
			}
		}
	}
}

func (s *sim) deliver() {
	var kept, now []delivery
	for _, d := range s.transit {
		if d.at > s.now {
			kept = append(kept, d)
		} else {
			now = append(now, d)
		}
	}
	s.transit = kept
	if s.shuffle != nil {
		s.shuffle.Shuffle(len(now), func(i, j int) { now[i], now[j] = now[j], now[i] })
		if len(now) > 0 && s.shuffle.IntN(4) == 0 { // a resend, later
			s.transit = append(s.transit, delivery{s.now + 1 + s.shuffle.Int64N(20), now[0].b})
		}
	}
	for _, d := range now {
		a := d.b.Auditor
		k := auditorID{a.Node, a.Epoch}
		if old, ok := s.auditors[k]; !ok || a.Seq > old.Seq {
			s.auditors[k] = a
		}
		for _, c := range d.b.Cells {
			k := cellID{c.Key, c.Instance, c.Epoch}
			if old, ok := s.ledger[k]; !ok || c.Seq > old.Seq {
				s.ledger[k] = c
			}
		}
	}
}

func (s *sim) cells() []cell.Cell {
	out := make([]cell.Cell, 0, len(s.ledger))
	for _, c := range s.ledger {
		out = append(out, c)
	}
	return out
}

func (s *sim) auditorList() []cell.Auditor {
	var as []cell.Auditor
	for _, a := range s.auditors {
		as = append(as, a)
	}
	return as
}

func edgeName(k store.VerdictKey) store.VerdictKey {
	k.Window, k.Width = 0, 0
	return k
}

// settle asks for verdicts as the service does and remembers every state ever said.
func (s *sim) settle() {
	t := Tallies(s.cells())["p"]
	if t == nil {
		return
	}
	s.changes.Observe(t, s.now*1000, 0)
	out := Settle(Settlement{
		Now: s.now * 1000, Tally: t, Topology: Build(t), Audit: NewAudit(s.auditorList(), s.now*1000, s.rules),
		Queues: s.polls, Barriers: s.barriers, Changes: &s.changes, Rules: s.rules,
		Prior: func(k store.VerdictKey) (store.Verdict, bool) { v, ok := s.verdicts[k]; return v, ok },
		Known: func(k store.VerdictKey) (int64, bool) {
			if s.old && k.Window > 0 {
				return 0, true
			}
			w, ok := s.known[edgeName(k)]
			return w, ok
		},
		Findings: s.findings,
	})
	for _, v := range out.Verdicts {
		s.seen[v.State]++
		if v.State == InFlight {
			continue // not written, as in the service
		}
		s.verdicts[v.VerdictKey] = v
		if v.Settled {
			if first, ok := s.known[edgeName(v.VerdictKey)]; !ok || v.Window < first {
				s.known[edgeName(v.VerdictKey)] = v.Window
			}
		}
	}
}

// advance runs n seconds and settles every five.
func (s *sim) advance(n int64) {
	for range n {
		s.step()
		if s.now%5 == 0 {
			s.settle()
		}
	}
}

// total adds the verdicts of one balance over all windows.
func (s *sim) total(kind store.EdgeKind, to string) (out store.Verdict, windows int, states map[string]int) {
	states = map[string]int{}
	for k, v := range s.verdicts {
		if k.Kind != kind || k.To != to {
			continue
		}
		windows++
		states[v.State]++
		out.Up += v.Up
		out.Down += v.Down
		out.Lost += v.Lost
		out.Surplus += v.Surplus
		out.Delta += v.Delta
	}
	return out, windows, states
}
