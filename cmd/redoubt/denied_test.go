package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/config"
)

// What cannot be denied is refused in words, and nothing has changed.
func TestDenialsThatAreRefused(t *testing.T) {
	never := func(admin.SettingChange) { t.Error("it would have been in force") }
	n, _ := layeredNode(t, "certificates:\n  denied: [\"serial:aa\"]\n")
	var key *config.KeyError
	if _, err := n.AmendSetting(t.Context(), deniedKey, "serial:bb", false, 7, never); !errors.As(err, &key) || key.Fault != config.Pinned || !strings.Contains(err.Error(), ":2, and the file comes first") {
		t.Errorf("the file has the list: %v", err)
	}
	var full []string
	for i := 0; len(full)*75 < config.ValueBytesMax-200; i++ {
		full = append(full, fmt.Sprintf("sha256:%064x", i))
	}
	text, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	n, _ = layeredNode(t, "", deniedKey, string(text))
	if len(n.loaded.Load().Config.Certificates.Denied) != len(full) {
		t.Fatalf("%+v", n.next.Load().Idle())
	}
	for entry, want := range map[string]string{
		"sha256:" + strings.Repeat("a", 63): "has not the form of this key",
		"2e0f":                              "has not the form of this key",
		"serial:\n2e":                       "has a control character",
	} {
		if _, err := n.AmendSetting(t.Context(), deniedKey, entry, false, 7, never); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", entry, err)
		}
	}
	if _, err := n.AmendSetting(t.Context(), deniedKey, "serial:01", true, 7, never); !errors.As(err, &key) || key.Fault != config.Unknown {
		t.Errorf("taking off what is not there: %v", err)
	}
	if _, err := n.AmendSetting(t.Context(), "limits.inflight", "5", false, 7, never); !errors.As(err, &key) || !strings.Contains(err.Error(), "is no list") {
		t.Errorf("no list: %v", err)
	}
	var kept *admin.NotKeptError
	if _, err := n.AmendSetting(t.Context(), deniedKey, "serial:CC", false, 7, never); !errors.As(err, &kept) {
		t.Errorf("the disk is full: %v", err)
	}
	for range 5 { // as many as the value holds, and one more
		full = append(full, fmt.Sprintf("sha256:%064x", 1000+len(full)))
	}
	if text, err = json.Marshal(full); err != nil {
		t.Fatal(err)
	}
	if _, err := n.SetSetting(t.Context(), deniedKey, string(text), 7, never); err == nil || !strings.Contains(err.Error(), "the most is 8192") {
		t.Errorf("too many: %v", err)
	}
}

func TestWhatIsDenied(t *testing.T) {
	for arg, want := range map[string]string{
		"serial:00:4B": "serial:4b",
		"sha256:" + strings.Repeat("AB:", 31) + "AB": "sha256:" + strings.Repeat("ab", 32),
	} {
		if got, err := denialOf(arg); err != nil || got != want {
			t.Errorf("%s: %q, %v", arg, got, err)
		}
	}
	for arg, want := range map[string]string{
		"4b0d":                   "If it is meant as it stands: serial:4b0d",
		strings.Repeat("ab", 32): "If it is meant as it stands: sha256:ab",
		"/no/such.pem":           "is no file with a certificate, and no ID",
		"denied_test.go":         "holds no certificate",
		"serial:xyz":             "hexadecimal",
	} {
		if got, err := denialOf(arg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v", arg, got, err)
		}
	}
}
