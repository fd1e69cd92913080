// Package strictyaml reads configuration files into structs over their defaults: a key that nobody knows is an error.
//
// Files come from cmd/weir and the collector; the errors, which name lines and ways out, go to the people who wrote
// the files.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Decode reads YAML into the struct that into points to; what the YAML leaves out stays as it is, nothing at all
// leaves everything. Errors are one line: each mistake with its line, an unknown key with the nearest known one.
func Decode(raw []byte, into any) error {
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true)
	err := d.Decode(into)
	if err == nil {
		// Whoever writes a second document expects it to count.
		if err = d.Decode(new(any)); err == nil {
			return errors.New(`a second document begins after "---": put everything into one`)
		}
	}
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	return explain(err, reflect.TypeOf(into))
}

var (
	unknownField = regexp.MustCompile(`^line (\d+): field (.+) not found in type (.+)$`)
	wrongKind    = regexp.MustCompile("(?s)^line (\\d+): cannot unmarshal !!(\\S+)(?: `(.*)`)? into (.+)$")
)

// explain turns the decoder's words into ours: it names Go types, which are in no file.
func explain(err error, t reflect.Type) error {
	var te *yaml.TypeError
	if !errors.As(err, &te) {
		return errors.New(strings.ReplaceAll(strings.TrimPrefix(err.Error(), "yaml: "), "\n", " "))
	}
	known := map[string][]string{}
	collectKeys(t, known)
	lines := make([]string, 0, len(te.Errors))
	for _, e := range te.Errors {
		if m := unknownField.FindStringSubmatch(e); m != nil {
			e = fmt.Sprintf("line %s: unknown key %q", m[1], m[2])
			if near := nearest(m[2], known[m[3]]); near != "" {
				e += fmt.Sprintf(", did you mean %q?", near)
			} else if keys := known[m[3]]; len(keys) > 0 {
				e += ", known are " + strings.Join(keys, ", ")
			}
		} else if m := wrongKind.FindStringSubmatch(e); m != nil {
			e = fmt.Sprintf("line %s: %s cannot be used here: write %s", m[1], found(m[2], m[3]), wanted(m[4]))
		}
		lines = append(lines, e)
	}
	return errors.New(strings.Join(lines, "; "))
}

func found(tag, value string) string {
	switch tag {
	case "seq":
		return "a list"
	case "map":
		return "a group of keys"
	}
	return fmt.Sprintf("%q", value)
}

func wanted(goType string) string {
	switch {
	case goType == "time.Duration":
		return "a duration with its unit, such as 10s"
	case goType == "bool":
		return "true or false"
	case goType == "string":
		return "text"
	case strings.HasPrefix(goType, "int"):
		return "a whole number"
	case strings.HasPrefix(goType, "uint"):
		return "a whole number from 0"
	case strings.HasPrefix(goType, "float"):
		return "a number"
	case strings.HasPrefix(goType, "[]"):
		return "a list, each entry after a dash"
	default:
		return "keys with values, indented below"
	}
}

// collectKeys lists the YAML keys of every struct type below t by the name of the type.
func collectKeys(t reflect.Type, known map[string][]string) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		collectKeys(t.Elem(), known)
	case reflect.Struct:
		if _, ok := known[t.String()]; ok {
			return
		}
		known[t.String()] = nil // in the works, for types that hold themselves
		keys := []string{}
		for f := range t.Fields() {
			collectKeys(f.Type, known)
			name, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			switch {
			case slices.Contains(strings.Split(opts, ","), "inline"):
				keys = append(keys, known[f.Type.String()]...)
			case name != "" && name != "-":
				keys = append(keys, name)
			}
		}
		slices.Sort(keys)
		known[t.String()] = keys
	default:
	}
}

// nearest returns the key with the fewest edits to make, when these are few.
func nearest(word string, keys []string) string {
	best, least := "", len(word)/3+2
	for _, k := range keys {
		if d := edits(word, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
