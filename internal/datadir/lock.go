package datadir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// LockName is the file that is locked. It stays when the lock is released: the
// lock is on the open file, the text in it only says who.
const LockName = "lock"

// pidBytesMax is more than any process id has digits.
const pidBytesMax = 32

// InUseError says that another process uses the data directory.
type InUseError struct {
	Dir string
	PID int // 0 when the holder did not leave a readable one
}

// Error names the holder and what to do.
func (e *InUseError) Error() string {
	who := "another process"
	if e.PID != 0 {
		who = "process " + strconv.Itoa(e.PID)
	}
	return fmt.Sprintf("data directory %s is in use by %s; stop it first, or choose another --data-dir", e.Dir, who)
}

// Lock takes the data directory for this process until release is called or
// the process ends, however it ends. It never waits: a directory in use is an
// *InUseError. The directory must exist and belong to the caller.
func Lock(dir string) (release func(), err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	d, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	fi, err := d.Stat()
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if err := checkOwner(dir, fi); err != nil {
		return nil, err
	}
	// The standard library opens with O_CLOEXEC, so that a child process cannot
	// carry the lock on after we ended.
	f, err := os.OpenFile(filepath.Join(dir, LockName), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if err := flock(f, syscall.LOCK_EX); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, &InUseError{Dir: dir, PID: holder(f)}
		}
		return nil, fmt.Errorf("lock data directory %s: %w", dir, err)
	}
	if err := leavePID(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	return func() { _ = f.Close() }, nil
}

// flock asks for the lock, exclusive or shared, without waiting. A signal may
// interrupt it.
func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// leavePID writes who holds the lock, for the one who is refused.
func leavePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}
