package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/weirhq/weir/"

// floors lists, for each part of the house, what it may import of the house. A part is the
// longest prefix that matches. "x/..." in a value stands for x and everything below it.
var floors = map[string][]string{
	"cmd/weir":                 {"..."},
	"cmd/weir-collector":       {"collector", "internal/..."},
	"alerts":                   {"query/...", "store", "internal/..."},
	"dashboards":               {"store", "internal/..."},
	"ingest":                   {"store", "internal/..."},
	"ingest/bench":             {"ingest", "store/...", "internal/..."},
	"query":                    {"query/...", "store", "internal/..."},
	"query/flow":               {"internal/cell", "store"},
	"query/declare":            {"internal/..."},
	"query/series":             {},
	"query/pipeline/brokers":   {"query/answer", "query/flow", "query/pipeline/forecast", "query/series"},
	"query/pipeline/forecast":  {"query/answer", "query/flow"},
	"query/pipeline/changes":   {"query/answer", "store"},
	"query/pipeline/declared":  {"internal/cell", "query/declare", "query/flow", "store"},
	"query/pipeline/ledger":    {"query/answer", "query/flow", "query/pipeline/losses", "query/series", "store"},
	"query/pipeline/losses":    {"query/answer", "query/flow", "store"},
	"query/pipeline/spans":     {"internal/cell", "query/answer", "query/flow", "query/pipeline/telemetry", "query/series", "store"},
	"query/pipeline/telemetry": {"query/answer", "query/flow", "query/pipeline/brokers", "query/series", "store"},
	"query/rightsize":          {},
	"query/answer":             {},
	"query/api":                {"query/answer", "store"},
	"store":                    {"internal/..."},
	"store/storetest":          {"store", "internal/..."},
	"store/local":              {"store", "store/local/...", "internal/..."},
	"store/clickhouse":         {"store", "store/clickhouse/...", "internal/..."},
	"collector":                {"collector/...", "internal/..."},
	"collector/signal":         {},
	"collector/client":         {},
	"collector/statsd":         parts,
	"collector/scrape":         parts,
	"collector/otlp":           parts,
	"collector/host":           parts,
	"collector/broker":         parts,
	"collector/origin":         parts,
	"collector/audit":          parts,
	"collector/spool":          parts,
	"collector/ship":           parts,
	"collector/remotewrite":    {"collector/signal", "internal/..."},
	"ui":                       {},
	"deploy":                   {"internal/...", "deploy/...", "collector/client", "query/answer"},
	"internal":                 {},
}

// The collector's parts know the nouns, never one another.
var parts = []string{"collector/signal", "collector/remotewrite", "internal/..."}

// inTests are further imports that only _test.go files and bench programs make.
var inTests = map[string][]string{
	"store/local":             {"store/storetest"},
	"ingest":                  {"store/local/..."},
	"query":                   {"store/local/..."},
	"query/flow":              {"ingest/pairs"},
	"query/pipeline/brokers":  {"store"},
	"query/pipeline/changes":  {"store/storetest"},
	"query/pipeline/declared": {"store/storetest"},
	"alerts":                  {"store/local/..."},
	"collector":               {"collector/..."},
	"deploy":                  {"..."},
	"internal":                {"collector/client"},
}

// homes pins each foreign package to the folders that may import it.
var homes = map[string][]string{
	"go.opentelemetry.io/collector":                    {"collector/otlp", "ingest"},
	"github.com/prometheus/prometheus/tsdb":            {"store/local", "store/storetest", "query/pipeline/world"},
	"github.com/prometheus/prometheus/promql":          {"query"},
	"github.com/prometheus/prometheus/web":             {"query"},
	"github.com/prometheus/prometheus/rules":           {"alerts"},
	"github.com/prometheus/prometheus/discovery":       {"collector/scrape"},
	"github.com/prometheus/prometheus/model/textparse": {"collector", "cmd/weir"},
	"github.com/prometheus/prometheus/prompb":          {"ingest", "collector/ship", "collector/remotewrite", "cmd/weir/soak"},
	"github.com/prometheus/alertmanager":               {"alerts"},
	"github.com/parquet-go/parquet-go":                 {"store/local"},
	"modernc.org/sqlite":                               {"store/local"},
	"github.com/pressly/goose":                         {"store/local", "store/clickhouse"},
	"github.com/ClickHouse":                            {"store/clickhouse"},
	"github.com/jackc/pgx":                             {"store/clickhouse"},
	"github.com/grafana/dskit":                         {"cmd/weir", "ingest", "alerts"},
	"github.com/gorilla/websocket":                     {"query/live"},
	"github.com/nats-io/nats.go":                       {"collector/broker", "deploy/demo", "deploy/examples"},
	"github.com/rabbitmq/amqp091-go":                   {"deploy/examples"},
	"github.com/redis/go-redis":                        {"deploy/examples"}, // 8 MB: the collector uses redigo
	"github.com/gomodule/redigo":                       {"collector/broker"},
	"github.com/nats-io/nats-server":                   {"deploy/demo"},
	"github.com/twmb/franz-go":                         {"collector/broker", "deploy"},
	"github.com/danielgtaylor/huma":                    {"query/api", "cmd/weir"},
	"github.com/alecthomas/kong":                       {"cmd", "deploy"},
	"github.com/coreos/go-oidc":                        {"internal/access"},
}

// neverInCollector are packages that drag cloud SDKs or storage into the node agent.
var neverInCollector = []string{
	"github.com/prometheus/prometheus/config", "github.com/prometheus/prometheus/scrape",
	"github.com/prometheus/prometheus/storage/remote", "github.com/prometheus/prometheus/tsdb",
}

type goFile struct {
	dir, name string // dir slash-separated, relative to the module; "." for the root
	ast       *ast.File
}

func parseHouse(t *testing.T) []goFile {
	t.Helper()
	root := filepath.Join("..", "..")
	var files []goFile
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); n == "node_modules" || n == "testdata" || (strings.HasPrefix(n, ".") && n != "." && n != "..") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(p))
		if err != nil {
			return err
		}
		files = append(files, goFile{dir: filepath.ToSlash(rel), name: filepath.Base(p), ast: f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 50 {
		t.Fatalf("found only %d Go files: looking in the wrong place", len(files))
	}
	return files
}

// Imports between folders go down the floors of ARCHITECTURE.md and nowhere else.
func TestImportsKeepTheFloors(t *testing.T) {
	for _, f := range parseHouse(t) {
		rule, allowed := ruleFor(f.dir, floors)
		if rule == "" {
			t.Errorf("%s/%s: folder has no entry in the table of floors", f.dir, f.name)
			continue
		}
		isTest := strings.HasSuffix(f.name, "_test.go") || strings.HasSuffix(f.dir, "/bench")
		for _, imp := range importsOf(f) {
			rel, ours := strings.CutPrefix(imp, module)
			if !ours || matches(rel, []string{rule + "/..."}) && sameTop(rule) || matches(rel, allowed) || rel == f.dir {
				continue
			}
			if isTest {
				if _, more := ruleFor(f.dir, inTests); matches(rel, more) || strings.HasPrefix(rel, path.Dir(f.dir)) {
					continue
				}
			}
			t.Errorf("%s/%s imports %s: %s may import only %v", f.dir, f.name, rel, rule, allowed)
		}
	}
}

// sameTop tells whether a part may import its own sub-folders without naming them.
func sameTop(rule string) bool { return rule != "collector" && rule != "store" && rule != "query" }

// A foreign package has one home.
func TestForeignPackagesStayHome(t *testing.T) {
	for _, f := range parseHouse(t) {
		isTest := strings.HasSuffix(f.name, "_test.go") || strings.HasSuffix(f.dir, "/bench")
		for _, imp := range importsOf(f) {
			for pkg, rooms := range homes {
				if imp != pkg && !strings.HasPrefix(imp, pkg+"/") || isTest {
					continue
				}
				if !slices.ContainsFunc(rooms, func(r string) bool { return f.dir == r || strings.HasPrefix(f.dir, r+"/") }) {
					t.Errorf("%s/%s imports %s, whose home is %v", f.dir, f.name, imp, rooms)
				}
			}
			if strings.HasPrefix(f.dir, "collector") && !isTest && slices.ContainsFunc(neverInCollector, func(p string) bool {
				return imp == p || strings.HasPrefix(imp, p+"/")
			}) {
				t.Errorf("%s/%s imports %s, which the collector must not link", f.dir, f.name, imp)
			}
		}
	}
}

// Each package says once where its data comes from and goes.
func TestEveryPackageHasOneComment(t *testing.T) {
	count := map[string]int{}
	names := map[string]bool{}
	for _, f := range parseHouse(t) {
		if strings.HasSuffix(f.name, "_test.go") {
			continue
		}
		names[f.dir] = true
		if f.ast.Doc != nil && len(strings.TrimSpace(f.ast.Doc.Text())) > 0 {
			count[f.dir]++
		}
	}
	for dir := range names {
		if count[dir] != 1 {
			t.Errorf("%s has %d package comments, want 1", dir, count[dir])
		}
	}
}

var quoted = regexp.MustCompile("`([^`\n]+)`")

// ARCHITECTURE.md names only files, folders and Go packages that exist.
func TestArchitectureNamesWhatExists(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	tops := []string{"cmd/", "collector/", "ingest/", "store/", "query/", "dashboards/", "alerts/", "ui/", "deploy/", "internal/", "docs/"}
	seen := 0
	for _, m := range quoted.FindAllStringSubmatch(string(text), -1) {
		name := strings.TrimSuffix(m[1], "/")
		if !slices.ContainsFunc(tops, func(p string) bool { return strings.HasPrefix(m[1], p) }) || strings.ContainsAny(name, " *{<") {
			continue
		}
		seen++
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Errorf("ARCHITECTURE.md names %q, which does not exist", m[1])
		}
	}
	if seen < 20 {
		t.Errorf("ARCHITECTURE.md names only %d places of the tree", seen)
	}
}

func importsOf(f goFile) []string {
	var out []string
	for _, i := range f.ast.Imports {
		out = append(out, strings.Trim(i.Path.Value, `"`))
	}
	return out
}

// ruleFor returns the entry with the longest matching prefix.
func ruleFor(dir string, table map[string][]string) (string, []string) {
	for d := dir; d != "." && d != "/"; d = path.Dir(d) {
		if v, ok := table[d]; ok {
			return d, v
		}
	}
	return "", nil
}

func matches(rel string, allowed []string) bool {
	for _, a := range allowed {
		if a == "..." || a == rel {
			return true
		}
		if base, ok := strings.CutSuffix(a, "/..."); ok && (rel == base || strings.HasPrefix(rel, base+"/")) {
			return true
		}
	}
	return false
}
