package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// judge feeds events to a summary.
func judge(lines ...string) (text string, code int) {
	var out bytes.Buffer
	code = run(nil, strings.NewReader(strings.Join(lines, "\n")+"\n"), &out)
	return out.String(), code
}

func TestVerdicts(t *testing.T) {
	cases := []struct {
		name  string
		lines []string
		last  string
		code  int
		shows []string
		hides string
	}{
		{"leaves are counted, parents are not", []string{
			`{"Action":"run","Package":"p","Test":"TestA"}`,
			`{"Action":"run","Package":"p","Test":"TestA/x"}`, `{"Action":"output","Package":"p","Test":"TestA/x","Output":"quiet\n"}`,
			`{"Action":"pass","Package":"p","Test":"TestA/x"}`, `{"Action":"pass","Package":"p","Test":"TestA/y"}`,
			`{"Action":"pass","Package":"p","Test":"TestA"}`, `{"Action":"pass","Package":"p","Elapsed":1.5}`,
		}, "2 passed, 0 failed", 0, []string{"ok   p", "1.5s"}, "quiet"},
		{"a failure is shown in full and its parent is not counted", []string{
			`{"Action":"run","Package":"p","Test":"TestA"}`, `{"Action":"run","Package":"p","Test":"TestA/x"}`,
			`{"Action":"output","Package":"p","Test":"TestA/x","Output":"got 1, want 2\n"}`,
			`{"Action":"fail","Package":"p","Test":"TestA/x"}`, `{"Action":"fail","Package":"p","Test":"TestA"}`, `{"Action":"fail","Package":"p"}`,
		}, "0 passed, 1 failed", 1, []string{"FAIL p", "got 1, want 2"}, ""},
		{"a parent that failed by itself counts", []string{
			`{"Action":"run","Package":"p","Test":"TestA"}`, `{"Action":"pass","Package":"p","Test":"TestA/x"}`,
			`{"Action":"output","Package":"p","Test":"TestA","Output":"left a goroutine\n"}`,
			`{"Action":"fail","Package":"p","Test":"TestA"}`, `{"Action":"fail","Package":"p"}`,
		}, "1 passed, 1 failed", 1, []string{"left a goroutine"}, ""},
		{"a package that does not build", []string{
			`{"ImportPath":"p [p.test]","Action":"build-output","Output":"a.go:1: undefined: x\n"}`, `{"ImportPath":"p [p.test]","Action":"build-fail"}`,
			`{"Action":"start","Package":"p"}`, `{"Action":"output","Package":"p","Output":"FAIL p [build failed]\n"}`, `{"Action":"fail","Package":"p","FailedBuild":"p [p.test]"}`,
		}, "0 passed, 1 failed", 1, []string{"undefined: x"}, ""},
		{"a test that never ended", []string{
			`{"Action":"run","Package":"p","Test":"TestA"}`, `{"Action":"output","Package":"p","Test":"TestA","Output":"panic: BUG\n"}`, `{"Action":"fail","Package":"p"}`,
		}, "0 passed, 1 failed", 1, []string{"TestA never ended", "panic: BUG"}, ""},
		{"a package that exits without a word", []string{
			`{"Action":"pass","Package":"p","Test":"TestA"}`, `{"Action":"output","Package":"p","Output":"exit status 3\n"}`, `{"Action":"fail","Package":"p"}`,
		}, "1 passed, 1 failed", 1, []string{"exit status 3"}, ""},
		{"a skipped test", []string{
			`{"Action":"skip","Package":"p","Test":"TestA"}`, `{"Action":"pass","Package":"p"}`,
		}, "0 passed, 1 failed", 1, []string{"TestA was skipped"}, ""},
		{"a package without tests is silent", []string{
			`{"Action":"skip","Package":"q"}`, `{"Action":"pass","Package":"p","Test":"TestA"}`, `{"Action":"pass","Package":"p"}`,
		}, "1 passed, 0 failed", 0, nil, " q"},
		{"a stream that stops", []string{
			`{"Action":"pass","Package":"p","Test":"TestA"}`,
		}, "1 passed, 1 failed", 1, []string{"before the package did"}, ""},
		{"nothing at all", nil, "0 passed, 1 failed", 1, []string{"no test ran"}, ""},
		{"words that are no events are passed on", []string{
			"go: warning", `{"Action":"pass","Package":"p","Test":"TestA"}`, `{"Action":"pass","Package":"p"}`,
		}, "1 passed, 0 failed", 0, []string{"go: warning"}, ""},
		{"one package in two passes", []string{
			`{"Action":"pass","Package":"p","Test":"TestA","Pass":"race"}`, `{"Action":"pass","Package":"p","Test":"TestA","Pass":"alloc"}`,
			`{"Action":"pass","Package":"p","Pass":"race"}`, `{"Action":"pass","Package":"p","Pass":"alloc"}`,
		}, "2 passed, 0 failed", 0, []string{"race p", "alloc p"}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			text, code := judge(c.lines...)
			lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
			if last := lines[len(lines)-1]; last != c.last || code != c.code {
				t.Errorf("ends with %q and exit code %d, want %q and %d\n%s", last, code, c.last, c.code, text)
			}
			for _, want := range c.shows {
				if !strings.Contains(text, want) {
					t.Errorf("does not show %q:\n%s", want, text)
				}
			}
			if c.hides != "" && strings.Contains(text, c.hides) {
				t.Errorf("shows %q:\n%s", c.hides, text)
			}
		})
	}
}

// twice runs a form of testsum that emits, and judges what it emitted.
func twice(args ...string) (text string, code int) {
	var events bytes.Buffer
	run(args, nil, &events)
	return judge(strings.TrimSuffix(events.String(), "\n"))
}

func TestSteps(t *testing.T) {
	if text, code := twice("step", "vet", "true"); code != 0 || !strings.Contains(text, "1 passed, 0 failed") {
		t.Errorf("a step that works: %d\n%s", code, text)
	}
	if text, code := twice("step", "vet", "sh", "-c", "echo because; exit 3"); code != 1 || !strings.Contains(text, "because") {
		t.Errorf("a step that fails: %d\n%s", code, text)
	}
	if text, code := twice("step", "vet", "no-such-command-here"); code != 1 {
		t.Errorf("a step that is not there: %d\n%s", code, text)
	}
	if _, code := twice("stap"); code != 1 {
		t.Error("a form that does not exist counts as nothing at all")
	}
}

// TestStreamRealGo runs the go command on packages that pass, fail and do not
// build, because its events are what this program is about.
func TestStreamRealGo(t *testing.T) {
	dir := t.TempDir()
	write := func(path, text string) {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module x\n\ngo 1.26\n")
	write("good/a_test.go", "package good\nimport \"testing\"\nfunc TestOne(t *testing.T) {}\nfunc TestTwo(t *testing.T) { t.Run(\"a\", func(*testing.T) {}); t.Run(\"b\", func(*testing.T) {}) }\n")
	write("bad/a_test.go", "package bad\nimport \"testing\"\nfunc TestBad(t *testing.T) { t.Error(\"reason 7\") }\n")
	write("broken/a_test.go", "package broken\nfunc x() { undefinedName() }\n")
	write("exits/a_test.go", "package exits\nimport (\"os\"; \"testing\")\nfunc TestExit(t *testing.T) { os.Exit(4) }\n")
	text, code := twice("stream", "race", "go", "-C", dir, "test", "-json", "./...")
	if code != 1 || !strings.Contains(text, "3 passed, 3 failed") {
		t.Errorf("exit code %d\n%s", code, text)
	}
	for _, want := range []string{"reason 7", "undefinedName", "TestExit never ended"} {
		if !strings.Contains(text, want) {
			t.Errorf("does not show %q:\n%s", want, text)
		}
	}
	if text, code := twice("stream", "race", "go", "-C", dir, "test", "-json", "./nowhere"); code != 1 {
		t.Errorf("a folder that is not there: %d\n%s", code, text)
	}
	if text, code := twice("stream", "race", "go", "-C", dir, "test", "-json", "./good"); code != 0 {
		t.Errorf("good alone: %d\n%s", code, text)
	}
}
