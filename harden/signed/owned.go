package signed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/redoubtmq/redoubt/pki"
)

// OpenOwned opens a data directory to write to it, and says whose it is. Root goes by no link
// that others can put there.
func OpenOwned(dir string) (*os.Root, *syscall.Stat_t, error) { return openAs(os.Geteuid(), dir) }

func openAs(uid int, dir string) (*os.Root, *syscall.Stat_t, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	fi, err := root.Stat(".")
	if err == nil && uid == 0 {
		err = noStrangersLink(dir, fi)
	}
	if err != nil {
		_ = root.Close()
		return nil, nil, err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		_ = root.Close()
		return nil, nil, errors.New("the system does not say whose the data directory is")
	}
	return root, st, nil
}

// noStrangersLink is an error if dir leads to what was opened by a link that others than root can put
// there: who has taken the broker over would have root write where he likes.
func noStrangersLink(dir string, opened os.FileInfo) error {
	at, err := os.Lstat(filepath.Clean(dir)) // with a slash behind it a link would be followed
	if err != nil {
		return err
	}
	if os.SameFile(at, opened) {
		return nil
	}
	above, err := filepath.Abs(filepath.Dir(filepath.Clean(dir)))
	if err == nil {
		err = pki.CheckDirectoryAs(0, above)
	}
	if err != nil {
		return fmt.Errorf("the data directory %s is a link that root does not follow; name where it leads: %w", dir, err)
	}
	return nil
}
