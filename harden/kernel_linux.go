package harden

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// thisHost is the machine we run on.
type thisHost struct{}

// Clock implements Host. It changes nothing: no mode is set.
func (thisHost) Clock() (ClockState, error) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return ClockState{}, fmt.Errorf("adjtimex: %w", err)
	}
	return ClockState{Status: t.Status, State: state, MaxErrorMicros: int64(t.Maxerror)}, nil
}

// helperWithin bounds a program that is asked something.
const helperWithin = 2 * time.Second

// helper runs the first of some programs that exists, by its whole path: whoever
// runs the doctor as root has not chosen the PATH for that.
func helper(ctx context.Context, paths []string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, helperWithin)
	defer cancel()
	for _, path := range paths {
		cmd := exec.CommandContext(ctx, path, args...)
		cmd.Env, cmd.WaitDelay = []string{"LC_ALL=C"}, time.Second
		out, err := cmd.Output()
		if !errors.Is(err, unix.ENOENT) {
			return out, err
		}
	}
	return nil, errors.New("it is not installed")
}

// Unit implements Host.
func (thisHost) Unit(ctx context.Context, unit string, properties ...string) (map[string]string, error) {
	out, err := helper(ctx, []string{"/usr/bin/systemctl", "/bin/systemctl"}, "show", "-p", strings.Join(properties, ","), "--", unit)
	if err != nil {
		return nil, fmt.Errorf("systemctl show: %w", err)
	}
	values := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			values[name] = value
		}
	}
	return values, nil
}

// Ruleset implements Host.
func (thisHost) Ruleset(ctx context.Context) ([]byte, error) {
	out, err := helper(ctx, []string{"/usr/sbin/nft", "/sbin/nft"}, "-j", "list", "ruleset")
	if err != nil {
		return nil, fmt.Errorf("nft list ruleset: %w", err)
	}
	return out, nil
}

// Space implements Host.
func (thisHost) Space(path string) (Space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return Space{}, fmt.Errorf("statfs: %w", err)
	}
	size := uint64(s.Bsize) //nolint:gosec // positive
	return Space{Bytes: s.Blocks * size, BytesFree: s.Bavail * size, Inodes: s.Files, InodesFree: s.Ffree, ReadOnly: s.Flags&unix.ST_RDONLY != 0}, nil
}

// ownDescriptor asks what a number is in our own table, and moves nothing. inode is that of a
// socket that listens or has no connections, 0 of everything else. It does not ask for the status of
// what is no socket: a file of a server that is gone would have it wait.
func ownDescriptor(fd int) (open bool, inode uint64, err error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	switch {
	case errors.Is(err, unix.ENOTSOCK):
		return true, 0, nil
	case errors.Is(err, unix.EBADF): // or one that is only a path, of which the broker has none
		return false, 0, nil
	case err != nil:
		return false, 0, err
	}
	if kind == unix.SOCK_STREAM || kind == unix.SOCK_SEQPACKET {
		accepts, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		switch {
		case errors.Is(err, unix.EBADF), errors.Is(err, unix.ENOTSOCK): // closed since
			return false, 0, nil
		case err != nil:
			return false, 0, err
		case accepts == 0:
			return true, 0, nil
		}
	}
	var s unix.Stat_t
	if err := unix.Fstat(fd, &s); err != nil {
		if errors.Is(err, unix.EBADF) {
			return false, 0, nil
		}
		return false, 0, err
	}
	if s.Mode&unix.S_IFMT != unix.S_IFSOCK { // another one since
		return true, 0, nil
	}
	return true, s.Ino, nil
}

// links reads where links of one folder lead.
type links struct {
	dir int
	to  [64]byte // more than "socket:[NUMBER]" needs; of others the beginning does
}

func newLinks(dir *os.File) *links { return &links{dir: int(dir.Fd())} }

// read answers bytes that are good until it is called again.
func (l *links) read(name string) ([]byte, error) {
	n, err := unix.Readlinkat(l.dir, name, l.to[:])
	if err != nil {
		return nil, err
	}
	return l.to[:n], nil
}
