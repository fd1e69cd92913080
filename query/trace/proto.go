package trace

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/weirhq/weir/store"
)

// Protobuf by hand: the messages are those of opentelemetry/proto/trace/v1/trace.proto and of
// Tempo's Trace and TraceByIDResponse, and we only ever write them. Numbers are field numbers.

// appendTrace appends a message with ResourceSpans in field 1: Tempo's Trace, OTLP's TracesData.
func appendTrace(b []byte, groups []resourceGroup) []byte {
	for i := range groups {
		b = message(b, 1, func(b []byte) []byte { return appendResourceSpans(b, &groups[i]) })
	}
	return b
}

// appendTraceByID appends a TraceByIDResponse.
func appendTraceByID(b []byte, groups []resourceGroup, partial bool, note string) []byte {
	b = message(b, 1, func(b []byte) []byte { return appendTrace(b, groups) })
	b = message(b, 2, func(b []byte) []byte { return b })
	if partial {
		b = varint(b, 3, 1)
	}
	return str(b, 4, note)
}

// message appends a nested message. Its length goes in front, so room for five bytes is made and the
// rest closed up; a length above 4 GiB cannot occur, answers are bounded.
func message(b []byte, field protowire.Number, f func([]byte) []byte) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	at := len(b)
	b = append(b, 0, 0, 0, 0, 0)
	b = f(b)
	n := len(b) - at - 5
	size := protowire.SizeVarint(uint64(n))
	copy(b[at+size:], b[at+5:])
	protowire.AppendVarint(b[at:at], uint64(n))
	return b[:at+size+n]
}

// varint, fixed64 and str leave out zero values, as proto3 does.
func varint(b []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func fixed64(b []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), v)
}

func str(b []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func raw(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

func appendResourceSpans(b []byte, g *resourceGroup) []byte {
	b = message(b, 1, func(b []byte) []byte { return appendAttrs(b, 1, resourceAttrs(g.of)) })
	for i := range g.scopes {
		sc := &g.scopes[i]
		b = message(b, 2, func(b []byte) []byte {
			b = message(b, 1, func(b []byte) []byte { return str(b, 1, sc.name) })
			for _, s := range sc.spans {
				b = message(b, 2, func(b []byte) []byte { return appendSpan(b, s) })
			}
			return b
		})
	}
	return b
}

func appendSpan(b []byte, s *store.Span) []byte {
	b = raw(b, 1, s.Trace[:])
	b = raw(b, 2, s.ID[:])
	b = str(b, 3, s.TraceState)
	if s.Parent != (store.SpanID{}) {
		b = raw(b, 4, s.Parent[:])
	}
	b = str(b, 5, s.Name)
	b = varint(b, 6, uint64(s.Kind))
	b = fixed64(b, 7, uint64(s.Start))
	b = fixed64(b, 8, uint64(s.Start+s.Duration))
	b = appendAttrs(b, 9, s.Attrs)
	b = varint(b, 10, uint64(s.Dropped))
	for i := range s.Events {
		e := &s.Events[i]
		b = message(b, 11, func(b []byte) []byte {
			return appendAttrs(str(fixed64(b, 1, uint64(e.Time)), 2, e.Name), 3, e.Attrs)
		})
	}
	for i := range s.Links {
		l := &s.Links[i]
		b = message(b, 13, func(b []byte) []byte {
			return appendAttrs(raw(raw(b, 1, l.Trace[:]), 2, l.Span[:]), 4, l.Attrs)
		})
	}
	return message(b, 15, func(b []byte) []byte { return varint(str(b, 2, s.StatusMsg), 3, uint64(s.Status)) })
}

func appendAttrs(b []byte, field protowire.Number, as []store.Attr) []byte {
	for i := range as {
		a := &as[i]
		b = message(b, field, func(b []byte) []byte {
			return message(str(b, 1, a.Key), 2, func(b []byte) []byte { return appendValue(b, a) })
		})
	}
	return b
}

// appendValue appends an AnyValue; its fields are a oneof, so zero values are written.
func appendValue(b []byte, a *store.Attr) []byte {
	switch a.Kind {
	case store.AttrBool:
		return protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), protowire.EncodeBool(a.Num != 0))
	case store.AttrInt:
		return protowire.AppendVarint(protowire.AppendTag(b, 3, protowire.VarintType), a.Num)
	case store.AttrFloat:
		return protowire.AppendFixed64(protowire.AppendTag(b, 4, protowire.Fixed64Type), a.Num)
	case store.AttrString, store.AttrJSON: // JSON text stays text
	}
	return protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), a.Str)
}
