package admin

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

const (
	// socketMode: the file system keeps everybody else away, and the peer
	// credentials do so again where it does not.
	socketMode = 0o600
	// socketPathMax is what a socket address holds (sun_path, less its NUL).
	socketPathMax = 107
	// probeTime bounds the question whether somebody listens on a socket file.
	probeTime = time.Second
)

// Listen makes the administration socket. A socket file that a killed broker
// left is removed; anything else in its place is an error: a socket somebody
// answers on, one that is not ours, a file that is no socket. The directory must
// be one in which only we and root can put things.
func Listen(path string) (net.Listener, error) {
	if len(path) > socketPathMax {
		return nil, fmt.Errorf("administration socket %s: the path has %d bytes and a socket takes %d; set admin.socket to a shorter one", path, len(path), socketPathMax)
	}
	if err := pki.CheckDirectory(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("administration socket %s: %w", path, err)
	}
	if err := clearStale(path); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: closeToOthers}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("administration socket: %w", err)
	}
	// Linux took the mode from the descriptor when it made the file; this is for
	// systems that do not.
	if err := os.Chmod(path, socketMode); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("administration socket: %w", err)
	}
	return l, nil
}

// closeToOthers sets the mode before the file exists, so that there is no moment
// in which others could connect.
func closeToOthers(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), socketMode) }); e != nil {
		return e
	}
	return err
}

// clearStale removes a socket file of ours on which nobody answers.
func clearStale(path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("administration socket: %w", err)
	}
	if fi.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("administration socket %s: there is something else of that name; set admin.socket to another path or move it away", path)
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("administration socket %s: the one there belongs to another user; if no broker uses it, remove it", path)
	}
	c, err := net.DialTimeout("unix", path, probeTime)
	if err == nil {
		_ = c.Close()
		return fmt.Errorf("administration socket %s: another process answers on it; stop it, or use another data directory", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("administration socket %s: cannot tell whether it is in use: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("administration socket: remove the one a stopped broker left: %w", err)
	}
	return nil
}
