package datadir

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fi.Mode().Perm()
}

func TestInitMakesAClosedFolder(t *testing.T) {
	old := syscall.Umask(0o002) // a common default, which must not leave the folder open to the group
	defer syscall.Umask(old)
	root := t.TempDir()
	dir := filepath.Join(root, "var", "redoubt")
	for range 2 { // the second time it is there already
		if err := Init(dir); err != nil {
			t.Fatal(err)
		}
		if m := mode(t, dir); m != 0o700 {
			t.Errorf("data directory has mode %04o, want 0700", m)
		}
	}
	if m := mode(t, filepath.Join(root, "var")); m&0o022 != 0 {
		t.Errorf("the parent has mode %04o: others could replace the data directory", m)
	}
}

func TestInitClosesAnEmptyFolderAndRefusesAFullOpenOne(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's here")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	if m := mode(t, dir); m != 0o700 {
		t.Errorf("an empty folder was left with mode %04o", m)
	}
	if err := os.WriteFile(filepath.Join(dir, "users.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	err := Init(dir)
	if err == nil {
		t.Fatal("an open folder with files in it was accepted")
	}
	i := strings.Index(err.Error(), "chmod ")
	if i < 0 {
		t.Fatalf("no command in %q", err)
	}
	if out, err := exec.Command("/bin/sh", "-c", err.Error()[i:]).CombinedOutput(); err != nil {
		t.Fatalf("the command in the message fails: %v %s", err, out)
	}
	if err := Init(dir); err != nil {
		t.Errorf("still refused after the command in the message: %v", err)
	}
}

func TestInitRefusesWhatIsNotADirectory(t *testing.T) {
	p := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(p, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{Init(p), func() error { _, err := Lock(p); return err }()} {
		if err == nil || !strings.Contains(err.Error(), "is not a directory") {
			t.Errorf("a file as data directory: %v", err)
		}
	}
}

func TestLockIsExclusiveAndNamesTheHolder(t *testing.T) {
	dir := t.TempDir()
	if _, err := Lock(filepath.Join(dir, "missing")); err == nil || !strings.Contains(err.Error(), "redoubt init") {
		t.Errorf("missing folder: %v, want the command that makes it", err)
	}
	release, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Lock(dir)
	var inUse *InUseError
	if !errors.As(err, &inUse) || inUse.PID != os.Getpid() {
		t.Fatalf("second lock: %v, want InUseError with our pid", err)
	}
	if !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("%q does not name the holder", err)
	}
	release()
	again, err := Lock(dir)
	if err != nil {
		t.Fatalf("after release: %v", err)
	}
	again()
	if m := mode(t, filepath.Join(dir, LockName)); m != 0o600 {
		t.Errorf("lock file has mode %04o", m)
	}
}

// A process that was killed leaves its lock file, and nothing more.
func TestStaleLockFileDoesNotCount(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, LockName), []byte("999999999999999999999999999 garbage\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	release, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	b, err := os.ReadFile(filepath.Join(dir, LockName))
	if err != nil || strings.TrimSpace(string(b)) != strconv.Itoa(os.Getpid()) {
		t.Errorf("lock file holds %q, %v", b, err)
	}
}

func TestLockDoesNotFollowALink(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(dir, LockName)); err != nil {
		t.Fatal(err)
	}
	if release, err := Lock(dir); err == nil {
		release()
		t.Error("the lock followed a symbolic link")
	}
	if b, _ := os.ReadFile(victim); string(b) != "precious" {
		t.Errorf("the linked file was changed to %q", b)
	}
}

// Everybody is refused in a folder of somebody else: root because it would
// leave files the broker cannot read, others because they must not.
func TestOthersFolderIsRefused(t *testing.T) {
	dir := "/" // ours only when we are root; then we make one that is not
	if os.Geteuid() == 0 {
		dir = t.TempDir()
		if err := os.Chown(dir, 65533, 65533); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Lock(dir)
	if err == nil || !strings.Contains(err.Error(), "sudo -u") {
		t.Errorf("Lock: %v", err)
	}
	if err := Init(dir); err == nil || !strings.Contains(err.Error(), "belongs to user") {
		t.Errorf("Init: %v", err)
	}
}
