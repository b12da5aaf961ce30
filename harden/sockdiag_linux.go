package harden

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Of sock_diag (include/uapi/linux/inet_diag.h and sock_diag.h): sizes, offsets
// and numbers.
const (
	diagRequestBytes = 56
	diagMessageBytes = 72
	diagMemInfo      = 7 // INET_DIAG_SKMEMINFO
	diagMemDrops     = 8 // SK_MEMINFO_DROPS
	tcpListen        = 10
	diagBytesMax     = 16 << 20
	diagBufferBytes  = 32 << 10 // no datagram of the kernel is larger
)

// Listening implements Host.
func (thisHost) Listening() ([]Listening, error) {
	var all []Listening
	buf := make([]byte, diagBufferBytes)
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		found, err := listeningIn(family, buf)
		if err != nil {
			return nil, fmt.Errorf("sock_diag: %w", err)
		}
		all = append(all, found...)
	}
	return all, nil
}

// listeningIn asks the kernel for the listening TCP sockets of one family. To see
// them takes no privilege.
func listeningIn(family byte, buf []byte) ([]Listening, error) {
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
	for read := 0; read < diagBytesMax; {
		n, _, flags, from, err := unix.Recvmsg(fd, buf, nil, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if a, ok := from.(*unix.SockaddrNetlink); !ok || a.Pid != 0 { // not from the kernel
			continue
		}
		if n == 0 || flags&unix.MSG_TRUNC != 0 {
			return nil, errDiag
		}
		read += n
		found, done, err := parseDiag(buf[:n])
		if err != nil {
			return nil, err
		}
		if out = append(out, found...); len(out) > inetSocketsMax {
			return nil, fmt.Errorf("more than %d sockets", inetSocketsMax)
		}
		if done {
			return out, nil
		}
	}
	return nil, fmt.Errorf("more than %d bytes of sockets", diagBytesMax)
}

var (
	errDiag = errors.New("an answer that is not understood")
	// errDiagChanged: what was listed changed meanwhile, and something may have been left out.
	errDiagChanged = errors.New("an answer that is not whole")
)

// parseDiag reads one datagram of the answer. Whatever of it is not understood is an error: a
// socket that is left out would be one that nobody judges.
func parseDiag(b []byte) (out []Listening, done bool, err error) {
	for len(b) > 0 {
		if len(b) < unix.SizeofNlMsghdr {
			return nil, false, errDiag
		}
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return nil, false, errDiag
		}
		if binary.NativeEndian.Uint16(b[6:])&unix.NLM_F_DUMP_INTR != 0 {
			return nil, false, errDiagChanged
		}
		body := b[unix.SizeofNlMsghdr:size]
		switch kind := binary.NativeEndian.Uint16(b[4:]); kind {
		case unix.NLMSG_DONE, unix.NLMSG_ERROR: // a dump that failed is done, too
			if len(body) < 4 {
				return nil, false, errDiag
			}
			if code := int32(binary.NativeEndian.Uint32(body)); code < 0 { //nolint:gosec // that is what it is
				return nil, false, unix.Errno(-code)
			}
			if kind == unix.NLMSG_ERROR { // of an answer nobody asked for
				return nil, false, errDiag
			}
			return out, true, nil
		case unix.SOCK_DIAG_BY_FAMILY:
			l, err := parseListening(body)
			if err != nil {
				return nil, false, err
			}
			out = append(out, l)
		default:
			return nil, false, errDiag
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
	switch b[0] {
	case unix.AF_INET:
		raw = raw[:4]
	case unix.AF_INET6:
	default:
		return l, errDiag
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
