package scrape

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"pgregory.net/rapid"
)

// line is a sample as either reader sees it; the value by its bits, so that NaN compares.
type line struct {
	Labels   string
	Value    uint64
	Timed    bool
	Time     int64
	Exemplar string
}

// reference reads an answer with Prometheus' parser alone.
func reference(body []byte, om bool) ([]line, error) {
	st := labels.NewSymbolTable()
	var p textparse.Parser
	if om {
		p = textparse.NewOpenMetricsParser(bytes.Clone(body), st)
	} else {
		p = textparse.NewPromParser(bytes.Clone(body), st, false)
	}
	var out []line
	fam, typ := "", ""
	for {
		kind, err := p.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		switch kind {
		case textparse.EntryType:
			n, t := p.Type()
			fam, typ = string(n), string(t)
		case textparse.EntryHelp:
			n, _ := p.Help()
			fam = string(n)
		case textparse.EntryUnit:
			n, _ := p.Unit()
			fam = string(n)
		case textparse.EntrySeries:
			_, ts, v := p.Series()
			var ls labels.Labels
			p.Labels(&ls)
			if om && ls.Get("__name__") == fam+"_created" && (typ == "counter" || typ == "histogram" || typ == "summary") {
				continue // a start time
			}
			if _, twice := ls.HasDuplicateLabelNames(); twice || ls.Get("__name__") == "" {
				continue // dropped and counted
			}
			ls = ls.WithoutEmpty()
			l := line{Labels: ls.String(), Value: math.Float64bits(v)}
			if ts != nil {
				l.Timed, l.Time = true, *ts
			}
			var x exemplar.Exemplar
			if p.Exemplar(&x) {
				l.Exemplar = fmt.Sprint(x)
			}
			out = append(out, l)
		default:
		}
	}
}

// ours reads an answer with a cache, cold or warm.
func ours(c *cache, body []byte, om bool) ([]line, error) {
	var f found
	if err := c.parse(body, om, &f); err != nil {
		return nil, err
	}
	var out []line
	x := map[int]string{}
	for _, e := range f.exemplars {
		x[e.sample] = fmt.Sprint(e.x)
	}
	for i, o := range f.samples {
		if o.e.kind == kindDropped {
			continue // a line without a name or with a label twice
		}
		out = append(out, line{o.e.series.rw.Labels().String(), math.Float64bits(o.v), o.timed, o.t, x[i]})
	}
	c.forget()
	return out, nil
}

func bareCache() *cache { return newCache(labels.EmptyLabels(), nil, false) }

// agree reads the bodies one after the other with one cache and compares each with the reference.
func agree(t interface {
	Errorf(format string, args ...any)
	Helper()
}, om bool, bodies ...[]byte,
) {
	t.Helper()
	c := bareCache()
	for i, b := range bodies {
		want, wantErr := reference(b, om)
		got, gotErr := ours(c, bytes.Clone(b), om)
		if (wantErr != nil) != (gotErr != nil) {
			t.Errorf("answer %d %q: error %v, the reference says %v", i, b, gotErr, wantErr)
			return
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("answer %d %q (-reference +ours):\n%s", i, b, d)
			return
		}
	}
}

const plain = `# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{code="200",path="/a b"} 1027 1395066363000
http_requests_total{code="400",path="/\"}{ \\"}    3
# a comment
# TYPE lat histogram
lat_bucket{le="0.1"} 2
lat_bucket{le="1"} 5
lat_bucket{le="+Inf"} 6
lat_sum 1.25e+1
lat_count 6

bare 0.000000000000000000001
  indented	-17.5
nan NaN
inf +Inf
minf -Inf
spaced {a="b"} 4
{"utf.8 näme",x="y"} 12345678901234567890
same 1
same 2`

const open = `# TYPE req counter
# UNIT req_seconds seconds
# HELP req Requests.
req_total{a="1"} 17 # {trace_id="abc"} 0.5 1520879607.789
req_created{a="1"} 1520872607.123
# TYPE lat histogram
lat_bucket{le="1"} 5 1520879607.789
lat_bucket{le="+Inf"} 6
lat_count 6
lat_sum 2.5
lat_created 1520872607
# TYPE g gauge
g 1
# EOF
`

func TestKnownForms(t *testing.T) {
	agree(t, false, []byte(plain), []byte(plain), []byte(strings.ReplaceAll(plain, "1027", "1028")), []byte(plain+"\n"), []byte(plain))
	agree(t, true, []byte(open), []byte(open), []byte(strings.ReplaceAll(open, " 6", " 7")))
	// The type in force changes how le is written.
	agree(t, false, []byte("x{le=\"1\"} 1\n"), []byte("# TYPE x histogram\nx{le=\"1\"} 1\n"), []byte("x{le=\"1\"} 1\n"))
	for _, bad := range []string{"a", "a b", "a 1 b", "a{", "a{b=\"c} 1", "{} 1", "a 0x1p1", "a 1_0", "# TYPE a nonsense\n", "a 1\r\n", "\x00a 1\nb 2", "a{b=\"\n\"} 1\n", "a 1 -5\n"} {
		agree(t, false, []byte(plain), []byte(bad), []byte(plain), []byte(plain))
		agree(t, true, []byte(open), []byte(bad), []byte(bad+"\n# EOF\n"), []byte(open), []byte(open))
	}
	agree(t, true, []byte(strings.TrimSuffix(open, "# EOF\n")), []byte(open+"x 1\n"), []byte(open+"\n"))
}

// genBody makes answers that look like real ones, with oddities here and there.
func genBody(om bool) *rapid.Generator[[]byte] {
	names := []string{"a", "a_total", "a_created", "b", "b_bucket", "c_sum", "a:b", "_x"}
	values := []string{"0", "1", "-1", "3.25", "1e5", "1E-7", "NaN", "+Inf", "-Inf", "Inf", "nan", "0.1234567890123456789", "18446744073709551616", "00012", "1.", ".5", "-.5e3", "", "x", "0x10", "1_000"}
	labelValues := []string{"", "x", "1", "0.50", "+Inf", "a b", `\"`, `\\`, `\n`, "}", "ü", " # {"}
	labelNames := []string{"le", "quantile", "path", "job", "instance"}
	types := []string{"counter", "gauge", "histogram", "summary", "untyped", "unknown", "info", "wrong"}
	return rapid.Custom(func(t *rapid.T) []byte {
		var b bytes.Buffer
		odd := func() bool { return rapid.IntRange(0, 59).Draw(t, "odd") == 0 }
		pick := func(what string, from []string) string { return rapid.SampledFrom(from).Draw(t, what) }
		for range rapid.IntRange(0, 12).Draw(t, "lines") {
			switch rapid.IntRange(0, 9).Draw(t, "form") {
			case 0:
				n := len(types)
				if !odd() {
					n = 4
				}
				fmt.Fprintf(&b, "# TYPE %s %s\n", pick("name", names), pick("type", types[:n]))
			case 1:
				fmt.Fprintf(&b, "# HELP %s %s\n", pick("name", names), pick("help", labelValues))
			case 2:
				if !om || odd() {
					b.WriteString(pick("noise", []string{"\n", "# hi\n", "  \n", "#\n", "# EOF\n", "\x00\n"}))
				}
			default:
				b.WriteString(pick("name", names))
				if n := rapid.IntRange(0, 2).Draw(t, "labels"); n > 0 {
					b.WriteByte('{')
					for i := range n {
						if i > 0 {
							b.WriteByte(',')
						}
						fmt.Fprintf(&b, `%s="%s"`, labelNames[(rapid.IntRange(0, 4).Draw(t, "label")+i)%5], pick("label value", labelValues))
					}
					b.WriteByte('}')
				}
				n := len(values)
				if !odd() {
					n = 13
				}
				sep := " "
				if odd() {
					sep = pick("separator", []string{"\t", "  ", ""})
				}
				b.WriteString(sep + pick("value", values[:n]))
				switch rapid.IntRange(0, 11).Draw(t, "tail") {
				case 0:
					b.WriteString(pick("time", []string{" 1000", " 1520879607.789", " -3", " ", " x", " 99999999999999999999"}))
				case 1:
					b.WriteString(pick("exemplar", []string{` # {a="b"} 1`, ` # {} 2 3.5`, ` # {a="b"}`, ` # x`}))
				}
				if !odd() {
					b.WriteByte('\n')
				}
			}
		}
		if om && !odd() {
			b.WriteString("# EOF\n")
		}
		return b.Bytes()
	})
}

func TestSameAsReference(t *testing.T) {
	for _, om := range []bool{false, true} {
		t.Run(fmt.Sprintf("openmetrics %v", om), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				bodies := rapid.SliceOfN(genBody(om), 1, 4).Draw(t, "answers")
				// Each again, so that known lines are met in known and in new places.
				agree(t, om, append(bodies, bodies...)...)
			})
		})
	}
}

// TestMutatedAnswers changes real answers here and there.
func TestMutatedAnswers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	mutate := func(s string) []byte {
		b := []byte(s)
		for range r.IntN(6) {
			i := r.IntN(len(b))
			switch r.IntN(4) {
			case 0:
				b[i] = byte(r.IntN(256))
			case 1:
				b = append(b[:i], b[i+1:]...)
			case 2:
				b = slices.Insert(b, i, " \n\"{}#=,\x000"[r.IntN(10)])
			default:
				if j := r.IntN(len(b)); i < j {
					b = append(bytes.Clone(b[:j]), b[i:]...)
				}
			}
		}
		return b
	}
	for range 2000 {
		om := r.IntN(2) == 0
		base := plain
		if om {
			base = open
		}
		a, b := mutate(base), mutate(base)
		if agree(t, om, a, b, a, b); t.Failed() {
			return
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(plain), []byte(plain), false)
	f.Add([]byte(open), []byte(open), true)
	f.Add([]byte("a 1\n"), []byte("a 1"), false)
	f.Add([]byte("# HELP a \xff\na 1\n"), []byte("a{b=\"c\"} 1 2\n"), false)
	f.Fuzz(func(t *testing.T, first, second []byte, om bool) {
		agree(t, om, first, second, first, second)
	})
}

func TestParseNumberSameAsStrconv(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(
			rapid.StringMatching(`[-+]?[0-9]{0,20}(\.[0-9]{0,20})?([eE][-+]?[0-9]{1,3})?`),
			rapid.Map(rapid.Float64(), func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }),
			rapid.Map(rapid.Float64(), func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }),
		).Draw(t, "number")
		got, n := parseNumber([]byte(s + "\n"))
		want, err := strconv.ParseFloat(s, 64)
		switch {
		case n == 0: // left to the careful parser
		case n != len(s) && err == nil:
			t.Errorf("%q: took %d bytes", s, n)
		case n == len(s) && err != nil:
			t.Errorf("%q: read as %v, strconv says %v", s, got, err)
		case n == len(s) && math.Float64bits(got) != math.Float64bits(want):
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	})
	for s, want := range map[string]float64{"0": 0, "17": 17, "-3.5": -3.5, "123456789012345": 123456789012345, "0.1": 0.1} {
		if got, n := parseNumber([]byte(s)); n != len(s) || got != want {
			t.Errorf("%q = %v (%d bytes)", s, got, n)
		}
	}
}
