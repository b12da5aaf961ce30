package signed

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Root does not follow a link as the data directory that somebody else can put there.
func TestOpenThroughALink(t *testing.T) {
	dir := t.TempDir()
	data, link := filepath.Join(dir, "data"), filepath.Join(dir, "link")
	if err := errors.Join(os.Mkdir(data, 0o700), os.Symlink(data, link), os.Chmod(dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	open := func(uid int, path string) error {
		root, _, err := openAs(uid, path)
		if err == nil {
			_ = root.Close()
		}
		return err
	}
	for _, path := range []string{link, link + "/", link + "/."} {
		if err := open(0, path); err == nil || !strings.Contains(err.Error(), "is a link that root does not follow") {
			t.Errorf("%s, in a folder of everybody: %v", path, err)
		}
	}
	for _, c := range []struct {
		uid  int
		path string
	}{{0, data}, {0, data + "/"}, {4711, link}} {
		if err := open(c.uid, c.path); err != nil {
			t.Errorf("user %d, %s: %v", c.uid, c.path, err)
		}
	}
	if os.Geteuid() == 0 {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := open(0, link); err != nil {
			t.Errorf("a link of root's: %v", err)
		}
	}
}
