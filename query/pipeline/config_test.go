package pipeline

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRulesDir(t *testing.T) {
	dir := t.TempDir()
	c := DefaultConfig()
	c.RulesDir = dir
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	file := filepath.Join(dir, "mine.yaml")
	if err := os.WriteFile(file, []byte("system: mine\nseries:\n  - {name: a, is: in, stage: s, pipline: p}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), `mine.yaml:3: unknown key "pipline"`) {
		t.Error(err)
	}
	for _, bad := range []string{file, filepath.Join(dir, "no")} {
		c.RulesDir = bad
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "pipelines.rules_dir") {
			t.Error(err)
		}
	}
}
