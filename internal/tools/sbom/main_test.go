package main

import (
	"debug/buildinfo"
	"encoding/json"
	"os"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// What CycloneDX 1.5 wants of a document with these parts (bom-1.5.schema.json: required,
// pattern, enum, uniqueItems), looked at in that of this test.
func TestDocumentIsCycloneDX(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	info.Deps = append(info.Deps, &debug.Module{Path: "example.com/a", Version: "v1.0.0+incompatible", Sum: "h1:x"},
		&debug.Module{Path: "example.com/b", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/c", Version: "v2.0.0"}})
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	text, err := json.Marshal(describe(info, []byte("program"), "1.2.3+g0", at))
	if err != nil {
		t.Fatal(err)
	}
	var d document
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		t.Fatal(err)
	}
	if d.Format != "CycloneDX" || d.SpecVersion != "1.5" || d.Version < 1 || !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`).MatchString(d.Serial) {
		t.Errorf("head: %.300s", text)
	}
	if d.Metadata.Timestamp != "2026-01-02T03:04:05Z" || d.Metadata.Component.Type != "application" || d.Metadata.Component.Name != "redoubt" || d.Metadata.Component.Version != "1.2.3+g0" {
		t.Errorf("metadata: %+v", d.Metadata)
	}
	refs := map[string]bool{}
	for _, c := range append([]component{d.Metadata.Component}, d.Components...) {
		if c.Type != "application" && c.Type != "library" || c.Name == "" || c.Version == "" || c.Ref == "" || !strings.HasPrefix(c.PURL, "pkg:golang/") || refs[c.Ref] {
			t.Errorf("component %+v", c)
		}
		refs[c.Ref] = true
		for _, h := range c.Hashes {
			if h.Algorithm != "SHA-256" || !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(h.Content) {
				t.Errorf("hash %+v", h)
			}
		}
		for _, p := range c.Properties {
			if p.Name == "" {
				t.Errorf("a property without a name: %+v", c)
			}
		}
	}
	if len(d.Components) != len(info.Deps)+1 || len(d.Metadata.Component.Hashes) != 1 {
		t.Errorf("%d components of %d modules and the standard library", len(d.Components), len(info.Deps))
	}
	if !refs["pkg:golang/example.com/a@v1.0.0%2Bincompatible"] || !refs["pkg:golang/example.com/c@v2.0.0"] || refs["pkg:golang/example.com/b@v1.0.0"] {
		t.Errorf("what is built in is not what counts: %v", refs)
	}
	for _, dep := range d.Dependencies {
		if !refs[dep.Ref] || len(dep.On) != len(d.Components) {
			t.Errorf("dependency %+v", dep)
		}
		for _, on := range dep.On {
			if !refs[on] {
				t.Errorf("%s is nowhere", on)
			}
		}
	}
}
