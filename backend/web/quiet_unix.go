//go:build unix

package web

import (
	"net"
	"syscall"
)

// quiet tells whether nothing has come on a connection that nobody has asked anything on,
// its end included. What has would be taken for the answer to the next question.
func quiet(raw net.Conn) bool {
	s, is := raw.(syscall.Conn)
	if !is {
		return false
	}
	fd, err := s.SyscallConn()
	if err != nil {
		return false
	}
	nothing := false
	err = fd.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
		nothing = err == syscall.EAGAIN
		return true // it is non-blocking, and nobody waits
	})
	return err == nil && nothing
}
