package harden

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
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

// Of sock_diag (include/uapi/linux/inet_diag.h and sock_diag.h): sizes, offsets
// and numbers.
const (
	diagRequestBytes = 56
	diagMessageBytes = 72
	diagMemInfo      = 7 // INET_DIAG_SKMEMINFO
	diagMemDrops     = 8 // SK_MEMINFO_DROPS
	tcpListen        = 10
	diagBytesMax     = 16 << 20
)

// Listening implements Host.
func (thisHost) Listening() ([]Listening, error) {
	var all []Listening
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		found, err := listeningIn(family)
		if err != nil {
			return nil, fmt.Errorf("sock_diag: %w", err)
		}
		all = append(all, found...)
	}
	return all, nil
}

// listeningIn asks the kernel for the listening TCP sockets of one family. To see
// them takes no privilege.
func listeningIn(family byte) ([]Listening, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	wait := unix.Timeval{Sec: int64(helperWithin / time.Second)}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return nil, err
	}
	ask := make([]byte, unix.SizeofNlMsghdr+diagRequestBytes)
	binary.NativeEndian.PutUint32(ask, uint32(len(ask)))
	binary.NativeEndian.PutUint16(ask[4:], unix.SOCK_DIAG_BY_FAMILY)
	binary.NativeEndian.PutUint16(ask[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	body := ask[unix.SizeofNlMsghdr:]
	body[0], body[1], body[2] = family, unix.IPPROTO_TCP, 1<<(diagMemInfo-1)
	binary.NativeEndian.PutUint32(body[4:], 1<<tcpListen)
	if err := unix.Sendto(fd, ask, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	var out []Listening
	buf := make([]byte, 64<<10)
	for read := 0; read < diagBytesMax; {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		read += n
		found, done, err := parseDiag(buf[:n])
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
		if done {
			return out, nil
		}
	}
	return nil, fmt.Errorf("more than %d bytes of sockets", diagBytesMax)
}

var errDiag = errors.New("an answer that is not understood")

// parseDiag reads one datagram of the answer.
func parseDiag(b []byte) (out []Listening, done bool, err error) {
	for len(b) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return nil, false, errDiag
		}
		body := b[unix.SizeofNlMsghdr:size]
		switch binary.NativeEndian.Uint16(b[4:]) {
		case unix.NLMSG_DONE:
			return out, true, nil
		case unix.NLMSG_ERROR:
			if len(body) < 4 {
				return nil, false, errDiag
			}
			return nil, false, unix.Errno(-int32(binary.NativeEndian.Uint32(body)))
		case unix.SOCK_DIAG_BY_FAMILY:
			l, err := parseListening(body)
			if err != nil {
				return nil, false, err
			}
			out = append(out, l)
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return out, false, nil
}

// parseListening reads struct inet_diag_msg and the attributes behind it.
func parseListening(b []byte) (l Listening, err error) {
	if len(b) < diagMessageBytes {
		return l, errDiag
	}
	raw := b[8:24]
	if b[0] == unix.AF_INET {
		raw = raw[:4]
	}
	addr, _ := netip.AddrFromSlice(raw)
	l.Addr = netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(b[4:]))
	l.Waiting, l.Backlog = binary.NativeEndian.Uint32(b[56:]), binary.NativeEndian.Uint32(b[60:])
	l.Inode = uint64(binary.NativeEndian.Uint32(b[68:]))
	for b = b[diagMessageBytes:]; len(b) >= 4; {
		size, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if size < 4 || size > len(b) {
			return l, fmt.Errorf("%w: an attribute of %d bytes", errDiag, size)
		}
		if value := b[4:size]; kind == diagMemInfo && len(value) >= 4*(diagMemDrops+1) {
			l.Dropped, l.Counted = binary.NativeEndian.Uint32(value[4*diagMemDrops:]), true
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return l, nil
}
