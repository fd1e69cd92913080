package pairs

import (
	"encoding/hex"
	"math"
	"math/bits"
	"slices"
	"strconv"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/internal/messaging"
	"github.com/weirhq/weir/store"
)

// bucket is one window of one edge, side or stage.
type bucket struct {
	cell.PairCounts
	live     cell.PairCounts // of producer spans that are still remembered, made anew at each snapshot
	orphans  [32]int64       // Reverse by how small a sample their keys would still belong to
	fetch    *cell.Sketch    // waits of receive spans, for readers without process spans
	instance string          // under which it is written; empty = that of the server
	touched  int64           // Unix milliseconds
	changed  int64
	written  int64
	last     figures
}

// figures are what decides whether a snapshot says something new.
type figures struct {
	messages, received, known, failed, acks, up, matched, waiting, missed, expired, doubled, overflow, reverse, unjudged, spans int64
	biased, apart                                                                                                               bool
}

func figuresOf(c *cell.PairCounts) figures {
	return figures{
		c.Messages, c.Received, c.Known, c.Failed, c.Acks, c.Up, c.Matched, c.Waiting, c.Missed, c.Expired, c.Doubled, c.Overflow, c.Reverse, c.Unjudged, c.Spans,
		c.Biased, c.Apart,
	}
}

func (b *bucket) sketch(s **cell.Sketch) *cell.Sketch {
	if *s == nil {
		*s = &cell.Sketch{}
	}
	return *s
}

// bucketSet is all windows of one edge, side or stage.
type bucketSet struct {
	key   cell.PairKey // without window
	m     map[int64]*bucket
	last  *bucket // the one asked for last, and its window
	lastW int64
	used  int64 // Unix milliseconds
	edge  *edge
}

// maxWindows bounds the windows of one set; event times are what applications say.
const maxWindows = 200

// at finds the window of a time, Unix milliseconds; nil when that is absurd or too many are open.
func (s *bucketSet) at(t *table, ms, now int64) *bucket {
	if ms > now+86_400_000 || ms < now-30*86_400_000 {
		t.p.meters.badTime.Inc()
		return nil
	}
	w := ms / 1000
	w -= w % s.key.Width
	if s.last != nil && s.lastW == w {
		s.last.touched = now
		return s.last
	}
	b := s.m[w]
	if b == nil {
		if len(s.m) >= maxWindows {
			t.p.meters.windowsFull.Inc()
			return nil
		}
		b = &bucket{}
		if (w+s.key.Width)*1000 < now-t.p.memory() {
			// An earlier part of this window may have been written and forgotten. Under a name of its own this one adds up.
			b.instance = t.p.instance + "~" + strconv.FormatInt(now, 10)
		}
		s.m[w] = b
	}
	b.touched, s.used = now, now
	s.last, s.lastW = b, w
	return b
}

// snapshot settles what is old and returns what has changed.
func (t *table) snapshot(now int64) []cell.Pair {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now-t.seen.Began() > t.p.cfg.Age.Milliseconds() {
		t.seen.Turn(now)
	}
	t.endings(t.calls.turn(now), now)
	t.relax(now)
	for _, r := range t.readers {
		r.floor = r.least(now - t.p.cfg.Age.Milliseconds())
		if now-r.waitsAt > t.p.cfg.Age.Milliseconds() {
			r.waits, r.waitsAt = [2]span{{}, r.waits[0]}, now
		}
	}
	for _, s := range t.all {
		if s.edge != nil {
			for _, b := range s.m {
				b.live = cell.PairCounts{}
			}
		}
	}
	old := now - t.p.cfg.Age.Milliseconds()
	for i := range t.upMem {
		u := &t.upMem[i]
		if u.lane == nil {
			continue
		}
		over := u.at < old
		for _, e := range u.lane.edges {
			t.judge(e, u, over, now)
		}
		if over {
			t.dropUp(u.key, int32(i))
		}
	}
	t.expireDowns(now)
	var out []cell.Pair
	kept := t.all[:0]
	for _, s := range t.all {
		out = s.write(t, now, out)
		if len(s.m) > 0 || now-s.used < forgetSets {
			kept = append(kept, s)
			continue
		}
		t.forget(s)
	}
	clear(t.all[len(kept):])
	t.all = kept
	return out
}

// forgetSets is how long a stage, queue or group that sends no spans is remembered, milliseconds.
const forgetSets = 3_600_000

// judge counts what became of a producer span at one reader.
func (t *table) judge(e *edge, u *up, over bool, now int64) {
	r := e.reader
	if u.end/1e6 < e.first || u.by != r.by || r.th > 0 && u.rand < r.th {
		return
	}
	a := u.found(r)
	if a == nil && e.first == math.MaxInt64 {
		return
	}
	touched := e.sums.used
	w := u.ts / 1000
	b := e.sums.m[w-w%e.sums.key.Width]
	if b == nil {
		if b = e.sums.at(t, u.ts, now); b == nil {
			return
		}
		e.sums.used = touched
	}
	c := &b.live
	if over {
		c = &b.PairCounts
		b.touched = now
	}
	c.Up++
	c.UpMessages += u.weight
	c.Biased, c.Apart = c.Biased || u.biased, c.Apart || r.apart
	switch {
	case a != nil:
		c.Matched++
		c.InMessages += u.weight
		c.Doubled += int64(a.doubled)
		keepTrace(&c.Seen, &u.trace, 3)
	case t.overtaken(r, u, now):
		c.Missed++
		keepTrace(&c.Examples, &u.trace, cell.MaxPairExamples)
	case over:
		c.Expired++
	default:
		c.Waiting++
	}
}

// overtaken says whether a reader has taken so much later messages of the same partition that this one will not come.
func (t *table) overtaken(r *reader, u *up, now int64) bool {
	// What waits longer than others (retries) comes out of order by the difference, and what is worked on for long is told of late.
	w := r.waits[0].union(r.waits[1])
	slack := max(t.p.cfg.Overtake.Milliseconds(), min(2*max(w.hi-w.lo, r.slow), t.p.cfg.Age.Milliseconds()/2))
	if now-u.at < slack/4 {
		return false
	}
	if p, ok := r.progress[u.partition]; ok {
		return p.ts >= u.end/1e6+slack
	}
	return r.floor >= u.end/1e6+slack
}

// least is how far the partition is that is least far, of those that moved since a time.
func (r *reader) least(since int64) int64 {
	least := int64(math.MaxInt64)
	for part, p := range r.progress {
		if p.at >= since {
			least = min(least, p.ts)
		} else if p.at < since-forgetSets {
			delete(r.progress, part)
		}
	}
	if least == math.MaxInt64 {
		return math.MinInt64 / 2
	}
	return least
}

// expireDowns gives up consumer spans whose producer span never came.
func (t *table) expireDowns(now int64) {
	old := now - t.p.cfg.Arrival.Milliseconds()
	for k, i := range t.downs {
		if t.dnMem[i].at >= old {
			continue
		}
		keep := int32(-1)
		for i >= 0 {
			at := i
			d := &t.dnMem[at]
			i = d.next
			if d.at >= old {
				d.next = keep
				keep = at
				continue
			}
			t.unpaired(d, now)
			*d = down{}
			t.dnOld = append(t.dnOld, at)
		}
		if keep < 0 {
			delete(t.downs, k)
		} else {
			t.downs[k] = keep
		}
	}
}

func (t *table) unpaired(d *down, now int64) {
	r := d.reader
	if r.process && d.role == messaging.Receive {
		return // the process span of the same message speaks
	}
	b := r.in.at(t, d.start/1e6, now)
	if b == nil {
		return
	}
	before := max(60_000, 2*r.waits[0].union(r.waits[1]).hi)
	switch {
	case d.start/1e6 < t.p.epoch+before, // its producer span may have come before this server began
		d.key&t.wider.mask != 0 && d.start/1e6 < t.wider.at+before, // … or while only a part was joined
		d.by != r.by,
		d.parent && r.hits == 0: // its parent may be a span of its own
		b.Unjudged++
	default:
		b.Reverse++
		b.orphans[min(bits.TrailingZeros64(d.key), len(b.orphans)-1)]++
	}
}

// relax joins more again when there is room.
func (t *table) relax(now int64) {
	if t.mask == 0 || len(t.ups)+t.waiting() > t.p.cfg.MaxPending/4 || now-t.wider.at < 2*t.p.cfg.Age.Milliseconds() {
		return
	}
	t.wider.mask, t.wider.at = t.mask, now
	t.mask >>= 1
}

// write appends the windows that changed, and forgets those that will not change any more.
func (s *bucketSet) write(t *table, now int64, out []cell.Pair) []cell.Pair {
	for w, b := range s.m {
		var sum cell.PairCounts
		if s.edge != nil {
			sum = b.PairCounts
			if sum.Wait == nil {
				sum.Wait = b.fetch
			}
			sum.Add(&b.live)
		} else {
			sum = b.PairCounts
		}
		f := figuresOf(&sum)
		if f != b.last || b.touched >= b.written {
			if f != b.last || b.changed == 0 {
				b.changed = now
			}
			if f != (figures{}) {
				k := s.key
				k.Window = w
				p := cell.Pair{PairKey: k, Instance: b.instance, Epoch: t.p.epoch, Seq: t.p.seq.Add(1), At: now, Changed: b.changed, PairCounts: sum}
				if p.Instance == "" {
					p.Instance = t.p.instance
				}
				p.Wait, p.Total, p.Time = p.Wait.Clone(), p.Total.Clone(), p.Time.Clone()
				p.Instances = append([]string(nil), p.Instances...)
				p.Calls = callsOf(b.Calls)
				out = append(out, p)
			}
			b.last, b.written = f, now
		}
		if old := now - t.p.memory(); (w+s.key.Width)*1000 < old && b.touched < old && b.live.Up == 0 {
			delete(s.m, w)
			if s.last == b {
				s.last = nil
			}
		}
	}
	return out
}

// forget drops a lane, reader, edge or stage that has nothing left.
func (t *table) forget(s *bucketSet) {
	if s.edge != nil {
		l := s.edge.lane
		for i, e := range l.edges {
			if e == s.edge {
				l.edges = append(l.edges[:i:i], l.edges[i+1:]...)
				break
			}
		}
		return
	}
	for k, l := range t.lanes {
		if &l.out == s {
			delete(t.lanes, k)
			return
		}
	}
	for k, r := range t.readers {
		if &r.in == s {
			delete(t.readers, k)
			return
		}
	}
	for k, w := range t.works {
		if &w.sums == s {
			delete(t.works, k)
			return
		}
	}
}

// keepTrace keeps the n smallest trace ids, sorted, so that it does not matter in which order they came.
func keepTrace(list *[]string, t *store.TraceID, n int) {
	var b [2 * len(t)]byte
	hex.Encode(b[:], t[:])
	l := *list
	if len(l) == n && string(b[:]) >= l[n-1] {
		return
	}
	i, found := slices.BinarySearch(l, string(b[:]))
	if !found {
		l = slices.Insert(slices.Clip(l), i, string(b[:]))
		*list = l[:min(len(l), n)]
	}
}
