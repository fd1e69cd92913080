package pairs

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirhq/weir/internal/cell"
	"github.com/weirhq/weir/internal/messaging"
	"github.com/weirhq/weir/store"
)

// maxDrift is how far the event time of a message may lie from its producer span and still name its window, milliseconds.
const maxDrift = 600_000

// maxName is the longest name of a stage, destination or group, in bytes.
const maxName = 200

// table holds what is remembered for one tenant.
type table struct {
	p  *Pairs
	mu sync.Mutex

	seen  messaging.Recent // messaging spans: what comes again changes nothing
	mask  uint64
	wider struct { // when the mask last became smaller, and what it was before
		mask uint64
		at   int64
	}
	ups   map[uint64]int32 // by join key
	downs map[uint64]int32 // first of a chain that waits for the same key
	upMem []up
	dnMem []down
	upOld []int32 // free
	dnOld []int32

	lanes   map[laneKey]*lane
	readers map[readerKey]*reader
	dests   map[destKey]*dest
	works   map[workKey]*work
	edges   int
	all     []*bucketSet // of lanes, readers, edges, works: what is written

	// services known to process messages, read without the lock
	consumers atomic.Pointer[map[string]struct{}]
	calls     callTable
}

type (
	destKey struct{ system, name string }
	laneKey struct {
		pipeline, stage string
		destKey
	}
	readerKey struct {
		pipeline string
		destKey
		group, stage string // stage only where there is no group
	}
	workKey struct{ pipeline, stage string }
)

// joinKind is what a producer span is remembered by. One message may be there once for each kind; a reader counts one kind.
type joinKind uint8

const (
	bySpan joinKind = iota // link or parent
	byOffset
	byID
)

// dest is a queue. Producer spans are remembered under their own id, and under offset or message id once a reader needs that.
type dest struct {
	key            destKey
	offsets, names bool
}

// lane is one stage that writes one queue.
type lane struct {
	key   laneKey
	dest  *dest
	edges []*edge
	out   bucketSet
}

// reader is one group that reads one queue.
type reader struct {
	key      readerKey
	stage    string // the first that was seen
	in       bucketSet
	th       uint64 // the largest threshold of its spans
	apart    bool
	tried    int64 // joins by parent alone
	hits     int64
	progress map[string]progress // by partition
	waits    [2]span             // shortest and longest wait in the queue, milliseconds; now and before
	waitsAt  int64               // when the present one began
	slow     int64               // longest consumer span, milliseconds
	floor    int64               // the partition that is least far, at the last snapshot
	process  bool                // it has process spans
	by       joinKind            // how its spans find their producer spans, since the first that did
	joined   bool
}

type progress struct{ ts, at int64 }

// span is from the smallest to the largest of some figures.
type span struct {
	lo, hi int64
	some   bool
}

func (s span) with(v int64) span {
	if !s.some {
		return span{v, v, true}
	}
	return span{min(s.lo, v), max(s.hi, v), true}
}

func (s span) union(o span) span {
	if !o.some {
		return s
	}
	return s.with(o.lo).with(o.hi)
}

// edge is a lane as one reader takes from it.
type edge struct {
	lane   *lane
	reader *reader
	first  int64 // end of the oldest producer span that was joined: what is older may be from before the reader
	sums   bucketSet
}

// up is a producer span that waits for its consumer spans.
type up struct {
	key, rand uint64
	trace     store.TraceID
	ts        int64 // of its window, Unix milliseconds
	origin    int64 // of the message, Unix milliseconds
	end       int64 // Unix nanoseconds; messages lie in a partition in this order
	at        int64 // arrived, Unix milliseconds
	weight    int64
	lane      *lane
	partition string
	by        joinKind
	biased    bool
	few       [2]arrival
	n         int
	more      []arrival
}

// arrival is what one reader did with an up.
type arrival struct {
	reader           *reader
	process, receive store.SpanID
	doubled          int32
}

// down is one message of a consumer span.
type down struct {
	key        uint64
	reader     *reader
	trace      store.TraceID
	id         store.SpanID
	role       messaging.Role
	start, end int64 // Unix nanoseconds
	at         int64 // arrived, Unix milliseconds
	partition  string
	th         uint64
	thKnown    bool
	biased     bool
	by         joinKind
	parent     bool // joined by its parent alone
	next       int32
}

func newTable(p *Pairs) *table {
	t := &table{
		p: p, seen: messaging.NewRecent(2 * p.cfg.MaxPending), ups: map[uint64]int32{}, downs: map[uint64]int32{}, lanes: map[laneKey]*lane{}, readers: map[readerKey]*reader{},
		dests: map[destKey]*dest{}, works: map[workKey]*work{},
	}
	t.calls.bound = max(p.cfg.MaxPending/4, 1000)
	t.consumers.Store(&map[string]struct{}{})
	return t
}

// mix is the finaliser of splitmix64.
func mix(h uint64) uint64 {
	h ^= h >> 30
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 27
	h *= 0x94d049bb133111eb
	return h ^ h>>31
}

// spanKey names a span. Trace ids are random, so a little mixing is enough.
func spanKey(t *store.TraceID, s *store.SpanID) uint64 {
	return mix(binary.LittleEndian.Uint64(t[:8]) ^ mix(binary.LittleEndian.Uint64(t[8:])) ^ 3*binary.LittleEndian.Uint64(s[:]))
}

// textKey names a message by its id or its place in a queue. Both sides of a join make the same key.
func textKey(kind uint64, parts ...string) uint64 {
	h := 14695981039346656037 ^ kind
	for _, p := range parts {
		for i := range len(p) {
			h = (h ^ uint64(p[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211
	}
	return mix(h)
}

// take counts one span. now is Unix milliseconds.
func (t *table) take(f *fact, now int64) {
	sp := f.sp
	if f.call {
		t.called(f, now)
		return
	}
	if !t.seen.Add(spanKey(&sp.Trace, &sp.ID)) {
		t.p.meters.again.Inc()
		return
	}
	t.p.meters.spans.Inc()
	switch f.role {
	case messaging.Create, messaging.Send:
		t.produced(f, now)
	case messaging.Receive, messaging.Process:
		t.consumed(f, now)
	case messaging.Settle:
		if r := t.reader(f, now); r != nil {
			if b := r.in.at(t, sp.Start/1e6, now); b != nil {
				b.Acks += messaging.Weight(f.batch, len(sp.Links))
			}
		}
	default:
	}
}

func (f *fact) count(c *cell.PairCounts, n int64) {
	c.Biased = c.Biased || f.biased
	if f.thKnown {
		c.Known += n
		c.Adjusted += float64(n) * messaging.Adjusted(f.th)
	}
}

func (t *table) produced(f *fact, now int64) {
	sp := f.sp
	l := t.lane(f, now)
	if l == nil {
		return
	}
	// A message that is long under way counts when it is sent: windows of long ago nobody looks at any more.
	ts := f.ts
	if d := ts - sp.Start/1e6; ts == 0 || d > maxDrift || d < -maxDrift {
		ts = sp.Start / 1e6
	}
	if f.role == messaging.Send { // what was created is counted when it is sent
		n := messaging.Weight(f.batch, len(sp.Links))
		b := l.out.at(t, ts, now)
		if b == nil {
			return
		}
		if f.failed {
			b.Failed += n
			return
		}
		b.Messages += n
		b.MaxTS = max(b.MaxTS, cmp.Or(f.ts, ts))
		f.count(&b.PairCounts, n)
		if len(sp.Links) > 0 {
			return // a batch of created messages: those are what consumers link to
		}
	}
	if f.failed {
		return
	}
	t.passedOn(sp)
	key := spanKey(&sp.Trace, &sp.ID)
	t.put(f, l, key, bySpan, ts, now)
	if l.dest.offsets && f.hasOffset {
		t.put(f, l, textKey(1, l.dest.key.name, f.partition, string(binary.LittleEndian.AppendUint64(nil, uint64(f.offset)))), byOffset, ts, now)
	}
	if l.dest.names && f.id != "" {
		t.put(f, l, textKey(2, l.dest.key.name, f.id), byID, ts, now)
	}
}

// put remembers a producer span under a key and joins what waits for it.
func (t *table) put(f *fact, l *lane, key uint64, by joinKind, ts, now int64) {
	if key&t.mask != 0 {
		return
	}
	if _, ok := t.ups[key]; ok {
		return // the same message id again: a retry of the producer
	}
	if !t.room(now) && key&t.mask != 0 {
		return
	}
	sp := f.sp
	u := up{
		key: key, rand: messaging.Randomness(sp.TraceState, sp.Trace), trace: sp.Trace, ts: ts, origin: cmp.Or(f.ts, sp.Start/1e6), end: sp.Start + sp.Duration, at: now,
		weight: messaging.Weight(f.batch, 0), lane: l, by: by, biased: f.biased,
	}
	if f.partition != "" {
		u.partition = strings.Clone(f.partition)
	}
	var i int32
	if n := len(t.upOld); n > 0 {
		i = t.upOld[n-1]
		t.upOld = t.upOld[:n-1]
		t.upMem[i] = u
	} else {
		i = int32(len(t.upMem))
		t.upMem = append(t.upMem, u)
	}
	t.ups[key] = i
	if d, ok := t.downs[key]; ok {
		delete(t.downs, key)
		for d >= 0 {
			next := t.dnMem[d].next
			t.join(&t.upMem[i], &t.dnMem[d], now)
			t.dnMem[d] = down{}
			t.dnOld = append(t.dnOld, d)
			d = next
		}
	}
}

func (t *table) consumed(f *fact, now int64) {
	sp := f.sp
	r := t.reader(f, now)
	if r == nil {
		return
	}
	n := messaging.Weight(f.batch, len(sp.Links))
	b := r.in.at(t, sp.Start/1e6, now)
	if b == nil {
		return
	}
	if f.role == messaging.Process {
		r.process = true
		b.Messages += n
		f.count(&b.PairCounts, n)
		t.worked(f, now)
	} else {
		b.Received += n
	}
	d := down{
		reader: r, trace: sp.Trace, id: sp.ID, role: f.role, start: sp.Start, end: sp.Start + sp.Duration, at: now, th: f.th, thKnown: f.thKnown, biased: f.biased, next: -1,
	}
	if f.partition != "" {
		d.partition = f.partition // cloned when it is kept
	}
	switch {
	case len(sp.Links) > 0:
		for i := range sp.Links {
			l := &sp.Links[i]
			if l.Trace == (store.TraceID{}) || l.Span == (store.SpanID{}) {
				continue
			}
			d.key = spanKey(&l.Trace, &l.Span)
			t.arrive(&d, now)
		}
	case sp.Parent != (store.SpanID{}) && (r.hits > 0 || r.tried < parentTries || !f.hasOffset && f.id == ""):
		d.key, d.parent = spanKey(&sp.Trace, &sp.Parent), true
		r.tried++
		t.arrive(&d, now)
	case f.hasOffset:
		t.dests[r.key.destKey].offsets = true
		d.by = byOffset
		d.key = textKey(1, r.key.name, f.partition, string(binary.LittleEndian.AppendUint64(nil, uint64(f.offset))))
		t.arrive(&d, now)
	case f.id != "":
		t.dests[r.key.destKey].names = true
		d.by = byID
		d.key = textKey(2, r.key.name, f.id)
		t.arrive(&d, now)
	}
}

// parentTries is after how many joins by parent that never found a producer span the parent is taken for a span of the reader's own.
const parentTries = 200

// arrive joins one message of a consumer span, or lets it wait for its producer span.
func (t *table) arrive(d *down, now int64) {
	if d.key&t.mask != 0 {
		return
	}
	if i, ok := t.ups[d.key]; ok {
		t.join(&t.upMem[i], d, now)
		return
	}
	if !t.room(now) && d.key&t.mask != 0 {
		return
	}
	kept := *d
	kept.partition = strings.Clone(kept.partition)
	kept.next = -1
	if first, ok := t.downs[d.key]; ok {
		kept.next = first
	}
	var i int32
	if n := len(t.dnOld); n > 0 {
		i = t.dnOld[n-1]
		t.dnOld = t.dnOld[:n-1]
		t.dnMem[i] = kept
	} else {
		i = int32(len(t.dnMem))
		t.dnMem = append(t.dnMem, kept)
	}
	t.downs[d.key] = i
}

// join notes that a reader took a message.
func (t *table) join(u *up, d *down, now int64) {
	r := d.reader
	if !r.joined {
		r.joined, r.by = true, d.by
	}
	if r.by != d.by {
		return
	}
	if d.parent {
		r.hits++
	}
	e := t.edge(u.lane, d.reader)
	if e == nil {
		return
	}
	e.first = min(e.first, u.end/1e6)
	r.apart = r.apart || d.thKnown && d.th > 0 && d.trace != u.trace
	if d.thKnown {
		r.th = max(r.th, d.th)
	}
	b := e.sums.at(t, u.ts, now)
	if b == nil {
		return
	}
	b.Biased = b.Biased || u.biased || d.biased
	b.MaxTS = max(b.MaxTS, u.origin)
	part := u.partition
	if part == "" {
		part = d.partition
	}
	a := u.arrival(r)
	r.pass(part, u.end/1e6, now)
	r.waits[0] = r.waits[0].with(min(max((d.start-u.end)/1e6, 0), 3_600_000))
	r.slow = max(r.slow, min((d.end-d.start)/1e6, 3_600_000))
	ms := float64(d.start-u.end) / 1e6
	switch {
	case d.role == messaging.Process && a.process == store.SpanID{}:
		a.process = d.id
		b.sketch(&b.Wait).Observe(ms, 1)
		b.sketch(&b.Total).Observe(float64(d.end)/1e6-float64(u.origin), 1)
	case d.role == messaging.Process && a.process != d.id:
		a.doubled++
	case d.role == messaging.Receive && a.receive == store.SpanID{}:
		a.receive = d.id
		b.sketch(&b.fetch).Observe(ms, 1)
	}
	b.touched = now
}

// arrival finds or makes what a reader did; the pointer is good until the next call.
func (u *up) arrival(r *reader) *arrival {
	if a := u.found(r); a != nil {
		return a
	}
	if u.n < len(u.few) {
		u.n++
		u.few[u.n-1].reader = r
		return &u.few[u.n-1]
	}
	u.more = append(u.more, arrival{reader: r})
	return &u.more[len(u.more)-1]
}

func (u *up) found(r *reader) *arrival {
	for i := range u.few[:u.n] {
		if u.few[i].reader == r {
			return &u.few[i]
		}
	}
	for i := range u.more {
		if u.more[i].reader == r {
			return &u.more[i]
		}
	}
	return nil
}

// pass follows how far a reader has come in each partition.
func (r *reader) pass(partition string, ts, now int64) {
	p, ok := r.progress[partition]
	if !ok {
		if len(r.progress) >= maxPartitions {
			partition = ""
			p = r.progress[""]
		} else {
			partition = strings.Clone(partition)
		}
	}
	r.progress[partition] = progress{max(p.ts, ts), now}
}

const maxPartitions = 4096

// room makes room for one more span: when the table is full, only every second key stays. It reports whether the mask is as it was.
func (t *table) room(now int64) bool {
	if len(t.ups)+t.waiting() < t.p.cfg.MaxPending {
		return true
	}
	t.mask = t.mask<<1 | 1
	t.p.meters.halved.Inc()
	for k, i := range t.ups {
		if k&t.mask != 0 {
			t.dropUp(k, i)
		}
	}
	for k, i := range t.downs {
		if k&t.mask != 0 {
			t.dropDowns(k, i)
		}
	}
	// What is counted of windows whose producer spans are still here must be of the same, smaller sample.
	kept, live := bits.Len64(t.mask), now-t.p.cfg.Age.Milliseconds()
	for _, r := range t.readers {
		for w, b := range r.in.m {
			if (w+r.in.key.Width)*1000 > live {
				b.Reverse = 0
				for _, n := range b.orphans[min(kept, len(b.orphans)-1):] {
					b.Reverse += n
				}
				b.touched = now
			}
		}
	}
	return false
}

func (t *table) waiting() int { return len(t.dnMem) - len(t.dnOld) }

func (t *table) dropUp(k uint64, i int32) {
	delete(t.ups, k)
	t.upMem[i] = up{}
	t.upOld = append(t.upOld, i)
}

func (t *table) dropDowns(k uint64, i int32) {
	delete(t.downs, k)
	for i >= 0 {
		next := t.dnMem[i].next
		t.dnMem[i] = down{}
		t.dnOld = append(t.dnOld, i)
		i = next
	}
}

// names are kept for as long as they are used: requests are reused.

func (t *table) dest(system, name string) *dest {
	k := destKey{system, name}
	d := t.dests[k]
	if d == nil {
		k = destKey{strings.Clone(system), strings.Clone(name)}
		d = &dest{key: k}
		t.dests[k] = d
	}
	return d
}

func (t *table) lane(f *fact, now int64) *lane {
	l := t.lanes[laneKey{f.pipeline, f.stage, destKey{f.system, f.dest}}]
	if l == nil {
		if t.full() {
			return nil
		}
		d := t.dest(f.system, f.dest)
		l = &lane{key: laneKey{strings.Clone(f.pipeline), strings.Clone(f.stage), d.key}, dest: d}
		l.out = t.newSet(cell.PairKey{Kind: cell.PairWriter, Pipeline: l.key.pipeline, From: l.key.stage, System: d.key.system, Destination: d.key.name})
		t.lanes[l.key] = l
		t.all = append(t.all, &l.out)
	}
	l.out.used = now
	return l
}

func (t *table) reader(f *fact, now int64) *reader {
	k := readerKey{pipeline: f.pipeline, destKey: destKey{f.system, f.dest}, group: f.group}
	if f.group == "" {
		k.stage = f.stage
	}
	r := t.readers[k]
	if r == nil {
		if t.full() {
			return nil
		}
		d := t.dest(f.system, f.dest)
		r = &reader{
			waitsAt: now,
			key:     readerKey{strings.Clone(f.pipeline), d.key, strings.Clone(f.group), strings.Clone(k.stage)}, stage: strings.Clone(f.stage),
			progress: map[string]progress{},
		}
		r.in = t.newSet(cell.PairKey{Kind: cell.PairReader, Pipeline: r.key.pipeline, System: d.key.system, Destination: d.key.name, Group: r.key.group, To: r.stage})
		t.readers[r.key] = r
		t.all = append(t.all, &r.in)
	}
	r.in.used = now
	return r
}

func (t *table) edge(l *lane, r *reader) *edge {
	for _, e := range l.edges {
		if e.reader == r {
			return e
		}
	}
	if t.full() {
		return nil
	}
	pipeline := r.key.pipeline
	if pipeline == "" {
		pipeline = l.key.pipeline
	}
	e := &edge{lane: l, reader: r, first: math.MaxInt64}
	e.sums = t.newSet(cell.PairKey{
		Kind: cell.PairEdge, Pipeline: pipeline, From: l.key.stage, System: l.dest.key.system, Destination: l.dest.key.name, Group: r.key.group, To: r.stage,
	})
	e.sums.edge = e
	l.edges = append(l.edges, e)
	t.edges++
	t.all = append(t.all, &e.sums)
	return e
}

func (t *table) full() bool {
	if len(t.all) < t.p.cfg.MaxEdges {
		return false
	}
	t.p.meters.edgesFull.Inc()
	return true
}

func (t *table) newSet(k cell.PairKey) bucketSet {
	k.Width = int64(t.p.cfg.Window / time.Second)
	return bucketSet{key: k, m: map[int64]*bucket{}}
}
