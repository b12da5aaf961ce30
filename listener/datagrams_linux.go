package listener

import (
	"net"

	"golang.org/x/sys/unix"
)

// receiveBuffer asks for room for n bytes of datagrams and answers what the kernel
// gave; 0: it does not tell.
func receiveBuffer(s net.PacketConn, n int) int {
	c, ok := s.(*net.UDPConn)
	if !ok {
		return 0
	}
	_ = c.SetReadBuffer(n)
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	granted := 0
	_ = raw.Control(func(fd uintptr) {
		granted, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	})
	return granted / 2 // the kernel doubles it for its own book-keeping
}
