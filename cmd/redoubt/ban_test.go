package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// A command line that makes no sense ends with 2, before anybody is asked, and says what
// would.
func TestUsageIsToldBeforeTheBrokerIsAsked(t *testing.T) {
	dir := t.TempDir()
	for _, row := range []struct {
		want string
		args []string
	}{
		{`unknown command "run" for "redoubt"; did you mean redoubt serve?`, []string{"run"}},
		{`did you mean redoubt status?`, []string{"statis"}},
		{`unknown command "qqqqqq" for "redoubt"`, []string{"qqqqqq"}},
		{`did you mean redoubt ban delete?`, []string{"ban", "delte"}},
		{"give one of them", []string{"ban", "add", "clientid", "a", "--for", "1h", "--until", "2027-01-01T00:00:00Z"}},
		{`--for "1w" is not a duration`, []string{"ban", "add", "clientid", "a", "--for", "1w"}},
		{`--for "90" has no unit. Write 90s for seconds`, []string{"ban", "add", "clientid", "a", "--for", "90"}},
		{`--for "a week" is not a duration`, []string{"ban", "add", "clientid", "a", "--for", "a week"}},
		{`--for "" is not a duration`, []string{"ban", "add", "clientid", "a", "--for", ""}},
		{"a ban has to last", []string{"ban", "add", "clientid", "a", "--for", "-1h"}},
		{"is not UTF-8", []string{"ban", "add", "clientid", "\xff"}},
		{"is not UTF-8", []string{"ban", "add", "clientid", "a", "--reason", "\xff"}},
		{"WHO is empty", []string{"ban", "add", "clientid", ""}},
		{`"ip" is no kind of ban`, []string{"ban", "list", "--kind", "ip"}},
		{`--source "x": it is operator, file or flapping`, []string{"ban", "list", "--source", "x"}},
	} {
		out, err, code := command(t, "", append(row.args, "--data-dir", filepath.Join(dir, "none"))...)
		if err == nil || code != 2 || !strings.Contains(err.Error(), row.want) || out != "" {
			t.Errorf("%q: exit code %d, %v, %q, want %q", row.args, code, err, out, row.want)
		}
	}
	if _, err, code := command(t, "", "ban", "list", "--source", "file", "--kind", "clientid", "--data-dir", filepath.Join(dir, "none")); code != 3 {
		t.Errorf("a good one: %d, %v", code, err)
	}
}
