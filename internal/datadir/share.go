package datadir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Share keeps everybody from taking the data directory by Lock until release is
// called, for who only reads and must not see it change. Several may share it. It
// changes nothing, so that it works on a folder of somebody else and on one that
// cannot be written; where there is no lock file, as in a copy, nobody is kept out.
// A directory in use is an *InUseError.
func Share(dir string) (release func(), err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("share data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, LockName), os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("share data directory: %w", err)
	}
	if err := flock(f, syscall.LOCK_SH); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, &InUseError{Dir: dir, PID: holder(f)}
		}
		return nil, fmt.Errorf("share data directory %s: %w", dir, err)
	}
	return func() { _ = f.Close() }, nil
}

// holder is who holds the lock, as far as is known: who shares it leaves no
// number, and then the file has that of somebody who is gone.
func holder(f *os.File) int {
	b := make([]byte, pidBytesMax)
	n, _ := f.ReadAt(b, 0) // io.EOF: shorter than the buffer
	pid := parsePID(b[:n])
	if pid > 0 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return 0
	}
	return pid
}
