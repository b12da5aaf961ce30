package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The list is complete, and code, scripts, tests and reasons name only what is
// on it.
func TestListHoldsEveryStatementThatIsNamed(t *testing.T) {
	r, err := readRepo("../../..")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.wrong(); err != nil {
		t.Error(err)
	}
}

// tree writes a small repository.
func tree(t *testing.T, change map[string]string) string {
	t.Helper()
	root := t.TempDir()
	files := map[string]string{
		listFile: "## MQTT 5.0\n| MQTT-1.1.1-1 | 5.0 | One. |\n## MQTT 3.1.1\n| MQTT-9.9.9-9 | 3.1.1 | One. (as MQTT-1.1.1-1) |\n" +
			"## Statements that bind the client\n| MQTT-1.1.1-2 | 5.0 | Two. |\n",
		reasonFile:               "{}",
		"mqtt/a.go":              "package mqtt // [MQTT-1.1.1-1]\n",
		"session/b_test.go":      "package session\n\n// TestB does.\n//\n// Covers: MQTT-9.9.9-9 (3.1.1)\nfunc TestB(t *testing.T) {}\n",
		scriptRoot + "/one.txt":  "case One.\ncovers MQTT-1.1.1-1 (5.0)\na connects\n",
		"internal/testkit/x.go":  "package testkit // MQTT-1.1.1-99 is not looked at\n",
		"conn/conformance_no.go": "package conn\n",
	}
	for name, text := range change {
		files[name] = text
	}
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// good is what the tests of the small repository say.
var good = map[string]string{
	"conn": `{"Action":"attr","Test":"TestConformance/portable/one/One/v5","Key":"covers","Value":"MQTT-1.1.1-1 (5.0)"}
{"Action":"pass","Test":"TestConformance/portable/one/One/v5"}
{"Action":"attr","Test":"TestConformance/native/one/One/v5","Key":"covers","Value":"MQTT-1.1.1-1 (5.0)"}
{"Action":"pass","Test":"TestConformance/native/one/One/v5"}`,
	"session": `{"Action":"pass","Test":"TestB"}`,
}

// play runs the program over a tree and events.
func play(root string, events map[string]string) (string, int) {
	var out bytes.Buffer
	code := run(root, false, &out, func(_, pkg, _ string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(events[pkg])), nil
	})
	return out.String(), code
}

func TestVerdict(t *testing.T) {
	fails := map[string]string{"session": good["session"], "conn": strings.Replace(good["conn"], `"pass","Test":"TestConformance/native`, `"fail","Test":"TestConformance/native`, 1)}
	broken := map[string]string{"session": good["session"], "conn": `{"Action":"build-output","Output":"undefined: x"}`}
	for _, c := range []struct {
		name   string
		change map[string]string
		events map[string]string
		code   int
		says   string
	}{
		{"all is well", nil, good, 0, "0 holes"},
		{"the table names the test without its way of playing", nil, good, 0, "mqtt/a.go:1                         conn one/One/v5"},
		{"one way of playing fails", nil, fails, 1, "FAILS conn one/One/v5"},
		{"a package does not build", nil, broken, 1, "undefined: x"},
		{"nobody cites it", map[string]string{"mqtt/a.go": "package mqtt"}, good, 1, "NOT CITED"},
		{"a citation for 3.1.1 is none for 5.0", map[string]string{"mqtt/a.go": "package mqtt // [MQTT-1.1.1-1 of 3.1.1]"}, good, 1, "NOT CITED"},
		{"nobody tests it", map[string]string{listFile: "| MQTT-1.1.1-1 | 5.0 | One. |\n| MQTT-1.1.1-3 | 5.0 | Three. |"}, good, 1, "NO TEST, NOT CITED"},
		{"there is a reason", map[string]string{
			listFile:   "| MQTT-1.1.1-1 | 5.0 | One. |\n| MQTT-1.1.1-3 | 5.0 | Three. |",
			reasonFile: `{"MQTT-1.1.1-3 (5.0)": {"test": "nobody can", "citation": "nowhere"}}`,
		}, good, 0, "(nobody can)"},
		{"the reason is stale", map[string]string{reasonFile: `{"MQTT-1.1.1-1 (5.0)": {"test": "nobody can"}}`}, good, 1, "IS TESTED"},
		{"a script names nonsense", map[string]string{scriptRoot + "/one.txt": "covers MQTT-1.1.1-1"}, good, 1, "is not like"},
	} {
		if out, code := play(tree(t, c.change), c.events); code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("%s: code %d, want %d and %q in\n%s", c.name, code, c.code, c.says, out)
		}
	}
}

func TestWrongNames(t *testing.T) {
	for what, change := range map[string]map[string]string{
		"a.go:1: there is no MQTT-7.7.7-7":                {"mqtt/a.go": "package mqtt // MQTT-7.7.7-7"},
		"a.go:1: there is no MQTT-1.1.1-1 in 3.1.1":       {"mqtt/a.go": "package mqtt // [MQTT-1.1.1-1 of 3.1.1]"},
		"one.txt:2: there is no MQTT-9.9.9-9 in 5.0":      {scriptRoot + "/one.txt": "case One.\ncovers MQTT-9.9.9-9 (5.0)"},
		"TestB: there is no MQTT-1.1.1-1 in 3.1.1":        {"session/b_test.go": "package session\n\n// Covers: MQTT-1.1.1-1 (3.1.1)\nfunc TestB() {}\n"},
		"refused.json: there is no MQTT-7.7.7-7 in 3.1.1": {reasonFile: `{"MQTT-7.7.7-7 (3.1.1)": {"test": "x"}}`},
	} {
		r, err := readRepo(tree(t, change))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.wrong(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("want %q, got %v", what, err)
		}
	}
}
