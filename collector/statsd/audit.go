package statsd

import (
	"bytes"
	"errors"
	"strconv"

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
}

// AuditSink takes audit increments.
type AuditSink interface {
	// Add counts an increment; it keeps nothing but its strings.
	Add(inc Increment) error
	// Drops says that n audit lines are known to be lost.
	Drops(n uint64)
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
	inc, why := r.parseAudit(l, b)
	if why == taken && r.audit == nil {
		why = unsupported
	}
	if why != taken {
		r.audits.n[why]++
		r.auditLost++
		return
	}
	if inc.Service == "" {
		inc.Service = from.tags.Service
	}
	t := from.tags
	if t.Container == "" && len(l.container) > 0 {
		c := r.reg.origins.ByContainerField(string(l.container))
		t.Container = c.Container
		if inc.Service == "" {
			inc.Service = c.Service
		}
	}
	inc.Node = t.Node
	switch {
	case t.Container != "":
		inc.Instance = t.Node + "/" + t.Container
	case r.pid != 0:
		inc.Instance = t.Node + "/" + strconv.Itoa(int(r.pid))
	default:
		inc.Instance = t.Node + "/" + r.door.name
	}
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

// parseAudit reads weir.audit.<dir>:N|c|#p:…,st:…[,dst:…][,g:…][,ew:…][,fs:…,fx:…][,reason:…][,mt:…][,by:…][,svc:…].
// Tags of other names are passed over: clients add their own to everything.
func (r *reader) parseAudit(l *line, b []byte) (inc Increment, why reason) {
	if why := l.parse(b); why != taken {
		return inc, why
	}
	if l.kind != counter {
		return inc, badType
	}
	if l.rate != 1 {
		return inc, badRate // a sampled count proves nothing
	}
	n, ok := digits(l.values)
	if !ok {
		return inc, badValue
	}
	k := &inc.Key
	k.Dir = cell.Dir(r.names.string(l.name[len(auditPrefix):]))
	switch k.Dir {
	case cell.In, cell.Out, cell.Filtered, cell.Dropped, cell.DLQ, cell.Failed, cell.Retried, cell.Covers:
	default:
		return inc, badAudit
	}
	inc.Lossy = true
	inc.Counts.N = uint64(n)
	prints := 0
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
	return inc, taken
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
