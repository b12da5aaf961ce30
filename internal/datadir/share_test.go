package datadir

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestShareKeepsOutWhoWouldChange(t *testing.T) {
	dir := t.TempDir()
	release, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	var inUse *InUseError
	if _, err := Share(dir); !errors.As(err, &inUse) || inUse.PID != os.Getpid() {
		t.Errorf("share of a locked directory: %v", err)
	}
	release()
	// What the file says now is who was last, and that process may be gone.
	if err := os.WriteFile(filepath.Join(dir, LockName), []byte("2147483646\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	one, err := Share(dir)
	if err != nil {
		t.Fatal(err)
	}
	two, err := Share(dir)
	if err != nil {
		t.Fatalf("a second reader: %v", err)
	}
	one()
	if _, err := Lock(dir); !errors.As(err, &inUse) || inUse.PID != 0 {
		t.Errorf("lock of a shared directory: %v; it names who is gone", err)
	}
	two()
	release, err = Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	release()
}

func TestShareChangesNothing(t *testing.T) {
	dir := t.TempDir()
	release, err := Share(dir)
	if err != nil {
		t.Fatal(err)
	}
	release()
	if es, _ := os.ReadDir(dir); len(es) > 0 {
		t.Errorf("it made %v", es)
	}
	path := filepath.Join(dir, LockName)
	if err := os.WriteFile(path, []byte("7\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	long := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := os.Chtimes(path, long, long); err != nil {
		t.Fatal(err)
	}
	if release, err = Share(dir); err != nil {
		t.Fatal(err)
	}
	release()
	fi, err := os.Stat(path)
	if err != nil || !fi.ModTime().Equal(long) || fi.Size() != 2 {
		t.Errorf("%v, %v", fi, err)
	}
}
