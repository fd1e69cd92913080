package declare

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// check tells every mistake of a document that can be read.
func (d *Doc) check() []Finding {
	var out []Finding
	bad := func(text string, way ...any) { out = append(out, Finding{Error, d.Line(way...), text}) }
	switch {
	case d.ID == "":
		bad("id is missing: write the name that applications put on their counts, or a name of your choice", "id")
	case len(d.ID) > maxName:
		bad(fmt.Sprintf("id has %d bytes: at most %d are possible", len(d.ID), maxName), "id")
	case strings.ContainsAny(d.ID, "\x00\n\r\t") || strings.TrimSpace(d.ID) != d.ID:
		bad(fmt.Sprintf("id is %q: leave out line breaks, tabs and blanks around it", d.ID), "id")
	}
	if u, err := url.Parse(d.Runbook); d.Runbook != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		bad(fmt.Sprintf("runbook is %q: write a whole address, https://wiki.example.com/orders", d.Runbook), "runbook")
	}
	for _, s := range []struct {
		name string
		v    time.Duration
	}{{"lag", d.SLO.Lag}, {"freshness", d.SLO.Freshness}, {"latency_p99", d.SLO.LatencyP99}} {
		if s.v < 0 || s.v > 30*24*time.Hour {
			bad(fmt.Sprintf("slo.%s is %s: must be between 0s and 720h; leave it out where the common objective is right", s.name, s.v), "slo", s.name)
		}
	}
	if c := d.SLO.Completeness; !(c >= 0 && c < 1) {
		hint := "write a share below 1, such as 0.9999; an objective of 1 leaves no room for a single record"
		if c > 1 && c < 100 {
			hint = fmt.Sprintf("it is a share: write %.6g for %g %%", c/100, c)
		}
		bad(fmt.Sprintf("slo.completeness is %g: %s", c, hint), "slo", "completeness")
	}
	for i, g := range d.Ignore.Groups {
		if strings.Trim(g, "*") == "" {
			bad(fmt.Sprintf("ignore.groups holds %q, which is every group: name one, or a part with a star, such as debug-*", g), "ignore", "groups", i)
		}
	}
	if len(d.Stages) == 0 {
		bad("stages is empty: name at least one stage, or take what weir proposes", "stages")
	}
	if len(d.Stages) > MaxStages {
		bad(fmt.Sprintf("stages holds %d: at most %d are possible; split the pipeline", len(d.Stages), MaxStages), "stages")
		return out
	}
	names := map[string]int{}
	readers := map[Read]string{}
	for i := range d.Stages {
		s := &d.Stages[i]
		if j, ok := names[s.Name]; ok && s.Name != "" {
			bad(fmt.Sprintf("stage %q is declared twice, first in line %d: give one of them another name", s.Name, d.Line("stages", j)), "stages", i, "name")
		} else {
			names[s.Name] = i
		}
		out = append(out, d.checkStage(i, s)...)
		for j, r := range s.Reads {
			if other, ok := readers[r]; ok && r.Destination != "" {
				bad(fmt.Sprintf("%s as group %q is read by %q as well: a group belongs to one stage; leave one of them out", r.Destination, r.Group, other), "stages", i, "reads", j)
			} else {
				readers[r] = s.Name
			}
		}
	}
	return out
}

func (d *Doc) checkStage(i int, s *Stage) (out []Finding) {
	at := []any{"stages", i}
	bad := func(text string, way ...any) {
		out = append(out, Finding{Error, d.Line(append(slices.Clone(at), way...)...), text})
	}
	name := s.Name
	switch {
	case s.Name == "":
		bad("a stage has no name: write the name it counts under, or that of its service", "name")
		name = fmt.Sprintf("stage %d", i+1)
	case len(s.Name) > maxName || strings.ContainsAny(s.Name, "\x00\n\r\t,"):
		bad(fmt.Sprintf("the name %q cannot be used: at most %d bytes, without commas, tabs and line breaks", s.Name, maxName), "name")
	}
	oneOf := func(k Kind, way ...any) {
		if slices.Contains(kinds, k) {
			return
		}
		text := "kind of %s is %q: must be one of %s"
		if k == "" {
			bad(fmt.Sprintf("%s has no kind: write one of %s", name, list(kinds)), way...)
			return
		}
		bad(fmt.Sprintf(text, name, k, list(kinds)), way...)
	}
	oneOf(s.Kind, "kind")
	if s.Ratio.Kind != "" {
		oneOf(s.Ratio.Kind, "ratio", "kind")
	}
	for _, n := range []struct {
		what string
		n    int
	}{{"services", len(s.Services)}, {"reads", len(s.Reads)}, {"writes", len(s.Writes)}} {
		if n.n > maxPorts {
			bad(fmt.Sprintf("%s has %d %s: at most %d are possible", name, n.n, n.what, maxPorts), n.what)
			return out
		}
	}
	if s.Kind == Source && len(s.Reads) > 0 {
		bad(fmt.Sprintf("%s is a source and reads %s: leave out reads, or make it a map", name, s.Reads[0].Destination), "reads")
	}
	if s.Kind != Source && s.Kind != "" && len(s.Reads) == 0 {
		bad(fmt.Sprintf("%s reads nothing: name what it reads, or make it a source", name), "kind")
	}
	if len(s.Writes) == 0 && (s.Kind == Source || s.Kind == Fanout) {
		bad(fmt.Sprintf("%s is a %s and writes nothing: name its destinations in writes", name, s.Kind), "kind")
	}
	for j, r := range s.Reads {
		if r.Destination == "" {
			bad(fmt.Sprintf("%s reads without a destination: name the topic, queue or stream", name), "reads", j)
		}
	}
	for j, w := range s.Writes {
		if w == "" || slices.Index(s.Writes, w) < j {
			bad(fmt.Sprintf("%s writes %q, which is empty or named twice: name each destination once", name, w), "writes", j)
		}
	}
	for j, v := range s.Services {
		if v == "" {
			bad(name+" has a service without a name: write it as it stands in the label service, or leave it out", "services", j)
		}
	}
	out = append(out, d.checkRatio(i, name, s)...)
	if s.Instances < 0 || s.Instances > 100_000 {
		bad(fmt.Sprintf("expected_instances of %s is %d: must be between 0 (not declared) and 100000", name, s.Instances), "expected_instances")
	}
	return out
}

func (d *Doc) checkRatio(i int, name string, s *Stage) (out []Finding) {
	bad := func(text string, way ...any) {
		out = append(out, Finding{Error, d.Line(append([]any{"stages", i, "ratio"}, way...)...), text})
	}
	r, kind := s.Ratio, s.KindOr()
	if r.K != 0 && kind != Fanout {
		bad(fmt.Sprintf("ratio.k of %s is %d, but it is a %s: k counts the copies of a fanout; use value for out/in", name, r.K, kind), "k")
	}
	if r.K < 0 || r.K > 1000 {
		bad(fmt.Sprintf("ratio.k of %s is %d: must be between 1 and 1000", name, r.K), "k")
	}
	if kind == Fanout && r.K == 0 && len(s.Writes) == 1 {
		bad(fmt.Sprintf("%s is a fanout into one destination: write how many records come of one, ratio: {k: 3}", name), "k")
	}
	if r.Value != 0 && kind != Filter && kind != Aggregate {
		bad(fmt.Sprintf("ratio.value of %s is %g, but a %s has no free ratio: leave it out, or make it a filter or an aggregate", name, r.Value, kind), "value")
	}
	if !(r.Value >= 0 && r.Value <= 1e6) || kind == Filter && r.Value > 1 {
		bad(fmt.Sprintf("ratio.value of %s is %g: it is out/in, for a filter between 0 and 1", name, r.Value), "value")
	}
	if !(r.Band >= 0 && r.Band <= max(r.Value, 1)) || r.Band != 0 && r.Value == 0 {
		bad(fmt.Sprintf("ratio.band of %s is %g: it is how far value (%g) may be off, such as %g", name, r.Band, r.Value, Ratio{Value: max(r.Value, 0.5)}.BandOr()), "band")
	}
	return out
}

func list(ks []Kind) string {
	parts := make([]string, len(ks))
	for i, k := range ks {
		parts[i] = string(k)
	}
	return strings.Join(parts, ", ")
}
