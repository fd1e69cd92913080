// Package declare is what people say a pipeline is: its stages, what they read and write, how many records they put
// out per record, its objectives, its owner.
//
// Documents come as YAML from files and from the catalog, which query/pipeline reads; what weir sees of the same
// pipeline comes from there too. Parsed declarations go back to steer the evaluation, proposals and differences to the
// people who write them. Pure: no I/O, no clock. docs/pipelines.md tells the form.
package declare

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/weirhq/weir/internal/strictyaml"
)

// Pipeline is a declared pipeline.
type Pipeline struct {
	ID          string  `yaml:"id"`
	Description string  `yaml:"description,omitempty"`
	Owner       string  `yaml:"owner,omitempty"`
	Runbook     string  `yaml:"runbook,omitempty"` // URL
	SLO         SLO     `yaml:"slo,omitempty"`
	Headers     Headers `yaml:"headers,omitempty"`
	Ignore      Ignore  `yaml:"ignore,omitempty"`
	Stages      []Stage `yaml:"stages"`
}

// SLO are the objectives; zero means not declared.
type SLO struct {
	Lag          time.Duration `yaml:"lag,omitempty"`          // no group may be further behind
	Freshness    time.Duration `yaml:"freshness,omitempty"`    // age of the newest data at the sink
	Completeness float64       `yaml:"completeness,omitempty"` // share of records that arrive, 0.9999
	LatencyP99   time.Duration `yaml:"latency_p99,omitempty"`  // from the origin to the sink
}

// Headers name where messages carry their event time and their id, when not in weir-ts and weir-id.
type Headers struct {
	TS string `yaml:"ts,omitempty"`
	ID string `yaml:"id,omitempty"`
}

// Ignore names what does not belong to the pipeline although it touches it. A star stands for any text.
type Ignore struct {
	Groups []string `yaml:"groups,omitempty"`
}

// Stage of a pipeline.
type Stage struct {
	Name      string   `yaml:"name"`
	Kind      Kind     `yaml:"kind"`
	Services  []string `yaml:"services,omitempty"` // service names of its instances; left out: its own name
	Reads     []Read   `yaml:"reads,omitempty"`
	Writes    []string `yaml:"writes,omitempty"` // destinations
	Ratio     Ratio    `yaml:"ratio,omitempty"`
	KeepsIDs  *bool    `yaml:"keeps_ids,omitempty"` // messages pass with the id they came with
	Instances int      `yaml:"expected_instances,omitempty"`
}

// Kind of a stage.
type Kind string

// Kinds of stages.
const (
	Source    Kind = "source"
	Map       Kind = "map"
	Filter    Kind = "filter"
	Fanout    Kind = "fanout"
	Fanin     Kind = "fanin"
	Aggregate Kind = "aggregate"
	Sink      Kind = "sink"
)

var kinds = []Kind{Source, Map, Filter, Fanout, Fanin, Aggregate, Sink}

// Read is a destination that a stage reads as a group. Empty System and Cluster stand for any.
type Read struct {
	Destination string `yaml:"destination"`
	Group       string `yaml:"group,omitempty"`
	System      string `yaml:"system,omitempty"`
	Cluster     string `yaml:"cluster,omitempty"`
}

// Ratio is how many records a stage puts out per record.
type Ratio struct {
	Kind  Kind    `yaml:"kind,omitempty"`  // when it is another than that of the stage
	K     int     `yaml:"k,omitempty"`     // copies of each record, for fanout
	Value float64 `yaml:"value,omitempty"` // out / in, for filter and aggregate
	Band  float64 `yaml:"band,omitempty"`  // how far out / in may be off; left out: half a percent of value
}

// KindOr is the kind of the ratio, or that of the stage.
func (s *Stage) KindOr() Kind {
	if s.Ratio.Kind != "" {
		return s.Ratio.Kind
	}
	return s.Kind
}

// BandOr is the declared band, or half a percent of the ratio.
func (r Ratio) BandOr() float64 {
	if r.Band > 0 {
		return r.Band
	}
	return r.Value / 200
}

// Runs says whether a service belongs to the stage.
func (s *Stage) Runs(service string) bool {
	return service != "" && (s.Name == service || slices.Contains(s.Services, service))
}

// Ignores says whether a group does not belong to the pipeline.
func (p *Pipeline) Ignores(group string) bool {
	return slices.ContainsFunc(p.Ignore.Groups, func(pattern string) bool { return like(pattern, group) })
}

// like matches a pattern in which a star stands for any text.
func like(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	first, last := parts[0], parts[len(parts)-1]
	if !strings.HasPrefix(s, first) {
		return false
	}
	s = s[len(first):]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return strings.HasSuffix(s, last)
}

// Stage finds a stage by name.
func (p *Pipeline) Stage(name string) *Stage {
	for i := range p.Stages {
		if p.Stages[i].Name == name {
			return &p.Stages[i]
		}
	}
	return nil
}

// Matches says whether a read names what a broker tells about. Empty arguments match anything.
func (r Read) Matches(system, cluster, destination, group string) bool {
	return r.Destination == destination && r.Group == group &&
		(r.System == "" || system == "" || r.System == system) && (r.Cluster == "" || cluster == "" || r.Cluster == cluster)
}

// Bounds of one document.
const (
	MaxStages = 500
	maxName   = 200
	maxPorts  = 500 // reads, writes or services of one stage
)

// Doc is a parsed document: what it says and where it says it.
type Doc struct {
	Pipeline
	root *yaml.Node
}

// Finding is a complaint or a difference. Line is that of the document, 0 where there is none.
type Finding struct {
	Kind string // error, missing, extra, differs, note
	Line int
	Text string
}

// Kinds of findings.
const (
	Error   = "error"
	Missing = "missing" // declared, not seen
	Extra   = "extra"   // seen, not declared
	Differs = "differs"
	Note    = "note"
)

// Parse reads a document. The document can be used when no finding is an error; all mistakes are told at once.
func Parse(raw []byte) (*Doc, []Finding) {
	d := &Doc{}
	err := strictyaml.Decode(raw, &d.Pipeline)
	if err != nil {
		return nil, split(err.Error())
	}
	d.root = new(yaml.Node)
	if err := yaml.Unmarshal(raw, d.root); err != nil {
		return nil, split(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	mistakes := d.check()
	return d, mistakes
}

var lineHead = regexp.MustCompile(`^line (\d+): `)

// split takes apart the mistakes that the reader tells on one line.
func split(text string) []Finding {
	var out []Finding
	for part := range strings.SplitSeq(text, "; ") {
		m := lineHead.FindStringSubmatch(part)
		if m == nil {
			if len(out) > 0 { // the second half of a sentence
				out[len(out)-1].Text += "; " + part
				continue
			}
			out = append(out, Finding{Kind: Error, Text: part})
			continue
		}
		n, _ := strconv.Atoi(m[1])
		out = append(out, Finding{Kind: Error, Line: n, Text: part[len(m[0]):]})
	}
	return out
}

// Err makes one error of all mistakes, nil when there are none.
func Err(fs []Finding) error {
	var parts []string
	for _, f := range fs {
		if f.Kind != Error {
			continue
		}
		if f.Line > 0 {
			parts = append(parts, fmt.Sprintf("line %d: %s", f.Line, f.Text))
		} else {
			parts = append(parts, f.Text)
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return fmt.Errorf("%s", strings.Join(parts, "; "))
}

// Line is where a value stands: a path of keys and indexes. The line of the nearest part that is written, 0 for none.
func (d *Doc) Line(way ...any) int {
	if d == nil || d.root == nil || len(d.root.Content) == 0 {
		return 0
	}
	n := d.root.Content[0]
	line := n.Line
	for _, step := range way {
		next, at := child(n, step)
		if next == nil {
			return line
		}
		n, line = next, at
	}
	return line
}

func child(n *yaml.Node, step any) (*yaml.Node, int) {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	switch s := step.(type) {
	case string:
		if n.Kind != yaml.MappingNode {
			return nil, 0
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == s {
				return n.Content[i+1], n.Content[i].Line
			}
		}
	case int:
		if n.Kind == yaml.SequenceNode && s < len(n.Content) {
			return n.Content[s], n.Content[s].Line
		}
	}
	return nil, 0
}
