package statsd

import (
	"math"
	"strconv"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	type want struct {
		name, values, tags, container string
		kind                          kind
		rate                          float64
		time                          int64
	}
	f := func(s string, w want) {
		t.Helper()
		var l line
		l.tags, l.container, l.rate, l.time = []byte("left over"), []byte("left over"), 9, 9
		if why := l.parse([]byte(s)); why != taken {
			t.Errorf("%q: dropped as %s", s, why)
			return
		}
		if w.rate == 0 {
			w.rate = 1
		}
		got := want{string(l.name), string(l.values), string(l.tags), string(l.container), l.kind, l.rate, l.time}
		if got != w {
			t.Errorf("%q:\n got %+v\nwant %+v", s, got, w)
		}
	}
	f("a:1|c", want{name: "a", values: "1", kind: counter})
	f("a.b:1.5|g", want{name: "a.b", values: "1.5", kind: gauge})
	f("a:1|ms", want{name: "a", values: "1", kind: histo})
	f("a:1|h", want{name: "a", values: "1", kind: histo})
	f("a:1|d", want{name: "a", values: "1", kind: histo})
	f("a:x:y|s", want{name: "a", values: "x:y", kind: set})
	f("a:1:2:3|c", want{name: "a", values: "1:2:3", kind: counter})
	f("a:1|c|@0.5", want{name: "a", values: "1", kind: counter, rate: 0.5})
	f("a:1|c|#b:c,d", want{name: "a", values: "1", tags: "b:c,d", kind: counter})
	f("a:1|c|@0.1|#b:c", want{name: "a", values: "1", tags: "b:c", kind: counter, rate: 0.1})
	f("a:1|c|#b:c|@0.1", want{name: "a", values: "1", tags: "b:c", kind: counter, rate: 0.1})
	f("a:1|c|#b:c|c:ci-1|e:it-false|T1700000000", want{name: "a", values: "1", tags: "b:c", container: "ci-1", kind: counter, time: 1700000000})
	f("a:1|c|card:low|x", want{name: "a", values: "1", kind: counter})
	f("a:1|c|", want{name: "a", values: "1", kind: counter})
	f("a:1|c||#t:1", want{name: "a", values: "1", tags: "t:1", kind: counter})

	bad := func(s string, w reason) {
		t.Helper()
		var l line
		if why := l.parse([]byte(s)); why != w {
			t.Errorf("%q: dropped as %q, want %q", s, why, w)
		}
	}
	bad("_e{5,4}:title|text", unsupported)
	bad("_sc|name|0", unsupported)
	bad("a", badLine)
	bad(":1|c", badLine)
	bad("a:1", badLine)
	bad("a:|c", badLine)
	bad("a:1|", badType)
	bad("a:1|x", badType)
	bad("a:1|m", badType)
	bad("a:1|mx", badType)
	bad("a:1|cc", badType)
	bad("a:1|c|@0", badRate)
	bad("a:1|c|@1.5", badRate)
	bad("a:1|c|@-1", badRate)
	bad("a:1|c|@", badRate)
	bad("a:1|c|@1e-300", badRate)
	bad("a:1|c|Tx", badTime)
	bad("a:1|c|T", badTime)
	bad("a:1|c|T-5", badTime)
	bad("a:1|c|T0", badTime)
}

func TestNumber(t *testing.T) {
	good := func(s string) {
		t.Helper()
		want, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := number([]byte(s)); !ok || math.Float64bits(got) != math.Float64bits(want) {
			t.Errorf("%q: %v %v, want %v", s, got, ok, want)
		}
	}
	for _, s := range []string{
		"0", "-0", "1", "-1", "+1", "0.1", ".5", "5.", "3.14159", "123456789012345", "9007199254740991", "9007199254740993", "12345678901234567890",
		"0.123456789012345678", "1e3", "1E-3", "-2.5e+10", "1.7976931348623157e308", "5e-324", "00012", "99999999999999.9", "0.000000000000001",
	} {
		good(s)
	}
	for _, s := range []string{"", "-", "+", ".", "-.", "e", "1e", "--1", "1-", "1.2.3", "0x10", "inf", "-Inf", "NaN", "nan", "1_000", "1e999", " 1", "1 ", "1,5", strings.Repeat("1", 401)} {
		if v, ok := number([]byte(s)); ok {
			t.Errorf("%q was taken as %v", s, v)
		}
	}
}

func FuzzNumber(f *testing.F) {
	for _, s := range []string{"1", "-1.5", "1e9", "0.1234567890123456789", "9007199254740993"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := number([]byte(s))
		if !ok {
			return
		}
		want, err := strconv.ParseFloat(s, 64)
		if err != nil || math.Float64bits(got) != math.Float64bits(want) {
			t.Errorf("%q: %v, strconv says %v, %v", s, got, want, err)
		}
	})
}
