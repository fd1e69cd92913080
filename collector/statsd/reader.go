package statsd

import (
	"bytes"
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"

	"github.com/weirhq/weir/internal/cell"
)

// door counts what came in by one way. received = accepted + Σ dropped, in metrics.
type door struct {
	name               string
	received, accepted *metrics.Counter
	dropped            [reasons]*metrics.Counter
	kernel             *metrics.Counter
	datagrams          *metrics.Counter

	// Of audit lines: samples left out of counts that stand, and losses told by clients.
	badIDs, badLatency, clients *metrics.Counter
	badID                       atomic.Pointer[error] // newest, to be told
}

func newDoor(set *metrics.Set, name string) *door {
	d := &door{
		name:      name,
		received:  set.GetOrCreateCounter(`weir_collector_received_total{door="` + name + `"}`),
		accepted:  set.GetOrCreateCounter(`weir_collector_accepted_total{door="` + name + `"}`),
		kernel:    set.GetOrCreateCounter(`weir_collector_kernel_drops_total{door="` + name + `"}`),
		datagrams: set.GetOrCreateCounter(`weir_statsd_packets_total{door="` + name + `"}`),
	}
	if name == "audit" {
		d.badIDs = set.GetOrCreateCounter(`weir_statsd_audit_samples_dropped_total{kind="ids"}`)
		d.badLatency = set.GetOrCreateCounter(`weir_statsd_audit_samples_dropped_total{kind="latency"}`)
		d.clients = set.GetOrCreateCounter(`weir_statsd_audit_client_drops_total`)
	}
	for r := taken + 1; r < reasons; r++ {
		d.dropped[r] = set.GetOrCreateCounter(`weir_collector_dropped_total{door="` + name + `",reason="` + r.String() + `"}`)
	}
	return d
}

// tally is a door's count of one batch.
type tally struct {
	n [reasons]int // by reason; 0 = accepted
}

func (t *tally) report(d *door) {
	sum := 0
	for r, n := range t.n {
		if n == 0 {
			continue
		}
		sum += n
		if r > 0 {
			d.dropped[r].Add(n)
		}
	}
	if sum == 0 {
		return
	}
	d.received.Add(sum)
	d.accepted.Add(t.n[taken])
	*t = tally{}
}

// reader aggregates what one goroutine reads. Its lock is taken once per batch of datagrams, and by the flusher
// for short merges; between two series there is no lock.
type reader struct {
	reg        *registry
	door       *door
	auditDoor  *door
	audit      AuditSink
	names      interner
	metrics    tally
	audits     tally
	auditLost  int
	carries    uint64 // records that the audit lines of this datagram stand for
	carried    uint64 // the most that any datagram did
	clientLost uint64 // told by clients that send audit lines
	badIDs     int    // id samples that make no sense; their counts stand
	badID      error  // one of them
	badLatency int    // latencies that make no sense
	ids        cell.IDs
	values     []float64
	hash1      maphash.Seed
	deltas     bool
	maxMembers int
	maxTimed   int
	maxEntries int

	mu    sync.Mutex
	table table
	dirty []uint32 // indexes of entries to merge
	spare []uint32 // the flusher's list, to be used again
	timed []timedValue
	seen  bool  // audit lines came in
	now   int64 // of the batch, Unix ns
	pid   int32 // who sent the datagram; 0 = not known
}

// timedValue is a value with a time of its own; it goes past the aggregation.
type timedValue struct {
	series *series
	time   int64 // Unix ms
	value  float64
}

func newReader(reg *registry, d, audit *door, sink AuditSink) *reader {
	return &reader{
		reg: reg, door: d, auditDoor: audit, audit: sink, names: interner{}, hash1: reg.seed,
		deltas: reg.cfg.GaugeDeltas, maxMembers: reg.cfg.MaxSetMembers, maxTimed: reg.cfg.MaxTimed, maxEntries: 2 * reg.cfg.MaxSeries,
		table: newTable(),
	}
}

// report moves the counts of a batch to the metrics.
func (r *reader) report() {
	r.metrics.report(r.door)
	r.audits.report(r.auditDoor)
	if r.auditLost > 0 {
		if r.audit != nil {
			r.audit.Drops(uint64(r.auditLost))
		}
		r.auditLost = 0
	}
	if r.carried > 0 {
		r.audit.Carried(r.carried)
		r.carried = 0
	}
	if r.clientLost > 0 && r.audit != nil {
		r.audit.Drops(r.clientLost)
		r.auditDoor.clients.Add(int(min(r.clientLost, math.MaxInt32)))
	}
	if r.badIDs > 0 || r.badLatency > 0 {
		r.auditDoor.badIDs.Add(r.badIDs)
		r.auditDoor.badLatency.Add(r.badLatency)
		if e := r.badID; e != nil {
			r.auditDoor.badID.Store(&e)
		}
		r.badID = nil
	}
	r.clientLost, r.badIDs, r.badLatency = 0, 0, 0
}

// datagram takes in all lines of b. The reader is locked.
func (r *reader) datagram(b []byte, from *sender) {
	var l line
	for len(b) > 0 {
		one := b
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			one, b = b[:i], b[i+1:]
		} else {
			b = nil
		}
		if len(one) == 0 {
			continue
		}
		if one[0] == 'w' && bytes.HasPrefix(one, []byte(auditPrefix)) {
			r.auditLine(&l, one, from)
			continue
		}
		if why := l.parse(one); why != taken {
			r.metrics.n[why]++
			continue
		}
		if one[0] == 'd' && bytes.HasPrefix(one, []byte(clientTelemetry)) && from.audits.Load() {
			r.clientLost += clientLoss(&l)
		}
		r.line(&l, from)
	}
	r.carried, r.carries = max(r.carried, r.carries), 0
}

func (r *reader) line(l *line, from *sender) {
	hash := maphash.Bytes(r.hash1, l.name)
	if len(l.tags) > 0 {
		hash ^= maphash.Bytes(r.hash1, l.tags) * 0x9e3779b97f4a7c15
	}
	if len(l.container) > 0 {
		hash ^= maphash.Bytes(r.hash1, l.container) * 0xc2b2ae3d27d4eb4f
	}
	hash += (from.id<<3 | uint64(l.kind)) * 0xff51afd7ed558ccd
	e := r.table.find(hash, l, from)
	if e == nil {
		var why reason
		if e, why = r.fresh(hash, l, from); why != taken {
			r.metrics.n[why] += l.count()
			return
		}
	}
	if l.kind == set {
		r.metrics.n[r.member(e, l.values)]++
		return
	}
	rest := l.values
	for {
		one := rest
		i := -1
		// Values are short: looking for the colon by hand is quicker than a call.
		for j, c := range rest {
			if c == ':' {
				i = j
				one = rest[:j]
				break
			}
		}
		r.metrics.n[r.value(e, l, one)]++
		if i < 0 {
			return
		}
		rest = rest[i+1:]
	}
}

// count is how many values a line holds.
func (l *line) count() int {
	if l.kind == set {
		return 1
	}
	return 1 + bytes.Count(l.values, []byte{':'})
}

// fresh makes the entry of a line that was not seen before.
func (r *reader) fresh(hash uint64, l *line, from *sender) (*entry, reason) {
	if len(r.table.entries) >= r.maxEntries {
		return nil, seriesLimit
	}
	s, why := r.reg.resolve(l, from.tags)
	if why != taken {
		return nil, why
	}
	key := make([]byte, 0, len(l.name)+len(l.tags)+len(l.container))
	key = append(append(append(key, l.name...), l.tags...), l.container...)
	e := r.table.insert(entry{
		hash: hash, key: key, nameLen: uint32(len(l.name)), tagsLen: uint32(len(l.tags)), from: from, kind: l.kind, series: s,
	})
	return e, taken
}

func (r *reader) value(e *entry, l *line, b []byte) reason {
	v, ok := number(b)
	if !ok {
		return badValue
	}
	if l.time != 0 && l.kind != histo {
		return r.timedValue(e, l, v)
	}
	switch l.kind {
	case counter:
		if v < 0 {
			return badValue // a counter only grows; what also falls is a gauge
		}
		if l.rate != 1 {
			v /= l.rate
		}
		e.value += v
	case gauge:
		if r.deltas && (b[0] == '+' || b[0] == '-') {
			e.value += v
		} else {
			e.value, e.stamp = v, r.now
		}
	case histo:
		if e.hist == nil {
			e.hist = newHist()
		}
		e.hist.observe(v, l.rate)
	case set:
	}
	r.touch(e)
	return taken
}

func (r *reader) touch(e *entry) {
	if !e.dirty {
		e.dirty = true
		r.dirty = append(r.dirty, r.table.index(e))
	}
}

func (r *reader) member(e *entry, b []byte) reason {
	if len(b) == 0 {
		return badValue
	}
	if e.members == nil {
		e.members = map[uint64]struct{}{}
	}
	h := maphash.Bytes(r.hash1, b)
	if _, ok := e.members[h]; !ok {
		if len(e.members) >= r.maxMembers {
			return setLimit
		}
		e.members[h] = struct{}{}
	}
	r.touch(e)
	return taken
}

const (
	timedPast   = 24 * 3600 // how far a timestamp may lie behind the clock, seconds
	timedFuture = 600       // and ahead of it
)

func (r *reader) timedValue(e *entry, l *line, v float64) reason {
	now := r.now / 1e9
	if l.time < now-timedPast || l.time > now+timedFuture {
		return badTime
	}
	if len(r.timed) >= r.maxTimed {
		return timedLimit
	}
	if l.kind == counter {
		if v < 0 {
			return badValue
		}
		v /= l.rate
	}
	r.timed = append(r.timed, timedValue{e.series, l.time * 1000, v})
	return taken
}

// forget removes the entries of dead series, and with them every index that was kept. The reader is locked.
func (r *reader) forget() {
	r.table.forget()
	r.dirty = r.dirty[:0]
	for i := range r.table.entries {
		if r.table.entries[i].dirty {
			r.dirty = append(r.dirty, uint32(i))
		}
	}
}
