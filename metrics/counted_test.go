package metrics

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A series that the catalogue offers is raised somewhere: who has an alert on another waits
// in vain.
func TestEverySeriesIsCountedSomewhere(t *testing.T) {
	catalogue, err := os.ReadFile("catalogue.go")
	if err != nil {
		t.Fatal(err)
	}
	used := make(map[string]bool)
	name := regexp.MustCompile(`metrics\.([A-Z]\w*)`)
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range name.FindAllSubmatch(text, -1) {
			used[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, m := range regexp.MustCompile(`(?m)^\s+([A-Z]\w*)\s+=`).FindAllSubmatch(catalogue, -1) {
		n++
		if id := string(m[1]); !used[id] {
			t.Errorf("%s is raised nowhere; take it out of the catalogue", id)
		}
	}
	if n < 100 {
		t.Errorf("%d series were looked at; the test proves nothing", n)
	}
}
