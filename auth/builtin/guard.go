package builtin

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// readGuarded reads a file of secrets. What is judged is the opened descriptor, so
// that nobody swaps the file between the look and the read: it must be a regular
// file, not reached through a link, of this user, and closed to all others.
func readGuarded(path string) ([]byte, error) {
	// Without O_NONBLOCK a pipe put in the file's place would hang the start.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s is a symbolic link; put the file itself there", path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := checkGuard(path, st, os.Geteuid()); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, FileBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(data) > FileBytesMax {
		return nil, fmt.Errorf("%s has more than %d bytes", path, FileBytesMax)
	}
	return data, nil
}

// checkGuard says what is wrong with a file of secrets, and the command that
// mends it.
func checkGuard(path string, st fs.FileInfo, uid int) error {
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	if owner, ok := ownerOf(st); !ok || owner != uid {
		return fmt.Errorf("%s belongs to uid %d and this program runs as uid %d; run it as the owner, or: chown %d %s && chmod 600 %s", path, owner, uid, uid, shellQuote(path), shellQuote(path))
	}
	if perm := st.Mode().Perm(); perm&0o077 != 0 {
		return fmt.Errorf("%s is open to other users (mode %04o); run: chmod 600 %s", path, perm, shellQuote(path))
	}
	return nil
}

func ownerOf(st fs.FileInfo) (uid int, ok bool) {
	s, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return -1, false
	}
	return int(s.Uid), true
}

// shellQuote makes path one word of a shell command.
func shellQuote(path string) string {
	plain := func(r rune) bool {
		return r == '/' || r == '.' || r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	if strings.IndexFunc(path, func(r rune) bool { return !plain(r) }) < 0 {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
