package pki

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tree makes a directory with a secret in it.
func tree(t *testing.T) (dir, file string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "keys")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, "it's a key")
	if err := os.WriteFile(file, []byte("canary-9"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, file
}

func TestPermissionTable(t *testing.T) {
	for _, c := range []struct {
		name         string
		file, dir    os.FileMode
		need         Access
		want, remedy string // want "": accepted
	}{
		{"closed", 0o600, 0o700, OwnerOnly, "", ""},
		{"read only", 0o400, 0o500, OwnerOnly, "", ""},
		{"folder listable", 0o600, 0o755, OwnerOnly, "", ""},
		{"group reads", 0o640, 0o700, OwnerOnly, "mode 0640", "chmod 0600 '"},
		{"others read", 0o604, 0o700, OwnerOnly, "mode 0604", "chmod 0600 '"},
		{"group writes", 0o620, 0o700, OwnerOnly, "mode 0620", "chmod 0600 '"},
		{"others execute", 0o601, 0o700, OwnerOnly, "mode 0601", "chmod 0600 '"},
		{"handed over by an ACL", 0o440, 0o550, Handed, "", ""},
		{"handed over, group writes", 0o460, 0o550, Handed, "mode 0460", "chmod 0600 '"},
		{"handed over, others read", 0o444, 0o550, Handed, "mode 0444", "chmod 0600 '"},
		{"public may be read", 0o644, 0o755, OwnerWrites, "", ""},
		{"public, group writes", 0o664, 0o755, OwnerWrites, "mode 0664", "chmod go-w '"},
		{"public, others write", 0o646, 0o755, OwnerWrites, "mode 0646", "chmod go-w '"},
		{"folder others write", 0o600, 0o757, OwnerOnly, "mode 0757", "chmod go-w "},
		{"folder group writes", 0o600, 0o770, OwnerOnly, "mode 0770", "chmod go-w "},
		{"public in a folder others write", 0o644, 0o777, OwnerWrites, "mode 0777", "chmod go-w "},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, file := tree(t)
			if err := os.Chmod(file, c.file); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(dir, c.dir); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Chmod(dir, 0o700) }) // so that it can be removed
			ck := newChecker()
			ck.privateGroup = func(uint32, uint32) bool { return false }
			_, err := ck.read(file, c.need)
			if c.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.remedy) {
				t.Errorf("%v, want %q and %q", err, c.want, c.remedy)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Error("the message quotes the file")
			}
		})
	}
}

func TestOwnersAreWeOrRoot(t *testing.T) {
	_, file := tree(t)
	stranger := &checker{uid: uint32(os.Geteuid()) + 4000, privateGroup: isPrivateGroup}
	_, err := stranger.read(file, OwnerOnly)
	if os.Geteuid() == 0 {
		// Everything belongs to root, whom everybody trusts. Give it away.
		if err != nil {
			t.Errorf("a file of root was refused: %v", err)
		}
		if err := os.Chown(file, 65533, -1); err != nil {
			t.Fatal(err)
		}
		_, err = stranger.read(file, OwnerOnly)
	}
	if err == nil || !strings.Contains(err.Error(), "belongs to user") || !strings.Contains(err.Error(), fmt.Sprintf("chown %d ", stranger.uid)) {
		t.Errorf("file of a stranger: %v", err)
	}
}

func TestStickyFolderOfRootIsSafeAndNoOther(t *testing.T) {
	dir, file := tree(t)
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	_, err := ReadSecret(file)
	if os.Geteuid() == 0 {
		if err != nil {
			t.Errorf("a sticky folder of root was refused: %v", err)
		}
		if err := os.Chown(dir, 65533, -1); err != nil {
			t.Fatal(err)
		}
		_, err = (&checker{uid: 65533, privateGroup: isPrivateGroup}).read(file, OwnerOnly)
	}
	if err == nil || !strings.Contains(err.Error(), "chmod go-w") {
		t.Errorf("a sticky folder of a user: %v", err)
	}
}

// A directory far above decides as much as the last one.
func TestEveryParentIsJudged(t *testing.T) {
	root := t.TempDir()
	deep := filepath.Join(root, "open", "b", "c")
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(deep, "key")
	if err := os.WriteFile(file, []byte("k"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(root, "open"), 0o707); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSecret(file); err == nil || !strings.Contains(err.Error(), filepath.Join(root, "open")+" has mode 0707") {
		t.Errorf("%v, want the directory two floors up named", err)
	}
	if err := CheckDirectory(deep); err == nil {
		t.Error("CheckDirectory accepts it")
	}
}

// Links are fine (Kubernetes mounts secrets through them) as long as nobody
// else can redirect them.
func TestLinks(t *testing.T) {
	safe, file := tree(t)
	if err := os.Symlink(filepath.Base(file), filepath.Join(safe, "..data")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("./..data", filepath.Join(safe, "tls.key")); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadSecret(filepath.Join(safe, "tls.key")); err != nil || string(b) != "canary-9" {
		t.Errorf("link in a link: %q, %v", b, err)
	}
	open := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, filepath.Join(open, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSecret(filepath.Join(open, "link")); err == nil || !strings.Contains(err.Error(), open) {
		t.Errorf("a safe file through a link in an open folder: %v", err)
	}
	if err := os.Symlink(open, filepath.Join(safe, "up")); err != nil { // safe/up/../x is beside open, not in safe
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(open), "x"), []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSecret(safe + "/up/../x"); err == nil {
		t.Error("a link to an open folder on the way was not judged")
	}
	if err := os.Symlink("loop", filepath.Join(safe, "loop")); err != nil {
		t.Fatal(err)
	}
	if _, err := (newChecker()).walk(filepath.Join(safe, "loop")); err == nil || !strings.Contains(err.Error(), "too many") {
		t.Errorf("loop: %v", err)
	}
}

func TestReplacedFileIsNoticed(t *testing.T) {
	_, file := tree(t)
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := CheckPermissions(f, OwnerOnly); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".new", []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	if err := CheckPermissions(f, OwnerOnly); err == nil || !strings.Contains(err.Error(), "replaced") {
		t.Errorf("the name leads elsewhere now: %v", err)
	}
}

// Neither a FIFO nor a directory in the place of a file may hang or pass.
func TestOnlyRegularFiles(t *testing.T) {
	dir, _ := tree(t)
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, err := ReadSecret(fifo); done <- err }()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "regular") {
			t.Errorf("fifo: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("reading a FIFO hangs")
	}
	if _, err := ReadSecret(dir); err == nil {
		t.Error("a directory was read")
	}
	if err := CheckDirectory(fifo); err == nil {
		t.Error("a FIFO passes as a directory")
	}
}

func TestPrivateGroup(t *testing.T) {
	const passwd = "root:x:0:0:r:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\nbob:x:1001:1001::/:/bin/sh\neve:x:1002:1001::/:/bin/sh\nshort:x\n"
	const group = "root:x:0:\nann:x:1000:\nbob:x:1001:\nstaff:x:50:ann\nteam:x:60:ann,bob\n"
	for _, c := range []struct {
		uid, gid uint32
		group    string
		want     bool
	}{
		{1000, 1000, group, true},
		{1000, 1000, "ann:x:1000:ann\n", true},
		{1000, 1000, "ann:x:1000:ann,bob\n", false},
		{1000, 1000, "", false},     // the group is kept elsewhere
		{1001, 1001, group, false},  // eve has it as primary group
		{1000, 60, group, false},    // a real group
		{1000, 50, group, false},    // not the primary one
		{4711, 4711, group, false},  // unknown user
		{1000, 10000, group, false}, // no prefix match
		{0, 0, group, true},
	} {
		if got := onlyMember(passwd, c.group, c.uid, c.gid); got != c.want {
			t.Errorf("user %d, group %d: %v, want %v", c.uid, c.gid, got, c.want)
		}
	}
	// Group write by a private group is the owner's write; write for all is not.
	dir, file := tree(t)
	ck := newChecker()
	ck.privateGroup = func(uint32, uint32) bool { return true }
	for mode, ok := range map[os.FileMode]bool{0o770: true, 0o777: false} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ck.read(file, OwnerOnly); (err == nil) != ok {
			t.Errorf("mode %04o in a private group: %v", mode, err)
		}
	}
}
