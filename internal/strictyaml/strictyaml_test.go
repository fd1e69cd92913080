package strictyaml

import (
	"strings"
	"testing"
	"time"
)

type inner struct {
	Interval time.Duration `yaml:"interval"`
	Parts    []part        `yaml:"parts"`
}

type part struct {
	Name string `yaml:"name"`
	Of   *part  `yaml:"of"`
}

type file struct {
	Enabled bool  `yaml:"enabled"`
	Count   int   `yaml:"count"`
	Inner   inner `yaml:"inner"`
	part    `yaml:",inline"`
	Deep    struct {
		inner `yaml:",inline"`
		Own   string `yaml:"own"`
	} `yaml:"deep"`
}

func TestDecodeKeepsWhatIsLeftOut(t *testing.T) {
	f := file{Count: 7, Inner: inner{Interval: time.Second}}
	for _, raw := range []string{"", "# nothing\n", "enabled: true\n", "---\nenabled: true\n"} {
		if err := Decode([]byte(raw), &f); err != nil {
			t.Errorf("%q: %v", raw, err)
		}
	}
	if !f.Enabled || f.Count != 7 || f.Inner.Interval != time.Second {
		t.Errorf("decoded %+v", f)
	}
}

func TestDecodeExplains(t *testing.T) {
	for raw, want := range map[string]string{
		"enabled: true\ninner:\n  intervall: 3s": `line 3: unknown key "intervall", did you mean "interval"?`,
		"xyzzy: 1":                               `line 1: unknown key "xyzzy", known are count, deep, enabled, inner, name, of`,
		"deep: {intervl: 3s}":                    `did you mean "interval"?`,
		"deep: {on: x}":                          `did you mean "own"?`,
		"inner: {parts: [{nme: a}]}":             `did you mean "name"?`,
		"inner: {interval: 3}":                   `line 1: "3" cannot be used here: write a duration with its unit, such as 10s`,
		"inner: [1]":                             `line 1: a list cannot be used here: write keys with values`,
		"inner: {parts: {a: b}}":                 `a group of keys cannot be used here: write a list`,
		"enabled: maybe":                         `"maybe" cannot be used here: write true or false`,
		"count: many\nenabled: 7":                `write a whole number; line 2: "7" cannot be used here`,
		"inner:\n\t- x":                          `line 2: found character that cannot start any token`,
		"enabled: true\n---\ncount: 3":           `a second document`,
	} {
		err := Decode([]byte(raw), &file{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: got %v\nwant %s", raw, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("inner: {interval: 3s, parts: [{name: a, of: {name: b}}]}")
	f.Add("a: &a [*a]\nenabled: {1: 2}")
	f.Fuzz(func(t *testing.T, raw string) {
		if err := Decode([]byte(raw), &file{}); err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
	})
}
