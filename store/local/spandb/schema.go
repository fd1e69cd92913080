package spandb

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/weirhq/weir/store"
)

// row is the schema of spans.parquet; the file is written and read column by column, so the struct
// is never filled. Row groups are slices of time (by the first start of each trace), sorted by
// trace_id and start inside. docs/spans-parquet.md says the same for those who read blocks.
type row struct {
	TraceID        [16]byte          `parquet:"trace_id,dict"`
	SpanID         [8]byte           `parquet:"span_id,plain,uncompressed"`
	ParentSpanID   [8]byte           `parquet:"parent_span_id,plain"` // zeros = root
	StartTime      int64             `parquet:"start_time,timestamp(nanosecond:utc),plain"`
	DurationNanos  int64             `parquet:"duration_nanos,plain"`
	Service        string            `parquet:"service,dict"`
	Name           string            `parquet:"name,dict"`
	Kind           int32             `parquet:"kind,dict"`   // numbered as in OTLP
	Status         int32             `parquet:"status,dict"` // numbered as in OTLP
	StatusMessage  string            `parquet:"status_message,dict"`
	Node           string            `parquet:"node,dict"`
	Container      string            `parquet:"container,dict"`
	Scope          string            `parquet:"scope,dict"`
	TraceState     string            `parquet:"trace_state,dict"`
	Dropped        int64             `parquet:"dropped,dict"`
	Resource       string            `parquet:"resource,dict"`       // JSON object, values as text
	ResourceTypes  string            `parquet:"resource_types,dict"` // a letter per value: s i f b j
	Attributes     map[string]string `parquet:"attributes" parquet-key:",dict" parquet-value:",plain"`
	AttributeTypes string            `parquet:"attribute_types,dict"`
	Events         string            `parquet:"events,plain"` // JSON array of {time,name,attributes,types}
	Links          string            `parquet:"links,plain"`  // JSON array of {trace_id,span_id,attributes,types}
}

// Leaf columns in the order of row.
const (
	colTrace = iota
	colSpan
	colParent
	colStart
	colDuration
	colService
	colName
	colKind
	colStatus
	colStatusMsg
	colNode
	colContainer
	colScope
	colTraceState
	colDropped
	colResource
	colResourceTypes
	colAttrKey
	colAttrValue
	colAttrTypes
	colEvents
	colLinks
	numColumns
)

const typeLetters = "sifbj" // by store.AttrKind

// appendText appends the value of a as text, the form in which attributes are compared and stored.
func appendText(b []byte, a *store.Attr) []byte {
	switch a.Kind {
	case store.AttrInt:
		return strconv.AppendInt(b, int64(a.Num), 10)
	case store.AttrFloat:
		return strconv.AppendFloat(b, math.Float64frombits(a.Num), 'g', -1, 64)
	case store.AttrBool:
		return strconv.AppendBool(b, a.Num != 0)
	case store.AttrString, store.AttrJSON:
	}
	return append(b, a.Str...)
}

// fromText is the inverse of appendText.
func fromText(key, text string, letter byte) (store.Attr, error) {
	a := store.Attr{Key: key}
	var err error
	switch letter {
	case 's':
		a.Str = text
	case 'j':
		a.Kind, a.Str = store.AttrJSON, text
	case 'i':
		var v int64
		a.Kind = store.AttrInt
		v, err = strconv.ParseInt(text, 10, 64)
		a.Num = uint64(v)
	case 'f':
		var v float64
		a.Kind = store.AttrFloat
		v, err = strconv.ParseFloat(text, 64)
		a.Num = math.Float64bits(v)
	case 'b':
		a.Kind = store.AttrBool
		if text == "true" {
			a.Num = 1
		}
	default:
		err = fmt.Errorf("type %q", letter)
	}
	if err != nil {
		return a, fmt.Errorf("%w: attribute %q: %w", errBlock, key, err)
	}
	return a, nil
}

func typesOf(b []byte, as []store.Attr) []byte {
	for i := range as {
		b = append(b, typeLetters[min(int(as[i].Kind), len(typeLetters)-1)])
	}
	return b
}

func appendJSONString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= 0x7f {
			q, err := json.Marshal(s)
			if err != nil { // a string always marshals
				return append(b, '"', '"')
			}
			return append(b, q...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// appendObject writes attributes as a JSON object of texts, in order.
func appendObject(b []byte, as []store.Attr) []byte {
	b = append(b, '{')
	var text [64]byte
	for i := range as {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSONString(b, as[i].Key)
		b = append(b, ':')
		if k := as[i].Kind; k == store.AttrString || k == store.AttrJSON {
			b = appendJSONString(b, as[i].Str)
		} else {
			b = appendJSONString(b, string(appendText(text[:0], &as[i])))
		}
	}
	return append(b, '}')
}

// parseObject reads what appendObject and typesOf wrote.
func parseObject(obj []byte, types string) ([]store.Attr, error) {
	if len(types) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(obj))
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("%w: attributes: %w", errBlock, err)
	}
	out := make([]store.Attr, 0, len(types))
	for i := range len(types) {
		k, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("%w: attributes: %w", errBlock, err)
		}
		v, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("%w: attributes: %w", errBlock, err)
		}
		key, ok1 := k.(string)
		text, ok2 := v.(string)
		if !ok1 || !ok2 {
			return nil, fmt.Errorf("%w: attributes are not an object of texts", errBlock)
		}
		a, err := fromText(key, text, types[i])
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

func appendEvents(b []byte, evs []store.SpanEvent) []byte {
	if len(evs) == 0 {
		return b
	}
	b = append(b, '[')
	for i := range evs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"time":`...)
		b = strconv.AppendInt(b, evs[i].Time, 10)
		b = append(b, `,"name":`...)
		b = appendJSONString(b, evs[i].Name)
		b = appendAttrFields(b, evs[i].Attrs)
	}
	return append(b, ']')
}

func appendLinks(b []byte, ls []store.SpanLink) []byte {
	if len(ls) == 0 {
		return b
	}
	b = append(b, '[')
	for i := range ls {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"trace_id":"`...)
		b = hex.AppendEncode(b, ls[i].Trace[:])
		b = append(b, `","span_id":"`...)
		b = hex.AppendEncode(b, ls[i].Span[:])
		b = append(b, '"')
		b = appendAttrFields(b, ls[i].Attrs)
	}
	return append(b, ']')
}

func appendAttrFields(b []byte, as []store.Attr) []byte {
	if len(as) > 0 {
		b = append(b, `,"attributes":`...)
		b = appendObject(b, as)
		b = append(b, `,"types":"`...)
		b = typesOf(b, as)
		b = append(b, '"')
	}
	return append(b, '}')
}

// eventDoc and linkDoc are what appendEvents and appendLinks write.
type eventDoc struct {
	Time       int64           `json:"time"`
	Name       string          `json:"name"`
	Attributes json.RawMessage `json:"attributes"`
	Types      string          `json:"types"`
}

type linkDoc struct {
	Trace      string          `json:"trace_id"`
	Span       string          `json:"span_id"`
	Attributes json.RawMessage `json:"attributes"`
	Types      string          `json:"types"`
}

func parseEvents(b []byte) ([]store.SpanEvent, error) {
	if len(b) == 0 {
		return nil, nil
	}
	var docs []eventDoc
	if err := json.Unmarshal(b, &docs); err != nil {
		return nil, fmt.Errorf("%w: events: %w", errBlock, err)
	}
	out := make([]store.SpanEvent, len(docs))
	for i, d := range docs {
		as, err := parseObject(d.Attributes, d.Types)
		if err != nil {
			return nil, err
		}
		out[i] = store.SpanEvent{Time: d.Time, Name: d.Name, Attrs: as}
	}
	return out, nil
}

func parseLinks(b []byte) ([]store.SpanLink, error) {
	if len(b) == 0 {
		return nil, nil
	}
	var docs []linkDoc
	if err := json.Unmarshal(b, &docs); err != nil {
		return nil, fmt.Errorf("%w: links: %w", errBlock, err)
	}
	out := make([]store.SpanLink, len(docs))
	for i, d := range docs {
		as, err := parseObject(d.Attributes, d.Types)
		if err != nil {
			return nil, err
		}
		out[i].Attrs = as
		t, err1 := hex.DecodeString(d.Trace)
		s, err2 := hex.DecodeString(d.Span)
		if err1 != nil || err2 != nil || copy(out[i].Trace[:], t) != 16 || copy(out[i].Span[:], s) != 8 {
			return nil, fmt.Errorf("%w: link to %q %q", errBlock, d.Trace, strings.TrimSpace(d.Span))
		}
	}
	return out, nil
}

// objectHas reports whether the JSON object has key with the text value.
func objectHas(obj []byte, key, value string) (bool, error) {
	d := json.NewDecoder(bytes.NewReader(obj))
	if _, err := d.Token(); err != nil {
		return false, fmt.Errorf("%w: resource: %w", errBlock, err)
	}
	for d.More() {
		k, err := d.Token()
		if err != nil {
			return false, fmt.Errorf("%w: resource: %w", errBlock, err)
		}
		v, err := d.Token()
		if err != nil {
			return false, fmt.Errorf("%w: resource: %w", errBlock, err)
		}
		if k == key && v == value {
			return true, nil
		}
	}
	return false, nil
}
