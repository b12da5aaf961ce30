package harden

import (
	"strings"
	"testing"
)

// A data directory that is no whole path is one of where the process was started.
func TestDiskOfARelativeDirectory(t *testing.T) {
	for dir, want := range map[string]string{"/var/lib/redoubt": "root/var/lib/redoubt", "var/data": "cwd/var/data"} {
		m := newMachine(t)
		m.report.Settings["node.data_dir"] = dir
		_, row := m.examine("P5.10")
		if got := row.Results[0].Observations[0].Source; !strings.HasSuffix(got, want) {
			t.Errorf("%s: %s", dir, got)
		}
	}
}
