package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A folder belongs to one demo while it runs, to the next one after it, and never when somebody else filled it.
func TestClaim(t *testing.T) {
	dir := t.TempDir()
	demo := func(dir string) *house {
		return &house{opt: options{Listen: "127.0.0.1:0", Dir: dir}}
	}
	first := demo(dir)
	if err := first.claim(); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, "orders.ledger")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := demo(dir).claim(); err == nil || !strings.Contains(err.Error(), "another demo runs") {
		t.Errorf("while it runs: %v", err)
	}
	if _, err := os.Stat(left); err != nil {
		t.Errorf("its files are gone: %v", err)
	}
	first.release()
	next := demo(dir)
	if err := next.claim(); err != nil {
		t.Errorf("after it ended: %v", err)
	}
	next.release()
	if _, err := os.Stat(left); err == nil {
		t.Error("the folder is not emptied")
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := demo(other).claim(); err == nil || !strings.Contains(err.Error(), "not the demo's") {
		t.Errorf("a folder of somebody else: %v", err)
	}
}
