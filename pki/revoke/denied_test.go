package revoke

import (
	"strings"
	"testing"
)

func TestDenialIDs(t *testing.T) {
	print := strings.Repeat("0aF3", 16)
	pairs := strings.TrimSuffix(strings.Repeat("0A:f3:", 16), ":")
	for entry, want := range map[string]string{
		"serial:2e0f51": "serial:2e0f51", "serial:2E:0F:51": "serial:2e0f51", "serial:002e0f51": "serial:2e0f51", "serial:e0f51": "serial:e0f51", "serial:0": "serial:0",
		"serial:" + strings.Repeat("f", 40): "serial:" + strings.Repeat("f", 40),
		"sha256:" + print:                   "sha256:" + strings.Repeat("0af3", 16), "sha256:" + pairs: "sha256:" + strings.Repeat("0af3", 16),
	} {
		if got, err := DenialID(entry); err != nil || got != want {
			t.Errorf("%s: %q, %v", entry, got, err)
		}
	}
	for _, entry := range []string{
		"", "serial", "serial:", "SERIAL:2e", "2e0f51", "serial:0x2e", "serial:2e0g", "serial:-1", "serial:2e 0f", "serial:2:e0", "serial:2e:0f:", "serial::2e", "serial:2e::0f",
		"serial:" + strings.Repeat("f", 41), "sha256:" + print[2:], "sha256:" + print + "00", "sha256:" + pairs + ":00", "sha1:" + print[:40], "sha256:" + pairs[1:], "serial:\n2e", "serial:２e",
	} {
		if got, err := DenialID(entry); err == nil {
			t.Errorf("%q is %q", entry, got)
		}
		if _, err := ParseDenied([]string{entry}); err == nil {
			t.Errorf("%q is taken", entry)
		}
	}
}
