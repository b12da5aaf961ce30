package fix

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// resources are the limits of a process that are changed while it runs.
var resources = map[string]int{"nofile": unix.RLIMIT_NOFILE, "core": unix.RLIMIT_CORE}

func closeFD(fd int) { _ = unix.Close(fd) }

// limits are the soft and the hard one of a process, with a colon between them.
func limits(pid int, name string) (string, error) {
	var l unix.Rlimit
	if err := unix.Prlimit(pid, resources[name], nil, &l); err != nil {
		return "", fmt.Errorf("limit %s of process %d: %w", name, pid, err)
	}
	return fmt.Sprintf("%d:%d", l.Cur, l.Max), nil
}

func setLimits(pid int, name, value string) error {
	var l unix.Rlimit
	if _, err := fmt.Sscanf(value, "%d:%d", &l.Cur, &l.Max); err != nil {
		return fmt.Errorf("limit %s: %q is not two numbers", name, value)
	}
	if err := unix.Prlimit(pid, resources[name], &l, nil); err != nil {
		return fmt.Errorf("set the limit %s of process %d to %s: %w", name, pid, value, err)
	}
	return nil
}

// lockFile holds a file so that one run at a time changes the host.
func lockFile(path string) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = errors.New("another redoubt fix is at work; wait until it is done")
		}
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}
