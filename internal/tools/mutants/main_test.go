package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// sample is a repository with one defence, one test of it, and mutants.
func sample(t *testing.T, patches map[string]string) string {
	dir := t.TempDir()
	files := map[string]string{
		"go.mod":         "module sample\n\ngo 1.26\n",
		"door/door.go":   "package door\n\n// Open says who may enter.\nfunc Open(name string) bool {\n\tif name == \"mallory\" {\n\t\treturn false\n\t}\n\treturn true\n}\n",
		"door/a_test.go": "package door\n\nimport \"testing\"\n\nfunc TestMallory(t *testing.T) {\n\tif Open(\"mallory\") {\n\t\tt.Error(\"in\")\n\t}\n}\n\nfunc TestAlice(t *testing.T) {\n\tif !Open(\"alice\") {\n\t\tt.Error(\"out\")\n\t}\n}\n",
	}
	for name, text := range patches {
		files["security/mutants/"+name+".patch"] = text
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("git", "init", "-q", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// patch takes the defence of the sample out by writing to in its place.
func patch(fails, to string) string {
	return "# without: the defence\n# fails: " + fails + "\n--- a/door/door.go\n+++ b/door/door.go\n@@ -4,3 +4,3 @@\n func Open(name string) bool {\n-\tif name == \"mallory\" {\n+\t" + to + "\n \t\treturn false\n"
}

func play(t *testing.T, patches map[string]string, args ...string) (int, string) {
	t.Helper()
	dir := sample(t, patches)
	var out bytes.Buffer
	code := run(append([]string{"-tree", dir, "-scratch", filepath.Join(dir, "var", "mutants")}, args...), &out)
	if _, err := os.Stat(filepath.Join(dir, "var", "mutants")); err == nil {
		t.Error("the copy was left behind")
	}
	source, err := os.ReadFile(filepath.Join(dir, "door", "door.go"))
	if err != nil || !strings.Contains(string(source), "mallory") {
		t.Errorf("the tree was changed: %s, %v", source, err)
	}
	return code, out.String()
}

func TestMutants(t *testing.T) {
	for _, row := range []struct {
		name    string
		patches map[string]string
		code    int
		says    string
	}{
		{"noticed, twice in a row", map[string]string{
			"a": patch("./door TestMallory", `if name == "nobody" {`),
			"b": patch("./door TestMallory", `if false {`),
		}, 0, "2 mutants, 2 noticed, 0 not"},
		{"survived", map[string]string{"a": patch("./door TestAlice", `if false {`)}, 1, survived},
		{"does not build", map[string]string{"a": patch("./door TestMallory", `if nme == "" {`)}, 1, "does not build"},
		{"names no test", map[string]string{"a": patch("./door TestEve", `if false {`)}, 1, "the test is not there"},
		{"does not apply", map[string]string{"a": strings.ReplaceAll(patch("./door TestMallory", `if false {`), "mallory", "eve")}, 1, "does not apply"},
		{"fails without a mutant", map[string]string{"a": patch("./nowhere TestMallory", `if false {`)}, 1, "without any mutant"},
		{"no header", map[string]string{"a": "--- a/door/door.go\n\n\n"}, 1, "want `# without"},
		{"none", nil, 1, "0 mutants"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			code, out := play(t, row.patches)
			if code != row.code || !strings.Contains(out, row.says) {
				t.Errorf("exit code %d, want %d and %q:\n%s", code, row.code, row.says, out)
			}
		})
	}
}

func TestOneMutantByName(t *testing.T) {
	patches := map[string]string{"good": patch("./door TestMallory", `if false {`), "bad": patch("./door TestAlice", `if false {`)}
	if code, out := play(t, patches, "good"); code != 0 || !strings.Contains(out, "1 mutants, 1 noticed") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	if code, out := play(t, patches, "good", "other"); code != 1 {
		t.Errorf("a name that is none: exit code %d\n%s", code, out)
	}
}

// A folder that is not a copy of ours is not removed.
func TestScratchIsNotSomebodysFolder(t *testing.T) {
	dir := sample(t, map[string]string{"a": patch("./door TestMallory", `if false {`)})
	var out bytes.Buffer
	if code := run([]string{"-tree", dir, "-scratch", filepath.Join(dir, "door")}, &out); code != 1 || !strings.Contains(out.String(), "not a copy of ours") {
		t.Errorf("exit code %d: %s", code, out.String())
	}
	if _, err := os.Stat(filepath.Join(dir, "door", "door.go")); err != nil {
		t.Error(err)
	}
}
