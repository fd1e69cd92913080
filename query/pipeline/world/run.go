package world

import (
	"fmt"

	"github.com/weirhq/weir/internal/cell"
)

// run is a process that counts, as a collector sees it; collector/audit does the same.
type run struct {
	stage, instance string
	every           int64 // between its flushes, milliseconds
	heard           int64 // when it last told everything
	bound           uint64
	dead            bool
	cells           []countKey
}

// Of the processes that end without a word: how many records one may hold at first, how far back a window lies on which it
// may still work, milliseconds, and how many it may reach beyond the newest that was counted.
const (
	firstBound = 64
	reach      = 60_000
	ahead      = 64
)

// tell says that a process has flushed, or that it may hold more from now on.
func (n *Node) tell(w *World, s *Stage, in *Instance, flushed bool) {
	if n.Down || s.Uncounted || in.Dumb {
		return
	}
	if n.runs == nil {
		n.runs = map[string]*run{}
	}
	k := fmt.Sprintf("%s~%d", in.Name, in.Epoch)
	r := n.runs[k]
	if r == nil {
		if !flushed {
			return
		}
		r = &run{stage: s.Name, instance: n.Name + "/" + k}
		n.runs[k] = r
	}
	r.every, r.bound = s.Flush, in.bound
	if flushed {
		r.heard = w.Now
	}
	if r.dead && flushed { // it lives
		r.dead = false
		for _, id := range r.cells {
			n.cells[id].N = 0
			n.dirty[id] = true
		}
		r.cells = nil
	}
}

// closes says that a process stopped in order. Those that send running totals have no word for it.
func (n *Node) closes(in *Instance) {
	if !n.Down && n.Lossy {
		delete(n.runs, fmt.Sprintf("%s~%d", in.Name, in.Epoch))
	}
}

// ends finds processes that ended without a word.
func (n *Node) ends(w *World) {
	for _, r := range n.runs {
		silent := max(1500, 2*r.every)
		if r.dead || w.Now-r.heard < silent {
			continue
		}
		r.dead = true
		bound := r.bound
		if r.heard < n.epoch-n.Skew { // it may have ended while no collector was there to be told
			bound *= uint64(1 + (w.Now-r.heard)/r.every)
		}
		for _, at := range n.touched(w, r) {
			k := cell.Key{Pipeline: "p", Stage: r.stage, Dir: cell.Unflushed, Reason: cell.Killed, Window: at, Width: w.Width}
			if !n.Lossy {
				k.Reason = cell.Silent
			}
			id := countKey{k, r.instance, 0}
			n.cells[id] = &cell.Cell{Key: k, Instance: r.instance, Node: n.Name, Epoch: n.epoch, Counts: cell.Counts{N: bound, MaxTS: r.heard + n.Skew}}
			n.dirty[id] = true
			r.cells = append(r.cells, id)
		}
	}
}

// touched are the windows of which a process may have counted records last.
func (n *Node) touched(w *World, r *run) (out []int64) {
	newest := int64(0)
	seen := map[int64]bool{}
	for id := range n.cells {
		if id.Stage != r.stage || id.Dir == cell.Unflushed || n.lately[id] < r.heard-reach {
			continue
		}
		if !seen[id.Window] {
			seen[id.Window] = true
			out = append(out, id.Window)
		}
		newest = max(newest, id.Window)
	}
	now := w.window(n.clock(w))
	if newest == 0 {
		newest = now - 2*w.Width
	}
	for i, at := 0, newest+w.Width; at <= now+w.Width && i < ahead; i, at = i+1, at+w.Width {
		out = append(out, at)
	}
	return out
}
