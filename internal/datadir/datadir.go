// Package datadir is the folder a broker calls its own: it makes the folder
// with nobody else able to look in, and lets one process at a time use it. What
// lies in it belongs to the packages that write it. It reads no configuration
// and deletes nothing.
//
// Rules: checklist row P2.2; configuration key node.data_dir.
package datadir

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// dirMode: everything inside is a secret or names clients, so nobody else may
// even list it.
const dirMode = 0o700

// Init makes sure that dir exists, is ours and is closed to everybody else. A
// missing folder is made with mode 0700, its missing parents with 0755; an
// empty folder of ours is closed. A folder that already holds something is
// never changed: it is accepted or refused with the command that repairs it.
func Init(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("data directory %s: %w", dir, err)
	}
	if err := makeDir(dir); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	d, err := openDir(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	fi, err := d.Stat()
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if err := checkOwner(dir, fi); err != nil {
		return err
	}
	if fi.Mode().Perm()&0o077 == 0 {
		return nil
	}
	if _, err := d.ReadDir(1); !errors.Is(err, io.EOF) {
		if err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
		return fmt.Errorf("data directory %s has mode %04o, so that others can look into it; close it: chmod 0700 %s", dir, fi.Mode().Perm(), Quote(dir))
	}
	if err := d.Chmod(dirMode); err != nil {
		return fmt.Errorf("data directory: close it to others: %w", err)
	}
	return nil
}

// makeDir is MkdirAll with open parents and a closed last folder, so that
// `--data-dir var/redoubt` does not close var.
func makeDir(dir string) error {
	if _, err := os.Lstat(dir); err == nil {
		return nil // whatever it is, openDir judges it
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// openDir opens dir itself, so that what is judged is what is used.
func openDir(dir string) (*os.File, error) {
	d, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	switch {
	case errors.Is(err, syscall.ENOTDIR):
		return nil, fmt.Errorf("data directory %s is not a directory; choose another with --data-dir", dir)
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("data directory %s does not exist; make it: redoubt init --data-dir %s", dir, Quote(dir))
	case err != nil:
		return nil, fmt.Errorf("data directory: %w", err)
	}
	return d, nil
}

// checkOwner refuses to work in somebody else's folder. That holds for root
// too: files root leaves there are files the broker cannot read.
func checkOwner(dir string, fi os.FileInfo) error {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("data directory %s: the system does not say who owns it", dir)
	}
	if uid := os.Geteuid(); int(st.Uid) != uid {
		return fmt.Errorf("data directory %s belongs to user %d and this process runs as %d; run it as the owner: sudo -u '#%d' redoubt ...", dir, st.Uid, uid, st.Uid)
	}
	return nil
}

// Quote makes a word of a command that a message offers safe to paste into a
// shell.
func Quote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("/._-+,:@%", r) && !('a' <= r && r <= 'z') && !('A' <= r && r <= 'Z') && !('0' <= r && r <= '9')
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// parsePID reads what a holder left in the lock file; 0 when it is not a number.
func parsePID(b []byte) int {
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || n < 0 {
		return 0
	}
	return n
}
