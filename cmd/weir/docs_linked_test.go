package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A page of the documentation that nothing leads to is read by nobody.
func TestEveryDocumentIsLinked(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	docs, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(docs) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	all := string(readme)
	for _, d := range docs {
		b, err := os.ReadFile(d)
		if err != nil {
			t.Fatal(err)
		}
		all += string(b)
	}
	for _, d := range docs {
		if name := filepath.Base(d); !strings.Contains(all, "("+name) && !strings.Contains(all, "(docs/"+name) {
			t.Errorf("docs/%s is linked from neither the README nor another document", name)
		}
	}
}
