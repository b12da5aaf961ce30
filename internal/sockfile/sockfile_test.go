package sockfile

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// leave makes a socket file on which nobody listens, as a killed process does.
func leave(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close()
}

// The mode is that of the file from the moment it exists, whatever the umask is.
func TestTheFileHasItsModeFromTheStart(t *testing.T) {
	for _, umask := range []int{0, 0o077} {
		old := syscall.Umask(umask)
		for _, mode := range []os.FileMode{0o600, 0o660} {
			path := filepath.Join(t.TempDir(), "s")
			l, err := (&net.ListenConfig{Control: withMode(mode)}).Listen(t.Context(), "unix", path) // before Chmod
			if err != nil {
				t.Fatal(err)
			}
			if fi, err := os.Lstat(path); err != nil || fi.Mode().Perm()&^mode != 0 {
				t.Errorf("umask %#o: bound with mode %v, %v, want no more than %v", umask, fi.Mode(), err, mode)
			}
			_ = l.Close()
			if l, err = Listen(path, mode); err != nil {
				t.Fatal(err)
			}
			if fi, err := os.Lstat(path); err != nil || fi.Mode() != os.ModeSocket|mode {
				t.Errorf("umask %#o: mode %v, %v, want %v", umask, fi.Mode(), err, mode)
			}
			_ = l.Close()
			if _, err := os.Lstat(path); !os.IsNotExist(err) {
				t.Errorf("the file stays after the end: %v", err)
			}
		}
		syscall.Umask(old)
	}
	defer func() {
		if recover() == nil {
			t.Error("a socket for everybody")
		}
	}()
	_, _ = Listen(filepath.Join(t.TempDir(), "s"), 0o666)
}

// What is stale and ours is replaced, and nothing else.
func TestOnlyWhatIsStaleIsReplaced(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	refused := func(name, why string) {
		t.Helper()
		if l, err := Listen(at(name), 0o600); err == nil {
			_ = l.Close()
			t.Errorf("%s: taken", name)
		} else if !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", name, err, why)
		}
	}
	leave(t, at("s"))
	l, err := Listen(at("s"), 0o600)
	if err != nil {
		t.Fatalf("after a process that was killed: %v", err)
	}
	refused("s", "another process answers")
	if c, err := net.Dial("unix", at("s")); err != nil {
		t.Errorf("who listened there has lost it: %v", err)
	} else {
		_ = c.Close()
	}
	_ = l.Close()

	if err := os.WriteFile(at("file"), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	leave(t, at("target"))
	if err := os.Symlink(at("target"), at("link")); err != nil {
		t.Fatal(err)
	}
	refused("file", "no socket")
	refused("link", "no socket")
	refused(strings.Repeat("x", PathMax), "shorter")
	refused("missing/s", "no such file")
	if b, err := os.ReadFile(at("file")); err != nil || string(b) != "precious" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := os.Lstat(at("target")); err != nil {
		t.Errorf("what the link points to is gone: %v", err)
	}
	if os.Geteuid() == 0 { // nobody else can give a file away
		if err := os.Lchown(at("target"), 65533, -1); err != nil {
			t.Fatal(err)
		}
		refused("target", "another user")
		if _, err := os.Lstat(at("target")); err != nil {
			t.Errorf("somebody else's socket is gone: %v", err)
		}
	}
}
