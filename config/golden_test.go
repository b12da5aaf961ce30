package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// now is when every test runs.
var now = time.Date(2026, 11, 20, 15, 4, 5, 0, time.UTC)

// canary is the content of every secret in the tests; no output may hold it.
const canary = "canary-5d41402abc4b2a76"

// loadText loads a file's content without touching the disk. Secrets exist
// except those with missing in their path.
func loadText(text string, env ...string) (*Loaded, error) {
	l := &loader{opts: Options{Env: env, Now: now, Hostname: "host-a", CredentialsDir: "/run/credentials"}}
	l.secrets = secretFinder{l.opts.CredentialsDir, func(path string, _ int64) ([]byte, error) {
		if strings.Contains(path, "missing") {
			return nil, errors.New("does not exist")
		}
		return []byte(canary), nil
	}}
	return l.load("/etc/redoubt/redoubt.yaml", []byte(text))
}

// TestRefused reads testdata/refused: cases of a title line beginning with
// "== ", lines of environment beginning with "$ ", the file, a line "----", and
// what Load says. -rewrite records the last part.
func TestRefused(t *testing.T) {
	files, err := filepath.Glob("testdata/refused/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { refusedFile(t, file) })
	}
}

func refusedFile(t *testing.T, file string) {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut("\n"+string(b), "\n== ")
	var out strings.Builder
	if head = strings.TrimPrefix(head, "\n"); head != "" {
		out.WriteString(head + "\n")
	}
	for i, c := range strings.Split(rest, "\n== ") {
		title, body, _ := strings.Cut(c, "\n")
		input, want, found := strings.Cut("\n"+body, "\n----\n")
		if !found {
			t.Fatalf("case %q has no line ----", title)
		}
		input = strings.TrimPrefix(input, "\n")
		var env []string
		text := input
		for strings.HasPrefix(text, "$ ") {
			line, after, _ := strings.Cut(text, "\n")
			env, text = append(env, line[2:]), after
		}
		got := "valid"
		if _, err := loadText(text, env...); err != nil {
			got = err.Error()
		}
		if !*rewrite && strings.TrimSpace(want) != got {
			t.Errorf("%s\n%s\ngot:\n%s\nwant:\n%s", title, input, got, strings.TrimSpace(want))
		}
		if strings.Contains(got, canary) || strings.Contains(got, "hunter2") {
			t.Errorf("%s: a secret is shown: %s", title, got)
		}
		if i > 0 {
			out.WriteString("\n")
		}
		out.WriteString("== " + title + "\n" + input + "\n----\n" + got + "\n")
	}
	if *rewrite {
		golden(t, file, []byte(out.String()))
	}
}
