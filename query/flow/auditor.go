package flow

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/weirhq/weir/internal/cell"
)

// GapKind says how much a gap in an auditor's record may hide.
type GapKind uint8

// Kinds of gaps. A hard gap makes every verdict it touches UNKNOWN. A soft one only keeps LOSS, MIXED and
// DUPLICATES from being said: an exact balance stands.
const (
	GapSilent GapKind = iota // no word for several flush intervals; hard
	GapOpen                  // the epoch ended without a last flush; hard
	GapAway                  // stopped in order, started again later: increments had nowhere to go; hard where they were lossy
	GapClosed                // stopped in order and not back; soft
	GapDrops                 // audit datagrams are known to be lost; soft, and only for lossy counts
	GapLost                  // counts were on their way to the server and did not arrive; hard
)

// Gap is a time in which a node's auditor may have missed counts.
type Gap struct {
	Node     string
	Kind     GapKind
	From, To int64 // (From, To], Unix milliseconds of counting time
	Flush    int64 // milliseconds
	Drops    int64
	// For GapDrops: the most records that one of them may have stood for, at least 1.
	Each int64
	// For GapDrops: the event windows the drops may belong to, [WFrom, WTo) Unix seconds.
	WFrom, WTo int64
}

// Sentence says what the gap means to a reader.
func (g Gap) Sentence(now int64) string {
	at := func(ms int64) string { return time.UnixMilli(ms).UTC().Format("15:04:05 UTC") }
	switch g.Kind {
	case GapSilent:
		return fmt.Sprintf("The auditor of %s has been silent for %s.", g.Node, Age(float64(sub(now, g.From))/1000))
	case GapOpen:
		return fmt.Sprintf("The auditor of %s ended without its last counts at %s and came back at %s.", g.Node, at(g.From), at(g.To))
	case GapAway:
		return fmt.Sprintf("The auditor of %s was away from %s to %s.", g.Node, at(g.From), at(g.To))
	case GapClosed:
		return fmt.Sprintf("The auditor of %s was stopped at %s.", g.Node, at(g.From))
	case GapLost:
		return fmt.Sprintf("%s records of telemetry of %s from %s to %s never reached the server.", Count(g.Drops), g.Node, at(g.From), at(g.To))
	default:
		return fmt.Sprintf("%s audit datagrams were dropped on %s.", Count(g.Drops), g.Node)
	}
}

// Audit is what the auditors say about themselves.
type Audit struct {
	heard map[string]int64 // node → last snapshot, milliseconds; far when nothing more is to come
	flush map[string]int64
	Gaps  []Gap
	Known int // nodes
	Quiet int // nodes that are silent now
}

// NewAudit orders the records of all auditors, finds gaps, and says how far each node has reported.
func NewAudit(auditors []cell.Auditor, now int64, r Rules) *Audit {
	r = r.normal()
	a := &Audit{heard: map[string]int64{}, flush: map[string]int64{}}
	as := slices.Clone(auditors)
	slices.SortFunc(as, func(x, y cell.Auditor) int {
		return cmp.Or(cmp.Compare(x.Node, y.Node), cmp.Compare(x.Epoch, y.Epoch), cmp.Compare(x.Seq, y.Seq), cmp.Compare(x.At, y.At))
	})
	w := 0
	for i := range as { // of one epoch only the newest record counts
		if i+1 < len(as) && as[i].Node == as[i+1].Node && as[i].Epoch == as[i+1].Epoch {
			continue
		}
		as[w] = as[i]
		w++
	}
	as = as[:w]
	for i := 0; i < len(as); {
		j := i
		for j < len(as) && as[j].Node == as[i].Node {
			j++
		}
		a.node(as[i:j], sub(now, r.Apart.Milliseconds()), int64(r.SilentFlushes))
		i = j
	}
	a.Known = len(a.heard)
	return a
}

// node takes all epochs of one node, oldest first. Only silence is judged by now, which allows for clocks that differ.
func (a *Audit) node(epochs []cell.Auditor, now, silentFlushes int64) {
	name := epochs[0].Node
	heard := int64(-far)
	for i, e := range epochs {
		flush := min(max(e.FlushMS, 1000), int64(3_600_000))
		a.flush[name] = max(a.flush[name], flush)
		at := min(e.At, int64(far))
		if e.Drops > 0 {
			g := Gap{Node: name, Kind: GapDrops, From: e.Epoch, To: at, Flush: flush, Drops: num(e.Drops), Each: max(1, num(e.DropMax)), WFrom: e.DropFrom, WTo: e.DropTo}
			if g.WFrom == 0 && g.WTo == 0 {
				g.WFrom, g.WTo = e.Epoch/1000-maxWidth, math.MaxInt64
			}
			a.Gaps = append(a.Gaps, g)
		}
		if e.PreviousOpen && (i == 0 || epochs[i-1].Epoch != e.Previous && e.Previous != 0) {
			a.Gaps = append(a.Gaps, Gap{Node: name, Kind: GapOpen, From: sub(e.Epoch, flush), To: e.Epoch, Flush: flush})
		}
		next := int64(-1)
		if i+1 < len(epochs) {
			next = epochs[i+1].Epoch
		}
		switch {
		case next >= 0 && next >= at && e.Closed:
			if next > at {
				a.Gaps = append(a.Gaps, Gap{Node: name, Kind: GapAway, From: at, To: next, Flush: flush})
			}
		case next >= 0 && next >= at:
			a.Gaps = append(a.Gaps, Gap{Node: name, Kind: GapOpen, From: at, To: next, Flush: flush})
		case e.Closed:
			if next < 0 {
				a.Gaps = append(a.Gaps, Gap{Node: name, Kind: GapClosed, From: at, To: far, Flush: flush})
				at = far
			}
		case sub(now, at) > silentFlushes*flush:
			// With a successor that began before this one's last word, both were running: only the last one's silence counts.
			if next < 0 {
				a.Gaps = append(a.Gaps, Gap{Node: name, Kind: GapSilent, From: at, To: far, Flush: flush})
				a.Quiet++
				at = far
			}
		}
		heard = max(heard, at)
	}
	a.heard[name] = heard
}

// Lose adds gaps that others than the auditors found: counts that were made and did not arrive.
func (a *Audit) Lose(gaps []Gap) {
	for _, g := range gaps {
		g.Kind = GapLost
		a.Gaps = append(a.Gaps, g)
	}
}

// Heard says whether all nodes have reported past a time. A node that no auditor record is known of
// has nothing to wait for; a silent one is not waited for, its gap speaks.
func (a *Audit) Heard(nodes []NodeCount, past int64) bool {
	for _, n := range nodes {
		if h, ok := a.heard[n.Node]; ok && h < past {
			return false
		}
	}
	return true
}

// Flush is the longest flush interval among nodes, milliseconds.
func (a *Audit) Flush(nodes []NodeCount) int64 {
	var f int64
	for _, n := range nodes {
		f = max(f, a.flush[n.Node])
	}
	return f
}

// Silent lists the gaps of auditors that are silent now.
func (a *Audit) Silent() []Gap {
	var out []Gap
	for _, g := range a.Gaps {
		if g.Kind == GapSilent {
			out = append(out, g)
		}
	}
	return out
}

// exportWait is how long after the return of a collector applications are waited for to send their running totals
// again, milliseconds: exporters do so each minute.
const exportWait = 90_000

// doubt is a gap as it concerns one side of one balance.
type doubt struct {
	gap   Gap
	hard  bool
	bound int64 // records of the window that may be missing from the count
}

// doubts finds the gaps that touch a side in a window. contributors are the nodes that count there
// at all, with their largest rate in records per second; need is the time the nodes had to report past,
// slack how far the clocks of applications and collectors may differ.
func (a *Audit) doubts(w Window, contributors []contributor, need, slack, now int64) []doubt {
	var out []doubt
	for _, c := range contributors {
		for _, g := range a.Gaps {
			if g.Node != c.node {
				continue
			}
			if g.Kind == GapDrops {
				if c.lossy && w.Start < g.WTo && w.End() > g.WFrom {
					out = append(out, doubt{gap: g, bound: product(g.Drops, g.Each)})
				}
				continue
			}
			if w.startMS() >= add(g.To, slack) || g.From >= need {
				continue
			}
			hard := g.Kind == GapSilent || g.Kind == GapOpen || g.Kind == GapLost || g.Kind == GapAway && c.lossy
			if g.Kind == GapAway && !c.lossy && now >= add(g.To, exportWait) { // cumulative totals have come again
				continue
			}
			length := min(max(sub(g.To, g.From), 0), add(w.Width*1000, 0))
			out = append(out, doubt{gap: g, hard: hard, bound: whole(math.Ceil(c.rate * float64(length) / 1000))})
		}
	}
	return out
}

// contributor is a node that counts on a side of a balance.
type contributor struct {
	node  string
	rate  float64 // most records per second in any window
	lossy bool
}

// contributors collects the nodes of ports over all windows of a tally.
func (t *Tally) contributors(ports []Port) []contributor {
	var out []contributor
	for _, p := range ports {
		per := map[string]int{}
		for _, s := range t.ports[p] {
			for _, n := range s.Nodes {
				i, ok := per[n.Node]
				if !ok {
					i = len(out)
					per[n.Node] = i
					out = append(out, contributor{node: n.Node})
				}
				out[i].rate = max(out[i].rate, float64(n.N)/float64(t.Width))
				out[i].lossy = out[i].lossy || n.Lossy
			}
		}
	}
	slices.SortFunc(out, func(x, y contributor) int {
		return cmp.Or(cmp.Compare(x.node, y.node), cmp.Compare(x.rate, y.rate))
	})
	return out
}
