//go:build unix

package ballast

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/redoubtmq/redoubt/store/disk"
)

// blocks is what a file takes on the disk, in bytes; -1: the system does not tell.
func blocks(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1
	}
	return int64(st.Blocks) * 512
}

// On the disk of the machine it has blocks, not only a length.
func TestItHasBlocks(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "store")
	dir, err := disk.OpenDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Make(); err != nil {
		t.Fatal(err)
	}
	if n := blocks(t, filepath.Join(folder, name)); n >= 0 && n < Bytes {
		t.Errorf("it has %d bytes of blocks", n)
	}
	if was, err := b.Release(); !was || err != nil {
		t.Error(was, err)
	}
	if _, err := os.Stat(filepath.Join(folder, name)); !os.IsNotExist(err) {
		t.Error(err)
	}
}
