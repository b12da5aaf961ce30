package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/admin"
)

// A listener's connections are told once, with all of its addresses.
func TestStatusHasALineForAListener(t *testing.T) {
	text := statusText(t, &admin.StatusReport{Listeners: []admin.ListenerStatus{
		{Name: "mqtts", Address: "127.0.0.1:8883", Protocol: "mqtts", ClientCert: "required", Connections: 7},
		{Name: "mqtts", Address: "[::1]:8883", Protocol: "mqtts", ClientCert: "required", Connections: 7},
		{Name: "wss", Address: "127.0.0.1:8084", Protocol: "wss", ClientCert: "none", Connections: 2},
	}})
	for _, want := range []string{
		"mqtts 127.0.0.1:8883, [::1]:8883 (mqtts, clients need a certificate), 7 connections\n",
		"wss 127.0.0.1:8084 (wss), 2 connections\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if n := strings.Count(text, "7 connections"); n != 1 {
		t.Errorf("7 connections %d times:\n%s", n, text)
	}
}

func statusText(t *testing.T, s *admin.StatusReport) string {
	t.Helper()
	var out bytes.Buffer
	cmd := &cobra.Command{}
	cmd.SetOut(&out)
	if err := printStatus(cmd, s); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
