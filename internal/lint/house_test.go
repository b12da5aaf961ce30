package lint

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "record what is generated")

// TestLogPageHasEveryLine: what docs/ops/log.md lists is what the code writes.
func TestLogPageHasEveryLine(t *testing.T) {
	repo, err := Load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	all := events(repo)
	if len(all) < 100 {
		t.Fatalf("%d events: this test does not see the code", len(all))
	}
	path := filepath.Join("..", "..", filepath.FromSlash(logPage))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begun := strings.Cut(string(text), logBegin)
	_, after, ended := strings.Cut(rest, logEnd)
	if !begun || !ended {
		t.Fatal("the marks are gone from the page")
	}
	want := before + logBegin + eventTable(all) + logEnd + after
	if *rewrite {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(text) != want {
		t.Error("docs/ops/log.md is not what the code writes: go test ./internal/lint -rewrite")
	}
}

// TestHouseRules is the one test that reads the real repository.
func TestHouseRules(t *testing.T) {
	repo, err := Load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if len(repo.Go) < 10 {
		t.Fatalf("found %d Go files: this test does not see the repository", len(repo.Go))
	}
	for _, f := range repo.Check() {
		t.Error(f)
	}
}
