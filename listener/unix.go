package listener

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/redoubtmq/redoubt/pki"
)

// Unix is the protocol of listeners whose sockets are files.
const Unix = "unix"

// UnixMode is the mode of such a file: who may connect is its owner, which is the
// broker's user, and its group.
const UnixMode = 0o660

// probeTime is how long whoever has the file already may take to answer.
const probeTime = time.Second

// listenUnix opens a socket file. One that a broker left which was stopped is removed;
// anything else in its place is an error. The directory must be one in which only we
// and root can put things: whoever replaces the file is told the passwords.
func listenUnix(path string) (net.Listener, error) {
	if err := pki.CheckDirectory(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if err := clearStale(path); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: unixMode}
	s, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	// Linux took the mode from the descriptor when it made the file, less the umask;
	// by then the directory was ours alone.
	if err := os.Chmod(path, UnixMode); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// unixMode sets the mode before the file exists, so that there is no moment in which
// others could connect.
func unixMode(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), UnixMode) }); e != nil {
		return e
	}
	return err
}

// clearStale removes a socket file of ours on which nobody answers.
func clearStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != os.ModeSocket:
		return errors.New("there is something else of that name, which is no socket; move it away or choose another path")
	}
	c, err := net.DialTimeout("unix", path, probeTime)
	if err == nil {
		_ = c.Close()
		return errors.New("another process listens on it")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("it cannot be told whether somebody listens on it: %w", err)
	}
	return os.Remove(path)
}
