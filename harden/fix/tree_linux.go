package fix

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// tree is a file system by a folder of it that is open. Every path is gone one name at a
// time, by descriptors: a name that is exchanged between two looks is never looked at
// twice, a link is never followed, and each folder on the way has to be one that nobody
// but those we trust can write into.
type tree struct {
	base  int // descriptor
	above string
	trust func(uid uint32) bool
	// lax: only to look before a change; folders are judged when it is made.
	lax bool
}

// host is the tree for files with our name.
func (w *World) host() (*tree, error) {
	return newTree(w.Root, func(uid uint32) bool { return uid == 0 || int(uid) == w.UID })
}

// own is the tree for what belongs to the broker.
func (w *World) own() (*tree, error) {
	return newTree("", func(uid uint32) bool { return uid == 0 || int(uid) == w.UID || int(uid) == w.Owner })
}

func newTree(root string, trust func(uint32) bool) (*tree, error) {
	if root == "" {
		root = "/"
	}
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: root, Err: err}
	}
	t := &tree{base: fd, above: strings.TrimSuffix(root, "/"), trust: trust}
	if err := t.safe(fd, root); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *tree) close() { _ = unix.Close(t.base) }

// safe refuses a folder into which somebody else could put a name.
func (t *tree) safe(fd int, path string) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	switch {
	case t.lax:
	case !t.trust(st.Uid):
		return fmt.Errorf("the folder %s belongs to user %d, who could exchange what is in it", path, st.Uid)
	case st.Mode&0o022 != 0 && (st.Mode&unix.S_ISVTX == 0 || st.Uid != 0):
		return fmt.Errorf("the folder %s has mode %04o, so that others could exchange what is in it", path, st.Mode&0o7777)
	}
	return nil
}

// parent opens the folder that path is in. missing are folders that are not there, the
// topmost first; then fd is -1, unless they are made. The caller closes fd.
func (t *tree) parent(path string, make bool) (fd int, name string, missing []string, err error) {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" {
		return -1, "", nil, fmt.Errorf("%q is not a whole path", path)
	}
	names := strings.Split(path[1:], "/")
	at, fd := "", -1
	fd, err = unix.FcntlInt(uintptr(t.base), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, "", nil, err
	}
	for _, n := range names[:len(names)-1] {
		at += "/" + n
		if len(missing) > 0 && !make {
			missing = append(missing, at)
			continue
		}
		next, err := unix.Openat(fd, n, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ENOENT) {
			missing = append(missing, at)
			if !make {
				continue
			}
			if err = unix.Mkdirat(fd, n, 0o755); err == nil {
				err = syncAt(fd)
			}
			if err == nil {
				next, err = unix.Openat(fd, n, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			}
		}
		if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			err = errors.New("it is a link or a file, and links are not followed here")
		}
		if err == nil {
			if err = t.safe(next, t.above+at); err != nil {
				_ = unix.Close(next)
			}
		}
		if err != nil {
			_ = unix.Close(fd)
			return -1, "", nil, &fs.PathError{Op: "open", Path: t.above + at, Err: err}
		}
		_ = unix.Close(fd)
		fd = next
	}
	if len(missing) > 0 && !make {
		_ = unix.Close(fd)
		fd = -1
	}
	return fd, names[len(names)-1], missing, nil
}

// look answers what is at path: a file with its content, or that there is none.
func (t *tree) look(path string) (State, error) { return t.lookMost(path, fileBytesMax) }

func (t *tree) lookMost(path string, most int64) (State, error) {
	dir, name, missing, err := t.parent(path, false)
	if err != nil {
		return State{}, err
	}
	if dir < 0 {
		return State{Absent: true, Folders: missing}, nil
	}
	defer unix.Close(dir)
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return State{Absent: true}, nil
	}
	if errors.Is(err, unix.ELOOP) {
		err = errors.New("it is a link, and links are not followed here")
	}
	if err != nil {
		return State{}, &fs.PathError{Op: "open", Path: t.above + path, Err: err}
	}
	f := os.NewFile(uintptr(fd), t.above+path)
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return State{}, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 1 {
		return State{}, fmt.Errorf("%s is no file of its own: it has another name elsewhere, or is something else", f.Name())
	}
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s is larger than %d bytes", f.Name(), most)
	}
	return State{Content: text, Mode: st.Mode & 0o7777, UID: int(st.Uid), GID: int(st.Gid)}, err
}

// replace puts a file with what to says in its place, or takes it away. Folders that are
// missing are made; those in drop, which were missing once, go when they are empty.
func (t *tree) replace(path string, to State, drop []string) error {
	if to.Absent {
		return t.remove(path, drop)
	}
	dir, name, _, err := t.parent(path, true)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	temp := "." + name + tempMark
	if err := unix.Unlinkat(dir, temp, 0); err != nil && !errors.Is(err, unix.ENOENT) { // of one that was cut short
		return &fs.PathError{Op: "remove", Path: t.above + filepath.Join(filepath.Dir(path), temp), Err: err}
	}
	fd, err := unix.Openat(dir, temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &fs.PathError{Op: "create", Path: t.above + path, Err: err}
	}
	f := os.NewFile(uintptr(fd), t.above+path)
	_, err = f.Write(to.Content)
	var st unix.Stat_t
	if err == nil {
		err = unix.Fstat(fd, &st)
	}
	if err == nil && (int(st.Uid) != to.UID || int(st.Gid) != to.GID) {
		err = f.Chown(to.UID, to.GID)
	}
	if err == nil { // after chown, which takes bits away
		err = unix.Fchmod(fd, to.Mode)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = unix.Renameat(dir, temp, dir, name)
	}
	if err == nil {
		return syncAt(dir)
	}
	_ = unix.Unlinkat(dir, temp, 0)
	return fmt.Errorf("write %s: %w", t.above+path, err)
}

// remove takes a file away, and then folders that are empty.
func (t *tree) remove(path string, drop []string) error {
	dir, name, _, err := t.parent(path, false)
	if err != nil {
		return err
	}
	if dir >= 0 {
		defer unix.Close(dir)
		for _, n := range []string{"." + name + tempMark, name} {
			if err := unix.Unlinkat(dir, n, 0); err != nil && !errors.Is(err, unix.ENOENT) {
				return &fs.PathError{Op: "remove", Path: t.above + path, Err: err}
			}
		}
		if err := syncAt(dir); err != nil {
			return err
		}
	}
	for _, folder := range slices.Backward(drop) {
		above, name, _, err := t.parent(folder, false)
		if err != nil {
			return err
		}
		if above < 0 {
			continue
		}
		err = unix.Unlinkat(above, name, unix.AT_REMOVEDIR)
		_ = unix.Close(above)
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
			return &fs.PathError{Op: "remove", Path: t.above + folder, Err: err}
		}
	}
	return nil
}

// rootsAlone is an error if somebody else than root can change the file at path, or put
// another one into its place.
func (w *World) rootsAlone(path string) error {
	t, err := newTree("", func(uid uint32) bool { return uid == 0 })
	if err != nil {
		return err
	}
	defer t.close()
	s, err := t.look(path)
	switch {
	case err != nil:
		return err
	case s.Absent:
		return &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	case s.UID != 0:
		return fmt.Errorf("%s belongs to user %d", path, s.UID)
	case s.Mode&0o022 != 0:
		return fmt.Errorf("%s has mode %04o, so that others can change it", path, s.Mode)
	}
	return nil
}

// sweep removes what a run that was killed has left beside a file.
func (t *tree) sweep(path string) error {
	dir, name, _, err := t.parent(path, false)
	if err != nil || dir < 0 {
		return err
	}
	defer unix.Close(dir)
	if err := unix.Unlinkat(dir, "."+name+tempMark, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return &fs.PathError{Op: "remove", Path: t.above + path, Err: err}
	}
	return nil
}

// syncAt makes names in a folder durable.
func syncAt(dir int) error {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Fsync(fd)
}

// pin opens what is at path to change its mode or owner, whatever it is, and says what that
// is. It stays the same when the name is exchanged. The caller closes fd.
func (t *tree) pin(path string) (fd int, s State, err error) {
	dir, name, missing, err := t.parent(path, false)
	if err != nil {
		return -1, s, err
	}
	if dir < 0 {
		return -1, s, &fs.PathError{Op: "open", Path: missing[0], Err: fs.ErrNotExist}
	}
	defer unix.Close(dir)
	fd, err = unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, s, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil {
		switch kind := st.Mode & unix.S_IFMT; {
		case kind == unix.S_IFLNK:
			err = fmt.Errorf("%s is a link, and links are not followed here: name the file it leads to", path)
		case kind != unix.S_IFREG && kind != unix.S_IFDIR && kind != unix.S_IFSOCK:
			err = fmt.Errorf("%s is neither a file nor a folder nor a socket", path)
		case kind != unix.S_IFDIR && st.Nlink != 1:
			err = fmt.Errorf("%s has another name elsewhere (%d links): what it is there is not ours to change", path, st.Nlink)
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, s, err
	}
	return fd, State{Mode: st.Mode & 0o7777, UID: int(st.Uid), GID: int(st.Gid), Dev: uint64(st.Dev), Ino: st.Ino}, nil
}

// setMode gives what is pinned a mode and an owner.
func setMode(fd int, was, to State) error {
	name := fmt.Sprintf("/proc/self/fd/%d", fd) // fchmod(2) does not take a descriptor of O_PATH
	if was.UID != to.UID || was.GID != to.GID {
		if err := unix.Fchownat(fd, "", to.UID, to.GID, unix.AT_EMPTY_PATH); err != nil {
			return fmt.Errorf("chown: %w", err)
		}
	}
	if err := unix.Chmod(name, to.Mode); err != nil {
		return fmt.Errorf("chmod: %w", err)
	}
	return nil
}

// newRun is the name of a run: when it was, and something that makes it the only one.
func newRun(w *World) string {
	return w.Clock.Now().UTC().Format("20060102T150405Z") + "-" + strings.ToLower(rand.Text()[:6])
}
