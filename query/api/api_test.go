package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"testing"

	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

var update = flag.Bool("update", false, "write the OpenAPI document the UI's types come from")

// The document in the UI's folder is the one this package declares: types on both sides agree.
func TestOpenAPIDocumentIsCurrent(t *testing.T) {
	a := humago.New(http.NewServeMux(), Config("dev"))
	Register(a, nil, nil, nil)
	got, err := json.MarshalIndent(a.OpenAPI(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	const file = "../../ui/src/api/openapi.json"
	if *update {
		if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytes.TrimSpace(want), bytes.TrimSpace(got)) {
		t.Fatal("ui/src/api/openapi.json is out of date: run `make ui-types`")
	}
}
