package signed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Whoever owns the data directory may hold the lock for ever; who signs does not wait that long.
func TestLockIsGivenUp(t *testing.T) {
	dir := t.TempDir()
	n, err := openNode(dir, write)
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, _, err := Append(dir, true, payload)
		if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "another process") || took < lockWithin || took > 2*lockWithin {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

// What the owner puts into the folder of the reports is neither given away nor read to no end.
func TestOddReports(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(dir, reports string) error
		want  string
	}{
		"another's file": {func(dir, reports string) error {
			secret := filepath.Join(dir, "secret")
			return errors.Join(os.WriteFile(secret, []byte("x"), 0o600), os.Link(secret, filepath.Join(reports, "0000000002.json")))
		}, "another name elsewhere"},
		"the last number": {func(_, reports string) error {
			return os.WriteFile(filepath.Join(reports, "18446744073709551615.json"), nil, 0o600)
		}, "no number after it"},
		"many files": {func(_, reports string) error {
			for i := range entriesMax {
				if err := os.WriteFile(filepath.Join(reports, fmt.Sprint("x", i)), nil, 0o600); err != nil {
					return err
				}
			}
			return nil
		}, "more than 10000 files"},
		"a pipe": {func(_, reports string) error {
			return errors.Join(os.RemoveAll(reports), syscall.Mkfifo(reports, 0o600))
		}, "no folder"},
	} {
		dir := t.TempDir()
		appended(t, dir)
		if err := c.spoil(dir, filepath.Join(dir, FolderName)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Append(dir, true, payload); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What root makes is the owner's, and root goes by no link of others to sign either.
func TestRootSigns(t *testing.T) {
	if os.Geteuid() != 0 {
		return // everybody else has only what is his
	}
	const owner = 4711
	dir := t.TempDir()
	data, link := filepath.Join(dir, "data"), filepath.Join(dir, "link")
	if err := errors.Join(os.Mkdir(data, 0o700), os.Chown(data, owner, owner), os.Symlink(data, link), os.Chmod(dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	appended(t, data)
	for _, name := range []string{KeyName, FolderName, FolderName + "/0000000001.json"} {
		fi, err := os.Stat(filepath.Join(data, name))
		if err != nil || fi.Sys().(*syscall.Stat_t).Uid != owner {
			t.Errorf("%s: %+v, %v", name, fi, err)
		}
	}
	if _, _, err := Append(link, true, payload); err == nil || !strings.Contains(err.Error(), "a link that root does not follow") {
		t.Errorf("through a link: %v", err)
	}
	if _, err := Public(link); err == nil {
		t.Error("the key of whoever has made the link is taken for that of the node")
	}
}
