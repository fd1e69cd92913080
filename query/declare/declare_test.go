package declare

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

const good = `id: orders
description: Orders from the shop to the warehouse.
owner: team-orders
runbook: https://wiki.example.com/orders
slo:
  lag: 1m
  freshness: 90s
  completeness: 0.9999
  latency_p99: 5s
headers: {ts: x-event-time, id: x-id}
ignore:
  groups: ["debug-*"]
stages:
  - name: shop
    kind: source
    writes: [orders]
  - name: enrich
    kind: filter
    services: [enrich, enrich-canary]
    reads: [{destination: orders, group: enrich, system: kafka}]
    writes: [enriched]
    ratio: {value: 0.7, band: 0.01}
    keeps_ids: true
    expected_instances: 3
  - name: split
    kind: fanout
    reads: [{destination: enriched, group: split}]
    writes: [a, b, c]
  - name: warehouse
    kind: sink
    reads: [{destination: a, group: warehouse}]
`

func TestGood(t *testing.T) {
	d, fs := Parse([]byte(good))
	if len(fs) != 0 || d == nil {
		t.Fatalf("%v", fs)
	}
	if d.ID != "orders" || d.SLO.Lag != time.Minute || d.SLO.Completeness != 0.9999 || len(d.Stages) != 4 {
		t.Errorf("%+v", d.Pipeline)
	}
	s := d.Stage("enrich")
	if s == nil || s.KindOr() != Filter || *s.KeepsIDs != true || s.Instances != 3 || !s.Runs("enrich-canary") || s.Runs("shop") || s.Ratio.BandOr() != 0.01 {
		t.Errorf("%+v", s)
	}
	if !d.Ignores("debug-7") || d.Ignores("enrich") {
		t.Error("ignored groups")
	}
	if n := d.Line("stages", 1, "ratio", "value"); n != 22 {
		t.Errorf("line %d", n)
	}
}

// What the documentation shows can be used.
func TestDocumentationIsGood(t *testing.T) {
	text, err := os.ReadFile("../../docs/pipelines.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	example, _, ok := strings.Cut(rest, "```")
	if d, fs := Parse([]byte(example)); !ok || Err(fs) != nil || len(d.Stages) != 4 {
		t.Errorf("%v", fs)
	}
}

func TestMistakesNameLineAndWayOut(t *testing.T) {
	for name, c := range map[string]struct {
		yaml string
		line int
		want []string
	}{
		"unknown key":       {"id: a\nstagess: []\n", 2, []string{`unknown key "stagess"`, `did you mean "stages"?`}},
		"wrong kind":        {"id: a\nslo: {lag: soon}\n", 2, []string{`"soon"`, "a duration with its unit"}},
		"no id":             {"stages:\n- {name: a, kind: source, writes: [b]}\n", 1, []string{"id is missing", "write the name"}},
		"no stages":         {"id: a\n", 1, []string{"stages is empty", "what weir proposes"}},
		"kind":              {"id: a\nstages:\n- name: b\n  kind: mapp\n  reads: [{destination: x}]\n", 4, []string{`"mapp"`, "must be one of source, map"}},
		"no kind":           {"id: a\nstages:\n- name: b\n  reads: [{destination: x}]\n", 3, []string{"b has no kind"}},
		"percent":           {"id: a\nslo:\n  completeness: 99.99\nstages: [{name: b, kind: source, writes: [c]}]\n", 3, []string{"99.99", "write 0.9999"}},
		"one":               {"id: a\nslo:\n  completeness: 1\nstages: [{name: b, kind: source, writes: [c]}]\n", 3, []string{"a share below 1"}},
		"nan":               {"id: a\nslo:\n  completeness: .nan\nstages: [{name: b, kind: source, writes: [c]}]\n", 3, []string{"NaN"}},
		"source that reads": {"id: a\nstages:\n- name: b\n  kind: source\n  reads: [{destination: x}]\n  writes: [y]\n", 5, []string{"b is a source and reads x", "make it a map"}},
		"map without input": {"id: a\nstages:\n- name: b\n  kind: map\n", 4, []string{"b reads nothing", "make it a source"}},
		"twice":             {"id: a\nstages:\n- {name: b, kind: source, writes: [x]}\n- {name: b, kind: source, writes: [y]}\n", 4, []string{`"b" is declared twice, first in line 3`}},
		"same input":        {"id: a\nstages:\n- {name: b, kind: sink, reads: [{destination: x, group: g}]}\n- {name: c, kind: sink, reads: [{destination: x, group: g}]}\n", 4, []string{`read by "b" as well`}},
		"runbook":           {"id: a\nrunbook: wiki/orders\nstages: [{name: b, kind: source, writes: [c]}]\n", 2, []string{`"wiki/orders"`, "whole address"}},
		"all groups":        {"id: a\nignore:\n  groups: ['*']\nstages: [{name: b, kind: source, writes: [c]}]\n", 3, []string{`"*"`, "every group"}},
		"k of a map":        {"id: a\nstages:\n- name: b\n  kind: map\n  reads: [{destination: x}]\n  ratio: {k: 3}\n", 6, []string{"ratio.k of b is 3", "fanout"}},
		"ratio of a map":    {"id: a\nstages:\n- name: b\n  kind: map\n  reads: [{destination: x}]\n  ratio: {value: 0.5}\n", 6, []string{"0.5", "make it a filter"}},
		"filter above 1":    {"id: a\nstages:\n- name: b\n  kind: filter\n  reads: [{destination: x}]\n  ratio: {value: 70}\n", 6, []string{"70", "between 0 and 1"}},
		"band":              {"id: a\nstages:\n- name: b\n  kind: filter\n  reads: [{destination: x}]\n  ratio: {band: 0.1}\n", 6, []string{"ratio.band of b is 0.1"}},
		"instances":         {"id: a\nstages:\n- name: b\n  kind: source\n  writes: [x]\n  expected_instances: -1\n", 6, []string{"-1", "between 0"}},
		"not YAML":          {"id: [\n", 1, []string{"did not find"}},
		"two documents":     {"id: a\n---\nid: b\n", 0, []string{"second document"}},
		"negative lag":      {"id: a\nslo: {lag: -1s}\nstages: [{name: b, kind: source, writes: [c]}]\n", 2, []string{"-1s"}},
	} {
		_, fs := Parse([]byte(c.yaml))
		err := Err(fs)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", name, err, w)
			}
		}
		if fs[0].Line != c.line {
			t.Errorf("%s: line %d, want %d (%s)", name, fs[0].Line, c.line, fs[0].Text)
		}
	}
}

func TestAllMistakesAtOnce(t *testing.T) {
	_, fs := Parse([]byte("slo: {lag: -1s}\nrunbook: x\nstages:\n- {kind: source}\n"))
	if len(fs) < 5 {
		t.Errorf("%d findings: %v", len(fs), fs)
	}
	_, fs = Parse([]byte("idd: a\nslo: {lagg: 1s}\n"))
	if len(fs) != 2 || fs[0].Line != 1 || fs[1].Line != 2 {
		t.Errorf("%v", fs)
	}
}

func TestLike(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"a", "a", true},
		{"a", "ab", false},
		{"a*", "ab", true},
		{"*b", "ab", true},
		{"a*b", "a/x/b", true},
		{"a*b", "ab", true},
		{"a*a", "a", false},
		{"*x*", "axb", true},
		{"[*", "[1", true},
		{"a*c*e", "abcde", true},
		{"a*c*e", "abde", false},
	} {
		if like(c.pattern, c.s) != c.want {
			t.Errorf("%q %q: want %v", c.pattern, c.s, c.want)
		}
	}
}

func TestDiff(t *testing.T) {
	d, fs := Parse([]byte(good))
	if Err(fs) != nil {
		t.Fatal(fs)
	}
	seen := Seen{ID: "orders", Stages: []SeenStage{
		{Name: "shop", Kind: Source, Writes: []string{"orders"}, Instances: 1},
		{
			Name: "enrich", Kind: Filter, Reads: []Read{{Destination: "orders", Group: "enrich", System: "kafka", Cluster: "c"}, {Destination: "retry", Group: "enrich"}},
			Writes: []string{"enriched", "audit"}, Ratio: Ratio{Value: 0.5}, Windows: 60, Instances: 2, Services: []string{"enrich", "new"},
		},
		{Name: "split", Kind: Fanout, Reads: []Read{{Destination: "enriched", Group: "split"}}, Writes: []string{"a", "b"}, Ratio: Ratio{K: 2}, Instances: 1},
		{Name: "stranger", Reads: []Read{{Destination: "enriched", Group: "x"}}},
	}}
	var got []string
	for _, f := range Diff(d, seen) {
		got = append(got, fmt.Sprintf("%s %d %s", f.Kind, f.Line, f.Text))
	}
	want := []string{
		"missing 29 Nothing is heard of stage warehouse",
		"missing 28 split is not seen to write c.",
		"differs 24 2 instances of enrich count, 3 are expected.",
		"differs 22 enrich puts out 0.5 per record (median of 60 windows), 0.7 ± 0.01 is declared.",
		"differs 26 split makes 2 of one record, 3 is declared.",
		"extra 20 enrich reads retry as enrich, which is not declared.",
		"extra 21 enrich writes audit, which is not declared.",
		"extra 19 enrich runs as service new, which is not declared.",
		"extra 0 Stage stranger is seen and not declared; it reads enriched as x.",
	}
	all := strings.Join(got, "\n")
	for _, w := range want {
		if !strings.Contains(all, w) {
			t.Errorf("no %q in\n%s", w, all)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d findings:\n%s", len(got), all)
	}
}

// What is proposed can be accepted: it parses, and differs in nothing from what it was made of.
func TestProposalsCanBeAccepted(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	name := func() string {
		const odd = "abcdefg-_. :#{}[]'\"&*!|>%@`äß0"
		rs := []rune(odd)
		b := []rune{'n'}
		for range r.IntN(12) {
			b = append(b, rs[r.IntN(len(rs))])
		}
		return strings.TrimSpace(string(b))
	}
	for i := range 500 {
		seen := Seen{ID: name(), SLO: SLO{Lag: time.Duration(r.IntN(100)) * time.Second}}
		last := ""
		for j := range 1 + r.IntN(6) {
			s := SeenStage{Name: fmt.Sprint(name(), j), Kind: kinds[1:][r.IntN(len(kinds)-1)], Windows: 60, Instances: r.IntN(4), KeepsIDs: r.IntN(2) == 0}
			if last == "" {
				s.Kind = Source
			} else {
				s.Reads = []Read{{Destination: last, Group: name(), System: "kafka", Cluster: name()}}
			}
			last = fmt.Sprint(name(), "-out", j)
			s.Writes = []string{last}
			s.Ratio = Ratio{Value: r.Float64()*0.9 + 0.05, Band: r.Float64() * 0.01, K: 1 + r.IntN(5)}
			seen.Stages = append(seen.Stages, s)
		}
		text := Propose(seen, nil)
		d, fs := Parse([]byte(text))
		if err := Err(fs); err != nil {
			t.Fatalf("%d: %v\n%s", i, err, text)
		}
		for _, f := range Diff(d, seen) {
			if f.Kind != Note {
				t.Fatalf("%d: %+v\n%s", i, f, text)
			}
		}
		again, fs := Parse([]byte(Propose(seen, &d.Pipeline)))
		if Err(fs) != nil || len(again.Stages) != len(d.Stages) {
			t.Fatal(fs)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Add("id: a\nstages: [{name: b, kind: source, writes: [c]}]")
	f.Add("id: &a x\nowner: *a\n<<: {id: y}")
	f.Fuzz(func(t *testing.T, text string) {
		d, fs := Parse([]byte(text))
		if d == nil && Err(fs) == nil {
			t.Error("neither document nor error")
		}
		if d != nil && Err(fs) == nil {
			Diff(d, Seen{})
			if Propose(Seen{ID: d.ID}, &d.Pipeline) == "" {
				t.Error("no proposal")
			}
		}
	})
}
