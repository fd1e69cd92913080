package declare

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Seen is what weir found of a pipeline.
type Seen struct {
	ID     string
	Stages []SeenStage // in the order of the flow
	SLO    SLO         // in force now
}

// SeenStage is a stage as it was found.
type SeenStage struct {
	Name      string
	Kind      Kind // from its counts
	Services  []string
	Reads     []Read
	Writes    []string
	Ratio     Ratio // learned; Value 0 = not known
	Windows   int   // that Ratio rests on
	Instances int   // that count; 0 = none does
	KeepsIDs  bool  // proved by fingerprints
}

const proposalHead = "# What weir found. Accept it as it is, or edit it; docs/pipelines.md tells what each key means.\n"

// Propose writes a declaration of what was found. What was said before and cannot be found (owner, objectives, what is
// ignored) is kept from declared, which may be nil.
func Propose(seen Seen, declared *Pipeline) string {
	p := Pipeline{ID: seen.ID, SLO: seen.SLO}
	if declared != nil {
		p.Description, p.Owner, p.Runbook, p.SLO, p.Headers, p.Ignore = declared.Description, declared.Owner, declared.Runbook, declared.SLO, declared.Headers, declared.Ignore
	}
	for i := range seen.Stages {
		s := &seen.Stages[i]
		out := Stage{Name: s.Name, Kind: s.Kind, Reads: slices.Clone(s.Reads), Writes: slices.Clone(s.Writes), Instances: s.Instances}
		if len(s.Services) > 1 || len(s.Services) == 1 && s.Services[0] != s.Name {
			out.Services = slices.Clone(s.Services)
		}
		switch out.Kind {
		case Fanout:
			if len(out.Writes) == 1 {
				out.Ratio.K = max(s.Ratio.K, 1)
			}
		case Filter, Aggregate:
			if s.Ratio.Value > 0 {
				out.Ratio.Value, out.Ratio.Band = round(s.Ratio.Value), max(round(s.Ratio.Band), 0.0001)
			}
		case Source, Map, Fanin, Sink:
		}
		if s.KeepsIDs {
			yes := true
			out.KeepsIDs = &yes
		}
		p.Stages = append(p.Stages, out)
	}
	var b bytes.Buffer
	b.WriteString(proposalHead)
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(p); err != nil { // values that YAML cannot hold are in no name
		return ""
	}
	return b.String()
}

func round(f float64) float64 { return math.Round(f*10_000) / 10_000 }

// Diff tells where a declaration and what was found differ, and what the declaration lacks. Both are told: neither is
// right by itself.
func Diff(d *Doc, seen Seen) []Finding {
	var out []Finding
	say := func(kind, text string, way ...any) {
		line := 0
		if len(way) > 0 {
			line = d.Line(way...)
		}
		out = append(out, Finding{kind, line, text})
	}
	found := map[string]*SeenStage{}
	for i := range seen.Stages {
		found[seen.Stages[i].Name] = &seen.Stages[i]
	}
	for i := range d.Stages {
		s := &d.Stages[i]
		f := found[s.Name]
		if f == nil {
			say(Missing, fmt.Sprintf("Nothing is heard of stage %s: no counts, no offsets of its groups, no spans of its services.", s.Name), "stages", i, "name")
			continue
		}
		out = append(out, diffStage(d, i, s, f)...)
	}
	for i := range seen.Stages {
		s := &seen.Stages[i]
		if d.Stage(s.Name) == nil {
			say(Extra, fmt.Sprintf("Stage %s is seen and not declared%s.", s.Name, reading(s)))
		}
	}
	for _, n := range []struct {
		lacks bool
		text  string
	}{
		{d.Owner == "", "owner is not declared: an alert cannot say whom to ask."},
		{d.Runbook == "", "runbook is not declared."},
		{d.SLO.Lag == 0 && d.SLO.Freshness == 0, "slo has neither lag nor freshness: the common objectives hold."},
		{d.SLO.Completeness == 0, "slo.completeness is not declared: there is no error budget to burn."},
	} {
		if n.lacks {
			say(Note, n.text)
		}
	}
	slices.SortStableFunc(out, func(a, b Finding) int { return cmp.Compare(order[a.Kind], order[b.Kind]) })
	return out
}

var order = map[string]int{Error: 0, Missing: 1, Differs: 2, Extra: 3, Note: 4}

func reading(s *SeenStage) string {
	if len(s.Reads) == 0 {
		return ""
	}
	return fmt.Sprintf("; it reads %s as %s", s.Reads[0].Destination, s.Reads[0].Group)
}

func diffStage(d *Doc, i int, s *Stage, f *SeenStage) (out []Finding) {
	say := func(kind, text string, way ...any) {
		out = append(out, Finding{kind, d.Line(append([]any{"stages", i}, way...)...), text})
	}
	for j, r := range s.Reads {
		if !slices.ContainsFunc(f.Reads, func(o Read) bool { return r.Matches(o.System, o.Cluster, o.Destination, o.Group) }) {
			say(Missing, fmt.Sprintf("%s is not seen to read %s as %s.", s.Name, r.Destination, cmp.Or(r.Group, "no group")), "reads", j)
		}
	}
	for _, o := range f.Reads {
		if !slices.ContainsFunc(s.Reads, func(r Read) bool { return r.Matches(o.System, o.Cluster, o.Destination, o.Group) }) {
			say(Extra, fmt.Sprintf("%s reads %s as %s, which is not declared.", s.Name, o.Destination, cmp.Or(o.Group, "no group")), "reads")
		}
	}
	for j, w := range s.Writes {
		// Offsets alone tell nothing about what a stage writes.
		if f.Instances > 0 && !slices.Contains(f.Writes, w) {
			say(Missing, fmt.Sprintf("%s is not seen to write %s.", s.Name, w), "writes", j)
		}
	}
	for _, w := range f.Writes {
		if !slices.Contains(s.Writes, w) {
			say(Extra, fmt.Sprintf("%s writes %s, which is not declared.", s.Name, w), "writes")
		}
	}
	if s.Instances > 0 && f.Instances != s.Instances {
		say(Differs, fmt.Sprintf("%d instances of %s count, %d are expected.", f.Instances, s.Name, s.Instances), "expected_instances")
	}
	r := s.Ratio
	if r.Value > 0 && f.Ratio.Value > 0 && math.Abs(f.Ratio.Value-r.Value) > r.BandOr() {
		say(Differs, fmt.Sprintf("%s puts out %g per record (median of %d windows), %g ± %g is declared.", s.Name, round(f.Ratio.Value), f.Windows, r.Value, round(r.BandOr())), "ratio", "value")
	}
	if r.Value == 0 && (s.KindOr() == Filter || s.KindOr() == Aggregate) {
		learned := ""
		if f.Ratio.Value > 0 {
			learned = fmt.Sprintf("; %g is usual", round(f.Ratio.Value))
		}
		say(Note, fmt.Sprintf("%s is a %s without ratio.value%s.", s.Name, s.KindOr(), learned), "kind")
	}
	if k := max(r.K, len(s.Writes)); s.KindOr() == Fanout && f.Kind == Fanout && f.Ratio.K > 0 && f.Ratio.K != k {
		say(Differs, fmt.Sprintf("%s makes %d of one record, %d is declared.", s.Name, f.Ratio.K, k), "kind")
	}
	if s.KeepsIDs != nil && !*s.KeepsIDs && f.KeepsIDs {
		say(Differs, fmt.Sprintf("%s passes on message ids, keeps_ids: false is declared.", s.Name), "keeps_ids")
	}
	extra := []string{}
	for _, v := range f.Services {
		if !s.Runs(v) {
			extra = append(extra, v)
		}
	}
	if len(extra) > 0 {
		say(Extra, fmt.Sprintf("%s runs as service %s, which is not declared.", s.Name, strings.Join(extra, ", ")), "services")
	}
	return out
}
