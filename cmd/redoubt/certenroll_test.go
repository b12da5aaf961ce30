package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNoTokenIsNoPassword: what is said of an empty token is about tokens.
func TestNoTokenIsNoPassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("\nlater"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{"-", file} {
		_, err := readToken(strings.NewReader("\n"), from)
		if err == nil || !strings.Contains(err.Error(), "--token-file: ") || !strings.Contains(err.Error(), "holds no token") || strings.Contains(err.Error(), "password") {
			t.Errorf("%s: %v", from, err)
		}
	}
}
