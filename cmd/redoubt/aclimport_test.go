package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/auth/rules"
)

// An import is printed or written whole, to a file that was not there, or not at all.
func TestACLImport(t *testing.T) {
	dir := t.TempDir()
	good, bad, out := filepath.Join(dir, "good"), filepath.Join(dir, "bad"), filepath.Join(dir, "rules.yaml")
	for path, text := range map[string]string{good: "user alice\ntopic readwrite $SYS/a\ntopic read b\n", bad: "topic read b\ntopic reed b\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) (stdout, stderr string, err error) {
		var o, e strings.Builder
		cmd := rootCmd()
		cmd.SetOut(&o)
		cmd.SetErr(&e)
		cmd.SetArgs(append([]string{"acl", "import"}, args...))
		err = cmd.Execute()
		return o.String(), e.String(), err
	}
	text, notes, err := run("--from", "mosquitto", good)
	if err != nil || !strings.Contains(notes, good+":2: less than before") {
		t.Fatalf("%v, notes %q", err, notes)
	}
	if _, err := rules.Parse("printed", []byte(text)); err != nil {
		t.Error(err)
	}
	if said, _, err := run("--from", "mosquitto", good, "--out", out, "--dry-run"); err != nil || said != "2 rules, 1 notes; nothing was written\n" {
		t.Errorf("dry: %q, %v", said, err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a dry run wrote")
	}
	if said, _, err := run("--from", "mosquitto", good, "--out", out); err != nil || !strings.Contains(said, "redoubt acl lint "+out) {
		t.Errorf("%q, %v", said, err)
	}
	if b, err := os.ReadFile(out); err != nil || string(b) != text {
		t.Errorf("%v: %s", err, b)
	}
	if _, err := rules.Load(out); err != nil {
		t.Error(err)
	}
	if _, _, err := run("--from", "mosquitto", good, "--out", out); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("over another file: %v", err)
	}
	if said, _, err := run("--from", "mosquitto", bad); err == nil || said != "" || !strings.Contains(err.Error(), bad+`:2: "reed" is no access`) {
		t.Errorf("%q, %v", said, err)
	}
	if _, _, err := run(good); err == nil {
		t.Error("without --from")
	}
}
