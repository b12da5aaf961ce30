package admin

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func contextWith(ctx context.Context, p peer) context.Context {
	return context.WithValue(ctx, peerKey{}, p)
}

// leaveSocket makes a socket file on which nobody listens, as a killed broker does.
func leaveSocket(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSocketIsClosedToOthersFromTheStart(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // t.TempDir makes two levels
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "admin.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Lstat(path); err != nil || fi.Mode().Perm() != socketMode {
		t.Errorf("mode %v, %v, want 0600", fi.Mode(), err)
	}
	_ = l.Close()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket stays after a graceful end: %v", err)
	}
}

func TestStaleSocketIsReplacedAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	leaveSocket(t, path)
	l, err := Listen(path)
	if err != nil {
		t.Fatalf("after a broker that was killed: %v", err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "another process answers") {
		t.Errorf("while a broker runs: %v", err)
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("the running broker lost its socket: %v", err)
	} else {
		_ = c.Close()
	}
	_ = l.Close()

	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "something else") {
		t.Errorf("a file: %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Error("the file is gone")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(dir, "target")
	leaveSocket(t, target)
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil {
		t.Error("a link to a socket was taken for one")
	}
	if _, err := os.Lstat(target); err != nil {
		t.Errorf("what the link pointed to is gone: %v", err)
	}
	if os.Geteuid() == 0 {
		if err := os.Lchown(target, 65533, -1); err != nil {
			t.Fatal(err)
		}
		if _, err := Listen(target); err == nil || !strings.Contains(err.Error(), "another user") {
			t.Errorf("a socket of somebody else: %v", err)
		}
	}
}

func TestListenRefusesUnsafeOrLongPlaces(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(filepath.Join(dir, "s")); err == nil || !strings.Contains(err.Error(), "chmod go-w "+dir) {
		t.Errorf("in a folder others can write to: %v", err)
	}
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 108))
	if _, err := Listen(long); err == nil || !strings.Contains(err.Error(), "admin.socket") {
		t.Errorf("a path too long for a socket: %v", err)
	}
	if _, err := Listen(filepath.Join(t.TempDir(), "missing", "s")); err == nil {
		t.Error("listens in a folder that does not exist")
	}
}
