package statsd

import (
	"bytes"
	"time"
)

// named says whether a line bears exactly this name.
func named(b []byte, name string) bool {
	return len(b) > len(name) && b[len(name)] == ':' && string(b[:len(name)]) == name
}

// life takes a line in which a sender says that it lives, or that it stops.
func (r *reader) life(l *line, b []byte, from *sender) {
	t, why := r.parseLife(l, b)
	if why == taken && r.audit == nil {
		why = unsupported
	}
	if why == taken {
		r.place(l, from, &t.Node, &t.Instance, &t.Service)
		if err := r.audit.Told(t); err != nil {
			why = auditLimit
		}
	}
	r.audits.n[why]++
}

// parseLife reads weir.audit.run:MOST|g|#p:…,st:…,run:ID,ev:MS[,svc:…][,raise:1][,end:1].
func (r *reader) parseLife(l *line, b []byte) (t Life, why reason) {
	if why := l.parse(b); why != taken {
		return t, why
	}
	if l.kind != gauge {
		return t, badType
	}
	most, ok := digits(l.values)
	if !ok {
		return t, badValue
	}
	t.Most = uint64(most)
	for tags := l.tags; len(tags) > 0; {
		var tag []byte
		tag, tags, _ = bytes.Cut(tags, []byte{','})
		name, v, _ := bytes.Cut(tag, []byte{':'})
		switch string(name) {
		case "p":
			t.Pipeline = r.names.string(v)
		case "st":
			t.Stage = r.names.string(v)
		case "svc":
			t.Service = r.names.string(v)
		case "run":
			t.ID = r.names.string(v)
		case "ev":
			ms, ok := digits(v)
			if !ok || ms <= 0 || ms > int64(24*time.Hour/time.Millisecond) {
				return t, badAudit
			}
			t.Every = time.Duration(ms) * time.Millisecond
		case "raise":
			t.Raise = true
		case "end":
			t.End = true
		}
	}
	if t.Pipeline == "" || t.Stage == "" || t.ID == "" || t.Every == 0 {
		return t, badAudit
	}
	return t, taken
}
