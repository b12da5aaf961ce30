package lint

import (
	"os"
	"testing"
)

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
