package scrape

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/textparse"
)

// observation is one sample of an answer.
type observation struct {
	e     *entry
	v     float64
	t     int64 // Unix ms, when timed
	timed bool  // the target itself gave the time
}

// found is what an answer held. It is reused from scrape to scrape.
type found struct {
	samples   []observation
	exemplars []exemplarAt
}

type exemplarAt struct {
	sample int // index
	x      exemplar.Exemplar
}

func (f *found) reset() {
	clear(f.samples)
	f.samples = f.samples[:0]
	clear(f.exemplars)
	f.exemplars = f.exemplars[:0]
}

// errUnusual sends an answer to the careful parser as a whole.
var errUnusual = errors.New("unusual")

// parse reads a whole answer into out. Lines that came before are recognised by their bytes, and only their values are
// read; new or odd lines go through Prometheus' own parser, and when that cannot do with a line alone, the whole
// answer does. So what is right, and what is an error, is always its word.
func (c *cache) parse(body []byte, om bool, out *found) error {
	c.begin(om)
	err := errUnusual
	// With nothing known, one parser for all is cheaper than one per line. Its lexer has its own view of NUL.
	if len(c.entries) > 0 && bytes.IndexByte(body, 0) < 0 {
		err = c.parseLines(body, out)
	}
	if err == nil {
		return nil
	}
	out.reset()
	c.rewind()
	return c.parseWhole(body, out)
}

// parseLines is the fast reader. Any error means: read the whole answer carefully.
func (c *cache) parseLines(b []byte, out *found) error {
	for len(b) > 0 {
		if e := c.prev.next; e != nil && len(b) > len(e.key) && string(b[:len(e.key)]) == e.key && !e.dead {
			if rest, ok := c.recognise(e, b[len(e.key):], out); ok {
				b = rest
				continue
			}
		}
		end := bytes.IndexByte(b, '\n')
		line, rest := b, b[len(b):]
		if end >= 0 {
			line, rest = b[:end], b[end+1:]
		}
		if c.om && string(line) == "# EOF" {
			if len(rest) > 0 {
				return errUnusual
			}
			return nil
		}
		if err := c.parseLine(line, out); err != nil {
			return err
		}
		b = rest
	}
	if c.om {
		return errUnusual // no # EOF
	}
	return nil
}

// recognise takes a line whose beginning is e's. rest is what follows the beginning, tail what follows the line.
func (c *cache) recognise(e *entry, rest []byte, out *found) (tail []byte, ok bool) {
	if e.kind == kindComment {
		if rest[0] != '\n' {
			return nil, false
		}
		c.applyComment(e)
		c.follow(e)
		return rest[1:], true
	}
	if rest[0] != ' ' || e.typ != c.typ || e.family != c.fam {
		return nil, false
	}
	o := observation{e: e}
	v, n := parseNumber(rest[1:])
	rest = rest[1+n:]
	if n == 0 || len(rest) == 0 {
		return nil, false
	}
	o.v = v
	if rest[0] == ' ' && !c.om {
		t, n := parseMillis(rest[1:])
		if n == 0 || len(rest) == 1+n {
			return nil, false
		}
		o.t, o.timed = t, true
		rest = rest[1+n:]
	}
	if rest[0] != '\n' {
		return nil, false
	}
	c.follow(e)
	c.keep(e, o, out)
	return rest[1:], true
}

func (c *cache) keep(e *entry, o observation, out *found) {
	if e.kind == kindCreated {
		e.start.ms = int64(o.v * 1000)
		return
	}
	out.samples = append(out.samples, o)
}

func (c *cache) applyComment(e *entry) {
	if e.family != nil {
		c.fam = e.family
	}
	if e.typ != 0 {
		c.typ = e.typ
	}
}

// parseLine reads one line that was not expected here.
func (c *cache) parseLine(line []byte, out *found) error {
	if len(line) > 0 && line[0] != '#' {
		if e := c.entries[string(seriesPart(line))]; e != nil {
			// A known line in a new place; the newline it may lack is only wanted to end the number.
			c.scratch = append(append(c.scratch[:0], line...), '\n')
			if _, ok := c.recognise(e, c.scratch[len(e.key):], out); ok {
				return nil
			}
		}
	}
	c.scratch = append(append(c.context(c.scratch[:0]), line...), '\n')
	if c.om {
		c.scratch = append(c.scratch, "# EOF\n"...)
	}
	p := c.parser(c.scratch)
	if c.typ != 0 {
		if _, err := p.Next(); err != nil {
			return errUnusual
		}
	}
	kind, err := p.Next()
	switch {
	case errors.Is(err, io.EOF) && !c.om && len(bytes.Trim(line, " \t")) == 0:
		return nil // an empty line
	case err != nil:
		return errUnusual
	}
	if err := c.take(p, kind, line, out); err != nil {
		return err
	}
	if _, err := p.Next(); !errors.Is(err, io.EOF) {
		return errUnusual
	}
	return nil
}

// seriesPart returns the bytes before the value, as Prometheus' parser would cut them, or less when the line is odd.
func seriesPart(line []byte) []byte {
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case ' ', '\t':
			return line[:i]
		case '{':
			quoted := false
			for i++; i < len(line); i++ {
				switch {
				case line[i] == '\\' && quoted:
					i++
				case line[i] == '"':
					quoted = !quoted
				case line[i] == '}' && !quoted:
					return line[:i+1]
				}
			}
			return nil
		}
	}
	return nil
}

func (c *cache) parser(b []byte) textparse.Parser {
	st := labels.NewSymbolTable()
	if c.om {
		return textparse.NewOpenMetricsParser(b, st)
	}
	return textparse.NewPromParser(b, st, false)
}

// parseWhole reads an answer with Prometheus' parser and remembers the lines it can.
func (c *cache) parseWhole(body []byte, out *found) error {
	p := c.parser(bytes.Clone(body)) // it appends to what it is given
	for n := 1; ; n++ {
		kind, err := p.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot parse entry %d: %w", n, err)
		}
		if err := c.take(p, kind, nil, out); err != nil {
			return err
		}
	}
}

// take handles one entry of the careful parser. line is the whole line when it is known to be one.
func (c *cache) take(p textparse.Parser, kind textparse.Entry, line []byte, out *found) error {
	switch kind {
	case textparse.EntrySeries:
		c.takeSeries(p, out)
	case textparse.EntryType:
		name, typ := p.Type()
		c.describe(string(name), func(m *metadata.Metadata) { m.Type = typ })
		c.typ = typeOf(typ)
		c.remember(line, c.fam, c.typ)
	case textparse.EntryHelp:
		name, help := p.Help()
		c.describe(string(name), func(m *metadata.Metadata) { m.Help = string(help) })
		c.remember(line, c.fam, 0)
	case textparse.EntryUnit:
		name, unit := p.Unit()
		c.describe(string(name), func(m *metadata.Metadata) { m.Unit = string(unit) })
		c.remember(line, c.fam, 0)
	case textparse.EntryComment:
		c.remember(line, nil, 0)
	default:
		return errUnusual
	}
	return nil
}

// remember keeps a comment line, so that it is passed over while it stays the same.
func (c *cache) remember(line []byte, f *family, typ metricType) {
	if line == nil {
		return
	}
	e := c.slab.entry(line)
	e.kind, e.family, e.typ = kindComment, f, typ
	c.odd++
	c.follow(e)
}

// context writes a line that tells the careful parser the type in force: it decides how le and quantile are written.
func (c *cache) context(b []byte) []byte {
	typ := metricTypes[c.typ]
	switch {
	case typ == "":
		return b
	case typ == model.MetricTypeUnknown && !c.om:
		return append(b, "# TYPE x untyped\n"...)
	}
	return append(append(append(b, "# TYPE x "...), typ...), '\n')
}

func (c *cache) takeSeries(p textparse.Parser, out *found) {
	key, ts, v := p.Series()
	e := c.entries[string(key)]
	if e == nil || e.typ != c.typ || e.family != c.fam {
		var ls labels.Labels
		p.Labels(&ls)
		e = c.add(key, ls)
	}
	c.follow(e)
	o := observation{e: e, v: v}
	if ts != nil {
		o.t, o.timed = *ts, true
	}
	c.keep(e, o, out)
	if !c.om || e.kind != kindSample {
		return
	}
	var x exemplar.Exemplar
	for p.Exemplar(&x) {
		out.exemplars = append(out.exemplars, exemplarAt{len(out.samples) - 1, x})
		x = exemplar.Exemplar{}
	}
}

// labelsOf parses the labels of a known line again.
func (c *cache) labelsOf(e *entry) (labels.Labels, bool) {
	b := append(append(c.context(nil), e.key...), " 0\n# EOF\n"...)
	p := c.parser(b)
	for {
		kind, err := p.Next()
		if err != nil {
			return labels.EmptyLabels(), false
		}
		if kind == textparse.EntrySeries {
			var ls labels.Labels
			p.Labels(&ls)
			return ls, true
		}
	}
}
