// Package sockfile makes the files of unix sockets: with their mode from the first moment
// on, in place of one that a stopped process of the same user left, and of nothing else.
// Whether the directory is one in which only the right people can put things is for the
// caller to judge first (pki.CheckDirectory): without that nothing here holds.
package sockfile

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// PathMax is what a socket's address holds, bytes (sun_path of unix(7), less its NUL).
const PathMax = 107

// probeTime is how long whoever has the file already may take to answer.
const probeTime = time.Second

// Listen opens a socket at path, whose file has this mode. Others may connect whom the mode
// lets; one that lets everybody is a mistake of the caller. What is in its place is
// removed if it is a socket of this user on which nobody listens, and else an error:
// a file that is no socket, or a link; somebody else's; one that is in use.
func Listen(path string, mode os.FileMode) (net.Listener, error) {
	if mode&^0o770 != 0 {
		panic(fmt.Sprintf("BUG: sockfile: mode %#o", mode))
	}
	if len(path) > PathMax {
		return nil, fmt.Errorf("the path has %d bytes and a socket takes %d; choose a shorter one", len(path), PathMax)
	}
	if err := clearStale(path); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: withMode(mode)}
	s, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	// Linux took the mode from the descriptor when it made the file, less the umask; this
	// is for the rest, and for systems that do not.
	if err := os.Chmod(path, mode); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// withMode sets the mode before the file exists, so that there is no moment in which
// others could connect.
func withMode(mode os.FileMode) func(_, _ string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var err error
		if e := c.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), uint32(mode)) }); e != nil {
			return e
		}
		return err
	}
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
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Geteuid() {
		return errors.New("the socket there belongs to another user; if nobody uses it, remove it")
	}
	c, err := net.DialTimeout("unix", path, probeTime)
	if err == nil {
		_ = c.Close()
		return errors.New("another process answers on it; stop it, or choose another path")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("it cannot be told whether somebody listens on it: %w", err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the one that a stopped process left: %w", err)
	}
	return nil
}
