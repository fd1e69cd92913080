package world

import (
	"context"
	"math"
	"strconv"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/store"
)

// Node is a machine with a collector that counts for the applications on it.
type Node struct {
	Name  string
	Skew  int64 // its clock minus the server's, milliseconds
	Every int64 // between snapshots, milliseconds
	Delay int64 // until a snapshot reaches the server, at most
	// Again is the share of snapshots that are sent twice.
	Again float64
	Lossy bool    // counts are increments, as statsd's; else running totals of the application
	Loses float64 // share of datagrams lost before the collector, which knows how many
	Down  bool    // the collector does not run

	epoch, prev      int64
	open, closed     bool
	seq              uint64
	jumped           bool
	next             int64
	cells            map[countKey]*cell.Cell
	sent             map[countKey]uint64
	lately           map[countKey]int64 // when it was last counted
	drops, most      uint64
	dropFrom, dropTo int64
	dirty            map[countKey]bool
	// Absurd: it sends cells that cannot be besides.
	Absurd bool
	// Mute: its snapshots wait in its spool.
	Mute  bool
	spool []func()
	// runs are the processes that count here, as far as the collector knows.
	runs map[string]*run
	// shipped is when the newest one is delivered.
	shipped int64
}

type countKey struct {
	cell.Key
	instance string
	epoch    int64
}

// AddNode makes a node that snapshots every so many milliseconds.
func (w *World) AddNode(name string, every int64) *Node {
	n := &Node{Name: name, Every: every, Lossy: true, next: w.Now + w.between(0, every)}
	n.begin(w)
	n.epoch -= 60_000
	w.Nodes = append(w.Nodes, n)
	return n
}

func (n *Node) clock(w *World) int64 { return w.Now + n.Skew }

func (n *Node) begin(w *World) {
	n.prev, n.open = n.epoch, n.epoch != 0 && !n.closed
	n.epoch, n.seq, n.Down, n.closed = max(n.clock(w), n.epoch+1), 0, false, false
	n.cells, n.sent, n.dirty = map[countKey]*cell.Cell{}, map[countKey]uint64{}, map[countKey]bool{}
	n.lately = map[countKey]int64{}
	n.drops, n.most, n.dropFrom, n.dropTo = 0, 0, 0, 0
}

// count takes increments of an application; false when the collector is not there to take them.
func (n *Node) count(w *World, k cell.Key, instance string, epoch int64, c cell.Counts) bool {
	if n.Down {
		return false
	}
	if n.Lossy && n.Loses > 0 && w.chance(n.Loses) {
		n.drops++
		now := n.clock(w) / 1000
		from, to := min(now-2*w.Width, k.Window), max(now+w.Width, k.Window+k.Width)
		if n.dropTo == 0 {
			n.dropFrom, n.dropTo = from, to
		}
		n.dropFrom, n.dropTo = min(n.dropFrom, from), max(n.dropTo, to)
		w.Truth.unseen++
		return true
	}
	id := countKey{k, n.Name + "/" + instance, epoch}
	own := n.cells[id]
	if own == nil {
		own = &cell.Cell{Key: k, Instance: id.instance, Node: n.Name, Epoch: epoch, Lossy: n.Lossy}
		n.cells[id] = own
	}
	if n.Lossy {
		n.most = max(n.most, c.N)
		own.Epoch = n.epoch
		own.Add(c)
	} else {
		own.Counts = c
	}
	n.dirty[id], n.lately[id] = true, w.Now
	return true
}

func (n *Node) step(w *World) {
	if n.Down || w.Now < n.next {
		return
	}
	n.next = w.Now + n.Every
	n.flush(w, false)
}

// flush sends what changed.
func (n *Node) flush(w *World, closed bool) {
	n.seq++
	b := cell.Batch{Auditor: cell.Auditor{
		Node: n.Name, Epoch: n.epoch, Seq: n.seq, At: n.clock(w), FlushMS: n.Every, Closed: closed,
		Previous: n.prev, PreviousOpen: n.open, Drops: n.drops, DropMax: n.most, DropFrom: n.dropFrom, DropTo: n.dropTo,
	}}
	n.ends(w)
	for id := range n.dirty {
		c := n.cells[id]
		c.Seq = max(c.Seq+1, uint64(n.clock(w))*1000) // from the clock, as the collector's, so that it grows over restarts
		b.Cells = append(b.Cells, *c)
	}
	clear(n.dirty)
	if n.Absurd {
		b.Cells = append(b.Cells, w.nonsense(n)...)
	}
	put := func() {
		_ = w.Engine.Ledger().PutCells(context.Background(), store.DefaultTenant, b)
	}
	if n.Mute {
		n.spool = append(n.spool, put)
		return
	}
	n.ship(w, put)
	if n.Again > 0 && w.chance(n.Again) {
		w.post(w.between(0, 20_000), put)
	}
}

// ship delivers oldest first, as collector/ship does.
func (n *Node) ship(w *World, put func()) {
	n.shipped = max(n.shipped, w.Now+w.between(0, n.Delay))
	w.post(n.shipped-w.Now, put)
}

// speak sends what waited in the spool.
func (n *Node) speak(w *World) {
	n.Mute = false
	for _, put := range n.spool {
		n.ship(w, put)
	}
	n.spool = nil
}

// Crash ends the collector as kill -9 does: what it holds is gone.
func (n *Node) Crash() { n.Down, n.runs = true, nil }

// Stop ends it in order.
func (n *Node) Stop(w *World) {
	n.flush(w, true)
	n.Down, n.closed = true, true
}

// Start begins a new epoch.
func (n *Node) Start(w *World) { n.begin(w) }

// nonsense is cells as no collector makes them.
func (w *World) nonsense(n *Node) (out []cell.Cell) {
	numbers := []int64{math.MinInt64, -60, -1, 0, 1, 7, 60, 86_400, 1 << 40, math.MaxInt64}
	pick := func() int64 { return numbers[w.Rng.IntN(len(numbers))] }
	for range 5 {
		out = append(out, cell.Cell{
			Key: cell.Key{
				Pipeline: []string{"p", "", "other"}[w.Rng.IntN(3)], Stage: []string{"", "st9", "src9"}[w.Rng.IntN(3)],
				Dir: append(cell.Dirs(), "sideways")[w.Rng.IntN(len(cell.Dirs())+1)], Destination: []string{"", "nowhere"}[w.Rng.IntN(2)],
				Window: pick(), Width: pick(),
			},
			Instance: "x", Epoch: pick(), Seq: uint64(pick()), Node: n.Name,
			Counts: cell.Counts{N: uint64(pick()), Hashed: uint64(pick()), LateMax: pick(), MaxTS: pick()},
		})
	}
	return out
}

func hashOf(id uint64) uint64 { return cell.Hash(strconv.FormatUint(id, 10)) }
