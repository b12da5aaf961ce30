package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Nobody approves what he asks for, however he writes himself.
func TestApproverIsSomebodyElse(t *testing.T) {
	for approver, good := range map[string]bool{"": true, "bob@example.com": true, "Ops": false, " ops ": false, "x": false} {
		file := filepath.Join(t.TempDir(), "redoubt.yaml")
		text := "metrics: {bind: [':9100']}\nwaivers: [{id: P1.4, scope: metrics, reason: behind a firewall, owner: ops, expires: 2026-12-20, approver: '" + approver + "', compensating_control: a network of its own}]\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		loaded, err := Load(Options{File: file, DataDir: t.TempDir(), Now: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)})
		if (err == nil) != good || err != nil && !strings.Contains(err.Error(), "waivers[0].approver") {
			t.Errorf("%q: %v", approver, err)
		}
		if err == nil && (loaded.Config.Waivers[0].Approver != approver || loaded.Config.Waivers[0].Compensating != "a network of its own") {
			t.Errorf("%+v", loaded.Config.Waivers[0])
		}
	}
}
