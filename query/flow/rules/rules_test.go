package rules

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

var update = flag.Bool("update", false, "write the expected matches anew")

// line reads one line of a fixture.
func line(t *testing.T, s string) (name string, ls map[string]string, v float64) {
	t.Helper()
	i := strings.LastIndexByte(s, ' ')
	v, err := strconv.ParseFloat(s[i+1:], 64)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	name, rest, _ := strings.Cut(s[:i], "{")
	ls = map[string]string{}
	rest = strings.TrimSuffix(rest, "}")
	for rest != "" {
		k, after, ok := strings.Cut(rest, "=")
		q, err := strconv.QuotedPrefix(after)
		if !ok || err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		ls[k], _ = strconv.Unquote(q)
		rest = strings.TrimPrefix(after[len(q):], ",")
	}
	return name, ls, v
}

// Every system has a fixture of what it exports, every rule reads a line of it, and what was understood is as written.
func TestFixtures(t *testing.T) {
	set, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, sys := range set.Systems {
		t.Run(sys.Name, func(t *testing.T) {
			if len(sys.Seen) == 0 || sys.Title == "" {
				t.Error("a built-in file says its title and where its names were seen")
			}
			text, err := os.ReadFile(filepath.Join("testdata", sys.Name+".prom"))
			if err != nil {
				t.Fatal(err)
			}
			used := map[*Rule]bool{}
			var out strings.Builder
			for s := range strings.Lines(string(text)) {
				s = strings.TrimSpace(s)
				if s == "" || s[0] == '#' {
					continue
				}
				name, ls, raw := line(t, s)
				m, ok, unnamed := set.Match(name, func(k string) string { return ls[k] })
				if !ok {
					fmt.Fprintf(&out, "%s: no (unnamed %v)\n", name, unnamed)
					continue
				}
				used[m.Rule] = true
				v, known := m.Rule.Value(raw)
				fmt.Fprintf(&out, "%s: %s %s", name, m.Rule.System.Name, m.Rule.Role)
				for _, f := range [][2]string{
					{"pipeline", m.Pipeline},
					{"stage", m.Stage},
					{"kind", m.Rule.Kind},
					{"to", m.To},
					{"instance", m.Instance},
					{"unit", m.Unit},
					{"reason", m.Reason},
					{"broker", m.Broker},
					{"cluster", m.Cluster},
					{"destination", m.Destination},
					{"partition", m.Partition},
					{"group", m.Group},
				} {
					if f[1] != "" {
						fmt.Fprintf(&out, " %s=%q", f[0], f[1])
					}
				}
				if m.Rule.Balanced {
					out.WriteString(" balanced")
				}
				if m.Rule.Apart {
					out.WriteString(" apart")
				}
				if known {
					fmt.Fprintf(&out, " %g\n", v)
				} else {
					out.WriteString(" not known\n")
				}
			}
			for _, r := range sys.Rules {
				if !used[r] {
					t.Errorf("no line of the fixture is read by the rule for %v %v as %s", r.Names, r.Pattern, r.Role)
				}
			}
			golden := filepath.Join("testdata", sys.Name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(out.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || string(want) != out.String() {
				t.Errorf("%v, got\n%s", err, out.String())
			}
		})
	}
}

const good = `
system: mine
names: {pipeline: p, stage: "{a|b|=c}"}
series:
  - {name: x_total, is: in}
`

func TestParseErrors(t *testing.T) {
	if _, err := Parse("good.yaml", []byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, want string }{
		{"", "bad.yaml is empty"},
		{"a: [", "bad.yaml"},
		{"[]", "bad.yaml:1: want a mapping"},
		{"system: x", "series must be a list"},
		{"system: X!\nseries: [{name: a, is: in, pipeline: p, stage: s}]", `system is "X!"`},
		{good + "foo: 1\n", `bad.yaml:6: unknown key "foo"`},
		{good + "system: b\n", `bad.yaml:6: key "system" is there twice`},
		{good + "  - {name: y, is: in, colour: red}\n", `bad.yaml:6: unknown key "colour"`},
		{good + "  - {name: y, is: inn}\n", `bad.yaml:6: is: unknown role "inn"`},
		{good + "  - {is: in}\n", "a rule needs name or match"},
		{good + "  - {name: y}\n", "a rule needs is"},
		{good + "  - {name: y, match: z, is: in}\n", "exclude one another"},
		{good + "  - {name: \"y z\", is: in}\n", "no name of a series"},
		{good + "  - {match: \"(\", is: in}\n", "match: error parsing regexp"},
		{good + "  - {name: y, is: dropped}\n", "dropped needs reason"},
		{good + "  - {name: y, is: link}\n", "link needs to"},
		{good + "  - {name: y, is: end}\n", "end needs broker and destination"},
		{good + "  - {name: y, is: committed, broker: k, destination: d}\n", "committed needs group"},
		{good + "  - {name: y, is: out, balance: one}\n", "belongs to a series that is in"},
		{good + "  - {name: y, is: in, balance: two}\n", "want one or none"},
		{good + "  - {name: y, is: queue, balance: none}\n", "belongs to a counter of a stage"},
		{good + "  - {name: y, is: in, kind: middle}\n", "want source, stage or sink"},
		{good + "  - {name: y, is: in, scale: many}\n", `"many" is not a number`},
		{good + "  - {name: y, is: in, scale: -1}\n", "a counter cannot have add"},
		{good + "  - {name: y, is: queue, ignore: \"<<1\"}\n", "neither a number"},
		{good + "  - {name: y, is: in, hold: 2d}\n", "hold \"2d\""},
		{good + "  - {name: y, is: in, stage: \"{a\"}\n", "braces"},
		{good + "  - {name: y, is: in, stage: \"a}\"}\n", "braces"},
		{good + "  - {name: y, is: in, stage: \"\"}\n", "empty template"},
		{good + "  - {name: y, is: in, stage: \"{a b}\"}\n", "is no label"},
		{good + "  - {name: y, is: in, where: {\"a b\": c}}\n", "is no label"},
		{good + "  - {name: y, is: in, where: {a: \"~(\"}}\n", "where a"},
		{good + "settle: maybe\n", "want flow or quiet"},
		{good + "through: perhaps\n", "neither true nor false"},
		{good + "order: [first]\n", "want source, stage or sink"},
		{"system: x\nseries: [{name: a, is: in}]", "in needs pipeline and stage"},
	} {
		_, err := Parse("bad.yaml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}

func TestLoadReplaces(t *testing.T) {
	set, err := Load(fstest.MapFS{"v.yaml": {Data: []byte(strings.Replace(good, "mine", "vector", 1))}, "note.txt": {Data: []byte("x")}})
	if err != nil {
		t.Fatal(err)
	}
	if set.Knows("vector_component_sent_events_total") || !set.Knows("x_total") || !set.Knows("kafka_consumergroup_members") {
		t.Error("a file of the same system replaces the built-in one, the others stay")
	}
	if _, err := Load(fstest.MapFS{"v.yaml": {Data: []byte("system: [")}}); err == nil || !strings.Contains(err.Error(), "v.yaml") {
		t.Error(err)
	}
}

func TestValue(t *testing.T) {
	sys, err := Parse("x.yaml", []byte(`
system: x
names: {pipeline: p, stage: s}
series:
  - {name: idle, is: busy, scale: -0.001, add: 1}
  - {name: mark, is: watermark, ignore: ["<0", ">4102444800000", "7"]}
`))
	if err != nil {
		t.Fatal(err)
	}
	idle, mark := sys.Rules[0], sys.Rules[1]
	if v, ok := idle.Value(250); !ok || v != 0.75 {
		t.Error(v, ok)
	}
	for _, c := range []struct {
		v  float64
		ok bool
	}{{-9223372036854775808, false}, {-1, false}, {0, true}, {7, false}, {1732334400000, true}, {4102444800000, true}, {9223372036854775807, false}} {
		if _, ok := mark.Value(c.v); ok != c.ok {
			t.Errorf("%g: %v", c.v, ok)
		}
	}
}

// No file, however odd, makes the parser panic, and what it takes it can match with.
func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	files, _ := filepath.Glob("*.yaml")
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		sys, err := Parse("f.yaml", text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "cannot read rules: f.yaml") {
				t.Fatal(err)
			}
			return
		}
		set := newSet([]*System{sys})
		for _, r := range sys.Rules {
			for _, n := range r.Names {
				m, ok, _ := set.Match(n, func(l string) string { return l })
				if ok && !slices.Contains(m.Rule.Names, n) {
					t.Fatalf("%s matched another rule", n)
				}
			}
		}
	})
}
