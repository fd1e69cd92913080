package statsd

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/weirhq/weir/internal/cell"
)

// auditPrefix begins the names that are audit counts and never series.
const auditPrefix = "weir.audit."

// Increment is what an audit line says; an alias of a struct without a name, as in collector/audit.
type Increment = struct {
	Key                     cell.Key
	Instance, Service, Node string
	Counts                  cell.Counts
	Lossy                   bool
	IDs                     *cell.IDs
	Latency                 *cell.Sketch
	Values                  []float64
	Weight                  uint64
}

// Life is what a sender says about its own run; an alias, as Increment.
type Life = struct {
	Pipeline, Stage         string
	Instance, Service, Node string
	ID                      string
	Most                    uint64
	Every                   time.Duration
	Raise                   bool
	End                     bool
}

// AuditSink takes audit increments.
type AuditSink interface {
	// Add counts an increment; it keeps nothing but its strings.
	Add(inc Increment) error
	// Drops says that n audit lines are known to be lost.
	Drops(n uint64)
	// Carried says how many records the counts of one datagram stood for.
	Carried(n uint64)
	// Lost says that a sender gave up the counts of n records of the event window that holds a time, Unix seconds; 0 = not known.
	Lost(at int64, n uint64)
	// Told takes what a sender says about its own run.
	Told(t Life) error
}

// clientTelemetry begins the names of what DogStatsD clients say about themselves.
const clientTelemetry = "datadog.dogstatsd.client."

// clientLoss tells how many datagrams or metrics a client says it dropped. The totals are taken, not their parts.
func clientLoss(l *line) uint64 {
	if l.kind != counter {
		return 0
	}
	switch string(l.name[len(clientTelemetry):]) {
	case "packets_dropped", "metric_dropped_on_receive":
	default:
		return 0
	}
	v, ok := number(l.values)
	if !ok || v <= 0 || v > 1e15 {
		return 0
	}
	return uint64(math.Ceil(v / l.rate))
}

// timestampError is an error of Add that says the event time was bad; any other is counted as the limit on cells.
type timestampError interface{ BadTimestamp() bool }

// interner keeps the few names that audit lines repeat. It is bounded: when full, it begins again.
type interner map[string]string

const maxInterned = 4096

func (m interner) string(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if s, ok := m[string(b)]; ok {
		return s
	}
	if len(m) >= maxInterned {
		clear(m)
	}
	s := string(b)
	m[s] = s
	return s
}

func (r *reader) auditLine(l *line, b []byte, from *sender) {
	r.seen = true
	if !from.audits.Load() {
		from.audits.Store(true)
	}
	if named(b, auditPrefix+runName) {
		r.life(l, b, from)
		return
	}
	inc, why := r.parseAudit(l, b)
	if why == taken && r.audit == nil {
		why = unsupported
	}
	if why != taken {
		r.audits.n[why]++
		if !bytes.HasPrefix(b, []byte(auditPrefix+latencyName)) { // a latency is no count: without it nothing is wrong but less known
			r.auditLost++
		}
		return
	}
	if inc.Key.Dir == lostName {
		r.audits.n[taken]++
		r.audit.Lost(inc.Key.Window, inc.Counts.N)
		return
	}
	r.carries += inc.Counts.N
	r.place(l, from, &inc.Node, &inc.Instance, &inc.Service)
	if err := r.audit.Add(inc); err != nil {
		// The sink counts what it refuses among its own drops.
		why = auditLimit
		var bad timestampError
		if errors.As(err, &bad) && bad.BadTimestamp() {
			why = auditTime
		}
	}
	r.audits.n[why]++
}

// place says which node and instance a line comes from, and of which service where it does not say so itself.
func (r *reader) place(l *line, from *sender, node, instance, service *string) {
	t := from.tags
	if *service == "" {
		*service = t.Service
	}
	if t.Container == "" && len(l.container) > 0 {
		c := r.reg.origins.ByContainerField(string(l.container))
		t.Container = c.Container
		if *service == "" {
			*service = c.Service
		}
	}
	*node = t.Node
	switch {
	case t.Container != "":
		*instance = t.Node + "/" + t.Container
	case r.pid != 0:
		*instance = t.Node + "/" + strconv.Itoa(int(r.pid))
	default:
		*instance = t.Node + "/" + r.door.name
	}
}

// Names below weir.audit. that are no direction.
const (
	latencyName = "latency" // a distribution: milliseconds from the origin stamp to here
	runName     = "run"     // a sender lives, and holds no more than so many records untold
	lostName    = "lost"    // counts of so many records were given up by their sender
)

// parseAudit reads weir.audit.<dir>:N|c|#p:…,st:…[,dst:…][,g:…][,ew:…][,fs:…,fx:…][,ids:…][,im:…][,reason:…][,mt:…][,by:…][,svc:…],
// weir.audit.lost:N|c|#p:…,st:…[,ew:…] and weir.audit.latency:MS[:MS…]|d[|@RATE]|#p:…,st:…[,dst:…][,g:…][,ew:…][,dir:out].
// Tags of other names are passed over: clients add their own to everything.
func (r *reader) parseAudit(l *line, b []byte) (inc Increment, why reason) {
	if why := l.parse(b); why != taken {
		return inc, why
	}
	inc.Lossy = true
	k := &inc.Key
	k.Dir = cell.Dir(r.names.string(l.name[len(auditPrefix):]))
	latency := k.Dir == latencyName
	switch k.Dir {
	case cell.In, cell.Out, cell.Filtered, cell.Dropped, cell.DLQ, cell.Failed, cell.Retried, cell.Covers, lostName:
		n, why := auditCount(l)
		if why != taken {
			return inc, why
		}
		inc.Counts.N = n
	case latencyName:
		if why := r.latencies(l, &inc); why != taken {
			return inc, why
		}
		k.Dir = cell.In
	default:
		return inc, badAudit
	}
	prints := 0
	var ids []byte
	sampled, m := false, int64(cell.MinM)
	for tags := l.tags; len(tags) > 0; {
		var tag []byte
		tag, tags, _ = bytes.Cut(tags, []byte{','})
		name, v, _ := bytes.Cut(tag, []byte{':'})
		ok := true
		switch string(name) {
		case "p":
			k.Pipeline = r.names.string(v)
		case "st":
			k.Stage = r.names.string(v)
		case "dst":
			k.Destination = r.names.string(v)
		case "g":
			k.Group = r.names.string(v)
		case "reason":
			k.Reason = r.names.string(v)
		case "svc":
			inc.Service = r.names.string(v)
		case "dir":
			if latency {
				k.Dir = cell.Dir(r.names.string(v))
				ok = k.Dir == cell.In || k.Dir == cell.Out
			}
		case "ew":
			k.Window, ok = digits(v)
			ok = ok && k.Window > 0
		case "mt":
			inc.Counts.MaxTS, ok = digits(v)
		case "by":
			var bytes int64
			bytes, ok = digits(v)
			inc.Counts.Bytes = uint64(bytes)
		case "fs":
			inc.Counts.FpSum, ok = hex16(v)
			prints |= 1
		case "fx":
			inc.Counts.FpXor, ok = hex16(v)
			prints |= 2
		case "ids":
			ids, sampled = v, true
		case "im":
			var good bool
			if m, good = digits(v); !good {
				m = 0 // told below, where the sample is read
			}
		}
		if !ok {
			return inc, badAudit
		}
	}
	switch prints {
	case 0:
	case 3:
		inc.Counts.Hashed = inc.Counts.N
	default:
		return inc, badAudit // a sum without its xor compares with nothing
	}
	if k.Pipeline == "" || k.Stage == "" || k.Group != "" && k.Dir != cell.In || k.Reason != "" && k.Dir != cell.Dropped {
		return inc, badAudit
	}
	if sampled && !latency {
		if err := r.ids.ParseTag(ids, uint64(m), inc.Counts.N); err != nil {
			r.badIDs++ // the count stands; its cell has no whole sample
			r.badID = err
		} else {
			inc.IDs = &r.ids
		}
	}
	return inc, taken
}

func auditCount(l *line) (uint64, reason) {
	if l.kind != counter {
		return 0, badType
	}
	if l.rate != 1 {
		return 0, badRate // a sampled count proves nothing
	}
	n, ok := digits(l.values)
	if !ok {
		return 0, badValue
	}
	return uint64(n), taken
}

// latencies reads the values of a latency line; those that make no sense are counted apart, unless none is left.
func (r *reader) latencies(l *line, inc *Increment) reason {
	if l.kind != histo {
		return badType
	}
	r.values = r.values[:0]
	bad := 0
	for rest := l.values; ; {
		one, more, found := bytes.Cut(rest, []byte{':'})
		v, ok := number(one)
		if ok && math.Abs(v) <= cell.MaxLatency {
			r.values = append(r.values, v)
		} else {
			bad++
		}
		if !found {
			break
		}
		rest = more
	}
	r.badLatency += bad
	if len(r.values) == 0 {
		return badValue
	}
	inc.Values, inc.Weight = r.values, uint64(math.Round(1/l.rate))
	return taken
}

// hex16 reads exactly sixteen hexadecimal digits.
func hex16(b []byte) (uint64, bool) {
	if len(b) != 16 {
		return 0, false
	}
	var v uint64
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		v = v<<4 | uint64(c)
	}
	return v, true
}
