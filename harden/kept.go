package harden

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/redoubtmq/redoubt/harden/signed"
)

// The last report, for comparing with the next one. It lies in the data directory, whose
// owner is the broker's user, while the doctor may be root: nothing there is followed, and
// what is written belongs to the owner.

// KeptName is the file in the data directory: the JSON form, mode 0600.
const KeptName = "doctor.json"

// KeepLast replaces the report that is kept in the data directory.
func KeepLast(dir string, text []byte) error {
	root, owner, err := signed.OpenOwned(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	name := "." + KeptName + ".new-" + rand.Text()
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // a link of that name is an error
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil && os.Geteuid() == 0 {
		err = f.Chown(int(owner.Uid), int(owner.Gid))
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = root.Rename(name, KeptName) // replaces a link, and does not follow it
	}
	if err != nil {
		_ = root.Remove(name)
	}
	return err
}

// LastKept is the report that is kept in the data directory. An error that is
// fs.ErrNotExist means that there is none yet.
func LastKept(dir string) (Snapshot, error) {
	root, owner, err := signed.OpenOwned(dir)
	if err != nil {
		return Snapshot{}, err
	}
	defer root.Close()
	before, err := root.Lstat(KeptName)
	if err != nil {
		return Snapshot{}, err
	}
	if !before.Mode().IsRegular() {
		return Snapshot{}, fmt.Errorf("%s in the data directory is no file", KeptName)
	}
	f, err := root.OpenFile(KeptName, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return Snapshot{}, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return Snapshot{}, err
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); !ok || !os.SameFile(before, fi) || st.Uid != owner.Uid && int(st.Uid) != os.Geteuid() {
		return Snapshot{}, fmt.Errorf("%s in the data directory was exchanged, or is somebody else's", KeptName)
	}
	return ReadSnapshot(f)
}

// ReadSnapshotFile is ReadSnapshot of a file that somebody named.
func ReadSnapshotFile(path string) (Snapshot, error) {
	f, err := os.Open(path)
	if err != nil {
		return Snapshot{}, err
	}
	defer f.Close()
	s, err := ReadSnapshot(f)
	if err != nil {
		return s, fmt.Errorf("%s: %w", printable(path), err)
	}
	return s, nil
}
