package rules

import (
	"embed"
	"fmt"
	"io/fs"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

//go:embed *.yaml
var builtin embed.FS

// Builtin reads the files that are part of the binary.
func Builtin() (*Set, error) { return Load(nil) }

// Load reads the built-in files and those of a folder, which may be nil. A file of the same system replaces the built-in one.
func Load(more fs.FS) (*Set, error) {
	var systems []*System
	for _, from := range []fs.FS{builtin, more} {
		if from == nil {
			continue
		}
		files, err := fs.Glob(from, "*.yaml")
		if err != nil {
			return nil, fmt.Errorf("cannot list rules: %w", err)
		}
		if len(files) > maxFiles {
			return nil, fmt.Errorf("cannot read %d files of rules: at most %d", len(files), maxFiles)
		}
		for _, f := range files {
			text, err := fs.ReadFile(from, f)
			if err != nil {
				return nil, fmt.Errorf("cannot read rules: %w", err)
			}
			sys, err := Parse(path.Base(f), text)
			if err != nil {
				return nil, err
			}
			systems = append(systems, sys)
		}
	}
	return newSet(systems), nil
}

// Bounds of rules.
const (
	maxFiles = 500
	maxRules = 500 // in one file
	maxText  = 1 << 20
)

// Parse reads one file. Errors name file and line.
func Parse(file string, text []byte) (*System, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("cannot read rules: %s has %d bytes, at most %d", file, len(text), maxText)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("cannot read rules: %s: %w", file, err)
	}
	p := &parser{file: file}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, fmt.Errorf("cannot read rules: %s is empty: it needs system and series", file)
	}
	sys := p.system(doc.Content[0])
	if p.err != nil {
		return nil, p.err
	}
	return sys, nil
}

// parser keeps the first error.
type parser struct {
	file string
	err  error
}

func (p *parser) fail(n *yaml.Node, format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("cannot read rules: %s:%d: %s", p.file, n.Line, fmt.Sprintf(format, args...))
	}
}

// each calls f for the entries of a mapping and refuses keys that are not among known.
func (p *parser) each(n *yaml.Node, known []string, f func(key string, v *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		p.fail(n, "want a mapping with %s", strings.Join(known, ", "))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		switch {
		case !slices.Contains(known, k.Value):
			p.fail(k, "unknown key %q: known are %s", k.Value, strings.Join(known, ", "))
		case seen[k.Value]:
			p.fail(k, "key %q is there twice", k.Value)
		default:
			seen[k.Value] = true
			f(k.Value, n.Content[i+1])
		}
		if p.err != nil {
			return
		}
	}
}

func (p *parser) str(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		p.fail(n, "want a text")
		return ""
	}
	return n.Value
}

// list takes a text or a list of texts.
func (p *parser) list(n *yaml.Node) []string {
	if n.Kind == yaml.ScalarNode {
		return []string{n.Value}
	}
	if n.Kind != yaml.SequenceNode {
		p.fail(n, "want a text or a list of texts")
		return nil
	}
	var out []string
	for _, c := range n.Content {
		out = append(out, p.str(c))
	}
	return out
}

func (p *parser) float(n *yaml.Node) float64 {
	v, err := strconv.ParseFloat(p.str(n), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		p.fail(n, "%q is not a number", n.Value)
	}
	return v
}

func (p *parser) hold(n *yaml.Node) time.Duration {
	d, err := time.ParseDuration(p.str(n))
	if err != nil || d < 0 || d > 24*time.Hour {
		p.fail(n, "hold %q must be a duration between 0s and 24h", n.Value)
	}
	return d
}

func (p *parser) boolean(n *yaml.Node) bool {
	v, err := strconv.ParseBool(p.str(n))
	if err != nil {
		p.fail(n, "%q is neither true nor false", n.Value)
	}
	return v
}

// names are the keys of templates; given for the file they hold for every series that has none of its own.
var names = []string{"pipeline", "stage", "instance", "unit", "broker", "cluster", "destination", "group", "partition", "reason", "to"}

func (r *Rule) template(key string) **Template {
	return map[string]**Template{
		"pipeline": &r.pipeline, "stage": &r.stage, "instance": &r.instance, "unit": &r.unit, "broker": &r.broker, "cluster": &r.cluster,
		"destination": &r.destination, "group": &r.group, "partition": &r.partition, "reason": &r.reason, "to": &r.to,
	}[key]
}

func (p *parser) system(n *yaml.Node) *System {
	sys := &System{File: p.file, Hold: 30 * time.Second}
	var common Rule
	var series *yaml.Node
	p.each(n, []string{"system", "title", "seen", "traps", "names", "hold", "settle", "through", "order", "series"}, func(k string, v *yaml.Node) {
		switch k {
		case "system":
			sys.Name = p.str(v)
		case "title":
			sys.Title = p.str(v)
		case "seen":
			sys.Seen = p.list(v)
		case "traps":
			sys.Traps = p.list(v)
		case "names":
			p.each(v, names, func(k string, v *yaml.Node) { *common.template(k) = p.parseTemplate(v) })
		case "hold":
			sys.Hold = p.hold(v)
		case "settle":
			switch p.str(v) {
			case "quiet":
				sys.Quiet = true
			case "flow":
			default:
				p.fail(v, "settle is %q: want flow or quiet", v.Value)
			}
		case "through":
			sys.Through = p.boolean(v)
		case "order":
			sys.Order = p.list(v)
			for _, o := range sys.Order {
				p.kind(v, o)
			}
		case "series":
			series = v
		}
	})
	if p.err != nil {
		return nil
	}
	if !identifier.MatchString(sys.Name) {
		p.fail(n, "system is %q: want a name of a-z, 0-9 and -", sys.Name)
	}
	if series == nil || series.Kind != yaml.SequenceNode || len(series.Content) == 0 {
		p.fail(n, "series must be a list with at least one rule")
		return nil
	}
	if len(series.Content) > maxRules {
		p.fail(series, "%d rules, at most %d", len(series.Content), maxRules)
		return nil
	}
	for _, c := range series.Content {
		if r := p.rule(c, sys, &common); r != nil {
			sys.Rules = append(sys.Rules, r)
		}
	}
	return sys
}

var (
	identifier = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	metric     = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:.]*$`)
	label      = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_.]*$`)
)

func (p *parser) kind(n *yaml.Node, k string) {
	if k != "source" && k != "stage" && k != "sink" {
		p.fail(n, "kind is %q: want source, stage or sink", k)
	}
}

func (p *parser) rule(n *yaml.Node, sys *System, common *Rule) *Rule {
	r := *common
	r.System, r.Scale, r.Hold = sys, 1, sys.Hold
	p.each(n, append([]string{"name", "match", "where", "is", "kind", "balance", "hold", "scale", "add", "ignore"}, names...), func(k string, v *yaml.Node) {
		switch k {
		case "name":
			r.Names = p.list(v)
			for _, name := range r.Names {
				if !metric.MatchString(name) {
					p.fail(v, "%q is no name of a series", name)
				}
			}
		case "match":
			re, err := regexp.Compile("^(?:" + p.str(v) + ")$")
			if err != nil {
				p.fail(v, "match: %v", err)
			}
			r.Pattern = re
		case "where":
			p.where(v, &r)
		case "is":
			r.Role = Role(p.str(v))
			if !slices.Contains(stageRoles, r.Role) && !r.Role.Broker() {
				p.fail(v, "is: unknown role %q", r.Role)
			}
		case "kind":
			r.Kind = p.str(v)
			p.kind(v, r.Kind)
		case "balance":
			switch p.str(v) {
			case "one":
				r.Balanced = true
			case "none":
				r.Apart = true
			default:
				p.fail(v, "balance is %q: want one or none", v.Value)
			}
		case "hold":
			r.Hold = p.hold(v)
		case "scale":
			r.Scale = p.float(v)
		case "add":
			r.Add = p.float(v)
		case "ignore":
			p.ignore(v, &r)
		default:
			*r.template(k) = p.parseTemplate(v)
		}
	})
	if p.err != nil {
		return nil
	}
	switch {
	case len(r.Names) == 0 && r.Pattern == nil:
		p.fail(n, "a rule needs name or match")
	case len(r.Names) > 0 && r.Pattern != nil:
		p.fail(n, "name and match exclude one another")
	case r.Role == "":
		p.fail(n, "a rule needs is: the role of the series")
	case r.Role.Broker() && (r.broker == nil || r.destination == nil && r.Role != Members):
		p.fail(n, "%s needs broker and destination", r.Role)
	case (r.Role == Committed || r.Role == Members) && r.group == nil:
		p.fail(n, "%s needs group", r.Role)
	case r.Role == Link && r.to == nil:
		p.fail(n, "link needs to")
	case !r.Role.Broker() && (r.pipeline == nil || r.stage == nil):
		p.fail(n, "%s needs pipeline and stage", r.Role)
	case r.Role == Dropped && r.reason == nil:
		p.fail(n, "dropped needs reason")
	case r.Role.Counter() && r.Add != 0, r.Role.Counter() && r.Scale <= 0:
		p.fail(n, "a counter cannot have add, nor a scale of 0 or less")
	case r.Balanced && r.Role != In:
		p.fail(n, "balance: one belongs to a series that is in")
	case r.Apart && (r.Role.Broker() || !r.Role.Counter()):
		p.fail(n, "balance: none belongs to a counter of a stage")
	}
	return &r
}

func (p *parser) where(n *yaml.Node, r *Rule) {
	if n.Kind != yaml.MappingNode {
		p.fail(n, "where: want label: value")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if !label.MatchString(k.Value) {
			p.fail(k, "where: %q is no label", k.Value)
			return
		}
		c := Condition{Label: k.Value}
		if v.Kind == yaml.SequenceNode {
			c.Values = p.list(v)
		} else {
			text := p.str(v)
			text, c.Not = strings.CutPrefix(text, "!")
			if re, ok := strings.CutPrefix(text, "~"); ok {
				var err error
				if c.re, err = regexp.Compile("^(?:" + re + ")$"); err != nil {
					p.fail(v, "where %s: %v", k.Value, err)
					return
				}
			} else {
				c.Values = []string{text}
			}
		}
		r.Where = append(r.Where, c)
	}
}

// ignore takes values and the forms <x and >x.
func (p *parser) ignore(n *yaml.Node, r *Rule) {
	for _, s := range p.list(n) {
		x := Range{math.Inf(-1), math.Inf(1)}
		num := strings.TrimLeft(s, "<>")
		v, err := strconv.ParseFloat(num, 64)
		if err != nil || math.IsNaN(v) || len(s)-len(num) > 1 {
			p.fail(n, "ignore: %q is neither a number nor <number nor >number", s)
			return
		}
		switch {
		case strings.HasPrefix(s, "<"):
			x.To = math.Nextafter(v, math.Inf(-1))
		case strings.HasPrefix(s, ">"):
			x.From = math.Nextafter(v, math.Inf(1))
		default:
			x.From, x.To = v, v
		}
		r.Ignore = append(r.Ignore, x)
	}
}

func (p *parser) parseTemplate(n *yaml.Node) *Template {
	text := p.str(n)
	t, err := NewTemplate(text)
	if err != nil {
		p.fail(n, "%v", err)
	}
	return t
}

// NewTemplate parses a template.
func NewTemplate(text string) (*Template, error) {
	t := &Template{text: text}
	rest := text
	for rest != "" {
		i := strings.IndexAny(rest, "{}")
		if i < 0 {
			t.parts = append(t.parts, part{text: rest})
			break
		}
		if i > 0 {
			t.parts = append(t.parts, part{text: rest[:i]})
		}
		j := strings.IndexByte(rest, '}')
		if rest[i] == '}' || j < 0 {
			return nil, fmt.Errorf("the braces of %q do not match", text)
		}
		var alts []string
		for a := range strings.SplitSeq(rest[i+1:j], "|") {
			if !strings.HasPrefix(a, "=") && !label.MatchString(a) {
				return nil, fmt.Errorf("%q in %q is no label: write {label}, {first|second} or {label|=constant}", a, text)
			}
			alts = append(alts, a)
		}
		t.parts = append(t.parts, part{labels: alts})
		rest = rest[j+1:]
	}
	if len(t.parts) == 0 {
		return nil, fmt.Errorf("an empty template names nothing")
	}
	return t, nil
}
