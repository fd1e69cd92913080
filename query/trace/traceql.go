package trace

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/store"
)

// ParseTraceQL reads the part of TraceQL that a search here can answer: one selector of conditions
// joined by &&, all of which one span must meet:
//
//	{ resource.service.name = "x" && name = "y" && status = error && duration > 100ms && .attr = "v" }
//
// Everything else is refused with store.ErrInvalid and a sentence that says what is supported.
func ParseTraceQL(q string) (store.SpanQuery, error) {
	p := qlParser{src: q}
	var out store.SpanQuery
	if err := p.selector(&out); err != nil {
		return store.SpanQuery{}, fmt.Errorf("%w: cannot read TraceQL at character %d of %q: %w", store.ErrInvalid, p.pos+1, q, err)
	}
	return out, nil
}

// maxConditions and maxQuery bound a query.
const (
	maxConditions = 32
	maxQuery      = 8192
)

type qlParser struct {
	src string
	pos int
}

func (p *qlParser) space() {
	for p.pos < len(p.src) && strings.IndexByte(" \t\r\n", p.src[p.pos]) >= 0 {
		p.pos++
	}
}

func (p *qlParser) take(s string) bool {
	p.space()
	if strings.HasPrefix(p.src[p.pos:], s) {
		p.pos += len(s)
		return true
	}
	return false
}

func (p *qlParser) selector(q *store.SpanQuery) error {
	if len(p.src) > maxQuery {
		return fmt.Errorf("it is longer than %d characters", maxQuery)
	}
	if !p.take("{") {
		return fmt.Errorf(`expected "{": only one selector such as { name = "x" } is supported`)
	}
	if !p.take("}") {
		for n := 0; ; n++ {
			if n == maxConditions {
				return fmt.Errorf("more than %d conditions", maxConditions)
			}
			if err := p.condition(q); err != nil {
				return err
			}
			if p.take("}") {
				break
			}
			if !p.take("&&") {
				return fmt.Errorf(`expected "&&" or "}": conditions can only be joined by &&`)
			}
		}
	}
	p.space()
	if p.pos < len(p.src) {
		return fmt.Errorf("%q behind the selector is not supported: use one selector, without pipes, structure or metrics", clipText(p.src[p.pos:], 40))
	}
	return nil
}

func clipText(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}

// nameByte tells what a name of a field is made of.
func nameByte(c byte) bool {
	return c == '.' || c == '_' || c == '-' || c == '/' || c == ':' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

func (p *qlParser) field() (string, error) {
	p.space()
	begin := p.pos
	for p.pos < len(p.src) && nameByte(p.src[p.pos]) {
		p.pos++
	}
	name := p.src[begin:p.pos]
	// An attribute with other characters is quoted: span."my attr".
	if strings.HasSuffix(name, ".") && p.pos < len(p.src) && p.src[p.pos] == '"' {
		s, err := p.quoted()
		return name + s, err
	}
	if name == "" {
		return "", fmt.Errorf("expected a field such as name, status, duration, resource.service.name or .attribute")
	}
	return name, nil
}

func (p *qlParser) quoted() (string, error) {
	begin := p.pos
	quote := p.src[p.pos]
	for p.pos++; p.pos < len(p.src); p.pos++ {
		switch p.src[p.pos] {
		case '\\':
			if quote == '"' {
				p.pos++
			}
		case quote:
			p.pos++
			s, err := strconv.Unquote(p.src[begin:p.pos])
			if err != nil {
				return "", fmt.Errorf("cannot read the text %s", p.src[begin:p.pos])
			}
			return s, nil
		}
	}
	p.pos = begin
	return "", fmt.Errorf("the text has no closing quote")
}

func (p *qlParser) operator() (string, error) {
	for _, op := range []string{"!=", "=~", "!~", ">=", "<=", "=", ">", "<"} {
		if p.take(op) {
			return op, nil
		}
	}
	return "", fmt.Errorf("expected =, >, >=, < or <=")
}

func (p *qlParser) value() (text string, isText bool, err error) {
	p.space()
	if p.pos < len(p.src) && (p.src[p.pos] == '"' || p.src[p.pos] == '`') {
		text, err = p.quoted()
		return text, true, err
	}
	begin := p.pos
	for p.pos < len(p.src) && (nameByte(p.src[p.pos]) || p.src[p.pos] == '+') {
		p.pos++
	}
	if begin == p.pos {
		return "", false, fmt.Errorf("expected a value")
	}
	return p.src[begin:p.pos], false, nil
}

func (p *qlParser) condition(q *store.SpanQuery) error {
	field, err := p.field()
	if err != nil {
		return err
	}
	op, err := p.operator()
	if err != nil {
		return err
	}
	v, isText, err := p.value()
	if err != nil {
		return err
	}
	switch field {
	case "duration", "span:duration":
		return duration(q, op, v)
	case "status", "span:status":
		return status(q, op, v)
	}
	isName := field == "name" || field == "span:name"
	key, ok := attribute(field)
	if !ok && !isName {
		return fmt.Errorf("%s is not supported: use name, status, duration, resource.…, span.… or .…", field)
	}
	if op != "=" {
		return fmt.Errorf("%s %s is not supported: texts can only be compared by =", field, op)
	}
	if isName {
		return set(&q.Name, field, v)
	}
	if !isText && v == "nil" {
		return fmt.Errorf("comparing %s with nil is not supported", field)
	}
	if key == "service.name" {
		return set(&q.Service, field, v)
	}
	return setAttr(q, key, v)
}

// attribute takes the scope off the name of an attribute.
func attribute(field string) (string, bool) {
	for _, scope := range []string{"resource.", "span.", "."} {
		if key, ok := strings.CutPrefix(field, scope); ok && key != "" {
			return key, true
		}
	}
	return "", false
}

// set sets a condition that can hold only once.
func set(dst *string, field, v string) error {
	if v == "" {
		return fmt.Errorf("%s = %q is not supported: name a value", field, v)
	}
	if *dst != "" && *dst != v {
		return fmt.Errorf("%s cannot be %q and %q at once", field, *dst, v)
	}
	*dst = v
	return nil
}

// setAttr sets a condition on an attribute; the fields that weir keeps apart have their own names.
func setAttr(q *store.SpanQuery, key, v string) error {
	switch key {
	case "host.name":
		key = "node"
	case "container.id":
		key = "container"
	}
	if old, ok := q.Attrs[key]; ok && old != v {
		return fmt.Errorf("%s cannot be %q and %q at once", key, old, v)
	}
	if q.Attrs == nil {
		q.Attrs = map[string]string{}
	}
	q.Attrs[key] = v
	return nil
}

func status(q *store.SpanQuery, op, v string) error {
	if op != "=" {
		return fmt.Errorf("status %s is not supported: use status = error or status = ok", op)
	}
	var s store.SpanStatus
	switch v {
	case "error":
		s = store.StatusError
	case "ok":
		s = store.StatusOK
	default:
		return fmt.Errorf("status = %s is not supported: use error or ok", v)
	}
	if q.Status != store.StatusUnset && q.Status != s {
		return fmt.Errorf("status cannot be ok and error at once")
	}
	q.Status = s
	return nil
}

// duration narrows the range; the store's bounds are inclusive.
func duration(q *store.SpanQuery, op, v string) error {
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 {
		return fmt.Errorf("cannot read the duration %q: write it as 100ms or 1.5s", v)
	}
	lo, hi := time.Duration(0), time.Duration(0)
	switch op {
	case ">":
		lo = d + 1
	case ">=":
		lo = d
	case "<":
		hi = d - 1
	case "<=":
		hi = d
	case "=":
		lo, hi = d, d
	default:
		return fmt.Errorf("duration %s is not supported: use =, >, >=, < or <=", op)
	}
	if op != ">" && op != ">=" && hi <= 0 {
		return fmt.Errorf("duration %s %s is not supported: the bound is too small", op, v)
	}
	q.MinDuration = max(q.MinDuration, lo)
	if hi > 0 && (q.MaxDuration == 0 || hi < q.MaxDuration) {
		q.MaxDuration = hi
	}
	if q.MaxDuration > 0 && q.MaxDuration < q.MinDuration {
		return fmt.Errorf("no duration is both at least %s and at most %s", q.MinDuration, q.MaxDuration)
	}
	return nil
}

// ParseTags reads Tempo's tags parameter: logfmt, service.name=x name="a b" http.status_code=500 error=true.
func ParseTags(tags string) (store.SpanQuery, error) {
	p := qlParser{src: tags}
	var q store.SpanQuery
	if len(tags) > maxQuery {
		return q, fmt.Errorf("%w: tags are longer than %d characters", store.ErrInvalid, maxQuery)
	}
	for n := 0; ; n++ {
		p.space()
		if p.pos == len(p.src) {
			return q, nil
		}
		err := p.pair(&q)
		if err == nil && n == maxConditions {
			err = fmt.Errorf("more than %d tags", maxConditions)
		}
		if err != nil {
			return store.SpanQuery{}, fmt.Errorf("%w: cannot read tags at character %d of %q: %w", store.ErrInvalid, p.pos+1, tags, err)
		}
	}
}

func (p *qlParser) pair(q *store.SpanQuery) error {
	end := strings.IndexAny(p.src[p.pos:], "= \t\"")
	if end <= 0 || p.src[p.pos+end] != '=' {
		return fmt.Errorf("expected key=value")
	}
	key := p.src[p.pos : p.pos+end]
	p.pos += end + 1
	var v string
	if p.pos < len(p.src) && p.src[p.pos] == '"' {
		var err error
		if v, err = p.quoted(); err != nil {
			return err
		}
	} else {
		end := strings.IndexAny(p.src[p.pos:], " \t")
		if end < 0 {
			end = len(p.src) - p.pos
		}
		v = p.src[p.pos : p.pos+end]
		p.pos += end
	}
	switch key {
	case "service.name", "service":
		return set(&q.Service, key, v)
	case "name":
		return set(&q.Name, key, v)
	case "status":
		return status(q, "=", v)
	case "error":
		if v == "true" {
			return status(q, "=", "error")
		}
	}
	return setAttr(q, key, v)
}
