package listener

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// backlogOf reads what the kernel granted: of a listening socket, TCP_INFO has the
// length of the accept queue in tcpi_unacked and its limit in tcpi_sacked
// (tcp_get_info in net/ipv4/tcp.c), as ss -l shows them.
func backlogOf(fd uintptr) (int, error) {
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return backlogUnknown, nil // a sandbox that forbids to ask does not forbid to serve
	}
	return int(info.Sacked), nil
}

// somaxconn is the kernel's limit, for people.
func somaxconn() string {
	b, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	if err != nil {
		return "which cannot be read here"
	}
	return strings.TrimSpace(string(b))
}
