package trace

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"

	"github.com/weirhq/weir/store"
)

// resourceGroup is the spans of one resource, by scope: the shape of OTLP.
type resourceGroup struct {
	of     *store.Span // any span of the resource
	scopes []scopeGroup
}

type scopeGroup struct {
	name  string
	spans []*store.Span
}

// grouped puts spans of equal resource and scope together, in the order in which they come.
func grouped(spans []store.Span) []resourceGroup {
	var out []resourceGroup
	res, scopes := map[string]int{}, map[string]int{}
	var key []byte
	for i := range spans {
		s := &spans[i]
		key = resourceKey(key[:0], s)
		r, ok := res[string(key)]
		if !ok {
			r = len(out)
			res[string(key)] = r
			out = append(out, resourceGroup{of: s})
		}
		key = append(strconv.AppendInt(key[:0], int64(r), 10), ' ')
		key = append(key, s.Scope...)
		c, ok := scopes[string(key)]
		if !ok {
			c = len(out[r].scopes)
			scopes[string(key)] = c
			out[r].scopes = append(out[r].scopes, scopeGroup{name: s.Scope})
		}
		out[r].scopes[c].spans = append(out[r].scopes[c].spans, s)
	}
	return out
}

func resourceKey(b []byte, s *store.Span) []byte {
	put := func(t string) {
		b = binary.AppendUvarint(b, uint64(len(t)))
		b = append(b, t...)
	}
	put(s.Service)
	put(s.Node)
	put(s.Container)
	for i := range s.Resource {
		a := &s.Resource[i]
		put(a.Key)
		b = append(b, byte(a.Kind))
		b = binary.LittleEndian.AppendUint64(b, a.Num)
		put(a.Str)
	}
	return b
}

// resourceAttrs are the attributes of the resource with those that weir keeps apart put back.
func resourceAttrs(s *store.Span) []store.Attr {
	out := make([]store.Attr, 0, len(s.Resource)+3)
	for _, f := range [...]store.Attr{
		{Key: "service.name", Str: s.Service},
		{Key: "host.name", Str: s.Node},
		{Key: "container.id", Str: s.Container},
	} {
		if f.Str != "" {
			out = append(out, f)
		}
	}
	return append(out, s.Resource...)
}

// The structs below are OTLP's JSON form: ids as hex, 64-bit numbers as text.
type (
	resourceSpans struct {
		Resource   resourceJSON `json:"resource"`
		ScopeSpans []scopeSpans `json:"scopeSpans"`
	}
	resourceJSON struct {
		Attributes []keyValue `json:"attributes"`
	}
	scopeSpans struct {
		Scope scopeName  `json:"scope"`
		Spans []spanJSON `json:"spans"`
	}
	scopeName struct {
		Name string `json:"name,omitempty"`
	}
	keyValue struct {
		Key   string   `json:"key"`
		Value anyValue `json:"value"`
	}
	anyValue struct {
		String *string `json:"stringValue,omitempty"`
		Bool   *bool   `json:"boolValue,omitempty"`
		Int    *string `json:"intValue,omitempty"`
		Double any     `json:"doubleValue,omitempty"` // float64, or NaN and Infinity as text
	}
	spanJSON struct {
		TraceID    string      `json:"traceId"`
		SpanID     string      `json:"spanId"`
		Parent     string      `json:"parentSpanId,omitempty"`
		State      string      `json:"traceState,omitempty"`
		Name       string      `json:"name"`
		Kind       string      `json:"kind"`
		Start      string      `json:"startTimeUnixNano"`
		End        string      `json:"endTimeUnixNano"`
		Attributes []keyValue  `json:"attributes,omitempty"`
		Events     []eventJSON `json:"events,omitempty"`
		Links      []linkJSON  `json:"links,omitempty"`
		Status     statusJSON  `json:"status"`
		Dropped    uint32      `json:"droppedAttributesCount,omitempty"`
	}
	eventJSON struct {
		Time       string     `json:"timeUnixNano"`
		Name       string     `json:"name"`
		Attributes []keyValue `json:"attributes,omitempty"`
	}
	linkJSON struct {
		TraceID    string     `json:"traceId"`
		SpanID     string     `json:"spanId"`
		Attributes []keyValue `json:"attributes,omitempty"`
	}
	statusJSON struct {
		Code    string `json:"code,omitempty"`
		Message string `json:"message,omitempty"`
	}
)

func otlpJSON(groups []resourceGroup) []resourceSpans {
	out := make([]resourceSpans, 0, len(groups))
	for _, g := range groups {
		rs := resourceSpans{Resource: resourceJSON{keyValues(resourceAttrs(g.of))}}
		for _, sc := range g.scopes {
			ss := scopeSpans{Scope: scopeName{sc.name}, Spans: make([]spanJSON, 0, len(sc.spans))}
			for _, s := range sc.spans {
				ss.Spans = append(ss.Spans, toJSON(s))
			}
			rs.ScopeSpans = append(rs.ScopeSpans, ss)
		}
		out = append(out, rs)
	}
	return out
}

func kindEnum(k store.SpanKind) string {
	switch k {
	case store.KindInternal:
		return "SPAN_KIND_INTERNAL"
	case store.KindServer:
		return "SPAN_KIND_SERVER"
	case store.KindClient:
		return "SPAN_KIND_CLIENT"
	case store.KindProducer:
		return "SPAN_KIND_PRODUCER"
	case store.KindConsumer:
		return "SPAN_KIND_CONSUMER"
	case store.KindUnspecified:
	}
	return "SPAN_KIND_UNSPECIFIED"
}

func toJSON(s *store.Span) spanJSON {
	j := spanJSON{
		TraceID: hex.EncodeToString(s.Trace[:]), SpanID: hex.EncodeToString(s.ID[:]), State: s.TraceState, Name: s.Name,
		Kind: kindEnum(s.Kind), Start: strconv.FormatInt(s.Start, 10), End: strconv.FormatInt(s.Start+s.Duration, 10),
		Attributes: keyValues(s.Attrs), Dropped: s.Dropped, Status: statusJSON{Message: s.StatusMsg},
	}
	if s.Parent != (store.SpanID{}) {
		j.Parent = hex.EncodeToString(s.Parent[:])
	}
	switch s.Status {
	case store.StatusOK:
		j.Status.Code = "STATUS_CODE_OK"
	case store.StatusError:
		j.Status.Code = "STATUS_CODE_ERROR"
	case store.StatusUnset:
	}
	for i := range s.Events {
		e := &s.Events[i]
		j.Events = append(j.Events, eventJSON{strconv.FormatInt(e.Time, 10), e.Name, keyValues(e.Attrs)})
	}
	for i := range s.Links {
		l := &s.Links[i]
		j.Links = append(j.Links, linkJSON{hex.EncodeToString(l.Trace[:]), hex.EncodeToString(l.Span[:]), keyValues(l.Attrs)})
	}
	return j
}

func keyValues(as []store.Attr) []keyValue {
	out := make([]keyValue, 0, len(as))
	for i := range as {
		a := &as[i]
		kv := keyValue{Key: a.Key}
		switch a.Kind {
		case store.AttrInt:
			s := strconv.FormatInt(int64(a.Num), 10)
			kv.Value.Int = &s
		case store.AttrFloat:
			kv.Value.Double = doubleJSON(math.Float64frombits(a.Num))
		case store.AttrBool:
			b := a.Num != 0
			kv.Value.Bool = &b
		case store.AttrString, store.AttrJSON: // JSON text stays text
			kv.Value.String = &a.Str
		}
		out = append(out, kv)
	}
	return out
}

func doubleJSON(f float64) any {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return f
}
