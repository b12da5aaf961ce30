package pki

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What our own user may have is a stranger's file to another user's broker, unless
// root owns it.
func TestPermissionsAsAnotherUser(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "server.key")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	me := os.Geteuid()
	if err := CheckPermissionsAs(me, f, OwnerOnly); err != nil {
		t.Error(err)
	}
	if err := CheckDirectoryAs(me, dir); err != nil {
		t.Error(err)
	}
	if err := CheckDirectoryAs(me, path); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("a file: %v", err)
	}
	c := checkerAs(me + 1)
	if err := c.file(f, OwnerOnly); (err == nil) != (me == 0) {
		t.Errorf("to another user: %v", err)
	}
	if err := f.Chmod(0o640); err != nil {
		t.Fatal(err)
	}
	if err := CheckPermissionsAs(me, f, OwnerOnly); err == nil {
		t.Error("an open key was accepted")
	}
}
