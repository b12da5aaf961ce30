package pki

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/redoubtmq/redoubt/internal/datadir"
	"github.com/redoubtmq/redoubt/pki/revoke"
)

// Access is how closed a file has to be.
type Access int

const (
	// OwnerOnly is for keys and passwords: nobody else reads or writes.
	OwnerOnly Access = iota
	// OwnerWrites is for what decides but is no secret, such as rules and
	// certificates: others may read.
	OwnerWrites
	// Handed is for a secret in the folder that a service manager makes for one unit
	// (LoadCredential=). Its group may seem to read: systemd gives such a file to the unit's
	// user by an ACL, whose mask the group bits of the mode show (since version 254 it is
	// 0440 of root), and who may look into the folder it sees to itself.
	Handed
)

// linksMax bounds symbolic links on the way to a file, as the kernel does.
const linksMax = 40

// CheckPermissions judges an open file and every directory on the way to it, and
// answers an error with the exact command that repairs what it found. It looks
// at the open file, so that what is judged is what is read, and makes sure that
// the walked path leads to that very file.
//
// Refused are: a file others can reach beyond need, an owner who is neither we
// nor root, and a directory in which others could replace the file. A sticky
// directory of root (/tmp) counts as safe, as in OpenSSH. A POSIX ACL needs no
// look of its own: its mask is what the group bits of the mode show.
func CheckPermissions(f *os.File, need Access) error {
	return newChecker().file(f, need)
}

// ReadSecret opens, judges (OwnerOnly) and reads a file of at most 1 MiB.
func ReadSecret(path string) ([]byte, error) { return newChecker().read(path, OwnerOnly) }

// ReadHanded is ReadSecret for what a service manager hands over (Handed).
func ReadHanded(path string) ([]byte, error) { return newChecker().read(path, Handed) }

// ReadGuarded is ReadSecret for files that others may read but not write.
func ReadGuarded(path string) ([]byte, error) { return newChecker().read(path, OwnerWrites) }

// readList is ReadGuarded for a revocation list.
func readList(path string) ([]byte, error) {
	return newChecker().readMost(path, OwnerWrites, revoke.BytesMax)
}

// OpenError is a file or a directory that is open to others, and what closes it.
type OpenError struct {
	Path  string      // the file, or a directory above it
	Clear os.FileMode // bits that have to go
	Owner int         // whose it has to be; -1: whose it is
	text  string
}

// Error implements error. It ends with the command that closes it.
func (e *OpenError) Error() string { return e.text }

func open(path string, clear os.FileMode, owner int, format string, args ...any) error {
	return &OpenError{Path: path, Clear: clear, Owner: owner, text: fmt.Sprintf(format, args...)}
}

// checker holds who we are, so that a test can be somebody else.
type checker struct {
	uid uint32
	// privateGroup tells whether only the owner is in the group, in which case
	// group write is nobody's write but the owner's.
	privateGroup func(uid, gid uint32) bool
}

func newChecker() *checker {
	return &checker{uid: uint32(os.Geteuid()), privateGroup: isPrivateGroup}
}

func (c *checker) read(path string, need Access) ([]byte, error) {
	return c.readMost(path, need, fileBytesMax)
}

func (c *checker) readMost(path string, need Access, most int64) ([]byte, error) {
	// O_NONBLOCK: a FIFO put in the place of a file must not hang the start.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := c.file(f, need); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(b)) > most {
		return nil, fmt.Errorf("%s is larger than %d MiB: is it the right file?", path, most>>20)
	}
	return b, nil
}

func (c *checker) file(f *os.File, need Access) error {
	path := f.Name()
	fi, err := f.Stat()
	if err != nil {
		return fmt.Errorf("check %s: %w", path, err)
	}
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	st := fi.Sys().(*syscall.Stat_t) // this package is built for systems that have it
	if !c.trusted(st.Uid) {
		return open(path, 0, int(c.uid), "%s belongs to user %d, who is neither root nor the user of this process (%d): chown %d %s", path, st.Uid, c.uid, c.uid, datadir.Quote(path))
	}
	perm := fi.Mode().Perm()
	switch {
	case need == OwnerOnly && perm&0o077 != 0, need == Handed && perm&0o037 != 0:
		return open(path, 0o077, -1, "%s has mode %04o, so that others can read or change a secret: chmod 0600 %s", path, perm, datadir.Quote(path))
	case perm&0o022 != 0:
		return open(path, 0o022, -1, "%s has mode %04o, so that others can change it: chmod go-w %s", path, perm, datadir.Quote(path))
	}
	last, err := c.walk(path)
	if err != nil {
		return err
	}
	if !os.SameFile(last, fi) {
		return fmt.Errorf("%s was replaced while it was being checked; try again", path)
	}
	return nil
}

// walk follows path one name at a time and judges every directory and every
// symbolic link on the way. It answers what the path leads to.
func (c *checker) walk(path string) (os.FileInfo, error) {
	if !filepath.IsAbs(path) {
		wd, err := os.Getwd()
		if err != nil {
			return nil, err
		}
		path = wd + "/" + path // not cleaned: a link before ".." decides where that leads
	}
	at, rest := "/", strings.Split(path, "/")
	fi, err := os.Lstat(at)
	if err != nil {
		return nil, err
	}
	links := 0
	for {
		if fi.IsDir() {
			if err := c.dir(at, fi); err != nil {
				return nil, err
			}
		}
		for len(rest) > 0 && (rest[0] == "" || rest[0] == ".") {
			rest = rest[1:]
		}
		if len(rest) == 0 {
			return fi, nil
		}
		next := filepath.Join(at, rest[0]) // Join resolves ".." on a path without links left in it
		rest = rest[1:]
		if fi, err = os.Lstat(next); err != nil {
			return nil, err
		}
		if fi.Mode()&os.ModeSymlink == 0 {
			at = next
			continue
		}
		if links++; links > linksMax {
			return nil, fmt.Errorf("%s: too many symbolic links", path)
		}
		if uid := fi.Sys().(*syscall.Stat_t).Uid; !c.trusted(uid) {
			return nil, fmt.Errorf("the link %s belongs to user %d, who could point it elsewhere: chown -h %d %s", next, uid, c.uid, datadir.Quote(next))
		}
		target, err := os.Readlink(next)
		if err != nil {
			return nil, err
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
		if fi, err = os.Lstat(at); err != nil {
			return nil, err
		}
	}
}

// dir refuses a directory in which somebody else could replace what we use.
func (c *checker) dir(path string, fi os.FileInfo) error {
	st := fi.Sys().(*syscall.Stat_t)
	perm := fi.Mode().Perm()
	if !c.trusted(st.Uid) {
		return open(path, 0, int(c.uid), "the directory %s belongs to user %d, who could replace what is in it: chown %d %s", path, st.Uid, c.uid, datadir.Quote(path))
	}
	if perm&0o022 == 0 || (fi.Mode()&os.ModeSticky != 0 && st.Uid == 0) {
		return nil
	}
	if perm&0o002 == 0 && c.privateGroup(st.Uid, st.Gid) {
		return nil
	}
	return open(path, 0o022, -1, "the directory %s has mode %04o, so that others can replace what is in it: chmod go-w %s", path, perm, datadir.Quote(path))
}

func (c *checker) trusted(uid uint32) bool { return uid == c.uid || uid == 0 }

// CheckDirectory judges a directory that is to hold something private, and every
// directory above it, as CheckPermissions does.
func CheckDirectory(path string) error {
	fi, err := newChecker().walk(path)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fmt.Errorf("%s is not a directory", path)
	}
	return nil
}

// missing tells "is not there" from every other error.
func missing(err error) bool { return errors.Is(err, os.ErrNotExist) }
