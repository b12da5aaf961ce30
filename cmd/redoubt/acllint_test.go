package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// acl lint of a file needs no broker; its exit code is what a pipeline goes by.
func TestLintAFile(t *testing.T) {
	for name, c := range map[string]struct {
		rules  string
		strict bool
		code   int
		want   string
	}{
		"fine":         {`{allow: all, topics: ["devices/${username}/#"]}`, true, 0, "1 rules, 0 errors, 0 warnings"},
		"too broad":    {`{allow: all, topics: ["#"]}`, false, 1, ":2: error: everybody may publish and subscribe"},
		"warned":       {`{allow: all, users: [a], topics: ["/a"]}`, false, 0, ":2: warning: "},
		"warned of":    {`{allow: all, users: [a], topics: ["/a"]}`, true, 1, "[leading_slash]"},
		"no such name": {`{allow: all, topics: ["a/${user}"]}`, false, 1, "error: rules[0].topics[0]: "},
	} {
		path := filepath.Join(t.TempDir(), "rules.yaml")
		if err := os.WriteFile(path, []byte("version: 1\nrules: ["+c.rules+"]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(c.want, ":2:") {
			c.want = path + c.want
		}
		found, err := lintFile(&globals{}, path)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if err := printFindings(&out, &globals{}, found); err != nil {
			t.Fatal(err)
		}
		code := 0
		if found.Errors > 0 || c.strict && found.Warnings > 0 {
			code = 1
		}
		if code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: exit code %d, want %d:\n%s", name, code, c.code, out.String())
		}
	}
}
