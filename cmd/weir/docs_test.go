package main

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/collector"
	"github.com/weirhq/weir/internal/access"
	"github.com/weirhq/weir/internal/strictyaml"
)

var updateDocs = flag.Bool("update-docs", false, "write docs/configuration.md")

// The configuration reference is what the source says: keys, defaults, and the comments of the fields.
func TestConfigurationReferenceIsCurrent(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Configuration\n\nGenerated from the source by `make docs`. Durations are written like `10s`, sizes in bytes. `[]` is an entry of a list, `NAME` a name of your choice.\n" +
		"An unknown key is an error that names its line. `weir check FILE` and `weir-collector -check -config FILE` explain a file or say what is wrong with it.\n\n" +
		"## weir\n\n| key | default | meaning |\n|---|---|---|\n")
	cfg := defaultConfig()
	cfg.fill()
	cfg.Collector.Config = collector.Config{} // has a table of its own
	comments := fieldComments(t)
	writeKeys(&b, reflect.ValueOf(cfg), "", comments)
	b.WriteString("\n## weir-collector\n\nIn the all-in-one process the same keys stand below `collector:`; what they leave out is derived from the server's keys there:\n" +
		"`data_dir` is `DATA_DIR/collector`, `statsd.unix` is `DATA_DIR/statsd.sock`, `server.url` is the address of `http.listen`.\n\n| key | default | meaning |\n|---|---|---|\n")
	writeKeys(&b, reflect.ValueOf(collector.DefaultConfig()), "", comments)
	got := b.String()
	const file = "../../docs/configuration.md"
	if *updateDocs {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Error("docs/configuration.md is out of date: run `make docs`")
	}
	for i, line := range strings.Split(got, "\n") {
		if strings.HasPrefix(line, "| `") && strings.HasSuffix(line, "|  |") {
			t.Errorf("docs/configuration.md:%d: a key without a meaning: %s", i+1, line)
		}
	}
}

func writeKeys(b *strings.Builder, v reflect.Value, prefix string, comments map[string]string) {
	ty := v.Type()
	for i := range ty.NumField() {
		f := ty.Field(i)
		tag, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if tag == "-" || !f.IsExported() {
			continue
		}
		if opts == "inline" {
			if !v.Field(i).IsZero() {
				writeKeys(b, v.Field(i), prefix, comments)
			} else {
				fmt.Fprintf(b, "| `%s…` | | the collector's keys, see below |\n", prefix)
			}
			continue
		}
		key := prefix + tag
		meaning := comments[ty.PkgPath()+"."+ty.Name()+"."+f.Name]
		ft := f.Type
		switch {
		case ft.Kind() == reflect.Struct && ft != reflect.TypeFor[time.Time]():
			writeKeys(b, v.Field(i), key+".", comments)
		case ft.Kind() == reflect.Slice && ft.Elem().Kind() == reflect.Struct:
			fmt.Fprintf(b, "| `%s` | `[]` | %s |\n", key, orList(meaning))
			writeKeys(b, reflect.New(ft.Elem()).Elem(), key+"[].", comments)
		case ft.Kind() == reflect.Map && ft.Elem().Kind() == reflect.Struct:
			fmt.Fprintf(b, "| `%s` | `{}` | %s |\n", key, orList(meaning))
			writeKeys(b, reflect.New(ft.Elem()).Elem(), key+".NAME.", comments)
		default:
			fmt.Fprintf(b, "| `%s` | `%v` | %s |\n", key, shown(v.Field(i)), meaning)
		}
	}
}

func orList(s string) string {
	if s == "" {
		return "a list, see below"
	}
	return s
}

func shown(v reflect.Value) string {
	if d, ok := reflect.TypeAssert[time.Duration](v); ok {
		return short(d)
	}
	if v.Kind() == reflect.Float64 {
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	}
	if v.Kind() == reflect.String {
		return fmt.Sprintf("%q", v.String())
	}
	if v.Kind() == reflect.Slice && v.Len() == 0 {
		return "[]"
	}
	if v.Kind() == reflect.Map && v.Len() == 0 {
		return "{}"
	}
	return fmt.Sprint(v.Interface())
}

// fieldComments reads the comments of all struct fields of the house: "package/path.Type.Field" → text.
func fieldComments(t *testing.T) map[string]string {
	t.Helper()
	root := filepath.Join("..", "..")
	out := map[string]string{}
	for _, dir := range []string{"alerts", "cmd/weir", "collector", "ingest", "internal", "query", "store"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
				return err
			}
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, p, nil, parser.ParseComments)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, filepath.Dir(p))
			if err != nil {
				return err
			}
			pkg := module + filepath.ToSlash(rel)
			ast.Inspect(f, func(n ast.Node) bool {
				ts, ok := n.(*ast.TypeSpec)
				if !ok {
					return true
				}
				st, ok := ts.Type.(*ast.StructType)
				if !ok {
					return true
				}
				last, end := "", token.NoPos
				keys := keysOf(st)
				for _, field := range st.Fields.List {
					if field.Doc != nil || end.IsValid() && fset.Position(field.Pos()).Line > fset.Position(end).Line+1 {
						last = "" // a blank line ends what a comment speaks of
					}
					end = field.End()
					text := oneLine(field.Doc.Text() + " " + field.Comment.Text())
					if text == "" && field.Doc == nil {
						text = last // a comment above several fields speaks of them all
					}
					if field.Doc != nil {
						last = text
					}
					for _, name := range field.Names {
						out[pkg+"."+ts.Name.Name+"."+name.Name] = inKeys(text, keys)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// keysOf maps the fields of a struct to their keys.
func keysOf(st *ast.StructType) map[string]string {
	keys := map[string]string{}
	for _, f := range st.Fields.List {
		if f.Tag == nil {
			continue
		}
		key, _, _ := strings.Cut(reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("yaml"), ",")
		for _, n := range f.Names {
			if key != "" && key != "-" {
				keys[n.Name] = key
			}
		}
	}
	return keys
}

var (
	fieldList = regexp.MustCompile(`^[A-Z]\w*((, | and | or |, or | with )[A-Z]\w*)*`)
	fieldName = regexp.MustCompile(`\b[A-Z]\w*\b`)
	manyHumps = regexp.MustCompile(`[a-z0-9][A-Z]`)
)

// inKeys puts keys where a comment says names of fields: at its beginning, and wherever a name cannot be a plain word.
func inKeys(text string, keys map[string]string) string {
	head := len(fieldList.FindString(text))
	var b strings.Builder
	at := 0
	for _, m := range fieldName.FindAllStringIndex(text, -1) {
		key, ok := keys[text[m[0]:m[1]]]
		if !ok || m[0] >= head && !manyHumps.MatchString(text[m[0]:m[1]]) {
			continue
		}
		b.WriteString(text[at:m[0]] + "`" + key + "`")
		at = m[1]
	}
	return b.String() + text[at:]
}

func oneLine(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", "\\|")
}

var seriesName = regexp.MustCompile("[\"`](weir_[a-z0-9_]+)[\"`{]")

// Every series weir makes is named in the documentation.
func TestMetricsReferenceIsComplete(t *testing.T) {
	root := filepath.Join("..", "..")
	var docs strings.Builder
	for _, f := range []string{"metrics.md", "wire.md", "metrics-host.md"} {
		b, err := os.ReadFile(filepath.Join(root, "docs", f))
		if err != nil {
			t.Fatal(err)
		}
		docs.Write(b)
	}
	named := map[string]string{}
	for _, dir := range []string{"alerts", "cmd/weir", "collector", "ingest", "internal", "query", "store"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") || strings.Contains(filepath.ToSlash(p), "/bench/") {
				return err
			}
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			for _, m := range seriesName.FindAllStringSubmatch(string(b), -1) {
				if m[1] != access.CookieName {
					named[m[1]] = p
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(named) < 40 {
		t.Fatalf("found only %d names of series", len(named))
	}
	names := make([]string, 0, len(named))
	for n := range named {
		names = append(names, n)
	}
	sort.Strings(names)
	missing := slices.DeleteFunc(names, func(n string) bool {
		return regexp.MustCompile(`\b`+n+`\b`).MatchString(docs.String()) || strings.HasSuffix(n, "_")
	})
	if len(missing) > 0 {
		t.Errorf("docs/metrics.md does not name:\n%s", strings.Join(missing, "\n"))
	}
}

// Every configuration that the documentation shows is one that weir takes.
func TestDocumentedConfigurations(t *testing.T) {
	keysOf := func(v any) map[string]bool {
		keys := map[string]bool{}
		for f := range reflect.TypeOf(v).Fields() {
			key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			keys[key] = true
		}
		return keys
	}
	ofServer, ofCollector := keysOf(Config{}), keysOf(collector.Config{})
	fence := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	first := regexp.MustCompile(`(?m)^([a-z_]+):`)
	tried := 0
	for _, pattern := range []string{"../../README.md", "../../docs/*.md", "../../docs/recipes/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range fence.FindAllSubmatch(text, -1) {
				key := first.FindSubmatch(m[1])
				if key == nil {
					continue
				}
				var into any
				switch k := string(key[1]); {
				case ofServer[k] && k != "server":
					cfg := defaultConfig()
					into = &cfg
				case ofCollector[k]:
					cfg := collector.DefaultConfig()
					into = &cfg
				default:
					continue // of another program
				}
				tried++
				if err := strictyaml.Decode(m[1], into); err != nil {
					t.Errorf("%s: %v in\n%s", file, err, m[1])
				}
			}
		}
	}
	if tried < 20 {
		t.Errorf("only %d configurations found", tried)
	}
}
