package config

import (
	"flag"
	"os"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "record what is generated and what golden files hold")

// golden compares got with a file, or records it.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(got) {
		t.Errorf("%s is stale: run go test ./config -rewrite and read the difference", path)
	}
}

func TestDocumentsAreCurrent(t *testing.T) {
	golden(t, "../docs/configuration.md", Reference())
	golden(t, "../docs/redoubt.example.yaml", Example())
	golden(t, "../docs/limits.md", LimitsTable())
}
