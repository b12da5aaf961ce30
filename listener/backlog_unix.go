//go:build unix

package listener

import "syscall"

// listenAgain changes the backlog of a socket that listens, as POSIX allows.
func listenAgain(fd uintptr, backlog int) error { return syscall.Listen(int(fd), backlog) }
