package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// In a volume whose root others may change, which is how Kubernetes makes one: the broker
// wants nothing to be there, and its folder can be made.
func TestInitMakesTheFolderAlone(t *testing.T) {
	t.Parallel()
	volume := t.TempDir()
	if err := os.Chmod(volume, 0o777); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(volume, "data")
	if out, err, code := command(t, "", "init", "--data-dir", filepath.Join(volume, "whole")); err == nil || code != 1 || !strings.Contains(err.Error(), "P2.2") {
		t.Errorf("a broker whose folder others can replace: exit code %d, %v\n%s", code, err, out)
	}
	for range 2 {
		out, err, code := command(t, "", "init", "--folder", "--data-dir", data)
		if err != nil || code != 0 || out != data+" is there, with mode 0700.\n" {
			t.Fatalf("exit code %d, %v, %q", code, err, out)
		}
	}
	fi, err := os.Stat(data)
	if err != nil || fi.Mode().Perm() != 0o700 || int(fi.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
		t.Errorf("the folder is %v, %v", fi.Mode(), err)
	}
	if in, err := os.ReadDir(data); err != nil || len(in) != 0 {
		t.Errorf("in it there is %v, %v", in, err)
	}
	if err := os.WriteFile(filepath.Join(data, "a"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(data, 0o770); err != nil {
		t.Fatal(err)
	}
	if _, err, code := command(t, "", "init", "--folder", "--data-dir", data); err == nil || code != 1 || !strings.Contains(err.Error(), "chmod 0700") {
		t.Errorf("one that holds something and is open: exit code %d, %v", code, err)
	}
}

// What is offered to be pasted is one word where a path has spaces.
func TestSelfIsPasted(t *testing.T) {
	t.Parallel()
	if got := self(&globals{ConfigFile: "/a b/c.yaml", DataDir: "/it's"}); !strings.HasSuffix(got, ` --config '/a b/c.yaml' --data-dir '/it'\''s'`) {
		t.Errorf("%s", got)
	}
}
