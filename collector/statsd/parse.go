package statsd

import (
	"bytes"
	"math"
	"strconv"
	"unsafe"
)

// kind is what a line measures. Timings, histograms and distributions are one kind: they are kept alike.
type kind uint8

const (
	counter kind = iota + 1
	gauge
	histo
	set
)

// reason says why something was dropped; 0 is not dropped.
type reason uint8

const (
	taken reason = iota
	badLine
	badValue
	badType
	badRate
	badTime
	badLabels
	badAudit
	unsupported
	truncated
	seriesLimit
	typeConflict
	setLimit
	timedLimit
	auditTime
	auditLimit
	reasons
)

func (r reason) String() string {
	return [reasons]string{
		"", "bad_line", "bad_value", "bad_type", "bad_rate", "bad_timestamp", "bad_labels", "bad_audit", "unsupported", "truncated",
		"series_limit", "type_conflict", "set_limit", "timed_limit", "bad_ts", "cell_limit",
	}[r]
}

// line is one line of DogStatsD 1.3, as slices of the datagram:
// name:value[:value…]|type[|@rate][|#tags][|c:container][|e:external data][|Ttime].
type line struct {
	name, values, tags, container []byte
	kind                          kind
	timing                        bool // type ms
	rate                          float64
	time                          int64 // Unix seconds; 0 = none
}

// parse takes b apart without allocating. Values are not looked at: a packed line may hold good and bad ones.
func (l *line) parse(b []byte) reason {
	if b[0] == '_' && (bytes.HasPrefix(b, []byte("_e{")) || bytes.HasPrefix(b, []byte("_sc|"))) {
		return unsupported
	}
	i := bytes.IndexByte(b, ':')
	if i <= 0 {
		return badLine
	}
	l.name = b[:i]
	b = b[i+1:]
	i = bytes.IndexByte(b, '|')
	if i <= 0 {
		return badLine
	}
	l.values = b[:i]
	b = b[i+1:]
	if len(b) == 0 {
		return badType
	}
	l.timing = false
	switch b[0] {
	case 'c':
		l.kind = counter
	case 'g':
		l.kind = gauge
	case 'h', 'd':
		l.kind = histo
	case 's':
		l.kind = set
	case 'm':
		if len(b) < 2 || b[1] != 's' {
			return badType
		}
		l.kind, l.timing = histo, true
		b = b[1:]
	default:
		return badType
	}
	b = b[1:]
	l.tags, l.container, l.rate, l.time = nil, nil, 1, 0
	if len(b) == 0 {
		return taken
	}
	if b[0] != '|' {
		return badType
	}
	return l.fields(b[1:])
}

// fields reads what follows the type. Fields nobody knows are passed over, as the protocol asks.
func (l *line) fields(b []byte) reason {
	for {
		f := b
		i := bytes.IndexByte(b, '|')
		if i >= 0 {
			f = b[:i]
		}
		if len(f) > 0 {
			switch f[0] {
			case '#':
				l.tags = f[1:]
			case '@':
				r, ok := number(f[1:])
				if !ok || r < minRate || r > 1 {
					return badRate
				}
				l.rate = r
			case 'c':
				if len(f) > 2 && f[1] == ':' {
					l.container = f[2:]
				}
			case 'T':
				t, ok := digits(f[1:])
				if !ok || t <= 0 {
					return badTime
				}
				l.time = t
			}
		}
		if i < 0 {
			return taken
		}
		b = b[i+1:]
	}
}

// minRate keeps 1/rate a number that can be counted.
const minRate = 1e-9

// digits reads a whole number of at most 18 digits.
func digits(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c -= '0'; c > 9 {
			return 0, false
		}
		n = n*10 + int64(c)
	}
	return n, true
}

// pow10 are the powers of ten that a float64 holds exactly; with a mantissa below 2^53 the division by one is exact too.
var pow10 = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// number reads a finite decimal number.
func number(b []byte) (float64, bool) {
	s := b
	neg := false
	if len(s) > 0 && (s[0] == '-' || s[0] == '+') {
		neg = s[0] == '-'
		s = s[1:]
	}
	if len(s) == 0 || len(s) > 16 {
		return slowNumber(b)
	}
	var m uint64
	point := -1
	for i, c := range s {
		d := c - '0'
		if d > 9 {
			if c != '.' || point >= 0 {
				return slowNumber(b)
			}
			point = i
			continue
		}
		m = m*10 + uint64(d)
	}
	v := float64(m)
	if point >= 0 {
		if len(s) == 1 || m >= 1<<53 {
			return slowNumber(b)
		}
		v /= pow10[len(s)-point-1]
	} else if m >= 1<<53 {
		return slowNumber(b)
	}
	if neg {
		v = -v
	}
	return v, true
}

// slowNumber reads what number cannot: exponents and long mantissas. Words and hexadecimal digits are refused.
func slowNumber(b []byte) (float64, bool) {
	if len(b) == 0 || len(b) > 400 {
		return 0, false
	}
	for _, c := range b {
		if (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return 0, false
		}
	}
	v, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(b), len(b)), 64)
	if err != nil || math.IsInf(v, 0) {
		return 0, false
	}
	return v, true
}
