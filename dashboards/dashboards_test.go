package dashboards

import (
	"encoding/json"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

// Every expression of every dashboard parses, and names only series that weir makes.
func TestExpressionsParse(t *testing.T) {
	files, err := fs.Glob(Grafana, "grafana/*.json")
	if err != nil || len(files) < 2 {
		t.Fatalf("found %v, %v", files, err)
	}
	p := parser.NewParser(parser.Options{})
	variable := regexp.MustCompile(`\$\w+`)
	for _, f := range files {
		b, err := Grafana.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			UID    string
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatalf("%s: %s", f, err)
		}
		if d.UID == "" || len(d.Panels) == 0 {
			t.Errorf("%s: uid %q, %d panels", path.Base(f), d.UID, len(d.Panels))
		}
		for _, panel := range d.Panels {
			for _, target := range panel.Targets {
				expr, err := p.ParseExpr(variable.ReplaceAllString(target.Expr, "x"))
				if err != nil {
					t.Errorf("%s, %q: %s", f, panel.Title, err)
					continue
				}
				for _, sel := range parser.ExtractSelectors(expr) {
					for _, m := range sel {
						if m.Name == "__name__" && !strings.HasPrefix(m.Value, "weir_") {
							t.Errorf("%s, %q asks for %s", f, panel.Title, m.Value)
						}
					}
				}
			}
		}
	}
}
