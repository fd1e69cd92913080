package otlp

import (
	"encoding/base64"
	"fmt"
	"math"

	"github.com/weirhq/weir/ingest/pbuf"
	"github.com/weirhq/weir/store"
)

// SpanDecoder decodes ExportTraceServiceRequest bodies without pdata: strings point into the body,
// and the memory of attributes, events and links is reused. Malformed ids cost one span, not the request.
type SpanDecoder struct {
	// Out is the outcome, valid until the next call and while the body is.
	Out Spans

	max    int
	parts  int
	attrs  []store.Attr
	events []store.SpanEvent
	links  []store.SpanLink
}

// Reset forgets the outcome but keeps the memory; references to the body are cleared.
func (d *SpanDecoder) Reset() {
	clear(d.Out.Spans)
	clear(d.attrs)
	clear(d.events)
	clear(d.links)
	d.Out = Spans{Spans: d.Out.Spans[:0]}
	d.attrs, d.events, d.links, d.parts = d.attrs[:0], d.events[:0], d.links[:0], 0
}

// Cap is the number of spans and parts the decoder holds memory for.
func (d *SpanDecoder) Cap() int {
	return cap(d.Out.Spans) + cap(d.attrs) + cap(d.events) + cap(d.links)
}

// Decode takes at most maxSpans spans, and forty attributes, events and links per span on average.
func (d *SpanDecoder) Decode(body []byte, maxSpans int) error {
	d.Reset()
	d.max = maxSpans
	r := pbuf.Of(body)
	for {
		ok, err := r.Next()
		if err != nil {
			return fmt.Errorf("cannot decode traces: byte %d: %w", r.Pos, err)
		}
		if !ok {
			return nil
		}
		if r.Field != 1 {
			continue
		}
		if err := d.resourceSpans(&r); err != nil {
			return fmt.Errorf("cannot decode traces: span %d, resource_spans that end at byte %d: %w", d.Out.Received, r.Pos, err)
		}
	}
}

// each calls f for every field of the message just read by parent.
func each(parent *pbuf.Reader, f func(r *pbuf.Reader) error) error {
	if err := parent.Need(pbuf.WireBytes); err != nil {
		return err
	}
	r := parent.Sub()
	for {
		ok, err := r.Next()
		if err != nil || !ok {
			return err
		}
		if err := f(&r); err != nil {
			return err
		}
	}
}

func (d *SpanDecoder) resourceSpans(parent *pbuf.Reader) error {
	var res resource
	// The resource may follow the spans on the wire.
	if err := each(parent, func(r *pbuf.Reader) error {
		if r.Field != 1 {
			return nil
		}
		return each(r, func(r *pbuf.Reader) error {
			switch r.Field {
			case 1:
				a, err := d.attr(r, 0)
				if err == nil {
					res.take(a)
				}
				return err
			case 2:
				res.dropped = uint32(r.Num)
			}
			return nil
		})
	}); err != nil {
		return fmt.Errorf("resource: %w", err)
	}
	res.done()
	return each(parent, func(r *pbuf.Reader) error {
		if r.Field != 2 {
			return nil
		}
		return d.scopeSpans(r, &res)
	})
}

func (d *SpanDecoder) scopeSpans(parent *pbuf.Reader, res *resource) error {
	scope := ""
	if err := each(parent, func(r *pbuf.Reader) error {
		if r.Field != 1 {
			return nil
		}
		return each(r, func(r *pbuf.Reader) (err error) {
			if r.Field == 1 {
				scope, err = text(r)
			}
			return err
		})
	}); err != nil {
		return fmt.Errorf("scope: %w", err)
	}
	return each(parent, func(r *pbuf.Reader) error {
		if r.Field != 2 {
			return nil
		}
		if d.Out.Received >= d.max {
			return fmt.Errorf("more than %d spans: send smaller requests", d.max)
		}
		d.Out.Received++
		return d.span(r, res, scope)
	})
}

func (d *SpanDecoder) span(parent *pbuf.Reader, res *resource, scope string) error {
	if err := parent.Need(pbuf.WireBytes); err != nil {
		return err
	}
	s := store.Span{
		Service: res.service, Node: res.node, Container: res.container, Resource: res.attrs, Scope: scope, Dropped: res.dropped,
	}
	attrs, events, links := len(d.attrs), len(d.events), len(d.links)
	var start, end uint64
	r := parent.Sub()
	for {
		ok, err := r.Next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		want := pbuf.WireBytes
		switch r.Field {
		case 1:
			id(s.Trace[:], &r)
		case 2:
			id(s.ID[:], &r)
		case 3:
			s.TraceState, err = text(&r)
		case 4:
			id(s.Parent[:], &r)
		case 5:
			s.Name, err = text(&r)
		case 6:
			want, s.Kind = pbuf.WireVarint, spanKind(r.Num)
		case 7:
			want, start = pbuf.WireFixed8, r.Num
		case 8:
			want, end = pbuf.WireFixed8, r.Num
		case 9:
			err = d.keepAttr(&r)
		case 10, 12, 14:
			want = pbuf.WireVarint
			s.Dropped += uint32(r.Num)
		case 11:
			err = d.event(&r, &s)
		case 13:
			err = d.link(&r, &s)
		case 15:
			err = d.status(&r, &s)
		default:
			continue
		}
		if err == nil {
			err = r.Need(want)
		}
		if err != nil {
			return fmt.Errorf("field %d of span: %w", r.Field, err)
		}
	}
	// Attributes of events and links lie in arrays of their own, so the span's are one run.
	s.Attrs = d.attrs[attrs:len(d.attrs):len(d.attrs)]
	s.Events = d.events[events:len(d.events):len(d.events)]
	s.Links = d.links[links:len(d.links):len(d.links)]
	d.Out.add(s, start, end)
	return nil
}

// id copies an id of the right length; any other leaves the id empty, which rejects the span.
func id(dst []byte, r *pbuf.Reader) {
	if r.Wire == pbuf.WireBytes && r.Pos-r.From == len(dst) {
		copy(dst, r.Buf[r.From:r.Pos])
	} else {
		clear(dst)
	}
}

func text(r *pbuf.Reader) (string, error) {
	if err := r.Need(pbuf.WireBytes); err != nil {
		return "", err
	}
	return valid(r.Str()), nil
}

func (d *SpanDecoder) part() error {
	if d.parts++; d.parts > 40*d.max {
		return fmt.Errorf("more than %d attributes, events and links: send smaller requests", 40*d.max)
	}
	return nil
}

func (d *SpanDecoder) keepAttr(r *pbuf.Reader) error {
	a, err := d.attr(r, 0)
	if err != nil {
		return err
	}
	d.attrs = append(d.attrs, a)
	return nil
}

func (d *SpanDecoder) event(parent *pbuf.Reader, s *store.Span) error {
	if err := d.part(); err != nil {
		return err
	}
	var e store.SpanEvent
	err := each(parent, func(r *pbuf.Reader) (err error) {
		switch r.Field {
		case 1:
			e.Time, err = clampTime(r.Num), r.Need(pbuf.WireFixed8)
		case 2:
			e.Name, err = text(r)
		case 3:
			var a store.Attr
			a, err = d.attr(r, 0)
			e.Attrs = append(e.Attrs, a)
		case 4:
			s.Dropped += uint32(r.Num)
		}
		return err
	})
	d.events = append(d.events, e)
	return err
}

func (d *SpanDecoder) link(parent *pbuf.Reader, s *store.Span) error {
	if err := d.part(); err != nil {
		return err
	}
	var l store.SpanLink
	err := each(parent, func(r *pbuf.Reader) (err error) {
		switch r.Field {
		case 1:
			id(l.Trace[:], r)
		case 2:
			id(l.Span[:], r)
		case 4:
			var a store.Attr
			a, err = d.attr(r, 0)
			l.Attrs = append(l.Attrs, a)
		case 5:
			s.Dropped += uint32(r.Num)
		}
		return err
	})
	d.links = append(d.links, l)
	return err
}

func (d *SpanDecoder) status(parent *pbuf.Reader, s *store.Span) error {
	return each(parent, func(r *pbuf.Reader) (err error) {
		switch r.Field {
		case 2:
			s.StatusMsg, err = text(r)
		case 3:
			s.Status, err = spanStatus(r.Num), r.Need(pbuf.WireVarint)
		}
		return err
	})
}

// attr decodes a KeyValue.
func (d *SpanDecoder) attr(parent *pbuf.Reader, depth int) (a store.Attr, err error) {
	if err := d.part(); err != nil {
		return a, err
	}
	if err := parent.Need(pbuf.WireBytes); err != nil {
		return a, err
	}
	a.Kind, a.Str = store.AttrJSON, "null" // until a value comes
	r := parent.Sub()
	for {
		ok, err := r.Next()
		if err != nil || !ok {
			return a, err
		}
		switch r.Field {
		case 1:
			a.Key, err = text(&r)
		case 2:
			err = d.value(&r, &a, depth)
		}
		if err != nil {
			return a, err
		}
	}
}

// value decodes an AnyValue into a.
func (d *SpanDecoder) value(parent *pbuf.Reader, a *store.Attr, depth int) error {
	if err := parent.Need(pbuf.WireBytes); err != nil {
		return err
	}
	r := parent.Sub()
	for {
		ok, err := r.Next()
		if err != nil || !ok {
			return err
		}
		want := pbuf.WireBytes
		switch r.Field {
		case 1:
			a.Kind, a.Num = store.AttrString, 0
			a.Str, err = text(&r)
		case 2:
			want, a.Kind, a.Str, a.Num = pbuf.WireVarint, store.AttrBool, "", min(r.Num, 1)
		case 3:
			want, a.Kind, a.Str, a.Num = pbuf.WireVarint, store.AttrInt, "", r.Num
		case 4:
			want, a.Kind, a.Str, a.Num = pbuf.WireFixed8, store.AttrFloat, "", r.Num
		case 5, 6, 7:
			var b []byte
			b, err = d.composite(nil, &r, depth)
			a.Kind, a.Num, a.Str = store.AttrJSON, 0, string(b)
		default:
			continue
		}
		if err == nil {
			err = r.Need(want)
		}
		if err != nil {
			return err
		}
	}
}

// composite writes the array, map or bytes just read as JSON.
func (d *SpanDecoder) composite(b []byte, r *pbuf.Reader, depth int) ([]byte, error) {
	if err := r.Need(pbuf.WireBytes); err != nil {
		return b, err
	}
	if r.Field == 7 {
		return appendString(b, base64.StdEncoding.EncodeToString(r.Buf[r.From:r.Pos])), nil
	}
	if depth >= maxDepth {
		return append(b, "null"...), nil
	}
	isMap, first := r.Field == 6, true
	open, closing := byte('['), byte(']')
	if isMap {
		open, closing = '{', '}'
	}
	b = append(b, open)
	err := each(r, func(e *pbuf.Reader) (err error) {
		if e.Field != 1 {
			return nil
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		var a store.Attr
		if isMap {
			if a, err = d.attr(e, depth+1); err != nil {
				return err
			}
			b = append(appendString(b, a.Key), ':')
		} else {
			if err := d.part(); err != nil {
				return err
			}
			a.Kind, a.Str = store.AttrJSON, "null"
			if err := d.value(e, &a, depth+1); err != nil {
				return err
			}
		}
		b = appendAttr(b, a)
		return nil
	})
	return append(b, closing), err
}

func appendAttr(b []byte, a store.Attr) []byte {
	switch a.Kind {
	case store.AttrString:
		return appendString(b, a.Str)
	case store.AttrInt:
		return appendInt(b, int64(a.Num))
	case store.AttrFloat:
		return appendFloat(b, math.Float64frombits(a.Num))
	case store.AttrBool:
		return appendBool(b, a.Num != 0)
	case store.AttrJSON:
	}
	return append(b, a.Str...)
}
