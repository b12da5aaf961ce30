package listener

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A file that a stopped broker left is taken over, and nothing else is.
func TestAUnixSocketTakesOnlyWhatIsStale(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	mode := os.FileMode(0)
	bind := func(path string) (*Listener, error) {
		l := &Listener{Name: "local", Protocol: Unix, SocketMode: mode}
		return l, l.Bind([]string{path})
	}
	first, err := bind(at("s"))
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if info, err := os.Lstat(at("s")); err != nil || info.Mode() != os.ModeSocket|UnixMode {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if a := first.Addresses(); len(a) != 1 || a[0] != at("s") {
		t.Errorf("addresses %q", a)
	}
	if _, err := bind(at("s")); err == nil || !strings.Contains(err.Error(), "another process answers on it") {
		t.Errorf("a socket in use: %v", err)
	}
	if c, err := net.Dial("unix", at("s")); err != nil {
		t.Errorf("it was taken away: %v", err)
	} else {
		_ = c.Close()
	}

	left, err := net.Listen("unix", at("stale"))
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = left.Close()
	mode = 0o600
	again, err := bind(at("stale"))
	if err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	if info, err := os.Lstat(at("stale")); err != nil || info.Mode() != os.ModeSocket|mode {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	again.Close()
	if _, err := os.Lstat(at("stale")); !os.IsNotExist(err) {
		t.Errorf("the file stays after the end: %v", err)
	}

	if err := os.WriteFile(at("file"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(at("s"), at("link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file", "link"} {
		if _, err := bind(at(name)); err == nil || !strings.Contains(err.Error(), "no socket") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b, err := os.ReadFile(at("file")); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
}

// Where others can put files they could put theirs in place of ours.
func TestAUnixSocketStaysOutOfSharedDirectories(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shared")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	l := &Listener{Name: "local", Protocol: Unix}
	if err := l.Bind([]string{filepath.Join(dir, "s")}); err == nil || !strings.Contains(err.Error(), "chmod") {
		t.Errorf("%v", err)
		l.Close()
	}
}
