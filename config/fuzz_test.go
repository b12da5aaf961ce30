package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode"
)

// FuzzLoad: whatever the file and the environment hold, Load answers with
// problems fit for a terminal, or with a configuration that the JSON Schema
// takes and that means the same when written out and read again.
func FuzzLoad(f *testing.F) {
	f.Add(string(Example()), "")
	f.Add("a: &a [*a]\n", "REDOUBT_LIMITS__INFLIGHT=5")
	files, _ := filepath.Glob("testdata/refused/*.txt")
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, c := range strings.Split(string(b), "\n== ") {
			input, _, _ := strings.Cut(c, "\n----\n")
			_, text, _ := strings.Cut(input, "\n")
			env := ""
			for strings.HasPrefix(text, "$ ") {
				env, text, _ = strings.Cut(text[2:], "\n")
			}
			f.Add(text, env)
		}
	}
	schema := compiled(f)
	f.Fuzz(func(t *testing.T, text, env string) {
		l, err := loadText(text, env)
		if err != nil {
			refusal(t, err)
			return
		}
		if doc, ok := asJSON(t, []byte(text)); ok && doc != nil {
			if err := schema.Validate(doc); err != nil {
				t.Errorf("the schema refuses what the loader takes: %v", err)
			}
		}
		again, err := loadText(string(l.YAML(true)))
		if err != nil {
			t.Fatalf("%v\n%s", err, l.YAML(true))
		}
		if !reflect.DeepEqual(l.Config, again.Config) {
			t.Errorf("read again it is another configuration:\n%s\n%s", l.YAML(true), again.YAML(false))
		}
	})
}

// refusal checks the shape of an error.
func refusal(t *testing.T, err error) {
	t.Helper()
	var es *Errors
	if !errors.As(err, &es) || len(es.Problems) == 0 || len(es.Problems) > ProblemsMax {
		t.Fatalf("Load returned %T: %v", err, err)
	}
	for _, p := range es.Problems {
		said := p.Error()
		if p.What == "" || !strings.ContainsAny(said[len(said)-1:], ".?") {
			t.Errorf("not a sentence: %s", said)
		}
		if p.Origin.Kind != FromEnv && strings.ContainsFunc(said, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("not fit for a terminal: %q", said)
		}
	}
}
